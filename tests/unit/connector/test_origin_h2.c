/* HTTP/2 services: requests and responses, and the connections that requests share. */
#include "unit/connector/h2_service.h"

static struct visit many[60];

static int start_many(void **state)
{
	memset(many, 0, sizeof(many));
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		buf_init(&many[i].body, 1 << 20);
	return start_h2c(state);
}

static int stop_many(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		finish_visit(&many[i]);
	return stop_h2c(state);
}

static struct asked *ask_once(void)
{
	get(&visit);
	accept_line();
	return hear_request(1);
}

static struct exchange *post(struct visit *v, enum head_length length, uint64_t content_length)
{
	struct exchange *x = prepare(v, "POST", "/up");

	x->request.length = length;
	x->request.content_length = content_length;
	return x;
}

static const char *value_of(const struct fields *f, const char *name)
{
	static char text[200];
	const struct field *field = fields_find_text(f, bytes_str(name));

	if (!field)
		return NULL;
	copy_text(text, sizeof(text), field->value);
	return text;
}

static void assert_text(struct bytes text, const char *want)
{
	assert_int_equal(text.len, strlen(want));
	assert_memory_equal(text.ptr, want, text.len);
}

/* --- Requests and responses ------------------------------------------------------------------ */

static void a_request_is_written_as_services_expect_it(void **state)
{
	struct exchange *x = prepare(&visit, "GET", "/a%2Fb?x=1");

	add_field(x, "te", "trailers");
	add_field(x, "X-Thing", "yes");
	add_field(x, "content-length", "0"); /* there is no body to speak of */
	body_end(&x->request_body);
	exchange_start(x, &chain);
	accept_line();
	struct asked *a = hear_request(1);
	assert_text(a->head.method, "GET");
	assert_text(a->head.path, "/a%2Fb?x=1");
	assert_text(a->head.scheme, "http");
	assert_text(a->head.authority, "app.example.com");
	assert_string_equal(value_of(&a->head.fields, "te"), "trailers");
	assert_string_equal(value_of(&a->head.fields, "x-thing"), "yes");
	assert_int_equal(a->head.fields.count, 2);
	assert_true(a->has_end);
	answer(a, 203, "hello");
	assert_body(&visit, "hello");
	assert_int_equal(visit.x->response.status, 203);
	assert_true(visit.x->answerer_is_gone);
}

static void a_post_without_a_body_says_so(void **state)
{
	struct exchange *x = post(&visit, HEAD_LENGTH_NONE, 0);

	body_end(&x->request_body);
	exchange_start(x, &chain);
	accept_line();
	struct asked *a = hear_request(1);
	assert_string_equal(value_of(&a->head.fields, "content-length"), "0");
	assert_true(a->has_end);
}

static void bytes_that_http_cannot_carry_are_not_sent(void **state)
{
	struct exchange *x = prepare(&visit, "GET", "/");

	add_field(x, "x-evil", "a\r\nb: c");
	body_end(&x->request_body);
	exchange_start(x, &chain);
	accept_line();
	assert_failure(&visit, 502, "cannot carry");
	assert_false(visit.failure.was_sent);
	assert_int_equal(asked_count, 0);
}

static void a_response_may_end_with_its_head(void **state)
{
	struct field list[] = { { BYTES_LIT("grpc-status"), BYTES_LIT("12"), HEAD_OTHER } };
	const struct head head = { .status = 200, .fields = { list, 1, 1 } };
	struct asked *a = ask_once();

	h2_stream_respond(a->st, &head, true);
	assert_body(&visit, "");
	assert_int_equal(visit.x->response.length, HEAD_LENGTH_NONE);
	assert_string_equal(value_of(&visit.x->response.fields, "grpc-status"), "12");
}

static void trailers_come_both_ways(void **state)
{
	struct field up[] = { { BYTES_LIT("x-sum"), BYTES_LIT("1"), HEAD_OTHER } };
	struct field down[] = { { BYTES_LIT("grpc-status"), BYTES_LIT("0"), HEAD_OTHER } };
	const struct fields trailers = { down, 1, 1 };
	const struct head head = { .status = 200, .length = HEAD_LENGTH_UNKNOWN };
	struct exchange *x = post(&visit, HEAD_LENGTH_UNKNOWN, 0);

	exchange_start(x, &chain);
	accept_line();
	struct asked *a = hear_request(1);
	body_write(&x->request_body, BYTES_LIT("hello"));
	x->request_body.trailers = (struct fields){ up, 1, 1 };
	body_end(&x->request_body);
	WAIT_FOR(a->has_end);
	assert_text(buf_bytes(&a->body), "hello");
	assert_string_equal(value_of(&a->trailers, "x-sum"), "1");
	h2_stream_respond(a->st, &head, false);
	h2_stream_write(a->st, BYTES_LIT("world"), false);
	h2_stream_finish(a->st, &trailers);
	assert_body(&visit, "world");
	assert_string_equal(value_of(&visit.x->response_body.trailers, "grpc-status"), "0");
	WAIT_FOR(!a->st);
	assert_int_equal(a->code, H2_NO_ERROR);
}

