/* What every driver of transport/transport.h must do: the same test table runs over each of them.
 *
 * A test program defines make_line(), which joins an edge and a connector, and drop_line(), which frees what
 * it made beside them, includes this file and runs
 * TRANSPORT_CASES. settle() runs until nothing more is due.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "io/loop.h"
#include "transport/transport.h"

struct line;

/* One end of one stream, as its user saw it. */
struct side {
	struct stream *st;
	struct line *line;
	struct arena arena;
	enum stream_kind kind;
	struct head head;
	struct answer answer;
	struct bytes failure_json;
	struct fields trailers;
	uint64_t got;
	bool has_head, has_trailers, fin, closed;
	enum reason why;
	bool keep_credit; /* like a reader that stands still */
	size_t to_send, sent;
	bool send_fin;
};

struct end {
	struct session *s;
	struct side *sides[1200];
	size_t count;
	bool draining, closed, keep_credit;
	size_t doubts, doubts_over;
	enum reason why;
};

struct line {
	struct loop *loop;
	struct end edge, connector;
	/* the edge's memory of the registration */
	bool asked;
	uint8_t index;
	struct uuid tunnel;
	char account[64], version[64], config[64];
	struct registered verdict;
	/* the connector's of the answer */
	bool told, told_ok;
	char cause[64];
	void (*on_stream)(struct side *side);
};

/* The driver's own: fills line->edge.s and line->connector.s. */
static void make_line(struct line *line, const struct session_start *edge,
		      const struct session_start *connector);
/* Where drivers differ by their protocol. */
struct driver_traits {
	bool config_is_no_stream; /* a push travels otherwise */
	size_t send_queue;        /* taken beyond the peer's window */
};
static const struct driver_traits traits;
static void settle(struct line *line);
static void drop_line(struct line *line);

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 31 + (at >> 8));
}

static void send_more(struct side *side)
{
	uint8_t block[20000];

	while (side->sent < side->to_send) {
		size_t n = side->to_send - side->sent;
		if (n > sizeof(block))
			n = sizeof(block);
		for (size_t i = 0; i < n; i++)
			block[i] = pattern(side->sent + i);
		bool last = side->sent + n == side->to_send;
		size_t taken = stream_write(side->st, bytes_of(block, n), last && side->send_fin);
		side->sent += taken;
		if (taken < n)
			return;
	}
}

static void send_bytes(struct side *side, size_t size, bool fin)
{
	side->to_send += size;
	side->send_fin = fin;
	send_more(side);
}

static struct side *side_new(struct end *end, struct line *line)
{
	struct side *side = mem_alloc(sizeof(*side));

	arena_init(&side->arena);
	side->line = line;
	side->keep_credit = end->keep_credit;
	end->sides[end->count++] = side;
	return side;
}

/* --- Events of streams ----------------------------------------------------------------------- */

static void on_answer(struct stream *st, const struct answer *a)
{
	struct side *side = st->ctx;

	assert_false(side->has_head);
	assert_false(side->closed);
	side->has_head = true;
	side->answer = *a;
	assert_int_equal(head_copy(&side->head, a->head, &side->arena), 0);
	side->failure_json = arena_copy(&side->arena, a->failure_json);
}

static void on_data(struct stream *st, struct bytes data, bool fin)
{
	struct side *side = st->ctx;

	assert_true(side->has_head);
	assert_false(side->fin);
	assert_false(side->closed);
	for (size_t i = 0; i < data.len; i++)
		if (data.ptr[i] != pattern(side->got + i))
			fail_msg("byte %zu is wrong", (size_t)side->got + i);
	side->got += data.len;
	side->fin = fin;
	if (!side->keep_credit)
		stream_consume(st, data.len);
}

static void on_trailers(struct stream *st, const struct fields *trailers)
{
	struct side *side = st->ctx;

	assert_int_equal(fields_copy(&side->trailers, trailers, &side->arena), 0);
	side->has_trailers = side->fin = true;
}

