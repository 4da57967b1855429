#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/resolve.h"

/* --- Hosts ----------------------------------------------------------------------------------- */

static void literals_are_themselves(void **state)
{
	struct address a[4];
	char text[ADDRESS_TEXT_SIZE];
	struct err err = { 0 };

	assert_int_equal(resolve_host("192.0.2.1", 7844, AF_UNSPEC, a, 4, &err), 1);
	assert_string_equal(address_text(&a[0], text), "192.0.2.1:7844");
	assert_int_equal(resolve_host("2001:db8::1", 7844, AF_INET6, a, 4, &err), 1);
	assert_string_equal(address_text(&a[0], text), "[2001:db8::1]:7844");
	assert_int_equal(resolve_host("192.0.2.1", 1, AF_INET6, a, 4, &err), E_NOT_FOUND);
	assert_string_equal(err.text, "192.0.2.1 has no IPv6 address");
	assert_int_equal(resolve_host("2001:db8::1", 1, AF_INET, a, 4, &err), E_NOT_FOUND);
}

static void localhost_needs_nobody(void **state)
{
	struct address a[4];
	char text[ADDRESS_TEXT_SIZE];

	assert_int_equal(resolve_host("LocalHost", 1, AF_UNSPEC, a, 4, NULL), 2);
	assert_string_equal(address_text(&a[0], text), "[::1]:1");
	assert_int_equal(resolve_host("localhost", 1, AF_INET, a, 4, NULL), 1);
	assert_string_equal(address_text(&a[0], text), "127.0.0.1:1");
	assert_int_equal(resolve_host("localhost", 1, AF_UNSPEC, a, 1, NULL), 1);
}

static void an_unknown_name_is_told(void **state)
{
	struct address a[4];
	struct err err = { 0 };

	assert_int_equal(resolve_host("no such name", 1, AF_UNSPEC, a, 4, &err), E_NOT_FOUND);
	assert_non_null(strstr(err.text, "looking up no such name: "));
}

/* --- Services -------------------------------------------------------------------------------- */

/* A question for "x" and `count` answers. */
#define HEAD(count) "\x12\x34\x81\x80\0\1\0" count "\0\0\0\0\1x\0\0\x21\0\1"
/* Name by pointer to the question, SRV IN, ttl, length. */
#define SRV(ttl, size) "\xc0\x0c\0\x21\0\1\0\0" ttl "\0" size

static int parse(const char *text, size_t len, struct resolve_service *ret, size_t max,
		 uint32_t *ttl)
{
	return resolve_parse_services(bytes_of(text, len), ret, max, ttl);
}

#define PARSE(text, ret, max, ttl) parse(text, sizeof(text) - 1, ret, max, ttl)

static void srv_records_are_read(void **state)
{
	struct resolve_service s[4];
	uint32_t ttl;

	/* The second target is "b." and a pointer to the first one's "test". */
	assert_int_equal(PARSE(HEAD("\2") SRV("\1\x2c", "\x0e") "\0\5\0\7\x1e\xa4\1a\4test\0" SRV(
				       "\0\x3c", "\x0a") "\0\1\0\0\0\x50\1b\xc0\x27",
			       s, 4, &ttl),
			 2);
	assert_string_equal(s[0].host, "a.test");
	assert_int_equal(s[0].port, 7844);
	assert_int_equal(s[0].priority, 5);
	assert_int_equal(s[0].weight, 7);
	assert_string_equal(s[1].host, "b.test");
	assert_int_equal(s[1].port, 80);
	assert_int_equal(ttl, 60);
	/* No more than asked for. */
	assert_int_equal(PARSE(HEAD("\2") SRV("\1\x2c", "\x0e") "\0\5\0\7\x1e\xa4\1a\4test\0" SRV(
				       "\0\x3c", "\x0a") "\0\1\0\0\0\x50\1b\xc0\x27",
			       s, 1, &ttl),
			 1);
	assert_int_equal(ttl, 300);
}

static void what_is_no_service_is_passed_over(void **state)
{
	struct resolve_service s[4];
	uint32_t ttl;

	/* An alias, then "." (not offered here), then port 0, then a target with a blank. */
	assert_int_equal(
		PARSE(HEAD("\4") "\xc0\x0c\0\5\0\1\0\0\0\1\0\2\xc0\x0c" SRV("\0\1", "\7") "\0\0\0\0\0\1\0" SRV(
			      "\0\1", "\x09") "\0\0\0\0\0\0\1a\0" SRV("\0\1",
								      "\x0b") "\0\0\0\0\0\1\3a b\0",
		      s, 4, &ttl),
		0);
	assert_int_equal(ttl, 0);
	assert_int_equal(PARSE(HEAD("\0"), s, 4, &ttl), 0);
}

static void cut_or_looping_answers_are_refused(void **state)
{
	static const char whole[] = HEAD("\1") SRV("\0\1", "\x0e") "\0\5\0\7\x1e\xa4\1a\4test\0";
	struct resolve_service s[4];
	uint32_t ttl;

	assert_int_equal(
		PARSE(HEAD("\1") SRV("\0\1", "\x0e") "\0\5\0\7\x1e\xa4\1a\4test\0", s, 4, &ttl), 1);
	for (size_t len = 0; len < sizeof(whole) - 1; len++)
		if (parse(whole, len, s, 4, &ttl) >= 1)
			fail_msg("%zu bytes are enough", len);
	/* A name that points at itself. */
	assert_int_equal(
		PARSE(HEAD("\1") SRV("\0\1", "\x08") "\0\5\0\7\x1e\xa4\xc0\x25", s, 4, &ttl),
		E_PARSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literals_are_themselves),
		cmocka_unit_test(localhost_needs_nobody),
		cmocka_unit_test(an_unknown_name_is_told),
		cmocka_unit_test(srv_records_are_read),
		cmocka_unit_test(what_is_no_service_is_passed_over),
		cmocka_unit_test(cut_or_looping_answers_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
