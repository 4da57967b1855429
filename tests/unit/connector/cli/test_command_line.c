#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "connector/cli/command.h"

#define MAX_WORDS 16

struct parsed {
	struct command_line line;
	struct settings settings;
	struct err err;
	int result;
};

/* "tunnel run --retries 3": blanks separate. */
static void parse(struct parsed *p, const char *text)
{
	static char words[1024];
	char *argv[MAX_WORDS] = { (char *)"adit" };
	int argc = 1;

	*p = (struct parsed){ 0 };
	snprintf(words, sizeof(words), "%s", text);
	for (char *at = words; *at && argc < MAX_WORDS; argc++) {
		argv[argc] = at;
		at += strcspn(at, " ");
		if (*at)
			*at++ = 0;
	}
	p->result = command_parse(argc, argv, &p->line, &p->settings, &p->err);
}

static void done(struct parsed *p)
{
	command_line_done(&p->line);
	settings_done(&p->settings);
}

static void words_choose_the_command_and_the_rest_are_arguments(void **state)
{
	static const struct {
		const char *text, *name;
		size_t arg_count;
	} cases[] = {
		{ "", "", 0 },
		{ "version", "version", 0 },
		{ "login", "login", 0 },
		{ "tunnel", "tunnel", 0 },
		{ "tunnel create my-tunnel", "tunnel create", 1 },
		{ "tunnel route dns t h.example.com", "tunnel route dns", 2 },
		{ "tunnel delete create list", "tunnel delete", 2 },
		{ "tunnel run -- -x", "tunnel run", 1 },
		{ "tunnel run -", "tunnel run", 1 },
		{ "tunnel ingress rule https://a/b", "tunnel ingress rule", 1 },
		/* A command that has others below it. */
		{ "tunnel route port t tcp://:22 h.example.com", "tunnel route port", 3 },
		{ "tunnel route port", "tunnel route port", 0 },
		{ "tunnel route port list", "tunnel route port list", 0 },
		{ "tunnel route port delete tcp://:22", "tunnel route port delete", 1 },
	};
	struct parsed p;
	char name[128];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		parse(&p, cases[i].text);
		assert_int_equal(p.result, 0);
		assert_string_equal(command_name(&p.line, name, sizeof(name)), cases[i].name);
		assert_int_equal(p.line.arg_count, cases[i].arg_count);
		assert_null(p.line.unknown);
		done(&p);
	}
}

static void unknown_commands_are_named(void **state)
{
	struct parsed p;

	parse(&p, "tunnel nosuch thing");
	assert_int_equal(p.result, 0);
	assert_string_equal(p.line.unknown, "nosuch");
	done(&p);
	parse(&p, "nosuch login");
	assert_string_equal(p.line.unknown, "nosuch");
	done(&p);
}

static void commands_have_other_names(void **state)
{
	static const char *const texts[] = {
		"access tcp", "access ssh",  "access rdp",
		"access smb", "forward tcp", "forward ssh",
	};
	struct parsed p;
	char name[128];

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		parse(&p, texts[i]);
		assert_int_equal(p.result, 0);
		assert_string_equal(command_name(&p.line, name, sizeof(name)), "access tcp");
		done(&p);
	}
}

static void some_commands_take_flags_of_other_programs(void **state)
{
	struct parsed p;
	char name[128];

	parse(&p, "access curl https://h -sS --help -o out");
	assert_int_equal(p.result, 0);
	assert_string_equal(command_name(&p.line, name, sizeof(name)), "access curl");
	assert_int_equal(p.line.arg_count, 5);
	assert_string_equal(p.line.args[1], "-sS");
	assert_false(p.line.is_help);
	done(&p);
}

static void a_comma_is_part_of_a_header(void **state)
{
	struct parsed p;
	char *const *texts;

	parse(&p, "access tcp -H A:1,2 --header B:3");
	assert_int_equal(p.result, 0);
	assert_int_equal(settings_list(&p.settings, FLAG_ACCESS_HEADER, &texts), 2);
	assert_string_equal(texts[0], "A:1,2");
	assert_string_equal(texts[1], "B:3");
	done(&p);
}

static void flags_stand_before_and_behind_the_command(void **state)
{
	static const char *const texts[] = {
		"--api-url U tunnel list", "tunnel --api-url U list", "tunnel list --api-url U",
		"tunnel list -api-url=U",  "tunnel list --api-url=U",
	};
	struct parsed p;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		parse(&p, texts[i]);
		assert_int_equal(p.result, 0);
		assert_string_equal(settings_text(&p.settings, FLAG_API_URL), "U");
		done(&p);
	}
	parse(&p,
	      "tunnel run my-tunnel --edge a:1 -edge=b:2,c:3 --no-tls-verify --retries=7 -p http2");
	assert_int_equal(p.result, 0);
	char *const *edges;
	assert_int_equal(settings_list(&p.settings, FLAG_EDGE, &edges), 3);
	assert_string_equal(edges[2], "c:3");
	assert_true(settings_bool(&p.settings, FLAG_NO_TLS_VERIFY));
	assert_int_equal(settings_int(&p.settings, FLAG_RETRIES), 7);
	assert_string_equal(settings_text(&p.settings, FLAG_PROTOCOL), "http2");
	assert_string_equal(p.line.args[0], "my-tunnel");
	done(&p);
}

