/* A visitor's HTTP/2 connection: a client session on one end, a handler of the test's on the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "fake/memory_stream.h"
#include "http/h2_server.h"
#include "http/h2_session.h"

/* --- The visitor ----------------------------------------------------------------------------- */

struct visitor_stream {
	struct h2_stream *st;
	struct arena arena;
	struct head head;
	struct fields trailers;
	uint64_t got, sent, to_send;
	char text[512], interims[64];
	bool has_head, fin, closed, keep_credit;
	uint32_t code;
};

struct rig {
	struct loop *loop;
	struct byte_stream *client_bytes, *server_bytes;
	struct h2_session *client;
	struct http_server *server;
	struct visitor_stream *streams[200];
	size_t stream_count;
	bool client_closed, server_closed, server_failed;
	/* the handler's side */
	struct exchange *exchanges[200];
	size_t exchange_count, cancelled;
	uint64_t request_bytes;
	bool reads_requests; /* the answerer takes the request's body */
	void (*answer)(struct exchange *x);
};

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 31 + (at >> 8));
}

static void send_more(struct visitor_stream *v)
{
	uint8_t block[16000];

	while (v->sent < v->to_send) {
		size_t n = v->to_send - v->sent < sizeof(block) ? (size_t)(v->to_send - v->sent)
								: sizeof(block);
		for (size_t i = 0; i < n; i++)
			block[i] = pattern(v->sent + i);
		size_t taken = h2_stream_write(v->st, bytes_of(block, n), v->sent + n == v->to_send);
		v->sent += taken;
		if (taken < n)
			return;
	}
}

static void on_response(struct h2_stream *st, const struct head *head, bool fin)
{
	struct visitor_stream *v = h2_stream_ctx(st);

	if (head->status < 200) {
		size_t len = strlen(v->interims);
		snprintf(v->interims + len, sizeof(v->interims) - len, "%d:%zu ", head->status,
			 head->fields.count);
		return;
	}
	assert_int_equal(head_copy(&v->head, head, &v->arena), 0);
	v->has_head = true;
	v->fin = fin;
}

static void on_data(struct h2_stream *st, struct bytes data, bool fin)
{
	struct visitor_stream *v = h2_stream_ctx(st);

	for (size_t i = 0; i < data.len && v->got + i < sizeof(v->text) - 1; i++)
		v->text[v->got + i] = (char)data.ptr[i];
	v->got += data.len;
	v->fin = fin;
	if (!v->keep_credit)
		h2_stream_consume(st, data.len);
}

static void on_trailers(struct h2_stream *st, const struct fields *trailers)
{
	struct visitor_stream *v = h2_stream_ctx(st);

	assert_int_equal(fields_copy(&v->trailers, trailers, &v->arena), 0);
	v->fin = true;
}

static void on_writable(struct h2_stream *st)
{
	send_more(h2_stream_ctx(st));
}

static void on_stream_closed(struct h2_stream *st, uint32_t code)
{
	struct visitor_stream *v = h2_stream_ctx(st);

	v->closed = true;
	v->code = code;
}

static void on_client_closed(struct h2_session *s, const struct err *why)
{
	struct rig *r = h2_session_ctx(s);

	(void)why;
	r->client_closed = true;
	r->client = NULL;
}

static const struct h2_events client_events = {
	.on_response = on_response,
	.on_data = on_data,
	.on_trailers = on_trailers,
	.on_writable = on_writable,
	.on_stream_closed = on_stream_closed,
	.on_closed = on_client_closed,
};

/* --- The handler ----------------------------------------------------------------------------- */

static struct rig *current; /* handlers get the chain's ctx, events of answerers do not */

static void take_request(struct exchange *x)
{
	struct bytes run;

	while (current->reads_requests && body_peek(&x->request_body, &run, 1)) {
		for (size_t i = 0; i < run.len; i++)
			if (run.ptr[i] != pattern(current->request_bytes + i))
				fail_msg("byte %zu is wrong", (size_t)current->request_bytes + i);
		current->request_bytes += run.len;
		body_consume(&x->request_body, run.len);
	}
}

