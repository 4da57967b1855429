/* From a visitor's exchange down a tunnel session and back, on one worker. */
#include "unit/edge/forward/journey_cases.h"

static void line_up_for_case(void)
{
	line_up(&lines[0], &workers[0], 1, 0);
}

/* --- There and back -------------------------------------------------------------------------- */

static void a_request_goes_down_the_tunnel_and_its_answer_back(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	struct exchange *x = prepare(&visit, &workers[0], "GET", HEAD_LENGTH_NONE);
	assert_int_equal(fields_add(&x->request.fields, &x->arena, BYTES_LIT("X-Forwarded-For"),
				    BYTES_LIT("10.0.0.1")),
			 0);
	assert_int_equal(fields_add(&x->request.fields, &x->arena, BYTES_LIT("CF-Connecting-IP"),
				    BYTES_LIT("6.6.6.6")),
			 0);
	assert_int_equal(
		fields_add(&x->request.fields, &x->arena, BYTES_LIT("Keep-Alive"), BYTES_LIT("1")),
		0);
	body_end(&x->request_body);
	begin(&visit);
	struct call *c = next_call();
	assert_int_equal(c->kind, STREAM_HTTP);
	assert_true(c->has_fin);
	assert_string_equal(c->method, "GET");
	assert_string_equal(c->path, "/a?b");
	assert_non_null(strstr(c->fields, "10.0.0.1, 192.0.2.7\n"));
	assert_non_null(strstr(c->fields, "cf-connecting-ip: 192.0.2.7\n"));
	assert_non_null(strstr(c->fields, "cf-ray: 0123456789abcdef-ATTIC\n"));
	assert_non_null(strstr(c->fields, "x-forwarded-proto: https\n"));
	assert_non_null(strstr(c->fields, "x-forwarded-host: app.test\n"));
	assert_null(strstr(c->fields, "6.6.6.6"));
	assert_null(strstr(c->fields, "Keep-Alive"));
	answer_whole(c, 201, "hello");
	assert_got(&visit, 201, "hello");
	assert_non_null(strstr(visit.fields, "X-Service: yes\n"));
	assert_non_null(strstr(visit.fields, "cf-ray: 0123456789abcdef-ATTIC\n"));
	assert_null(strstr(visit.fields, "Connection"));
	assert_null(strstr(visit.fields, "cloudflared"));
	WAIT_FOR(!c->stream);
	assert_int_equal(c->why, REASON_DONE);
	WAIT_FOR(x->answerer_is_gone);
}

static void a_response_may_be_a_head_only(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	visit_get(&visit);
	answer(next_call(), 204, true);
	assert_got(&visit, 204, "");
}

static void trailers_go_along(void **state)
{
	struct field field = { BYTES_LIT("grpc-status"), BYTES_LIT("0"), HEAD_OTHER };
	const struct fields trailers = { &field, 1, 1 };

	line_up(&lines[0], &workers[0], 1, 0);
	visit_get(&visit);
	struct call *c = next_call();
	answer(c, 200, false);
	assert_int_equal(stream_write(c->stream, BYTES_LIT("body"), false), 4);
	stream_finish(c->stream, &trailers);
	assert_got(&visit, 200, "body");
	assert_string_equal(visit.trailers, "grpc-status: 0\n");
}

static void a_stock_connector_is_asked_to_keep_the_encoding(void **state)
{
	line_open(&lines[0], &workers[0], &tunnel.id, 1, 0, false);
	WAIT_FOR(lines[0].is_up);
	visit_get(&visit);
	struct call *c = next_call();
	assert_non_null(strstr(c->fields, "accept-encoding: identity\n"));
	answer_whole(c, 200, "");
	assert_got(&visit, 200, "");
	leave(&visit);

	struct exchange *x = prepare(&visit, &workers[0], "GET", HEAD_LENGTH_NONE);
	assert_int_equal(fields_add(&x->request.fields, &x->arena, BYTES_LIT("Accept-Encoding"),
				    BYTES_LIT("br")),
			 0);
	body_end(&x->request_body);
	begin(&visit);
	c = next_call();
	assert_non_null(strstr(c->fields, "Accept-Encoding: br\n"));
	assert_null(strstr(c->fields, "identity"));
	line_cut(&lines[0]);

	line_up(&lines[0], &workers[0], 1, 0);
	visit_get(&visit);
	assert_null(strstr(next_call()->fields, "accept-encoding"));
}

