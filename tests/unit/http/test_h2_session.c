/* HTTP/2 sessions of both roles, joined in memory; floods and nonsense come as raw frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/bufq.h"
#include "base/limits.h"
#include "base/mem.h"
#include "fake/memory_stream.h"
#include "http/h2_session.h"

#define WINDOW 65536

/* --- Recording users ------------------------------------------------------------------------- */

struct end;

struct side { /* one stream as one end saw it */
	struct h2_stream *st;
	struct end *end;
	struct arena arena;
	struct head head;
	struct fields trailers;
	struct bufq got;
	uint64_t got_total;
	bool has_head, has_trailers, fin, closed;
	uint32_t code;
	int writable;
	/* What it sends by itself: */
	size_t to_send, sent;
	bool send_fin, keep_credit;
};

struct end { /* one session */
	struct h2_session *s;
	struct side *sides[1100];
	size_t count;
	bool ready, goaway, closed, keep_credit;
	struct err why;
	void (*on_request)(struct side *side, bool fin);
};

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
		size_t taken = h2_stream_write(side->st, bytes_of(block, n), last && side->send_fin);
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

static struct side *side_new(struct end *end, struct h2_stream *st)
{
	struct side *side = mem_alloc(sizeof(*side));

	side->st = st;
	side->end = end;
	side->keep_credit = end->keep_credit;
	arena_init(&side->arena);
	bufq_init(&side->got, SIZE_MAX);
	end->sides[end->count++] = side;
	return side;
}

static void on_request(struct h2_session *s, struct h2_stream *st, const struct head *head, bool fin)
{
	struct end *end = h2_session_ctx(s);
	struct side *side = side_new(end, st);

	h2_stream_set_ctx(st, side);
	assert_int_equal(head_copy(&side->head, head, &side->arena), 0);
	side->has_head = true;
	side->fin = fin;
	if (end->on_request)
		end->on_request(side, fin);
}

static void on_response(struct h2_stream *st, const struct head *head, bool fin)
{
	struct side *side = h2_stream_ctx(st);

	assert_int_equal(head_copy(&side->head, head, &side->arena), 0);
	side->has_head = true;
	side->fin = fin;
}

static void on_data(struct h2_stream *st, struct bytes data, bool fin)
{
	struct side *side = h2_stream_ctx(st);

	assert_false(side->fin);
	assert_false(side->closed);
	for (size_t i = 0; i < data.len; i++)
		if (data.ptr[i] != pattern(side->got_total + i))
			fail_msg("byte %zu is wrong", (size_t)side->got_total + i);
	side->got_total += data.len;
	side->fin = fin;
	if (!side->keep_credit)
		h2_stream_consume(st, data.len);
}

static void on_trailers(struct h2_stream *st, const struct fields *trailers)
{
	struct side *side = h2_stream_ctx(st);

	assert_int_equal(fields_copy(&side->trailers, trailers, &side->arena), 0);
	side->has_trailers = side->fin = true;
}

static void on_writable(struct h2_stream *st)
{
	struct side *side = h2_stream_ctx(st);

	side->writable++;
	send_more(side);
}

static void on_stream_closed(struct h2_stream *st, uint32_t code)
{
	struct side *side = h2_stream_ctx(st);

	assert_false(side->closed);
	assert_false(side->end->closed);
	side->closed = true;
	side->code = code;
}

static void on_ready(struct h2_session *s)
{
	((struct end *)h2_session_ctx(s))->ready = true;
}

static void on_goaway(struct h2_session *s)
{
	((struct end *)h2_session_ctx(s))->goaway = true;
}

static void on_closed(struct h2_session *s, const struct err *why)
{
	struct end *end = h2_session_ctx(s);

	assert_false(end->closed);
	for (size_t i = 0; i < end->count; i++)
		assert_true(end->sides[i]->closed);
	end->closed = true;
	end->why = *why;
	end->s = NULL;
}

static const struct h2_events events = {
	.on_request = on_request,
	.on_response = on_response,
	.on_data = on_data,
	.on_trailers = on_trailers,
	.on_writable = on_writable,
	.on_stream_closed = on_stream_closed,
	.on_ready = on_ready,
	.on_goaway = on_goaway,
	.on_closed = on_closed,
};

/* --- A pair ---------------------------------------------------------------------------------- */

struct pair {
	struct loop *loop;
	struct end client, server;
	struct byte_stream *raw; /* a test that speaks frames itself has this instead of the client */
	struct byte_stream *client_bytes, *server_bytes;
};

static const struct h2_options server_options = {
	.role = H2_SERVER,
	.max_streams = 1000,
	.stream_window = WINDOW,
	.connection_window = 16 * WINDOW,
	.allow_connect_protocol = true,
};
static const struct h2_options client_options = {
	.role = H2_CLIENT,
	.stream_window = WINDOW,
	.connection_window = 16 * WINDOW,
};

static struct pair *pair_new(size_t capacity, bool raw)
{
	struct pair *p = mem_alloc(sizeof(*p));

	p->loop = loop_new(NULL);
	assert_non_null(p->loop);
	memory_stream_pair(p->loop, capacity, &p->client_bytes, &p->server_bytes);
	p->server.s = h2_session_new(p->server_bytes, &server_options, &events, &p->server);
	if (raw)
		p->raw = p->client_bytes;
	else
		p->client.s = h2_session_new(p->client_bytes, &client_options, &events, &p->client);
	if (!raw)
		loop_settle(p->loop);
	return p;
}

