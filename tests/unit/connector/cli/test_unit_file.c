/* What units and scripts of init systems start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/check.h"
#include "connector/cli/unit_file.h"

#define PROGRAM "cloudflared"

static void takes_words_and_variables_of_a_unit(void **state)
{
	static const char text[] = "[Service]\n"
				   "# ExecStart=/usr/bin/cloudflared no\n"
				   "Environment=\"A=one two\" B=2\n"
				   "Environment=C='x y' nothing\n"
				   "EnvironmentFile=-/etc/default/cloudflared\n"
				   "LoadCredential=token:/etc/cloudflared/token\n"
				   "ExecStart=-/opt/bin/cloudflared-linux-amd64 tunnel \\\n"
				   "  run --token \"a\\\"b\" 'c d'\n"
				   "ExecStart=/usr/bin/cloudflared second\n";
	static const char *const words[] = {
		"/opt/bin/cloudflared-linux-amd64", "tunnel", "run", "--token", "a\"b", "c d"
	};
	struct unit_file u;

	(void)state;
	assert_true(unit_file_parse(bytes_str(text), PROGRAM, &u));
	assert_int_equal(u.word_count, ARRAY_LEN(words));
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		assert_string_equal(u.words[i], words[i]);
	assert_null(u.words[u.word_count]);
	assert_int_equal(u.variable_count, 3);
	assert_string_equal(u.variables[0], "A=one two");
	assert_string_equal(u.variables[1], "B=2");
	assert_string_equal(u.variables[2], "C=x y");
	assert_string_equal(u.variable_file, "/etc/default/cloudflared");
	assert_string_equal(u.credential_name, "token");
	assert_string_equal(u.credential_path, "/etc/cloudflared/token");
	unit_file_variables(&u, BYTES_LIT("# no\nD=\"4 5\"\n\nE=6"));
	assert_int_equal(u.variable_count, 5);
	assert_string_equal(u.variables[3], "D=4 5");
	assert_string_equal(u.variables[4], "E=6");
	unit_file_done(&u);
}

static void takes_the_command_of_a_script(void **state)
{
	struct unit_file u;

	(void)state;
	assert_true(unit_file_parse(
		BYTES_LIT("name=x\ncmd=\"/usr/bin/cloudflared --config /a tunnel run\"\n"), PROGRAM,
		&u));
	assert_int_equal(u.word_count, 5);
	assert_string_equal(u.words[2], "/a");
	unit_file_done(&u);
}

static void finds_the_program_behind_others(void **state)
{
	struct unit_file u;

	(void)state;
	assert_true(unit_file_parse(BYTES_LIT("ExecStart=/usr/bin/env X=1 cloudflared tunnel"),
				    PROGRAM, &u));
	assert_int_equal(u.word_count, 2);
	unit_file_done(&u);
	assert_false(unit_file_parse(BYTES_LIT("ExecStart=/usr/bin/cloudflaredish tunnel"), PROGRAM,
				     &u));
	unit_file_done(&u);
	assert_false(unit_file_parse(BYTES_LIT(""), PROGRAM, &u));
	unit_file_done(&u);
}

static void bounds_what_it_takes(void **state)
{
	char text[2048] = "ExecStart=cloudflared";
	struct unit_file u;

	(void)state;
	for (size_t i = strlen(text); i + 3 < sizeof(text); i += 2)
		memcpy(text + i, " a", 3);
	assert_true(unit_file_parse(bytes_str(text), PROGRAM, &u));
	assert_int_equal(u.word_count, UNIT_WORDS_MAX);
	unit_file_done(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_words_and_variables_of_a_unit),
		cmocka_unit_test(takes_the_command_of_a_script),
		cmocka_unit_test(finds_the_program_behind_others),
		cmocka_unit_test(bounds_what_it_takes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
