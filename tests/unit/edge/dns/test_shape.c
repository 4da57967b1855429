/* What queries may look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "edge/dns/shape.h"

#define HEADER(qd, an, ns, ar) "\1\2\0\0\0" qd "\0" an "\0" ns "\0" ar
#define QUESTION "\3app\7example\3com\0\0\1\0\1"
#define OPT "\0\0\x29\4\xd0\0\0\0\0\0\0"
#define TSIG_DATA "\013hmac-sha256\0\0\0\0\0\0\0\1\x2c\0\0\1\2\0\0\0\0"
#define TSIG "\3key\0\0\xfa\0\xff\0\0\0\0\0\x1d" TSIG_DATA
#define SOA                                              \
	"\xc0\x0c\0\6\0\1\0\0\0\0\0\x18\xc0\x0c\xc0\x0c" \
	"12345678901234567890"

static struct dns_query_shape shape;

#define IS(text) dns_query_has_shape(BYTES_LIT(text), &shape)

static void test_queries_as_clients_send_them(void **state)
{
	(void)state;
	assert_true(IS(HEADER("\1", "\0", "\0", "\0") QUESTION));
	assert_int_equal(shape.tsig_len, 0);
	assert_true(IS(HEADER("\1", "\0", "\0", "\1") QUESTION OPT));
	assert_true(IS(HEADER("\1", "\0", "\0", "\2") QUESTION OPT TSIG));
	assert_int_equal(shape.tsig_len, sizeof(TSIG) - 1);
	assert_true(IS(HEADER("\1", "\0", "\1", "\0") QUESTION SOA));
	assert_true(IS(HEADER("\1", "\0", "\0", "\0") QUESTION "what follows is not looked at"));
}

static void test_sections_that_no_query_has(void **state)
{
	(void)state;
	assert_false(IS(HEADER("\0", "\0", "\0", "\0")));
	assert_false(IS(HEADER("\2", "\0", "\0", "\0") QUESTION QUESTION));
	assert_false(IS(HEADER("\1", "\1", "\0", "\0") QUESTION SOA));
	assert_false(IS(HEADER("\1", "\0", "\2", "\0") QUESTION SOA SOA));
	assert_false(IS(HEADER("\1", "\0", "\1", "\0") QUESTION OPT));
	assert_false(IS(HEADER("\1", "\0", "\0", "\1") QUESTION SOA));
	assert_false(IS(HEADER("\1", "\0", "\0", "\2") QUESTION OPT OPT));
	assert_false(IS(HEADER("\1", "\0", "\0", "\2") QUESTION TSIG OPT));
	assert_false(IS(HEADER("\1", "\0", "\0", "\3") QUESTION OPT TSIG TSIG));
}

static void test_pointers_that_lead_nowhere(void **state)
{
	uint8_t packet[600] = { 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0 };

	(void)state;
	assert_false(IS(HEADER("\1", "\0", "\0", "\0") "\xc0\x0c\0\1\0\1"));
	assert_false(IS(HEADER("\1", "\0", "\0", "\0") "\xc0\x10\0\1\0\1\0\0"));
	assert_false(IS(HEADER("\1", "\0", "\0", "\0") "\xc0\x02\0\1\0\1"));
	assert_false(IS(HEADER("\1", "\0", "\0", "\0") "\1a\xc0\x0c\0\1\0\1"));
	assert_false(IS(HEADER("\1", "\0", "\0", "\0") "\x40\0\1\0\1"));
	/* A chain of them, backwards: not one too many. */
	for (size_t hops = 1; hops < 40; hops++) {
		/* The question is the root; an SOA's name follows the chain. */
		size_t len = 17;
		for (size_t i = 0; i < hops; i++, len += 2) {
			size_t to = i ? len - 2 : 12;
			packet[len] = (uint8_t)(0xc0 | to >> 8);
			packet[len + 1] = (uint8_t)to;
		}
		/* The first pointer is the owner; the rest would be its type: only the walk counts. */
		assert_false(dns_query_has_shape(bytes_of(packet, len), &shape));
	}
}

static void test_what_is_cut_or_too_long(void **state)
{
	static const char whole[] = HEADER("\1", "\0", "\0", "\2") QUESTION OPT TSIG;
	static uint8_t large[DNS_QUERY_BYTES + 1];

	(void)state;
	for (size_t len = 0; len < sizeof(whole) - 1; len++)
		assert_false(dns_query_has_shape(bytes_of(whole, len), &shape));
	static const char short_query[] = HEADER("\1", "\0", "\0", "\0") QUESTION;
	memcpy(large, short_query, sizeof(short_query));
	assert_true(dns_query_has_shape(bytes_of(large, DNS_QUERY_BYTES), &shape));
	assert_false(dns_query_has_shape(bytes_of(large, DNS_QUERY_BYTES + 1), &shape));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queries_as_clients_send_them),
		cmocka_unit_test(test_sections_that_no_query_has),
		cmocka_unit_test(test_pointers_that_lead_nowhere),
		cmocka_unit_test(test_what_is_cut_or_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
