#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/nearest.h"

static const char *const names[] = { "zone add", "zone list", "status", "run", "noTLSVerify" };

#define NEAREST(word) nearest_name(word, names, sizeof(names) / sizeof(names[0]))

static void a_slip_of_the_finger_is_near(void **state)
{
	assert_string_equal(NEAREST("statsu"), "status");
	assert_string_equal(NEAREST("zone ad"), "zone add");
	assert_string_equal(NEAREST("rum"), "run");
	assert_string_equal(NEAREST("rnu"), "run");
	assert_string_equal(NEAREST("zoen lits"), "zone list");
}

static void case_counts_nothing(void **state)
{
	assert_string_equal(NEAREST("notlsverify"), "noTLSVerify");
	assert_string_equal(NEAREST("STATUS"), "status");
}

static void another_word_is_near_to_nothing(void **state)
{
	assert_null(NEAREST("x"));
	assert_null(NEAREST("rest")); /* two letters of four are another word */
	assert_null(NEAREST(""));
	assert_null(NEAREST("completely different"));
	assert_null(NEAREST("a word that is much longer than any command we have"));
	assert_null(nearest_name("run", names, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slip_of_the_finger_is_near),
		cmocka_unit_test(case_counts_nothing),
		cmocka_unit_test(another_word_is_near_to_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
