/* Expect: 100-continue where somebody further on can hear the service's own answer to it. */
#include "unit/connector/service.h"

static struct exchange *ask_first(enum head_length length, uint64_t content_length)
{
	struct exchange *x = prepare(&visit, "POST", "/up");

	x->request.length = length;
	x->request.content_length = content_length;
	x->expects_continue = x->relays_continue = true;
	exchange_start(x, &chain);
	accept_service();
	return x;
}

static void send_body(struct exchange *x, struct bytes data)
{
	assert_int_equal(body_write(&x->request_body, data), data.len);
	body_end(&x->request_body);
}

static void the_body_waits_for_the_services_word(void **state)
{
	struct exchange *x = ask_first(HEAD_LENGTH_KNOWN, 5);

	assert_string_equal(hear_head(service), "POST /up HTTP/1.1\r\nHost: app.example.com\r\n"
						"Expect: 100-continue\r\nContent-Length: 5\r\n"
						"Connection: keep-alive\r\n\r\n");
	send_body(x, BYTES_LIT("hello")); /* whoever does not wait */
	hear_nothing(service);
	assert_int_equal(visit.interim_count, 0);
	say(service, "HTTP/1.1 100 Continue\r\n\r\n");
	hear(service, "hello");
	assert_int_equal(visit.interim_count, 1);
	assert_int_equal(visit.interims[0], 100);
	assert_null(fields_find(&x->request.fields, HEAD_EXPECT));
	say(service, "HTTP/1.1 100 Continue\r\n\r\n" OK_RESPONSE); /* once is enough */
	assert_body(&visit, "ok");
	assert_int_equal(visit.interim_count, 1);
	leave(&visit);
	get(&visit); /* the connection is good for more */
	hear_head(service);
}

static void other_interim_heads_are_no_word_of_it(void **state)
{
	struct exchange *x = ask_first(HEAD_LENGTH_UNKNOWN, 0);

	hear_head(service);
	say(service, "HTTP/1.1 103 Early Hints\r\n\r\n");
	WAIT_FOR(visit.interim_count == 1);
	send_body(x, BYTES_LIT("hello"));
	hear_nothing(service);
	say(service, "HTTP/1.1 100 Continue\r\n\r\n");
	hear(service, "5\r\nhello\r\n0\r\n\r\n");
	assert_int_equal(visit.interim_count, 2);
	assert_int_equal(visit.interims[1], 100);
}

static void a_refusal_saves_the_body(void **state)
{
	struct exchange *x = ask_first(HEAD_LENGTH_KNOWN, 5);
	char c;

	hear_head(service);
	send_body(x, BYTES_LIT("hello"));
	say(service, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
	assert_body(&visit, "no");
	assert_int_equal(visit.interim_count, 0);
	let_it_turn();
	assert_int_equal(read(service, &c, 1),
			 0); /* closed without a byte of it: no room for doubt */
}

static void a_refusal_may_be_long(void **state)
{
	struct exchange *x = ask_first(HEAD_LENGTH_UNKNOWN, 0);

	hear_head(service);
	say(service, "HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nfirst");
	WAIT_FOR(visit.body.len == 5);
	send_body(x, BYTES_LIT("hello"));
	hear_nothing(service);
	say(service, "-half");
	assert_body(&visit, "first-half");
}

static void a_service_that_says_nothing_gets_the_body_after_a_while(void **state)
{
	struct exchange *x = ask_first(HEAD_LENGTH_KNOWN, 5);

	hear_head(service);
	send_body(x, BYTES_LIT("hello"));
	WAIT_FOR(visit.interim_count == 1);
	assert_int_equal(visit.interims[0], 100);
	hear(service, "hello");
	say(service, "HTTP/1.1 100 Continue\r\n\r\n" OK_RESPONSE);
	assert_body(&visit, "ok");
	assert_int_equal(visit.interim_count, 1);
}

static void a_body_that_is_here_already_waits_for_nothing(void **state)
{
	struct exchange *x = prepare(&visit, "POST", "/up");

	x->request.length = HEAD_LENGTH_KNOWN;
	x->request.content_length = 5;
	x->expects_continue = x->relays_continue = true;
	send_body(x, BYTES_LIT("hello"));
	exchange_start(x, &chain);
	accept_service();
	assert_null(strstr(hear_head(service), "Expect"));
	hear(service, "hello");
}

static void nothing_is_asked_where_nobody_would_hear_it(void **state)
{
	struct exchange *x = prepare(&visit, "POST", "/up");

	x->request.length = HEAD_LENGTH_KNOWN;
	x->request.content_length = 5;
	x->expects_continue = true; /* the producer says it */
	exchange_start(x, &chain);
	accept_service();
	assert_null(strstr(hear_head(service), "Expect"));
	send_body(x, BYTES_LIT("hello"));
	hear(service, "hello");
	say(service, "HTTP/1.1 100 Continue\r\n\r\n" OK_RESPONSE);
	assert_body(&visit, "ok");
	assert_int_equal(visit.interim_count, 0);
}

static void a_wrong_length_fails_when_the_body_goes_out(void **state)
{
	struct exchange *x = ask_first(HEAD_LENGTH_KNOWN, 4);

	hear_head(service);
	send_body(x, BYTES_LIT("hello"));
	let_it_turn();
	say(service, "HTTP/1.1 100 Continue\r\n\r\n" OK_RESPONSE);
	assert_failure(&visit, 502, "Content-Length");
}

static void a_visitor_may_leave_while_it_waits(void **state)
{
	ask_first(HEAD_LENGTH_KNOWN, 5);
	hear_head(service);
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
	hear_the_end(service);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, start_plain, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAIN(the_body_waits_for_the_services_word),
		PLAIN(other_interim_heads_are_no_word_of_it),
		PLAIN(a_refusal_saves_the_body),
		PLAIN(a_refusal_may_be_long),
		PLAIN(a_service_that_says_nothing_gets_the_body_after_a_while),
		PLAIN(a_body_that_is_here_already_waits_for_nothing),
		PLAIN(nothing_is_asked_where_nobody_would_hear_it),
		PLAIN(a_wrong_length_fails_when_the_body_goes_out),
		PLAIN(a_visitor_may_leave_while_it_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
