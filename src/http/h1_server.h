/* A visitor's HTTP/1.1 connection (RFC 9112): reads requests and produces one exchange after the other.
 *
 * The next request is looked at only when the exchange before it has ended, so a connection holds one
 * exchange at most. Bodies stream with backpressure both ways; after 101 the connection is raw both
 * ways. Whatever is ambiguous is answered (400, 408, 414, 431, 501, 505) and the connection closed; no
 * byte after it is ever read as a request. What concerns one hop only is taken out of requests and
 * responses here (head_strip_hop_by_hop), and Expect, which is answered here; nothing but framing is
 * added.
 *
 * A visitor who ends its side while the answer is still being made has left, as nginx and Go see it:
 * the exchange is cancelled. One loop.
 */
#pragma once

#include "http/exchange.h"
#include "io/byte_stream.h"

struct h1_server;

struct h1_server_options {
	const struct handler_chain *chain; /* borrowed, longer than every exchange */
	struct bytes scheme;               /* "https" or "http"; static */
	bool is_tls;
	void *ctx; /* borrowed; for the three below */
	/* A request has come; x->request, x->host and x->is_tls are set. Fills in what the listener knows:
	 * client_ip, id, snapshot, on_end. The handlers run next. May be NULL. */
	void (*on_exchange)(void *ctx, struct exchange *x);
	/* Something was answered with an error that never became a request: an exchange that holds nothing
	 * but x->failure and ends at once, for the log. Fills in the same. May be NULL. */
	void (*on_refused)(void *ctx, struct exchange *x);
	/* Once and last, never inside a call; the connection frees itself after return. `why` is NULL
	 * when it ended as it should. May be NULL. */
	void (*on_closed)(void *ctx, const struct err *why);
	/* Milliseconds; 0: LIMIT_REQUEST_HEAD_MS, LIMIT_KEEPALIVE_IDLE_MS, LIMIT_BODY_IDLE_MS; raw_ms, of an
	 * upgraded connection with both directions open: LIMIT_RAW_IDLE_MS. */
	int64_t head_ms, idle_ms, body_ms, raw_ms;
	/* Bytes per second that a visitor sends of its request, and takes of the answer, at least, while it is waited
	 * for; who is slower for pace_ms (0: LIMIT_PACE_MS) gets a 408, or no more. 0: as slow as they like. */
	uint32_t body_rate;
	int64_t pace_ms;
};

/* Takes the byte stream over. The options are copied. */
struct h1_server *h1_server_new(struct byte_stream *stream, const struct h1_server_options *options);
/* No further request: the exchange under way is finished with "Connection: close"; an idle connection
 * closes at once. */
void h1_server_drain(struct h1_server *h);
/* The same, but an idle connection may ask once more, and is closed when its idle time is over: for who leaves
 * and has time, so that nobody's request meets a connection that is just being closed. */
void h1_server_leave(struct h1_server *h);
/* Ends it now; an exchange under way is cancelled. on_closed() follows. Not from on_exchange() or a
 * handler. */
void h1_server_close(struct h1_server *h);