static void an_empty_body_ends_with_the_head(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	prepare(&visit, &workers[0], "POST", HEAD_LENGTH_KNOWN);
	body_end(&visit.x->request_body);
	begin(&visit);
	struct call *c = next_call();
	assert_true(c->has_fin);
	answer_whole(c, 200, "ok");
	assert_got(&visit, 200, "ok");
}

enum { LARGE = 2 << 20 };

static void a_large_upload_waits_for_the_connector(void **state)
{
	uint8_t *data = pattern(LARGE);

	line_up(&lines[0], &workers[0], 1, 0);
	new_calls_stall = true;
	visit_post(&visit, bytes_of(data, LARGE));
	struct call *c = next_call();
	for (int i = 0; i < 50; i++)
		let_it_turn();
	assert_true(c->body.len <= FAKE_WINDOW);
	assert_true(visit.upload.len >= LARGE - FAKE_WINDOW - LIMIT_BODY_QUEUE_BYTES);
	c->stalls = false;
	if (c->owed)
		stream_consume(c->stream, c->owed);
	WAIT_FOR(c->has_fin);
	assert_int_equal(c->body.len, LARGE);
	assert_memory_equal(c->body.ptr, data, LARGE);
	answer_whole(c, 200, "ok");
	assert_got(&visit, 200, "ok");
	WAIT_FOR(!c->stream);
	assert_int_equal(c->why, REASON_DONE);
	mem_free(data);
}

static void a_stalled_visitor_stops_the_connector(void **state)
{
	uint8_t *data = pattern(LARGE);

	line_up(&lines[0], &workers[0], 1, 0);
	visit_get(&visit);
	visit.stalls = true;
	struct call *c = next_call();
	answer(c, 200, false);
	c->reply = bytes_of(data, LARGE);
	c->reply_ends = true;
	call_go_on(c);
	for (int i = 0; i < 50; i++)
		let_it_turn();
	assert_true(bufq_len(&visit.x->response_body.queue) <= FAKE_WINDOW);
	assert_true(c->reply.len >= LARGE - FAKE_WINDOW);
	visit.stalls = false;
	visit_take(&visit);
	WAIT_FOR(visit.has_end);
	assert_int_equal(visit.body.len, LARGE);
	assert_memory_equal(visit.body.ptr, data, LARGE);
	mem_free(data);
}

static void an_upgrade_is_raw_both_ways(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	struct exchange *x = prepare(&visit, &workers[0], "GET", HEAD_LENGTH_NONE);
	x->request.is_upgrade = true;
	begin(&visit);
	struct call *c = next_call();
	assert_int_equal(c->kind, STREAM_WEBSOCKET);
	assert_false(c->has_fin);
	answer(c, 101, false);
	WAIT_FOR(visit.has_head);
	assert_true(x->response.is_upgrade);
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("ping")), 4);
	WAIT_FOR(c->body.len == 4);
	assert_int_equal(stream_write(c->stream, BYTES_LIT("pong"), false), 4);
	WAIT_FOR(visit.body.len == 4);
	body_end(&x->request_body);
	WAIT_FOR(c->has_fin);
	assert_int_equal(stream_write(c->stream, BYTES_LIT("bye"), true), 3);
	assert_got(&visit, 101, "pongbye");
}

/* It takes the end of one side for the end of both. */
static void a_stock_connector_never_hears_the_end_of_the_visitors_side(void **state)
{
	line_open(&lines[0], &workers[0], &tunnel.id, 1, 0, false);
	WAIT_FOR(lines[0].is_up);
	struct exchange *x = prepare(&visit, &workers[0], "GET", HEAD_LENGTH_NONE);
	x->request.is_upgrade = true;
	begin(&visit);
	struct call *c = next_call();
	answer(c, 101, false);
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("ping")), 4);
	body_end(&x->request_body);
	WAIT_FOR(c->body.len == 4);
	let_it_turn();
	assert_false(c->has_fin);
	assert_int_equal(stream_write(c->stream, BYTES_LIT("bye"), true), 3);
	assert_got(&visit, 101, "bye");
	WAIT_FOR(!c->stream && x->answerer_is_gone);
}