static void both_sides_may_talk_in_turns(void **state)
{
	const struct head head = { .status = 200, .length = HEAD_LENGTH_UNKNOWN };
	struct exchange *x = post(&visit, HEAD_LENGTH_UNKNOWN, 0);

	exchange_start(x, &chain);
	accept_line();
	struct asked *a = hear_request(1);
	h2_stream_respond(a->st, &head, false);
	WAIT_FOR(visit.has_head);
	for (size_t i = 1; i <= 20; i++) {
		body_write(&x->request_body, BYTES_LIT("x"));
		WAIT_FOR(a->body.len == i);
		h2_stream_write(a->st, BYTES_LIT("y"), false);
		WAIT_FOR(visit.body.len == i);
	}
	body_end(&x->request_body);
	WAIT_FOR(a->has_end);
	assert_false(visit.has_end);
	h2_stream_write(a->st, BYTES_NONE, true);
	WAIT_FOR(visit.has_end);
}

static void interim_heads_go_on(void **state)
{
	struct field list[] = { { BYTES_LIT("link"), BYTES_LIT("</a>"), HEAD_OTHER } };
	const struct head hints = { .status = 103, .fields = { list, 1, 1 } };
	struct asked *a = ask_once();

	h2_stream_respond(a->st, &hints, false);
	WAIT_FOR(visit.interim_count == 1);
	assert_int_equal(visit.interims[0], 103);
	assert_string_equal(value_of(&visit.last_interim.fields, "link"), "</a>");
	answer(a, 200, "ok");
	assert_body(&visit, "ok");
}

static void interim_heads_without_end_are_a_failure(void **state)
{
	const struct head hints = { .status = 103 };
	struct asked *a = ask_once();

	for (int i = 0; i < 100 && a->st; i++) {
		h2_stream_respond(a->st, &hints, false);
		let_it_turn();
	}
	assert_failure(&visit, 502, "interim");
	assert_int_equal(a->code, H2_PROTOCOL_ERROR);
}

/* --- Bodies ---------------------------------------------------------------------------------- */

static struct bytes large(size_t size)
{
	static uint8_t block[8 << 20];

	assert_true(size <= sizeof(block));
	for (size_t i = 0; i < size; i++)
		block[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
	return bytes_of(block, size);
}

static void a_large_body_is_sent_as_the_service_reads_it(void **state)
{
	struct bytes body = large(5 << 20);
	struct exchange *x = post(&visit, HEAD_LENGTH_KNOWN, body.len);

	exchange_start(x, &chain);
	accept_line();
	struct asked *a = hear_request(1);
	assert_int_equal(a->head.content_length, body.len);
	a->keeps_credit = true;
	visit.upload = body;
	visit.upload_ends = true;
	go_on_uploading(&visit);
	WAIT_FOR(a->body.len == 65536); /* its window */
	let_it_turn();
	assert_int_equal(a->body.len, 65536);
	assert_true(visit.upload.len > body.len - (1 << 20));
	a->keeps_credit = false;
	h2_stream_consume(a->st, 65536);
	WAIT_FOR(a->has_end);
	assert_int_equal(a->body.len, body.len);
	assert_memory_equal(a->body.ptr, body.ptr, body.len);
	answer(a, 200, "ok");
	assert_body(&visit, "ok");
}

static void a_large_response_is_taken_as_the_visitor_reads_it(void **state)
{
	const struct head head = { .status = 200, .length = HEAD_LENGTH_UNKNOWN };
	struct asked *a = ask_once();
	struct bytes body = large(5 << 20);

	visit.reads = false;
	h2_stream_respond(a->st, &head, false);
	a->rest_ends = true;
	a->rest = bytes_from(body, h2_stream_write(a->st, body, true));
	WAIT_FOR(visit.most_queued == LIMIT_ORIGIN_H2_STREAM_WINDOW);
	let_it_turn();
	assert_int_equal(visit.most_queued, LIMIT_ORIGIN_H2_STREAM_WINDOW);
	assert_true(a->rest.len > 0);
	visit.reads = true;
	take_response(&visit);
	WAIT_FOR(visit.has_end);
	assert_int_equal(visit.body.len, body.len);
	assert_memory_equal(visit.body.ptr, body.ptr, body.len);
	assert_int_equal(visit.most_queued, LIMIT_ORIGIN_H2_STREAM_WINDOW);
}

static void a_body_longer_than_announced_is_not_sent(void **state)
{
	struct exchange *x = post(&visit, HEAD_LENGTH_KNOWN, 4);

	exchange_start(x, &chain);
	accept_line();
	struct asked *a = hear_request(1);
	body_write(&x->request_body, BYTES_LIT("hello"));
	assert_failure(&visit, 502, "Content-Length");
	WAIT_FOR(!a->st);
	assert_int_equal(a->body.len, 0);
}

static void a_body_shorter_than_announced_is_a_failure(void **state)
{
	struct exchange *x = post(&visit, HEAD_LENGTH_KNOWN, 6);

	exchange_start(x, &chain);
	accept_line();
	struct asked *a = hear_request(1);
	body_write(&x->request_body, BYTES_LIT("hello"));
	body_end(&x->request_body);
	assert_failure(&visit, 502, "Content-Length");
	WAIT_FOR(!a->st);
	assert_false(a->has_end);
}

static void a_response_that_is_not_as_long_as_announced_is_a_failure(void **state)
{
	static const char *const bodies[] = { "hell", "hello!" };

	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		const struct head head = { .status = 200,
					   .length = HEAD_LENGTH_KNOWN,
					   .content_length = 5 };
		get(&visit);
		if (i == 0)
			accept_line();
		struct asked *a = hear_request(i + 1);
		h2_stream_respond(a->st, &head, false);
		h2_stream_write(a->st, bytes_str(bodies[i]), true);
		assert_failure(&visit, 502, "PROTOCOL_ERROR");
		assert_false(visit.has_end);
		leave(&visit);
	}
}

