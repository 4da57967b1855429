/* What connectors say of their services. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"
#include "edge/tunnels/service_report.h"

static struct service_report *parse(const char *json)
{
	return service_report_parse(bytes_str(json));
}

#define REPORT(rules) "{\"adit\":{\"health\":{\"sequence\":7,\"rules\":[" rules "]}}}"
#define RULE(host, state) "{\"rule\":0,\"hostname\":\"" host "\",\"state\":\"" state "\"}"

static bool is_down(const struct service_report *r, const char *host)
{
	return service_report_is_down(r, bytes_str(host));
}

static void a_report_is_read(void **state)
{
	struct service_report *r =
		parse(REPORT("{\"rule\":3,\"hostname\":\"app.example.com\",\"path\":\"^/api\","
			     "\"service\":\"http://localhost:3000\",\"state\":\"unhealthy\","
			     "\"error\":\"refused\",\"since\":\"2026-01-02T03:04:05Z\"}," RULE(
				     "b.example.com", "healthy")));

	assert_non_null(r);
	assert_int_equal(r->sequence, 7);
	assert_int_equal(r->count, 2);
	assert_int_equal(r->checked, 2);
	assert_int_equal(r->unhealthy, 1);
	assert_int_equal(r->list[0].rule, 3);
	json_t *json = service_report_json(r);
	char *text = json_dumps(json_array_get(json, 0), JSON_COMPACT);
	assert_string_equal(
		text,
		"{\"rule\":3,\"hostname\":\"app.example.com\",\"path\":\"^/api\","
		"\"service\":\"http://localhost:3000\",\"state\":\"unhealthy\",\"error\":\"refused\","
		"\"since\":\"2026-01-02T03:04:05Z\"}");
	free(text);
	json_decref(json);
	service_report_unref(service_report_ref(r));
	service_report_unref(r);
	service_report_unref(NULL);
}

static void rules_of_a_connector_and_nonsense_are_no_report(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"{}",
		"[]",
		"{\"ingress\":[{\"service\":\"http_status:404\"}],\"warp-routing\":{}}",
		"{\"adit\":{}}",
		"{\"adit\":{\"health\":[]}}",
		"{\"adit\":{\"health\":{\"sequence\":1}}}",
		"{\"adit\":{\"health\":{\"rules\":[]}}}",
		"{\"adit\":{\"health\":{\"sequence\":-1,\"rules\":[]}}}",
		"{\"adit\":{\"health\":{\"sequence\":\"1\",\"rules\":[]}}}",
		"{\"adit\":{\"health\":{\"sequence\":1,\"sequence\":2,\"rules\":[]}}}",
		REPORT("") "x",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_null(parse(texts[i]));
}

static void elements_that_make_no_sense_are_left_out(void **state)
{
	struct service_report *r = parse(
		REPORT("1,null,{},{\"state\":\"ill\"},{\"state\":1},{\"rule\":-5,\"hostname\":7,"
		       "\"state\":\"healthy\"}"));

	assert_non_null(r);
	assert_int_equal(r->count, 1);
	assert_int_equal(r->list[0].rule, 0);
	assert_string_equal(r->list[0].hostname, "");
	service_report_unref(r);
}

static void long_texts_are_cut_between_characters(void **state)
{
	char json[3000], text[1201] = "";

	for (int i = 0; i < 600; i++)
		memcpy(text + 2 * i, "\xc3\xa4", 2);
	snprintf(json, sizeof(json), REPORT("{\"state\":\"healthy\",\"error\":\"x%s\"}"), text);
	struct service_report *r = parse(json);
	assert_non_null(r);
	assert_int_equal(strlen(r->list[0].error), 511);
	service_report_unref(r);
}

static void too_long_a_report_is_none(void **state)
{
	struct buf b;

	for (size_t count = LIMIT_HEALTH_HOSTS; count <= LIMIT_HEALTH_HOSTS + 1; count++) {
		buf_init(&b, 1 << 20);
		assert_int_equal(
			buf_append_str(&b, "{\"adit\":{\"health\":{\"sequence\":1,\"rules\":[null"),
			0);
		for (size_t i = 1; i < count; i++)
			assert_int_equal(buf_append_str(&b, ",null"), 0);
		assert_int_equal(buf_append_str(&b, "]}}}"), 0);
		struct service_report *r = service_report_parse(buf_bytes(&b));
		assert_int_equal(r != NULL, count == LIMIT_HEALTH_HOSTS);
		service_report_unref(r);
		buf_done(&b);
	}
}

static void a_host_is_down_when_its_service_is(void **state)
{
	struct service_report *r = parse(REPORT(RULE("a.example.com", "unhealthy") "," RULE(
		"b.example.com", "healthy") "," RULE("c.example.com", "unknown")));

	assert_true(is_down(r, "a.example.com"));
	assert_true(is_down(r, "A.Example.com"));
	assert_false(is_down(r, "b.example.com"));
	assert_false(is_down(r, "c.example.com"));
	assert_false(is_down(r, "d.example.com"));
	assert_false(is_down(r, ""));
	service_report_unref(r);
}

static void the_first_hostname_that_matches_decides(void **state)
{
	struct service_report *r = parse(REPORT(
		RULE("a.example.com", "healthy") "," RULE("b.example.com", "unchecked") "," RULE(
			"*.example.com", "unhealthy") "," RULE("", "healthy")));

	assert_false(is_down(r, "a.example.com"));
	assert_false(is_down(r, "b.example.com"));
	assert_true(is_down(r, "c.example.com"));
	assert_true(is_down(r, "x.y.example.com"));
	assert_false(is_down(r, "example.com"));
	assert_false(is_down(r, "other.test"));
	service_report_unref(r);
}

static void one_path_of_a_host_is_enough(void **state)
{
	struct service_report *r = parse(REPORT(RULE("a.example.com", "healthy") "," RULE(
		"a.example.com", "unhealthy") "," RULE("*", "healthy")));

	assert_true(is_down(r, "a.example.com"));
	assert_false(is_down(r, "b.example.com"));
	service_report_unref(r);
	r = parse(REPORT(RULE("", "unhealthy")));
	assert_true(is_down(r, "whatever"));
	service_report_unref(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_is_read),
		cmocka_unit_test(rules_of_a_connector_and_nonsense_are_no_report),
		cmocka_unit_test(elements_that_make_no_sense_are_left_out),
		cmocka_unit_test(long_texts_are_cut_between_characters),
		cmocka_unit_test(too_long_a_report_is_none),
		cmocka_unit_test(a_host_is_down_when_its_service_is),
		cmocka_unit_test(the_first_hostname_that_matches_decides),
		cmocka_unit_test(one_path_of_a_host_is_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