static void on_writable(struct stream *st)
{
	send_more(st->ctx);
}

static void on_closed(struct stream *st, enum reason why)
{
	struct side *side = st->ctx;

	assert_false(side->closed);
	side->closed = true;
	side->why = why;
	side->st = NULL;
}

static const struct stream_events stream_events = {
	.on_answer = on_answer,
	.on_data = on_data,
	.on_trailers = on_trailers,
	.on_writable = on_writable,
	.on_closed = on_closed,
};

/* --- Events of sessions ---------------------------------------------------------------------- */

static void copy_text(char to[64], struct bytes text)
{
	snprintf(to, 64, BYTES_FMT, BYTES_ARG(text));
}

static void on_register(struct session *s, const struct registration *r)
{
	struct line *line = s->ctx;

	assert_false(line->asked);
	line->asked = true;
	line->index = r->index;
	line->tunnel = r->tunnel;
	copy_text(line->account, r->account);
	copy_text(line->version, r->version);
	session_reply(s, &line->verdict);
}

static void on_registered(struct session *s, const struct registered *r)
{
	struct line *line = s->ctx;

	assert_false(line->told);
	line->told = true;
	line->told_ok = r->ok;
	if (r->ok)
		assert_true(bytes_eq(r->location, BYTES_LIT("here")));
	else
		copy_text(line->cause, r->cause);
}

static void on_local_config(struct session *s, struct bytes json)
{
	copy_text(((struct line *)s->ctx)->config, json);
}

static void on_stream(struct session *s, struct stream *st, enum stream_kind kind,
		      const struct head *head, bool fin)
{
	struct line *line = s->ctx;
	struct side *side = side_new(&line->connector, line);

	side->st = st;
	side->kind = kind;
	side->has_head = true;
	side->fin = fin;
	assert_int_equal(head_copy(&side->head, head, &side->arena), 0);
	st->events = &stream_events;
	st->ctx = side;
	if (line->on_stream)
		line->on_stream(side);
}

static struct end *end_of(struct session *s)
{
	struct line *line = s->ctx;

	return s->side == SESSION_EDGE ? &line->edge : &line->connector;
}

static void on_draining(struct session *s)
{
	assert_false(end_of(s)->draining);
	end_of(s)->draining = true;
}

static void on_doubt(struct session *s, bool is_over)
{
	struct end *end = end_of(s);

	end->doubts += !is_over;
	end->doubts_over += is_over;
	assert_in_range(end->doubts - end->doubts_over, 0, 1);
}

static void on_session_closed(struct session *s, enum reason why, const struct err *err)
{
	struct end *end = end_of(s);

	(void)err;
	assert_false(end->closed);
	for (size_t i = 0; i < end->count; i++)
		assert_true(end->sides[i]->closed);
	end->closed = true;
	end->why = why;
	end->s = NULL;
}

static const struct session_events session_events = {
	.on_register = on_register,
	.on_registered = on_registered,
	.on_local_config = on_local_config,
	.on_stream = on_stream,
	.on_draining = on_draining,
	.on_doubt = on_doubt,
	.on_closed = on_session_closed,
};

/* --- A line ---------------------------------------------------------------------------------- */

static const struct bytes features[] = {
	BYTES_LIT("allow_remote_config"),
	BYTES_LIT("serialized_headers"),
	BYTES_LIT(FEATURE_REASON),
	BYTES_LIT(FEATURE_LEAVING),
};

