#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/bufq.h"
#include "base/limits.h"
#include "base/mem.h"
#include "edge/listen/allowance.h"
#include "io/address.h"
#include "io/network.h"

static struct network exempt[1];

static struct allowances *table(uint32_t connections, uint32_t requests, uint32_t all)
{
	const struct allowance_limits limits = {
		.connections = connections,
		.requests = requests,
		.all_connections = all,
		.exempt = exempt,
		.exempt_count = 1,
	};

	assert_true(network_parse(BYTES_LIT("10.0.0.0/8"), &exempt[0]));
	return allowances_new(&limits);
}

static enum allowance_answer enter(struct allowances *a, const char *ip, struct allowance **ret)
{
	struct address address;

	assert_true(address_from_ip(bytes_str(ip), 1234, &address));
	return allowance_enter(a, &address, ret);
}

static void addresses_count_by_themselves_and_mapped_ones_as_ipv4(void **state)
{
	struct allowances *a = table(2, 0, 0);
	struct allowance *h[4], *none;

	(void)state;
	assert_int_equal(enter(a, "192.0.2.1", &h[0]), ALLOWANCE_GIVEN);
	assert_int_equal(enter(a, "::ffff:192.0.2.1", &h[1]), ALLOWANCE_GIVEN);
	assert_int_equal(enter(a, "192.0.2.1", &none), ALLOWANCE_CONNECTIONS);
	assert_null(none);
	assert_int_equal(enter(a, "192.0.2.2", &h[2]), ALLOWANCE_GIVEN);
	allowance_leave(h[0]);
	assert_int_equal(enter(a, "192.0.2.1", &h[3]), ALLOWANCE_GIVEN);
	for (int i = 1; i < 4; i++)
		allowance_leave(h[i]);
	assert_int_equal(metric_get(&metric_limited_addresses), 0);
	allowances_free(a);
}

static void ipv6_counts_by_64_and_more_loosely_by_48(void **state)
{
	struct allowances *a = table(2, 0, 0);
	struct allowance *h[2 * LIMIT_VISITOR_WIDE], *none, *other;
	char ip[64];
	size_t count = 0;

	(void)state;
	assert_int_equal(enter(a, "2001:db8:1:1::1", &h[0]), ALLOWANCE_GIVEN);
	assert_int_equal(enter(a, "2001:db8:1:1:ffff::2", &h[1]), ALLOWANCE_GIVEN);
	assert_int_equal(enter(a, "2001:db8:1:1::3", &none), ALLOWANCE_CONNECTIONS);
	/* Other /64s of the same /48, until that one is full. */
	for (count = 2; count < ARRAY_LEN(h); count++) {
		snprintf(ip, sizeof(ip), "2001:db8:1:%zx::1", 0x100 + count);
		assert_int_equal(enter(a, ip, &h[count]), ALLOWANCE_GIVEN);
	}
	assert_int_equal(enter(a, "2001:db8:1:fff::1", &none), ALLOWANCE_CONNECTIONS);
	assert_int_equal(enter(a, "2001:db8:2::1", &other), ALLOWANCE_GIVEN);
	allowance_leave(other);
	while (count--)
		allowance_leave(h[count]);
	allowances_free(a);
}

static void exempt_networks_count_only_towards_all(void **state)
{
	struct allowances *a = table(1, 1, 3);
	struct allowance *h[3], *none;
	unsigned wait;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(enter(a, "10.1.2.3", &h[i]), ALLOWANCE_GIVEN);
	for (int i = 0; i < 3; i++)
		assert_int_equal(allowance_begin(h[0], &wait), ALLOWANCE_GIVEN);
	assert_int_equal(enter(a, "10.1.2.3", &none), ALLOWANCE_ALL);
	for (int i = 0; i < 3; i++)
		allowance_end(h[0]);
	for (int i = 0; i < 3; i++)
		allowance_leave(h[i]);
	allowances_free(a);
}

static void requests_count_over_connections_and_outlive_them(void **state)
{
	struct allowances *a = table(0, 2, 0);
	struct allowance *one, *two;
	unsigned wait = 0;

	(void)state;
	assert_int_equal(enter(a, "192.0.2.1", &one), ALLOWANCE_GIVEN);
	assert_int_equal(enter(a, "192.0.2.1", &two), ALLOWANCE_GIVEN);
	assert_int_equal(allowance_begin(one, &wait), ALLOWANCE_GIVEN);
	assert_int_equal(allowance_begin(two, &wait), ALLOWANCE_GIVEN);
	assert_int_equal(allowance_begin(two, &wait), ALLOWANCE_REQUESTS);
	assert_int_equal(wait, 1);
	struct allowance *gone = one;
	one = allowance_leave(one);
	assert_int_equal(allowance_begin(two, &wait), ALLOWANCE_REQUESTS);
	allowance_end(gone);
	assert_int_equal(allowance_begin(two, &wait), ALLOWANCE_GIVEN);
	allowance_end(two);
	allowance_end(two);
	allowance_leave(two);
	assert_int_equal(metric_get(&metric_limited_addresses), 0);
	allowances_free(a);
}

static void without_memory_for_bodies_nobody_gets_in(void **state)
{
	const struct allowance_limits limits = { .buffers = 2 * BUFQ_CHUNK_BYTES };
	struct allowances *a = allowances_new(&limits);
	struct allowance *h, *none;
	unsigned wait = 0;

	(void)state;
	assert_int_equal(enter(a, "192.0.2.1", &h), ALLOWANCE_GIVEN);
	void *chunks[] = { bufq_chunk_take(), bufq_chunk_take(), bufq_chunk_take() };
	assert_int_equal(enter(a, "10.1.2.3", &none), ALLOWANCE_BUFFERS);
	assert_int_equal(allowance_begin(h, &wait), ALLOWANCE_BUFFERS);
	assert_int_equal(wait, 1);
	allowance_leave(h);
	for (size_t i = 0; i < ARRAY_LEN(chunks); i++)
		bufq_chunk_return(chunks[i]);
	allowances_free(a);
}

static void without_a_table_everything_is_allowed(void **state)
{
	struct allowance *h;
	unsigned wait;

	(void)state;
	assert_int_equal(enter(NULL, "192.0.2.1", &h), ALLOWANCE_GIVEN);
	assert_null(h);
	assert_int_equal(allowance_begin(h, &wait), ALLOWANCE_GIVEN);
	allowance_end(h);
	allowance_leave(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_count_by_themselves_and_mapped_ones_as_ipv4),
		cmocka_unit_test(ipv6_counts_by_64_and_more_loosely_by_48),
		cmocka_unit_test(exempt_networks_count_only_towards_all),
		cmocka_unit_test(requests_count_over_connections_and_outlive_them),
		cmocka_unit_test(without_memory_for_bodies_nobody_gets_in),
		cmocka_unit_test(without_a_table_everything_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
