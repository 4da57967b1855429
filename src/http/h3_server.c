#include "http/h3_server.h"

#include "base/limits.h"
#include "http/h3_session.h"
#include "http/mux_server.h"

/* --- What the server asks of the session ------------------------------------------------------ */

static const uint64_t codes[] = {
	[MUX_DONE] = H3_NO_ERROR,
	[MUX_BROKEN] = H3_INTERNAL_ERROR,
	[MUX_TOO_SLOW] = H3_EXCESSIVE_LOAD,
};

static void set_ctx(void *stream, void *ctx)
{
	h3_stream_set_ctx(stream, ctx);
}

static void respond(void *stream, const struct head *head, bool fin)
{
	h3_stream_respond(stream, head, fin);
}

static size_t write_body(void *stream, struct bytes data, bool fin)
{
	return h3_stream_write(stream, data, fin);
}

static void finish(void *stream, const struct fields *trailers)
{
	h3_stream_finish(stream, trailers);
}

static void consume(void *stream, size_t n)
{
	h3_stream_consume(stream, n);
}

static void reset(void *stream, enum mux_end why)
{
	h3_stream_reset(stream, codes[why]);
}

static usec head_since(const void *session)
{
	return h3_session_head_since(session);
}

static bool waits_for_reader(void *session, uint64_t *ret_delivered)
{
	return h3_session_backlog(session, ret_delivered) > 0;
}

/* While somebody waits for an answer, for addresses behind NAT. */
static void on_busy(void *session, bool is_busy)
{
	quic_conn_ping(h3_session_conn(session), is_busy ? LIMIT_H3_PING_MS : 0);
}

static void drain(void *session)
{
	h3_session_drain(session);
}

static void close_session(void *session, enum mux_end why, const char *reason)
{
	h3_session_close(session, codes[why], reason);
}

static const struct mux_protocol protocol = {
	.ops = { "h3", mux_server_drain, mux_server_drain, mux_server_close },
	.body_capacity = LIMIT_QUIC_STREAM_WINDOW_MAX,
	.set_ctx = set_ctx,
	.respond = respond,
	.write = write_body,
	.finish = finish,
	.consume = consume,
	.reset = reset,
	.head_since = head_since,
	.waits_for_reader = waits_for_reader,
	.on_busy = on_busy,
	.drain = drain,
	.close = close_session,
};

/* --- What the session tells -------------------------------------------------------------------- */

static void on_request(struct h3_session *session, struct h3_stream *st, const struct head *head,
		       bool fin)
{
	mux_server_request(h3_session_ctx(session), st, head, fin);
}

static void on_data(struct h3_stream *st, struct bytes data, bool fin)
{
	mux_visit_data(h3_stream_ctx(st), data, fin);
}

static void on_trailers(struct h3_stream *st, const struct fields *trailers)
{
	mux_visit_trailers(h3_stream_ctx(st), trailers);
}

static void on_writable(struct h3_stream *st)
{
	mux_visit_writable(h3_stream_ctx(st));
}

static void on_stream_closed(struct h3_stream *st, uint64_t code)
{
	(void)code;
	mux_visit_closed(h3_stream_ctx(st));
}

static void on_moved(struct h3_session *session, const struct address *peer)
{
	const struct mux_server *m = h3_session_ctx(session);
	const struct http_server_options *o = &m->base.options;

	if (o->on_moved)
		o->on_moved(o->ctx, peer);
}

static void on_closed(struct h3_session *session, const struct err *why)
{
	mux_server_closed(h3_session_ctx(session), why);
}

static const struct h3_events events = {
	.on_request = on_request,
	.on_data = on_data,
	.on_trailers = on_trailers,
	.on_writable = on_writable,
	.on_stream_closed = on_stream_closed,
	.on_moved = on_moved,
	.on_closed = on_closed,
};

struct http_server *h3_server_new(struct quic_conn *conn, const struct http_server_options *options)
{
	struct loop *loop = quic_endpoint_loop(quic_conn_endpoint(conn));
	struct mux_server *m = mux_server_new(&protocol, loop, options);

	m->session = h3_session_new(conn, &events, m);
	mux_server_ready(m);
	return &m->base;
}