static void write_body(struct exchange *x, uint64_t size)
{
	uint8_t block[1024];

	while (x->response_body.total < size) {
		uint64_t left = size - x->response_body.total;
		size_t n = left < sizeof(block) ? (size_t)left : sizeof(block);
		memset(block, 'x', n);
		if (body_write(&x->response_body, bytes_of(block, n)) < n)
			return;
	}
}

static uint64_t response_size; /* what on_response_room() goes on to write, then ends */

static void fill_response(struct exchange *x)
{
	write_body(x, response_size);
	if (x->response_body.total == response_size) {
		body_end(&x->response_body);
		exchange_release_answerer(x);
	}
}

static void on_cancelled(struct exchange *x)
{
	current->cancelled++;
	exchange_release_answerer(x);
}

static const struct exchange_answerer answerer = {
	.name = "test",
	.on_request_data = take_request,
	.on_response_room = fill_response,
	.on_cancelled = on_cancelled,
};

static enum handled handle(struct exchange *x, void *ctx)
{
	struct rig *r = ctx;

	r->exchanges[r->exchange_count++] = x;
	if (bytes_eq(x->request.path, BYTES_LIT("/refused")))
		return exchange_failed(x, FAILURE_EDGE, 403, 0, "Forbidden", "Not %s.", "you");
	if (bytes_eq(x->request.path, BYTES_LIT("/page"))) {
		exchange_answer_whole(x, 200, BYTES_LIT("text/plain"), BYTES_LIT("a page"));
		return HANDLED_TAKEN;
	}
	exchange_answer_by(x, &answerer, NULL);
	if (r->answer)
		r->answer(x);
	return HANDLED_TAKEN;
}

static const struct handler handlers[] = { { "test", handle } };

static void on_exchange(void *ctx, struct exchange *x)
{
	(void)ctx;
	assert_true(x->is_tls);
	x->client_ip = BYTES_LIT("192.0.2.1");
}

static void on_server_closed(void *ctx, const struct err *why)
{
	struct rig *r = ctx;

	assert_false(r->server_closed);
	r->server_closed = true;
	r->server_failed = why != NULL;
	r->server = NULL;
}

/* --- Both ------------------------------------------------------------------------------------ */

static struct handler_chain chain;

static struct rig *rig_new_with(int64_t idle_ms, int64_t body_ms)
{
	struct rig *r = mem_alloc(sizeof(*r));
	const struct h2_options options = {
		.role = H2_CLIENT,
		.stream_window = 65536,
		.connection_window = 1 << 20,
	};

	current = r;
	chain = (struct handler_chain){ .handlers = handlers, .count = 1, .ctx = r };
	r->loop = loop_new(NULL);
	r->reads_requests = true;
	memory_stream_pair(r->loop, LIMIT_WRITE_BACKLOG_BYTES, &r->client_bytes, &r->server_bytes);
	const struct http_server_options server_options = {
		.chain = &chain,
		.scheme = BYTES_LIT("https"),
		.is_tls = true,
		.ctx = r,
		.on_exchange = on_exchange,
		.on_closed = on_server_closed,
		.idle_ms = idle_ms,
		.body_ms = body_ms,
		.linger_ms = 1,
	};
	r->server = h2_server_new(r->server_bytes, &server_options);
	r->client = h2_session_new(r->client_bytes, &options, &client_events, r);
	loop_settle(r->loop);
	return r;
}

static struct rig *rig_new(void)
{
	return rig_new_with(0, 0);
}

static void rig_free(struct rig *r)
{
	if (r->client)
		h2_session_close(r->client, H2_NO_ERROR, "test is over");
	loop_settle(r->loop);
	if (r->server)
		http_server_close(r->server);
	loop_settle(r->loop);
	assert_true(r->server_closed);
	assert_int_equal(exchange_live_count(), 0);
	for (size_t i = 0; i < r->stream_count; i++) {
		arena_done(&r->streams[i]->arena);
		mem_free(r->streams[i]);
	}
	loop_free(r->loop);
	mem_free(r);
}

