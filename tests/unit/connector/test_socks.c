#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <errno.h>

#include "base/mem.h"
#include "connector/origin/socks.h"

#define GREETING "\x05\x01\x00"
#define REPLY(code) "\x05" code "\x00\x01\0\0\0\0\0\0"

/* The reader's story of some input, cut in two at every place: "greeted request(host:80) rest". */
static void expect(struct bytes input, const char *want_story, struct bytes want_reply)
{
	for (size_t split = 0; split <= input.len; split++) {
		struct socks_reader r;
		char story[600] = "";
		uint8_t *first = mem_alloc(split + 1), *second = mem_alloc(input.len - split + 1);
		memcpy(first, input.ptr, split);
		memcpy(second, bytes_from(input, split).ptr ? input.ptr + split : input.ptr,
		       input.len - split);
		struct bytes parts[] = { bytes_of(first, split),
					 bytes_of(second, input.len - split) };
		struct bytes reply = BYTES_NONE;
		bool is_over = false;
		size_t len = 0;

		socks_reader_init(&r);
		for (size_t i = 0; i < 2; i++) {
			while (!is_over) {
				enum socks_event event = socks_next(&r, &parts[i]);
				if (event == SOCKS_MORE) {
					assert_int_equal(parts[i].len, 0);
					break;
				}
				reply = r.reply;
				is_over = event != SOCKS_GREETED;
				if (event == SOCKS_REQUEST)
					len += (size_t)snprintf(story + len, sizeof(story) - len,
								"request(" BYTES_FMT ":%u)",
								BYTES_ARG(r.host), r.port);
				else
					len += (size_t)snprintf(
						story + len, sizeof(story) - len, "%s ",
						event == SOCKS_GREETED ? "greeted" : "refused");
			}
			if (is_over)
				len += (size_t)snprintf(story + len, sizeof(story) - len, BYTES_FMT,
							BYTES_ARG(parts[i]));
		}
		if (strcmp(story, want_story) != 0)
			fail_msg("split at %zu: \"%s\", want \"%s\"", split, story, want_story);
		assert_true(bytes_eq(reply, want_reply));
		mem_free(first);
		mem_free(second);
	}
}

#define EXPECT(input, story, reply) expect(BYTES_LIT(input), story, BYTES_LIT(reply))

static void a_connect_by_address_or_name_is_read(void **state)
{
	EXPECT(GREETING "\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", "greeted request(127.0.0.1:80)",
	       "");
	EXPECT("\x05\x03\x02\x01\x00\x05\x01\x00\x03\x0b"
	       "example.com\x01\xbb"
	       "GET /",
	       "greeted request(example.com:443)GET /", "");
	EXPECT(GREETING "\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xff\xff",
	       "greeted request(2001:db8::1:65535)", "");
	EXPECT(GREETING "\x05\x01\x00\x03\x01x\x00\x00", "greeted request(x:0)", "");
}

static void a_greeting_is_answered(void **state)
{
	EXPECT(GREETING, "greeted ", "\x05\x00");
	EXPECT("\x05\x02\x02\x00", "greeted ", "\x05\x00");
}

static void without_a_method_in_common_it_ends(void **state)
{
	EXPECT("\x05\x01\x02more", "refused more", "\x05\xff");
	EXPECT("\x05\x00", "refused ", "\x05\xff");
}

static void another_protocol_is_refused_at_its_first_byte(void **state)
{
	EXPECT("\x04\x01", "refused \x01", "");
	EXPECT("GET", "refused ET", "");
	EXPECT(GREETING "\x04", "greeted refused ", "");
}

static void other_commands_are_refused(void **state)
{
	EXPECT(GREETING "\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50", "greeted refused ",
	       REPLY("\x07"));
	EXPECT(GREETING "\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x50", "greeted refused ",
	       REPLY("\x07"));
	EXPECT(GREETING "\x05\x00\x00\x09\x00", "greeted refused ", REPLY("\x07"));
}

static void other_kinds_of_address_are_refused(void **state)
{
	EXPECT(GREETING "\x05\x01\x00\x02\x00", "greeted refused ", REPLY("\x08"));
}

static void what_is_no_name_is_refused(void **state)
{
	EXPECT(GREETING "\x05\x01\x00\x03\x00\x00\x50", "greeted refused ", REPLY("\x04"));
	EXPECT(GREETING "\x05\x01\x00\x03\x03"
			"a\x00"
			"b\x00\x50",
	       "greeted refused ", REPLY("\x04"));
	EXPECT(GREETING "\x05\x01\x00\x03\x03"
			"a b\x00\x50",
	       "greeted refused ", REPLY("\x04"));
	EXPECT(GREETING "\x05\x01\x00\x03\x06"
			"fe80%1\x00\x50",
	       "greeted refused ", REPLY("\x04"));
}