static void a_stock_connector_has_its_expectations_met_for_it(void **state)
{
	line_open(&lines[0], &workers[0], &tunnel.id, 1, 0, false);
	WAIT_FOR(lines[0].is_up);
	prepare(&visit, &workers[0], "POST", HEAD_LENGTH_UNKNOWN)->expects_continue = true;
	begin(&visit);
	assert_null(strstr(next_call()->fields, "expect"));
	WAIT_FOR(visit.interims[0]);
	assert_string_equal(visit.interims, "100 \n");
}

static void an_early_response_gives_the_upload_up(void **state)
{
	uint8_t *data = pattern(LARGE);

	line_up(&lines[0], &workers[0], 1, 0);
	new_calls_stall = true;
	visit_post(&visit, bytes_of(data, LARGE));
	struct call *c = next_call();
	answer_whole(c, 413, "too large");
	assert_got(&visit, 413, "too large");
	WAIT_FOR(visit.x->answerer_is_gone && !c->stream);
	mem_free(data);
}

static void a_request_that_comes_round_is_a_loop(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	visit_get(&visit);
	char *loop_field = strstr(next_call()->fields, "cdn-loop: ");
	assert_non_null(loop_field);
	loop_field[strcspn(loop_field, "\n")] = 0;
	struct exchange *x = prepare(&visit, &workers[0], "GET", HEAD_LENGTH_NONE);
	assert_int_equal(fields_add(&x->request.fields, &x->arena, BYTES_LIT("CDN-Loop"),
				    bytes_str(loop_field + 10)),
			 0);
	begin(&visit);
	assert_failed(&visit, FAILURE_EDGE, 508);
}

/* --- Failures -------------------------------------------------------------------------------- */

static void without_a_connector_it_is_530_with_1033(void **state)
{
	visit_get(&visit);
	assert_failed(&visit, FAILURE_TUNNEL, 530);
	assert_int_equal(visit.failure.code, 1033);
	assert_false(visit.failure.was_sent);
	assert_non_null(strstr(visit.detail, "app.test"));
	assert_null(strstr(visit.fields, "x"));
}

static void fail_with(struct call *c, int status, const char *json)
{
	const struct head head = { .status = status };
	const struct answer failed = { .head = &head,
				       .from_connector = true,
				       .failure_json = bytes_str(json) };

	stream_answer(c->stream, &failed, true);
}

static void the_connectors_reason_is_passed_on(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	visit_get(&visit);
	struct call *c = next_call();
	fail_with(c, 502,
		  "{\"hop\":\"origin\",\"status\":504,\"title\":\"Service timed out\","
		  "\"detail\":\"It did.\",\"origin\":\"http://localhost:3000\","
		  "\"rule\":\"1: app\",\"errno\":\"ETIMEDOUT\"}");
	assert_failed(&visit, FAILURE_ORIGIN, 504);
	assert_string_equal(visit.title, "Service timed out");
	assert_string_equal(visit.detail, "It did.");
	assert_string_equal(visit.origin, "http://localhost:3000");
	assert_string_equal(visit.rule, "1: app");
	assert_string_equal(visit.errno_name, "ETIMEDOUT");
	assert_true(visit.failure.was_sent);
	WAIT_FOR(!c->stream);
}

static void a_reason_that_makes_no_sense_is_left_out(void **state)
{
	static char endless[6000];
	static const char *const reasons[] = {
		"",
		"null",
		"[]",
		"{",
		"{\"status\":200}",
		"{\"status\":\"504\",\"title\":7}",
		"{\"hop\":[],\"detail\":{}}",
		"{\"status\":504,\"status\":503}",
		endless,
		"{\"status\":99999999999999999999}",
		"\xff\xfe",
	};

	memset(endless, ' ', sizeof(endless) - 1);
	memcpy(endless, "{\"status\":504}", 14);
	line_up(&lines[0], &workers[0], 1, 0);
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
		visit_get(&visit);
		fail_with(next_call(), 502, reasons[i]);
		assert_failed(&visit, FAILURE_CONNECTOR, 502);
		assert_string_equal(visit.title, "Bad gateway");
		assert_non_null(strstr(visit.detail, "0123456789abcdef"));
		leave(&visit);
	}
}

static void a_connectors_own_answer_below_500_is_an_answer(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	visit_get(&visit);
	fail_with(next_call(), 404, "");
	assert_got(&visit, 404, "");
}

