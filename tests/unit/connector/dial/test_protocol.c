/* The choice between QUIC and HTTP/2, as a state machine: facts and times in, a plan out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "connector/dial/protocol.h"

#define SEC USEC_PER_SEC
#define START (1000 * SEC)

static struct protocol p;
static const struct err no_answer = { .code = E_TIMEOUT, .text = "no answer" };
static const struct err port_closed = { .code = E_REFUSED, .text = "port closed" };

static int make(void **state)
{
	(void)state;
	protocol_init(&p, CONNECTOR_AUTO);
	return 0;
}

static usec wait_at(usec now)
{
	return protocol_probe_at(&p, now) - now;
}

static void auto_races_at_first(void **state)
{
	(void)state;
	assert_int_equal(protocol_plan(&p, false), PLAN_RACE);
	assert_int_equal(protocol_plan(&p, true), PLAN_HTTP2);
}

static void a_fixed_protocol_stays(void **state)
{
	(void)state;
	protocol_init(&p, CONNECTOR_QUIC);
	for (int i = 0; i < 5; i++) {
		assert_false(protocol_failed(&p, START, &no_answer));
		assert_false(protocol_silent(&p, START + i * 60 * SEC, START));
	}
	assert_int_equal(protocol_plan(&p, false), PLAN_QUIC);
	assert_int_equal(protocol_plan(&p, true), PLAN_QUIC);
	assert_int_equal(protocol_probe_at(&p, START), 0);
	protocol_init(&p, CONNECTOR_HTTP2);
	assert_false(protocol_registered(&p, START));
	assert_int_equal(protocol_plan(&p, false), PLAN_HTTP2);
	assert_int_equal(protocol_probe_at(&p, START), 0);
}

static void a_lost_race_is_remembered(void **state)
{
	(void)state;
	assert_true(protocol_beaten(&p, START, NULL));
	assert_int_equal(protocol_plan(&p, false), PLAN_HTTP2);
	assert_false(protocol_beaten(&p, START + 1, NULL));
	/* It may have been bad luck. */
	assert_int_equal(wait_at(START + 1), PROTOCOL_FIRST_PROBE_MS * USEC_PER_MSEC);
}

static void a_failure_is_worse_than_being_slow(void **state)
{
	(void)state;
	assert_true(protocol_beaten(&p, START, &port_closed));
	assert_string_equal(p.why.text, "port closed");
	assert_int_equal(wait_at(START), PROTOCOL_PROBE_MS * USEC_PER_MSEC);
}

static void probes_become_rarer_and_never_end(void **state)
{
	usec now = START, last = 0;

	(void)state;
	protocol_beaten(&p, now, NULL);
	for (int i = 0; i < 100; i++) {
		now = protocol_probe_at(&p, now);
		assert_false(protocol_failed(&p, now, &no_answer));
		assert_true(wait_at(now) >= last);
		last = wait_at(now);
		assert_true(last <= PROTOCOL_PROBE_MAX_MS * USEC_PER_MSEC);
	}
	assert_int_equal(last, PROTOCOL_PROBE_MAX_MS * USEC_PER_MSEC);
	assert_int_equal(protocol_plan(&p, false), PLAN_HTTP2);
}

static void a_registration_over_quic_ends_it(void **state)
{
	(void)state;
	protocol_beaten(&p, START, &no_answer);
	assert_true(protocol_registered(&p, START + SEC));
	assert_false(protocol_registered(&p, START + SEC));
	assert_int_equal(protocol_plan(&p, false), PLAN_RACE);
	/* The others may follow now. */
	assert_int_equal(wait_at(START + 2 * SEC), 0);
}

static void a_path_that_comes_and_goes_is_tried_less_often(void **state)
{
	usec now = START;

	(void)state;
	for (int i = 0; i < 4; i++) {
		protocol_failed(&p, now, &no_answer);
		now += SEC;
		protocol_registered(&p, now);
		now += SEC;
	}
	protocol_failed(&p, now, &no_answer);
	assert_true(wait_at(now) > 4 * PROTOCOL_PROBE_MS * USEC_PER_MSEC);
	/* One that has worked for long is believed again. */
	protocol_registered(&p, now);
	now += PROTOCOL_STEADY_MS * USEC_PER_MSEC;
	protocol_failed(&p, now, &no_answer);
	assert_int_equal(wait_at(now), PROTOCOL_PROBE_MS * USEC_PER_MSEC);
}