static struct line *line_new(bool accept)
{
	struct line *line = mem_alloc(sizeof(*line));
	const struct registration registration = {
		.account = BYTES_LIT("0123456789abcdef0123456789abcdef"),
		.secret = BYTES_LIT("32 bytes that nobody will guess!"),
		.tunnel = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } },
		.index = 0,
		.connector = { { 99 } },
		.version = BYTES_LIT("test"),
		.arch = BYTES_LIT("linux_amd64"),
		.features = features,
		.feature_count = ARRAY_LEN(features),
	};
	const struct session_start edge = { .side = SESSION_EDGE,
					    .events = &session_events,
					    .ctx = line };
	const struct session_start connector = {
		.side = SESSION_CONNECTOR,
		.events = &session_events,
		.ctx = line,
		.registration = &registration,
		.local_config = BYTES_LIT("{\"ingress\":[]}"),
	};

	line->verdict = (struct registered){
		.ok = accept,
		.connection = { { 42 } },
		.location = BYTES_LIT("here"),
		.cause = BYTES_LIT("Unauthorized: no such tunnel"),
	};
	line->loop = loop_new(NULL);
	make_line(line, &edge, &connector);
	settle(line);
	return line;
}

static void end_done(struct end *end)
{
	for (size_t i = 0; i < end->count; i++) {
		assert_true(end->sides[i]->closed);
		arena_done(&end->sides[i]->arena);
		mem_free(end->sides[i]);
	}
}

static void line_free(struct line *line)
{
	if (line->edge.s)
		session_close(line->edge.s, REASON_DONE);
	settle(line);
	if (line->connector.s)
		session_close(line->connector.s, REASON_DONE);
	settle(line);
	assert_true(line->edge.closed && line->connector.closed);
	end_done(&line->edge);
	end_done(&line->connector);
	drop_line(line);
	loop_free(line->loop);
	mem_free(line);
}

static struct head request_head(const char *method)
{
	return (struct head){
		.method = bytes_str(method),
		.scheme = BYTES_LIT("https"),
		.authority = BYTES_LIT("app.example.com"),
		.path = BYTES_LIT("/a%2Fb/../c//d?x=1"),
	};
}

static struct side *open_kind(struct line *line, enum stream_kind kind, const struct head *head,
			      bool fin)
{
	struct side *side = side_new(&line->edge, line);

	side->st = session_open(line->edge.s, kind, head, fin, &stream_events, side);
	assert_non_null(side->st);
	assert_ptr_equal(side->st->ctx, side);
	return side;
}

static struct side *open_get(struct line *line)
{
	struct head head = request_head("GET");

	return open_kind(line, STREAM_HTTP, &head, true);
}

static void answer_status(struct side *side, int status, bool fin)
{
	const struct head head = { .status = status,
				   .length = fin ? HEAD_LENGTH_NONE : HEAD_LENGTH_UNKNOWN };
	const struct answer answer = { .head = &head };

	stream_answer(side->st, &answer, fin);
}

static struct side *newest(struct line *line)
{
	assert_true(line->connector.count > 0);
	return line->connector.sides[line->connector.count - 1];
}

#define assert_text(b, text) assert_true(bytes_eq((b), BYTES_LIT(text)))

/* --- Cases ----------------------------------------------------------------------------------- */

static void registers(void **state)
{
	(void)state;
	struct line *line = line_new(true);

	assert_true(line->asked && line->told && line->told_ok);
	assert_string_equal(line->account, "0123456789abcdef0123456789abcdef");
	assert_string_equal(line->version, "test");
	assert_int_equal(line->tunnel.b[15], 16);
	assert_string_equal(line->config, "{\"ingress\":[]}");
	assert_true(session_can_open(line->edge.s));
	assert_false(session_can_open(line->connector.s));
	assert_true(session_has_feature(line->edge.s, FEATURE_REASON));
	assert_true(session_has_feature(line->connector.s, FEATURE_REASON));
	assert_false(session_has_feature(line->edge.s, "adit_other"));
	assert_int_equal(session_stream_count(line->edge.s), 0);
	line_free(line);
}

