/* A visitor's connection, of whichever version of HTTP: what is asked of it when it begins and when it has to end.
 *
 * h1_server.h, h2_server.h and h3_server.h make them; every request becomes an exchange (http/exchange.h), and bodies
 * stream with backpressure both ways. What concerns one hop only is taken out of requests and responses there. A
 * server frees itself, after on_closed(). One loop.
 */
#pragma once

#include "http/exchange.h"

struct address;
struct http_server;

struct http_server_options {
	const struct handler_chain *chain; /* borrowed, longer than every exchange */
	struct bytes scheme;               /* "https" or "http"; static */
	bool is_tls;
	void *ctx; /* borrowed; for the four below */
	/* A request has come; x->request, x->host and x->is_tls are set. Fills in what the listener knows:
	 * client_ip, id, snapshot, on_end. The handlers run next. May be NULL. */
	void (*on_exchange)(void *ctx, struct exchange *x);
	/* HTTP/1.1: something was answered with an error that never became a request: an exchange that holds
	 * nothing but x->failure and ends at once, for the log. Fills in the same. May be NULL. */
	void (*on_refused)(void *ctx, struct exchange *x);
	/* HTTP/3: the visitor has another address. May be NULL. */
	void (*on_moved)(void *ctx, const struct address *peer);
	/* Once and last, never inside a call, after every exchange was released. `why` is NULL when it ended as it
	 * should. May be NULL. */
	void (*on_closed)(void *ctx, const struct err *why);
	/* Milliseconds; 0: what stands here. */
	int64_t head_ms; /* for each head, and HTTP/2's preface: LIMIT_REQUEST_HEAD_MS */
	int64_t idle_ms; /* without a request: LIMIT_KEEPALIVE_IDLE_MS */
	int64_t body_ms; /* in which nothing moves of one request: LIMIT_BODY_IDLE_MS */
	int64_t raw_ms; /* the same after an upgrade, with both directions open: LIMIT_RAW_IDLE_MS */
	/* HTTP/2 and HTTP/3: for a visitor who is still sending to see that it was answered: LIMIT_LINGER_MS. */
	int64_t linger_ms;
	/* Bytes per second that a visitor sends of its request, and takes of the answer, at least, while it is waited
	 * for; who is slower for pace_ms (0: LIMIT_PACE_MS) gets a 408, or no more: the connection is closed. 0: as slow
	 * as they like, as gRPC's requests always are. What a stream's own window holds back has body_ms only. */
	uint32_t body_rate;
	int64_t pace_ms;
};

/* "h1", "h2" or "h3"; static. */
const char *http_server_protocol(const struct http_server *s);
/* No further request; exchanges under way are finished, then it closes. HTTP/1.1 says "Connection: close", and closes
 * at once when idle; the others send GOAWAY. */
void http_server_drain(struct http_server *s);
/* The same for who leaves and has time: an idle HTTP/1.1 connection may ask once more, and is closed when its idle time
 * is over, so that nobody's request meets a connection that is just being closed. */
void http_server_leave(struct http_server *s);
/* Ends it now; exchanges under way are cancelled. on_closed() follows. Not from on_exchange() or a handler. */
void http_server_close(struct http_server *s);
