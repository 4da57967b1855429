/* The HTTP/2 driver: the table that every driver passes, over sockets; and what a stock or a hostile peer
 * may do on the other end, played by a bare HTTP/2 session. */
#include "transport_cases.h"

#include <jansson.h>
#include <sys/socket.h>

#include "base/encode.h"

#include "fake/memory_stream.h"
#include "http/h2_session.h"
#include "io/conn.h"
#include "transport/control.h"

static bool over_sockets; /* the table runs both ways */

static const struct driver_traits traits = { 0 };

static void make_line(struct line *line, const struct session_start *edge,
		      const struct session_start *connector)
{
	struct session_start e = *edge, c = *connector;

	if (over_sockets) {
		struct address peer = { .len = 0 };
		int fds[2];
		peer.any.sa_family = AF_UNIX;
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		e.stream = conn_adopt(line->loop, fds[0], &peer);
		c.stream = conn_adopt(line->loop, fds[1], &peer);
	} else {
		memory_stream_pair(line->loop, LIMIT_WRITE_BACKLOG_BYTES, &e.stream, &c.stream);
	}
	line->edge.s = h2_transport.start(line->loop, &e);
	line->connector.s = h2_transport.start(line->loop, &c);
}

static void drop_line(struct line *line)
{
	(void)line;
}

static void settle(struct line *line)
{
	/* Over sockets each turn moves what the kernel's buffers hold. */
	for (int i = 0; i < (over_sockets ? 2000 : 3); i++)
		loop_settle(line->loop);
}

static int use_sockets(void **state)
{
	(void)state;
	over_sockets = true;
	return 0;
}

static int use_memory(void **state)
{
	(void)state;
	over_sockets = false;
	return 0;
}

/* --- A connector that is not ours ------------------------------------------------------------ */

struct foreign {
	struct loop *loop;
	struct line *line;
	struct h2_session *h2;
	struct h2_stream *control, *request;
	struct control *rpc;
	bool is_registered;
	struct head head; /* of the last request */
	struct arena arena;
	void (*answer)(struct foreign *f);
};

static void foreign_pump(struct foreign *f)
{
	struct bytes out;

	while (f->control && (out = control_output(f->rpc)).len) {
		size_t taken = h2_stream_write(f->control, out, false);
		control_sent(f->rpc, taken);
		if (taken < out.len)
			return;
	}
}

static void foreign_on_registered(void *ctx, const struct registered *r)
{
	((struct foreign *)ctx)->is_registered = r->ok;
}

static const struct control_events foreign_control_events = { .on_registered =
								      foreign_on_registered };

static void foreign_on_request(struct h2_session *s, struct h2_stream *st, const struct head *head,
			       bool fin)
{
	struct foreign *f = h2_session_ctx(s);
	const struct field *kind = fields_find(&head->fields, HEAD_CF_UPGRADE);
	const struct head ok = { .status = 200, .length = HEAD_LENGTH_UNKNOWN };

	(void)fin;
	if (kind && bytes_eq(kind->value, BYTES_LIT("control-stream"))) {
		assert_non_null(fields_find_text(&head->fields, BYTES_LIT("adit-features")));
		f->control = st;
		h2_stream_respond(st, &ok, false);
		foreign_pump(f);
		return;
	}
	f->request = st;
	assert_int_equal(head_copy(&f->head, head, &f->arena), 0);
	if (f->answer)
		f->answer(f);
}

static void foreign_on_data(struct h2_stream *st, struct bytes data, bool fin)
{
	struct foreign *f = h2_session_ctx(h2_stream_session(st));
	struct err err;

	(void)fin;
	h2_stream_consume(st, data.len);
	if (st == f->control && data.len) {
		assert_int_equal(control_feed(f->rpc, data, &err), 0);
		foreign_pump(f);
	}
}

static void foreign_on_writable(struct h2_stream *st)
{
	struct foreign *f = h2_session_ctx(h2_stream_session(st));

	if (st == f->control)
		foreign_pump(f);
}

static void foreign_on_stream_closed(struct h2_stream *st, uint32_t code)
{
	struct foreign *f = h2_session_ctx(h2_stream_session(st));

	(void)code;
	if (st == f->control)
		f->control = NULL;
	if (st == f->request)
		f->request = NULL;
}