static void refused_registration_ends_the_session(void **state)
{
	(void)state;
	struct line *line = line_new(false);

	assert_true(line->told);
	assert_false(line->told_ok);
	assert_string_equal(line->cause, "Unauthorized: no such tunnel");
	assert_true(line->edge.closed && line->connector.closed);
	assert_int_equal(line->edge.why, REASON_REFUSED);
	assert_int_equal(line->connector.why, REASON_REFUSED);
	line_free(line);
}

static void carries_bodies_both_ways(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct head head = request_head("POST");
	struct arena a;

	arena_init(&a);
	head.length = HEAD_LENGTH_KNOWN;
	head.content_length = 300000;
	assert_int_equal(fields_add(&head.fields, &a, BYTES_LIT("X-Two"), BYTES_LIT("a")), 0);
	assert_int_equal(fields_add(&head.fields, &a, BYTES_LIT("X-Two"), BYTES_LIT("b")), 0);
	struct side *e = open_kind(line, STREAM_HTTP, &head, false);
	assert_int_equal(session_stream_count(line->edge.s), 1);
	send_bytes(e, 300000, true);
	settle(line);
	struct side *c = newest(line);
	assert_int_equal(c->kind, STREAM_HTTP);
	assert_text(c->head.method, "POST");
	assert_text(c->head.authority, "app.example.com");
	assert_text(c->head.path, "/a%2Fb/../c//d?x=1");
	assert_int_equal(c->head.length, HEAD_LENGTH_KNOWN);
	assert_int_equal(c->head.content_length, 300000);
	assert_false(c->head.is_upgrade);
	assert_int_equal(c->got, 300000);
	assert_true(c->fin);
	assert_false(c->closed);

	struct head response = { .status = 201,
				 .length = HEAD_LENGTH_KNOWN,
				 .content_length = 400000 };
	assert_int_equal(
		fields_add(&response.fields, &a, BYTES_LIT("set-cookie"), BYTES_LIT("a=1")), 0);
	assert_int_equal(
		fields_add(&response.fields, &a, BYTES_LIT("set-cookie"), BYTES_LIT("b=2")), 0);
	const struct answer answer = { .head = &response };
	stream_answer(c->st, &answer, false);
	send_bytes(c, 400000, true);
	settle(line);
	assert_int_equal(e->head.status, 201);
	assert_false(e->answer.from_connector);
	assert_int_equal(e->head.length, HEAD_LENGTH_KNOWN);
	assert_int_equal(e->head.content_length, 400000);
	const struct field *cookie = fields_find(&e->head.fields, HEAD_SET_COOKIE);
	assert_non_null(cookie);
	assert_text(cookie->value, "a=1");
	assert_text(cookie[1].value, "b=2");
	assert_int_equal(e->got, 400000);
	assert_true(e->fin && e->closed && c->closed);
	assert_int_equal(e->why, REASON_DONE);
	assert_int_equal(c->why, REASON_DONE);
	assert_int_equal(session_stream_count(line->edge.s), 0);
	assert_int_equal(session_stream_count(line->connector.s), 0);
	arena_done(&a);
	line_free(line);
}

static void no_body_means_fin_on_the_head(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct side *e = open_get(line);

	settle(line);
	assert_true(newest(line)->fin);
	assert_int_equal(newest(line)->head.length, HEAD_LENGTH_NONE);
	answer_status(newest(line), 204, true);
	settle(line);
	assert_int_equal(e->head.status, 204);
	assert_true(e->fin && e->closed);
	assert_int_equal(e->why, REASON_DONE);
	line_free(line);
}

static void response_trailers_arrive(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct side *e = open_get(line);
	struct arena a;
	struct fields trailers = { 0 };

	arena_init(&a);
	assert_int_equal(fields_add(&trailers, &a, BYTES_LIT("grpc-status"), BYTES_LIT("0")), 0);
	settle(line);
	answer_status(newest(line), 200, false);
	send_bytes(newest(line), 1000, false);
	stream_finish(newest(line)->st, &trailers);
	settle(line);
	assert_int_equal(e->got, 1000);
	assert_true(e->has_trailers);
	const struct field *status = fields_find_text(&e->trailers, BYTES_LIT("grpc-status"));
	assert_non_null(status);
	assert_text(status->value, "0");
	assert_true(e->closed);
	assert_int_equal(e->why, REASON_DONE);
	arena_done(&a);
	line_free(line);
}