static void a_commands_own_flag_hides_the_global_one(void **state)
{
	struct parsed p;

	parse(&p, "--output json tunnel list --output yaml -n x -np y -rd");
	assert_int_equal(p.result, 0);
	assert_string_equal(settings_text(&p.settings, FLAG_LOG_OUTPUT), "json");
	assert_string_equal(settings_text(&p.settings, FLAG_RENDER), "yaml");
	assert_string_equal(settings_text(&p.settings, FLAG_LIST_NAME), "x");
	assert_string_equal(settings_text(&p.settings, FLAG_LIST_NAME_PREFIX), "y");
	assert_true(settings_bool(&p.settings, FLAG_SHOW_DISCONNECTED));
	done(&p);
	/* -o is the listing's and nobody else's. */
	parse(&p, "-o json tunnel list");
	assert_int_equal(p.result, E_INVALID);
	done(&p);
}

static void refuses_what_no_flag_takes(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "tunnel list --nosuch", "flag provided but not defined: -nosuch" },
		{ "tunnel list --outptu json",
		  "flag provided but not defined: -outptu; did you mean --output?" },
		{ "tunnel list -x=1", "flag provided but not defined: -x" },
		{ "tunnel list --token t", "flag provided but not defined: -token" },
		{ "tunnel run --retries", "flag needs an argument: -retries" },
		{ "tunnel run --retries x", "invalid value \"x\" for flag -retries: parse error" },
		{ "tunnel run --retries -1", "invalid value \"-1\" for flag -retries: parse error" },
		{ "tunnel run --grace-period 5",
		  "invalid value \"5\" for flag -grace-period: parse error" },
		{ "tunnel run --no-tls-verify=maybe",
		  "invalid value \"maybe\" for flag -no-tls-verify: parse error" },
	};
	struct parsed p;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		parse(&p, cases[i].text);
		assert_int_equal(p.result, E_INVALID);
		assert_string_equal(p.err.text, cases[i].message);
		done(&p);
	}
}

static void help_is_found_at_every_level(void **state)
{
	static const struct {
		const char *text, *name;
	} cases[] = {
		{ "--help", "" },
		{ "help", "" },
		{ "tunnel -h", "tunnel" },
		{ "help tunnel create", "tunnel create" },
		{ "tunnel help run", "tunnel run" },
		{ "tunnel create -h", "tunnel create" },
		{ "tunnel route dns --help", "tunnel route dns" },
	};
	struct parsed p;
	char name[128];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		parse(&p, cases[i].text);
		assert_int_equal(p.result, 0);
		assert_true(p.line.is_help);
		assert_string_equal(command_name(&p.line, name, sizeof(name)), cases[i].name);
		done(&p);
	}
}

/* ------------------------------------------------------------------------------------------ */

