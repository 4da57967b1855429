#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "io/network.h"

static struct network net(const char *text)
{
	struct network n;

	assert_true(network_parse(bytes_str(text), &n));
	return n;
}

static void clears_what_stands_behind_the_length(void **state)
{
	static const char *const forms[][2] = {
		{ "10.1.2.3/8", "10.0.0.0/8" },
		{ "10.1.2.3/32", "10.1.2.3/32" },
		{ "192.168.77.200/27", "192.168.77.192/27" },
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "1.2.3.4/0", "0.0.0.0/0" },
		{ "fd12:3456::1/7", "fc00::/7" },
		{ "FD00::/8", "fd00::/8" },
		{ "::/0", "::/0" },
		{ "2001:db8:0:0:1::/80", "2001:db8:0:0:1::/80" },
		{ "::1/128", "::1/128" },
		{ "::ffff:10.0.0.1/104", "10.0.0.0/8" }, /* IPv4, whatever the spelling */
	};
	char text[NETWORK_TEXT_SIZE];

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct network n = net(forms[i][0]);
		assert_string_equal(network_text(&n, text), forms[i][1]);
	}
}

static void refuses_what_is_no_network(void **state)
{
	static const char *const bad[] = { "",
					   "10.0.0.0",
					   "10.0.0.0/",
					   "/8",
					   "10.0.0.0/33",
					   "10.0.0/8",
					   "::/129",
					   "10.0.0.0/-1",
					   "10.0.0.0/8 ",
					   "a.b.c.d/8",
					   "10.0.0.0/8/8",
					   "::ffff:0:0/95",
					   "fe80::1%lo/64",
					   "010.0.0.0/8",
					   "unix:/x/8" };
	struct network n;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(network_parse(bytes_str(bad[i]), &n));
	assert_false(network_parse(bytes_of("10.0.0.0\0/8", 11), &n));
}

static void holds_what_is_inside(void **state)
{
	static const struct {
		const char *outer, *inner;
		bool holds;
	} cases[] = {
		{ "10.0.0.0/8", "10.255.255.255/32", true },
		{ "10.0.0.0/8", "11.0.0.0/32", false },
		{ "10.0.0.0/8", "10.0.0.0/8", true },
		{ "10.1.0.0/16", "10.0.0.0/8", false },
		{ "0.0.0.0/0", "255.255.255.255/32", true },
		{ "10.0.0.128/25", "10.0.0.127/32", false },
		{ "::/0", "10.0.0.1/32", false },
		{ "::/80", "::ffff:255.255.255.255/128", false }, /* its last address is IPv4 */
		{ "::/80", "::fffe:ffff:ffff/128", true },
		{ "0.0.0.0/0", "::1/128", false },
		{ "fe80::/10", "febf::1/128", true },
		{ "fe80::/10", "fec0::1/128", false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct network outer = net(cases[i].outer), inner = net(cases[i].inner);
		assert_int_equal(network_holds(&outer, &inner), cases[i].holds);
	}
}

static void knows_its_last_address(void **state)
{
	struct network n = net("10.1.2.0/23");
	uint8_t last[16];

	network_last(&n, last);
	assert_memory_equal(last + 12, "\x0a\x01\x03\xff", 4);
	n = net("::/0");
	network_last(&n, last);
	for (size_t i = 0; i < sizeof(last); i++)
		assert_int_equal(last[i], 0xff);
}

static void takes_addresses(void **state)
{
	struct address a;
	struct network n;
	char text[NETWORK_TEXT_SIZE];

	assert_true(address_from_ip(BYTES_LIT("10.0.0.1"), 80, &a) && network_of_address(&a, &n));
	assert_string_equal(network_text(&n, text), "10.0.0.1/32");
	assert_true(address_from_ip(BYTES_LIT("::ffff:10.0.0.1"), 80, &a) &&
		    network_of_address(&a, &n));
	assert_string_equal(network_text(&n, text), "10.0.0.1/32");
	assert_true(address_from_ip(BYTES_LIT("fd00::1"), 80, &a) && network_of_address(&a, &n));
	assert_string_equal(network_text(&n, text), "fd00::1/128");
	assert_int_equal(address_parse(BYTES_LIT("unix:/x"), &a, NULL), 0);
	assert_false(network_of_address(&a, &n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clears_what_stands_behind_the_length),
		cmocka_unit_test(refuses_what_is_no_network),
		cmocka_unit_test(holds_what_is_inside),
		cmocka_unit_test(knows_its_last_address),
		cmocka_unit_test(takes_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