static struct visitor_stream *visit(struct rig *r, const char *method, const char *path,
				    uint64_t body)
{
	struct visitor_stream *v = mem_alloc(sizeof(*v));
	const struct head head = {
		.method = bytes_str(method),
		.scheme = BYTES_LIT("http"), /* a lie, which nobody believes */
		.authority = BYTES_LIT("App.Example.com:8443"),
		.path = bytes_str(path),
		.length = body ? HEAD_LENGTH_UNKNOWN : HEAD_LENGTH_NONE,
	};

	arena_init(&v->arena);
	r->streams[r->stream_count++] = v;
	v->st = h2_session_open(r->client, &head, body == 0, v);
	assert_non_null(v->st);
	v->to_send = body;
	send_more(v);
	loop_settle(r->loop);
	return v;
}

static struct exchange *last(struct rig *r)
{
	assert_true(r->exchange_count > 0);
	return r->exchanges[r->exchange_count - 1];
}

static void respond(struct exchange *x, int status, enum head_length length, uint64_t content_length)
{
	x->response.status = status;
	x->response.length = length;
	x->response.content_length = content_length;
	exchange_respond(x);
}

static void respond_with(struct exchange *x, int status, enum head_length length, uint64_t size)
{
	respond(x, status, length, size);
	response_size = size;
	fill_response(x);
}

#define assert_text(b, text) assert_true(bytes_eq((b), BYTES_LIT(text)))

/* --- Tests ----------------------------------------------------------------------------------- */

static void request_becomes_an_exchange(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	struct visitor_stream *v = visit(r, "GET", "/a?b", 0);
	struct exchange *x = last(r);

	assert_text(x->request.method, "GET");
	assert_text(x->request.path, "/a?b");
	assert_text(x->request.authority, "App.Example.com:8443");
	assert_text(x->request.scheme, "https");
	assert_text(x->host, "app.example.com");
	assert_text(x->client_ip, "192.0.2.1");
	assert_true(x->request_body.has_ended);
	assert_int_equal(
		fields_add(&x->response.fields, &x->arena, BYTES_LIT("X-A"), BYTES_LIT("1")), 0);
	assert_int_equal(fields_add(&x->response.fields, &x->arena, BYTES_LIT("Connection"),
				    BYTES_LIT("x-hop")),
			 0);
	assert_int_equal(
		fields_add(&x->response.fields, &x->arena, BYTES_LIT("X-Hop"), BYTES_LIT("1")), 0);
	respond_with(x, 200, HEAD_LENGTH_KNOWN, 20);
	loop_settle(r->loop);
	assert_int_equal(v->head.status, 200);
	assert_int_equal(v->head.fields.count, 2); /* x-a, content-length */
	assert_int_equal(v->head.content_length, 20);
	assert_int_equal(v->got, 20);
	assert_true(v->fin && v->closed);
	assert_int_equal(v->code, 0);
	assert_int_equal(r->cancelled, 0);
	assert_int_equal(exchange_live_count(), 0);
	rig_free(r);
}

static void pages_and_failures_are_answered(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	struct visitor_stream *v = visit(r, "GET", "/page", 0);

	assert_int_equal(v->head.status, 200);
	assert_string_equal(v->text, "a page");
	assert_true(v->closed);
	v = visit(r, "HEAD", "/page", 0);
	assert_int_equal(v->head.status, 200);
	assert_int_equal(v->got, 0);
	assert_non_null(fields_find(&v->head.fields, HEAD_CONTENT_LENGTH));
	assert_true(v->closed);
	v = visit(r, "GET", "/refused", 0);
	assert_int_equal(v->head.status, 403);
	assert_string_equal(v->text, "403 Forbidden: Not you.\n");
	assert_int_equal(v->code, 0);
	/* A failure later, before the head. */
	v = visit(r, "GET", "/", 0);
	exchange_failed(last(r), FAILURE_ORIGIN, 502, 0, "Bad gateway", "refused");
	exchange_fail(last(r));
	loop_settle(r->loop);
	assert_int_equal(v->head.status, 502);
	assert_true(v->closed);
	/* After the head: cut off. */
	v = visit(r, "GET", "/", 0);
	respond(last(r), 200, HEAD_LENGTH_UNKNOWN, 0);
	loop_settle(r->loop);
	exchange_failed(last(r), FAILURE_ORIGIN, 502, 0, "Bad gateway", "gone");
	exchange_fail(last(r));
	loop_settle(r->loop);
	assert_int_equal(v->head.status, 200);
	assert_int_equal(v->code, H2_INTERNAL_ERROR);
	/* An answerer that just leaves. */
	v = visit(r, "GET", "/", 0);
	exchange_release_answerer(last(r));
	loop_settle(r->loop);
	assert_int_equal(v->code, H2_INTERNAL_ERROR);
	rig_free(r);
}