static void command_line_wins_over_environment_over_file_over_default(void **state)
{
	struct settings s = { 0 };
	struct err err = { 0 };
	struct yaml_doc *doc = yaml_parse(BYTES_LIT("retries: 3\nlabel: file\ngrace-period: 10s\n"
						    "no-tls-verify: true\nedge: [a:1, b:2]\n"
						    "loglevel: debug\n"),
					  "c.yml", &err);
	static const enum flag_id all[] = { FLAG_RETRIES,       FLAG_LABEL, FLAG_GRACE_PERIOD,
					    FLAG_NO_TLS_VERIFY, FLAG_EDGE,  FLAG_LOGLEVEL,
					    FLAG_PROTOCOL };

	setenv("TUNNEL_RETRIES", "9", 1);
	setenv("TUNNEL_LOGLEVEL", "warn", 1);
	assert_int_equal(settings_add(&s, FLAG_LOGLEVEL, "error", &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		assert_int_equal(settings_add_env(&s, all[i], &err), 0);
		assert_int_equal(settings_add_key(&s, all[i], yaml_root(doc), &err), 0);
	}
	assert_string_equal(settings_text(&s, FLAG_LOGLEVEL), "error");
	assert_int_equal(settings_int(&s, FLAG_RETRIES), 9);
	assert_string_equal(settings_text(&s, FLAG_LABEL), "file");
	assert_int_equal(settings_duration(&s, FLAG_GRACE_PERIOD), 10 * USEC_PER_SEC);
	assert_true(settings_bool(&s, FLAG_NO_TLS_VERIFY));
	char *const *edges;
	assert_int_equal(settings_list(&s, FLAG_EDGE, &edges), 2);
	assert_string_equal(settings_text(&s, FLAG_PROTOCOL), "auto");
	assert_false(settings_is_set(&s, FLAG_PROTOCOL));
	assert_true(settings_is_set(&s, FLAG_LABEL));
	unsetenv("TUNNEL_RETRIES");
	unsetenv("TUNNEL_LOGLEVEL");
	settings_done(&s);
	yaml_free(doc);
}

static void zero_values_of_the_file_count_for_nothing(void **state)
{
	struct settings s = { 0 };
	struct err err = { 0 };
	struct yaml_doc *doc = yaml_parse(
		BYTES_LIT("retries: 0\nlabel: ''\nno-tls-verify: false\ngrace-period: 0s\n"),
		"c.yml", &err);
	static const enum flag_id all[] = { FLAG_RETRIES, FLAG_LABEL, FLAG_NO_TLS_VERIFY,
					    FLAG_GRACE_PERIOD };

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		assert_int_equal(settings_add_key(&s, all[i], yaml_root(doc), &err), 0);
		assert_false(settings_is_set(&s, all[i]));
	}
	assert_int_equal(settings_int(&s, FLAG_RETRIES), 5);
	settings_done(&s);
	yaml_free(doc);
}

static void wrong_types_in_the_file_name_place_and_key(void **state)
{
	static const struct {
		const char *text;
		enum flag_id id;
		const char *message;
	} cases[] = {
		{ "label: 5\n", FLAG_LABEL, "c.yml:1:8: expected string found int for label" },
		{ "retries: x\n", FLAG_RETRIES,
		  "c.yml:1:10: expected int found string for retries" },
		{ "grace-period: 5\n", FLAG_GRACE_PERIOD,
		  "c.yml:1:15: cannot unmarshal !!int `5` into time.Duration for grace-period" },
		{ "edge: [1]\n", FLAG_EDGE, "c.yml:1:8: expected string found int for edge" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct settings s = { 0 };
		struct err err = { 0 };
		struct yaml_doc *doc = yaml_parse(bytes_str(cases[i].text), "c.yml", &err);
		assert_int_equal(settings_add_key(&s, cases[i].id, yaml_root(doc), &err), E_INVALID);
		assert_string_equal(err.text, cases[i].message);
		settings_done(&s);
		yaml_free(doc);
	}
}

static void a_bad_environment_variable_is_named_but_no_secret(void **state)
{
	struct settings s = { 0 };
	struct err err = { 0 };

	setenv("TUNNEL_RETRIES", "many", 1);
	assert_int_equal(settings_add_env(&s, FLAG_RETRIES, &err), E_INVALID);
	assert_string_equal(err.text,
			    "could not parse \"many\" as the value of flag retries from environment "
			    "variable \"TUNNEL_RETRIES\"");
	unsetenv("TUNNEL_RETRIES");
	settings_done(&s);
}

static void the_table_is_consistent(void **state)
{
	struct err err;

	for (size_t i = 0; i < FLAG_COUNT; i++) {
		const struct flag *flag = flag_get((enum flag_id)i);
		assert_non_null(flag->name);
		assert_non_null(flag->help);
		if (flag->preset && flag_check((enum flag_id)i, flag->preset, &err) != 0)
			fail_msg("%s: bad default", flag->name);
		/* Two keys of the file cannot have one name. */
		for (size_t k = 0; flag->is_key && k < i; k++)
			if (flag_get((enum flag_id)k)->is_key)
				assert_string_not_equal(flag_get((enum flag_id)k)->name, flag->name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_choose_the_command_and_the_rest_are_arguments),
		cmocka_unit_test(unknown_commands_are_named),
		cmocka_unit_test(commands_have_other_names),
		cmocka_unit_test(some_commands_take_flags_of_other_programs),
		cmocka_unit_test(a_comma_is_part_of_a_header),
		cmocka_unit_test(flags_stand_before_and_behind_the_command),
		cmocka_unit_test(a_commands_own_flag_hides_the_global_one),
		cmocka_unit_test(refuses_what_no_flag_takes),
		cmocka_unit_test(help_is_found_at_every_level),
		cmocka_unit_test(command_line_wins_over_environment_over_file_over_default),
		cmocka_unit_test(zero_values_of_the_file_count_for_nothing),
		cmocka_unit_test(wrong_types_in_the_file_name_place_and_key),
		cmocka_unit_test(a_bad_environment_variable_is_named_but_no_secret),
		cmocka_unit_test(the_table_is_consistent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
