/* Who may try how often, and that others do not count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "edge/access/tries.h"

#define NOW (1000 * USEC_PER_SEC)
#define HOUR (3600 * USEC_PER_SEC)

static const struct bytes ann = BYTES_LIT("ann@example.com"), bob = BYTES_LIT("bob@example.com");
static const struct bytes own = BYTES_LIT("d1"), strange = BYTES_LIT("d2");
static const struct bytes home = BYTES_LIT("192.0.2.1"), far = BYTES_LIT("198.51.100.1");

static struct tries *tries;

static int start(void **state)
{
	(void)state;
	tries = tries_new();
	tries_worked(tries, own, ann);
	return 0;
}

static int end(void **state)
{
	(void)state;
	tries = tries_free(tries);
	return 0;
}

static int passwords(struct bytes device, struct bytes email, usec at)
{
	int count = 0;

	while (count < 1000 && tries_password(tries, device, email, at))
		count++;
	return count;
}

static int codes(struct bytes device, struct bytes email, struct bytes network, usec at)
{
	int count = 0;

	while (count < 1000 && tries_code(tries, device, email, network, at))
		count++;
	return count;
}

static void a_browser_is_known_to_one_person(void **state)
{
	(void)state;
	assert_true(tries_is_own(tries, own, ann));
	assert_false(tries_is_own(tries, own, bob));
	assert_false(tries_is_own(tries, strange, ann));
	tries_worked(tries, BYTES_NONE, bob);
	assert_false(tries_is_own(tries, BYTES_NONE, bob));
}

static void strangers_keep_nobody_out_of_their_own_browser(void **state)
{
	(void)state;
	assert_int_equal(passwords(strange, ann, NOW), TRIES_STRANGERS);
	assert_int_equal(passwords(BYTES_LIT("d3"), ann, NOW), 0);
	assert_int_equal(passwords(own, ann, NOW), TRIES_OWN);
	assert_int_equal(passwords(strange, bob, NOW), TRIES_STRANGERS);
	assert_int_equal(passwords(strange, ann, NOW + HOUR), TRIES_STRANGERS);
	assert_int_equal(passwords(own, ann, NOW + HOUR), TRIES_OWN);
}

static void codes_are_counted_for_each_network(void **state)
{
	(void)state;
	assert_int_equal(codes(strange, ann, far, NOW), CODES_NETWORK);
	/* From elsewhere, and in their own browser even from there. */
	assert_int_equal(codes(strange, ann, home, NOW), CODES_NETWORK);
	assert_int_equal(codes(own, ann, far, NOW), CODES_OWN);
	assert_int_equal(codes(strange, bob, far, NOW), CODES_NETWORK);
	/* One at a time after that. */
	assert_int_equal(codes(strange, ann, far, NOW + CODES_PAUSE - 1), 0);
	assert_int_equal(codes(strange, ann, far, NOW + CODES_PAUSE), 1);
	assert_int_equal(codes(strange, ann, far, NOW + HOUR), CODES_NETWORK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_browser_is_known_to_one_person, start, end),
		cmocka_unit_test_setup_teardown(strangers_keep_nobody_out_of_their_own_browser,
						start, end),
		cmocka_unit_test_setup_teardown(codes_are_counted_for_each_network, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