static void request_body_waits_for_the_answerer(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	enum { SIZE = 3 << 20 };

	r->reads_requests = false;
	struct visitor_stream *v = visit(r, "POST", "/upload", SIZE);
	struct exchange *x = last(r);
	assert_int_equal(x->request_body.queue.len, LIMIT_H2_STREAM_WINDOW);
	assert_int_equal(v->sent, LIMIT_H2_STREAM_WINDOW);
	assert_int_equal(x->request.length, HEAD_LENGTH_UNKNOWN);
	r->reads_requests = true;
	take_request(x);
	loop_settle(r->loop);
	assert_int_equal(r->request_bytes, SIZE);
	assert_true(x->request_body.has_ended);
	respond_with(x, 200, HEAD_LENGTH_NONE, 0);
	loop_settle(r->loop);
	assert_true(v->closed);
	assert_int_equal(v->code, 0);
	rig_free(r);
}

static void stalled_uploads_share_one_bound(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	uint64_t held = 0;

	r->reads_requests = false;
	for (int i = 0; i < 60; i++)
		visit(r, "POST", "/upload", 1 << 20);
	for (size_t i = 0; i < r->exchange_count; i++)
		held += r->exchanges[i]->request_body.queue.len;
	assert_int_equal(r->exchange_count, 60);
	assert_true(held <= LIMIT_H2_CONNECTION_WINDOW);
	/* Resets give the window back. */
	for (int i = 0; i < 59; i++)
		h2_stream_reset(r->streams[i]->st, H2_CANCEL);
	loop_settle(r->loop);
	assert_int_equal(r->cancelled, 59);
	r->reads_requests = true;
	take_request(last(r));
	loop_settle(r->loop);
	assert_int_equal(r->request_bytes, 1 << 20);
	rig_free(r);
}

static void response_waits_for_the_visitor(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	struct visitor_stream *v = visit(r, "GET", "/", 0);
	enum { SIZE = 5 << 20 };

	v->keep_credit = true;
	respond_with(last(r), 200, HEAD_LENGTH_KNOWN, SIZE);
	loop_settle(r->loop);
	assert_int_equal(v->got, 65536);
	assert_true(last(r)->response_body.total <= 65536 + LIMIT_BODY_QUEUE_BYTES);
	v->keep_credit = false;
	h2_stream_consume(v->st, 65536);
	loop_settle(r->loop);
	assert_int_equal(v->got, SIZE);
	assert_true(v->closed);
	assert_int_equal(v->code, 0);
	rig_free(r);
}

static void early_answer_ends_the_upload(void **state)
{
	(void)state;
	struct rig *r = rig_new();

	r->reads_requests = false;
	struct visitor_stream *v = visit(r, "POST", "/upload", 4 << 20);
	uint64_t sent = v->sent;
	respond_with(last(r), 413, HEAD_LENGTH_KNOWN, 10);
	loop_settle(r->loop);
	assert_int_equal(v->head.status, 413);
	assert_int_equal(v->got, 10);
	assert_true(v->fin);
	/* A visitor who does not look at it is told to stop. */
	while (!v->closed)
		loop_settle(r->loop);
	assert_int_equal(v->sent, sent);
	assert_int_equal(v->code, 0);
	assert_int_equal(r->cancelled, 0);
	assert_int_equal(exchange_live_count(), 0);
	rig_free(r);
}

