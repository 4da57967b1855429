/* HTTP/2 (RFC 9113) on a byte stream: nghttp2 wrapped once, for either role.
 *
 * Visitors' connections use the server role; the tunnel uses both, crossed (the edge is the client).
 * Flood limits are counted here, since the library's own arrived after Debian 12's version. Everything
 * that is written in a turn leaves in one flush. Events never arrive inside a call.
 */
#pragma once

#include "base/clock.h"
#include "http/head.h"
#include "io/byte_stream.h"

struct h2_session;
struct h2_stream;

enum h2_role { H2_CLIENT, H2_SERVER };

struct h2_events {
	/* Server: a request head arrived. Borrowed until return: copy with head_copy(). `fin`: no body
	 * follows. Set the stream's context with h2_stream_set_ctx() here. An extended CONNECT for a
	 * WebSocket (RFC 8441) arrives as a GET with is_upgrade. Heads that are too large and CONNECT
	 * without a protocol we know were answered already and are not reported. */
	void (*on_request)(struct h2_session *s, struct h2_stream *st, const struct head *head,
			   bool fin);
	/* Client: the response head (1xx too, with fin false). */
	void (*on_response)(struct h2_stream *st, const struct head *head, bool fin);
	/* Bytes, borrowed until return; take them all, give credit back with h2_stream_consume(). With
	 * `fin` the peer's side has ended (data may then be empty). */
	void (*on_data)(struct h2_stream *st, struct bytes data, bool fin);
	/* Trailers; the peer's side has ended. NULL: they are treated as on_data(empty, fin). */
	void (*on_trailers)(struct h2_stream *st, const struct fields *trailers);
	/* A short h2_stream_write() may go on. */
	void (*on_writable)(struct h2_stream *st);
	/* Once and last for each stream; `code` is the HTTP/2 error code, 0 when it ended well (server: the
	 * response was sent; client: it was received). The stream is gone after return. */
	void (*on_stream_closed)(struct h2_stream *st, uint32_t code);
	/* The peer's SETTINGS arrived for the first time. */
	void (*on_ready)(struct h2_session *s);
	void (*on_goaway)(struct h2_session *s);
	/* Once and last, after every stream's on_stream_closed; `why` is never NULL, E_CLOSED when the peer
	 * left or a drain is complete. The session frees itself after return. */
	void (*on_closed)(struct h2_session *s, const struct err *why);
};

struct h2_options {
	enum h2_role role;
	uint32_t max_streams;   /* that the peer may open; 0: none */
	uint32_t stream_window; /* receive window of a stream, bytes */
	/* What a stream's window may grow to, as far as its bytes come faster than the window lets them over the
	 * path's round trip, and as far as LIMIT_H2_GROWN_BYTES go; 0: it stays. */
	uint32_t stream_window_max;
	uint32_t connection_window; /* receive window of the connection, bytes; see is_window_shared */
	uint32_t max_frame;         /* 16384 … 1 MiB: SETTINGS_MAX_FRAME_SIZE that we announce */
	/* RFC 8441. Server: announced. Client: a head with is_upgrade is sent as an extended CONNECT for a
	 * WebSocket (else as it is); see h2_session_has_connect_protocol(). */
	bool allow_connect_protocol;
	/* The connection's window is given back as streams consume, not at receipt: all streams of the
	 * connection together hold no more than it. For visitors, whom nobody knows; on a tunnel one
	 * stalled stream must not stop the others. */
	bool is_window_shared;
	size_t head_bytes;         /* of one received head; 0: LIMIT_HEAD_BYTES */
	unsigned glitches_per_sec; /* 0: LIMIT_H2_GLITCHES_PER_SEC */
};

/* Takes the byte stream over. */
struct h2_session *h2_session_new(struct byte_stream *stream, const struct h2_options *options,
				  const struct h2_events *events, void *ctx);
