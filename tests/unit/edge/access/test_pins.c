/* One-time PINs: who may use them, how often, how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "edge/access/pins.h"

#define NOW (1000 * USEC_PER_SEC)
#define HOUR (3600 * USEC_PER_SEC)

static const struct bytes ann = BYTES_LIT("ann@example.com"), bob = BYTES_LIT("bob@example.com");
static const struct bytes device = BYTES_LIT("d1"), other = BYTES_LIT("d2");
static const struct bytes app = BYTES_LIT("a1"), another = BYTES_LIT("a2");

static struct pins *pins;
static char pin[PIN_DIGITS_LONG + 1];

static int start(void **state)
{
	(void)state;
	pins = pins_new();
	return 0;
}

static int end(void **state)
{
	(void)state;
	pins = pins_free(pins);
	return 0;
}

static int check(struct bytes from, struct bytes who, struct bytes where, const char *typed, usec at)
{
	return pins_check(pins, from, who, where, bytes_str(typed), at);
}

static const char *wrong(void)
{
	return strcmp(pin, "123456") == 0 ? "123457" : "123456";
}

static void a_pin_is_good_once(void **state)
{
	(void)state;
	pins_make(pins, device, ann, app, NOW, false, pin);
	assert_int_equal(strlen(pin), PIN_DIGITS);
	assert_int_equal(check(device, ann, app, wrong(), NOW), E_DENIED);
	assert_int_equal(check(device, ann, app, pin, NOW), 0);
	assert_int_equal(check(device, ann, app, pin, NOW), E_DENIED);
}

static void a_pin_is_good_for_one_browser_one_person_and_one_application(void **state)
{
	(void)state;
	pins_make(pins, device, ann, app, NOW, false, pin);
	assert_int_equal(check(other, ann, app, pin, NOW), E_DENIED);
	assert_int_equal(check(device, bob, app, pin, NOW), E_DENIED);
	assert_int_equal(check(device, ann, another, pin, NOW), E_DENIED);
	assert_int_equal(check(device, ann, app, "", NOW), E_DENIED);
	assert_int_equal(check(device, ann, app, pin, NOW), 0);
}

static void a_pin_lasts_ten_minutes(void **state)
{
	(void)state;
	pins_make(pins, device, ann, app, NOW, false, pin);
	assert_int_equal(check(device, ann, app, pin, NOW + PIN_LIFE), E_DENIED);
	assert_int_equal(check(device, ann, app, pin, NOW), E_DENIED);
}

static void a_new_pin_takes_the_place_of_the_old_one(void **state)
{
	char old[PIN_DIGITS_LONG + 1];

	(void)state;
	do {
		pins_free(pins);
		pins = pins_new();
		pins_make(pins, device, ann, app, NOW, false, old);
		pins_make(pins, device, ann, app, NOW, false, pin);
	} while (strcmp(old, pin) == 0);
	assert_int_equal(check(device, ann, app, old, NOW), E_DENIED);
	assert_int_equal(check(device, ann, app, pin, NOW), 0);
}

/* However often somebody asks for PINs and guesses: the numbers to guess from are many by then. */
static void guessing_ends_soon(void **state)
{
	char guess[16];
	int looked_at = 0;

	(void)state;
	pins_make(pins, device, ann, app, NOW, false, pin);
	for (int i = 0; i < 10000; i++) {
		snprintf(guess, sizeof(guess), "%06d", i);
		if (strcmp(guess, pin) != 0)
			assert_int_equal(check(device, ann, app, guess, NOW), E_DENIED);
	}
	/* By now even the right one is of no use. */
	for (int i = 0; i < PIN_TRIES; i++)
		looked_at += check(device, ann, app, pin, NOW) == 0;
	assert_int_equal(looked_at, 0);
	for (int i = 0; i < PINS_SHORT; i++)
		pins_make(pins, device, ann, app, NOW, false, pin);
	assert_int_equal(strlen(pin), PIN_DIGITS_LONG);
	assert_int_equal(check(device, ann, app, pin, NOW), 0);
	/* Not in the person's own browser, nor for others, nor an hour later. */
	pins_make(pins, device, ann, app, NOW, true, pin);
	assert_int_equal(strlen(pin), PIN_DIGITS);
	pins_make(pins, other, bob, app, NOW, false, pin);
	assert_int_equal(strlen(pin), PIN_DIGITS);
	pins_make(pins, device, ann, app, NOW + HOUR, false, pin);
	assert_int_equal(strlen(pin), PIN_DIGITS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_pin_is_good_once, start, end),
		cmocka_unit_test_setup_teardown(
			a_pin_is_good_for_one_browser_one_person_and_one_application, start, end),
		cmocka_unit_test_setup_teardown(a_pin_lasts_ten_minutes, start, end),
		cmocka_unit_test_setup_teardown(a_new_pin_takes_the_place_of_the_old_one, start,
						end),
		cmocka_unit_test_setup_teardown(guessing_ends_soon, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