static void end_done(struct end *end)
{
	for (size_t i = 0; i < end->count; i++) {
		arena_done(&end->sides[i]->arena);
		bufq_done(&end->sides[i]->got);
		mem_free(end->sides[i]);
	}
}

static void pair_free(struct pair *p)
{
	if (p->client.s)
		h2_session_close(p->client.s, H2_NO_ERROR, "test is over");
	if (p->server.s)
		h2_session_close(p->server.s, H2_NO_ERROR, "test is over");
	p->raw = byte_stream_close(p->raw);
	loop_settle(p->loop);
	assert_null(p->client.s);
	assert_null(p->server.s);
	end_done(&p->client);
	end_done(&p->server);
	loop_free(p->loop);
	mem_free(p);
}

static struct head get_head(void)
{
	return (struct head){
		.method = BYTES_LIT("GET"),
		.scheme = BYTES_LIT("https"),
		.authority = BYTES_LIT("app.example.com"),
		.path = BYTES_LIT("/a%2Fb/../c//d?x=1"),
		.length = HEAD_LENGTH_NONE,
	};
}

static struct side *open_stream(struct pair *p, const struct head *head, bool fin)
{
	struct h2_stream *st = h2_session_open(p->client.s, head, fin, NULL);

	assert_non_null(st);
	struct side *side = side_new(&p->client, st);
	h2_stream_set_ctx(st, side);
	return side;
}

static void respond(struct side *side, int status, bool fin)
{
	struct head head = { .status = status,
			     .length = fin ? HEAD_LENGTH_NONE : HEAD_LENGTH_UNKNOWN };

	h2_stream_respond(side->st, &head, fin);
}

static const char *value_of(const struct fields *f, const char *name)
{
	static char text[1024];
	const struct field *field = fields_find_text(f, bytes_str(name));

	if (!field)
		return NULL;
	snprintf(text, sizeof(text), BYTES_FMT, BYTES_ARG(field->value));
	return text;
}

#define assert_bytes(b, text) assert_true(bytes_eq((b), BYTES_LIT(text)))

/* --- Requests -------------------------------------------------------------------------------- */

static void carries_a_request_and_a_response(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, false);
	struct arena a;
	struct head head = get_head();

	arena_init(&a);
	assert_true(p->client.ready && p->server.ready);
	fields_add(&head.fields, &a, BYTES_LIT("Accept"), BYTES_LIT("*/*"));
	fields_add(&head.fields, &a, BYTES_LIT("Connection"), BYTES_LIT("close"));
	fields_add(&head.fields, &a, BYTES_LIT("X-Empty"), BYTES_LIT(""));
	fields_add(&head.fields, &a, BYTES_LIT("cookie"), BYTES_LIT("a=1"));
	fields_add(&head.fields, &a, BYTES_LIT("cookie"), BYTES_LIT("b=2"));
	struct side *c = open_stream(p, &head, true);
	loop_settle(p->loop);
	assert_int_equal(p->server.count, 1);
	struct side *s = p->server.sides[0];
	assert_true(s->fin);
	assert_bytes(s->head.method, "GET");
	assert_bytes(s->head.scheme, "https");
	assert_bytes(s->head.authority, "app.example.com");
	assert_bytes(s->head.path, "/a%2Fb/../c//d?x=1");
	assert_int_equal(s->head.length, HEAD_LENGTH_NONE);
	assert_string_equal(value_of(&s->head.fields, "accept"), "*/*");
	assert_string_equal(value_of(&s->head.fields, "x-empty"), "");
	assert_string_equal(value_of(&s->head.fields, "cookie"), "a=1; b=2");
	assert_null(value_of(&s->head.fields, "connection"));
	assert_int_equal(s->head.fields.count, 3);

	struct head answer = { .status = 200, .length = HEAD_LENGTH_KNOWN, .content_length = 100000 };
	fields_add(&answer.fields, &a, BYTES_LIT("Content-Length"), BYTES_LIT("7"));
	fields_add(&answer.fields, &a, BYTES_LIT("Transfer-Encoding"), BYTES_LIT("chunked"));
	respond(s, 103, false);
	h2_stream_respond(s->st, &answer, false);
	send_bytes(s, 100000, true);
	loop_settle(p->loop);
	assert_int_equal(c->head.status, 200);
	assert_int_equal(c->head.length, HEAD_LENGTH_KNOWN);
	assert_int_equal(c->head.content_length, 100000);
	assert_int_equal(c->head.fields.count, 1);
	assert_int_equal(c->got_total, 100000);
	assert_true(c->fin && c->closed && s->closed);
	assert_int_equal(c->code, 0);
	assert_int_equal(s->code, 0);
	assert_int_equal(h2_session_stream_count(p->client.s), 0);
	assert_int_equal(h2_session_stream_count(p->server.s), 0);
	arena_done(&a);
	pair_free(p);
}