static void foreign_on_closed(struct h2_session *s, const struct err *why)
{
	struct foreign *f = h2_session_ctx(s);

	(void)why;
	f->h2 = NULL;
}

static const struct h2_events foreign_events = {
	.on_request = foreign_on_request,
	.on_data = foreign_on_data,
	.on_writable = foreign_on_writable,
	.on_stream_closed = foreign_on_stream_closed,
	.on_closed = foreign_on_closed,
};

static struct foreign *foreign_new(void)
{
	struct foreign *f = mem_alloc(sizeof(*f));
	struct line *line = mem_alloc(sizeof(*line));
	struct byte_stream *ours, *theirs;
	const struct registration registration = {
		.account = BYTES_LIT("account"),
		.secret = BYTES_LIT("secret"),
		.features = features,
		.feature_count = 2, /* those of a stock connector */
		.version = BYTES_LIT("2026.8.2"),
	};
	const struct h2_options options = {
		.role = H2_SERVER,
		.max_streams = 100,
		.stream_window = 1 << 20,
		.connection_window = 1 << 20,
	};

	over_sockets = false;
	line->loop = loop_new(NULL);
	line->verdict = (struct registered){ .ok = true, .location = BYTES_LIT("here") };
	memory_stream_pair(line->loop, 1 << 20, &ours, &theirs);
	const struct session_start edge = {
		.side = SESSION_EDGE,
		.stream = ours,
		.events = &session_events,
		.ctx = line,
	};
	line->edge.s = h2_transport.start(line->loop, &edge);
	f->line = line;
	arena_init(&f->arena);
	f->rpc = control_new(SESSION_CONNECTOR, &foreign_control_events, f, &registration);
	f->h2 = h2_session_new(theirs, &options, &foreign_events, f);
	settle(line);
	assert_true(f->is_registered);
	assert_true(session_can_open(line->edge.s));
	assert_false(session_has_feature(line->edge.s, FEATURE_REASON));
	return f;
}

static void foreign_free(struct foreign *f)
{
	struct line *line = f->line;

	if (f->h2)
		h2_session_close(f->h2, H2_NO_ERROR, "test is over");
	settle(line);
	assert_true(line->edge.closed);
	end_done(&line->edge);
	control_free(f->rpc);
	arena_done(&f->arena);
	loop_free(line->loop);
	mem_free(line);
	mem_free(f);
}

/* Answers with a head of raw fields, "name: value" each, and a body. */
static void foreign_respond(struct foreign *f, int status, const char *const *lines, size_t size,
			    bool end)
{
	struct head head = { .status = status, .length = HEAD_LENGTH_UNKNOWN };

	for (; *lines; lines++) {
		struct bytes line = bytes_str(*lines), name;
		assert_true(bytes_split(&line, ':', &name));
		assert_int_equal(fields_add(&head.fields, &f->arena, name, bytes_trim(line)), 0);
	}
	h2_stream_respond(f->request, &head, size == 0 && end);
	uint8_t block[1000];
	for (size_t i = 0; i < size; i++)
		block[i] = pattern(i);
	if (size)
		h2_stream_write(f->request, bytes_of(block, size), end);
}

static struct side *ask(struct foreign *f, enum stream_kind kind, const char *method)
{
	struct head head = request_head(method);
	struct side *side = open_kind(f->line, kind, &head, kind != STREAM_WEBSOCKET);

	settle(f->line);
	assert_non_null(f->request);
	return side;
}

#define LINES(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define ORIGIN "cf-cloudflared-response-meta: {\"src\":\"origin\"}"

