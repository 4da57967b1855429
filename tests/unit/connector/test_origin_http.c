/* Requests, responses, and the connections they go over. */
#include "unit/connector/service.h"

static char folder[64];

/* --- Requests and responses ------------------------------------------------------------------ */

static void a_request_is_written_as_services_expect_it(void **state)
{
	struct exchange *x = prepare(&visit, "GET", "/a%2Fb?x=1");

	add_field(x, "x-forwarded-for", "192.0.2.7");
	add_field(x, "accept", "*/*");
	exchange_start(x, &chain);
	accept_service();
	assert_string_equal(hear_head(service), "GET /a%2Fb?x=1 HTTP/1.1\r\n"
						"Host: app.example.com\r\n"
						"X-Forwarded-For: 192.0.2.7\r\n"
						"Accept: */*\r\n"
						"Connection: keep-alive\r\n\r\n");
	say(service, "HTTP/1.1 203 Sure\r\nContent-Length: 5\r\nX-Thing: yes\r\n\r\nhello");
	assert_body(&visit, "hello");
	assert_int_equal(visit.x->response.status, 203);
	assert_int_equal(visit.x->response.length, HEAD_LENGTH_KNOWN);
	assert_int_equal(visit.x->response.content_length, 5);
	assert_non_null(fields_find_text(&visit.x->response.fields, BYTES_LIT("x-thing")));
	assert_true(visit.x->answerer_is_gone);
}

static void a_response_may_come_byte_by_byte(void **state)
{
	const char *response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			       "5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 7\r\n\r\n";

	get(&visit);
	accept_service();
	hear_head(service);
	for (const char *at = response; *at; at++) {
		say_bytes(service, bytes_of(at, 1));
		let_it_turn();
	}
	assert_body(&visit, "hello world");
	const struct fields *trailers = &visit.x->response_body.trailers;
	assert_int_equal(trailers->count, 1);
	assert_true(bytes_eq(trailers->list[0].value, BYTES_LIT("7")));
}

static void a_body_may_run_to_the_end_of_the_connection(void **state)
{
	get(&visit);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 200 OK\r\n\r\nuntil ");
	WAIT_FOR(visit.body.len == 6);
	assert_int_equal(visit.x->response.length, HEAD_LENGTH_UNKNOWN);
	say(service, "the end");
	close_service();
	assert_body(&visit, "until the end");
}

static void a_reset_is_not_the_end_of_a_body(void **state)
{
	get(&visit);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 200 OK\r\n\r\nuntil ");
	WAIT_FOR(visit.body.len == 6);
	reset_and_close(service);
	service = -1;
	assert_failure(&visit, 502, "");
	assert_false(visit.has_end);
}