static void head_and_first_data_leave_together(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, false);
	struct head head = get_head();

	head.method = BYTES_LIT("POST");
	head.length = HEAD_LENGTH_UNKNOWN;
	uint64_t before = memory_stream_written(p->client_bytes);
	struct side *c = open_stream(p, &head, false);
	send_bytes(c, 1000, true);
	/* Both are in the byte stream, which sends once per turn. */
	assert_true(memory_stream_written(p->client_bytes) - before > 1000);
	assert_int_equal(c->sent, 1000);
	loop_settle(p->loop);
	struct side *s = p->server.sides[0];
	assert_int_equal(s->got_total, 1000);
	before = memory_stream_written(p->server_bytes);
	respond(s, 200, false);
	send_bytes(s, 500, true);
	assert_true(memory_stream_written(p->server_bytes) - before > 500);
	loop_settle(p->loop);
	assert_int_equal(c->got_total, 500);
	assert_true(c->closed && s->closed);
	pair_free(p);
}

static void answer_at_once(struct side *side, bool fin)
{
	(void)fin;
	respond(side, 200, false);
	uint8_t one = pattern(0);
	assert_int_equal(h2_stream_write(side->st, bytes_of(&one, 1), false), 0);
	side->to_send = 5;
	side->send_fin = true;
}

static void write_inside_an_event_is_taken_up_later(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, false);
	struct head head = get_head();

	p->server.on_request = answer_at_once;
	struct side *c = open_stream(p, &head, true);
	loop_settle(p->loop);
	assert_int_equal(c->got_total, 5);
	assert_true(c->closed);
	assert_int_equal(p->server.sides[0]->writable, 1);
	pair_free(p);
}

static void reads_of_one_byte_change_nothing(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, false);
	struct head head = get_head();

	memory_stream_set_read_max(p->server_bytes, 1);
	memory_stream_set_read_max(p->client_bytes, 1);
	head.length = HEAD_LENGTH_KNOWN;
	head.content_length = 300;
	struct side *c = open_stream(p, &head, false);
	send_bytes(c, 300, true);
	for (int i = 0; i < 5; i++)
		loop_settle(p->loop);
	struct side *s = p->server.sides[0];
	assert_int_equal(s->got_total, 300);
	assert_int_equal(s->head.content_length, 300);
	respond(s, 204, true);
	for (int i = 0; i < 5; i++)
		loop_settle(p->loop);
	assert_int_equal(c->head.status, 204);
	assert_true(c->closed);
	pair_free(p);
}

/* --- Flow ------------------------------------------------------------------------------------ */

static void stalled_reader_holds_no_more_than_its_window(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, false);
	struct head head = get_head();

	p->client.keep_credit = true;
	struct side *c = open_stream(p, &head, true);
	loop_settle(p->loop);
	struct side *s = p->server.sides[0];
	respond(s, 200, false);
	send_bytes(s, 4 << 20, true);
	loop_settle(p->loop);
	assert_int_equal(c->got_total, WINDOW);
	assert_int_equal(s->sent, WINDOW);

	/* Another stream of the same connection is not held up. */
	p->client.keep_credit = false;
	struct side *c2 = open_stream(p, &head, true);
	loop_settle(p->loop);
	respond(p->server.sides[1], 200, false);
	send_bytes(p->server.sides[1], 4 << 20, true);
	loop_settle(p->loop);
	assert_int_equal(c2->got_total, 4 << 20);
	assert_true(c2->closed);
	assert_int_equal(c->got_total, WINDOW);

	c->keep_credit = false;
	h2_stream_consume(c->st, WINDOW);
	loop_settle(p->loop);
	assert_int_equal(c->got_total, 4 << 20);
	assert_true(c->closed && s->closed);
	pair_free(p);
}

static void small_backlog_loses_nothing(void **state)
{
	(void)state;
	struct pair *p = pair_new(5000, false);
	struct head head = get_head();

	head.length = HEAD_LENGTH_UNKNOWN;
	struct side *c = open_stream(p, &head, false);
	send_bytes(c, 1 << 20, true);
	loop_settle(p->loop);
	struct side *s = p->server.sides[0];
	respond(s, 200, false);
	send_bytes(s, 1 << 20, true);
	loop_settle(p->loop);
	assert_int_equal(s->got_total, 1 << 20);
	assert_int_equal(c->got_total, 1 << 20);
	assert_true(c->closed && s->closed);
	assert_int_equal(c->code, 0);
	pair_free(p);
}

static void many_streams_share_one_connection(void **state)
{
	(void)state;
	struct pair *p = pair_new(65536, false);
	struct head head = get_head();
	enum { N = 1000, SIZE = 3 * WINDOW };

	for (int i = 0; i < N; i++)
		open_stream(p, &head, true);
	assert_false(h2_session_can_open(p->client.s));
	assert_null(h2_session_open(p->client.s, &head, true, NULL));
	loop_settle(p->loop);
	assert_int_equal(p->server.count, N);
	for (int i = 0; i < N; i++) {
		respond(p->server.sides[i], 200, false);
		send_bytes(p->server.sides[i], SIZE / 100, true);
	}
	loop_settle(p->loop);
	loop_settle(p->loop);
	for (int i = 0; i < N; i++) {
		assert_int_equal(p->client.sides[i]->got_total, SIZE / 100);
		assert_true(p->client.sides[i]->closed);
	}
	assert_true(h2_session_can_open(p->client.s));
	pair_free(p);
}