static void visitor_who_leaves_cancels(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	struct visitor_stream *v = visit(r, "GET", "/", 0);

	h2_stream_reset(v->st, H2_CANCEL);
	loop_settle(r->loop);
	assert_int_equal(r->cancelled, 1);
	assert_int_equal(exchange_live_count(), 0);
	/* And the whole connection. */
	visit(r, "GET", "/", 0);
	v = visit(r, "GET", "/", 0);
	h2_session_close(r->client, H2_NO_ERROR, "bye");
	loop_settle(r->loop);
	assert_int_equal(r->cancelled, 3);
	assert_true(r->server_closed);
	assert_false(r->server_failed);
	rig_free(r);
}

static void lengths_are_kept_to(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	struct visitor_stream *v = visit(r, "GET", "/", 0);

	respond(last(r), 200, HEAD_LENGTH_KNOWN, 10);
	response_size = 9;
	fill_response(last(r));
	loop_settle(r->loop);
	assert_false(v->fin);
	assert_int_equal(v->code, H2_INTERNAL_ERROR);
	v = visit(r, "GET", "/", 0);
	respond(last(r), 200, HEAD_LENGTH_KNOWN, 10);
	response_size = 11;
	fill_response(last(r));
	loop_settle(r->loop);
	assert_int_equal(v->got, 0);
	assert_int_equal(v->code, H2_INTERNAL_ERROR);
	/* Bodies where there must be none are dropped. */
	v = visit(r, "HEAD", "/", 0);
	respond_with(last(r), 200, HEAD_LENGTH_KNOWN, 10);
	loop_settle(r->loop);
	assert_int_equal(v->got, 0);
	assert_text(fields_find(&v->head.fields, HEAD_CONTENT_LENGTH)->value, "10");
	assert_int_equal(v->code, 0);
	v = visit(r, "GET", "/", 0);
	respond(last(r), 304, HEAD_LENGTH_UNKNOWN, 0);
	response_size = 10;
	fill_response(last(r));
	loop_settle(r->loop);
	assert_int_equal(v->got, 0);
	assert_int_equal(v->code, 0);
	rig_free(r);
}

/* gRPC clients take a status from a head only where it ends the stream. */
static void a_grpc_status_waits_for_the_end_of_its_stream(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	struct visitor_stream *v = visit(r, "POST", "/call", 5);
	struct exchange *x = last(r);

	assert_int_equal(fields_add(&x->response.fields, &x->arena, BYTES_LIT("grpc-status"),
				    BYTES_LIT("5")),
			 0);
	respond(x, 200, HEAD_LENGTH_UNKNOWN, 0);
	loop_settle(r->loop);
	assert_false(v->has_head);
	body_end(&x->response_body);
	exchange_release_answerer(x);
	loop_settle(r->loop);
	assert_true(v->has_head && v->fin);
	assert_int_equal(v->got, 0);

	v = visit(r, "GET", "/call", 0); /* whoever says it wrongly is not held up */
	x = last(r);
	assert_int_equal(fields_add(&x->response.fields, &x->arena, BYTES_LIT("grpc-status"),
				    BYTES_LIT("0")),
			 0);
	respond(x, 200, HEAD_LENGTH_UNKNOWN, 0);
	loop_settle(r->loop);
	body_write(&x->response_body, BYTES_LIT("message"));
	loop_settle(r->loop);
	assert_true(v->has_head && !v->fin);
	assert_string_equal(v->text, "message");
	rig_free(r);
}

static void trailers_cross(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	struct visitor_stream *v = visit(r, "GET", "/", 0);
	struct exchange *x = last(r);
	struct arena a;
	struct fields trailers = { 0 };

	assert_int_equal(fields_add(&x->response_body.trailers, &x->arena, BYTES_LIT("Grpc-Status"),
				    BYTES_LIT("0")),
			 0);
	respond_with(x, 200, HEAD_LENGTH_UNKNOWN, 100);
	loop_settle(r->loop);
	assert_int_equal(v->got, 100);
	assert_non_null(fields_find_text(&v->trailers, BYTES_LIT("grpc-status")));
	assert_int_equal(v->code, 0);

	arena_init(&a);
	assert_int_equal(fields_add(&trailers, &a, BYTES_LIT("X-Sum"), BYTES_LIT("7")), 0);
	struct head head = {
		.method = BYTES_LIT("POST"),
		.authority = BYTES_LIT("a"),
		.path = BYTES_LIT("/"),
		.length = HEAD_LENGTH_UNKNOWN,
	};
	v = r->streams[r->stream_count++] = mem_alloc(sizeof(*v));
	arena_init(&v->arena);
	v->st = h2_session_open(r->client, &head, false, v);
	h2_stream_finish(v->st, &trailers);
	loop_settle(r->loop);
	assert_true(last(r)->request_body.has_ended);
	assert_non_null(fields_find_text(&last(r)->request_body.trailers, BYTES_LIT("x-sum")));
	arena_done(&a);
	rig_free(r);
}

