/* Which questions of browsers an application answers by itself, and how. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "edge/access/cors.h"

static struct loop *loop;

static json_t *object_of(const char *text)
{
	json_t *object = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(object);
	return object;
}

static void test_settings_that_open_everything_or_make_no_sense_are_refused(void **state)
{
	static const struct {
		const char *text;
		bool is_good;
	} cases[] = {
		{ "{}", true },
		{ "{\"allowed_origins\":[\"https://a.example.com\"],\"max_age\":86400}", true },
		{ "{\"allowed_origins\":null,\"allow_all_methods\":null,\"max_age\":null}", true },
		{ "{\"allow_all_origins\":true,\"allow_credentials\":false}", true },
		{ "{\"allow_all_origins\":true,\"allow_credentials\":true}", false },
		{ "[]", false },
		{ "{\"allowed_origins\":\"https://a.example.com\"}", false },
		{ "{\"allowed_methods\":[1]}", false },
		{ "{\"allowed_methods\":[\"\"]}", false },
		{ "{\"allowed_headers\":[\"a,b\"]}", false },
		{ "{\"allowed_headers\":[\"a\\r\\nSet-Cookie: x\"]}", false },
		{ "{\"allow_credentials\":\"true\"}", false },
		{ "{\"max_age\":-1}", false },
		{ "{\"max_age\":86401}", false },
		{ "{\"max_age\":\"1\"}", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *cors = object_of(cases[i].text);
		struct err err = { 0 };
		int r = access_cors_check(cors, &err);

		if ((r == 0) != cases[i].is_good)
			fail_msg("%s: %d %s", cases[i].text, r, err.text);
		json_decref(cors);
	}
}

/* --- Questions --------------------------------------------------------------------------------- */

static void on_nothing(struct exchange *x)
{
	(void)x;
}
static const struct exchange_producer producer = {
	.name = "test",
	.on_head = on_nothing,
	.on_response_data = on_nothing,
	.on_request_room = on_nothing,
	.on_failed = on_nothing,
};

static enum handled cors_handle(struct exchange *x, void *cors)
{
	if (!access_cors_is_preflight(&x->request))
		return HANDLED_NEXT;
	access_cors_answer(cors, x);
	return HANDLED_TAKEN;
}

static void on_turned(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

static void turn(void)
{
	loop_post(loop, on_turned, NULL);
	loop_run(loop);
}

/* The fields of the answer as text, owned; the status is in front. NULL values are not sent. */
static char *answer_to(const char *settings, const char *method, const char *origin,
		       const char *wants_method, const char *wants_headers)
{
	static const char *const names[] = { "origin", "access-control-request-method",
					     "access-control-request-headers" };
	const char *const values[] = { origin, wants_method, wants_headers };
	json_t *cors = object_of(settings);
	const struct handler handlers[] = { { "cors", cors_handle } };
	const struct handler_chain chain = { handlers, 1, cors, NULL };
	struct exchange *x = exchange_new(loop, &producer, NULL);
	struct buf text;

	x->request.method = bytes_str(method);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (values[i])
			assert_int_equal(fields_add(&x->request.fields, &x->arena,
						    bytes_str(names[i]), bytes_str(values[i])),
					 0);
	}
	exchange_start(x, &chain);
	turn();
	buf_init(&text, 4096);
	assert_int_equal(buf_printf(&text, "%d\n", x->response.status), 0);
	for (size_t i = 0; i < x->response.fields.count; i++) {
		const struct field *f = &x->response.fields.list[i];

		if (bytes_starts_with(f->name, BYTES_LIT("Access-Control")))
			assert_int_equal(buf_printf(&text, BYTES_FMT ": " BYTES_FMT "\n",
						    BYTES_ARG(f->name), BYTES_ARG(f->value)),
					 0);
	}
	if (x->answerer)
		exchange_release_answerer(x);
	exchange_release_producer(x);
	turn();
	json_decref(cors);
	return buf_take_str(&text);
}

static void assert_answer(const char *settings, const char *origin, const char *want)
{
	char *got = answer_to(settings, "OPTIONS", origin, "PUT", "x-one, x-two");

	assert_string_equal(got, want);
	mem_free(got);
}

static void test_an_origin_that_is_not_listed_is_told_so(void **state)
{
	static const char settings[] = "{\"allowed_origins\":[\"https://a.example.com\"],"
				       "\"allow_all_methods\":true}";

	assert_answer(settings, "https://b.example.com", "403\n");
	assert_answer(settings, "https://a.example.com.evil.test", "403\n");
	assert_answer(settings, "null", "403\n");
	assert_answer("{}", "https://a.example.com", "403\n");
}

static void test_a_listed_origin_is_told_what_is_listed(void **state)
{
	assert_answer("{\"allowed_origins\":[\"https://b.example.com\",\"https://a.example.com\"],"
		      "\"allowed_methods\":[\"GET\",\"PUT\"],\"allowed_headers\":[\"x-one\"],"
		      "\"allow_credentials\":true,\"max_age\":60}",
		      "https://a.example.com",
		      "204\n"
		      "Access-Control-Allow-Origin: https://a.example.com\n"
		      "Access-Control-Allow-Methods: GET, PUT\n"
		      "Access-Control-Allow-Headers: x-one\n"
		      "Access-Control-Allow-Credentials: true\n"
		      "Access-Control-Max-Age: 60\n");
}

static void test_where_all_is_allowed_what_was_asked_for_is(void **state)
{
	assert_answer("{\"allow_all_origins\":true,\"allow_all_methods\":true,"
		      "\"allow_all_headers\":true}",
		      "https://anybody.test",
		      "204\n"
		      "Access-Control-Allow-Origin: *\n"
		      "Access-Control-Allow-Methods: PUT\n"
		      "Access-Control-Allow-Headers: x-one, x-two\n");
}

static void test_other_requests_are_not_answered_here(void **state)
{
	static const char settings[] = "{\"allow_all_origins\":true}";
	char *plain = answer_to(settings, "OPTIONS", "https://a.test", NULL, NULL);
	char *no_origin = answer_to(settings, "OPTIONS", NULL, "PUT", NULL);
	char *get = answer_to(settings, "GET", "https://a.test", "PUT", NULL);

	assert_true(strncmp(plain, "204", 3) != 0);
	assert_true(strncmp(no_origin, "204", 3) != 0);
	assert_true(strncmp(get, "204", 3) != 0);
	mem_free(plain);
	mem_free(no_origin);
	mem_free(get);
}

static int start(void **state)
{
	struct err err;

	(void)state;
	loop = loop_new(&err);
	return loop ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	loop = loop_free(loop);
	return exchange_live_count() == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings_that_open_everything_or_make_no_sense_are_refused),
		cmocka_unit_test_setup_teardown(test_an_origin_that_is_not_listed_is_told_so, start,
						stop),
		cmocka_unit_test_setup_teardown(test_a_listed_origin_is_told_what_is_listed, start,
						stop),
		cmocka_unit_test_setup_teardown(test_where_all_is_allowed_what_was_asked_for_is,
						start, stop),
		cmocka_unit_test_setup_teardown(test_other_requests_are_not_answered_here, start,
						stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
