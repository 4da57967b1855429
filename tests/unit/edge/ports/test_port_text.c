/* What operators and people write about public ports, the PROXY header, and who may come in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "edge/ports/port.h"
#include "edge/ports/port_allow.h"
#include "edge/ports/port_target.h"
#include "edge/ports/proxy_v2.h"

/* --- Ranges ------------------------------------------------------------------------------------- */

static void takes_ports_and_ranges(void **state)
{
	struct port_range r;

	assert_int_equal(port_range_parse(BYTES_LIT("2222"), &r, NULL), 0);
	assert_true(r.first == 2222 && r.last == 2222 && r.has[PORT_TCP] && r.has[PORT_UDP]);
	assert_int_equal(port_range_parse(BYTES_LIT("20000-20100/udp"), &r, NULL), 0);
	assert_true(r.first == 20000 && r.last == 20100 && !r.has[PORT_TCP] && r.has[PORT_UDP]);
	assert_int_equal(port_range_parse(BYTES_LIT("1-65535/tcp"), &r, NULL), 0);
	assert_true(r.first == 1 && r.last == 65535 && r.has[PORT_TCP] && !r.has[PORT_UDP]);
}

static void refuses_what_is_no_port(void **state)
{
	static const char *const bad[] = { "",      "0",       "65536",   "80-",      "-80",
					   "90-80", "80/",     "80/sctp", "80-90-95", "ssh",
					   "80 ",   "80/tcp/", "+80",     "0-10",     "1-70000" };
	struct port_range r;
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(port_range_parse(bytes_str(bad[i]), &r, &err), E_INVALID);
		assert_true(err.text[0]);
	}
}

static void only_what_is_allowed_is(void **state)
{
	static const char *const list[] = { "2222/tcp", "20000-20100", "53/udp" };
	const struct port_allow allow = { list, 3 }, none = { NULL, 0 };

	assert_true(port_allow_has(&allow, PORT_TCP, 2222));
	assert_false(port_allow_has(&allow, PORT_UDP, 2222));
	assert_true(port_allow_has(&allow, PORT_UDP, 20000));
	assert_true(port_allow_has(&allow, PORT_TCP, 20100));
	assert_false(port_allow_has(&allow, PORT_TCP, 20101));
	assert_true(port_allow_has(&allow, PORT_UDP, 53));
	assert_false(port_allow_has(&allow, PORT_TCP, 53));
	assert_false(port_allow_has(&none, PORT_TCP, 2222));
}

/* --- Targets ------------------------------------------------------------------------------------ */

static void a_target_is_a_hostname_or_an_address(void **state)
{
	struct port_target t;

	assert_int_equal(port_target_parse(BYTES_LIT("SSH.Example.com"), &t, NULL), 0);
	assert_string_equal(t.text, "ssh.example.com");
	assert_false(t.is_address);
	assert_int_equal(port_target_parse(BYTES_LIT("10.0.0.5:22"), &t, NULL), 0);
	assert_string_equal(t.text, "10.0.0.5:22");
	assert_true(t.is_address && address_port(&t.address) == 22);
	assert_int_equal(port_target_parse(BYTES_LIT("[FD00::1]:53"), &t, NULL), 0);
	assert_string_equal(t.text, "[fd00::1]:53");
	assert_true(t.is_address);
}

static void refuses_other_targets(void **state)
{
	static const char *const bad[] = {
		"",           "10.0.0.5",       "fd00::1",       "ssh.example.com:22",
		"10.0.0.5:0", "10.0.0.5:99999", "*.example.com", "tcp://ssh.example.com",
		"ssh",        "a b.example.com"
	};
	char longest[400];
	struct port_target t;
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err.text[0] = 0;
		assert_int_equal(port_target_parse(bytes_str(bad[i]), &t, &err), E_INVALID);
		assert_true(err.text[0]);
	}
	assert_int_equal(port_target_parse(BYTES_LIT("a.example.com\0x"), &t, &err), E_INVALID);
	memset(longest, 'a', sizeof(longest));
	assert_int_equal(port_target_parse(bytes_of(longest, sizeof(longest)), &t, &err), E_INVALID);
}

/* --- PROXY -------------------------------------------------------------------------------------- */

static struct address at(const char *ip, uint16_t port)
{
	struct address a;