static void interim_heads_come_before_the_response(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	struct visitor_stream *v = visit(r, "GET", "/", 0);
	struct field link = { BYTES_LIT("Link"), BYTES_LIT("</x>"), HEAD_OTHER };

	exchange_interim(last(r), &(const struct head){ .status = 102 });
	loop_settle(r->loop);
	assert_string_equal(v->interims, "102:0 ");
	exchange_interim(last(r), &(const struct head){ .status = 103, .fields = { &link, 1, 1 } });
	respond_with(last(r), 200, HEAD_LENGTH_KNOWN, 20);
	loop_settle(r->loop);
	assert_string_equal(v->interims, "102:0 103:1 ");
	assert_int_equal(v->head.status, 200);
	assert_int_equal(v->got, 20);
	rig_free(r);
}

static void a_visitor_who_waits_is_told_to_go_on(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	struct visitor_stream *v = r->streams[r->stream_count++] = mem_alloc(sizeof(*v));
	struct field expect = { BYTES_LIT("expect"), BYTES_LIT("100-continue"), HEAD_EXPECT };
	const struct head head = {
		.method = BYTES_LIT("POST"),
		.authority = BYTES_LIT("a"),
		.path = BYTES_LIT("/"),
		.length = HEAD_LENGTH_UNKNOWN,
		.fields = { &expect, 1, 1 },
	};

	arena_init(&v->arena);
	v->st = h2_session_open(r->client, &head, false, v);
	loop_settle(r->loop);
	assert_true(last(r)->expects_continue);
	assert_null(fields_find(&last(r)->request.fields, HEAD_EXPECT));
	assert_string_equal(v->interims, "100:0 ");
	rig_free(r);
}

static void drain_finishes_what_is_open(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	struct visitor_stream *v = visit(r, "GET", "/", 0);

	http_server_drain(r->server);
	loop_settle(r->loop);
	assert_false(h2_session_can_open(r->client));
	assert_false(r->server_closed);
	respond_with(last(r), 200, HEAD_LENGTH_KNOWN, 1000);
	loop_settle(r->loop);
	assert_int_equal(v->got, 1000);
	assert_true(r->server_closed);
	assert_false(r->server_failed);
	rig_free(r);
}

static void idle_connection_is_closed(void **state)
{
	(void)state;
	struct rig *r = rig_new_with(1, 60000);

	while (!r->server_closed)
		loop_settle(r->loop);
	assert_false(r->server_failed);
	rig_free(r);
}

static void stream_where_nothing_moves_times_out(void **state)
{
	(void)state;
	struct rig *r = rig_new_with(60000, 1);
	struct visitor_stream *waits = visit(r, "GET", "/", 0);

	while (!waits->closed)
		loop_settle(r->loop);
	assert_int_equal(waits->head.status, 504);
	assert_int_equal(r->cancelled, 1);
	struct visitor_stream *half = visit(r, "GET", "/", 0);
	respond(last(r), 200, HEAD_LENGTH_UNKNOWN, 0);
	while (!half->closed)
		loop_settle(r->loop);
	assert_int_equal(half->head.status, 200);
	assert_int_equal(half->code, H2_INTERNAL_ERROR);
	rig_free(r);
}

