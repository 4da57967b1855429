#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "edge/dns/rate.h"

#define NOW (1000 * USEC_PER_SEC)

static struct dns_rate *rate;

static int start(void **state)
{
	(void)state;
	rate = dns_rate_new(10);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	rate = dns_rate_free(rate);
	return 0;
}

static enum dns_rate_verdict ask(const char *from, uint64_t source, usec now)
{
	struct address a;

	assert_int_equal(address_parse(bytes_str(from), &a, NULL), 0);
	return dns_rate_check(rate, &a, source, now);
}

static size_t passed(const char *from, uint64_t source, usec now, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += ask(from, source, now) == DNS_RATE_PASS;
	return n;
}

static void test_twice_the_rate_passes_at_once(void **state)
{
	assert_int_equal(passed("192.0.2.1:53", 1, NOW, 100), 20);
}

/* Whether these two have a rate each. In a table of 16384 they meet by chance now and then, hence three tables. */
static bool are_apart(const char *from, uint64_t source, const char *other, uint64_t other_source)
{
	size_t n = 0;

	for (int i = 0; i < 3 && n != 40; i++) {
		(void)stop(NULL);
		(void)start(NULL);
		n = passed(from, source, NOW, 20) + passed(other, other_source, NOW, 20);
	}
	return n == 40;
}

static void test_a_network_shares_its_rate(void **state)
{
	assert_false(are_apart("192.0.2.1:53", 1, "192.0.2.200:1053", 1));
	assert_true(are_apart("192.0.2.1:53", 1, "192.0.3.1:53", 1));
	assert_false(are_apart("[2001:db8:0:ff::1]:53", 1, "[2001:db8:0:1::2]:53", 1));
	assert_true(are_apart("[2001:db8:0:ff::1]:53", 1, "[2001:db8:0:100::1]:53", 1));
	assert_true(are_apart("192.0.2.1:53", 1, "[2001:db8::1]:53", 1));
}

static void test_another_question_has_a_rate_of_its_own(void **state)
{
	assert_true(are_apart("192.0.2.1:53", 1, "192.0.2.1:53", 2));
}

/* So that a resolver behind a forged flood comes through by TCP. */
static void test_every_second_answer_beyond_the_rate_is_truncated(void **state)
{
	(void)passed("192.0.2.1:53", 1, NOW, 20);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(ask("192.0.2.1:53", 1, NOW), DNS_RATE_DROP);
		assert_int_equal(ask("192.0.2.1:53", 1, NOW), DNS_RATE_TRUNCATE);
	}
}

static void test_credit_comes_back_with_time_and_not_beyond_the_most(void **state)
{
	(void)passed("192.0.2.1:53", 1, NOW, 20);
	assert_int_equal(passed("192.0.2.1:53", 1, NOW + USEC_PER_SEC, 100), 10);
	assert_int_equal(passed("192.0.2.1:53", 1, NOW + USEC_PER_SEC + USEC_PER_SEC / 10, 100), 1);
	assert_int_equal(passed("192.0.2.1:53", 1, NOW + 1000000 * USEC_PER_SEC, 100), 20);
}

/* A tenth of an answer each time, which must add up. */
static void test_slow_credit_is_not_lost_in_small_steps(void **state)
{
	size_t n = 0;

	(void)passed("192.0.2.1:53", 1, NOW, 20);
	for (int i = 1; i <= 1000; i++)
		n += ask("192.0.2.1:53", 1, NOW + i * USEC_PER_SEC / 100) == DNS_RATE_PASS;
	assert_int_equal(n, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_twice_the_rate_passes_at_once, start, stop),
		cmocka_unit_test_setup_teardown(test_a_network_shares_its_rate, start, stop),
		cmocka_unit_test_setup_teardown(test_another_question_has_a_rate_of_its_own, start,
						stop),
		cmocka_unit_test_setup_teardown(
			test_every_second_answer_beyond_the_rate_is_truncated, start, stop),
		cmocka_unit_test_setup_teardown(
			test_credit_comes_back_with_time_and_not_beyond_the_most, start, stop),
		cmocka_unit_test_setup_teardown(test_slow_credit_is_not_lost_in_small_steps, start,
						stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
