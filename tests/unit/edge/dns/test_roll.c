/* Steps of a key's roll, on a clock that is told: no key goes before nobody needs it any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "edge/dns/roll.h"

#define HOUR (3600 * USEC_PER_SEC)
#define START (1000000 * HOUR)

static const struct dns_roll_times times = {
	.key_ttl = 3600,
	.zone_ttl = 7200,
	.ds_ttl = 24 * 3600,
	.margin = 1800,
};
static struct dns_keys keys;

static int start(void **state)
{
	(void)state;
	keys = (struct dns_keys){
		.current = dns_key_new(NULL),
		.next = dns_key_new(NULL),
		.step = DNS_ROLL_NEW,
	};
	assert_int_equal(dns_keys_due(&keys), 0);
	assert_true(dns_keys_advance(&keys, &times, START));
	return 0;
}

static int stop(void **state)
{
	(void)state;
	dns_keys_done(&keys);
	return 0;
}

/* Until the new key signs; returns when. */
static usec to_ds(void)
{
	usec now = dns_keys_due(&keys);

	assert_true(dns_keys_advance(&keys, &times, now));
	assert_int_equal(keys.step, DNS_ROLL_DS);
	return now;
}

static void test_the_new_key_is_known_before_it_signs(void **state)
{
	(void)state;
	assert_int_equal(keys.step, DNS_ROLL_PUBLISHED);
	assert_ptr_equal(dns_keys_signing(&keys), keys.current);
	assert_ptr_equal(dns_keys_other(&keys), keys.next);
	assert_int_equal(dns_keys_due(&keys), START + HOUR + HOUR / 2);
	assert_false(dns_keys_advance(&keys, &times, START + HOUR + HOUR / 2 - 1));
	to_ds();
	assert_ptr_equal(dns_keys_signing(&keys), keys.next);
	assert_ptr_equal(dns_keys_other(&keys), keys.current);
}

static void test_it_waits_for_the_ds_record_for_ever(void **state)
{
	usec now = to_ds();

	(void)state;
	assert_int_equal(dns_keys_due(&keys), INT64_MAX);
	assert_false(dns_keys_advance(&keys, &times, now + 10000 * HOUR));
}

static void test_the_old_key_stays_while_its_ds_record_may_be_kept(void **state)
{
	usec now = to_ds() + 100 * HOUR;
	const struct dns_key *next = keys.next;

	(void)state;
	keys.seen_by = DNS_SEEN_BY_RESOLVER;
	assert_true(dns_keys_advance(&keys, &times, now));
	assert_int_equal(keys.step, DNS_ROLL_RETIRING);
	assert_int_equal(dns_keys_due(&keys), now + 24 * HOUR + HOUR / 2);
	assert_false(dns_keys_advance(&keys, &times, now + 24 * HOUR));
	assert_true(dns_keys_advance(&keys, &times, now + 25 * HOUR));
	assert_int_equal(keys.step, DNS_ROLL_NONE);
	assert_ptr_equal(keys.current, next);
	assert_null(keys.next);
	assert_null(dns_keys_other(&keys));
	assert_int_equal(dns_keys_due(&keys), INT64_MAX);
}

static void test_the_old_key_stays_while_its_signatures_may_be_kept(void **state)
{
	const struct dns_roll_times late = { .zone_ttl = 7 * 24 * 3600, .margin = 1800 };
	usec now = dns_keys_due(&keys);

	(void)state;
	/* What it had signed when it ended counts, not what there is later. */
	assert_true(dns_keys_advance(&keys, &late, now));
	keys.seen_by = DNS_SEEN_BY_US;
	assert_true(dns_keys_advance(&keys, &times, now));
	assert_int_equal(dns_keys_due(&keys), now + 7 * 24 * HOUR + HOUR / 2);
}

static void test_a_ds_record_that_is_gone_again_is_waited_for(void **state)
{
	usec now = to_ds();

	(void)state;
	keys.seen_by = DNS_SEEN_BY_RESOLVER;
	assert_true(dns_keys_advance(&keys, &times, now));
	keys.seen_by = DNS_SEEN_BY_NOBODY;
	assert_true(dns_keys_advance(&keys, &times, now + HOUR));
	assert_int_equal(keys.step, DNS_ROLL_DS);
	keys.seen_by = DNS_SEEN_BY_RESOLVER;
	assert_true(dns_keys_advance(&keys, &times, now + 2 * HOUR));
	assert_int_equal(dns_keys_due(&keys), now + 26 * HOUR + HOUR / 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_new_key_is_known_before_it_signs),
		TEST(test_it_waits_for_the_ds_record_for_ever),
		TEST(test_the_old_key_stays_while_its_ds_record_may_be_kept),
		TEST(test_the_old_key_stays_while_its_signatures_may_be_kept),
		TEST(test_a_ds_record_that_is_gone_again_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