static void only_the_serialized_fields_count(void **state)
{
	(void)state;
	struct foreign *f = foreign_new();
	struct side *e = ask(f, STREAM_HTTP, "GET");

	/* Content-Type: text/html, Set-Cookie: a=1, Set-Cookie: b=2, Content-Length: 5, Connection: x-hop,
	 * X-Hop: 1 */
	foreign_respond(
		f, 200,
		LINES(ORIGIN,
		      "cf-cloudflared-response-headers: Q29udGVudC1UeXBl:dGV4dC9odG1s;U2V0LUNvb2tpZQ:YT0x;"
		      "U2V0LUNvb2tpZQ:Yj0y;Q29udGVudC1MZW5ndGg:NQ;Q29ubmVjdGlvbg:eC1ob3A;WC1Ib3A:MQ",
		      "content-type: text/plain", "date: now", "cf-int-cloudflared-tracing: x"),
		5, true);
	settle(f->line);
	assert_int_equal(e->head.status, 200);
	assert_false(e->answer.from_connector);
	assert_int_equal(e->head.fields.count, 4);
	assert_text(fields_find(&e->head.fields, HEAD_CONTENT_TYPE)->value, "text/html");
	assert_int_equal(e->head.length, HEAD_LENGTH_KNOWN);
	assert_int_equal(e->head.content_length, 5);
	assert_null(fields_find(&e->head.fields, HEAD_DATE));
	assert_null(fields_find_text(&e->head.fields, BYTES_LIT("x-hop")));
	assert_int_equal(e->got, 5);
	assert_int_equal(e->why, REASON_DONE);
	foreign_free(f);
}

static void stock_failures_and_refusals_are_the_connectors(void **state)
{
	(void)state;
	struct foreign *f = foreign_new();
	struct side *e = ask(f, STREAM_HTTP, "GET");

	foreign_respond(f, 502, LINES("cf-cloudflared-response-meta: {\"src\":\"cloudflared\"}"), 0,
			true);
	settle(f->line);
	assert_int_equal(e->head.status, 502);
	assert_true(e->answer.from_connector);
	assert_false(e->answer.flow_rate_limited);

	e = ask(f, STREAM_HTTP, "GET");
	foreign_respond(
		f, 502,
		LINES("cf-cloudflared-response-meta: {\"src\":\"cloudflared\",\"flow_rate_limited\":true}"),
		0, true);
	settle(f->line);
	assert_true(e->answer.flow_rate_limited);

	/* Go's HTTP library by itself: no meta at all. */
	e = ask(f, STREAM_HTTP, "GET");
	foreign_respond(f, 400, LINES("content-type: text/plain"), 0, true);
	settle(f->line);
	assert_int_equal(e->head.status, 400);
	assert_true(e->answer.from_connector);
	assert_int_equal(e->head.fields.count, 0);
	e = ask(f, STREAM_HTTP, "GET");
	foreign_respond(f, 200, LINES("content-type: text/plain"), 0, true);
	settle(f->line);
	assert_int_equal(e->head.status, 502);
	foreign_free(f);
}

static void stock_websocket_answer_becomes_101(void **state)
{
	(void)state;
	struct foreign *f = foreign_new();
	struct side *e = ask(f, STREAM_WEBSOCKET, "GET");

	assert_non_null(fields_find(&f->head.fields, HEAD_CF_UPGRADE));
	/* Sec-Websocket-Accept: abc=, Connection: Upgrade, Upgrade: websocket */
	foreign_respond(f, 200,
			LINES(ORIGIN,
			      "cf-cloudflared-response-headers: U2VjLVdlYnNvY2tldC1BY2NlcHQ:YWJjPQ;"
			      "Q29ubmVjdGlvbg:VXBncmFkZQ;VXBncmFkZQ:d2Vic29ja2V0"),
			100, false);
	settle(f->line);
	assert_int_equal(e->head.status, 101);
	assert_true(e->head.is_upgrade);
	assert_int_equal(e->got, 100);
	stream_reset(e->st, REASON_CANCELLED);
	settle(f->line);

	/* A real 200, to a request that wanted to upgrade. */
	e = ask(f, STREAM_WEBSOCKET, "GET");
	foreign_respond(f, 200, LINES(ORIGIN, "cf-cloudflared-response-headers: "), 0, true);
	settle(f->line);
	assert_int_equal(e->head.status, 200);
	stream_reset(e->st, REASON_DONE);
	settle(f->line);
	foreign_free(f);
}

