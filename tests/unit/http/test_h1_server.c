#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "fake/memory_stream.h"
#include "http/h1_server.h"

/* One connection, its visitor, and an answerer that does what the path says or what the test does by
 * hand. */
static struct {
	struct loop *loop;
	struct byte_stream *visitor; /* NULL once it was closed */
	struct byte_stream *stream;  /* the server's end, its own */
	struct http_server *server;  /* NULL once on_closed() came */
	struct buf got;              /* by the visitor */
	bool got_eof;
	bool visitor_reads;
	bool stop_when_closed;
	int close_code;     /* of on_closed() */
	int refused_status; /* of the last exchange that was never one */

	struct exchange *x; /* the last one, while its answerer holds it */
	int exchanges, cancels, ends;
	bool is_parked;  /* the answerer takes nothing by itself */
	struct buf body; /* of the request, as taken by the answerer */
	bool body_ended;
} t;

/* --- The answerer ---------------------------------------------------------------------------- */

static void take_body(struct exchange *x)
{
	struct bytes run;

	while (body_peek(&x->request_body, &run, 1)) {
		assert_int_equal(buf_append(&t.body, run), 0);
		body_consume(&x->request_body, run.len);
	}
	t.body_ended = body_is_done(&x->request_body);
}

static void echo(struct exchange *x)
{
	struct bytes run;

	while (body_peek(&x->request_body, &run, 1)) {
		size_t taken = body_write(&x->response_body, run);
		body_consume(&x->request_body, taken);
		if (taken < run.len)
			return;
	}
	if (body_is_done(&x->request_body)) {
		x->response_body.trailers = x->request_body.trailers;
		body_end(&x->response_body);
		t.x = NULL;
		exchange_release_answerer(x);
	}
}

static bool is_path(struct exchange *x, const char *path)
{
	return bytes_eq(x->request.path, bytes_str(path));
}

static void on_request_data(struct exchange *x)
{
	if (is_path(x, "/echo"))
		echo(x);
	else if (!t.is_parked)
		take_body(x);
}

static void on_response_room(struct exchange *x)
{
	if (is_path(x, "/echo"))
		echo(x);
}

static void on_cancelled(struct exchange *x)
{
	t.cancels++;
	t.x = NULL;
	exchange_release_answerer(x);
}

static const struct exchange_answerer answerer = {
	.name = "test",
	.on_request_data = on_request_data,
	.on_response_room = on_response_room,
	.on_cancelled = on_cancelled,
};

static enum handled handle(struct exchange *x, void *ctx)
{
	assert_ptr_equal(ctx, &t);
	t.exchanges++;
	if (is_path(x, "/whole")) {
		exchange_answer_whole(x, 200, BYTES_LIT("text/plain"), BYTES_LIT("hello"));
		return HANDLED_TAKEN;
	}
	if (is_path(x, "/fail"))
		return exchange_failed(x, FAILURE_TUNNEL, 530, 1033, "No connector",
				       "nobody is there");
	exchange_answer_by(x, &answerer, &t);
	t.x = x;
	x->relays_continue = is_path(x, "/relay") && x->expects_continue;
	if (is_path(x, "/echo")) {
		x->response.status = 200;
		x->response.length = x->request.length;
		x->response.content_length = x->request.content_length;
		exchange_respond(x);
	}
	return HANDLED_TAKEN;
}

static const struct handler handlers[] = { { "test", handle } };
static const struct handler_chain chain = { .handlers = handlers, .count = 1, .ctx = &t };

static void respond(int status, enum head_length length, uint64_t content_length)
{
	t.x->response.status = status;
	t.x->response.length = length;
	t.x->response.content_length = content_length;
	exchange_respond(t.x);
}

static void send_body(const char *text)
{
	assert_int_equal(body_write(&t.x->response_body, bytes_str(text)), strlen(text));
}

static void end_body(void)
{
	struct exchange *x = TAKE(t.x);

	body_end(&x->response_body);
	exchange_release_answerer(x);
}

/* --- The visitor ----------------------------------------------------------------------------- */

static void visitor_readable(void *ctx)
{
	uint8_t data[4096];

	while (t.visitor_reads) {
		ssize_t n = byte_stream_read(t.visitor, data, sizeof(data), NULL);
		if (n == 0)
			t.got_eof = true;
		if (n <= 0)
			return;
		assert_int_equal(buf_append(&t.got, bytes_of(data, (size_t)n)), 0);
	}
}

static const struct byte_stream_events visitor_events = { .on_readable = visitor_readable };

static void on_exchange(void *ctx, struct exchange *x)
{
	assert_non_null(x->host.ptr);
	x->client_ip = BYTES_LIT("192.0.2.1");
	t.ends++;
}

static void on_refused_end(struct exchange *x, void *ctx)
{
	t.refused_status = x->failure.status;
}

static void on_refused(void *ctx, struct exchange *x)
{
	assert_int_equal(x->request.method.len, 0);
	x->on_end = on_refused_end;
}

static void on_closed(void *ctx, const struct err *why)
{
	t.server = NULL;
	t.close_code = why ? why->code : 0;
	if (t.stop_when_closed)
		loop_stop(t.loop);
}

static void connect_with(size_t capacity, const struct http_server_options *more)
{
	struct http_server_options options = more ? *more : (struct http_server_options){ 0 };

	options.chain = &chain;
	options.scheme = BYTES_LIT("https");
	options.is_tls = true;
	options.ctx = &t;
	options.on_exchange = on_exchange;
	options.on_refused = on_refused;
	options.on_closed = on_closed;
	memory_stream_pair(t.loop, capacity, &t.stream, &t.visitor);
	byte_stream_set_events(t.visitor, &visitor_events, NULL);
	t.server = h1_server_new(t.stream, &options);
	t.visitor_reads = true;
}

static void send_bytes(struct bytes data)
{
	assert_int_equal(byte_stream_write(t.visitor, data), data.len);
	loop_settle(t.loop);
}

static void send(const char *text)
{
	send_bytes(bytes_str(text));
}

