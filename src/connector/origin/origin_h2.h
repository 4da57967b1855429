/* What the two files of HTTP/2 services share. Included by them alone.
 *
 * origin_h2.c: one exchange, from the head it sends to the end of its stream. origin_h2_pool.c:
 * connections, and who waits for one. A pool is for requests that may share a connection: all of a
 * service, or those with one TLS name (matchSNItoHost) and one visitor (proxyProtocol).
 */
#pragma once

#include "connector/origin/origin_internal.h"
#include "http/h2_session.h"

struct h2_pool;
struct h2_conn;

/* The answerer's side of one exchange; in its arena. */
struct h2_request {
	uint32_t magic;
	struct exchange *x;
	struct origin *origin;    /* borrowed: the exchange keeps its set */
	struct h2_pool *pool;     /* while it waits for a connection, else NULL */
	struct list node;         /* in pool->waiting */
	struct h2_conn *conn;     /* of `stream` */
	struct h2_stream *stream; /* NULL while it waits */
	int attempts;
	uint64_t left;     /* of a body with a length */
	uint64_t credited; /* response bytes whose window was given back */
	int interim_heads;
	bool has_length;
	bool holds_body;     /* until the service says 100 or a time has passed */
	bool heard;          /* any head came */
	bool request_ended;  /* our side of the stream */
	bool response_ended; /* the service's; raw streams go on in the other direction */
	usec moved_at;       /* the last byte either way */
	struct timer silence, continue_wait;
};

/* --- origin_h2_pool.c --- */

/* One rule's connections. */
struct origin_h2 *origin_h2_new(struct origin *o);
/* The service has chosen HTTP/1.1 for such requests not long ago: it is not asked for HTTP/2 now. */
bool h2_pool_speaks_http1(const struct origin_h2 *h2, const struct exchange *x);
/* Found out on a session: WebSockets go over HTTP/1.1 for a while. */
void h2_pool_takes_no_websockets(struct origin_h2 *h2);

/* The request gets a connection: h2_request_begin(), on this turn or later; or h2_request_over_http1(), or
 * h2_request_fail(). Any of them may come inside the call. */
void h2_pool_take(struct origin_h2 *h2, struct h2_request *r);
/* The same once more, before all others, for one whose stream on r->conn came to nothing: over another
 * connection. */
void h2_pool_take_again(struct h2_request *r);
/* It does not wait any more. */
void h2_pool_leave(struct h2_request *r);

struct h2_session *h2_conn_session(struct h2_conn *c);
/* A part of a response came from the service. */
void h2_conn_heard(struct h2_conn *c);
/* It has answered before: when it fails now, perhaps it was only an old connection. */
bool h2_conn_is_proven(const struct h2_conn *c);

/* --- origin_h2.c --- */

/* Sends the request over this connection, which has room for a stream; or fails it, or hands it over. */
void h2_request_begin(struct h2_request *r, struct h2_conn *c);
/* Hands the exchange over to HTTP/1.1, on this stream if there is one (taken over), else on any connection. */
void h2_request_over_http1(struct h2_request *r, struct byte_stream *stream);
void h2_request_fail(struct h2_request *r, const struct err *err, const char *title, bool was_sent);

/* Events of the streams; the request is the stream's context, NULL when it has gone before. */
void h2_request_on_response(struct h2_stream *st, const struct head *head, bool fin);
void h2_request_on_data(struct h2_stream *st, struct bytes data, bool fin);
void h2_request_on_trailers(struct h2_stream *st, const struct fields *trailers);
void h2_request_on_writable(struct h2_stream *st);
void h2_request_on_closed(struct h2_request *r, uint32_t code);