static void slow_reader_is_bounded_both_ways(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct head head = request_head("POST");
	enum { SIZE = 4 << 20 };

	head.length = HEAD_LENGTH_UNKNOWN;
	line->edge.keep_credit = line->connector.keep_credit = true;
	struct side *e = open_kind(line, STREAM_HTTP, &head, false);
	send_bytes(e, SIZE, true);
	settle(line);
	struct side *c = newest(line);
	answer_status(c, 200, false);
	send_bytes(c, SIZE, true);
	settle(line);
	assert_true(c->got > 0 && c->got <= LIMIT_H2_STREAM_WINDOW);
	assert_true(e->got > 0 && e->got <= LIMIT_H2_STREAM_WINDOW);
	assert_in_range(e->sent, c->got, c->got + traits.send_queue);
	assert_in_range(c->sent, e->got, e->got + traits.send_queue);

	/* Another stream is not held up by it. */
	line->edge.keep_credit = false;
	struct side *other = open_get(line);
	settle(line);
	answer_status(newest(line), 200, false);
	send_bytes(newest(line), SIZE, true);
	settle(line);
	assert_int_equal(other->got, SIZE);
	assert_true(other->closed);

	e->keep_credit = c->keep_credit = false;
	stream_consume(e->st, (size_t)e->got);
	stream_consume(c->st, (size_t)c->got);
	settle(line);
	assert_int_equal(c->got, SIZE);
	assert_int_equal(e->got, SIZE);
	assert_true(e->closed && c->closed);
	line_free(line);
}

static void websocket_is_raw_both_ways(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct head head = request_head("GET");
	struct arena a;

	arena_init(&a);
	head.is_upgrade = true;
	assert_int_equal(
		fields_add(&head.fields, &a, BYTES_LIT("Sec-WebSocket-Key"), BYTES_LIT("dGVzdA==")),
		0);
	struct side *e = open_kind(line, STREAM_WEBSOCKET, &head, false);
	settle(line);
	struct side *c = newest(line);
	assert_int_equal(c->kind, STREAM_WEBSOCKET);
	assert_true(c->head.is_upgrade);
	assert_non_null(fields_find(&c->head.fields, HEAD_SEC_WEBSOCKET_KEY));

	struct head response = { .status = 101, .length = HEAD_LENGTH_UNKNOWN };
	assert_int_equal(fields_add(&response.fields, &a, BYTES_LIT("Sec-WebSocket-Accept"),
				    BYTES_LIT("abc=")),
			 0);
	const struct answer answer = { .head = &response };
	stream_answer(c->st, &answer, false);
	send_bytes(c, 100, false);
	settle(line);
	assert_int_equal(e->head.status, 101);
	assert_non_null(fields_find(&e->head.fields, HEAD_SEC_WEBSOCKET_ACCEPT));
	assert_int_equal(e->got, 100);
	send_bytes(e, 200, false);
	settle(line);
	assert_int_equal(c->got, 200);
	send_bytes(e, 50, true);
	send_bytes(c, 50, true);
	settle(line);
	assert_int_equal(e->got, 150);
	assert_int_equal(c->got, 250);
	assert_true(e->closed && c->closed);
	assert_int_equal(e->why, REASON_DONE);

	/* An origin that does not upgrade answers like any other. */
	e = open_kind(line, STREAM_WEBSOCKET, &head, false);
	settle(line);
	answer_status(newest(line), 403, true);
	settle(line);
	assert_int_equal(e->head.status, 403);
	stream_reset(e->st, REASON_DONE);
	settle(line);
	assert_true(e->closed);
	arena_done(&a);
	line_free(line);
}

