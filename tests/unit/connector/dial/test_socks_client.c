#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "connector/dial/socks_client.h"

static struct socks_client client;
static struct buf out;
static struct err err;

static int stop(void **state)
{
	buf_done(&out);
	return 0;
}

static void start(const char *host, const char *user, const char *password)
{
	client = (struct socks_client){
		.host = bytes_str(host),
		.port = 7844,
		.user = bytes_str(user),
		.password = bytes_str(password),
	};
	err = (struct err){ 0 };
	buf_init(&out, SOCKS_CLIENT_OUT_BYTES);
	socks_client_start(&client, &out);
}

/* Whole, and what is left has to be nothing. */
static int feed(struct bytes in)
{
	buf_clear(&out);
	int r = socks_client_feed(&client, &in, &out, &err);
	if (r >= 0)
		assert_int_equal(in.len, 0);
	return r;
}

#define assert_said(literal) assert_true(bytes_eq(buf_bytes(&out), BYTES_LIT(literal)))
#define OK_REPLY "\5\0\0\1\0\0\0\0\0\0"

static void a_name_is_left_to_the_proxy(void **state)
{
	start("edge.test", "", "");
	assert_said("\5\1\0");
	assert_int_equal(feed(BYTES_LIT("\5\0")), 0);
	assert_said("\5\1\0\3\x09"
		    "edge.test\x1e\xa4");
	assert_int_equal(feed(BYTES_LIT(OK_REPLY)), 1);
	assert_int_equal(out.len, 0);
}

static void addresses_are_addresses(void **state)
{
	start("192.0.2.1", "", "");
	assert_int_equal(feed(BYTES_LIT("\5\0")), 0);
	assert_said("\5\1\0\1\xc0\0\2\1\x1e\xa4");
	assert_int_equal(feed(BYTES_LIT("\5\0\0\4"
					"0123456789abcdef\0\1")),
			 1);
	buf_done(&out);
	start("::1", "", "");
	assert_int_equal(feed(BYTES_LIT("\5\0")), 0);
	assert_said("\5\1\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x1e\xa4");
	assert_int_equal(feed(BYTES_LIT("\5\0\0\3\2ab\0\1")), 1);
}

static void a_password_is_given_when_asked_for(void **state)
{
	start("h", "me", "pass");
	assert_said("\5\2\0\2");
	assert_int_equal(feed(BYTES_LIT("\5\2")), 0);
	assert_said("\1\2me\4pass");
	assert_int_equal(feed(BYTES_LIT("\1\0")), 0);
	assert_said("\5\1\0\3\1h\x1e\xa4");
	assert_int_equal(feed(BYTES_LIT(OK_REPLY)), 1);
}

static void what_follows_the_reply_is_left(void **state)
{
	struct bytes in = BYTES_LIT(OK_REPLY "more");

	start("h", "", "");
	assert_int_equal(feed(BYTES_LIT("\5\0")), 0);
	assert_int_equal(socks_client_feed(&client, &in, &out, &err), 1);
	assert_true(bytes_eq(in, BYTES_LIT("more")));
}

static void it_comes_byte_by_byte(void **state)
{
	struct bytes whole = BYTES_LIT("\5\2\1\0\5\0\0\3\4name\0\1");
	size_t from = 0;
	int r = 0;

	start("h", "me", "");
	for (size_t end = 1; end <= whole.len && r == 0; end++) {
		struct bytes in = bytes_from(bytes_first(whole, end), from);
		size_t before = in.len;
		buf_clear(&out);
		r = socks_client_feed(&client, &in, &out, &err);
		from += before - in.len;
	}
	assert_int_equal(r, 1);
	assert_int_equal(from, whole.len);
}

static void refusals_are_told(void **state)
{
	static const struct {
		struct bytes first, second;
		int code;
		const char *text;
	} cases[] = {
		{ BYTES_LIT("\5\xff"), BYTES_NONE, E_DENIED, "it wants a name and password" },
		{ BYTES_LIT("\4\0"), BYTES_NONE, E_PROTOCOL, "it does not speak SOCKS 5" },
		{ BYTES_LIT("HT"), BYTES_NONE, E_PROTOCOL, "it does not speak SOCKS 5" },
		{ BYTES_LIT("\5\2"), BYTES_NONE, E_PROTOCOL, "it does not speak SOCKS 5" },
		{ BYTES_LIT("\5\0"), BYTES_LIT("\5\2\0\1\0\0\0\0\0\0"), E_DENIED,
		  "it refused to connect: 2 not allowed by its rules" },
		{ BYTES_LIT("\5\0"), BYTES_LIT("\5\5"), E_REFUSED,
		  "it refused to connect: 5 connection refused" },
		{ BYTES_LIT("\5\0"), BYTES_LIT("\5\x63\0\1\0\0\0\0\0\0"), E_REFUSED,
		  "it refused to connect: 99" },
		{ BYTES_LIT("\5\0"), BYTES_LIT("\5\0\0\2\0\0"), E_PROTOCOL,
		  "it does not speak SOCKS 5" },
		{ BYTES_LIT("\5\0"), BYTES_LIT("\4\0\0\1\0\0\0\0\0\0"), E_PROTOCOL,
		  "it does not speak SOCKS 5" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		start("h", "", "");
		int r = feed(cases[i].first);
		if (r == 0)
			r = feed(cases[i].second);
		assert_int_equal(r, cases[i].code);
		assert_string_equal(err.text, cases[i].text);
		buf_done(&out);
	}
	start("h", "me", "wrong");
	assert_int_equal(feed(BYTES_LIT("\5\2")), 0);
	assert_int_equal(feed(BYTES_LIT("\1\1")), E_DENIED);
	assert_string_equal(err.text, "it refused the name and password");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_name_is_left_to_the_proxy, stop),
		cmocka_unit_test_teardown(addresses_are_addresses, stop),
		cmocka_unit_test_teardown(a_password_is_given_when_asked_for, stop),
		cmocka_unit_test_teardown(what_follows_the_reply_is_left, stop),
		cmocka_unit_test_teardown(it_comes_byte_by_byte, stop),
		cmocka_unit_test_teardown(refusals_are_told, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
