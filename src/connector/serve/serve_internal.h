/* Shared inside connector/serve/ only. */
#pragma once

#include "connector/origin/origin.h"
#include "connector/serve/serve.h"
#include "connector/tls_end/site.h"

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

	struct tls_sites *tls_sites;    /* owned: the certificates with which TLS ends here */
	struct list tls_visitors;       /* of serve_tls.c: its connections */
	struct handler_chain tls_chain; /* of their requests */
	bool is_draining;

	struct handler_chain private_chain; /* of streams to addresses */
	struct origin_private private_network;
	struct origin_udp *udp; /* owned */
};

/* Handler (headers.c): what the origin sees beside and instead of the visitor's own fields. Its context is
 * the server, x->route the rule. */
enum handled serve_headers(struct exchange *x, void *ctx);

/* The rule for x->host and the path, with the server's origins as the snapshot: the rest of the handler "ingress". */
enum handled serve_ingress(struct exchange *x, struct server *s);
void serve_log_failure(const struct exchange *x, unsigned conn_index);
void serve_count_failure(const struct exchange *x);

/* --- serve_tls.c: TLS of visitors that the edge passes through --- */

/* Handler: such a connection ends here where a rule with `tls` has the hostname; else it goes on to a service that
 * speaks TLS itself. Its context is the server. */
enum handled serve_tls_handle(struct exchange *x, void *ctx);
/* What the requests inside walk. */
struct handler_chain serve_tls_chain(struct server *s);
/* No connection is kept for a further request. */
void serve_tls_drain(struct server *s);
void serve_tls_close_all(struct server *s);