static void end_waits_for_the_connection_window(void **state)
{
	(void)state;
	struct pair *p = pair_new(8 << 20, false);
	struct head head = get_head();

	/* While the client reads nothing, the server uses the connection's window up. */
	for (int i = 0; i < 20; i++)
		open_stream(p, &head, true);
	loop_settle(p->loop);
	memory_stream_stall(p->client_bytes, true);
	for (int i = 0; i < 20; i++) {
		respond(p->server.sides[i], 200, false);
		send_bytes(p->server.sides[i], WINDOW, false);
	}
	struct side *last = p->server.sides[19];
	assert_int_equal(last->sent, 0);
	last->to_send = last->sent;
	h2_stream_write(last->st, BYTES_NONE, true);
	loop_settle(p->loop);
	assert_false(last->closed);
	memory_stream_stall(p->client_bytes, false);
	loop_settle(p->loop);
	assert_true(last->closed);
	assert_int_equal(last->code, 0);
	assert_true(p->client.sides[19]->fin);
	assert_int_equal(p->client.sides[18]->got_total, WINDOW);
	pair_free(p);
}

/* --- Trailers, resets ------------------------------------------------------------------------ */

static void carries_trailers_both_ways(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, false);
	struct head head = get_head();
	struct arena a;
	struct fields trailers = { 0 };

	arena_init(&a);
	fields_add(&trailers, &a, BYTES_LIT("Grpc-Status"), BYTES_LIT("0"));
	head.length = HEAD_LENGTH_UNKNOWN;
	struct side *c = open_stream(p, &head, false);
	send_bytes(c, 10, false);
	h2_stream_finish(c->st, &trailers);
	loop_settle(p->loop);
	struct side *s = p->server.sides[0];
	assert_int_equal(s->got_total, 10);
	assert_string_equal(value_of(&s->trailers, "grpc-status"), "0");
	respond(s, 200, false);
	send_bytes(s, 1000, false);
	h2_stream_finish(s->st, &trailers);
	loop_settle(p->loop);
	assert_int_equal(c->got_total, 1000);
	assert_string_equal(value_of(&c->trailers, "grpc-status"), "0");
	assert_true(c->closed && s->closed);
	assert_int_equal(c->code | s->code, 0);

	/* Before the head has left. */
	c = open_stream(p, &head, false);
	h2_stream_finish(c->st, &trailers);
	loop_settle(p->loop);
	assert_true(p->server.sides[1]->has_trailers);
	/* No trailers: a plain end. */
	c = open_stream(p, &head, false);
	h2_stream_finish(c->st, NULL);
	loop_settle(p->loop);
	assert_true(p->server.sides[2]->fin);
	arena_done(&a);
	pair_free(p);
}

static void reset_reaches_the_other_side(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, false);
	struct head head = get_head();

	head.length = HEAD_LENGTH_UNKNOWN;
	struct side *c = open_stream(p, &head, false);
	loop_settle(p->loop);
	h2_stream_reset(c->st, H2_CANCEL);
	assert_false(c->closed); /* no event inside a call */
	assert_int_equal(h2_stream_write(c->st, BYTES_LIT("gone"), false), 4);
	loop_settle(p->loop);
	assert_int_equal(c->code, H2_CANCEL);
	assert_int_equal(p->server.sides[0]->code, H2_CANCEL);

	c = open_stream(p, &head, false);
	loop_settle(p->loop);
	respond(p->server.sides[1], 200, false);
	loop_settle(p->loop);
	h2_stream_reset(p->server.sides[1]->st, H2_INTERNAL_ERROR);
	loop_settle(p->loop);
	assert_int_equal(c->code, H2_INTERNAL_ERROR);
	assert_int_equal(c->head.status, 200);

	/* Before the head has left: the peer never hears of it. */
	c = open_stream(p, &head, false);
	h2_stream_reset(c->st, H2_CANCEL);
	loop_settle(p->loop);
	assert_true(c->closed);
	assert_int_equal(p->server.count, 2);
	pair_free(p);
}

static void early_answer_stops_the_request(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, false);
	struct head head = get_head();

	p->client.keep_credit = true;
	p->server.keep_credit = true;
	head.length = HEAD_LENGTH_UNKNOWN;
	struct side *c = open_stream(p, &head, false);
	send_bytes(c, 1 << 20, true);
	loop_settle(p->loop);
	struct side *s = p->server.sides[0];
	respond(s, 413, false);
	send_bytes(s, WINDOW, false);
	h2_stream_write(s->st, BYTES_NONE, true); /* waits behind the window */
	h2_stream_reset(s->st, H2_NO_ERROR);
	loop_settle(p->loop);
	h2_stream_consume(c->st, WINDOW);
	loop_settle(p->loop);
	assert_int_equal(c->got_total, WINDOW);
	assert_true(c->fin && c->closed && s->closed);
	assert_int_equal(c->code | s->code, 0);
	pair_free(p);
}

/* --- Ends ------------------------------------------------------------------------------------ */

static void drain_finishes_what_is_open(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, false);
	struct head head = get_head();
	struct side *c = open_stream(p, &head, true);

	loop_settle(p->loop);
	h2_session_drain(p->server.s);
	loop_settle(p->loop);
	assert_true(p->client.goaway);
	assert_false(h2_session_can_open(p->client.s));
	assert_false(p->server.closed);
	respond(p->server.sides[0], 200, false);
	send_bytes(p->server.sides[0], 1000, true);
	loop_settle(p->loop);
	assert_int_equal(c->got_total, 1000);
	assert_int_equal(c->code, 0);
	assert_true(p->server.closed && p->client.closed);
	assert_int_equal(p->server.why.code, E_CLOSED);
	pair_free(p);
}

