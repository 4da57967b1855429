#include "turns.h"

static void assert_parses(const char *text, const char *want, int family, uint16_t port)
{
	struct address a;
	struct err err;
	char got[ADDRESS_TEXT_SIZE];

	if (address_parse(bytes_str(text), &a, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	assert_int_equal(a.any.sa_family, family);
	assert_int_equal(address_port(&a), port);
	assert_string_equal(address_text(&a, got), want);
}

static void addresses_of_every_family_are_read_and_written(void **state)
{
	assert_parses("127.0.0.1:80", "127.0.0.1:80", AF_INET, 80);
	assert_parses("0.0.0.0:0", "0.0.0.0:0", AF_INET, 0);
	assert_parses("[::1]:8080", "[::1]:8080", AF_INET6, 8080);
	assert_parses("[2001:DB8::1]:65535", "[2001:db8::1]:65535", AF_INET6, 65535);
	assert_parses(":443", "[::]:443", AF_INET6, 443);
	assert_parses("localhost:7844", "127.0.0.1:7844", AF_INET, 7844);
	assert_parses("[127.0.0.1]:80", "127.0.0.1:80", AF_INET, 80);
	assert_parses("[::ffff:10.0.0.1]:80", "10.0.0.1:80", AF_INET6, 80);
	assert_parses("unix:/run/adit.sock", "unix:/run/adit.sock", AF_UNIX, 0);
	assert_parses("unix:relative", "unix:relative", AF_UNIX, 0);
}

static void other_texts_are_refused_with_a_reason(void **state)
{
	static const char *const wrong[] = {
		"",
		"127.0.0.1",
		"127.0.0.1:",
		"127.0.0.1:65536",
		"127.0.0.1:-1",
		"127.0.0.1:80x",
		"127.0.0.1:0x50",
		"example.com:80",
		"127.0.0.256:1",
		"::1:80",
		"[::1]",
		"[::1]80",
		"[::1",
		"[::1]:",
		"[::g]:80",
		"unix:",
		"127.0.0.1:80:80",
		" 127.0.0.1:80",
		"127.0.0.1:99999999999999999999",
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct address a = { .len = 77 };
		struct err err = { 0 };
		if (address_parse(bytes_str(wrong[i]), &a, &err) != E_INVALID)
			fail_msg("took \"%s\"", wrong[i]);
		assert_true(err.text[0]);
		assert_int_equal(a.len, 77);
	}
	struct address a;
	assert_int_equal(address_parse(BYTES_LIT("127.0.0.1\0:80"), &a, NULL), E_INVALID);
	assert_int_equal(address_parse(BYTES_LIT("unix:/tmp/a\0b"), &a, NULL), E_INVALID);
}

static void a_link_local_address_has_a_zone_where_people_write_it(void **state)
{
	char text[ADDRESS_TEXT_SIZE];
	struct address a, same;

	(void)state;
	assert_int_equal(address_parse(BYTES_LIT("[fe80::1%lo]:80"), &a, NULL), 0);
	assert_true(a.v6.sin6_scope_id > 0);
	assert_int_equal(address_parse(bytes_str(address_text(&a, text)), &same, NULL), 0);
	assert_int_equal(same.v6.sin6_scope_id, a.v6.sin6_scope_id);
	/* What visitors' addresses are shown as says nothing of our interfaces. */
	assert_string_equal(address_ip_text(&a, text), "fe80::1");
	assert_int_equal(address_parse(BYTES_LIT("[fe80::1%no-such-interface]:80"), &a, NULL),
			 E_INVALID);
	assert_int_equal(address_parse(BYTES_LIT("[fe80::1%]:80"), &a, NULL), E_INVALID);
	assert_int_equal(address_parse(BYTES_LIT("[fe80::1%0]:80"), &a, NULL), E_INVALID);
	assert_int_equal(address_parse(BYTES_LIT("[::1%lo]:80"), &a, NULL), E_INVALID);
	assert_int_equal(address_parse(BYTES_LIT("127.0.0.1%lo:80"), &a, NULL), E_INVALID);
	/* Peers have no say in our links. */
	assert_false(address_from_ip(BYTES_LIT("fe80::1%lo"), 80, &a));
}

static void a_socket_path_fits_with_its_nul(void **state)
{
	char text[200] = "unix:";
	struct address a;
	char got[ADDRESS_TEXT_SIZE];

	memset(text + 5, 'p', 107);
	assert_int_equal(address_parse(bytes_str(text), &a, NULL), 0);
	assert_string_equal(address_text(&a, got), text);
	text[5 + 107] = 'p';
	assert_int_equal(address_parse(bytes_str(text), &a, NULL), E_INVALID);
	/* What a peer bound itself to may have no NUL. */
	memset(a.local.sun_path, 'q', sizeof(a.local.sun_path));
	assert_int_equal(strlen(address_text(&a, got)), 5 + sizeof(a.local.sun_path));
}

static void host_and_port_are_split_without_a_look_at_the_host(void **state)
{
	struct bytes host;
	uint16_t port;

	assert_int_equal(address_split(BYTES_LIT("edge.example.com:7844"), &host, &port, NULL), 0);
	assert_true(bytes_eq(host, BYTES_LIT("edge.example.com")));
	assert_int_equal(port, 7844);
	assert_int_equal(address_split(BYTES_LIT("[fe80::1]:1"), &host, &port, NULL), 0);
	assert_true(bytes_eq(host, BYTES_LIT("fe80::1")));
	assert_int_equal(address_split(BYTES_LIT(":1"), &host, &port, NULL), 0);
	assert_int_equal(host.len, 0);
	assert_int_equal(address_split(BYTES_LIT("edge.example.com"), &host, &port, NULL),
			 E_INVALID);
	assert_int_equal(address_split(BYTES_LIT("a:b:1"), &host, &port, NULL), E_INVALID);
	assert_int_equal(address_split(BYTES_NONE, &host, &port, NULL), E_INVALID);
}

static void only_ip_literals_make_an_address(void **state)
{
	struct address a;
	char text[ADDRESS_TEXT_SIZE];

	assert_true(address_from_ip(BYTES_LIT("10.1.2.3"), 9, &a));
	assert_string_equal(address_ip_text(&a, text), "10.1.2.3");
	assert_true(address_from_ip(BYTES_LIT("::"), 9, &a));
	assert_string_equal(address_ip_text(&a, text), "::");
	assert_true(address_from_ip(BYTES_LIT("::ffff:1.2.3.4"), 9, &a));
	assert_string_equal(address_ip_text(&a, text), "1.2.3.4");
	assert_false(address_from_ip(BYTES_NONE, 9, &a));
	assert_false(address_from_ip(BYTES_LIT("localhost"), 9, &a));
	assert_false(address_from_ip(BYTES_LIT("127.1"), 9, &a));
	assert_false(address_from_ip(BYTES_LIT("1.2.3.4 "), 9, &a));
	assert_false(address_from_ip(BYTES_LIT("fe80::1%eth0"), 9, &a));
	assert_false(address_from_ip(
		BYTES_LIT("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"), 9, &a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_of_every_family_are_read_and_written),
		cmocka_unit_test(other_texts_are_refused_with_a_reason),
		cmocka_unit_test(a_link_local_address_has_a_zone_where_people_write_it),
		cmocka_unit_test(a_socket_path_fits_with_its_nul),
		cmocka_unit_test(host_and_port_are_split_without_a_look_at_the_host),
		cmocka_unit_test(only_ip_literals_make_an_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