static void a_response_that_is_complete_ends_the_request(void **state)
{
	struct exchange *x = post(&visit, HEAD_LENGTH_UNKNOWN, 0);

	exchange_start(x, &chain);
	accept_line();
	struct asked *a = hear_request(1);
	body_write(&x->request_body, BYTES_LIT("the first part"));
	WAIT_FOR(a->body.len);
	answer(a, 413, "enough");
	assert_body(&visit, "enough");
	assert_true(visit.x->answerer_is_gone);
	WAIT_FOR(!a->st);
	assert_false(visit.has_failed);
}

/* --- Resets ---------------------------------------------------------------------------------- */

static void a_reset_is_named(void **state)
{
	struct asked *a = ask_once();

	h2_stream_reset(a->st, H2_INTERNAL_ERROR);
	assert_failure(&visit, 502, "INTERNAL_ERROR");
	assert_false(visit.has_head);
	assert_true(visit.failure.was_sent);
}

static void a_reset_inside_the_response_cuts_it_off(void **state)
{
	const struct head head = { .status = 200, .length = HEAD_LENGTH_UNKNOWN };
	struct asked *a = ask_once();

	h2_stream_respond(a->st, &head, false);
	h2_stream_write(a->st, BYTES_LIT("half"), false);
	WAIT_FOR(visit.body.len == 4);
	h2_stream_reset(a->st, H2_CANCEL);
	assert_failure(&visit, 502, "CANCEL");
	assert_false(visit.has_end);
}

static void a_visitor_who_leaves_cancels_the_stream(void **state)
{
	struct asked *a = ask_once();

	leave(&visit);
	WAIT_FOR(!a->st);
	assert_int_equal(a->code, H2_CANCEL);
	assert_int_equal(exchange_live_count(), 0);
	assert_non_null(a->line->session);
}

static void a_visitor_may_leave_before_there_is_a_connection(void **state)
{
	get(&visit);
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
	let_it_turn();
	get(&second);
	leave(&second);
	assert_int_equal(exchange_live_count(), 0);
}

static void silence_is_a_timeout(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.idle_timeout = 50 * USEC_PER_MSEC;
	serve("h2c", &options);
	ask_once();
	assert_failure(&visit, 504, "no byte came or went for 50 ms");
}

/* --- Shared connections ---------------------------------------------------------------------- */

static void requests_share_one_connection(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		get(&many[i]);
	accept_line();
	WAIT_FOR(asked_count == ARRAY_LEN(many));
	assert_nobody_connects();
	for (size_t i = ARRAY_LEN(many); i > 0; i--)
		answer(asked[i - 1], 200, "ok");
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		assert_body(&many[i], "ok");
	get(&visit);
	answer(hear_request(ARRAY_LEN(many) + 1), 200, "again");
	assert_body(&visit, "again");
	assert_int_equal(line_count, 1);
}

static void a_full_connection_gets_company(void **state)
{
	max_streams = 10;
	for (size_t i = 0; i < 35; i++)
		get(&many[i]);
	accept_line();
	WAIT_FOR(asked_count == 10);
	accept_line(); /* three at once, now that the limit is known */
	accept_line();
	accept_line();
	WAIT_FOR(asked_count == 35);
	assert_nobody_connects();
	assert_int_equal(lines[0]->asked_count, 10);
	answer(asked[0], 200, "ok");
	assert_body(&many[0], "ok");
	for (size_t i = 35; i < 41; i++)
		get(&many[i]); /* the free places first */
	WAIT_FOR(asked_count == 41);
	assert_nobody_connects();
}

