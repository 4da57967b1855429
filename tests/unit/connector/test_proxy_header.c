#include "unit/io/turns.h"

#include "base/encode.h"
#include "connector/origin/proxy_header.h"

static const char *header(enum ingress_proxy_protocol version, const char *client,
			  const char *service)
{
	static char text[PROXY_HEADER_MAX + 1];
	uint8_t bytes[PROXY_HEADER_MAX];
	struct address address;

	assert_int_equal(address_parse(bytes_str(service), &address, NULL), 0);
	size_t len = proxy_header_write(version, bytes_str(client), &address, bytes);
	memcpy(text, bytes, len);
	text[len] = 0;
	return text;
}

static void none_is_written_where_none_is_wanted(void **state)
{
	assert_string_equal(header(INGRESS_PROXY_NONE, "192.0.2.1", "127.0.0.1:80"), "");
}

static void version_1_is_a_line(void **state)
{
	static const struct {
		const char *client, *service, *want;
	} cases[] = {
		{ "192.0.2.1", "10.1.2.3:443", "PROXY TCP4 192.0.2.1 10.1.2.3 0 443\r\n" },
		{ "2001:db8::1", "[2001:db8::2]:65535",
		  "PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n" },
		{ "2001:db8::1", "10.1.2.3:443",
		  "PROXY TCP6 2001:db8::1 ::ffff:10.1.2.3 0 443\r\n" },
		{ "192.0.2.1", "[2001:db8::2]:443",
		  "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 0 443\r\n" },
		/* What "localhost" has become must not change how the visitor is told. */
		{ "192.0.2.1", "[::1]:80", "PROXY TCP4 192.0.2.1 127.0.0.1 0 80\r\n" },
		{ "::ffff:192.0.2.1", "127.0.0.1:80", "PROXY TCP4 192.0.2.1 127.0.0.1 0 80\r\n" },
		{ "192.0.2.1", "unix:/run/app.sock", "PROXY TCP4 192.0.2.1 0.0.0.0 0 0\r\n" },
		{ "2001:db8::1", "unix:/run/app.sock", "PROXY TCP6 2001:db8::1 :: 0 0\r\n" },
		{ "", "127.0.0.1:80", "PROXY UNKNOWN\r\n" },
		{ "192.0.2.1:80", "127.0.0.1:80", "PROXY UNKNOWN\r\n" },
		{ "localhost", "127.0.0.1:80", "PROXY UNKNOWN\r\n" },
		{ "1.1.1.1\r\nx", "127.0.0.1:80", "PROXY UNKNOWN\r\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(header(INGRESS_PROXY_V1, cases[i].client, cases[i].service),
				    cases[i].want);
}

static void the_longest_line_fits(void **state)
{
	static const char longest[] = "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
	char service[100];

	snprintf(service, sizeof(service), "[%s]:65535", longest);
	assert_true(strlen(header(INGRESS_PROXY_V1, longest, service)) < PROXY_HEADER_MAX);
}

static void version_2_is_binary(void **state)
{
#define SIGNATURE "0d0a0d0a000d0a515549540a"
	static const struct {
		const char *client, *service, *want;
	} cases[] = {
		{ "192.0.2.1", "10.1.2.3:443", SIGNATURE "2111000cc00002010a010203000001bb" },
		{ "2001:db8::1", "[2001:db8::2]:80",
		  SIGNATURE "2121002420010db800000000000000000000000120010db800000000000000000000"
			    "000200000050" },
		{ "", "127.0.0.1:80", SIGNATURE "20000000" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t bytes[PROXY_HEADER_MAX];
		struct address address;
		assert_int_equal(address_parse(bytes_str(cases[i].service), &address, NULL), 0);
		size_t len = proxy_header_write(INGRESS_PROXY_V2, bytes_str(cases[i].client),
						&address, bytes);
		char *got = hex_text(bytes_of(bytes, len));
		assert_string_equal(got, cases[i].want);
		mem_free(got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_is_written_where_none_is_wanted),
		cmocka_unit_test(version_1_is_a_line),
		cmocka_unit_test(the_longest_line_fits),
		cmocka_unit_test(version_2_is_binary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
