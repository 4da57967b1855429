/* Shared inside connector/origin/ only.
 *
 * origin.c: the set and the handler that picks by the rule's kind. origin_dial.c: connecting.
 * origin_http.c: HTTP/1.1 services; origin_collect.c: their bodies of unknown length. origin_h2.c: HTTP/2
 * services. origin_tcp.c: raw TCP, bastion and SOCKS (socks.c) behind a WebSocket (http/ws_server.c).
 * origin_private.c: addresses of a private network, without a rule.
 * hello_world.c: the built-in test pages (page.c).
 */
#pragma once

#include "connector/origin/origin.h"
#include "io/conn.h"
#include "tls/tls.h"

struct origin_h2;

/* One rule's service: how to reach it and its idle connections. */
struct origin {
	struct origin_set *set; /* borrowed: the set owns its origins */
	struct loop *loop;      /* borrowed: the set's */
	const struct ingress_rule *rule;
	usec opened_at;          /* wall time */
	struct tls_context *tls; /* counted; NULL for plain services. With http2Origin ALPN offers h2 */
	struct tls_context *tls_http1; /* counted; only with http2Origin: offers no h2 */
	struct list idle;              /* HTTP/1.1: struct origin_conn, the latest first */
	size_t idle_count;
	struct origin_h2 *h2; /* owned; HTTP/2 sessions, NULL before the first */
};

/* Borrowed from the set. */
struct origin *origin_of_rule(struct origin_set *set, size_t rule);

/* --- Connecting (origin_dial.c) --- */

/* Where to, when it is not the rule's own service, and for whom. */
struct origin_target {
	struct bytes host; /* bastion, SOCKS: name or IP; empty: the rule's host and port, or its path */
	uint16_t port;          /* with host */
	struct bytes authority; /* the Host that the service gets: for matchSNItoHost */
	struct bytes client_ip; /* the visitor, for the PROXY header; empty when unknown */
	/* With host: which of its addresses may be connected to, see struct conn_name_options; NULL: all. */
	bool (*allows)(void *ctx, const struct address *to);
	void *allows_ctx;
	bool only_http1;       /* ALPN offers no h2, whatever http2Origin says */
	bool is_raw;           /* of a public port: TLS, if any, is the visitor's business */
	bool has_proxy_header; /* the bytes that follow begin with one */
};
/* The rule's own service, for this exchange; borrowed from it. */
struct origin_target origin_target_of(const struct exchange *x);

struct origin_dial;
/* Comes once, never inside origin_dial(): with a stream, owned by the callee, on which TLS is done and the
 * PROXY header is written; or NULL, the error and a title for people ("Service unreachable"). */
typedef void origin_dial_done(void *ctx, struct byte_stream *stream, const struct err *err,
			      const char *title);
/* Connects as the rule's originRequest says: timeouts, keep-alive, address racing, TLS with its roots and
 * name, PROXY protocol. `to` is used before return. */
struct origin_dial *origin_dial(struct origin *o, const struct origin_target *to,
				origin_dial_done *done, void *ctx);
/* No done() after this. NULL is fine; returns NULL. */
struct origin_dial *origin_dial_cancel(struct origin_dial *d);

/* The name a TLS service is asked for and its certificate has to have: originServerName, else with
 * matchSNItoHost (and for unix+tls) the host of `authority`, else the service's host. Owned by the caller. */
char *origin_server_name(const struct origin *o, struct bytes authority);
/* It depends on the request: connections with different names must not be mixed. */
bool origin_name_varies(const struct origin *o);

/* --- Services; each becomes the exchange's answerer --- */

/* Sends the request over an idle HTTP/1.1 connection or a fresh one. */
void origin_http_start(struct origin *o, struct exchange *x);
/* The same over this connection, which is new: ALPN has chosen HTTP/1.1. */
void origin_http_start_on(struct origin *o, struct exchange *x, struct byte_stream *stream);
void origin_http_close_idle(struct origin *o);

/* disableChunkedEncoding (origin_collect.c): takes a request body of unknown length in, up to
 * LIMIT_COLLECTED_BODY_BYTES, then calls `start` with the exchange, whose length is known now. */
void origin_collect(struct origin *o, struct exchange *x,
		    void (*start)(struct origin *o, struct exchange *x));

/* h2c services, and https ones with http2Origin: over a shared HTTP/2 session, or HTTP/1.1 where ALPN says
 * so. */
void origin_h2_start(struct origin *o, struct exchange *x);
/* An HTTP/1.1 connection of an http2Origin service failed: the next one lets ALPN choose anew. For
 * origin_http.c; does nothing for other services. */
void origin_h2_forget(struct origin *o);
/* Sessions without streams are closed, the others when their last stream ends. Frees o->h2. */
void origin_h2_close(struct origin *o);

/* TCP, bastion and socks-proxy services. */
void origin_tcp_start(struct origin *o, struct exchange *x);
/* hello_world. */
void hello_world_start(struct origin *o, struct exchange *x);

/* --- Shared by HTTP/1.1 and HTTP/2 --- */

/* Nobody can have acted on it: an exchange that may be sent again over a fresh connection. */
bool origin_is_replayable(const struct exchange *x);
