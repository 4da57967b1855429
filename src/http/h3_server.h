/* A visitor's HTTP/3 connection (RFC 9114): every request becomes an exchange.
 *
 * The twin of h2_server.h over QUIC. Bodies stream with backpressure both ways: a request's is bounded by its
 * stream's window, all of a connection together by the connection's; a response is written as the
 * windows and the connection take it. An extended CONNECT (RFC 9220) is an exchange with
 * request.is_upgrade like an HTTP/1.1 handshake, and its 101 goes back as 200. What concerns one hop
 * only is taken out of requests and responses here, and Expect; nothing is added but the handshake
 * fields that HTTP/3 does not have. One loop.
 */
#pragma once

#include "http/exchange.h"
#include "quic/quic.h"

struct h3_server;

struct h3_server_options {
	const struct handler_chain *chain; /* borrowed, longer than every exchange */
	struct bytes scheme;               /* "https" or "http"; static */
	bool is_tls;
	void *ctx; /* borrowed; for the two below */
	/* A request has come; x->request, x->host and x->is_tls are set. Fills in what the listener knows:
	 * client_ip, id, snapshot, on_end. The handlers run next. May be NULL. */
	void (*on_exchange)(void *ctx, struct exchange *x);
	/* Once and last, never inside a call, after every exchange was released; the connection frees
	 * itself after return. `why` is NULL when it ended as it should. May be NULL. */
	void (*on_closed)(void *ctx, const struct err *why);
	/* The visitor has another address. May be NULL. */
	void (*on_moved)(void *ctx, const struct address *peer);
	/* Milliseconds; 0: LIMIT_REQUEST_HEAD_MS (for each head), LIMIT_KEEPALIVE_IDLE_MS (without a
	 * stream), LIMIT_BODY_IDLE_MS (of one stream), LIMIT_RAW_IDLE_MS (of an upgraded one), LIMIT_LINGER_MS (for a visitor who is still sending
	 * to see that it was answered). */
	int64_t head_ms, idle_ms, body_ms, raw_ms, linger_ms;
	/* As of h1_server.h: a request whose body comes too slowly gets a 408, a connection whose visitor takes nothing
	 * is closed. What a stream's own window holds back has body_ms only; gRPC's requests are as slow as they like. */
	uint32_t body_rate;
	int64_t pace_ms;
};

/* Takes the connection over, in its endpoint's on_accept. The options are copied. */
struct h3_server *h3_server_new(struct quic_conn *conn, const struct h3_server_options *options);
/* No further request: GOAWAY; the exchanges under way are finished, then the connection closes. */
void h3_server_drain(struct h3_server *h);
/* Ends it now; exchanges under way are cancelled. on_closed() follows. Not from on_exchange() or a
 * handler. */
void h3_server_close(struct h3_server *h);