static void connections_that_keep_falling_silent_end_quic(void **state)
{
	usec now = START;

	(void)state;
	for (int i = 1; i < PROTOCOL_SHORT_LIVES; i++) {
		protocol_registered(&p, now);
		now += 30 * SEC;
		assert_false(protocol_silent(&p, now, now - 30 * SEC));
		assert_int_equal(protocol_plan(&p, false), PLAN_RACE);
	}
	now += 30 * SEC;
	assert_true(protocol_silent(&p, now, now - 30 * SEC));
	assert_int_equal(protocol_plan(&p, false), PLAN_HTTP2);
	assert_true(wait_at(now) > 4 * PROTOCOL_PROBE_MS * USEC_PER_MSEC);
}

static void four_that_fall_silent_together_are_one_event(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		assert_false(protocol_silent(&p, START + i * SEC, START - 30 * SEC));
	assert_int_equal(protocol_plan(&p, false), PLAN_RACE);
}

static void silence_after_a_long_life_is_no_reason(void **state)
{
	usec now = START;

	(void)state;
	for (int i = 0; i < 3 * PROTOCOL_SHORT_LIVES; i++) {
		now += 10 * 60 * SEC;
		assert_false(protocol_silent(&p, now, now - 9 * 60 * SEC));
	}
	assert_int_equal(protocol_plan(&p, false), PLAN_RACE);
}

static void when_http2_fails_too_both_are_tried(void **state)
{
	(void)state;
	protocol_beaten(&p, START, NULL);
	protocol_failed(&p, START + SEC, &no_answer);
	protocol_http2_failed(&p);
	assert_int_equal(protocol_plan(&p, false), PLAN_RACE);
	/* What was learnt is not forgotten with it. */
	protocol_beaten(&p, START + 2 * SEC, NULL);
	assert_int_equal(wait_at(START + 2 * SEC), PROTOCOL_PROBE_MS * USEC_PER_MSEC);
}

static void another_network_is_tried_soon_but_not_all_the_time(void **state)
{
	usec now = START;

	(void)state;
	for (int i = 0; i < 6; i++)
		protocol_failed(&p, now, &no_answer);
	assert_true(wait_at(now) > 100 * SEC);
	now += 60 * SEC;
	protocol_network_changed(&p, now);
	assert_int_equal(wait_at(now), PROTOCOL_FIRST_PROBE_MS * USEC_PER_MSEC);
	/* A link that flaps. */
	now += 2 * SEC;
	protocol_failed(&p, now, &no_answer);
	for (int i = 0; i < 5; i++) {
		protocol_network_changed(&p, now + i * SEC);
		assert_int_equal(protocol_probe_at(&p, now),
				 now + PROTOCOL_PROBE_MS * USEC_PER_MSEC);
	}
}

static void an_edge_that_refuses_is_no_fault_of_udp(void **state)
{
	(void)state;
	protocol_refused(&p, START);
	assert_int_equal(protocol_plan(&p, false), PLAN_RACE);
	assert_int_equal(wait_at(START), PROTOCOL_PROBE_MS * USEC_PER_MSEC);
}

#define TEST(f) cmocka_unit_test_setup(f, make)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(auto_races_at_first),
		TEST(a_fixed_protocol_stays),
		TEST(a_lost_race_is_remembered),
		TEST(a_failure_is_worse_than_being_slow),
		TEST(probes_become_rarer_and_never_end),
		TEST(a_registration_over_quic_ends_it),
		TEST(a_path_that_comes_and_goes_is_tried_less_often),
		TEST(connections_that_keep_falling_silent_end_quic),
		TEST(four_that_fall_silent_together_are_one_event),
		TEST(silence_after_a_long_life_is_no_reason),
		TEST(when_http2_fails_too_both_are_tried),
		TEST(another_network_is_tried_soon_but_not_all_the_time),
		TEST(an_edge_that_refuses_is_no_fault_of_udp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