void *h2_session_ctx(struct h2_session *s);
/* Client: opens a stream and sends the request head. NULL when the session takes no more (closing,
 * peer's stream limit, ids used up). The head may be freed after return. */
struct h2_stream *h2_session_open(struct h2_session *s, const struct head *head, bool fin,
				  void *ctx);
size_t h2_session_stream_count(const struct h2_session *s);
bool h2_session_can_open(const struct h2_session *s);
/* Client, from on_ready on: the peer takes an extended CONNECT (RFC 8441). */
bool h2_session_has_connect_protocol(const struct h2_session *s);
/* Streams that the peer allows at once. */
uint32_t h2_session_peer_max_streams(const struct h2_session *s);
/* Answered by the peer, or the session closes with E_TIMEOUT once nothing at all was heard for
 * `timeout_ms`. While an earlier one is unanswered it can only make its time shorter. */
void h2_session_ping(struct h2_session *s, int64_t timeout_ms);
/* Time of the last byte from the peer (loop time). */
usec h2_session_last_heard(const struct h2_session *s);
/* When the first byte came of the head that is being received (loop time); 0: none is. */
usec h2_session_head_since(const struct h2_session *s);
/* No new streams from the peer (GOAWAY); those open go on. */
void h2_session_drain(struct h2_session *s);
/* A client says by GOAWAY that the session will end; what it opens until then is served all the same. */
void h2_session_announce_end(struct h2_session *s);
/* Ends it: GOAWAY with the code, what is queued is sent, streams and session get their closed events
 * on a later turn. */
void h2_session_close(struct h2_session *s, uint32_t code, const char *reason);
struct byte_stream *h2_session_stream(struct h2_session *s); /* borrowed: for TLS facts and the peer */
/* Why the session is ending, already known while the streams get their on_stream_closed; NULL before. */
const struct err *h2_session_failure(const struct h2_session *s);

void h2_stream_set_ctx(struct h2_stream *st, void *ctx);
void *h2_stream_ctx(struct h2_stream *st);
struct h2_session *h2_stream_session(struct h2_stream *st);
uint32_t h2_stream_id(const struct h2_stream *st);
/* In on_stream_closed(): the peer sent the RST_STREAM; else we did, for a rule it broke. */
bool h2_stream_is_reset_by_peer(const struct h2_stream *st);
/* Server: sends the response head. status 1xx may come before the final one. */
void h2_stream_respond(struct h2_stream *st, const struct head *head, bool fin);
/* Takes all or a part into the connection; less means on_writable() follows. With `fin`, the end is
 * sent when and only when all of `data` was taken. Empty data with fin just ends. On a stream that has
 * been reset or closed, everything is taken and goes nowhere: on_stream_closed() is on its way. Called
 * from inside an event of the same session it takes nothing. */
size_t h2_stream_write(struct h2_stream *st, struct bytes data, bool fin);
/* Ends our side with trailers. */
void h2_stream_finish(struct h2_stream *st, const struct fields *trailers);
/* Gives `n` bytes of the stream's window back. */
void h2_stream_consume(struct h2_stream *st, size_t n);
/* on_stream_closed() follows with the same code. A server whose response has ended tells the peer with
 * H2_NO_ERROR that the rest of the request is not wanted (RFC 9113 §8.1); the end is sent first. */
void h2_stream_reset(struct h2_stream *st, uint32_t code);

enum {
	H2_NO_ERROR = 0,
	H2_PROTOCOL_ERROR = 1,
	H2_INTERNAL_ERROR = 2,
	H2_STREAM_CLOSED = 5,
	H2_REFUSED_STREAM = 7,
	H2_CANCEL = 8,
	H2_ENHANCE_YOUR_CALM = 11,
	H2_HTTP_1_1_REQUIRED = 13,
};
/* "REFUSED_STREAM"; "unknown" beyond RFC 9113 §7. */
const char *h2_error_name(uint32_t code);
