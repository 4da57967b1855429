/* PROXY headers of load balancers, read without taking a byte of what stands behind them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "edge/listen/proxy_header.h"
#include "edge/ports/proxy_v2.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"

/* As a connection is read. *ret_len is how much was taken. */
static int read_header(struct bytes in, struct proxy_header *h, size_t *ret_len)
{
	size_t len = 0, missing;
	int rc;

	while ((rc = proxy_header_parse(bytes_first(in, len), h, &missing, NULL)) == E_AGAIN) {
		assert_true(missing > 0);
		if (len == in.len)
			return E_AGAIN;
		len += missing < in.len - len ? missing : in.len - len;
	}
	*ret_len = len;
	return rc;
}

static void assert_visitor(struct bytes header, const char *visitor)
{
	uint8_t all[600];
	char text[ADDRESS_TEXT_SIZE];
	struct proxy_header h;
	size_t len;

	memset(all, 0x16, sizeof(all));
	memcpy(all, header.ptr, header.len);
	assert_int_equal(read_header(bytes_of(all, sizeof(all)), &h, &len), 0);
	assert_int_equal(len, header.len);
	assert_int_equal(h.has_visitor, visitor != NULL);
	if (visitor)
		assert_string_equal(address_text(&h.visitor, text), visitor);
	/* Any part of it is a part. */
	for (size_t i = 0; i < header.len; i++)
		assert_int_equal(read_header(bytes_first(header, i), &h, &len), E_AGAIN);
}

static void reads_lines(void **state)
{
	assert_visitor(BYTES_LIT("PROXY TCP4 192.0.2.1 198.51.100.9 40000 443\r\n"),
		       "192.0.2.1:40000");
	assert_visitor(BYTES_LIT("PROXY TCP4 1.2.3.4 0.0.0.0 0 0\r\n"), "1.2.3.4:0");
	assert_visitor(BYTES_LIT("PROXY TCP6 2001:db8::1 :: 1 2\r\n"), "[2001:db8::1]:1");
	assert_visitor(BYTES_LIT("PROXY TCP6 :: :: 1 2\r\n"), "[::]:1");
	assert_visitor(BYTES_LIT("PROXY UNKNOWN\r\n"), NULL);
	assert_visitor(BYTES_LIT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
				 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
		       NULL);
}

static void reads_the_binary_form(void **state)
{
	assert_visitor(BYTES_LIT(V2 "\x21\x11\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\x9c\x40\x01\xbb"),
		       "192.0.2.1:40000");
	/* With a TLV that is nobody's business, and one that is malformed: both are skipped. */
	assert_visitor(
		BYTES_LIT(
			V2
			"\x21\x11\0\x12\xc0\0\x02\x01\x7f\0\0\x01\x9c\x40\x01\xbb\x04\0\x01x\xff\xff"),
		"192.0.2.1:40000");
	assert_visitor(BYTES_LIT(V2 "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
				    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x07\x01\xbb"),
		       "[2001:db8::1]:7");
	assert_visitor(BYTES_LIT(V2 "\x20\0\0\0"), NULL);
	assert_visitor(BYTES_LIT(V2 "\x20\xff\0\x03zzz"), NULL);
	assert_visitor(BYTES_LIT(V2 "\x21\0\0\x02??"), NULL);
}

static void reads_what_this_project_writes(void **state)
{
	static const char *const visitors[] = { "203.0.113.5:1234", "[2001:db8::5]:1234" };
	struct address visitor, edge;
	uint8_t header[PROXY_V2_MAX];

	address_parse(BYTES_LIT("[::1]:443"), &edge, NULL);
	for (size_t i = 0; i < 2; i++) {
		address_parse(bytes_str(visitors[i]), &visitor, NULL);
		if (i == 0)
			address_parse(BYTES_LIT("127.0.0.1:443"), &edge, NULL);
		size_t len = proxy_v2_write(&visitor, &edge, false, header);
		assert_visitor(bytes_of(header, len), visitors[i]);
	}
}

static void a_unix_socket_has_no_address(void **state)
{
	uint8_t header[16 + 216] = V2 "\x21\x31\0\xd8";

	assert_visitor(bytes_of(header, sizeof(header)), NULL);
}

static void refuses_everything_else(void **state)
{
	static const struct bytes bad[] = {
		BYTES_LIT("GET / HTTP/1.1\r\n"),
		BYTES_LIT("\x16\x03\x01\x02\x00"),
		BYTES_LIT("PROXY\tTCP4 1.2.3.4 1.2.3.4 1 1\r\n"),
		BYTES_LIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"),
		BYTES_LIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n"),
		BYTES_LIT("PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n"),
		BYTES_LIT("PROXY TCP4 ::1 ::1 1 1 aaaaaaaaaaa\r\n"),
		BYTES_LIT("PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n"),
		BYTES_LIT("PROXY TCP6 fe80::1%lo ::1 1 1\r\n"),
		BYTES_LIT("PROXY TCP4 1.2.3.4.5 1.2.3.4 1 1\r\n"),
		BYTES_LIT("PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n"),
		BYTES_LIT("PROXY UNKNOWNS\r\n"),
		BYTES_LIT("PROXY UNKNOWN\n\n\n\n\n\n"),
		BYTES_LIT("PROXY UNKNOWN \r \n"),
		BYTES_LIT(V2 "\x11\x11\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\x9c\x40\x01\xbb"),
		BYTES_LIT(V2 "\x22\x11\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\x9c\x40\x01\xbb"),
		BYTES_LIT(V2 "\x21\x41\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\x9c\x40\x01\xbb"),
		BYTES_LIT(V2 "\x21\x13\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\x9c\x40\x01\xbb"),
		BYTES_LIT(V2 "\x21\x11\0\x0b\xc0\0\x02\x01\x7f\0\0\x01\x9c\x40\x01"),
		BYTES_LIT(V2 "\x21\x11\xff\xff\xc0\0\x02\x01\x7f\0\0\x01\x9c\x40\x01"),
	};
	struct proxy_header h;
	size_t len;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(read_header(bad[i], &h, &len), E_INVALID);
		assert_false(h.has_visitor);
	}
}

static void a_line_has_an_end(void **state)
{
	uint8_t line[200];
	struct proxy_header h;
	size_t len;

	memset(line, 'x', sizeof(line));
	memcpy(line, "PROXY UNKNOWN ", 14);
	assert_int_equal(read_header(bytes_of(line, sizeof(line)), &h, &len), E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_lines),
		cmocka_unit_test(reads_the_binary_form),
		cmocka_unit_test(reads_what_this_project_writes),
		cmocka_unit_test(a_unix_socket_has_no_address),
		cmocka_unit_test(refuses_everything_else),
		cmocka_unit_test(a_line_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
