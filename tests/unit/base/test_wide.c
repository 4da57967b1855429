#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/random.h"
#include "base/wide.h"

static void check(uint64_t a, uint64_t b)
{
	uint64_t upper, upper_of_halves;

	assert_true(wide_multiply(a, b, &upper) == wide_multiply_halves(a, b, &upper_of_halves));
	assert_true(upper == upper_of_halves);
}

static void both_ways_say_the_same(void **state)
{
	static const uint64_t edges[] = { 0,          1,           2,
					  UINT32_MAX, 1ULL << 32,  (1ULL << 32) + 1,
					  1ULL << 63, UINT64_MAX,  UINT64_MAX - 1,
					  INT64_MAX,  0x123456789, 0xfedcba9876543210 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(edges); i++)
		for (size_t k = 0; k < ARRAY_LEN(edges); k++)
			check(edges[i], edges[k]);
	for (int i = 0; i < 10000; i++) {
		uint64_t random[2];

		random_bytes(random, sizeof(random));
		check(random[0], random[1]);
	}
}

static void the_upper_half_is_what_overflows(void **state)
{
	uint64_t upper;

	(void)state;
	assert_true(wide_multiply(1ULL << 40, 1ULL << 30, &upper) == 0 && upper == 1ULL << 6);
	assert_true(wide_multiply(3, 5, &upper) == 15 && upper == 0);
	assert_true(wide_multiply(UINT64_MAX, UINT64_MAX, &upper) == 1 && upper == UINT64_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways_say_the_same),
		cmocka_unit_test(the_upper_half_is_what_overflows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