static void the_longest_messages_fit(void **state)
{
	uint8_t input[3 + SOCKS_MESSAGE_MAX] = GREETING "\x05\x01\x00\x03\xff";
	char want[300];

	memset(input + 8, 'n', 255);
	input[3 + 5 + 255 + 1] = 80;
	snprintf(want, sizeof(want), "greeted request(%.255s:80)", (const char *)input + 8);
	expect(bytes_of(input, sizeof(input)), want, BYTES_NONE);

	uint8_t greeting[2 + 255] = "\x05\xff";
	memset(greeting + 2, 0x80, 254);
	expect(bytes_of(greeting, sizeof(greeting)), "greeted ", BYTES_LIT("\x05\x00"));
}

static void failures_have_their_codes(void **state)
{
	static const struct {
		int code, sys_errno;
		enum socks_code want;
	} cases[] = {
		{ E_DENIED, 0, SOCKS_DENIED },
		{ E_REFUSED, ECONNREFUSED, SOCKS_REFUSED },
		{ E_IO, ENETUNREACH, SOCKS_NETWORK_UNREACHABLE },
		{ E_IO, EHOSTUNREACH, SOCKS_HOST_UNREACHABLE },
		{ E_TIMEOUT, ETIMEDOUT, SOCKS_HOST_UNREACHABLE },
		{ E_NOT_FOUND, 0, SOCKS_HOST_UNREACHABLE },
		{ E_INVALID, 0, SOCKS_FAILED },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct err err = { .code = cases[i].code, .sys_errno = cases[i].sys_errno };
		assert_int_equal(socks_code_of(&err), cases[i].want);
	}
}

/* --- ipRules --------------------------------------------------------------------------------- */

static bool allows(const struct ingress_ip_rule *rules, size_t count, const char *ip, uint16_t port)
{
	struct address address;

	assert_true(address_from_ip(bytes_str(ip), port, &address));
	return socks_allows(rules, count, &address);
}

#define IPV4(a, b, c, d)                             \
	{                                            \
		[10] = 0xff, [11] = 0xff, a, b, c, d \
	}

static void nobody_is_allowed_without_rules(void **state)
{
	assert_false(allows(NULL, 0, "127.0.0.1", 80));
	assert_false(allows(NULL, 0, "::1", 80));
}

static void the_first_rule_that_fits_decides(void **state)
{
	static const uint16_t ports[] = { 80, 443 };
	static const struct ingress_ip_rule rules[] = {
		{ .prefix = IPV4(10, 1, 2, 3), .bits = 128, .is_allowed = false },
		{ .prefix = IPV4(10, 0, 0, 0), .bits = 104, ports, 2, .is_allowed = true },
		{ .prefix = IPV4(10, 64, 0, 0), .bits = 106, .is_allowed = true },
	};

	assert_false(allows(rules, 3, "10.1.2.3", 80));
	assert_true(allows(rules, 3, "10.1.2.4", 80));
	assert_true(allows(rules, 3, "10.1.2.4", 443));
	assert_false(allows(rules, 3, "10.1.2.4", 22));
	assert_true(allows(rules, 3, "10.127.0.1", 22));
	assert_false(allows(rules, 3, "10.128.0.1", 22));
	assert_false(allows(rules, 3, "11.0.0.1", 80));
	assert_true(allows(rules, 3, "::ffff:10.1.2.4", 80));
	assert_false(allows(rules, 3, "::ffff:10.1.2.3", 80));
}

static void each_family_has_its_own_everything(void **state)
{
	static const struct ingress_ip_rule all_ipv6 = { .bits = 0, .is_allowed = true };
	static const struct ingress_ip_rule all_ipv4 = { .prefix = IPV4(0, 0, 0, 0),
							 .bits = 96,
							 .is_allowed = true };
	static const struct ingress_ip_rule net = { .prefix = { 0x20, 0x01, 0x0d, 0xb8, 0x80 },
						    .bits = 33,
						    .is_allowed = true };

	assert_true(allows(&all_ipv6, 1, "2001:db8::1", 1));
	assert_false(allows(&all_ipv6, 1, "10.0.0.1", 1));
	assert_false(allows(&all_ipv6, 1, "::ffff:10.0.0.1", 1));
	assert_true(allows(&all_ipv4, 1, "10.0.0.1", 1));
	assert_false(allows(&all_ipv4, 1, "2001:db8::1", 1));
	assert_true(allows(&net, 1, "2001:db8:ff00::1", 1));
	assert_false(allows(&net, 1, "2001:db8:7f00::1", 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connect_by_address_or_name_is_read),
		cmocka_unit_test(a_greeting_is_answered),
		cmocka_unit_test(without_a_method_in_common_it_ends),
		cmocka_unit_test(another_protocol_is_refused_at_its_first_byte),
		cmocka_unit_test(other_commands_are_refused),
		cmocka_unit_test(other_kinds_of_address_are_refused),
		cmocka_unit_test(what_is_no_name_is_refused),
		cmocka_unit_test(the_longest_messages_fit),
		cmocka_unit_test(failures_have_their_codes),
		cmocka_unit_test(nobody_is_allowed_without_rules),
		cmocka_unit_test(the_first_rule_that_fits_decides),
		cmocka_unit_test(each_family_has_its_own_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