static void answers_that_break_their_word_are_cut_off(void **state)
{
	(void)state;
	static const struct {
		const char *method, *fields;
		int status;
		size_t size;
	} cases[] = {
		{ "GET", "not base64!", 200, 5 },
		{ "GET", "Q29udGVudC1UeXBl", 200, 5 },        /* no colon */
		{ "GET", "WCBZ:YQ", 200, 5 },                 /* the name "X Y" */
		{ "GET", "WC1B:YQpi", 200, 5 },               /* a value with a line break */
		{ "GET", "Q29udGVudC1MZW5ndGg:Ng", 200, 5 },  /* length 6, 5 come */
		{ "GET", "Q29udGVudC1MZW5ndGg:NA", 200, 5 },  /* length 4, 5 come */
		{ "GET", "Q29udGVudC1MZW5ndGg:LTU", 200, 5 }, /* length -5 */
		{ "GET", "Q29udGVudC1MZW5ndGg:NQ;Q29udGVudC1MZW5ndGg:Ng", 200, 5 },
		{ "GET", "Q29udGVudC1MZW5ndGg:NQ", 200, 0 }, /* length 5, nothing comes */
		{ "HEAD", "", 200, 5 },
		{ "GET", "", 304, 5 },
		{ "GET", "", 204, 5 },
	};
	struct foreign *f = foreign_new();

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[256];
		snprintf(text, sizeof(text), "cf-cloudflared-response-headers: %s", cases[i].fields);
		struct side *e = ask(f, STREAM_HTTP, cases[i].method);
		foreign_respond(f, cases[i].status, LINES(ORIGIN, text), cases[i].size, true);
		settle(f->line);
		if (!e->closed || e->fin || e->why != REASON_PROTOCOL)
			fail_msg("case %zu: closed %d, fin %d: %s", i, e->closed, e->fin,
				 reason_text(e->why));
	}
	/* A meta value that is none. */
	struct side *e = ask(f, STREAM_HTTP, "GET");
	foreign_respond(f, 200, LINES("cf-cloudflared-response-meta: {\"src\":\"me\"}"), 0, true);
	settle(f->line);
	assert_int_equal(e->why, REASON_PROTOCOL);
	/* HEAD and 304 may speak of a length. */
	e = ask(f, STREAM_HTTP, "HEAD");
	foreign_respond(f, 200,
			LINES(ORIGIN, "cf-cloudflared-response-headers: Q29udGVudC1MZW5ndGg:NQ"), 0,
			true);
	settle(f->line);
	assert_int_equal(e->why, REASON_DONE);
	assert_int_equal(e->head.length, HEAD_LENGTH_NONE);
	assert_text(fields_find(&e->head.fields, HEAD_CONTENT_LENGTH)->value, "5");
	assert_false(f->line->edge.closed);
	foreign_free(f);
}

static void visitor_cannot_choose_the_kind_of_a_stream(void **state)
{
	(void)state;
	struct foreign *f = foreign_new();
	struct head head = request_head("GET");

	assert_int_equal(fields_add(&head.fields, &f->arena,
				    BYTES_LIT("Cf-Cloudflared-Proxy-Connection-Upgrade"),
				    BYTES_LIT("control-stream")),
			 0);
	assert_int_equal(fields_add(&head.fields, &f->arena, BYTES_LIT("CF-Cloudflared-Proxy-Src"),
				    BYTES_LIT("x")),
			 0);
	assert_int_equal(fields_add(&head.fields, &f->arena, BYTES_LIT("X-Kept"), BYTES_LIT("y")),
			 0);
	open_kind(f->line, STREAM_HTTP, &head, true);
	settle(f->line);
	assert_int_equal(f->head.fields.count, 1);
	assert_text(f->head.fields.list[0].name, "x-kept");
	foreign_free(f);
}

static void end_of_the_control_stream_ends_the_session(void **state)
{
	(void)state;
	struct foreign *f = foreign_new();

	/* Without a word of goodbye: nothing new goes there. */
	h2_stream_reset(f->control, H2_CANCEL);
	settle(f->line);
	assert_true(f->line->edge.draining);
	assert_false(session_can_open(f->line->edge.s));
	foreign_free(f);
}

static void nonsense_on_the_control_stream_ends_the_session(void **state)
{
	(void)state;
	struct foreign *f = foreign_new();

	h2_stream_write(f->control, BYTES_LIT("\xff\xff\xff\x7f this is no message at all"), false);
	settle(f->line);
	assert_true(f->line->edge.closed);
	assert_true(f->line->edge.why == REASON_PROTOCOL || f->line->edge.why == REASON_FLOOD);
	foreign_free(f);
}

/* --- An edge that is not ours ---------------------------------------------------------------- */

