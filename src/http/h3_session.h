/* HTTP/3 (RFC 9114) of a server on a QUIC connection: nghttp3 wrapped.
 *
 * The calls and events are those of h2_session.h, for mux_server.h to stand on either. Events never arrive
 * inside a call. A request's body counts against its stream's QUIC window until it is consumed; a response's bytes are
 * taken as far as QUIC has room for them. Priorities are nghttp3's (RFC 9218). One loop.
 */
#pragma once

#include "base/clock.h"
#include "http/head.h"
#include "quic/quic.h"

struct h3_session;
struct h3_stream;

/* Each as its namesake in struct h2_events; codes are those of RFC 9114 §8.1. */
struct h3_events {
	void (*on_request)(struct h3_session *s, struct h3_stream *st, const struct head *head,
			   bool fin);
	void (*on_data)(struct h3_stream *st, struct bytes data, bool fin);
	void (*on_trailers)(struct h3_stream *st, const struct fields *trailers);
	void (*on_writable)(struct h3_stream *st);
	void (*on_stream_closed)(struct h3_stream *st, uint64_t code);
	/* The peer's address has changed. */
	void (*on_moved)(struct h3_session *s, const struct address *peer);
	/* Once and last; the session frees itself after return. */
	void (*on_closed)(struct h3_session *s, const struct err *why);
};

/* Takes the connection over, in its endpoint's on_accept. */
struct h3_session *h3_session_new(struct quic_conn *c, const struct h3_events *events, void *ctx);
void *h3_session_ctx(struct h3_session *s);
struct quic_conn *h3_session_conn(struct h3_session *s);
/* Since when the oldest head is awaited of a stream that is open (loop time); 0: none is. */
usec h3_session_head_since(const struct h3_session *s);
/* Bytes that the visitor has not acknowledged, and all that it ever has. */
size_t h3_session_backlog(const struct h3_session *s, uint64_t *ret_delivered);
/* GOAWAY, twice (RFC 9114 §5.2); then the end once every stream is over. */
void h3_session_drain(struct h3_session *s);
void h3_session_close(struct h3_session *s, uint64_t code, const char *reason);

void h3_stream_set_ctx(struct h3_stream *st, void *ctx);
void *h3_stream_ctx(struct h3_stream *st);
void h3_stream_respond(struct h3_stream *st, const struct head *head, bool fin);
size_t h3_stream_write(struct h3_stream *st, struct bytes data, bool fin);
void h3_stream_finish(struct h3_stream *st, const struct fields *trailers);
void h3_stream_consume(struct h3_stream *st, size_t n);
/* With H3_NO_ERROR: the rest of the request is not wanted; the response is sent to its end all the same. */
void h3_stream_reset(struct h3_stream *st, uint64_t code);

enum {
	H3_NO_ERROR = 0x100,
	H3_INTERNAL_ERROR = 0x102,
	H3_EXCESSIVE_LOAD = 0x107,
	H3_REQUEST_CANCELLED = 0x10c,
	H3_MESSAGE_ERROR = 0x10e,
};