/* What came since the last look. */
static void assert_got(const char *text)
{
	loop_settle(t.loop);
	if (!bytes_eq(buf_bytes(&t.got), bytes_str(text)))
		fail_msg("got \"" BYTES_FMT "\", want \"%s\"", BYTES_ARG(buf_bytes(&t.got)), text);
	buf_clear(&t.got);
}

static void assert_got_status(const char *line)
{
	loop_settle(t.loop);
	if (!bytes_starts_with(buf_bytes(&t.got), bytes_str(line)))
		fail_msg("got \"" BYTES_FMT "\", want \"%s\"", BYTES_ARG(buf_bytes(&t.got)), line);
}

static void assert_is_closed(int code)
{
	loop_settle(t.loop);
	assert_null(t.server);
	assert_true(t.got_eof);
	assert_int_equal(t.close_code, code);
}

static int setup(void **state)
{
	memset(&t, 0, sizeof(t));
	t.loop = loop_new(NULL);
	buf_init(&t.got, 1 << 24);
	buf_init(&t.body, 1 << 24);
	return t.loop ? 0 : -1;
}

static int teardown(void **state)
{
	if (t.server)
		http_server_close(t.server);
	loop_settle(t.loop);
	t.visitor = byte_stream_close(t.visitor);
	loop_settle(t.loop);
	assert_null(t.server);
	assert_int_equal(exchange_live_count(), 0);
	buf_done(&t.got);
	buf_done(&t.body);
	t.loop = loop_free(t.loop);
	return 0;
}

static void connect(void)
{
	connect_with(1 << 20, NULL);
}

#define HOST "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define WHOLE                                                                  \
	"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n" \
	"Connection: keep-alive\r\n\r\nhello"

/* --- Requests -------------------------------------------------------------------------------- */

static void requests_follow_each_other_on_one_connection(void **state)
{
	connect();
	for (int i = 0; i < 3; i++) {
		send(GET("/whole"));
		assert_got(WHOLE);
	}
	assert_int_equal(t.exchanges, 3);
	assert_non_null(t.server);
}

