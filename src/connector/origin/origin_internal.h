/* Shared inside connector/origin/ only. */
#pragma once

#include "connector/origin/origin.h"
#include "io/conn.h"
#include "tls/tls.h"

/* One rule's service: how to reach it and its idle connections. */
struct origin {
	struct origin_set *set; /* borrowed: the set owns its origins */
	const struct ingress_rule *rule;
	struct tls_context *tls; /* counted; NULL for plain services */
	struct list idle;        /* struct origin_conn, the latest first */
	size_t idle_count;
};

struct origin_conn;

/* Sends the request over an idle connection or a fresh one; becomes the exchange's answerer. */
void origin_http_start(struct origin *o, struct exchange *x);
void origin_http_close_idle(struct origin *o);
