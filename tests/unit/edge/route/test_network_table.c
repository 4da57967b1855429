#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "edge/route/network_table.h"

static struct network net(const char *text)
{
	struct network n;

	assert_true(network_parse(bytes_str(text), &n));
	return n;
}

static const char *find(const struct network_table *t, size_t table, const char *ip)
{
	struct address a;
	struct network n;

	assert_true(address_from_ip(bytes_str(ip), 0, &a) && network_of_address(&a, &n));
	const char *found = network_table_find(t, table, &n);
	return found ? found : "none";
}

static void the_longest_prefix_wins(void **state)
{
	static const char *const texts[] = { "10.0.0.0/8",     "10.0.0.0/16", "10.0.5.0/24",
					     "10.0.5.7/32",    "0.0.0.0/0",   "192.168.0.0/16",
					     "fd00::/8",       "fd00:1::/32", "172.16.0.0/12",
					     "172.16.255.0/24" };
	struct network_table t = { 0 };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct network n = net(texts[i]);
		network_table_add(&t, 0, &n, texts[i]);
	}
	network_table_sort(&t);
	assert_string_equal(find(&t, 0, "10.0.5.7"), "10.0.5.7/32");
	assert_string_equal(find(&t, 0, "10.0.5.8"), "10.0.5.0/24");
	assert_string_equal(find(&t, 0, "10.0.6.0"), "10.0.0.0/16");
	assert_string_equal(find(&t, 0, "10.200.0.1"), "10.0.0.0/8");
	assert_string_equal(find(&t, 0, "11.0.0.1"), "0.0.0.0/0");
	assert_string_equal(find(&t, 0, "172.31.0.1"), "172.16.0.0/12");
	assert_string_equal(find(&t, 0, "255.255.255.255"), "0.0.0.0/0");
	assert_string_equal(find(&t, 0, "fd00:1::9"), "fd00:1::/32");
	assert_string_equal(find(&t, 0, "fdff::"), "fd00::/8");
	assert_string_equal(find(&t, 0, "fe80::1"), "none");
	assert_string_equal(find(&t, 0, "::1"), "none");
	assert_string_equal(find(&t, 1, "10.0.5.7"), "none");
	network_table_done(&t);
}

static void tables_know_nothing_of_each_other(void **state)
{
	struct network ten = net("10.0.0.0/8"), small = net("10.1.0.0/16");
	struct network_table t = { 0 };

	network_table_add(&t, 2, &ten, "two");
	network_table_add(&t, 0, &small, "zero");
	network_table_add(&t, 1, &ten, "one");
	network_table_sort(&t);
	assert_string_equal(find(&t, 0, "10.1.2.3"), "zero");
	assert_string_equal(find(&t, 0, "10.2.2.3"), "none");
	assert_string_equal(find(&t, 1, "10.1.2.3"), "one");
	assert_string_equal(find(&t, 2, "10.1.2.3"), "two");
	assert_string_equal(find(&t, 3, "10.1.2.3"), "none");
	network_table_done(&t);
	network_table_sort(&t);
	assert_string_equal(find(&t, 0, "10.1.2.3"), "none");
}

/* Whatever the networks, the table says what a look at each of them says. */
static void agrees_with_a_look_at_every_network(void **state)
{
	enum { NETWORKS = 300, TABLES = 3, QUESTIONS = 3000 };
	static struct network networks[NETWORKS];
	static size_t tables[NETWORKS];

	srandom(4711);
	for (int round = 0; round < 20; round++) {
		struct network_table t = { 0 };
		for (size_t i = 0; i < NETWORKS; i++) {
			char text[64];
			/* Few different bits, so that they nest. */
			long r = random();
			if (r & 1)
				snprintf(text, sizeof(text), "10.%ld.%ld.%ld/%ld", r >> 1 & 3,
					 r >> 3 & 3, r >> 5 & 255, random() % 33);
			else
				snprintf(text, sizeof(text), "fd00:%lx::%lx/%ld", r >> 1 & 3,
					 r >> 3 & 3, random() % 129);
			networks[i] = net(text);
			tables[i] = (size_t)random() % TABLES;
			network_table_add(&t, tables[i], &networks[i], &networks[i]);
		}
		network_table_sort(&t);
		for (size_t q = 0; q < QUESTIONS; q++) {
			struct network ip = networks[(size_t)random() % NETWORKS];
			ip.ip[12 + random() % 4] ^= (uint8_t)(random() & random());
			ip.bits = 128;
			size_t table = (size_t)random() % TABLES;
			int best = -1;
			for (size_t i = 0; i < NETWORKS; i++)
				if (tables[i] == table && network_holds(&networks[i], &ip) &&
				    networks[i].bits > best)
					best = networks[i].bits;
			const struct network *found = network_table_find(&t, table, &ip);
			assert_int_equal(found ? found->bits : -1, best);
			assert_true(!found || network_holds(found, &ip));
		}
		network_table_done(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_longest_prefix_wins),
		cmocka_unit_test(tables_know_nothing_of_each_other),
		cmocka_unit_test(agrees_with_a_look_at_every_network),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
