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

static bool allows(const char *ip, uint16_t port)
{
	static const uint16_t ports[] = { 80 };
	static const struct ingress_ip_rule rules[] = {
		{ .prefix = { [10] = 0xff, [11] = 0xff, 10 },
		  .bits = 104,
		  ports,
		  1,
		  .is_allowed = true },
		{ .prefix = { 0x20, 0x01, 0x0d, 0xb8 }, .bits = 32, .is_allowed = true },
	};
	const struct ingress_origin origin = { .ip_rules = rules, .ip_rule_count = 2 };
	struct address address;

	assert_true(address_from_ip(bytes_str(ip), port, &address));
	return socks_allows(&origin, &address);
}

static void rules_are_asked_about_address_and_port(void **state)
{
	const struct address local = { .local.sun_family = AF_UNIX };

	assert_true(allows("10.1.2.3", 80));
	assert_false(allows("10.1.2.3", 81));
	assert_false(allows("11.1.2.3", 80));
	assert_true(allows("::ffff:10.1.2.3", 80));
	assert_true(allows("2001:db8::1", 22));
	assert_false(allows("2001:db9::1", 22));
	assert_false(socks_allows(&(struct ingress_origin){ 0 }, &local));
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
		cmocka_unit_test(rules_are_asked_about_address_and_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