static void a_head_of_too_many_fields_is_refused(void **state)
{
	struct field fields[LIMIT_HEAD_FIELDS];

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		fields[i] = (struct field){ BYTES_LIT("x-a"), BYTES_LIT("b"), HEAD_OTHER };
	const struct head head = { .status = 200,
				   .length = HEAD_LENGTH_UNKNOWN,
				   .fields = { fields, ARRAY_LEN(fields), ARRAY_LEN(fields) } };
	line_up(&lines[0], &workers[0], 1, 0);
	visit_get(&visit);
	struct call *c = next_call();
	stream_answer(c->stream, &(struct answer){ .head = &head }, false);
	/* As many as fit pass, without our own. */
	WAIT_FOR(visit.has_head);
	assert_int_equal(visit.x->response.fields.count, LIMIT_HEAD_FIELDS);
}

static void a_response_that_breaks_off_is_cut_off(void **state)
{
	for (int i = 0; i < 3; i++) {
		line_up(&lines[0], &workers[0], 1, 0);
		visit_get(&visit);
		struct call *c = next_call();
		answer(c, 200, false);
		assert_int_equal(stream_write(c->stream, BYTES_LIT("part"), false), 4);
		WAIT_FOR(visit.body.len == 4);
		if (i == 0)
			stream_reset(c->stream, REASON_FAILED);
		else if (i == 1)
			stream_reset(c->stream, REASON_REFUSED); /* too late for that */
		else
			fake_transport_cut(lines[0].connector);
		assert_failed(&visit, FAILURE_TUNNEL, 502);
		assert_true(visit.has_head);
		assert_false(visit.has_end);
		leave(&visit);
		line_cut(&lines[0]);
	}
}

/* --- Another try ----------------------------------------------------------------------------- */

static void a_refused_stream_goes_to_another_session(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	line_up(&lines[1], &workers[0], 1, 1);
	prepare(&visit, &workers[0], "POST", HEAD_LENGTH_UNKNOWN);
	begin(&visit);
	struct call *refused = next_call();
	stream_reset(refused->stream, REASON_REFUSED);
	struct call *c = next_call();
	assert_ptr_not_equal(c->line, refused->line);
	assert_int_equal(body_write(&visit.x->request_body, BYTES_LIT("once")), 4);
	body_end(&visit.x->request_body);
	WAIT_FOR(c->has_fin);
	assert_int_equal(c->body.len, 4);
	answer_whole(c, 200, "ok");
	assert_got(&visit, 200, "ok");
}

static void a_body_that_has_left_cannot_be_sent_again(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	line_up(&lines[1], &workers[0], 1, 1);
	prepare(&visit, &workers[0], "POST", HEAD_LENGTH_UNKNOWN);
	assert_int_equal(body_write(&visit.x->request_body, BYTES_LIT("once")), 4);
	begin(&visit);
	struct call *c = next_call();
	WAIT_FOR(c->body.len == 4);
	stream_reset(c->stream, REASON_REFUSED);
	assert_failed(&visit, FAILURE_TUNNEL, 502);
	assert_false(visit.failure.was_sent);
	assert_int_equal(call_count, 1);
}

static void three_refusals_are_enough(void **state)
{
	for (uint8_t i = 0; i < 3; i++)
		line_up(&lines[i], &workers[0], 1, i);
	visit_get(&visit);
	for (int i = 0; i < 3; i++)
		stream_reset(next_call()->stream, REASON_REFUSED);
	assert_failed(&visit, FAILURE_TUNNEL, 502);
	assert_false(visit.failure.was_sent);
	assert_int_equal(call_count, 3);
}

static void what_may_have_been_seen_is_not_sent_again(void **state)
{
	for (int i = 0; i < 4; i++) {
		line_up(&lines[0], &workers[0], 1, 0);
		line_up(&lines[1], &workers[0], 1, 1);
		struct exchange *x = prepare(&visit, &workers[0], i == 0 ? "POST" : "GET",
					     i == 2 ? HEAD_LENGTH_UNKNOWN : HEAD_LENGTH_NONE);
		x->request.is_upgrade = i == 1;
		if (i == 2)
			assert_int_equal(body_write(&x->request_body, BYTES_LIT("part")), 4);
		begin(&visit);
		struct call *c = next_call();
		if (i == 2)
			WAIT_FOR(c->body.len == 4);
		fake_transport_cut(c->line->edge);
		assert_failed(&visit, FAILURE_TUNNEL, 502);
		assert_true(visit.failure.was_sent);
		leave(&visit);
		let_it_turn();
		assert_int_equal(call_count, i + 1);
		line_cut(&lines[0]);
		line_cut(&lines[1]);
	}
}