static void request_that_crosses_a_drain_is_served(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, false);
	struct head head = get_head();

	head.length = HEAD_LENGTH_UNKNOWN;
	struct side *c = open_stream(p, &head, false);
	send_bytes(c, 10, true); /* has left */
	h2_session_drain(p->server.s);
	loop_settle(p->loop);
	assert_int_equal(p->server.count, 1);
	respond(p->server.sides[0], 200, true);
	loop_settle(p->loop);
	assert_int_equal(c->head.status, 200);
	assert_true(p->server.closed);
	pair_free(p);
}

static void close_ends_streams_first(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, false);
	struct head head = get_head();
	struct side *c = open_stream(p, &head, true);

	loop_settle(p->loop);
	h2_session_close(p->server.s, H2_ENHANCE_YOUR_CALM, "enough");
	assert_false(p->server.sides[0]->closed);
	loop_settle(p->loop);
	assert_true(p->server.closed && p->client.closed);
	assert_int_equal(p->server.sides[0]->code, H2_CANCEL);
	assert_int_not_equal(c->code, 0);
	pair_free(p);
}

static void lost_connection_ends_everything(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, true);

	byte_stream_write(p->raw, BYTES_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"));
	loop_settle(p->loop);
	assert_true(p->server.ready);
	p->raw = byte_stream_close(p->raw);
	loop_settle(p->loop);
	assert_true(p->server.closed);
	assert_int_equal(p->server.why.code, E_CLOSED);
	pair_free(p);
}

