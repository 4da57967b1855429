/* What authorities say, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "acme/reply.h"

static struct acme_reply reply;
static struct err err;

static void read_reply(int status, const char *body, const char *retry_after)
{
	acme_reply_read(&reply, status, bytes_str(body), BYTES_NONE, bytes_str(retry_after));
}

static int tear_down(void **state)
{
	(void)state;
	acme_reply_done(&reply);
	err = (struct err){ 0 };
	return 0;
}

static void an_error_has_the_authoritys_own_words(void **state)
{
	(void)state;
	read_reply(
		403,
		"{\"type\":\"urn:ietf:params:acme:error:unauthorized\",\"detail\":\"wrong\\npage\"}",
		"");
	assert_int_equal(acme_reply_error(&reply, "proving a.example.com", &err), E_DENIED);
	assert_string_equal(err.text, "proving a.example.com: the authority says: wrong page "
				      "(urn:ietf:params:acme:error:unauthorized, status 403)");
}

static void the_first_subproblem_says_more(void **state)
{
	(void)state;
	read_reply(400,
		   "{\"type\":\"urn:ietf:params:acme:error:compound\",\"detail\":\"several\","
		   "\"subproblems\":[{\"detail\":\"CAA forbids it\"}]}",
		   "");
	(void)acme_reply_error(&reply, "ordering", &err);
	assert_non_null(strstr(err.text, "CAA forbids it"));
}

static void a_limit_is_one_and_its_time_is_kept(void **state)
{
	(void)state;
	read_reply(429, "{\"type\":\"urn:ietf:params:acme:error:rateLimited\",\"detail\":\"slow\"}",
		   "3600");
	assert_int_equal(acme_reply_error(&reply, "ordering", &err), E_LIMIT);
	assert_int_equal(reply.retry_after, 3600 * USEC_PER_SEC);
}

static void its_own_fault_is_not_ours(void **state)
{
	(void)state;
	read_reply(503, "<html>busy</html>", "");
	assert_int_equal(acme_reply_error(&reply, "ordering", &err), E_IO);
	assert_non_null(strstr(err.text, "<html>busy</html> (no type, status 503)"));
}

static void times_to_wait_are_bounded(void **state)
{
	static const struct {
		const char *text;
		usec wait;
	} cases[] = {
		{ "", 0 },
		{ "soon", 0 },
		{ "-5", 0 },
		{ "99999999999999", ACME_RETRY_AFTER_MAX },
		{ "Fri, 31 Dec 1999 23:59:59 GMT", 0 },
		{ "Fri, 31 Dec 2999 23:59:59 GMT", ACME_RETRY_AFTER_MAX },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		read_reply(200, "{}", cases[i].text);
		assert_int_equal(reply.retry_after, cases[i].wait);
		acme_reply_done(&reply);
	}
}

static void a_token_that_is_a_path_is_none(void **state)
{
	(void)state;
	read_reply(200,
		   "{\"challenges\":[{\"type\":\"http-01\",\"token\":\"../x\",\"url\":\"https://a\"},"
		   "{\"type\":\"dns-01\",\"token\":\"ok_-9\",\"url\":\"https://b\"},"
		   "{\"type\":\"tls-alpn-01\",\"token\":\"ok\"}]}",
		   "");
	assert_null(acme_challenge_of(reply.json, ACME_HTTP_01));
	assert_null(acme_challenge_of(reply.json, ACME_TLS_ALPN_01));
	assert_string_equal(acme_text(acme_challenge_of(reply.json, ACME_DNS_01), "token"), "ok_-9");
}

static void a_window_that_ends_before_it_begins_is_none(void **state)
{
	usec from, to;

	(void)state;
	read_reply(200,
		   "{\"suggestedWindow\":{\"start\":\"2026-01-02T00:00:00Z\","
		   "\"end\":\"2026-01-01T00:00:00Z\"}}",
		   "");
	assert_false(acme_window_of(reply.json, &from, &to));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(an_error_has_the_authoritys_own_words),
		TEST(the_first_subproblem_says_more),
		TEST(a_limit_is_one_and_its_time_is_kept),
		TEST(its_own_fault_is_not_ours),
		TEST(times_to_wait_are_bounded),
		TEST(a_token_that_is_a_path_is_none),
		TEST(a_window_that_ends_before_it_begins_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