static void tcp_and_configuration_streams_are_told_apart(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct head head = { .authority = BYTES_LIT("127.0.0.1:22"), .length = HEAD_LENGTH_UNKNOWN };
	struct side *e = open_kind(line, STREAM_TCP, &head, false);

	settle(line);
	assert_int_equal(newest(line)->kind, STREAM_TCP);
	assert_text(newest(line)->head.authority, "127.0.0.1:22");
	answer_status(newest(line), 200, false);
	send_bytes(newest(line), 10, true);
	settle(line);
	assert_int_equal(e->head.status, 200);
	assert_int_equal(e->got, 10);

	if (traits.config_is_no_stream) {
		line_free(line);
		return;
	}
	head = (struct head){ .method = BYTES_LIT("PUT"),
			      .path = BYTES_LIT("/"),
			      .length = HEAD_LENGTH_UNKNOWN };
	struct side *push = open_kind(line, STREAM_CONFIG, &head, false);
	settle(line);
	assert_int_equal(newest(line)->kind, STREAM_CONFIG);
	answer_status(newest(line), 200, true);
	settle(line);
	assert_int_equal(push->head.status, 200);
	line_free(line);
}

static void failure_of_the_connector_says_why(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct side *e = open_get(line);
	const struct head head = { .status = 502 };
	const struct answer answer = {
		.head = &head,
		.from_connector = true,
		.failure_json = BYTES_LIT("{\"hop\":\"origin\",\"errno\":\"ECONNREFUSED\"}"),
	};

	settle(line);
	stream_answer(newest(line)->st, &answer, true);
	settle(line);
	assert_int_equal(e->head.status, 502);
	assert_true(e->answer.from_connector);
	assert_true(e->failure_json.len > 0);
	line_free(line);
}

static void reset_reaches_the_other_side(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct side *e = open_get(line);

	settle(line);
	struct side *c = newest(line);
	stream_reset(e->st, REASON_CANCELLED);
	assert_false(e->closed); /* no event inside a call */
	assert_int_equal(stream_write(e->st, BYTES_LIT("goes nowhere"), false), 12);
	settle(line);
	assert_true(e->closed && c->closed);
	assert_int_equal(e->why, REASON_CANCELLED);
	assert_int_equal(c->why, REASON_CANCELLED);

	e = open_get(line);
	settle(line);
	stream_reset(newest(line)->st, REASON_REFUSED);
	settle(line);
	assert_int_equal(e->why, REASON_REFUSED);
	assert_int_equal(newest(line)->why, REASON_REFUSED);

	/* In the middle of an answer. */
	e = open_get(line);
	settle(line);
	answer_status(newest(line), 200, false);
	send_bytes(newest(line), 10, false);
	settle(line);
	stream_reset(newest(line)->st, REASON_FAILED);
	settle(line);
	assert_int_equal(e->got, 10);
	assert_false(e->fin);
	assert_int_equal(e->why, REASON_FAILED);
	line_free(line);
}

static void leaving_connector_finishes_its_streams(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct side *e = open_get(line);

	settle(line);
	session_drain(line->connector.s);
	settle(line);
	assert_true(line->edge.draining);
	assert_false(session_can_open(line->edge.s));
	struct head head = request_head("GET");
	assert_null(session_open(line->edge.s, STREAM_HTTP, &head, true, &stream_events, NULL));
	assert_false(line->edge.closed || line->connector.closed);
	answer_status(newest(line), 200, false);
	send_bytes(newest(line), 1000000, true);
	settle(line);
	assert_int_equal(e->got, 1000000);
	assert_int_equal(e->why, REASON_DONE);
	assert_true(line->edge.closed && line->connector.closed);
	assert_int_equal(line->edge.why, REASON_DONE);
	assert_int_equal(line->connector.why, REASON_DONE);
	line_free(line);
}

