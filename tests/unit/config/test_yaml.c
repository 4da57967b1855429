#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "config/yaml.h"

static struct yaml_doc *parse(const char *text)
{
	struct err err = { 0 };
	struct yaml_doc *doc = yaml_parse(bytes_str(text), "config.yml", &err);

	if (!doc)
		fail_msg("%s", err.text);
	return doc;
}

static void assert_refused(const char *text, int code, const char *expected)
{
	struct err err = { 0 };
	struct yaml_doc *doc = yaml_parse(bytes_str(text), "config.yml", &err);

	assert_null(doc);
	if (!strstr(err.text, expected))
		fail_msg("\"%s\" does not contain \"%s\"", err.text, expected);
	assert_int_equal(err.code, code);
}

static void reads_a_config_with_places(void **state)
{
	struct yaml_doc *doc = parse("tunnel: my-tunnel\n"
				     "ingress:\n"
				     "  - hostname: app.example.com\n"
				     "    service: http://localhost:3000\n"
				     "  - service: http_status:404\n");
	const struct yaml_node *root = yaml_root(doc);

	assert_int_equal(yaml_kind(root), YAML_MAPPING);
	assert_int_equal(yaml_count(root), 2);
	assert_string_equal(yaml_text(yaml_get(root, "tunnel")), "my-tunnel");
	const struct yaml_node *ingress = yaml_get(root, "ingress");
	assert_int_equal(yaml_kind(ingress), YAML_SEQUENCE);
	assert_int_equal(yaml_count(ingress), 2);
	const struct yaml_node *service = yaml_get(yaml_item(ingress, 0), "service");
	assert_string_equal(yaml_text(service), "http://localhost:3000");
	assert_int_equal(yaml_line(service), 4);
	assert_int_equal(yaml_column(service), 14);
	assert_null(yaml_item(ingress, 2));
	assert_null(yaml_get(root, "nothing"));
	const struct yaml_node *key, *value;
	yaml_pair(root, 1, &key, &value);
	assert_string_equal(yaml_text(key), "ingress");
	assert_ptr_equal(value, ingress);
	struct err err;
	assert_int_equal(yaml_error(service, &err, "no %s", "good"), E_INVALID);
	assert_string_equal(err.text, "config.yml:4:14: no good");
	yaml_free(doc);
}

static void reads_json(void **state)
{
	struct yaml_doc *doc =
		parse("{\"ingress\":[{\"service\":\"http_status:404\",\"originRequest\":"
		      "{\"connectTimeout\":30,\"noTLSVerify\":true}}],\"x\":null}");
	const struct yaml_node *rule = yaml_item(yaml_get(yaml_root(doc), "ingress"), 0);
	const struct yaml_node *origin = yaml_get(rule, "originRequest");
	usec d = 0;
	bool b = false;
	struct err err;

	assert_int_equal(yaml_as_duration(yaml_get(origin, "connectTimeout"), true, &d, &err), 0);
	assert_int_equal(d, 30 * USEC_PER_SEC);
	assert_int_equal(yaml_as_bool(yaml_get(origin, "noTLSVerify"), &b, &err), 0);
	assert_true(b);
	assert_int_equal(yaml_kind(yaml_get(yaml_root(doc), "x")), YAML_NULL);
	yaml_free(doc);
}

static void an_empty_document_has_no_root(void **state)
{
	static const char *const texts[] = { "", "\n", "# only a comment\n", "---\n" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct yaml_doc *doc = parse(texts[i]);
		assert_null(yaml_root(doc));
		assert_int_equal(yaml_kind(yaml_root(doc)), YAML_NULL);
		yaml_free(doc);
	}
}

static void aliases_share_and_merge_keys_merge(void **state)
{
	struct yaml_doc *doc = parse("base: &b {connectTimeout: 5s, noTLSVerify: true}\n"
				     "one: *b\n"
				     "two:\n  noTLSVerify: false\n  <<: *b\n");
	const struct yaml_node *root = yaml_root(doc), *two = yaml_get(root, "two");

	assert_ptr_equal(yaml_get(root, "one"), yaml_get(root, "base"));
	assert_int_equal(yaml_count(two), 2);
	assert_string_equal(yaml_text(yaml_get(two, "noTLSVerify")), "false");
	assert_string_equal(yaml_text(yaml_get(two, "connectTimeout")), "5s");
	yaml_free(doc);
}