static void with_its_only_session_a_request_is_lost(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	visit_get(&visit);
	fake_transport_cut(next_call()->line->edge);
	assert_failed(&visit, FAILURE_TUNNEL, 502);
	assert_non_null(strstr(visit.detail, reason_text(REASON_LOST)));
}

/* --- Leaving --------------------------------------------------------------------------------- */

static void a_visitor_who_leaves_resets_the_stream(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	for (int phase = 0; phase < 3; phase++) {
		prepare(&visit, &workers[0], "POST", HEAD_LENGTH_UNKNOWN);
		begin(&visit);
		struct call *c = NULL;
		if (phase > 0)
			c = next_call();
		if (phase > 1) {
			answer(c, 200, false);
			WAIT_FOR(visit.has_head);
		}
		leave(&visit);
		assert_int_equal(exchange_live_count(), 0);
		if (!c && call_count > calls_taken)
			c = next_call();
		if (c)
			WAIT_FOR(!c->stream);
	}
	WAIT_FOR(session_stream_count(lines[0].edge) == 0);
}

static void what_an_orphaned_stream_brings_falls_on_the_floor(void **state)
{
	struct field field = { BYTES_LIT("x"), BYTES_LIT("y"), HEAD_OTHER };
	const struct fields trailers = { &field, 1, 1 };

	line_up(&lines[0], &workers[0], 1, 0);
	visit_get(&visit);
	struct call *c = next_call();
	/* The answer is on its way when the visitor leaves. */
	answer(c, 200, false);
	assert_int_equal(stream_write(c->stream, BYTES_LIT("body"), false), 4);
	stream_finish(c->stream, &trailers);
	exchange_release_producer(TAKE(visit.x));
	WAIT_FOR(!c->stream);
	let_it_turn();
	assert_int_equal(exchange_live_count(), 0);
	/* The session is none the worse. */
	visit_get(&visit);
	answer_whole(next_call(), 200, "ok");
	assert_got(&visit, 200, "ok");
}

static void a_session_that_goes_with_its_visitor_harms_nobody(void **state)
{
	line_up(&lines[0], &workers[0], 1, 0);
	line_up(&lines[1], &workers[0], 1, 1);
	visit_get(&visit);
	struct call *c = next_call();
	fake_transport_cut(c->line->edge);
	leave(&visit);
	let_it_turn();
	assert_int_equal(exchange_live_count(), 0);
	assert_int_equal(call_count, 1); /* nobody asks again for one who has left */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		JOURNEY_CASES,
		ON_LINES(a_request_goes_down_the_tunnel_and_its_answer_back),
		ON_LINES(a_response_may_be_a_head_only),
		ON_LINES(trailers_go_along),
		ON_LINES(a_stock_connector_is_asked_to_keep_the_encoding),
		ON_LINES(an_empty_body_ends_with_the_head),
		ON_LINES(a_large_upload_waits_for_the_connector),
		ON_LINES(a_stalled_visitor_stops_the_connector),
		ON_LINES(an_upgrade_is_raw_both_ways),
		ON_LINES(a_stock_connector_never_hears_the_end_of_the_visitors_side),
		ON_LINES(a_stock_connector_has_its_expectations_met_for_it),
		ON_LINES(an_early_response_gives_the_upload_up),
		ON_LINES(a_request_that_comes_round_is_a_loop),
		ON_LINES(without_a_connector_it_is_530_with_1033),
		ON_LINES(the_connectors_reason_is_passed_on),
		ON_LINES(a_reason_that_makes_no_sense_is_left_out),
		ON_LINES(a_connectors_own_answer_below_500_is_an_answer),
		ON_LINES(a_head_of_too_many_fields_is_refused),
		ON_LINES(a_response_that_breaks_off_is_cut_off),
		ON_LINES(a_refused_stream_goes_to_another_session),
		ON_LINES(a_body_that_has_left_cannot_be_sent_again),
		ON_LINES(three_refusals_are_enough),
		ON_LINES(what_may_have_been_seen_is_not_sent_again),
		ON_LINES(with_its_only_session_a_request_is_lost),
		ON_LINES(a_visitor_who_leaves_resets_the_stream),
		ON_LINES(what_an_orphaned_stream_brings_falls_on_the_floor),
		ON_LINES(a_session_that_goes_with_its_visitor_harms_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
