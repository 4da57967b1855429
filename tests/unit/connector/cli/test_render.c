#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "connector/cli/render.h"

static void assert_rendered(const char *format, const char *json, const char *expected)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);

	assert_non_null(value);
	assert_int_equal(render(out, format, value, NULL), 0);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
	json_decref(value);
}

static void pads_cells_to_the_widest_and_a_blank(void **state)
{
	struct table t = { 0 };
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	table_row(&t, 3, (const char *[]){ "ID", "NAME", "EDGE" });
	table_row(&t, 3, (const char *[]){ "1234", "\u00fc", "" });
	table_print(&t, out);
	fclose(out);
	assert_string_equal(text, "ID   NAME EDGE \n1234 \u00fc         \n");
	free(text);
	table_done(&t);
}

static void json_has_two_blanks(void **state)
{
	assert_rendered("json", "[{\"id\":\"a\",\"connections\":[]}]",
			"[\n  {\n    \"id\": \"a\",\n    \"connections\": []\n  }\n]\n");
}

static void yaml_is_spelled_as_the_stock_clients(void **state)
{
	assert_rendered(
		"yaml",
		"[{\"id\":\"a\",\"created_at\":\"2026-11-01T10:00:00.123456Z\","
		"\"deleted_at\":\"0001-01-01T00:00:00Z\",\"connections\":[{\"colo_name\":\"n\","
		"\"is_pending_reconnect\":false,\"origin_ip\":\"10.0.0.1\"},{\"colo_name\":\"x1\"}]},"
		"{\"id\":\"b\",\"connections\":[]}]",
		"- id: a\n"
		"  createdat: 2026-11-01T10:00:00.123456Z\n"
		"  deletedat: 0001-01-01T00:00:00Z\n"
		"  connections:\n"
		"    - coloname: \"n\"\n"
		"      ispendingreconnect: false\n"
		"      originip: 10.0.0.1\n"
		"    - coloname: x1\n"
		"- id: b\n"
		"  connections: []\n");
	assert_rendered("yaml",
			"{\"name\":\"t\",\"conns\":[{\"id\":\"a\",\"features\":[\"f\",\"g\"],"
			"\"version\":\"2026.1\",\"conns\":[{\"origin_ip\":\"::1\"}]}]}",
			"name: t\n"
			"connectors:\n"
			"    - id: a\n"
			"      features:\n"
			"        - f\n"
			"        - g\n"
			"      version: \"2026.1\"\n"
			"      connections:\n"
			"        - originip: ::1\n");
	assert_rendered("yaml", "{\"tunnel\":{\"id\":\"a\"},\"token\":\"eyJh=\"}",
			"tunnel:\n    id: a\ntoken: eyJh=\n");
	assert_rendered("yaml", "[]", "[]\n");
}

static void yaml_quotes_what_would_be_read_otherwise(void **state)
{
	static const struct {
		const char *json, *yaml;
	} cases[] = {
		{ "\"a: b\"", "'a: b'" },
		{ "\"yes\"", "\"yes\"" },
		{ "\"2026-01-02\"", "\"2026-01-02\"" },
		{ "\"- x\"", "'- x'" },
		{ "\"\"", "\"\"" },
		{ "\"it's #1\"", "'it''s #1'" },
		{ "\"0x1f\"", "\"0x1f\"" },
		{ "\"~\"", "\"~\"" },
		{ "\"@a\"", "'@a'" },
		{ "\"a #b\"", "'a #b'" },
		{ "\"a:b\"", "a:b" },
		{ "\"1_000\"", "\"1_000\"" },
		{ "\"12:30\"", "\"12:30\"" },
		{ "\"tail \"", "'tail '" },
		{ "\"a\\tb\"", "\"a\\tb\"" },
		{ "\"2026.11.0\"", "2026.11.0" },
		{ "\"'\"", "''''" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char json[64], yaml[64];
		snprintf(json, sizeof(json), "{\"k\":%s}", cases[i].json);
		snprintf(yaml, sizeof(yaml), "k: %s\n", cases[i].yaml);
		assert_rendered("yaml", json, yaml);
	}
}

static void refuses_other_formats(void **state)
{
	json_t *value = json_array();
	struct err err;

	assert_int_equal(render(stdout, "xml", value, &err), E_INVALID);
	assert_string_equal(err.text, "Unknown output format 'xml'");
	json_decref(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pads_cells_to_the_widest_and_a_blank),
		cmocka_unit_test(json_has_two_blanks),
		cmocka_unit_test(yaml_is_spelled_as_the_stock_clients),
		cmocka_unit_test(yaml_quotes_what_would_be_read_otherwise),
		cmocka_unit_test(refuses_other_formats),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