static void silent_peer_is_found_out(void **state)
{
	(void)state;
	struct pair *p = pair_new(1 << 20, true);

	byte_stream_write(p->raw, BYTES_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"));
	loop_settle(p->loop);
	h2_session_ping(p->server.s, 1);
	while (!p->server.closed)
		loop_settle(p->loop);
	assert_int_equal(p->server.why.code, E_TIMEOUT);
	pair_free(p);

	/* One that is asked already can be given less time, and not more. */
	p = pair_new(1 << 20, true);
	byte_stream_write(p->raw, BYTES_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"));
	loop_settle(p->loop);
	h2_session_ping(p->server.s, 600000);
	h2_session_ping(p->server.s, 1);
	h2_session_ping(p->server.s, 600000);
	while (!p->server.closed)
		loop_settle(p->loop);
	assert_int_equal(p->server.why.code, E_TIMEOUT);
	pair_free(p);

	/* One that answers is left alone; a second ping may follow. */
	p = pair_new(1 << 20, false);
	for (int i = 0; i < 3; i++) {
		h2_session_ping(p->server.s, 60000);
		h2_session_ping(p->client.s, 60000);
		uint64_t written = memory_stream_written(p->client_bytes);
		loop_settle(p->loop);
		assert_true(memory_stream_written(p->client_bytes) > written);
	}
	assert_false(p->server.closed);
	pair_free(p);
}

/* --- Hostile peers --------------------------------------------------------------------------- */

struct frames {
	uint8_t bytes[200000];
	size_t len;
};

static void frame(struct frames *f, uint8_t type, uint8_t flags, uint32_t id, const void *payload,
		  size_t len)
{
	uint8_t head[9] = {
		(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,       type,       flags,
		(uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id
	};

	assert_true(f->len + 9 + len <= sizeof(f->bytes));
	memcpy(f->bytes + f->len, head, 9);
	if (len)
		memcpy(f->bytes + f->len + 9, payload, len);
	f->len += 9 + len;
}

static void hello(struct frames *f)
{
	f->len = 24;
	memcpy(f->bytes, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	frame(f, 4, 0, 0, NULL, 0);
}

/* Literal fields without indexing, so that the block needs no state. */
static size_t literal(uint8_t *at, const char *name, const char *value, size_t value_len)
{
	size_t n = 0, name_len = strlen(name);

	at[n++] = 0;
	at[n++] = (uint8_t)name_len;
	memcpy(at + n, name, name_len);
	n += name_len;
	if (value_len < 127) {
		at[n++] = (uint8_t)value_len;
	} else {
		size_t rest = value_len - 127;
		at[n++] = 127;
		for (; rest >= 128; rest >>= 7)
			at[n++] = (uint8_t)(rest | 128);
		at[n++] = (uint8_t)rest;
	}
	memcpy(at + n, value, value_len);
	return n + value_len;
}

static size_t request_block(uint8_t *at, const char *method, const char *path)
{
	size_t n = 0;

	n += literal(at + n, ":method", method, strlen(method));
	n += literal(at + n, ":scheme", "https", 5);
	n += literal(at + n, ":authority", "a.example", 9);
	n += literal(at + n, ":path", path, strlen(path));
	return n;
}

static void send_frames(struct pair *p, struct frames *f)
{
	struct bytes left = bytes_of(f->bytes, f->len);

	while (left.len && !p->server.closed) {
		left = bytes_from(left, byte_stream_write(p->raw, left));
		loop_settle(p->loop);
	}
}

/* --- Windows that grow ----------------------------------------------------------------------- */

static void stop_loop(struct timer *t)
{
	loop_stop(t->loop);
}

/* WINDOW_UPDATEs of stream 1 among what the server has sent since the last call. */
static size_t credit_of_stream_1(struct pair *p)
{
	static uint8_t bytes[4096];
	size_t credit = 0;
	struct err err;

	ssize_t n = byte_stream_read(p->raw, bytes, sizeof(bytes), &err);
	for (ssize_t at = 0; at + 9 <= n;) {
		const uint8_t *f = bytes + at;
		if (f[3] == 8 && f[8] == 1)
			credit += (size_t)f[9] << 24 | (size_t)f[10] << 16 | (size_t)f[11] << 8 |
				  f[12];
		at += 9 + ((ssize_t)f[0] << 16 | (ssize_t)f[1] << 8 | f[2]);
	}
	return credit;
}

/* What the server grants while a window's worth comes at once, where the answer to its SETTINGS took `wait` ms. */
static size_t granted_over(int64_t wait)
{
	static struct frames f;
	static uint8_t data[WINDOW];
	struct h2_options options = server_options;
	struct pair *p = pair_new(1 << 20, true);
	uint8_t block[256];
	struct timer timer;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = pattern(i);
	h2_session_close(p->server.s, H2_NO_ERROR, "one with other options follows");
	p->raw = byte_stream_close(p->raw);
	loop_settle(p->loop);
	memory_stream_pair(p->loop, 1 << 20, &p->raw, &p->server_bytes);
	p->server.closed = false;
	options.stream_window_max = 4 * WINDOW;
	p->server.s = h2_session_new(p->server_bytes, &options, &events, &p->server);

	hello(&f);
	frame(&f, 1, 4, 1, block, request_block(block, "POST", "/"));
	send_frames(p, &f);
	timer_init(&timer, p->loop, stop_loop);
	timer_set(&timer, wait);
	loop_run(p->loop);
	f.len = 0;
	frame(&f, 4, 1, 0, NULL, 0);
	for (size_t at = 0; at < WINDOW; at += 16384)
		frame(&f, 0, 0, 1, data + at, 16384);
	send_frames(p, &f);
	assert_int_equal(p->server.sides[0]->got_total, WINDOW);
	size_t granted = credit_of_stream_1(p);
	pair_free(p);
	return granted;
}

static void a_window_grows_with_the_path(void **state)
{
	(void)state;
	/* Over a second a window at once is far less than what the peer could send: it gets a second one. Of the
	 * first only the half is given back yet, the rest is less than half of the new one. */
	assert_int_equal(granted_over(1000), WINDOW + WINDOW / 2);
}

static void floods_close_the_connection(void **state)
{
	(void)state;
	static struct frames f;
	uint8_t block[256], eight[8] = { 0 }, one[4] = { 0, 0, 0, 1 }, five[5] = { 0, 0, 0, 0, 1 };
	const uint8_t no_window[6] = { 0, 4 }; /* SETTINGS_INITIAL_WINDOW_SIZE */
	size_t len = request_block(block, "POST", "/");
	struct {
		uint8_t type;
		uint32_t id;
		const void *payload;
		size_t len;
	} kinds[] = {
		{ 6, 0, eight, 8 }, /* PING */
		{ 4, 0, NULL, 0 },  /* SETTINGS */
		{ 0, 1, NULL, 0 },  /* empty DATA */
		{ 2, 1, five, 5 },  /* PRIORITY */
		{ 8, 1, one, 4 },   /* WINDOW_UPDATE of one byte */
	};

	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		struct pair *p = pair_new(1 << 20, true);
		hello(&f);
		frame(&f, 4, 0, 0, no_window, 6);
		frame(&f, 1, 4, 1, block, len);
		for (int i = 0; i < LIMIT_H2_GLITCHES_PER_SEC - 20; i++)
			frame(&f, kinds[k].type, 0, kinds[k].id, kinds[k].payload, kinds[k].len);
		send_frames(p, &f);
		if (p->server.closed)
			fail_msg("kind %zu: closed too early: %s", k, p->server.why.text);
		f.len = 0;
		for (int i = 0; i < 200; i++)
			frame(&f, kinds[k].type, 0, kinds[k].id, kinds[k].payload, kinds[k].len);
		send_frames(p, &f);
		loop_settle(p->loop);
		if (!p->server.closed || p->server.why.code != E_LIMIT)
			fail_msg("kind %zu: not closed for it: %s", k, p->server.why.text);
		pair_free(p);
	}
}

/* gRPC clients give back every few bytes. */
static void small_updates_of_a_large_window_are_allowed_by_the_thousand(void **state)
{
	(void)state;
	static struct frames f;
	uint8_t one[4] = { 0, 0, 0, 1 };
	struct pair *p = pair_new(1 << 20, true);

	hello(&f);
	send_frames(p, &f);
	for (int run = 0; run < 2; run++) {
		f.len = 0;
		for (int i = 0; i < 20 * LIMIT_H2_GLITCHES_PER_SEC; i++)
			frame(&f, 8, 0, 0, one, 4);
		send_frames(p, &f);
		loop_settle(p->loop);
		assert_int_equal(p->server.closed, run == 1); /* by the ten thousand they are not */
	}
	assert_int_equal(p->server.why.code, E_LIMIT);
	pair_free(p);
}

static void rapid_reset_closes_the_connection(void **state)
{
	(void)state;
	static struct frames f;
	uint8_t block[256], code[4] = { 0, 0, 0, 8 };
	size_t len = request_block(block, "GET", "/");
	struct pair *p = pair_new(1 << 20, true);

	hello(&f);
	for (uint32_t i = 0; i < LIMIT_H2_GLITCHES_PER_SEC + 50; i++) {
		frame(&f, 1, 5, 2 * i + 1, block, len);
		frame(&f, 3, 0, 2 * i + 1, code, 4);
	}
	send_frames(p, &f);
	loop_settle(p->loop);
	assert_true(p->server.closed);
	assert_int_equal(p->server.why.code, E_LIMIT);
	assert_true(p->server.count <= LIMIT_H2_GLITCHES_PER_SEC + 1);
	pair_free(p);
}

enum {
	AFTER_RESET,   /* the peer has reset the stream */
	AFTER_END,     /* both sides have ended */
	PASSED_OVER,   /* never opened, and too low now */
	AFTER_REFUSAL, /* we have reset it: this may have been on its way */
	KINDS_OF_LATE,
};

/* Sends, by pieces of `step` bytes, a frame for a stream that is not open (RFC 9113 §5.1). */
static void send_late(struct pair *p, int kind, uint8_t type, size_t step)
{
	static struct frames f;
	uint8_t block[256], code[4] = { 0, 0, 0, 8 };
	size_t len = request_block(block, "POST", "/");

	hello(&f);
	frame(&f, 1, kind == AFTER_END ? 5 : 4, 5, block, len);
	if (kind == AFTER_RESET)
		frame(&f, 3, 0, 5, code, 4);
	send_frames(p, &f);
	if (kind == AFTER_END)
		respond(p->server.sides[0], 200, true);
	if (kind == AFTER_REFUSAL)
		h2_stream_reset(p->server.sides[0]->st, H2_CANCEL);
	loop_settle(p->loop);
	f.len = 0;
	frame(&f, type, 4, kind == PASSED_OVER ? 3 : 5, block, type == 1 ? len : 100);
	for (size_t at = 0; at < f.len && !p->server.closed; at += step) {
		size_t n = f.len - at < step ? f.len - at : step;
		byte_stream_write(p->raw, bytes_of(f.bytes + at, n));
		loop_settle(p->loop);
	}
}

static void frames_of_closed_streams_break_the_protocol(void **state)
{
	(void)state;
	for (int kind = 0; kind < KINDS_OF_LATE; kind++) {
		for (int run = 0; run < 4; run++) {
			struct pair *p = pair_new(1 << 20, true);
			send_late(p, kind, run % 2, run / 2 ? 1 : 100000);
			if (p->server.closed != (kind != AFTER_REFUSAL))
				fail_msg("kind %d, type %d: %s", kind, run % 2, p->server.why.text);
			if (p->server.closed)
				assert_int_equal(p->server.why.code, E_PROTOCOL);
			pair_free(p);
		}
	}
}

/* nghttp2 skips them in silence: without a count they would be free. */
static void a_flood_for_a_stream_that_is_gone_closes_the_connection(void **state)
{
	(void)state;
	static struct frames f;
	uint8_t block[256];
	struct pair *p = pair_new(1 << 20, true);

	hello(&f);
	frame(&f, 1, 4, 1, block, request_block(block, "POST", "/"));
	send_frames(p, &f);
	h2_stream_reset(p->server.sides[0]->st, H2_CANCEL);
	loop_settle(p->loop);
	f.len = 0;
	for (int i = 0; i < LIMIT_H2_GLITCHES_PER_SEC + 10; i++)
		frame(&f, 0, 0, 1, "x", 1);
	send_frames(p, &f);
	loop_settle(p->loop);
	assert_true(p->server.closed);
	assert_int_equal(p->server.why.code, E_LIMIT);
	pair_free(p);
}

static void garbage_closes_the_connection(void **state)
{
	(void)state;
	static struct frames f;
	struct pair *p = pair_new(1 << 20, true);

	byte_stream_write(p->raw, BYTES_LIT("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
	loop_settle(p->loop);
	assert_true(p->server.closed);
	assert_int_equal(p->server.why.code, E_PROTOCOL);
	pair_free(p);

	/* A frame that must not be: HEADERS on stream 0. */
	p = pair_new(1 << 20, true);
	hello(&f);
	frame(&f, 1, 5, 0, "x", 1);
	send_frames(p, &f);
	loop_settle(p->loop);
	assert_true(p->server.closed);
	assert_int_equal(p->server.why.code, E_PROTOCOL);
	pair_free(p);
}

static void bad_heads_are_not_reported(void **state)
{
	(void)state;
	static struct frames f;
	static uint8_t block[70000];
	static char large[17000];
	struct pair *p = pair_new(1 << 20, true);
	size_t len;

	memset(large, 'a', sizeof(large));
	large[0] = '/';
	hello(&f);
	/* 431: more than LIMIT_HEAD_BYTES in all */
	len = request_block(block, "GET", "/");
	for (int i = 0; i < 4; i++)
		len += literal(block + len, "x-large", large, 16500);
	frame(&f, 1, 1, 1, block, 16384);
	for (size_t at = 16384; at < len; at += 16384)
		frame(&f, 9, len - at <= 16384 ? 4 : 0, 1, block + at,
		      len - at < 16384 ? len - at : 16384);
	/* 414: the target alone */
	len = literal(block, ":method", "GET", 3);
	len += literal(block + len, ":scheme", "https", 5);
	len += literal(block + len, ":authority", "a", 1);
	size_t at = len + literal(block + len, ":path", large, LIMIT_TARGET_BYTES + 1);
	frame(&f, 1, 1, 3, block, 16384);
	frame(&f, 9, 4, 3, block + 16384, at - 16384);
	/* CONNECT without a protocol */
	len = literal(block, ":method", "CONNECT", 7);
	len += literal(block + len, ":authority", "a:1", 3);
	frame(&f, 1, 4, 5, block, len);
	/* Host that names another */
	len = request_block(block, "GET", "/");
	len += literal(block + len, "host", "b.example", 9);
	frame(&f, 1, 5, 7, block, len);
	/* a value with a line break */
	len = request_block(block, "GET", "/");
	len += literal(block + len, "x-a", "a\r\nb: c", 7);
	frame(&f, 1, 5, 9, block, len);
	/* an upper-case name, a field that belongs to HTTP/1 */
	len = request_block(block, "GET", "/");
	len += literal(block + len, "X-A", "a", 1);
	frame(&f, 1, 5, 11, block, len);
	len = request_block(block, "GET", "/");
	len += literal(block + len, "transfer-encoding", "chunked", 7);
	frame(&f, 1, 5, 13, block, len);
	/* and a good one, which shows that the connection lives */
	len = request_block(block, "GET", "/good");
	frame(&f, 1, 5, 15, block, len);
	send_frames(p, &f);
	assert_false(p->server.closed);
	assert_int_equal(p->server.count, 1);
	assert_bytes(p->server.sides[0]->head.path, "/good");
	assert_int_equal(h2_session_stream_count(p->server.s), 1);
	pair_free(p);
}

static void extended_connect_is_an_upgrade(void **state)
{
	(void)state;
	static struct frames f;
	uint8_t block[256];
	struct pair *p = pair_new(1 << 20, true);
	size_t len = request_block(block, "CONNECT", "/chat");

	hello(&f);
	len += literal(block + len, ":protocol", "websocket", 9);
	frame(&f, 1, 4, 1, block, len);
	len = request_block(block, "CONNECT", "/");
	len += literal(block + len, ":protocol", "connect-udp", 11);
	frame(&f, 1, 4, 3, block, len);
	send_frames(p, &f);
	assert_int_equal(p->server.count, 1);
	assert_bytes(p->server.sides[0]->head.method, "GET");
	assert_bytes(p->server.sides[0]->head.path, "/chat");
	assert_true(p->server.sides[0]->head.is_upgrade);
	assert_int_equal(p->server.sides[0]->head.length, HEAD_LENGTH_UNKNOWN);
	pair_free(p);
}

static void peer_that_never_reads_is_bounded(void **state)
{
	(void)state;
	static struct frames f;
	uint8_t block[256];
	struct pair *p = pair_new(20000, true);
	size_t len = request_block(block, "GET", "/");

	/* Answers of nobody's interest: the backlog is full, the queue behind it must not grow for ever. */
	hello(&f);
	for (uint32_t i = 0; i < 900; i++)
		frame(&f, 1, 5, 2 * i + 1, block, len);
	send_frames(p, &f);
	for (size_t i = 0; i < p->server.count; i++) {
		respond(p->server.sides[i], 200, false);
		send_bytes(p->server.sides[i], 1000, true);
	}
	loop_settle(p->loop);
	size_t sent = 0;
	for (size_t i = 0; i < p->server.count; i++)
		sent += p->server.sides[i]->sent;
	assert_true(sent <= 20000 + 16384);
	pair_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(carries_a_request_and_a_response),
		cmocka_unit_test(head_and_first_data_leave_together),
		cmocka_unit_test(write_inside_an_event_is_taken_up_later),
		cmocka_unit_test(reads_of_one_byte_change_nothing),
		cmocka_unit_test(stalled_reader_holds_no_more_than_its_window),
		cmocka_unit_test(a_window_grows_with_the_path),
		cmocka_unit_test(small_backlog_loses_nothing),
		cmocka_unit_test(many_streams_share_one_connection),
		cmocka_unit_test(end_waits_for_the_connection_window),
		cmocka_unit_test(carries_trailers_both_ways),
		cmocka_unit_test(reset_reaches_the_other_side),
		cmocka_unit_test(early_answer_stops_the_request),
		cmocka_unit_test(drain_finishes_what_is_open),
		cmocka_unit_test(request_that_crosses_a_drain_is_served),
		cmocka_unit_test(close_ends_streams_first),
		cmocka_unit_test(lost_connection_ends_everything),
		cmocka_unit_test(silent_peer_is_found_out),
		cmocka_unit_test(floods_close_the_connection),
		cmocka_unit_test(small_updates_of_a_large_window_are_allowed_by_the_thousand),
		cmocka_unit_test(rapid_reset_closes_the_connection),
		cmocka_unit_test(garbage_closes_the_connection),
		cmocka_unit_test(frames_of_closed_streams_break_the_protocol),
		cmocka_unit_test(a_flood_for_a_stream_that_is_gone_closes_the_connection),
		cmocka_unit_test(bad_heads_are_not_reported),
		cmocka_unit_test(extended_connect_is_an_upgrade),
		cmocka_unit_test(peer_that_never_reads_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
