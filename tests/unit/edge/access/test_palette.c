#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "edge/access/palette.h"

static struct colour of(const char *text)
{
	struct colour c = { 0 };

	assert_true(colour_parse(text, &c));
	return c;
}

static void test_a_colour_is_six_hex_digits(void **state)
{
	static const char *const bad[] = { "",         "#",       "1f5f5b",     "#1f5f5",
					   "#1f5f5b0", "#1f5f5g", " #1f5f5b",   "#1f5f5b ",
					   "#fff",     "red",     "rgb(0,0,0)", "#12345;",
					   "#}body{" };
	struct colour c = of("#1F5f5B");

	(void)state;
	assert_int_equal(c.red, 0x1f);
	assert_int_equal(c.green, 0x5f);
	assert_int_equal(c.blue, 0x5b);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(colour_parse(bad[i], &c));
}

/* Values of WCAG's own examples and common checkers. */
static void test_contrast_is_that_of_wcag(void **state)
{
	(void)state;
	assert_true(colour_contrast(of("#000000"), of("#ffffff")) > 20.99);
	assert_true(colour_contrast(of("#123456"), of("#123456")) < 1.001);
	assert_true(colour_contrast(of("#767676"), of("#ffffff")) >= PALETTE_CONTRAST_MIN);
	assert_true(colour_contrast(of("#777777"), of("#ffffff")) < PALETTE_CONTRAST_MIN);
	assert_true(colour_contrast(of("#ffffff"), of("#767676")) >= PALETTE_CONTRAST_MIN);
}

static void test_the_sheet_has_these_colours_and_a_readable_alert(void **state)
{
	struct arena arena;
	const char *css;

	(void)state;
	arena_init(&arena);
	css = arena_strdup(&arena, palette_css(&arena, of("#FFFFFF"), of("#003366")));
	assert_non_null(strstr(css, "--page: #ffffff;"));
	assert_non_null(strstr(css, "--text: #003366;"));
	assert_non_null(strstr(css, "color-scheme: light"));
	css = arena_strdup(&arena, palette_css(&arena, of("#003366"), of("#ffffff")));
	assert_non_null(strstr(css, "color-scheme: dark"));
	assert_true(colour_contrast(of("#8c2318"), of("#fbe9e5")) >= PALETTE_CONTRAST_MIN);
	assert_true(colour_contrast(of("#ffb4a8"), of("#3a1d18")) >= PALETTE_CONTRAST_MIN);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_colour_is_six_hex_digits),
		cmocka_unit_test(test_contrast_is_that_of_wcag),
		cmocka_unit_test(test_the_sheet_has_these_colours_and_a_readable_alert),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