static void upgrade_is_raw_both_ways(void **state)
{
	(void)state;
	struct rig *r = rig_new();
	/* RFC 8441, which our client role does not speak: the raw bytes of the request. */
	static const uint8_t hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	uint8_t frame[256] = { 0 };
	size_t n = 9;
	const char *fields[][2] = { { ":method", "CONNECT" },
				    { ":scheme", "https" },
				    { ":authority", "a.example" },
				    { ":path", "/chat" },
				    { ":protocol", "websocket" } };
	struct byte_stream *raw, *server_bytes;

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		frame[n++] = 0;
		for (int j = 0; j < 2; j++) {
			size_t len = strlen(fields[i][j]);
			frame[n++] = (uint8_t)len;
			memcpy(frame + n, fields[i][j], len);
			n += len;
		}
	}
	frame[2] = (uint8_t)(n - 9);
	frame[3] = 1; /* HEADERS, END_HEADERS, stream 1 */
	frame[4] = 4;
	frame[8] = 1;
	http_server_close(r->server);
	loop_settle(r->loop);
	assert_true(r->server_closed);
	r->server_closed = false;
	memory_stream_pair(r->loop, 1 << 20, &raw, &server_bytes);
	const struct http_server_options options = {
		.chain = &chain,
		.scheme = BYTES_LIT("https"),
		.is_tls = true,
		.ctx = r,
		.on_exchange = on_exchange,
		.on_closed = on_server_closed,
	};
	r->server = h2_server_new(server_bytes, &options);
	byte_stream_write(raw, bytes_of(hello, sizeof(hello) - 1));
	byte_stream_write(raw, bytes_of(frame, n));
	/* "abc" in a DATA frame */
	const uint8_t data[] = { 0, 0, 3, 0, 0, 0, 0, 0, 1, pattern(0), pattern(1), pattern(2) };
	byte_stream_write(raw, bytes_of(data, sizeof(data)));
	loop_settle(r->loop);
	struct exchange *x = last(r);
	assert_true(x->request.is_upgrade);
	assert_text(x->request.method, "GET");
	assert_text(x->request.path, "/chat");
	assert_int_equal(fields_find(&x->request.fields, HEAD_SEC_WEBSOCKET_KEY)->value.len, 24);
	assert_text(fields_find(&x->request.fields, HEAD_SEC_WEBSOCKET_VERSION)->value, "13");
	assert_int_equal(r->request_bytes, 3);
	uint64_t written = memory_stream_written(server_bytes);
	assert_int_equal(fields_add(&x->response.fields, &x->arena,
				    BYTES_LIT("Sec-WebSocket-Accept"), BYTES_LIT("x")),
			 0);
	respond(x, 101, HEAD_LENGTH_UNKNOWN, 0);
	assert_int_equal(body_write(&x->response_body, BYTES_LIT("hello")), 5);
	loop_settle(r->loop);
	/* HEADERS with the one byte of ":status: 200", DATA of five. */
	assert_int_equal(memory_stream_written(server_bytes) - written, 9 + 1 + 9 + 5);
	body_end(&x->response_body);
	exchange_release_answerer(x);
	loop_settle(r->loop);
	assert_int_equal(exchange_live_count(), 0);
	raw = byte_stream_close(raw);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_becomes_an_exchange),
		cmocka_unit_test(pages_and_failures_are_answered),
		cmocka_unit_test(request_body_waits_for_the_answerer),
		cmocka_unit_test(stalled_uploads_share_one_bound),
		cmocka_unit_test(response_waits_for_the_visitor),
		cmocka_unit_test(early_answer_ends_the_upload),
		cmocka_unit_test(visitor_who_leaves_cancels),
		cmocka_unit_test(lengths_are_kept_to),
		cmocka_unit_test(a_grpc_status_waits_for_the_end_of_its_stream),
		cmocka_unit_test(trailers_cross),
		cmocka_unit_test(interim_heads_come_before_the_response),
		cmocka_unit_test(a_visitor_who_waits_is_told_to_go_on),
		cmocka_unit_test(drain_finishes_what_is_open),
		cmocka_unit_test(idle_connection_is_closed),
		cmocka_unit_test(stream_where_nothing_moves_times_out),
		cmocka_unit_test(upgrade_is_raw_both_ways),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
