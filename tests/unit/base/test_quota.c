#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "base/quota.h"

#define SEC USEC_PER_SEC

static const struct quota_limit three_at_once = { .at_once = 3 };
static const struct quota_limit ten_per_sec = { .per_sec = 10, .burst_sec = 2 };

static struct quota *hold(struct quota_table *t, unsigned number, usec now)
{
	return quota_hold(t, bytes_of(&number, sizeof(number)), now);
}

static void a_counter_stops_at_its_limit_and_goes_on_below(void **state)
{
	struct quota_table *t = quota_table_new(10, NULL);
	struct quota *a = hold(t, 1, 0), *again = hold(t, 1, 0), *other = hold(t, 2, 0);
	usec wait = 7;

	(void)state;
	assert_ptr_equal(a, again);
	for (int i = 0; i < 3; i++)
		assert_int_equal(quota_take(a, 0, &three_at_once, 0, &wait), QUOTA_TAKEN);
	assert_int_equal(quota_take(again, 0, &three_at_once, 0, &wait), QUOTA_AT_ONCE);
	assert_int_equal(quota_take(a, 1, &three_at_once, 0, &wait), QUOTA_TAKEN);
	assert_int_equal(quota_take(other, 0, &three_at_once, 0, &wait), QUOTA_TAKEN);
	quota_give(a, 0);
	assert_int_equal(quota_take(a, 0, &three_at_once, 0, &wait), QUOTA_TAKEN);
	assert_int_equal(wait, 7);
	for (int i = 0; i < 3; i++)
		quota_give(a, 0);
	quota_give(a, 1);
	quota_give(other, 0);
	quota_release(t, a, 0);
	quota_release(t, again, 0);
	quota_release(t, other, 0);
	assert_int_equal(quota_count(t), 0);
	quota_table_free(t);
}

static int take_all(struct quota *q, const struct quota_limit *limit, usec now)
{
	usec wait;
	int taken = 0;

	while (quota_take(q, 0, limit, now, &wait) == QUOTA_TAKEN) {
		quota_give(q, 0);
		taken++;
	}
	return taken;
}

static void a_bucket_holds_its_burst_and_fills_with_time(void **state)
{
	struct quota_table *t = quota_table_new(10, NULL);
	struct quota *q = hold(t, 1, SEC);
	usec wait = 0;

	(void)state;
	assert_int_equal(take_all(q, &ten_per_sec, SEC), 20);
	assert_int_equal(quota_take(q, 0, &ten_per_sec, SEC, &wait), QUOTA_RATE);
	assert_int_equal(wait, SEC / 10);
	assert_int_equal(take_all(q, &ten_per_sec, SEC + SEC / 2), 5);
	assert_int_equal(take_all(q, &ten_per_sec, 100 * SEC), 20);
	quota_release(t, q, 100 * SEC);
	quota_table_free(t);
}

static void a_bucket_that_is_empty_outlives_its_user(void **state)
{
	struct quota_table *t = quota_table_new(10, NULL);
	struct quota *q = hold(t, 1, 0);

	(void)state;
	assert_int_equal(take_all(q, &ten_per_sec, 0), 20);
	quota_release(t, q, 0);
	assert_int_equal(quota_count(t), 1);
	q = hold(t, 1, 0);
	assert_int_equal(take_all(q, &ten_per_sec, 0), 0);
	/* Full again: nothing is left to remember. */
	quota_release(t, q, 3 * SEC);
	assert_int_equal(quota_count(t), 0);
	quota_table_free(t);
}

static void a_full_table_forgets_who_owes_least(void **state)
{
	struct metric entries = { .name = "entries" };
	struct quota_table *t = quota_table_new(64, &entries);
	struct quota *bad = hold(t, 0, 0), *held = hold(t, 1, 0);
	usec wait;

	(void)state;
	take_all(bad, &ten_per_sec, 0);
	quota_release(t, bad, 0);
	/* Each comes once; the table has room for one of them in each shard. */
	for (unsigned i = 2; i < 10000; i++) {
		struct quota *q = hold(t, i, 0);
		assert_int_equal(quota_take(q, 0, &ten_per_sec, 0, &wait), QUOTA_TAKEN);
		quota_give(q, 0);
		quota_release(t, q, 0);
		if (i % 50 == 0) {
			/* Who goes on trying is not forgotten, and gets nothing. */
			bad = hold(t, 0, 0);
			assert_int_equal(quota_take(bad, 0, &ten_per_sec, 0, &wait), QUOTA_RATE);
			quota_release(t, bad, 0);
		}
	}
	assert_in_range(quota_count(t), 2, 66);
	assert_int_equal(quota_count(t), metric_get(&entries));
	bad = hold(t, 0, 0);
	assert_int_equal(take_all(bad, &ten_per_sec, 0), 0);
	quota_release(t, bad, 0);
	quota_release(t, held, 0);
	quota_table_free(t);
	assert_int_equal(metric_get(&entries), 0);
}

#define THREADS 4
#define ROUNDS 3000

struct racer {
	struct quota_table *t;
	pthread_t thread;
	_Atomic int *most, *now;
};

/* Eight keys for all, three at once of each. */
static void *race(void *arg)
{
	struct racer *r = arg;
	usec wait;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned key = i % 8;
		struct quota *q = hold(r->t, key, (usec)i);
		if (quota_take(q, 0, &three_at_once, (usec)i, &wait) == QUOTA_TAKEN) {
			int now = atomic_fetch_add(&r->now[key], 1) + 1;
			if (now > atomic_load(r->most))
				atomic_store(r->most, now);
			if (quota_take(q, 1, &ten_per_sec, (usec)i, &wait) == QUOTA_TAKEN)
				quota_give(q, 1);
			atomic_fetch_sub(&r->now[key], 1);
			quota_give(q, 0);
		}
		quota_release(r->t, q, (usec)i);
	}
	return NULL;
}

static void threads_share_one_limit(void **state)
{
	struct quota_table *t = quota_table_new(64, NULL);
	_Atomic int most = 0, now[8] = { 0 };
	struct racer racers[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++) {
		racers[i] = (struct racer){ .t = t, .most = &most, .now = now };
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(racers[i].thread, NULL);
	assert_in_range(most, 1, 3);
	/* Every place was given back. */
	usec wait;
	struct quota *q = hold(t, 0, ROUNDS);
	for (int i = 0; i < 3; i++)
		assert_int_equal(quota_take(q, 0, &three_at_once, ROUNDS, &wait), QUOTA_TAKEN);
	for (int i = 0; i < 3; i++)
		quota_give(q, 0);
	quota_release(t, q, ROUNDS);
	quota_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_counter_stops_at_its_limit_and_goes_on_below),
		cmocka_unit_test(a_bucket_holds_its_burst_and_fills_with_time),
		cmocka_unit_test(a_bucket_that_is_empty_outlives_its_user),
		cmocka_unit_test(a_full_table_forgets_who_owes_least),
		cmocka_unit_test(threads_share_one_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
