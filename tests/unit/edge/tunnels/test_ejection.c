/* When a replica is out for a host, and how it comes back. Times are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/limits.h"
#include "base/random.h"
#include "edge/tunnels/ejection.h"

enum { HOST = 12345, OTHER = 67890 };

static struct ejections e;
static usec now;

static int start(void **state)
{
	memset(&e, 0, sizeof(e));
	now = 1000 * USEC_PER_SEC;
	return 0;
}

static void pass_ms(int64_t ms)
{
	now += ms * USEC_PER_MSEC;
}

/* The last of them is the one that counts. */
static bool fail_often(int times)
{
	bool is_out = false;

	for (int i = 0; i < times; i++)
		is_out = ejection_failed(&e, HOST, now, false, true);
	return is_out;
}

static void nothing_is_known_at_first(void **state)
{
	assert_true(ejection_is_idle(&e));
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_NONE);
	assert_false(ejection_claim(&e, HOST, now));
	assert_false(ejection_answered(&e, HOST, false));
	assert_int_equal(ejection_look(&e, 0, now), EJECTION_NONE);
}

static void so_many_failures_in_a_row_are_enough(void **state)
{
	assert_false(fail_often(LIMIT_EJECT_FAILURES - 1));
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_NONE);
	assert_true(fail_often(1));
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_OUT);
	assert_int_equal(ejection_look(&e, OTHER, now), EJECTION_NONE);
	assert_false(ejection_is_idle(&e));
}

static void an_answer_in_between_starts_the_count_anew(void **state)
{
	fail_often(LIMIT_EJECT_FAILURES - 1);
	assert_false(ejection_answered(&e, HOST, false));
	assert_true(ejection_is_idle(&e));
	assert_false(fail_often(LIMIT_EJECT_FAILURES - 1));
	assert_true(fail_often(1));
}

static void rare_failures_do_not_add_up(void **state)
{
	for (int i = 0; i < 100; i++) {
		assert_false(fail_often(LIMIT_EJECT_FAILURES - 1));
		pass_ms(LIMIT_EJECT_WINDOW_MS + 1);
	}
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_NONE);
}

static void the_last_one_stays(void **state)
{
	for (int i = 0; i < 100; i++)
		assert_false(ejection_failed(&e, HOST, now, false, false));
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_NONE);
	/* Until somebody else is there. */
	assert_true(ejection_failed(&e, HOST, now, false, true));
}

static void one_probe_at_a_time_may_try(void **state)
{
	fail_often(LIMIT_EJECT_FAILURES);
	pass_ms(LIMIT_EJECT_MS - 1);
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_OUT);
	assert_false(ejection_claim(&e, HOST, now));
	pass_ms(1);
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_DUE);
	assert_true(ejection_claim(&e, HOST, now));
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_OUT);
	assert_false(ejection_claim(&e, HOST, now));
	assert_true(ejection_answered(&e, HOST, true));
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_NONE);
	assert_true(ejection_is_idle(&e));
}

static void a_probe_nobody_hears_of_is_followed_by_another(void **state)
{
	fail_often(LIMIT_EJECT_FAILURES);
	pass_ms(LIMIT_EJECT_MS);
	assert_true(ejection_claim(&e, HOST, now));
	pass_ms(LIMIT_EJECT_PROBE_MS - 1);
	assert_false(ejection_claim(&e, HOST, now));
	pass_ms(1);
	assert_true(ejection_claim(&e, HOST, now));
}