static void responses_without_a_body_end_at_once(void **state)
{
	static const char *const exchanges[][2] = {
		{ "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" },
		{ "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" },
		{ "GET", "HTTP/1.1 204 No Content\r\n\r\n" },
		{ "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n" },
		{ "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(exchanges); i++) {
		ask(&visit, exchanges[i][0], "/");
		if (service < 0)
			accept_service(); /* and it serves them all */
		hear_head(service);
		say(service, exchanges[i][1]);
		assert_body(&visit, "");
		leave(&visit);
	}
	assert_nobody_connects();
}

static void interim_responses_go_ahead_of_the_response(void **state)
{
	get(&visit);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 100 Continue\r\n\r\n"
		     "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: close, X-Hop\r\n"
		     "X-Hop: 1\r\n\r\n");
	WAIT_FOR(visit.interim_count == 2);
	assert_false(visit.has_head);
	assert_int_equal(visit.interims[0], 100);
	assert_int_equal(visit.interims[1], 103);
	assert_int_equal(visit.last_interim.fields.count, 1); /* nothing that was for us alone */
	assert_true(bytes_eq(visit.last_interim.fields.list[0].value, BYTES_LIT("</a>")));
	say(service,
	    "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	assert_body(&visit, "ok");
	assert_int_equal(visit.interim_count, 3);
	assert_int_equal(visit.interims[2], 102);
	assert_int_equal(visit.x->response.status, 200);
	assert_int_equal(visit.x->response.fields.count, 1);
}

static void redirects_and_encodings_are_the_visitors_business(void **state)
{
	get(&visit);
	accept_service();
	assert_null(strstr(hear_head(service), "Encoding"));
	say(service, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"
		     "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b");
	assert_body(&visit, "\x1f\x8b");
	assert_int_equal(visit.x->response.status, 302);
	assert_non_null(fields_find(&visit.x->response.fields, HEAD_LOCATION));
	assert_non_null(fields_find_text(&visit.x->response.fields, BYTES_LIT("content-encoding")));
	assert_nobody_connects();
}

static void interim_responses_without_end_are_a_failure(void **state)
{
	get(&visit);
	accept_service();
	hear_head(service);
	for (int i = 0; i < 100 && !visit.has_failed; i++)
		say(service, "HTTP/1.1 100 Continue\r\n\r\n");
	assert_failure(&visit, 502, "interim");
}

static void malformed_responses_are_failures(void **state)
{
	static const char *const heads[] = {
		"SSH-2.0-OpenSSH_9.2p1 Debian\r\n\r\n",
		"\x16\x03\x01\x02 TLS\r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n",
		"220 mail.example.com ESMTP\r\n",
		"\x15\x03\x01",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX A: b\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		get(&visit);
		accept_service();
		hear_head(service);
		say(service, heads[i]);
		assert_failure(&visit, 502, "malformed response");
		if (visit.has_head)
			fail_msg("took: %s", heads[i]);
		assert_true(visit.failure.was_sent);
		hear_the_end(service);
		close_service();
		leave(&visit);
	}
}

static void a_head_without_end_is_a_failure(void **state)
{
	char line[1000];

	get(&visit);
	accept_service();
	hear_head(service);
	memset(line, 'x', sizeof(line));
	memcpy(line, "X-Long: ", 8);
	memcpy(line + sizeof(line) - 2, "\r\n", 2);
	say(service, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < 100 && !visit.has_failed; i++) {
		(void)send(service, line, sizeof(line), MSG_NOSIGNAL);
		let_it_turn();
	}
	assert_failure(&visit, 502, "larger than");
}

static void a_body_that_is_cut_off_is_a_failure_after_the_head(void **state)
{
	static const char *const responses[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX-A: b\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
		get(&visit);
		accept_service();
		hear_head(service);
		say(service, responses[i]);
		close_service();
		assert_failure(&visit, 502, "");
		assert_true(visit.has_head);
		assert_false(visit.has_end);
		leave(&visit);
	}
}

/* --- Keeping connections --------------------------------------------------------------------- */

static void a_connection_serves_one_request_after_another(void **state)
{
	for (int i = 0; i < 3; i++) {
		get(&visit);
		if (i == 0)
			accept_service();
		hear_head(service);
		say(service, OK_RESPONSE);
		assert_body(&visit, "ok");
		leave(&visit);
	}
	assert_nobody_connects();
	hear_nothing(service);
}

static void requests_at_the_same_time_have_connections_of_their_own(void **state)
{
	get(&visit);
	get(&second);
	accept_service();
	int other = accept_next();
	hear_head(service);
	hear_head(other);
	say(service, OK_RESPONSE);
	say(other, OK_RESPONSE);
	assert_body(&visit, "ok");
	assert_body(&second, "ok");
	close(other);
}

static void who_says_close_is_not_asked_again(void **state)
{
	static const char *const responses[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		/* Nor one that says more than it was asked for. */
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
	};

	for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
		get(&visit);
		accept_service();
		hear_head(service);
		say(service, responses[i]);
		assert_body(&visit, "ok");
		hear_the_end(service);
		close_service();
		leave(&visit);
	}
}