static void refuses_what_is_wrong_with_its_place(void **state)
{
	assert_refused("a: 1\na: 2\n", E_PARSE, "config.yml:2:1: duplicate key \"a\"");
	assert_refused("a: *nothing\n", E_PARSE, "config.yml:1:");
	assert_refused("a: &x [*x]\n", E_PARSE, "config.yml:1:8: *x names nothing");
	assert_refused("a: 1\n---\nb: 2\n", E_PARSE, "config.yml:2:1: a second document");
	assert_refused("? [a, b]\n: c\n", E_PARSE, "config.yml:1:3: a key must be");
	assert_refused("a: \"x\\0y\"\n", E_PARSE, "config.yml:1:");
	assert_refused("a:\n  - b\n c: d\n", E_PARSE, "config.yml:3:");
	assert_refused("a: [1, 2\n", E_PARSE, "config.yml:");
	assert_refused("# x\na: \xfe\n", E_PARSE, "config.yml:2:4: this is not UTF-8");
	assert_refused("%hz\xfe", E_PARSE, "config.yml:1:1: directives are not read");
	assert_refused("a: \x01\n", E_PARSE, "config.yml:1:4: a control byte");
	assert_refused("<<: 5\n", E_PARSE, "config.yml:1:5: only a map can be merged");
}

static void refuses_what_is_too_deep(void **state)
{
	char text[2 * LIMIT_CONFIG_DEPTH + 3] = { 0 };

	memset(text, '[', LIMIT_CONFIG_DEPTH + 1);
	memset(text + LIMIT_CONFIG_DEPTH + 1, ']', LIMIT_CONFIG_DEPTH + 1);
	assert_refused(text, E_LIMIT, "config.yml:1:33: nested too deeply");
}

static void refuses_what_is_too_large(void **state)
{
	struct err err;
	uint8_t *text = mem_alloc(LIMIT_CONFIG_BYTES + 1);

	memset(text, '#', LIMIT_CONFIG_BYTES + 1);
	assert_null(yaml_parse(bytes_of(text, LIMIT_CONFIG_BYTES + 1), "f", &err));
	assert_int_equal(err.code, E_LIMIT);
	mem_free(text);
}

static void repeated_aliases_take_no_memory(void **state)
{
	/* The billion laughs: nine levels of ten. */
	struct yaml_doc *doc = parse("a: &a [x,x,x,x,x,x,x,x,x,x]\n"
				     "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
				     "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
				     "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
				     "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n");
	assert_int_equal(yaml_count(yaml_get(yaml_root(doc), "e")), 10);
	yaml_free(doc);
}

static void typed_reads_name_what_they_found(void **state)
{
	struct yaml_doc *doc =
		parse("i: 5\nq: \"5\"\nb: true\ny: yes\nf: 1.5\nl: [1]\nm: {a: b}\nn: ~\n"
		      "s: word\nh: 0x1f\nneg: -3\nbig: 99999999999999999999\nu: !!str 7\n");
	const struct yaml_node *root = yaml_root(doc);
	const char *s = NULL;
	int64_t i = 0;
	bool b = false;
	struct err err;
	static const struct {
		const char *key, *text;
	} not_strings[] = {
		{ "i", "expected string found int" },   { "b", "expected string found bool" },
		{ "f", "expected string found float" }, { "l", "expected string found list" },
		{ "m", "expected string found map" },   { "n", "expected string found nothing" },
	};

	for (size_t k = 0; k < ARRAY_LEN(not_strings); k++) {
		assert_int_equal(yaml_as_string(yaml_get(root, not_strings[k].key), &s, &err),
				 E_INVALID);
		assert_non_null(strstr(err.text, not_strings[k].text));
		assert_non_null(strstr(err.text, "config.yml:"));
	}
	assert_int_equal(yaml_as_string(yaml_get(root, "q"), &s, &err), 0);
	assert_string_equal(s, "5");
	assert_int_equal(yaml_as_string(yaml_get(root, "u"), &s, &err), 0);
	assert_int_equal(yaml_as_string(yaml_get(root, "y"), &s, &err), 0);
	assert_int_equal(yaml_as_bool(yaml_get(root, "y"), &b, &err), 0);
	assert_true(b);
	assert_int_equal(yaml_as_bool(yaml_get(root, "s"), &b, &err), E_INVALID);
	assert_non_null(strstr(err.text, "expected boolean found string"));
	assert_int_equal(yaml_as_int(yaml_get(root, "h"), 0, 100, &i, &err), 0);
	assert_int_equal(i, 31);
	assert_int_equal(yaml_as_int(yaml_get(root, "neg"), -5, 100, &i, &err), 0);
	assert_int_equal(i, -3);
	assert_int_equal(yaml_as_int(yaml_get(root, "neg"), 0, 100, &i, &err), E_INVALID);
	assert_non_null(strstr(err.text, "0 to 100 are allowed"));
	assert_int_equal(yaml_as_int(yaml_get(root, "q"), 0, 100, &i, &err), E_INVALID);
	assert_int_equal(yaml_as_int(yaml_get(root, "big"), 0, 100, &i, &err), E_INVALID);
	assert_int_equal(yaml_as_int(NULL, 0, 100, &i, &err), E_INVALID);
	yaml_free(doc);
}

