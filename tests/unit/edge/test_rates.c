#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "edge/rates.h"
#include "io/loop.h"

static int64_t total;

static int64_t get_total(void *ctx)
{
	(void)ctx;
	return total;
}

static void a_rate_is_that_of_the_last_minute(void **state)
{
	struct loop *loop = loop_new(NULL);
	struct rates *r = rates_new(loop);
	usec now = clock_now();

	(void)state;
	total = 1000;
	rates_watch(r, "things", get_total, NULL);
	/* What was before it was watched counts for nothing. */
	assert_true(rates_of(r, "things", now + USEC_PER_SEC) == 0);
	assert_true(rates_of(r, "others", now) < 0);
	/* Ten per second for ten minutes, then nothing for one. */
	for (int i = 0; i < 120; i++) {
		now += 5 * USEC_PER_SEC;
		total += 50;
		rates_read(r, now);
	}
	assert_true(rates_of(r, "things", now) == 10);
	for (int i = 0; i < 6; i++)
		rates_read(r, now += 5 * USEC_PER_SEC);
	assert_true(rates_of(r, "things", now) == 5);
	for (int i = 0; i < 12; i++)
		rates_read(r, now += 5 * USEC_PER_SEC);
	assert_true(rates_of(r, "things", now) == 0);
	rates_free(r);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_rate_is_that_of_the_last_minute) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