static void on_edge_response(struct h2_stream *st, const struct head *head, bool fin)
{
	(void)fin;
	*(int *)h2_stream_ctx(st) = head->status;
}

static void on_edge_data(struct h2_stream *st, struct bytes data, bool fin)
{
	(void)fin;
	h2_stream_consume(st, data.len);
}

static void on_edge_stream_closed(struct h2_stream *st, uint32_t code)
{
	int *status = h2_stream_ctx(st);

	if (*status == 0)
		*status = -(int)code;
}

static const struct h2_events edge_events = {
	.on_response = on_edge_response,
	.on_data = on_edge_data,
	.on_stream_closed = on_edge_stream_closed,
};

static void nothing_is_served_before_the_control_stream(void **state)
{
	(void)state;
	struct line *line = mem_alloc(sizeof(*line));
	struct byte_stream *ours, *theirs;
	const struct registration registration = { .account = BYTES_LIT("account"),
						   .secret = BYTES_LIT("secret") };
	const struct h2_options options = { .role = H2_CLIENT,
					    .stream_window = 65535,
					    .connection_window = 65535 };
	int control = 0, second = 0, request = 0, early = 0;
	struct arena a;

	over_sockets = false;
	arena_init(&a);
	line->loop = loop_new(NULL);
	memory_stream_pair(line->loop, 1 << 20, &ours, &theirs);
	const struct session_start start = {
		.side = SESSION_CONNECTOR,
		.stream = ours,
		.events = &session_events,
		.ctx = line,
		.registration = &registration,
	};
	line->connector.s = h2_transport.start(line->loop, &start);
	struct h2_session *edge = h2_session_new(theirs, &options, &edge_events, NULL);
	struct head head = request_head("GET");
	h2_session_open(edge, &head, true, &request);
	assert_int_equal(fields_add(&head.fields, &a,
				    BYTES_LIT("cf-cloudflared-proxy-connection-upgrade"),
				    BYTES_LIT("control-stream")),
			 0);
	h2_session_open(edge, &head, false, &control);
	h2_session_open(edge, &head, false, &second);
	settle(line);
	assert_int_equal(line->connector.count, 0);
	/* The edge has registered us; its first request overtakes the answer that says so. */
	head = request_head("GET");
	h2_session_open(edge, &head, true, &early);
	settle(line);
	assert_int_equal(line->connector.count, 1);
	assert_int_not_equal(early, -H2_REFUSED_STREAM);
	assert_int_equal(request, -H2_REFUSED_STREAM);
	assert_int_equal(control, 200); /* at once */
	assert_int_equal(second, -H2_REFUSED_STREAM);
	h2_session_close(edge, H2_NO_ERROR, "gone");
	settle(line);
	assert_true(line->connector.closed);
	end_done(&line->connector);
	arena_done(&a);
	loop_free(line->loop);
	mem_free(line);
}

static void answer_that_does_not_fit_is_a_failure(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct side *e = open_get(line);
	static char large[60000];
	struct arena a;
	struct head head = { .status = 200, .length = HEAD_LENGTH_UNKNOWN };
	const struct answer answer = { .head = &head };

	arena_init(&a);
	memset(large, 'x', sizeof(large));
	assert_int_equal(
		fields_add(&head.fields, &a, BYTES_LIT("x-large"), bytes_of(large, sizeof(large))),
		0);
	settle(line);
	stream_answer(newest(line)->st, &answer, false);
	send_bytes(newest(line), 1000, true);
	settle(line);
	assert_int_equal(e->head.status, 502);
	assert_true(e->answer.from_connector);
	assert_true(e->closed);
	/* One that just fits. */
	head.fields.list[0].value = bytes_of(large, 40000);
	e = open_get(line);
	settle(line);
	stream_answer(newest(line)->st, &answer, true);
	settle(line);
	assert_int_equal(e->head.status, 200);
	assert_int_equal(e->head.fields.list[0].value.len, 40000);
	arena_done(&a);
	line_free(line);
}

/* --- Frames recorded from stock programs ------------------------------------------------------ */