static void who_waits_gets_the_first_free_place(void **state)
{
	max_streams = 1;
	get(&visit);
	accept_line();
	struct asked *a = hear_request(1);
	get(&second);
	let_it_turn(); /* the second connection hangs */
	answer(a, 200, "ok");
	assert_body(&visit, "ok");
	answer(hear_request(2), 200, "ok");
	assert_body(&second, "ok");
	assert_int_equal(line_count, 1);
	accept_line();
	let_it_turn();
}

static void all_who_wait_hear_why_there_is_no_connection(void **state)
{
	close(listener);
	listener = -1;
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		get(&many[i]);
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		assert_failure(&many[i], 502, "refused");
		assert_string_equal(many[i].errno_name, "ECONNREFUSED");
		assert_false(many[i].failure.was_sent);
	}
}

static void a_service_that_speaks_something_else_is_a_failure(void **state)
{
	get(&visit);
	get(&second);
	accept_service();
	say(service, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
	assert_failure(&visit, 502, "does not speak HTTP/2");
	assert_failure(&second, 502, "does not speak HTTP/2");
	assert_false(visit.failure.was_sent);
}

static void a_service_that_closes_at_once_is_a_failure(void **state)
{
	get(&visit);
	accept_service();
	close_service();
	assert_failure(&visit, 502, "closed");
}

static void a_service_that_never_greets_is_a_timeout(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.connect_timeout = 100 * USEC_PER_MSEC;
	serve("h2c", &options);
	get(&visit);
	accept_service();
	assert_failure(&visit, 504, "SETTINGS");
}

static void a_service_that_allows_no_stream_is_a_failure(void **state)
{
	max_streams = 0;
	get(&visit);
	get(&second);
	accept_line();
	assert_failure(&visit, 502, "allows no HTTP/2 stream");
	assert_failure(&second, 502, "allows no HTTP/2 stream");
}

static void a_refused_stream_is_tried_over_another_connection(void **state)
{
	struct exchange *x = post(&visit, HEAD_LENGTH_KNOWN, 5);

	exchange_start(x, &chain);
	accept_line();
	h2_stream_reset(hear_request(1)->st, H2_REFUSED_STREAM);
	accept_line();
	struct asked *a = hear_request(2);
	assert_ptr_equal(a->line, lines[1]);
	body_write(&x->request_body, BYTES_LIT("hello"));
	body_end(&x->request_body);
	WAIT_FOR(a->has_end);
	answer(a, 200, "ok");
	assert_body(&visit, "ok");
	WAIT_FOR(!lines[0]->session);
}

static void a_refused_stream_is_not_tried_for_ever(void **state)
{
	get(&visit);
	for (size_t i = 1; i <= 3; i++) {
		accept_line();
		h2_stream_reset(hear_request(i)->st, H2_REFUSED_STREAM);
	}
	assert_failure(&visit, 502, "REFUSED_STREAM");
	assert_false(visit.failure.was_sent);
	assert_nobody_connects();
}

static void a_body_that_was_taken_is_not_sent_twice(void **state)
{
	struct exchange *x = post(&visit, HEAD_LENGTH_UNKNOWN, 0);

	exchange_start(x, &chain);
	accept_line();
	struct asked *a = hear_request(1);
	body_write(&x->request_body, BYTES_LIT("hello"));
	WAIT_FOR(a->body.len == 5);
	h2_stream_reset(a->st, H2_REFUSED_STREAM);
	assert_failure(&visit, 502, "REFUSED_STREAM");
	assert_nobody_connects();
}

static void a_connection_that_drains_gets_no_new_stream(void **state)
{
	struct asked *a = ask_once();

	h2_session_drain(a->line->session);
	let_it_turn();
	get(&second);
	accept_line();
	answer(hear_request(2), 200, "new");
	assert_body(&second, "new");
	assert_ptr_equal(asked[1]->line, lines[1]);
	answer(a, 200, "old");
	assert_body(&visit, "old");
	WAIT_FOR(!lines[0]->session);
	assert_non_null(lines[1]->session);
}

static void a_lost_connection_is_not_the_visitors_problem(void **state)
{
	answer(ask_once(), 200, "ok");
	assert_body(&visit, "ok");
	leave(&visit);
	get(&visit);
	h2_session_close(hear_request(2)->line->session, H2_INTERNAL_ERROR, "crash");
	accept_line();
	answer(hear_request(3), 200, "ok");
	assert_body(&visit, "ok");
}

static void what_may_have_been_done_is_not_done_twice(void **state)
{
	answer(ask_once(), 200, "ok");
	assert_body(&visit, "ok");
	leave(&visit);
	ask(&visit, "POST", "/");
	visit.x->request.length = HEAD_LENGTH_NONE;
	h2_session_close(hear_request(2)->line->session, H2_INTERNAL_ERROR, "crash");
	assert_failure(&visit, 502, "closed");
	assert_true(visit.failure.was_sent);
	assert_nobody_connects();
}

static void a_first_request_that_kills_the_connection_is_not_repeated(void **state)
{
	h2_session_close(ask_once()->line->session, H2_INTERNAL_ERROR, "crash");
	assert_failure(&visit, 502, "closed without a response");
	assert_nobody_connects();
}

static void an_idle_connection_is_closed_after_a_while(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.keepalive_timeout = 30 * USEC_PER_MSEC;
	serve("h2c", &options);
	answer(ask_once(), 200, "ok");
	assert_body(&visit, "ok");
	leave(&visit);
	WAIT_FOR(!lines[0]->session);
	get(&visit);
	accept_line();
	answer(hear_request(2), 200, "ok");
	assert_body(&visit, "ok");
}

static void idle_connections_are_counted(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.keepalive_connections = 1;
	serve("h2c", &options);
	max_streams = 1;
	get(&visit);
	accept_line();
	hear_request(1);
	get(&second);
	accept_line();
	answer(hear_request(2), 200, "ok");
	answer(asked[0], 200, "ok");
	WAIT_FOR(!lines[0]->session);
	assert_non_null(lines[1]->session);
}

static void none_is_kept_where_none_is_wanted(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.keepalive_connections = 0;
	serve("h2c", &options);
	answer(ask_once(), 200, "ok");
	assert_body(&visit, "ok");
	WAIT_FOR(!lines[0]->session);
}

static void a_rule_that_goes_takes_its_idle_connections_along(void **state)
{
	answer(ask_once(), 200, "ok");
	assert_body(&visit, "ok");
	leave(&visit);
	set = origin_set_unref(set);
	WAIT_FOR(!lines[0]->session);
}

static void a_rule_that_goes_finishes_what_runs(void **state)
{
	struct asked *a = ask_once();

	set = origin_set_unref(set);
	let_it_turn();
	answer(a, 200, "ok");
	assert_body(&visit, "ok");
	leave(&visit);
	WAIT_FOR(!lines[0]->session);
}

static void a_proxy_header_speaks_for_one_visitor(void **state)
{
	static const char *const from[] = { "192.0.2.1", "192.0.2.2", "192.0.2.1" };
	struct ingress_origin options;
	char line[100], *end;

	ingress_origin_defaults(&options);
	options.proxy_protocol = INGRESS_PROXY_V1;
	serve("h2c", &options);
	for (size_t i = 0; i < 3; i++) {
		struct exchange *x = prepare(&many[i], "GET", "/");
		x->client_ip = bytes_str(from[i]);
		body_end(&x->request_body);
		exchange_start(x, &chain);
		if (i < 2) {
			int fd = accept_next(), tries = 0;
			while (recv(fd, line, sizeof(line) - 1, MSG_PEEK) < 20)
				patience(&tries);
			line[sizeof(line) - 1] = 0;
			assert_non_null(end = strstr(line, "\r\n"));
			assert_int_equal(read(fd, line, (size_t)(end + 2 - line)), end + 2 - line);
			*end = 0;
			assert_memory_equal(line, "PROXY TCP4 192.0.2.", 19);
			assert_int_equal(line[19], from[i][8]);
			speak_h2(conn_adopt(loop, fd, &service_address));
		}
		hear_request(i + 1);
	}
	assert_ptr_equal(asked[2]->line, asked[0]->line);
	assert_ptr_not_equal(asked[1]->line, asked[0]->line);
}

/* --- Expect: 100-continue -------------------------------------------------------------------- */

static struct asked *ask_first(struct exchange **ret)
{
	struct exchange *x = post(&visit, HEAD_LENGTH_KNOWN, 5);

	x->expects_continue = x->relays_continue = true;
	exchange_start(x, &chain);
	accept_line();
	struct asked *a = hear_request(1);
	assert_string_equal(value_of(&a->head.fields, "expect"), "100-continue");
	body_write(&x->request_body, BYTES_LIT("hello"));
	body_end(&x->request_body);
	let_it_turn();
	assert_int_equal(a->body.len, 0);
	assert_int_equal(visit.interim_count, 0);
	*ret = x;
	return a;
}

static void the_body_waits_for_the_services_word(void **state)
{
	const struct head go_ahead = { .status = 100 };
	struct exchange *x;
	struct asked *a = ask_first(&x);

	h2_stream_respond(a->st, &go_ahead, false);
	WAIT_FOR(a->has_end);
	assert_text(buf_bytes(&a->body), "hello");
	h2_stream_respond(a->st, &go_ahead, false); /* once is enough */
	answer(a, 200, "ok");
	assert_body(&visit, "ok");
	assert_int_equal(visit.interim_count, 1);
	assert_int_equal(visit.interims[0], 100);
}

static void a_refusal_saves_the_body(void **state)
{
	struct exchange *x;
	struct asked *a = ask_first(&x);

	answer(a, 413, "no");
	assert_body(&visit, "no");
	WAIT_FOR(!a->st);
	assert_int_equal(a->body.len, 0);
	assert_int_equal(visit.interim_count, 0);
}

static void a_service_that_says_nothing_gets_the_body_after_a_while(void **state)
{
	struct exchange *x;
	struct asked *a = ask_first(&x);

	WAIT_FOR(a->has_end);
	assert_text(buf_bytes(&a->body), "hello");
	assert_int_equal(visit.interim_count, 1);
}

/* --- WebSockets ------------------------------------------------------------------------------ */

static struct exchange *shake_hands(void)
{
	struct exchange *x = prepare(&visit, "GET", "/chat");

	x->request.is_upgrade = true;
	add_field(x, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
	add_field(x, "Sec-WebSocket-Version", "13");
	add_field(x, "Sec-WebSocket-Protocol", "chat");
	exchange_start(x, &chain);
	return x;
}

static struct asked *open_websocket(struct exchange **ret)
{
	struct field list[] = { { BYTES_LIT("sec-websocket-protocol"), BYTES_LIT("chat"),
				  HEAD_OTHER } };
	const struct head head = { .status = 200,
				   .length = HEAD_LENGTH_UNKNOWN,
				   .fields = { list, 1, 1 } };

	takes_websockets = true;
	*ret = shake_hands();
	accept_line();
	struct asked *a = hear_request(1);
	assert_true(a->head.is_upgrade);
	assert_text(a->head.path, "/chat");
	assert_null(value_of(&a->head.fields, "sec-websocket-key"));
	assert_string_equal(value_of(&a->head.fields, "sec-websocket-version"), "13");
	body_write(&(*ret)->request_body, BYTES_LIT("early"));
	let_it_turn();
	assert_int_equal(a->body.len, 0);
	h2_stream_respond(a->st, &head, false);
	WAIT_FOR(visit.has_head);
	return a;
}

static void a_websocket_is_an_extended_connect(void **state)
{
	struct exchange *x;
	struct asked *a = open_websocket(&x);
	const struct fields *f = &x->response.fields;

	assert_int_equal(x->response.status, 101);
	assert_true(x->response.is_upgrade);
	assert_string_equal(value_of(f, "sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	assert_string_equal(value_of(f, "sec-websocket-protocol"), "chat");
	assert_string_equal(value_of(f, "upgrade"), "websocket");
	assert_string_equal(value_of(f, "connection"), "Upgrade");
	WAIT_FOR(a->body.len == 5);
	h2_stream_write(a->st, BYTES_LIT("down"), false);
	WAIT_FOR(visit.body.len == 4);
	body_write(&x->request_body, BYTES_LIT("up"));
	WAIT_FOR(a->body.len == 7);
	h2_stream_write(a->st, BYTES_NONE, true);
	WAIT_FOR(visit.has_end);
	body_write(&x->request_body, BYTES_LIT("bye")); /* each side ends by itself */
	body_end(&x->request_body);
	WAIT_FOR(a->has_end);
	assert_text(buf_bytes(&a->body), "earlyupbye");
	WAIT_FOR(!a->st);
	assert_int_equal(a->code, H2_NO_ERROR);
	assert_true(x->answerer_is_gone);
}

static void a_websocket_that_is_refused_is_a_response(void **state)
{
	takes_websockets = true;
	shake_hands();
	accept_line();
	struct asked *a = hear_request(1);
	answer(a, 403, "no");
	assert_body(&visit, "no");
	assert_int_equal(visit.x->response.status, 403);
	assert_false(visit.x->response.is_upgrade);
	WAIT_FOR(!a->st);
}

static void a_websocket_that_is_reset_is_cut_off(void **state)
{
	struct exchange *x;
	struct asked *a = open_websocket(&x);

	h2_stream_reset(a->st, H2_CANCEL);
	assert_failure(&visit, 502, "CANCEL");
}

static void a_service_without_websockets_is_named(void **state)
{
	shake_hands();
	accept_line();
	assert_failure(&visit, 502, "RFC 8441");
	get(&second);
	answer(hear_request(1), 200, "ok");
	assert_body(&second, "ok");
}

/* --- Behind TLS ------------------------------------------------------------------------------ */

static char ca_path[40];
static struct ingress_origin secure_options;

static int start_secure(void **state, const char *const *alpn)
{
	start_tls(state);
	reset_counts();
	tls_context_unref(tls);
	tls = tls_context_server(choose_certificate, NULL, NULL, alpn, NULL);
	snprintf(ca_path, sizeof(ca_path), "/tmp/adit-test-ca-XXXXXX");
	int fd = mkstemp(ca_path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, ca.cert_pem, strlen(ca.cert_pem)), strlen(ca.cert_pem));
	close(fd);
	ingress_origin_defaults(&secure_options);
	secure_options.http2_origin = true;
	secure_options.ca_pool = ca_path;
	serve("https", &secure_options);
	return 0;
}

static int start_h2(void **state)
{
	static const char *const alpn[] = { "h2", NULL };

	return start_secure(state, alpn);
}

static int start_http1(void **state)
{
	static const char *const alpn[] = { "http/1.1", NULL };

	return start_secure(state, alpn);
}

static int start_both(void **state)
{
	static const char *const alpn[] = { "h2", "http/1.1", NULL };

	return start_secure(state, alpn);
}

static int stop_secure(void **state)
{
	finish_visit(&visit);
	finish_visit(&second);
	set = origin_set_unref(set);
	end_service();
	unlink(ca_path);
	return stop_tls(state);
}

static struct line *accept_secure_line(void)
{
	secure.reads = false; /* the session does */
	accept_secure();
	assert_non_null(secure.stream);
	secure.reads = true;
	return speak_h2(TAKE(secure.stream));
}

static void alpn_chooses_http2(void **state)
{
	get(&visit);
	accept_secure_line();
	struct asked *a = hear_request(1);
	assert_text(a->head.scheme, "https");
	answer(a, 200, "ok");
	assert_body(&visit, "ok");
	get(&second);
	answer(hear_request(2), 200, "again");
	assert_body(&second, "again");
	assert_nobody_connects();
}

static void say_secure(const char *text)
{
	assert_int_equal(byte_stream_write(secure.stream, bytes_str(text)), strlen(text));
}

static void alpn_may_choose_http1(void **state)
{
	get(&visit);
	get(&second);
	accept_secure();
	hear_secure_head();
	say_secure(OK_RESPONSE);
	assert_body(&visit, "ok");
	secure.stream = byte_stream_close(secure.stream);
	secure.in_len = 0;
	accept_secure(); /* the second does not wait for a session */
	hear_secure_head();
	say_secure(OK_RESPONSE);
	assert_body(&second, "ok");
	leave(&second);
	get(&second); /* over the idle connection */
	hear_secure_head();
	say_secure(OK_RESPONSE);
	assert_body(&second, "ok");
	assert_nobody_connects();
}

static void what_alpn_chose_is_forgotten_when_it_fails(void **state)
{
	static const char *const alpn[] = { "h2", NULL };

	get(&visit);
	accept_secure();
	hear_secure_head();
	say_secure("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
	secure.stream = byte_stream_close(secure.stream);
	assert_failure(&visit, 502, "closed");
	tls_context_unref(tls);
	tls = tls_context_server(choose_certificate, NULL, NULL, alpn, NULL);
	get(&second);
	accept_secure_line();
	answer(hear_request(1), 200, "ok");
	assert_body(&second, "ok");
}

static void names_do_not_share_connections(void **state)
{
	static const char *const names[] = { "one.example.com", "two.example.com",
					     "one.example.com" };

	memset(many, 0, sizeof(many));
	secure_options.match_sni_to_host = true;
	set = origin_set_unref(set);
	close(listener);
	serve("https", &secure_options);
	for (size_t i = 0; i < 3; i++) {
		struct exchange *x = prepare(&many[i], "GET", "/");
		x->request.authority = bytes_str(names[i]);
		body_end(&x->request_body);
		exchange_start(x, &chain);
		if (i < 2) {
			accept_secure_line();
			assert_string_equal(secure.server_name, names[i]);
		}
		hear_request(i + 1);
	}
	assert_ptr_equal(asked[2]->line, asked[0]->line);
	for (size_t i = 0; i < 3; i++)
		finish_visit(&many[i]);
}

static void a_websocket_goes_over_http1_where_http2_has_none(void **state)
{
	struct exchange *x = shake_hands();

	accept_secure_line();
	secure.in_len = 0;
	accept_secure();
	assert_int_equal(tls_alpn(secure.stream).len, 0); /* h2 was not even offered */
	hear_secure_head();
	say_secure("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
		   "Connection: Upgrade\r\n\r\n");
	WAIT_FOR(visit.has_head);
	assert_int_equal(x->response.status, 101);
	body_write(&x->request_body, BYTES_LIT("up"));
	WAIT_FOR(secure.in_len == 2);
	leave(&visit);
	secure.stream = byte_stream_close(secure.stream);
	secure.in_len = 0;
	shake_hands(); /* the next one asks for HTTP/1.1 at once */
	accept_secure();
	hear_secure_head();
	assert_int_equal(asked_count, 0);
	assert_int_equal(line_count, 1);
}

static void a_service_may_insist_on_http1(void **state)
{
	get(&visit);
	accept_secure_line();
	h2_stream_reset(hear_request(1)->st, H2_HTTP_1_1_REQUIRED);
	secure.in_len = 0;
	accept_secure();
	hear_secure_head();
	say_secure(OK_RESPONSE);
	assert_body(&visit, "ok");
}

static void a_service_without_a_valid_certificate_is_named(void **state)
{
	secure_options.ca_pool = NULL;
	set = origin_set_unref(set);
	close(listener);
	serve("https", &secure_options);
	get(&visit);
	accept_secure();
	assert_failure(&visit, 502, "certificate");
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, start_h2c, stop_h2c)
#define MANY(test) cmocka_unit_test_setup_teardown(test, start_many, stop_many)
#define OWN(test) cmocka_unit_test_setup_teardown(test, start_own, stop_many)
#define SECURE(test, start) cmocka_unit_test_setup_teardown(test, start, stop_secure)

/* The test calls serve(). */
static int start_own(void **state)
{
	memset(many, 0, sizeof(many));
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		buf_init(&many[i].body, 1 << 20);
	reset_counts();
	return start(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAIN(a_request_is_written_as_services_expect_it),
		PLAIN(a_post_without_a_body_says_so),
		PLAIN(bytes_that_http_cannot_carry_are_not_sent),
		PLAIN(a_response_may_end_with_its_head),
		PLAIN(trailers_come_both_ways),
		PLAIN(both_sides_may_talk_in_turns),
		PLAIN(interim_heads_go_on),
		PLAIN(interim_heads_without_end_are_a_failure),
		PLAIN(a_large_body_is_sent_as_the_service_reads_it),
		PLAIN(a_large_response_is_taken_as_the_visitor_reads_it),
		PLAIN(a_body_longer_than_announced_is_not_sent),
		PLAIN(a_body_shorter_than_announced_is_a_failure),
		PLAIN(a_response_that_is_not_as_long_as_announced_is_a_failure),
		PLAIN(a_response_that_is_complete_ends_the_request),
		PLAIN(a_reset_is_named),
		PLAIN(a_reset_inside_the_response_cuts_it_off),
		PLAIN(a_visitor_who_leaves_cancels_the_stream),
		PLAIN(a_visitor_may_leave_before_there_is_a_connection),
		OWN(silence_is_a_timeout),
		MANY(requests_share_one_connection),
		MANY(a_full_connection_gets_company),
		PLAIN(who_waits_gets_the_first_free_place),
		MANY(all_who_wait_hear_why_there_is_no_connection),
		PLAIN(a_service_that_speaks_something_else_is_a_failure),
		PLAIN(a_service_that_closes_at_once_is_a_failure),
		OWN(a_service_that_never_greets_is_a_timeout),
		PLAIN(a_service_that_allows_no_stream_is_a_failure),
		PLAIN(a_refused_stream_is_tried_over_another_connection),
		PLAIN(a_refused_stream_is_not_tried_for_ever),
		PLAIN(a_body_that_was_taken_is_not_sent_twice),
		PLAIN(a_connection_that_drains_gets_no_new_stream),
		PLAIN(a_lost_connection_is_not_the_visitors_problem),
		PLAIN(what_may_have_been_done_is_not_done_twice),
		PLAIN(a_first_request_that_kills_the_connection_is_not_repeated),
		OWN(an_idle_connection_is_closed_after_a_while),
		OWN(idle_connections_are_counted),
		OWN(none_is_kept_where_none_is_wanted),
		PLAIN(a_rule_that_goes_takes_its_idle_connections_along),
		PLAIN(a_rule_that_goes_finishes_what_runs),
		OWN(a_proxy_header_speaks_for_one_visitor),
		PLAIN(the_body_waits_for_the_services_word),
		PLAIN(a_refusal_saves_the_body),
		PLAIN(a_service_that_says_nothing_gets_the_body_after_a_while),
		PLAIN(a_websocket_is_an_extended_connect),
		PLAIN(a_websocket_that_is_refused_is_a_response),
		PLAIN(a_websocket_that_is_reset_is_cut_off),
		PLAIN(a_service_without_websockets_is_named),
		SECURE(alpn_chooses_http2, start_h2),
		SECURE(alpn_may_choose_http1, start_http1),
		SECURE(what_alpn_chose_is_forgotten_when_it_fails, start_http1),
		SECURE(names_do_not_share_connections, start_h2),
		SECURE(a_websocket_goes_over_http1_where_http2_has_none, start_both),
		SECURE(a_service_may_insist_on_http1, start_both),
		SECURE(a_service_without_a_valid_certificate_is_named, start_h2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
