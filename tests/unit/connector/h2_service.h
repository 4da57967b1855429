/* An HTTP/2 service on the loop of the test, plain or behind TLS. Included once per program. */
#pragma once

#include "unit/connector/tls_service.h"

#include "http/h2_session.h"

/* One request as the service saw it. */
struct asked {
	struct h2_stream *st; /* NULL once closed */
	struct line *line;
	struct arena arena;
	struct head head;
	struct fields trailers;
	struct buf body;
	bool has_end, has_trailers, keeps_credit;
	uint32_t code;     /* once closed */
	struct bytes rest; /* of the response's body */
	bool rest_ends;
};

/* One connection. */
struct line {
	struct h2_session *session; /* NULL once closed */
	size_t asked_count;
};

static struct asked *asked[300];
static struct line *lines[300];
static size_t asked_count, line_count;
static uint32_t max_streams;
static bool takes_websockets;

static inline struct asked *asked_of(struct h2_stream *st)
{
	return h2_stream_ctx(st);
}

static inline void on_asked(struct h2_session *s, struct h2_stream *st, const struct head *head,
			    bool fin)
{
	struct asked *a = mem_alloc(sizeof(*a));

	assert_true(asked_count < ARRAY_LEN(asked));
	arena_init(&a->arena);
	buf_init(&a->body, 64 << 20);
	a->st = st;
	a->line = h2_session_ctx(s);
	a->line->asked_count++;
	a->has_end = fin;
	assert_int_equal(head_copy(&a->head, head, &a->arena), 0);
	h2_stream_set_ctx(st, a);
	asked[asked_count++] = a;
	happened();
}

static inline void on_asked_data(struct h2_stream *st, struct bytes data, bool fin)
{
	struct asked *a = asked_of(st);

	assert_false(a->has_end);
	assert_int_equal(buf_append(&a->body, data), 0);
	a->has_end = fin;
	if (!a->keeps_credit)
		h2_stream_consume(st, data.len);
	happened();
}

static inline void on_asked_trailers(struct h2_stream *st, const struct fields *trailers)
{
	struct asked *a = asked_of(st);

	assert_int_equal(fields_copy(&a->trailers, trailers, &a->arena), 0);
	a->has_trailers = a->has_end = true;
	happened();
}

static inline void on_asked_writable(struct h2_stream *st)
{
	struct asked *a = asked_of(st);
	size_t taken = h2_stream_write(st, a->rest, a->rest_ends);

	a->rest = bytes_from(a->rest, taken);
}

static inline void on_asked_closed(struct h2_stream *st, uint32_t code)
{
	struct asked *a = asked_of(st);

	a->st = NULL;
	a->code = code;
	happened();
}

static inline void on_line_ready(struct h2_session *s)
{
	happened();
}

static inline void on_line_closed(struct h2_session *s, const struct err *why)
{
	((struct line *)h2_session_ctx(s))->session = NULL;
	happened();
}

static const struct h2_events line_events = {
	.on_request = on_asked,
	.on_data = on_asked_data,
	.on_trailers = on_asked_trailers,
	.on_writable = on_asked_writable,
	.on_stream_closed = on_asked_closed,
	.on_ready = on_line_ready,
	.on_closed = on_line_closed,
};

static inline struct line *speak_h2(struct byte_stream *stream)
{
	const struct h2_options options = {
		.role = H2_SERVER,
		.max_streams = max_streams,
		.stream_window = 65536,
		.connection_window = 1 << 20,
		.allow_connect_protocol = takes_websockets,
		.glitches_per_sec = 100000,
	};
	struct line *line = mem_alloc(sizeof(*line));

	assert_true(line_count < ARRAY_LEN(lines));
	line->session = h2_session_new(stream, &options, &line_events, line);
	lines[line_count++] = line;
	return line;
}

static inline struct line *accept_line(void)
{
	return speak_h2(conn_adopt(loop, accept_next(), &service_address));
}

/* --- The fixture ----------------------------------------------------------------------------- */

static inline void reset_counts(void)
{
	asked_count = line_count = 0;
	max_streams = 100;
	takes_websockets = false;
}

static inline int start_h2c(void **state)
{
	start(state);
	reset_counts();
	serve("h2c", NULL);
	return 0;
}

static inline void end_service(void)
{
	for (size_t i = 0; i < line_count; i++)
		if (lines[i]->session)
			h2_session_close(lines[i]->session, H2_NO_ERROR, "test is over");
	let_it_turn();
	for (size_t i = 0; i < line_count; i++) {
		assert_null(lines[i]->session);
		mem_free(lines[i]);
	}
	for (size_t i = 0; i < asked_count; i++) {
		arena_done(&asked[i]->arena);
		buf_done(&asked[i]->body);
		mem_free(asked[i]);
	}
}

static inline int stop_h2c(void **state)
{
	finish_visit(&visit);
	finish_visit(&second);
	set = origin_set_unref(set);
	end_service();
	return stop(state);
}

static inline struct asked *hear_request(size_t number)
{
	WAIT_FOR(asked_count >= number);
	return asked[number - 1];
}

static inline void answer(struct asked *a, int status, const char *body)
{
	const struct head head = { .status = status, .length = HEAD_LENGTH_UNKNOWN };

	h2_stream_respond(a->st, &head, false);
	assert_int_equal(h2_stream_write(a->st, bytes_str(body), true), strlen(body));
}