static void durations_follow_go(void **state)
{
	static const struct {
		const char *text;
		usec value;
		const char *printed;
	} good[] = {
		{ "0", 0, "0s" },
		{ "30s", 30 * USEC_PER_SEC, "30s" },
		{ "1m30s", 90 * USEC_PER_SEC, "1m30s" },
		{ "24h0m0s", 86400 * USEC_PER_SEC, "24h0m0s" },
		{ "250ms", 250 * USEC_PER_MSEC, "250ms" },
		{ "1.5h", 5400 * USEC_PER_SEC, "1h30m0s" },
		{ ".5s", 500 * USEC_PER_MSEC, "500ms" },
		{ "1.25s", 1250 * USEC_PER_MSEC, "1.25s" },
		{ "10us", 10, "10\u00b5s" },
		{ "3\u00b5s", 3, "3\u00b5s" },
		{ "1500us", 1500, "1.5ms" },
		{ "999ns", 0, "0s" },
		{ "-5s", -5 * USEC_PER_SEC, "-5s" },
		{ "+5s", 5 * USEC_PER_SEC, "5s" },
		{ "1m0.05s", 60050 * USEC_PER_MSEC, "1m0.05s" },
	};
	static const char *const bad[] = { "",
					   "5",
					   "s",
					   "5x",
					   "5 s",
					   "s5",
					   "-",
					   ".",
					   ".s",
					   "1s ",
					   "1d",
					   "99999999999999999999s",
					   "9223372036854775807h" };
	char text[40];

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		usec d = -1;
		assert_true(duration_parse(bytes_str(good[i].text), &d));
		assert_int_equal(d, good[i].value);
		assert_string_equal(duration_text(d, text), good[i].printed);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		usec d = -1;
		assert_false(duration_parse(bytes_str(bad[i]), &d));
		assert_int_equal(d, -1);
	}
}

static void a_bare_number_is_no_duration_in_yaml_but_is_in_json(void **state)
{
	struct yaml_doc *doc = parse("a: 5\nb: 30s\nc: -5s\nd: 1.5\n");
	const struct yaml_node *root = yaml_root(doc);
	usec d = 0;
	struct err err;

	assert_int_equal(yaml_as_duration(yaml_get(root, "a"), false, &d, &err), E_INVALID);
	assert_string_equal(err.text,
			    "config.yml:1:4: cannot unmarshal !!int `5` into time.Duration");
	assert_int_equal(yaml_as_duration(yaml_get(root, "a"), true, &d, &err), 0);
	assert_int_equal(d, 5 * USEC_PER_SEC);
	assert_int_equal(yaml_as_duration(yaml_get(root, "b"), true, &d, &err), E_INVALID);
	assert_int_equal(yaml_as_duration(yaml_get(root, "b"), false, &d, &err), 0);
	assert_int_equal(d, 30 * USEC_PER_SEC);
	assert_int_equal(yaml_as_duration(yaml_get(root, "c"), false, &d, &err), E_INVALID);
	assert_int_equal(yaml_as_duration(yaml_get(root, "d"), true, &d, &err), E_INVALID);
	yaml_free(doc);
}

static void loads_a_file_and_says_when_there_is_none(void **state)
{
	struct err err;
	char path[] = "/tmp/adit-yaml-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	FILE *f = fdopen(fd, "w");
	assert_non_null(f);
	fputs("tunnel: t\n", f);
	fclose(f);
	struct yaml_doc *doc = yaml_load(path, &err);
	assert_non_null(doc);
	assert_string_equal(yaml_file_name(doc), path);
	yaml_free(doc);
	remove(path);
	assert_null(yaml_load(path, &err));
	assert_int_equal(err.code, E_NOT_FOUND);
	assert_null(yaml_load("/tmp", &err));
	assert_int_equal(err.code, E_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_config_with_places),
		cmocka_unit_test(reads_json),
		cmocka_unit_test(an_empty_document_has_no_root),
		cmocka_unit_test(aliases_share_and_merge_keys_merge),
		cmocka_unit_test(refuses_what_is_wrong_with_its_place),
		cmocka_unit_test(refuses_what_is_too_deep),
		cmocka_unit_test(refuses_what_is_too_large),
		cmocka_unit_test(repeated_aliases_take_no_memory),
		cmocka_unit_test(typed_reads_name_what_they_found),
		cmocka_unit_test(durations_follow_go),
		cmocka_unit_test(a_bare_number_is_no_duration_in_yaml_but_is_in_json),
		cmocka_unit_test(loads_a_file_and_says_when_there_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