	assert_true(address_from_ip(bytes_str(ip), port, &a));
	return a;
}

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static void the_header_has_both_ends(void **state)
{
	struct address visitor = at("192.0.2.7", 0x1234), edge = at("198.51.100.1", 2222);
	uint8_t header[PROXY_V2_MAX];
	static const char v4[] =
		SIGNATURE "\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x34\x08\xae";

	assert_int_equal(proxy_v2_write(&visitor, &edge, false, header), 28);
	assert_memory_equal(header, v4, 28);
	assert_int_equal(proxy_v2_write(&visitor, &edge, true, header), 28);
	assert_int_equal(header[13], 0x12);

	visitor = at("2001:db8::7", 1);
	edge = at("2001:db8::1", 2);
	assert_int_equal(proxy_v2_write(&visitor, &edge, false, header), 52);
	assert_memory_equal(header + 12, "\x21\x21\0\x24\x20\x01\x0d\xb8", 8);
	assert_memory_equal(header + 48, "\0\1\0\2", 4);
}

/* A socket for both families sees IPv4 as ::ffff:a.b.c.d. */
static void addresses_that_stand_for_ipv4_are_that(void **state)
{
	struct address visitor = at("::ffff:192.0.2.7", 1), edge = at("::ffff:198.51.100.1", 2);
	struct address other = at("2001:db8::1", 2), plain = at("192.0.2.7", 1);
	uint8_t header[PROXY_V2_MAX];

	assert_int_equal(proxy_v2_write(&visitor, &edge, false, header), 28);
	assert_memory_equal(header + 16, "\xc0\0\x02\x07\xc6\x33\x64\x01", 8);
	assert_int_equal(proxy_v2_write(&plain, &other, false, header), 52);
	assert_memory_equal(header + 26, "\xff\xff\xc0\0\x02\x07", 6);
}

/* --- Limits ------------------------------------------------------------------------------------- */

static void one_address_has_a_share_of_a_port(void **state)
{
	struct port *p = port_new(PORT_TCP, 2222);
	struct address one = at("192.0.2.1", 1), mapped = at("::ffff:192.0.2.1", 9);
	struct address two = at("192.0.2.2", 1);

	for (int i = 0; i < LIMIT_PORT_ADDRESS_CONNECTIONS; i++)
		assert_int_equal(port_enter(p, i % 2 ? &one : &mapped), PORT_ENTERED);
	assert_int_equal(port_enter(p, &one), PORT_ADDRESS_FULL);
	if (port_slot(p, &one) != port_slot(p, &two))
		assert_int_equal(port_enter(p, &two), PORT_ENTERED);
	port_leave(p, &one);
	assert_int_equal(port_enter(p, &mapped), PORT_ENTERED);
	assert_int_equal(atomic_load(&p->refused), 1);
	port_unref(p);
}

static void a_customer_has_one_share_for_its_network(void **state)
{
	struct port *p = port_new(PORT_UDP, 53);
	struct address one = at("2001:db8:1:2::1", 1), two = at("2001:db8:1:2:ffff::2", 2);

	assert_int_equal(port_slot(p, &one), port_slot(p, &two));
	port_unref(p);
}

static void a_port_takes_so_many(void **state)
{
	struct port *p = port_new(PORT_TCP, 2222);
	char ip[32];
	unsigned in = 0;

	for (unsigned i = 0; in < LIMIT_PORT_CONNECTIONS; i++) {
		snprintf(ip, sizeof(ip), "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
		struct address a = at(ip, 1);
		in += port_enter(p, &a) == PORT_ENTERED;
	}
	struct address last = at("192.0.2.1", 1);
	assert_int_equal(port_enter(p, &last), PORT_FULL);
	assert_int_equal(atomic_load(&p->in_use), LIMIT_PORT_CONNECTIONS);
	port_unref(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_ports_and_ranges),
		cmocka_unit_test(refuses_what_is_no_port),
		cmocka_unit_test(only_what_is_allowed_is),
		cmocka_unit_test(a_target_is_a_hostname_or_an_address),
		cmocka_unit_test(refuses_other_targets),
		cmocka_unit_test(the_header_has_both_ends),
		cmocka_unit_test(addresses_that_stand_for_ipv4_are_that),
		cmocka_unit_test(one_address_has_a_share_of_a_port),
		cmocka_unit_test(a_customer_has_one_share_for_its_network),
		cmocka_unit_test(a_port_takes_so_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