static void the_time_grows_and_is_bounded(void **state)
{
	int64_t wait = LIMIT_EJECT_MS;

	fail_often(LIMIT_EJECT_FAILURES);
	for (int i = 0; i < 100; i++) {
		pass_ms(wait - 1);
		assert_int_equal(ejection_look(&e, HOST, now), EJECTION_OUT);
		pass_ms(1);
		assert_true(ejection_claim(&e, HOST, now));
		assert_true(ejection_failed(&e, HOST, now, true, true));
		wait = wait * 2 < LIMIT_EJECT_MAX_MS ? wait * 2 : LIMIT_EJECT_MAX_MS;
	}
	assert_int_equal(wait, LIMIT_EJECT_MAX_MS);
	/* Once well it starts from the beginning. */
	pass_ms(wait);
	assert_true(ejection_claim(&e, HOST, now));
	assert_true(ejection_answered(&e, HOST, true));
	fail_often(LIMIT_EJECT_FAILURES);
	pass_ms(LIMIT_EJECT_MS);
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_DUE);
}

static void what_was_under_way_when_it_went_out_says_nothing(void **state)
{
	fail_often(LIMIT_EJECT_FAILURES);
	assert_false(fail_often(50));
	assert_false(ejection_answered(&e, HOST, false));
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_OUT);
	pass_ms(LIMIT_EJECT_MS);
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_DUE);
}

/* All were out, and somebody had to be asked. */
static void an_answer_to_who_asked_all_the_same_counts(void **state)
{
	fail_often(LIMIT_EJECT_FAILURES);
	assert_false(ejection_failed(&e, HOST, now, true, false));
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_OUT);
	assert_true(ejection_answered(&e, HOST, true));
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_NONE);
}

static void hosts_beyond_the_table_are_never_out(void **state)
{
	for (uint64_t host = 0; host < 10000; host++)
		for (int i = 0; i < LIMIT_EJECT_FAILURES; i++)
			ejection_failed(&e, host * 7919, now, false, true);
	int out = 0;
	for (uint64_t host = 0; host < 10000; host++)
		out += ejection_look(&e, host * 7919, now) == EJECTION_OUT;
	assert_in_range(out, EJECTION_SLOTS / 2, EJECTION_SLOTS);
	/* Those that nobody visits any more make room. */
	pass_ms(11 * LIMIT_EJECT_MAX_MS);
	assert_true(fail_often(LIMIT_EJECT_FAILURES));
	assert_int_equal(ejection_look(&e, HOST, now), EJECTION_OUT);
}

static void *hammer(void *arg)
{
	int *claims = arg;

	for (int i = 0; i < 20000; i++) {
		uint64_t host = random_below(200);
		usec at = now + (usec)random_below(100) * USEC_PER_SEC;
		if (ejection_claim(&e, host, at)) {
			(*claims)++;
			if (random_below(2))
				ejection_failed(&e, host, at, true, true);
			else
				ejection_answered(&e, host, true);
		}
		if (random_below(3))
			ejection_failed(&e, host, at, false, true);
		else
			ejection_answered(&e, host, false);
		(void)ejection_look(&e, host, at);
	}
	return NULL;
}

static void many_threads_may_judge_at_once(void **state)
{
	pthread_t threads[4];
	int claims[4] = { 0 };

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, hammer, &claims[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (uint64_t host = 0; host < 200; host++)
		ejection_answered(&e, host, true);
	unsigned used = 0;
	for (int i = 0; i < EJECTION_SLOTS; i++)
		used += atomic_load(&e.slots[i].word) != 0;
	assert_int_equal(atomic_load(&e.used), used);
	assert_true(claims[0] + claims[1] + claims[2] + claims[3] > 0);
}

#define TIMED(test) cmocka_unit_test_setup(test, start)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TIMED(nothing_is_known_at_first),
		TIMED(so_many_failures_in_a_row_are_enough),
		TIMED(an_answer_in_between_starts_the_count_anew),
		TIMED(rare_failures_do_not_add_up),
		TIMED(the_last_one_stays),
		TIMED(one_probe_at_a_time_may_try),
		TIMED(a_probe_nobody_hears_of_is_followed_by_another),
		TIMED(the_time_grows_and_is_bounded),
		TIMED(what_was_under_way_when_it_went_out_says_nothing),
		TIMED(an_answer_to_who_asked_all_the_same_counts),
		TIMED(hosts_beyond_the_table_are_never_out),
		TIMED(many_threads_may_judge_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