static void idle_connector_leaves_at_once(void **state)
{
	(void)state;
	struct line *line = line_new(true);

	session_drain(line->connector.s);
	session_drain(line->connector.s);
	settle(line);
	assert_true(line->edge.draining);
	assert_true(line->edge.closed && line->connector.closed);
	assert_int_equal(line->edge.why, REASON_DONE);
	line_free(line);
}

static void leaving_edge_finishes_its_streams(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct side *e = open_get(line);

	settle(line);
	session_drain(line->edge.s);
	settle(line);
	assert_true(line->connector.draining);
	assert_false(session_can_open(line->edge.s));
	assert_false(line->edge.closed || line->connector.closed);
	answer_status(newest(line), 200, false);
	send_bytes(newest(line), 1000, true);
	settle(line);
	assert_int_equal(e->got, 1000);
	assert_true(line->edge.closed && line->connector.closed);
	assert_int_equal(line->edge.why, REASON_DONE);
	line_free(line);
}

static void close_ends_streams_first(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct side *e = open_get(line);

	settle(line);
	session_close(line->edge.s, REASON_FAILED);
	assert_false(line->edge.closed);
	settle(line);
	assert_true(line->edge.closed && line->connector.closed);
	assert_int_equal(line->edge.why, REASON_FAILED);
	assert_int_equal(line->connector.why, REASON_LOST);
	assert_int_equal(e->why, REASON_LOST);
	assert_int_equal(newest(line)->why, REASON_LOST);
	line_free(line);
}

static void answer_in_on_stream(struct side *side)
{
	answer_status(side, 200, false);
	send_bytes(side, 700, true);
}

static void a_thousand_streams(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	enum { N = 1000 };

	line->on_stream = answer_in_on_stream;
	for (int i = 0; i < N; i++)
		open_get(line);
	assert_int_equal(session_stream_count(line->edge.s), N);
	settle(line);
	assert_int_equal(line->connector.count, N);
	for (int i = 0; i < N; i++) {
		assert_int_equal(line->edge.sides[i]->got, 700);
		assert_true(line->edge.sides[i]->closed);
		assert_int_equal(line->edge.sides[i]->why, REASON_DONE);
	}
	assert_int_equal(session_stream_count(line->edge.s), 0);
	line_free(line);
}

/* At once: the connector knows with the answer to its registration what the edge can. */
static void reports_reach_the_edge(void **state)
{
	struct line *line = line_new(true);

	for (int i = 0; i < 40; i++) { /* more than there may be questions at once */
		char json[64];
		snprintf(json, sizeof(json), "{\"adit\":{\"health\":%d}}", i);
		assert_true(session_report(line->connector.s, bytes_str(json)));
		settle(line);
		assert_string_equal(line->config, json);
	}
	line_free(line);
}

#define TRANSPORT_CASES                                                                       \
	cmocka_unit_test(registers), cmocka_unit_test(refused_registration_ends_the_session), \
		cmocka_unit_test(carries_bodies_both_ways),                                   \
		cmocka_unit_test(no_body_means_fin_on_the_head),                              \
		cmocka_unit_test(response_trailers_arrive),                                   \
		cmocka_unit_test(slow_reader_is_bounded_both_ways),                           \
		cmocka_unit_test(websocket_is_raw_both_ways),                                 \
		cmocka_unit_test(tcp_and_configuration_streams_are_told_apart),               \
		cmocka_unit_test(failure_of_the_connector_says_why),                          \
		cmocka_unit_test(reset_reaches_the_other_side),                               \
		cmocka_unit_test(leaving_connector_finishes_its_streams),                     \
		cmocka_unit_test(idle_connector_leaves_at_once),                              \
		cmocka_unit_test(leaving_edge_finishes_its_streams),                          \
		cmocka_unit_test(close_ends_streams_first),                                   \
		cmocka_unit_test(reports_reach_the_edge), cmocka_unit_test(a_thousand_streams)