static void write_vector(struct byte_stream *to, const char *name)
{
	json_t *root = json_load_file("tests/data/vectors.json", 0, NULL), *vector;
	size_t i;
	bool found = false;

	assert_non_null(root);
	json_array_foreach(json_object_get(root, "vectors"), i, vector)
	{
		if (strcmp(json_string_value(json_object_get(vector, "name")), name) != 0)
			continue;
		struct bytes hex = bytes_str(json_string_value(json_object_get(vector, "hex")));
		uint8_t *data = mem_alloc(hex.len);
		assert_true(hex_decode(hex, data));
		assert_int_equal(byte_stream_write(to, bytes_of(data, hex.len / 2)), hex.len / 2);
		mem_free(data);
		found = true;
	}
	assert_true(found);
	json_decref(root);
}

static void recorded_connector_is_understood(void **state)
{
	(void)state;
	struct line *line = mem_alloc(sizeof(*line));
	struct byte_stream *ours, *theirs;

	line->loop = loop_new(NULL);
	memory_stream_pair(line->loop, 1 << 20, &ours, &theirs);
	const struct session_start start = {
		.side = SESSION_EDGE,
		.stream = ours,
		.events = &session_events,
		.ctx = line,
	};
	line->edge.s = h2_transport.start(line->loop, &start);
	write_vector(theirs, "http2-live/connector-settings");
	settle(line);
	write_vector(theirs, "http2-live/connector-window-update");
	uint64_t before = memory_stream_written(ours);
	write_vector(theirs, "http2-live/connector-control-stream-200");
	settle(line);
	/* The Return of its Bootstrap: a message of a few words in a frame. */
	assert_true(memory_stream_written(ours) - before > 9 + 64);
	assert_false(line->edge.closed);
	byte_stream_close(theirs);
	settle(line);
	assert_true(line->edge.closed);
	loop_free(line->loop);
	mem_free(line);
}

static void recorded_edge_is_understood(void **state)
{
	(void)state;
	struct line *line = mem_alloc(sizeof(*line));
	struct byte_stream *ours, *theirs;
	const struct registration registration = { .account = BYTES_LIT("account"),
						   .secret = BYTES_LIT("secret") };

	line->loop = loop_new(NULL);
	memory_stream_pair(line->loop, 1 << 20, &ours, &theirs);
	const struct session_start start = {
		.side = SESSION_CONNECTOR,
		.stream = ours,
		.events = &session_events,
		.ctx = line,
		.registration = &registration,
	};
	line->connector.s = h2_transport.start(line->loop, &start);
	write_vector(theirs, "http2-live/edge-preface-settings");
	write_vector(theirs, "http2-live/edge-control-stream-headers");
	settle(line);
	/* Bootstrap and registerConnection left at once; the recorded answer is to the first of them. */
	assert_true(memory_stream_written(ours) > 300);
	write_vector(theirs, "http2-live/edge-bootstrap-return");
	settle(line);
	assert_false(line->connector.closed);
	assert_false(session_has_feature(line->connector.s, FEATURE_REASON));
	session_close(line->connector.s, REASON_DONE);
	byte_stream_close(theirs);
	settle(line);
	assert_true(line->connector.closed);
	loop_free(line->loop);
	mem_free(line);
}

int main(void)
{
	const struct CMUnitTest table[] = { TRANSPORT_CASES };
	const struct CMUnitTest own[] = {
		cmocka_unit_test(only_the_serialized_fields_count),
		cmocka_unit_test(stock_failures_and_refusals_are_the_connectors),
		cmocka_unit_test(stock_websocket_answer_becomes_101),
		cmocka_unit_test(answers_that_break_their_word_are_cut_off),
		cmocka_unit_test(visitor_cannot_choose_the_kind_of_a_stream),
		cmocka_unit_test(end_of_the_control_stream_ends_the_session),
		cmocka_unit_test(nonsense_on_the_control_stream_ends_the_session),
		cmocka_unit_test(nothing_is_served_before_the_control_stream),
		cmocka_unit_test(answer_that_does_not_fit_is_a_failure),
		cmocka_unit_test(recorded_connector_is_understood),
		cmocka_unit_test(recorded_edge_is_understood),
	};

	return cmocka_run_group_tests_name("in memory", table, use_memory, NULL) |
	       cmocka_run_group_tests_name("over sockets", table, use_sockets, NULL) |
	       cmocka_run_group_tests_name("foreign peers", own, use_memory, NULL);
}