static void bytes_that_come_while_it_is_idle_end_a_connection(void **state)
{
	get(&visit);
	accept_service();
	hear_head(service);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	leave(&visit);
	say(service, "HTTP/1.1 408 Request Timeout\r\n\r\n");
	hear_the_end(service);
	get(&visit);
	close_service();
	accept_service();
	hear_head(service);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
}

/* A connection in the pool that the service has closed without our having noticed. */
static void stale_connection(void)
{
	get(&visit);
	accept_service();
	hear_head(service);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	leave(&visit);
	close_service();
}

static void a_get_over_a_stale_connection_is_sent_again_once(void **state)
{
	stale_connection();
	get(&visit); /* not a turn in between */
	accept_service();
	hear_head(service);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	assert_nobody_connects();
	leave(&visit);

	/* A fresh connection that ends without a word is not tried again. */
	close_service();
	get(&visit);
	accept_service();
	hear_head(service);
	close_service();
	assert_failure(&visit, 502, "without a response");
	assert_nobody_connects();
}

static void a_post_over_a_stale_connection_is_not_sent_again(void **state)
{
	stale_connection();
	struct exchange *x = prepare(&visit, "POST", "/");
	x->request.length = HEAD_LENGTH_KNOWN;
	x->request.content_length = 4;
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("once")), 4);
	body_end(&x->request_body);
	exchange_start(x, &chain);
	assert_failure(&visit, 502, "");
	assert_true(visit.failure.was_sent);
	assert_nobody_connects();
}

static void what_was_answered_in_part_is_not_sent_again(void **state)
{
	get(&visit);
	accept_service();
	hear_head(service);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	leave(&visit);
	get(&visit);
	hear_head(service);
	say(service, "HTTP/1.1 2");
	let_it_turn();
	close_service();
	assert_failure(&visit, 502, "middle of the response");
	assert_nobody_connects();
}

static void an_idle_connection_is_given_up_in_time(void **state)
{
	struct ingress_origin options;

	ingress_origin_defaults(&options);
	options.keepalive_timeout = 30 * USEC_PER_MSEC;
	serve("http", &options);
	get(&visit);
	accept_service();
	hear_head(service);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	hear_the_end(service);
}

static void no_more_connections_are_kept_than_wanted(void **state)
{
	struct ingress_origin options;
	char c;

	ingress_origin_defaults(&options);
	options.keepalive_connections = 1;
	serve("http", &options);
	get(&visit);
	get(&second);
	accept_service();
	int other = accept_next();
	hear_head(service);
	hear_head(other);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	say(other, OK_RESPONSE);
	assert_body(&second, "ok");
	hear_the_end(service); /* the one that has waited longest */
	close(service);
	service = other;
	hear_nothing(service);

	/* Those that are kept go with the set. */
	leave(&visit);
	leave(&second);
	set = origin_set_unref(set);
	let_it_turn();
	assert_int_equal(read(service, &c, 1), 0);
}

static void a_request_finishes_on_the_rules_it_began_with(void **state)
{
	get(&visit);
	set = origin_set_unref(set);
	accept_service();
	hear_head(service);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	leave(&visit);
	hear_the_end(service);
}

/* --- Not reaching the service ---------------------------------------------------------------- */

static void a_refused_connection_names_its_errno(void **state)
{
	close(listener);
	listener = -1;
	get(&visit);
	assert_failure(&visit, 502, "Connection refused");
	assert_string_equal(visit.errno_name, "ECONNREFUSED");
	assert_false(visit.failure.was_sent);
	assert_false(visit.has_head);
	assert_non_null(strstr(visit.detail, "http://127.0.0.1:"));
}

static void silence_is_a_gateway_timeout(void **state)
{
	struct ingress_origin options;
	int fillers[8];

	ingress_origin_defaults(&options);
	options.connect_timeout = 30 * USEC_PER_MSEC;
	serve("http", &options);
	assert_int_equal(listen(listener, 0), 0); /* from now on one may wait */
	for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fillers[i], &service_address.any, service_address.len);
	}
	get(&visit);
	assert_failure(&visit, 504, "");
	assert_string_equal(visit.errno_name, "ETIMEDOUT");
	for (size_t i = 0; i < ARRAY_LEN(fillers); i++)
		close(fillers[i]);
}

