/* Shared inside connector/serve/ only. */
#pragma once

#include "connector/origin/origin.h"
#include "connector/serve/serve.h"

struct server {
	struct loop *loop;
	const struct connector_config *config;
	char connector_id[UUID_TEXT_SIZE];
	struct origin_set *origins;      /* counted */
	struct metric **rule_requests;   /* owned array; one per rule of `origins` */
	struct issuer_keys *issuer_keys; /* owned */
	struct handler_chain chain;
	struct health *health; /* owned: of `origins` */
	bool (*on_health)(void *ctx);
	void *on_health_ctx;

	struct handler_chain private_chain; /* of streams to addresses */
	struct origin_private private_network;
	struct origin_udp *udp; /* owned */
};

/* Handler (headers.c): what the origin sees beside and instead of the visitor's own fields. Its context is
 * the server, x->route the rule. */
enum handled serve_headers(struct exchange *x, void *ctx);
