#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "connector/ingress/path_regex.h"

static int search(const char *pattern, const char *path)
{
	struct err err = { 0 };
	struct path_regex *re = path_regex_compile(pattern, &err);

	if (!re)
		fail_msg("%s", err.text);
	int r = path_regex_search(re, bytes_str(path));
	path_regex_free(re);
	return r;
}

static void means_what_go_means(void **state)
{
	static const struct {
		const char *pattern, *path;
		int found;
	} cases[] = {
		{ "/api", "/v1/api/x", 1 },
		{ "^/api", "/v1/api", 0 },
		{ "\\.(jpg|png|css|js)$", "/a/b.png", 1 },
		{ "a$", "a\n", 0 },
		{ "(?m)^b", "a\nb", 1 },
		{ "(?i)ABC", "xabcx", 1 },
		{ "(?i:a)B", "aB", 1 },
		{ "(?i:a)B", "ab", 0 },
		{ "^(?P<year>[0-9]{4})/(?<month>\\d{2})$", "2026/11", 1 },
		{ "^\\s$", "\v", 0 },
		{ "^\\v$", "\v", 1 },
		{ "^[\\S]$", "\v", 1 },
		{ "a{,2}", "a{,2}", 1 },
		{ "a{,2}", "aa", 0 },
		{ "^(?:a|b){2,3}?$", "aba", 1 },
		{ "\\Qa.b\\E+$", "a.bbb", 1 },
		{ "\\Qa.b", "axb", 0 },
		{ "^\xc3\xa9+$", "\xc3\xa9\xc3\xa9", 1 },
		{ "^\\x{e9}$", "\xc3\xa9", 1 },
		{ "^[]a]+$", "]a", 1 },
		{ "^[^]a]$", "]", 0 },
		{ "^[[:alpha:]_-]+$", "ab_-", 1 },
		{ "^[a\\-z]$", "b", 0 },
		{ "^[[a]$", "[", 1 },
		{ "\\101\\x42", "AB", 1 },
		{ "^.$", "\n", 0 },
		{ "(?s)^.$", "\n", 1 },
		{ "^*a", "a", 1 },
		{ "^/a b#c$", "/a b#c", 1 },
		{ "", "anything", 1 },
		{ "x|", "", 1 },
		{ "\\Aab\\z", "ab", 1 },
		{ "\\bb\\b", "a b c", 1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (search(cases[i].pattern, cases[i].path) != cases[i].found)
			fail_msg("%s on %s", cases[i].pattern, cases[i].path);
}

static void refuses_what_re2_does_not_have(void **state)
{
	static const struct {
		const char *pattern, *text;
	} cases[] = {
		{ "a(?=b)", "invalid or unsupported Perl syntax: `(?=`" },
		{ "a(?!b)", "invalid or unsupported Perl syntax: `(?!`" },
		{ "(?<=a)b", "invalid or unsupported Perl syntax: `(?<`" },
		{ "(?<!a)b", "invalid or unsupported Perl syntax: `(?<`" },
		{ "(?>a)", "invalid or unsupported Perl syntax: `(?>`" },
		{ "(?|a)", "invalid or unsupported Perl syntax: `(?|`" },
		{ "(?#a)", "invalid or unsupported Perl syntax: `(?#`" },
		{ "(?R)", "invalid or unsupported Perl syntax: `(?R`" },
		{ "(?1)", "invalid or unsupported Perl syntax: `(?1`" },
		{ "(?C1)", "invalid or unsupported Perl syntax: `(?C`" },
		{ "(?x) a", "invalid or unsupported Perl syntax: `(?x`" },
		{ "(?P=n)", "invalid or unsupported Perl syntax: `(?P`" },
		{ "(*ACCEPT)", "missing argument to repetition operator: `*`" },
		{ "(a)\\1", "invalid escape sequence: `\\1`" },
		{ "\\k<n>", "invalid escape sequence: `\\k`" },
		{ "\\Z", "invalid escape sequence: `\\Z`" },
		{ "\\R", "invalid escape sequence: `\\R`" },
		{ "\\K", "invalid escape sequence: `\\K`" },
		{ "\\C", "invalid escape sequence: `\\C`" },
		{ "a++", "invalid nested repetition operator: `++`" },
		{ "a**", "invalid nested repetition operator: `**`" },
		{ "a{2}{3}", "invalid nested repetition operator: `{2}{3}`" },
		{ "*a", "missing argument to repetition operator: `*`" },
		{ "a|+", "missing argument to repetition operator: `+`" },
		{ "a{1001}", "invalid repeat count: `{1001}`" },
		{ "a{2,1}", "invalid repeat count: `{2,1}`" },
		{ "(a", "missing closing ): `(a`" },
		{ "a)", "unexpected ): `a)`" },
		{ "[a", "missing closing ]: `[a`" },
		{ "[]", "missing closing ]: `[]`" },
		{ "[z-a]", "invalid character class range: `z-a`" },
		{ "[[:foo:]]", "invalid character class range: `[:foo:]`" },
		{ "a\\", "trailing backslash at end of expression: ``" },
		{ "\\x{110000}", "invalid escape sequence: `\\x{110000`" },
		{ "\\x4", "invalid escape sequence: `\\x4`" },
		{ "(?P<n", "invalid named capture: `(?P<n`" },
		{ "(?P<a b>x)", "invalid named capture: `(?P<a b>`" },
		{ "\\pL", "Unicode classes are not supported: `\\p`" },
		{ "[\xc3\xa9]", "characters beyond ASCII are not supported in a class: `\xc3\xa9`" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { 0 };
		char expected[256];
		snprintf(expected, sizeof(expected), "error parsing regexp: %s", cases[i].text);
		assert_null(path_regex_compile(cases[i].pattern, &err));
		assert_string_equal(err.text, expected);
		assert_int_equal(err.code, E_INVALID);
	}
}

static void bounds_its_own_work(void **state)
{
	char deep[2001], path[4000];
	struct err err;

	memset(deep, '(', 1000);
	memset(deep + 1000, ')', 1000);
	deep[2000] = 0;
	assert_null(path_regex_compile(deep, &err));
	assert_null(path_regex_compile("((((a{1000}){1000}){1000}){1000})", &err));
	memset(path, 'a', sizeof(path));
	path[sizeof(path) - 1] = 0;
	assert_int_equal(search("(a|a)*[bc]", path), E_LIMIT);
	assert_int_equal(search("(a*)*[bc]", path), E_LIMIT);
	assert_int_equal(search(".*x", path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(means_what_go_means),
		cmocka_unit_test(refuses_what_re2_does_not_have),
		cmocka_unit_test(bounds_its_own_work),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
