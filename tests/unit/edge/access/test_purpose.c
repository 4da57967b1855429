/* What people type as their reason, made fit for a log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "edge/access/purpose.h"

static struct arena arena;

static int start(void **state)
{
	(void)state;
	arena_init(&arena);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	arena_done(&arena);
	return 0;
}

static void a_reason_is_one_line(void **state)
{
	static const char *const cases[][2] = {
		{ "Ticket 17", "Ticket 17" },
		{ "  Ticket 17\r\n", "Ticket 17" },
		{ "one\r\n\r\ntwo\tthree", "one two three" },
		{ "<script>alert('1')</script>", "<script>alert('1')</script>" },
		{ "Wartung der Bücher, 保守", "Wartung der Bücher, 保守" },
		{ "a\x1b[31mred", "a [31mred" },
		{ "a\xc2\x9b"
		  "31m",
		  "a 31m" },
		{ "a\xe2\x80\xae"
		  "b\xe2\x81\xa6"
		  "c\xe2\x80\xa8"
		  "d",
		  "a b c d" },
		{ "\xe2\x80\x9equoted\xe2\x80\x9c", "\xe2\x80\x9equoted\xe2\x80\x9c" },
	};
	struct bytes line;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_true(purpose_clean(bytes_str(cases[i][0]), &arena, &line));
		assert_true(bytes_eq(line, bytes_str(cases[i][1])));
	}
}

static void a_page_shows_text_only(void **state)
{
	(void)state;
	assert_true(purpose_is_text(BYTES_NONE));
	assert_true(purpose_is_text(BYTES_LIT("<b>\x1b")));
	assert_false(purpose_is_text(BYTES_LIT("\xff")));
}

static void what_says_nothing_is_none(void **state)
{
	static const char *const cases[] = { "",     " ",        "\r\n\t",      "\x7f",
					     "\xff", "a\xc2",    "\xe2\x80",    "\xed\xa0\x80",
					     "\xc2", "\xc2\x9b", "\xe2\x80\xae" };
	char long_text[PURPOSE_BYTES_MAX + 2];
	struct bytes line;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_false(purpose_clean(bytes_str(cases[i]), &arena, &line));
	memset(long_text, 'x', sizeof(long_text));
	assert_true(purpose_clean(bytes_of(long_text, PURPOSE_BYTES_MAX), &arena, &line));
	assert_false(purpose_clean(bytes_of(long_text, PURPOSE_BYTES_MAX + 1), &arena, &line));
	/* The end may be anywhere in a character. */
	assert_false(purpose_clean(bytes_of("a\xe2\x80\xae", 3), &arena, &line));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reason_is_one_line),
		cmocka_unit_test(a_page_shows_text_only),
		cmocka_unit_test(what_says_nothing_is_none),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