static void a_request_is_read_byte_by_byte(void **state)
{
	const char *text =
		"\r\nPOST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc" GET("/whole");

	connect();
	for (; *text; text++)
		send_bytes(bytes_of(text, 1));
	assert_got(
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc" WHOLE);
}

static void the_exchange_says_how_the_visitor_came(void **state)
{
	connect();
	send("GET /x?y HTTP/1.1\r\nHost: App.Example.com:443\r\nConnection: keep-alive, X-Hop\r\n"
	     "X-Hop: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nX-End: 2\r\n\r\n");
	assert_non_null(t.x);
	assert_true(t.x->is_tls);
	assert_true(bytes_eq(t.x->request.scheme, BYTES_LIT("https")));
	assert_true(bytes_eq(t.x->request.authority, BYTES_LIT("App.Example.com:443")));
	assert_true(bytes_eq(t.x->host, BYTES_LIT("app.example.com")));
	assert_true(bytes_eq(t.x->client_ip, BYTES_LIT("192.0.2.1")));
	assert_true(body_is_done(&t.x->request_body));
	assert_int_equal(t.x->request.fields.count, 2);
	assert_int_equal(t.x->request.fields.list[0].token, HEAD_TE);
	assert_true(bytes_eq(t.x->request.fields.list[1].name, BYTES_LIT("X-End")));
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	connect();
	send(GET("/hold") GET("/whole") GET("/hold") GET("/whole"));
	assert_int_equal(t.exchanges, 1);
	respond(204, HEAD_LENGTH_NONE, 0);
	end_body();
	assert_got("HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n" WHOLE);
	assert_int_equal(t.exchanges, 3);
	respond(204, HEAD_LENGTH_NONE, 0);
	end_body();
	assert_got("HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n" WHOLE);
}

static void reading_ahead_is_bounded(void **state)
{
	struct buf many;

	connect_with(1 << 16, NULL);
	buf_init(&many, 1 << 20);
	while (many.len < 60000)
		assert_int_equal(buf_append_str(&many, GET("/whole")), 0);
	send(GET("/hold"));
	send_bytes(buf_bytes(&many));
	/* A chunk's worth was taken, the rest waits in the network. */
	assert_true(byte_stream_backlog(t.visitor) >= many.len - BUFQ_CHUNK_BYTES);
	respond(204, HEAD_LENGTH_NONE, 0);
	end_body();
	loop_settle(t.loop);
	assert_int_equal(t.exchanges, 1 + many.len / strlen(GET("/whole")));
	assert_int_equal(byte_stream_backlog(t.visitor), 0);
	buf_done(&many);
}

static void a_connection_closes_when_asked(void **state)
{
	connect();
	send("GET /whole HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n" GET("/whole"));
	assert_got("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n"
		   "Connection: close\r\n\r\nhello");
	assert_is_closed(0);
	assert_int_equal(t.exchanges, 1);
}

static void http10_closes_unless_asked_to_stay(void **state)
{
	connect();
	send("GET /whole HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
	assert_got(WHOLE);
	send("GET /hold HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
	respond(200, HEAD_LENGTH_UNKNOWN, 0);
	send_body("until ");
	assert_got("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil ");
	send_body("the end");
	end_body();
	assert_got("the end");
	assert_is_closed(0);
}

/* --- Responses ------------------------------------------------------------------------------- */

static void a_response_of_unknown_length_is_chunked(void **state)
{
	connect();
	send(GET("/hold"));
	assert_int_equal(
		fields_add(&t.x->response.fields, &t.x->arena, BYTES_LIT("X-A"), BYTES_LIT("1")), 0);
	assert_int_equal(fields_add(&t.x->response.fields, &t.x->arena, BYTES_LIT("Connection"),
				    BYTES_LIT("close, x-b")),
			 0);
	assert_int_equal(
		fields_add(&t.x->response.fields, &t.x->arena, BYTES_LIT("X-B"), BYTES_LIT("1")), 0);
	respond(200, HEAD_LENGTH_UNKNOWN, 0);
	assert_got("HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n"
		   "Connection: keep-alive\r\n\r\n");
	send_body("first");
	assert_got("5\r\nfirst\r\n");
	send_body("sec");
	send_body("ond");
	assert_got("6\r\nsecond\r\n");
	end_body();
	assert_got("0\r\n\r\n");
	send(GET("/whole"));
	assert_got(WHOLE);
}

static void trailers_follow_the_last_chunk(void **state)
{
	connect();
	send(GET("/hold"));
	respond(200, HEAD_LENGTH_UNKNOWN, 0);
	send_body("x");
	struct fields *trailers = &t.x->response_body.trailers;
	assert_int_equal(fields_add(trailers, &t.x->arena, BYTES_LIT("X-Sum"), BYTES_LIT("9")), 0);
	assert_int_equal(
		fields_add(trailers, &t.x->arena, BYTES_LIT("Content-Length"), BYTES_LIT("9")), 0);
	end_body();
	assert_got("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
		   "1\r\nx\r\n0\r\nX-Sum: 9\r\n\r\n");
}

static void head_tells_the_length_without_the_body(void **state)
{
	connect();
	send("HEAD /whole HTTP/1.1\r\n" HOST "\r\n");
	assert_got("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n"
		   "Connection: keep-alive\r\n\r\n");
	send("HEAD /hold HTTP/1.1\r\n" HOST "\r\n");
	respond(200, HEAD_LENGTH_KNOWN, 7);
	send_body("ignored");
	end_body();
	assert_got("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: keep-alive\r\n\r\n");
	send("HEAD /hold HTTP/1.1\r\n" HOST "\r\n");
	respond(200, HEAD_LENGTH_UNKNOWN, 0);
	end_body();
	assert_got("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n");
}

static void some_statuses_have_no_body(void **state)
{
	connect();
	send(GET("/hold"));
	respond(304, HEAD_LENGTH_UNKNOWN, 0);
	send_body("ignored");
	end_body();
	assert_got("HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\n\r\n");
	send(GET("/hold"));
	respond(200, HEAD_LENGTH_NONE, 99);
	end_body();
	assert_got("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n");
}

static void a_slow_visitor_holds_the_answerer_back(void **state)
{
	uint8_t data[4096];
	size_t total = 0, taken;

	connect_with(8192, NULL);
	t.visitor_reads = false;
	send(GET("/hold"));
	respond(200, HEAD_LENGTH_KNOWN, 400 * sizeof(data));
	memset(data, 'x', sizeof(data));
	/* The queue and the network fill up, and that is all. */
	while ((taken = body_write(&t.x->response_body, bytes_of(data, sizeof(data)))) > 0) {
		total += taken;
		loop_settle(t.loop);
		assert_true(total <= LIMIT_BODY_QUEUE_BYTES + 8192);
	}
	t.visitor_reads = true;
	byte_stream_want_read(t.visitor);
	while (total < 400 * sizeof(data)) {
		size_t want = 400 * sizeof(data) - total;
		total += body_write(&t.x->response_body,
				    bytes_of(data, want < sizeof(data) ? want : sizeof(data)));
		loop_settle(t.loop);
	}
	end_body();
	loop_settle(t.loop);
	assert_int_equal(t.got.len, total + strlen("HTTP/1.1 200 OK\r\nContent-Length: 1638400\r\n"
						   "Connection: keep-alive\r\n\r\n"));
	buf_clear(&t.got);
	send(GET("/whole"));
	assert_got(WHOLE);
}

static void a_chunked_response_survives_a_narrow_stream(void **state)
{
	char data[3000];
	struct buf want;

	for (size_t capacity = 1; capacity < 40; capacity++) {
		connect_with(capacity, NULL);
		t.visitor_reads = true;
		for (const char *c = GET("/hold"); *c; c++)
			send_bytes(bytes_of(c, 1));
		memset(data, 'y', sizeof(data));
		respond(200, HEAD_LENGTH_UNKNOWN, 0);
		assert_int_equal(body_write(&t.x->response_body, bytes_of(data, sizeof(data))),
				 sizeof(data));
		end_body();
		loop_settle(t.loop);
		buf_init(&want, 8192);
		assert_int_equal(buf_append_str(&want,
						"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
						"Connection: keep-alive\r\n\r\nbb8\r\n"),
				 0);
		assert_int_equal(buf_append(&want, bytes_of(data, sizeof(data))), 0);
		assert_int_equal(buf_append_str(&want, "\r\n0\r\n\r\n"), 0);
		assert_true(bytes_eq(buf_bytes(&t.got), buf_bytes(&want)));
		buf_done(&want);
		buf_clear(&t.got);
		t.visitor = byte_stream_close(t.visitor);
		loop_settle(t.loop);
		assert_null(t.server);
	}
}

static void a_response_of_the_wrong_length_is_cut_off(void **state)
{
	connect();
	send(GET("/hold"));
	respond(200, HEAD_LENGTH_KNOWN, 9);
	send_body("short");
	end_body();
	assert_got("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: keep-alive\r\n\r\nshort");
	assert_is_closed(E_PROTOCOL);
}

static void a_response_that_is_too_long_is_cut_off(void **state)
{
	connect();
	send(GET("/hold"));
	respond(200, HEAD_LENGTH_KNOWN, 2);
	send_body("longer");
	assert_got("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nlo");
	assert_is_closed(E_PROTOCOL);
	assert_int_equal(t.cancels, 1);
}

static void a_failure_before_the_head_is_told_in_one_line(void **state)
{
	connect();
	send(GET("/fail"));
	assert_got(
		"HTTP/1.1 530 \r\ncontent-type: text/plain; charset=utf-8\r\nContent-Length: 34\r\n"
		"Connection: keep-alive\r\n\r\n530 No connector: nobody is there\n");
	send("HEAD /fail HTTP/1.1\r\n" HOST "\r\n");
	assert_got(
		"HTTP/1.1 530 \r\ncontent-type: text/plain; charset=utf-8\r\nContent-Length: 34\r\n"
		"Connection: keep-alive\r\n\r\n");
	send(GET("/whole"));
	assert_got(WHOLE);
}

static void a_failure_after_the_head_cuts_the_response_off(void **state)
{
	connect();
	send(GET("/hold"));
	respond(200, HEAD_LENGTH_UNKNOWN, 0);
	send_body("begun");
	loop_settle(t.loop);
	exchange_failed(t.x, FAILURE_ORIGIN, 502, 0, "Bad gateway", "it went away");
	exchange_fail(TAKE(t.x));
	assert_got("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
		   "5\r\nbegun\r\n");
	assert_is_closed(E_CANCELLED);
}

static void a_head_that_cannot_be_written_becomes_an_error(void **state)
{
	connect();
	send(GET("/hold"));
	assert_int_equal(fields_add(&t.x->response.fields, &t.x->arena, BYTES_LIT("X-A"),
				    BYTES_LIT("1\r\nSet-Cookie: evil")),
			 0);
	respond(200, HEAD_LENGTH_NONE, 0);
	assert_got("HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain; charset=utf-8\r\n"
		   "Content-Length: 50\r\nConnection: keep-alive\r\n\r\n"
		   "502 Bad Gateway: the response has an invalid head\n");
	assert_int_equal(t.cancels, 1);
	send(GET("/hold"));
	respond(101, HEAD_LENGTH_NONE, 0);
	assert_got_status("HTTP/1.1 502 Bad Gateway\r\n");
}

static void an_answerer_that_leaves_without_an_answer_ends_the_connection(void **state)
{
	connect();
	send(GET("/hold"));
	exchange_release_answerer(TAKE(t.x));
	assert_got("");
	assert_is_closed(E_INTERNAL);
}

/* --- Request bodies -------------------------------------------------------------------------- */

static void a_body_with_a_length_is_echoed(void **state)
{
	connect();
	send("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n01234");
	assert_got("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: keep-alive\r\n\r\n01234");
	send("56789" GET("/whole"));
	assert_got("56789" WHOLE);
}

static void a_chunked_body_is_echoed_with_its_trailers(void **state)
{
	connect();
	send("POST /echo HTTP/1.1\r\n" HOST
	     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nd");
	assert_got("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
		   "4\r\nabcd\r\n");
	send("e\r\n0\r\nX-T: 1\r\nHost: b\r\n\r\n" GET("/whole"));
	assert_got("1\r\ne\r\n0\r\nX-T: 1\r\n\r\n" WHOLE);
}

static void large_bodies_pass_whatever_the_sizes(void **state)
{
	static const size_t read_sizes[] = { 1, 7, 100, 5000, 0 };
	struct buf body;

	buf_init(&body, 1 << 20);
	for (int i = 0; body.len < 200000; i++)
		assert_int_equal(buf_printf(&body, "%d,", i), 0);
	for (size_t i = 0; i < ARRAY_LEN(read_sizes) * 2; i++) {
		bool is_chunked = i & 1;
		char head[200];
		connect_with(30000, NULL);
		int len = is_chunked ? snprintf(head, sizeof(head),
						"POST /echo HTTP/1.1\r\n" HOST
						"Transfer-Encoding: chunked\r\n\r\n%zx\r\n",
						body.len)
				     : snprintf(head, sizeof(head),
						"POST /echo HTTP/1.1\r\n" HOST
						"Content-Length: %zu\r\n\r\n",
						body.len);
		send_bytes(bytes_of(head, (size_t)len));
		memory_stream_set_read_max(t.visitor, read_sizes[i / 2]);
		struct bytes rest = buf_bytes(&body);
		while (rest.len) {
			struct bytes piece = bytes_first(rest, 10007);
			rest = bytes_from(rest, byte_stream_write(t.visitor, piece));
			loop_settle(t.loop);
		}
		if (is_chunked)
			send("\r\n0\r\n\r\n");
		loop_settle(t.loop);
		/* Chunks are cut as they come; their payload is what counts. */
		size_t at = 0;
		while (memcmp(t.got.ptr + at, "\r\n\r\n", 4) != 0)
			at++;
		at += 4;
		if (!is_chunked) {
			assert_int_equal(t.got.len - at, body.len);
			assert_memory_equal(t.got.ptr + at, body.ptr, body.len);
		} else {
			size_t done = 0;
			for (;;) {
				char *end;
				unsigned long size = strtoul((char *)t.got.ptr + at, &end, 16);
				at = (size_t)((uint8_t *)end - t.got.ptr) + 2;
				if (size == 0)
					break;
				assert_memory_equal(t.got.ptr + at, body.ptr + done, size);
				done += size;
				at += size + 2;
			}
			assert_int_equal(done, body.len);
		}
		buf_clear(&t.got);
		t.visitor = byte_stream_close(t.visitor);
		loop_settle(t.loop);
		assert_null(t.server);
	}
	buf_done(&body);
}

static void a_slow_answerer_holds_the_visitor_back(void **state)
{
	static uint8_t data[1 << 20];
	size_t written = 0;

	connect_with(8192, NULL);
	t.is_parked = true;
	send("POST /hold HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n");
	memset(data, 'z', sizeof(data));
	for (;;) {
		size_t taken = byte_stream_write(t.visitor, bytes_of(data, 4096));
		loop_settle(t.loop);
		written += taken;
		if (taken == 0)
			break;
		assert_true(written <= LIMIT_BODY_QUEUE_BYTES + 8192);
	}
	assert_int_equal(bufq_len(&t.x->request_body.queue), LIMIT_BODY_QUEUE_BYTES);
	t.is_parked = false;
	take_body(t.x);
	while (written < sizeof(data)) {
		loop_settle(t.loop);
		written += byte_stream_write(t.visitor, bytes_of(data, sizeof(data) - written));
	}
	loop_settle(t.loop);
	assert_int_equal(t.body.len, sizeof(data));
	assert_true(t.body_ended);
	respond(204, HEAD_LENGTH_NONE, 0);
	end_body();
	send(GET("/whole"));
	assert_got("HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n" WHOLE);
}

static void a_slow_answerer_holds_a_chunking_visitor_back(void **state)
{
	size_t written = 0;

	connect_with(8192, NULL);
	t.is_parked = true;
	send("POST /hold HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0;; i++) {
		assert_true(i < 100000);
		if (byte_stream_write(t.visitor, BYTES_LIT("8\r\n01234567\r\n")) < 13)
			break;
		written += 8;
		loop_settle(t.loop);
	}
	assert_int_equal(bufq_len(&t.x->request_body.queue), LIMIT_BODY_QUEUE_BYTES);
	t.is_parked = false;
	take_body(t.x);
	loop_settle(t.loop);
	assert_true(t.body.len >= written);
	assert_true(t.body.len <= written + 8);
}

static void a_broken_chunk_is_refused_before_the_head(void **state)
{
	connect();
	send("POST /hold HTTP/1.1\r\n" HOST
	     "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX" GET("/whole"));
	assert_got_status("HTTP/1.1 400 Bad Request\r\n");
	assert_is_closed(E_PARSE);
	assert_int_equal(t.cancels, 1);
	assert_int_equal(t.exchanges, 1);
}

static void a_broken_chunk_cuts_off_after_the_head(void **state)
{
	connect();
	send("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
	assert_got_status("HTTP/1.1 200 OK\r\n");
	buf_clear(&t.got);
	send("zz\r\n" GET("/whole"));
	assert_got("");
	assert_is_closed(E_PARSE);
	assert_int_equal(t.exchanges, 1);
}

static void a_body_is_invited_when_the_visitor_waits(void **state)
{
	connect();
	send("POST /hold HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	assert_null(fields_find(&t.x->request.fields, HEAD_EXPECT));
	assert_got("HTTP/1.1 100 Continue\r\n\r\n");
	send("abc");
	assert_true(t.body_ended);
	respond(204, HEAD_LENGTH_NONE, 0);
	end_body();
	assert_got("HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n");
}

static void nobody_is_invited_who_did_not_wait(void **state)
{
	connect();
	send("POST /hold HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\na");
	assert_got("");
	send("bc");
	respond(204, HEAD_LENGTH_NONE, 0);
	end_body();
	assert_got("HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n");
}

static void an_invitation_may_come_from_further_on(void **state)
{
	const struct head go_on = { .status = 100 };

	connect();
	send("POST /relay HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	assert_got("");
	exchange_interim(t.x, &go_on);
	exchange_interim(t.x, &go_on);
	assert_got("HTTP/1.1 100 Continue\r\n\r\n");
	send("abc");
	respond(204, HEAD_LENGTH_NONE, 0);
	end_body();
	assert_got("HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n");
}

static void interim_heads_are_written_before_the_response(void **state)
{
	struct field fields[] = {
		{ BYTES_LIT("Link"), BYTES_LIT("</x>"), HEAD_OTHER },
		{ BYTES_LIT("Content-Length"), BYTES_LIT("7"), HEAD_CONTENT_LENGTH },
	};
	const struct head hints = { .status = 103, .fields = { fields, 2, 2 } };

	connect();
	send("GET /hold HTTP/1.1\r\n" HOST "\r\n");
	exchange_interim(t.x, &hints);
	assert_got("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
	/* Nobody asked for a 100; and several at once, with the response behind them. */
	exchange_interim(t.x, &(const struct head){ .status = 100 });
	exchange_interim(t.x, &hints);
	exchange_interim(t.x, &(const struct head){ .status = 102 });
	respond(204, HEAD_LENGTH_NONE, 0);
	end_body();
	assert_got("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
		   "HTTP/1.1 102 Processing\r\n\r\n"
		   "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n");
}

static void http10_hears_no_interim_heads(void **state)
{
	connect();
	send("GET /hold HTTP/1.0\r\n" HOST "\r\n");
	exchange_interim(t.x, &(const struct head){ .status = 103 });
	assert_got("");
	respond(204, HEAD_LENGTH_NONE, 0);
	end_body();
	assert_got_status("HTTP/1.1 204 No Content\r\n");
}

/* A flood of them waits for the visitor in memory: there is an end to it. */
static void interim_heads_are_bounded(void **state)
{
	connect();
	send("GET /hold HTTP/1.1\r\n" HOST "\r\n");
	for (int i = 0; i < 3 * LIMIT_INTERIM_HEADS; i++)
		exchange_interim(t.x, &(const struct head){ .status = 102 });
	loop_settle(t.loop);
	assert_int_equal(t.got.len, LIMIT_INTERIM_HEADS * strlen("HTTP/1.1 102 Processing\r\n\r\n"));
	buf_clear(&t.got);
	respond(204, HEAD_LENGTH_NONE, 0);
	end_body();
	assert_got_status("HTTP/1.1 204 No Content\r\n");
}

static void a_refused_invitation_ends_the_connection(void **state)
{
	connect();
	send("POST /whole HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	assert_got("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n"
		   "Connection: close\r\n\r\nhello");
	assert_is_closed(0);
}

static void an_early_answer_lets_a_small_rest_pass(void **state)
{
	connect();
	send("POST /whole HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n01234");
	assert_got(WHOLE);
	send("567");
	assert_int_equal(t.exchanges, 1);
	send("89" GET("/whole"));
	assert_got(WHOLE);
	send("POST /whole HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nab");
	assert_got(WHOLE);
	send("cde\r\n0\r\nX-T: 1\r\n\r\n" GET("/whole"));
	assert_got(WHOLE);
}

static void an_early_answer_does_not_wait_for_a_large_rest(void **state)
{
	connect();
	send("POST /whole HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n01234");
	assert_got(WHOLE);
	assert_is_closed(0);
}

static void an_endless_rest_is_not_waited_for(void **state)
{
	connect();
	send("POST /whole HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	assert_got(WHOLE);
	for (int i = 0; t.server; i++) {
		assert_true(i < 100);
		(void)byte_stream_write(t.visitor, BYTES_LIT("400\r\n"));
		for (int j = 0; j < 64; j++)
			(void)byte_stream_write(t.visitor, BYTES_LIT("0123456789abcdef"));
		send("\r\n");
	}
	assert_is_closed(0);
	assert_int_equal(t.exchanges, 1);
}

static void an_unwanted_body_is_read_while_the_answer_waits(void **state)
{
	size_t written = 0, taken;

	connect_with(256, NULL);
	t.visitor_reads = false;
	send("POST /hold HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n01234");
	respond(413, HEAD_LENGTH_KNOWN, 1000);
	for (int i = 0; i < 100; i++)
		send_body("0123456789");
	end_body();
	loop_settle(t.loop);
	/* The visitor reads nothing before it has sent a good part. */
	while ((taken = byte_stream_write(t.visitor, BYTES_LIT("0123456789"))) > 0) {
		written += taken;
		loop_settle(t.loop);
	}
	assert_true(written > 60000 && written < 100000);
	t.visitor_reads = true;
	byte_stream_want_read(t.visitor);
	assert_got_status("HTTP/1.1 413 ");
	assert_true(t.got.len > 1000);
	assert_is_closed(0);
}

static void a_body_without_room_is_thrown_away_when_the_answerer_leaves(void **state)
{
	static uint8_t data[LIMIT_BODY_QUEUE_BYTES + 1000];

	connect();
	t.is_parked = true;
	(void)byte_stream_write(t.visitor, BYTES_LIT("POST /hold HTTP/1.1\r\n" HOST
						     "Transfer-Encoding: chunked\r\n\r\n103e8\r\n"));
	send_bytes(bytes_of(data, sizeof(data)));
	respond(204, HEAD_LENGTH_NONE, 0);
	end_body();
	send("\r\n0\r\n\r\n" GET("/whole"));
	assert_got("HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n" WHOLE);
}

static void a_broken_rest_is_not_read_as_a_request(void **state)
{
	connect();
	send("POST /whole HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nab");
	assert_got(WHOLE);
	send(GET("/whole"));
	assert_got("");
	assert_is_closed(E_PARSE);
	assert_int_equal(t.exchanges, 1);
}

/* --- Upgrades -------------------------------------------------------------------------------- */

#define UPGRADE                                                                       \
	"GET /hold HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n" \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
#define SWITCHED \
	"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

static void after_101_the_connection_is_raw(void **state)
{
	connect();
	send(UPGRADE "early ");
	assert_true(t.x->request.is_upgrade);
	assert_false(t.x->request_body.has_ended);
	assert_int_equal(bufq_len(&t.x->request_body.queue), 0);
	respond(101, HEAD_LENGTH_UNKNOWN, 0);
	assert_got(SWITCHED);
	send("GET / HTTP/1.1\r\n\r\n");
	assert_true(bytes_eq(buf_bytes(&t.body), BYTES_LIT("early GET / HTTP/1.1\r\n\r\n")));
	send_body("\x81\x05hello");
	assert_got("\x81\x05hello");
	end_body();
	assert_got("");
	assert_is_closed(0);
}

static void a_visitor_may_end_its_side_of_a_raw_connection(void **state)
{
	connect();
	send(UPGRADE);
	respond(101, HEAD_LENGTH_UNKNOWN, 0);
	loop_settle(t.loop);
	send("bye");
	byte_stream_shutdown(t.visitor);
	loop_settle(t.loop);
	assert_true(t.body_ended);
	assert_int_equal(t.cancels, 0);
	send_body("bye too");
	end_body();
	assert_got(SWITCHED "bye too");
	assert_is_closed(0);
}

static void an_answerer_may_end_its_side_of_a_raw_connection(void **state)
{
	connect();
	send(UPGRADE);
	respond(101, HEAD_LENGTH_UNKNOWN, 0);
	send_body("bye");
	body_end(&t.x->response_body);
	assert_got(SWITCHED "bye");
	assert_true(t.got_eof);
	assert_non_null(t.server);
	send("late");
	assert_true(bytes_eq(buf_bytes(&t.body), BYTES_LIT("late")));
	exchange_release_answerer(TAKE(t.x));
	assert_is_closed(0);
}

static void a_raw_connection_holds_both_sides_back(void **state)
{
	size_t written = 0, taken;

	connect_with(4096, NULL);
	t.is_parked = true;
	send(UPGRADE);
	respond(101, HEAD_LENGTH_UNKNOWN, 0);
	loop_settle(t.loop);
	while ((taken = byte_stream_write(t.visitor, BYTES_LIT("0123456789abcdef"))) > 0) {
		written += taken;
		loop_settle(t.loop);
		assert_true(written <= LIMIT_BODY_QUEUE_BYTES + 4096);
	}
	t.is_parked = false;
	take_body(t.x);
	loop_settle(t.loop);
	assert_int_equal(t.body.len, written);
}

static void a_refused_upgrade_leaves_the_connection_usable(void **state)
{
	connect();
	send(UPGRADE);
	respond(403, HEAD_LENGTH_KNOWN, 2);
	send_body("no");
	assert_got(
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nno");
	assert_true(t.x->request_body.has_ended);
	end_body();
	send(GET("/whole"));
	assert_got(WHOLE);
}

/* --- Ends ------------------------------------------------------------------------------------ */

static void a_visitor_who_leaves_cancels_the_exchange(void **state)
{
	connect();
	send(GET("/hold"));
	byte_stream_shutdown(t.visitor);
	loop_settle(t.loop);
	assert_int_equal(t.cancels, 1);
	assert_is_closed(E_CLOSED);
}

static void a_visitor_who_leaves_in_its_body_cancels_the_exchange(void **state)
{
	connect();
	send("POST /hold HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n01234");
	t.visitor = byte_stream_close(t.visitor);
	loop_settle(t.loop);
	assert_int_equal(t.cancels, 1);
	assert_false(t.body_ended);
	assert_null(t.server);
	assert_int_equal(t.close_code, E_CLOSED);
}

static void a_visitor_who_leaves_between_requests_is_no_error(void **state)
{
	connect();
	send(GET("/whole"));
	assert_got(WHOLE);
	byte_stream_shutdown(t.visitor);
	assert_is_closed(0);
}

static void half_a_head_and_an_end_is_an_error(void **state)
{
	connect();
	send("GET / HT");
	byte_stream_shutdown(t.visitor);
	assert_is_closed(E_CLOSED);
	assert_int_equal(t.exchanges, 0);
}

static void a_whole_answer_still_reaches_a_visitor_who_closed_one_side(void **state)
{
	connect_with(64, NULL);
	t.visitor_reads = false;
	send("GET /whole HTTP/1.1\r\n" HOST "\r\n");
	byte_stream_shutdown(t.visitor);
	loop_settle(t.loop);
	t.visitor_reads = true;
	byte_stream_want_read(t.visitor);
	assert_got(WHOLE);
	assert_is_closed(0);
}

/* Whoever has the last byte may leave before the answerer has said that it was the last. */
static void a_visitor_who_has_all_and_leaves_cancels_nothing(void **state)
{
	static const struct {
		const char *request;
		int status;
		const char *body;
	} cases[] = {
		{ GET("/hold"), 204, "" },
		{ GET("/hold"), 304, "" },
		{ GET("/hold"), 200, "all" },
		{ "HEAD /hold HTTP/1.1\r\n" HOST "\r\n", 200, "" },
	};

	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		struct err err;
		connect();
		send(cases[i / 2].request);
		respond(cases[i / 2].status, HEAD_LENGTH_KNOWN, strlen(cases[i / 2].body));
		send_body(cases[i / 2].body);
		loop_settle(t.loop);
		if (i % 2) {
			byte_stream_shutdown(t.visitor);
		} else {
			err_set(&err, E_IO, "reset");
			t.stream->events->on_error(t.stream->ctx, &err);
		}
		loop_settle(t.loop);
		assert_int_equal(t.cancels, 0);
		assert_non_null(t.server);
		end_body();
		assert_is_closed(0);
		t.visitor = byte_stream_close(t.visitor);
		loop_settle(t.loop);
		buf_clear(&t.got);
		t.got_eof = false;
	}
}

static void a_visitor_who_leaves_before_the_last_byte_cancels(void **state)
{
	connect();
	send(GET("/hold"));
	respond(200, HEAD_LENGTH_KNOWN, 4);
	send_body("all");
	loop_settle(t.loop);
	byte_stream_shutdown(t.visitor);
	loop_settle(t.loop);
	assert_int_equal(t.cancels, 1);
	assert_is_closed(E_CLOSED);
}

static void a_dead_stream_cancels_the_exchange(void **state)
{
	struct err err;

	connect();
	send(GET("/hold"));
	/* As the connection itself would tell it, found dead while nobody reads. */
	err_set(&err, E_IO, "reset");
	t.stream->events->on_error(t.stream->ctx, &err);
	loop_settle(t.loop);
	assert_int_equal(t.cancels, 1);
	assert_is_closed(E_IO);
}

static void closing_cancels_the_exchange(void **state)
{
	connect();
	send(GET("/hold"));
	http_server_close(t.server);
	assert_non_null(t.server); /* not inside the call */
	assert_is_closed(0);
	assert_int_equal(t.cancels, 1);
}

static void draining_closes_an_idle_connection_at_once(void **state)
{
	connect();
	send(GET("/whole"));
	assert_got(WHOLE);
	http_server_drain(t.server);
	assert_non_null(t.server); /* not inside the call */
	assert_is_closed(0);
}

static void draining_lets_the_exchange_end(void **state)
{
	connect();
	send(GET("/hold") GET("/whole"));
	http_server_drain(t.server);
	respond(200, HEAD_LENGTH_KNOWN, 2);
	send_body("ok");
	end_body();
	assert_got("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
	assert_is_closed(0);
	assert_int_equal(t.exchanges, 1);
}

static void draining_serves_a_request_that_has_begun(void **state)
{
	connect();
	send("GET /whole HTTP/1.1\r\n");
	http_server_drain(t.server);
	send(HOST "\r\n");
	assert_got_status("HTTP/1.1 200 OK\r\n");
	assert_is_closed(0);
}

static void wait_for_close(void)
{
	t.stop_when_closed = true;
	if (t.server)
		loop_run(t.loop);
	t.stop_when_closed = false;
	loop_settle(t.loop);
}

static void a_silent_visitor_is_closed(void **state)
{
	connect_with(1 << 16, &(struct http_server_options){ .head_ms = 1 });
	wait_for_close();
	assert_got("");
	assert_is_closed(0);
}

static void a_slow_head_gets_408(void **state)
{
	connect_with(1 << 16, &(struct http_server_options){ .head_ms = 1 });
	send("GET / HTTP/1.1\r\n");
	wait_for_close();
	assert_got_status("HTTP/1.1 408 Request Timeout\r\n");
	assert_is_closed(E_TIMEOUT);
	assert_int_equal(t.refused_status, 408);
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
	connect_with(1 << 16, &(struct http_server_options){ .idle_ms = 1 });
	send(GET("/whole"));
	wait_for_close();
	assert_got(WHOLE);
	assert_is_closed(0);
}

static void a_stalled_body_gets_408(void **state)
{
	connect_with(1 << 16, &(struct http_server_options){ .body_ms = 1 });
	send("POST /hold HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n01234");
	wait_for_close();
	assert_got_status("HTTP/1.1 408 Request Timeout\r\n");
	assert_is_closed(E_TIMEOUT);
	assert_int_equal(t.cancels, 1);
}

static void a_stalled_answerer_gets_504(void **state)
{
	connect_with(1 << 16, &(struct http_server_options){ .body_ms = 1 });
	send(GET("/hold"));
	wait_for_close();
	assert_got_status("HTTP/1.1 504 Gateway Timeout\r\n");
	assert_is_closed(E_TIMEOUT);
	assert_int_equal(t.cancels, 1);
}

static void a_stalled_response_is_cut_off(void **state)
{
	connect_with(1 << 16, &(struct http_server_options){ .body_ms = 1 });
	send(GET("/hold"));
	if (t.x) {
		respond(200, HEAD_LENGTH_KNOWN, 5);
		send_body("he");
	}
	wait_for_close();
	assert_is_closed(E_TIMEOUT);
	assert_int_equal(t.cancels, 1);
}

/* --- Refusals -------------------------------------------------------------------------------- */

static void what_cannot_be_read_is_refused_for_good(void **state)
{
	static const struct {
		const char *text, *status;
		int code;
	} cases[] = {
		{ "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", E_PARSE },
		{ "GET / HTTP/1.1\n", "HTTP/1.1 400 Bad Request\r\n", E_PARSE },
		{ "\n", "HTTP/1.1 400 Bad Request\r\n", E_PARSE },
		{ "\r\n\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", E_PARSE },
		{ "POST / HTTP/1.1\r\n" HOST
		  "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		  "HTTP/1.1 400 Bad Request\r\n", E_PARSE },
		{ "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "HTTP/1.1 501 Not Implemented\r\n",
		  E_UNSUPPORTED },
		{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n",
		  "HTTP/1.1 501 Not Implemented\r\n", E_UNSUPPORTED },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\r\n",
		  E_UNSUPPORTED },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		connect();
		t.got_eof = false;
		(void)byte_stream_write(t.visitor, bytes_str(cases[i].text));
		(void)byte_stream_write(t.visitor, BYTES_LIT(GET("/whole")));
		assert_got_status(cases[i].status);
		assert_non_null(memmem(t.got.ptr, t.got.len, "Connection: close\r\n", 19));
		assert_is_closed(cases[i].code);
		assert_int_equal(t.exchanges, 0);
		assert_int_equal(t.refused_status, strtol(cases[i].status + 9, NULL, 10));
		buf_clear(&t.got);
		t.visitor = byte_stream_close(t.visitor);
	}
}

static void heads_that_are_too_long_are_refused(void **state)
{
	static uint8_t data[LIMIT_HEAD_BYTES];

	memset(data, 'a', sizeof(data));
	connect();
	(void)byte_stream_write(t.visitor, BYTES_LIT("GET /"));
	send_bytes(bytes_of(data, sizeof(data)));
	assert_got_status("HTTP/1.1 414 ");
	assert_is_closed(E_LIMIT);
	t.visitor = byte_stream_close(t.visitor);
	buf_clear(&t.got);

	connect();
	(void)byte_stream_write(t.visitor, BYTES_LIT("GET / HTTP/1.1\r\nA: "));
	send_bytes(bytes_of(data, sizeof(data)));
	assert_got_status("HTTP/1.1 431 ");
	assert_is_closed(E_LIMIT);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(requests_follow_each_other_on_one_connection),
		CASE(a_request_is_read_byte_by_byte),
		CASE(the_exchange_says_how_the_visitor_came),
		CASE(pipelined_requests_are_answered_in_order),
		CASE(reading_ahead_is_bounded),
		CASE(a_connection_closes_when_asked),
		CASE(http10_closes_unless_asked_to_stay),
		CASE(a_response_of_unknown_length_is_chunked),
		CASE(trailers_follow_the_last_chunk),
		CASE(head_tells_the_length_without_the_body),
		CASE(some_statuses_have_no_body),
		CASE(a_slow_visitor_holds_the_answerer_back),
		CASE(a_chunked_response_survives_a_narrow_stream),
		CASE(a_response_of_the_wrong_length_is_cut_off),
		CASE(a_response_that_is_too_long_is_cut_off),
		CASE(a_failure_before_the_head_is_told_in_one_line),
		CASE(a_failure_after_the_head_cuts_the_response_off),
		CASE(a_head_that_cannot_be_written_becomes_an_error),
		CASE(an_answerer_that_leaves_without_an_answer_ends_the_connection),
		CASE(a_body_with_a_length_is_echoed),
		CASE(a_chunked_body_is_echoed_with_its_trailers),
		CASE(large_bodies_pass_whatever_the_sizes),
		CASE(a_slow_answerer_holds_the_visitor_back),
		CASE(a_slow_answerer_holds_a_chunking_visitor_back),
		CASE(a_broken_chunk_is_refused_before_the_head),
		CASE(a_broken_chunk_cuts_off_after_the_head),
		CASE(a_body_is_invited_when_the_visitor_waits),
		CASE(nobody_is_invited_who_did_not_wait),
		CASE(an_invitation_may_come_from_further_on),
		CASE(interim_heads_are_written_before_the_response),
		CASE(http10_hears_no_interim_heads),
		CASE(interim_heads_are_bounded),
		CASE(a_refused_invitation_ends_the_connection),
		CASE(an_early_answer_lets_a_small_rest_pass),
		CASE(an_early_answer_does_not_wait_for_a_large_rest),
		CASE(an_endless_rest_is_not_waited_for),
		CASE(an_unwanted_body_is_read_while_the_answer_waits),
		CASE(a_body_without_room_is_thrown_away_when_the_answerer_leaves),
		CASE(a_broken_rest_is_not_read_as_a_request),
		CASE(after_101_the_connection_is_raw),
		CASE(a_visitor_may_end_its_side_of_a_raw_connection),
		CASE(an_answerer_may_end_its_side_of_a_raw_connection),
		CASE(a_raw_connection_holds_both_sides_back),
		CASE(a_refused_upgrade_leaves_the_connection_usable),
		CASE(a_visitor_who_leaves_cancels_the_exchange),
		CASE(a_visitor_who_leaves_in_its_body_cancels_the_exchange),
		CASE(a_visitor_who_leaves_between_requests_is_no_error),
		CASE(half_a_head_and_an_end_is_an_error),
		CASE(a_whole_answer_still_reaches_a_visitor_who_closed_one_side),
		CASE(a_visitor_who_has_all_and_leaves_cancels_nothing),
		CASE(a_visitor_who_leaves_before_the_last_byte_cancels),
		CASE(a_dead_stream_cancels_the_exchange),
		CASE(closing_cancels_the_exchange),
		CASE(draining_closes_an_idle_connection_at_once),
		CASE(draining_lets_the_exchange_end),
		CASE(draining_serves_a_request_that_has_begun),
		CASE(a_silent_visitor_is_closed),
		CASE(a_slow_head_gets_408),
		CASE(an_idle_connection_is_closed_without_a_word),
		CASE(a_stalled_body_gets_408),
		CASE(a_stalled_answerer_gets_504),
		CASE(a_stalled_response_is_cut_off),
		CASE(what_cannot_be_read_is_refused_for_good),
		CASE(heads_that_are_too_long_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