static void a_unix_socket_serves_as_well(void **state)
{
	char url[128];
	struct address address;

	snprintf(url, sizeof(url), "unix:%s/app.sock", folder);
	assert_int_equal(address_parse(bytes_str(url), &address, NULL), 0);
	use_service(url, NULL);
	get(&visit);
	assert_failure(&visit, 502, "No such file");
	assert_string_equal(visit.errno_name, "ENOENT");
	leave(&visit);

	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, &address.any, address.len), 0);
	assert_int_equal(listen(listener, 5), 0);
	get(&visit);
	accept_service();
	hear_head(service);
	say(service, OK_RESPONSE);
	assert_body(&visit, "ok");
	leave(&visit);
	get(&visit);
	hear_head(service);
	unlink(address.local.sun_path);
}

static void rules_without_a_service_answer_themselves(void **state)
{
	struct exchange *x;

	use_service("http_status:418", NULL);
	get(&visit);
	assert_body(&visit, "");
	x = visit.x;
	assert_int_equal(x->response.status, 418);
	assert_true(x->answerer_is_gone);
}

/* --- Leaving --------------------------------------------------------------------------------- */

static void a_visitor_may_leave_while_we_connect(void **state)
{
	get(&visit);
	exchange_release_producer(TAKE(visit.x));
	let_it_turn();
	assert_int_equal(exchange_live_count(), 0);
}

static void a_visitor_may_leave_before_the_head(void **state)
{
	get(&visit);
	accept_service();
	hear_head(service);
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
	hear_the_end(service);
}

static void a_visitor_may_leave_within_the_body(void **state)
{
	get(&visit);
	accept_service();
	hear_head(service);
	say(service, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
	WAIT_FOR(visit.body.len == 4);
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
	hear_the_end(service);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, start_plain, stop)
#define BARE(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAIN(a_request_is_written_as_services_expect_it),
		PLAIN(a_response_may_come_byte_by_byte),
		PLAIN(a_body_may_run_to_the_end_of_the_connection),
		PLAIN(a_reset_is_not_the_end_of_a_body),
		PLAIN(responses_without_a_body_end_at_once),
		PLAIN(interim_responses_go_ahead_of_the_response),
		PLAIN(redirects_and_encodings_are_the_visitors_business),
		PLAIN(interim_responses_without_end_are_a_failure),
		PLAIN(malformed_responses_are_failures),
		PLAIN(a_head_without_end_is_a_failure),
		PLAIN(a_body_that_is_cut_off_is_a_failure_after_the_head),
		PLAIN(a_connection_serves_one_request_after_another),
		PLAIN(requests_at_the_same_time_have_connections_of_their_own),
		PLAIN(who_says_close_is_not_asked_again),
		PLAIN(bytes_that_come_while_it_is_idle_end_a_connection),
		PLAIN(a_get_over_a_stale_connection_is_sent_again_once),
		PLAIN(a_post_over_a_stale_connection_is_not_sent_again),
		PLAIN(what_was_answered_in_part_is_not_sent_again),
		BARE(an_idle_connection_is_given_up_in_time),
		BARE(no_more_connections_are_kept_than_wanted),
		PLAIN(a_request_finishes_on_the_rules_it_began_with),
		PLAIN(a_refused_connection_names_its_errno),
		BARE(silence_is_a_gateway_timeout),
		BARE(a_unix_socket_serves_as_well),
		BARE(rules_without_a_service_answer_themselves),
		PLAIN(a_visitor_may_leave_while_we_connect),
		PLAIN(a_visitor_may_leave_before_the_head),
		PLAIN(a_visitor_may_leave_within_the_body),
	};

	snprintf(folder, sizeof(folder), "/tmp/test_origin.XXXXXX");
	if (!mkdtemp(folder))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
