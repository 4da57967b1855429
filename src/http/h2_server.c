#include "http/h2_server.h"

#include "base/limits.h"
#include "http/h2_session.h"
#include "http/mux_server.h"

/* --- What the server asks of the session ------------------------------------------------------ */

static const uint32_t codes[] = {
	[MUX_DONE] = H2_NO_ERROR,
	[MUX_BROKEN] = H2_INTERNAL_ERROR,
	[MUX_TOO_SLOW] = H2_ENHANCE_YOUR_CALM,
};

static void set_ctx(void *stream, void *ctx)
{
	h2_stream_set_ctx(stream, ctx);
}

static void respond(void *stream, const struct head *head, bool fin)
{
	h2_stream_respond(stream, head, fin);
}

static size_t write_body(void *stream, struct bytes data, bool fin)
{
	return h2_stream_write(stream, data, fin);
}

static void finish(void *stream, const struct fields *trailers)
{
	h2_stream_finish(stream, trailers);
}

static void consume(void *stream, size_t n)
{
	h2_stream_consume(stream, n);
}

static void reset(void *stream, enum mux_end why)
{
	h2_stream_reset(stream, codes[why]);
}

static usec head_since(const void *session)
{
	return h2_session_head_since(session);
}

static bool waits_for_reader(void *session, uint64_t *ret_delivered)
{
	struct byte_stream *stream = h2_session_stream(session);

	return byte_stream_backlog(stream) > 0 && byte_stream_delivered(stream, ret_delivered);
}

static void drain(void *session)
{
	h2_session_drain(session);
}

static void close_session(void *session, enum mux_end why, const char *reason)
{
	h2_session_close(session, codes[why], reason);
}

static const struct mux_protocol protocol = {
	.ops = { "h2", mux_server_drain, mux_server_drain, mux_server_close },
	.body_capacity = LIMIT_H2_STREAM_WINDOW,
	.set_ctx = set_ctx,
	.respond = respond,
	.write = write_body,
	.finish = finish,
	.consume = consume,
	.reset = reset,
	.head_since = head_since,
	.waits_for_reader = waits_for_reader,
	.drain = drain,
	.close = close_session,
};

/* --- What the session tells -------------------------------------------------------------------- */

static void on_request(struct h2_session *session, struct h2_stream *st, const struct head *head,
		       bool fin)
{
	mux_server_request(h2_session_ctx(session), st, head, fin);
}

static void on_data(struct h2_stream *st, struct bytes data, bool fin)
{
	mux_visit_data(h2_stream_ctx(st), data, fin);
}

static void on_trailers(struct h2_stream *st, const struct fields *trailers)
{
	mux_visit_trailers(h2_stream_ctx(st), trailers);
}

static void on_writable(struct h2_stream *st)
{
	mux_visit_writable(h2_stream_ctx(st));
}

static void on_stream_closed(struct h2_stream *st, uint32_t code)
{
	(void)code;
	mux_visit_closed(h2_stream_ctx(st));
}

static void on_ready(struct h2_session *session)
{
	mux_server_ready(h2_session_ctx(session));
}

static void on_closed(struct h2_session *session, const struct err *why)
{
	mux_server_closed(h2_session_ctx(session), why);
}

static const struct h2_events events = {
	.on_request = on_request,
	.on_data = on_data,
	.on_trailers = on_trailers,
	.on_writable = on_writable,
	.on_stream_closed = on_stream_closed,
	.on_ready = on_ready,
	.on_closed = on_closed,
};

struct http_server *h2_server_new(struct byte_stream *stream,
				  const struct http_server_options *options)
{
	static const struct h2_options session_options = {
		.role = H2_SERVER,
		.max_streams = LIMIT_H2_VISITOR_STREAMS,
		.stream_window = LIMIT_H2_STREAM_WINDOW,
		.connection_window = LIMIT_H2_CONNECTION_WINDOW,
		.allow_connect_protocol = true,
		.is_window_shared = true,
	};
	struct mux_server *m = mux_server_new(&protocol, stream->loop, options);

	m->session = h2_session_new(stream, &session_options, &events, m);
	return &m->base;
}
