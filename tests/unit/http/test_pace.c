#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/pace.h"

static void slow_for_all_looks_in_a_row_is_lost(void **state)
{
	struct pace p = { 0 };

	(void)state;
	assert_false(pace_is_lost(&p, true, 0, 100));
	for (unsigned i = 1; i < PACE_LOOKS; i++)
		assert_false(pace_is_lost(&p, true, i, 100));
	assert_true(pace_is_lost(&p, true, PACE_LOOKS, 100));
}

static void once_fast_enough_begins_anew(void **state)
{
	struct pace p = { 0 };
	uint64_t total = 0;

	(void)state;
	for (int i = 0; i < 100; i++) {
		total += i % PACE_LOOKS == PACE_LOOKS - 1 ? 100 : 1;
		assert_false(pace_is_lost(&p, true, total, 100));
	}
}

static void a_silence_in_which_nobody_waits_is_none(void **state)
{
	struct pace p = { 0 };

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_false(pace_is_lost(&p, false, 0, 100));
	/* Waiting at every other look is not waiting all the time. */
	for (int i = 0; i < 100; i++)
		assert_false(pace_is_lost(&p, i % 2, 0, 100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_for_all_looks_in_a_row_is_lost),
		cmocka_unit_test(once_fast_enough_begins_anew),
		cmocka_unit_test(a_silence_in_which_nobody_waits_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
