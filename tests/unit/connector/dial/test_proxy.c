#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "connector/dial/proxy.h"

static struct arena arena;

static int start(void **state)
{
	arena_init(&arena);
	return 0;
}

static int stop(void **state)
{
	arena_done(&arena);
	return 0;
}

#define assert_text(bytes, text) assert_true(bytes_eq(bytes, bytes_str(text)))

static void every_kind_has_its_port(void **state)
{
	static const struct {
		const char *url, *scheme, *text;
		enum proxy_kind kind;
		bool resolves;
	} cases[] = {
		{ "p.example", "http", "http://p.example:80", PROXY_HTTP, true },
		{ "HTTP://p.example:3128/x", "http", "http://p.example:3128", PROXY_HTTP, true },
		{ "https://[fd00::1]", "https", "https://[fd00::1]:443", PROXY_HTTPS, true },
		{ "socks5://10.0.0.1", "socks5", "socks5://10.0.0.1:1080", PROXY_SOCKS5, false },
		{ "socks5h://p:1/", "socks5h", "socks5h://p:1", PROXY_SOCKS5, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct proxy p;
		assert_int_equal(proxy_parse(&arena, cases[i].url, "X", &p, NULL), 0);
		assert_int_equal(p.kind, cases[i].kind);
		assert_int_equal(p.resolves, cases[i].resolves);
		assert_string_equal(proxy_scheme(&p), cases[i].scheme);
		assert_text(p.text, cases[i].text);
		assert_int_equal(p.user.len, 0);
		assert_int_equal(p.authorization.len, 0);
	}
}

static void a_name_and_password_are_decoded_and_not_in_the_text(void **state)
{
	struct proxy p;

	assert_int_equal(proxy_parse(&arena, "socks5://us%3Aer:p%40s:s@h:9", "X", &p, NULL), 0);
	assert_text(p.user, "us:er");
	assert_text(p.password, "p@s:s");
	assert_text(p.text, "socks5://h:9");
	assert_int_equal(proxy_parse(&arena, "http://user@h", "X", &p, NULL), 0);
	assert_text(p.authorization, "Basic dXNlcjo=");
}

static void errors_name_the_setting_and_no_secret(void **state)
{
	static const char *const wrong[] = {
		"",
		"http://",
		"http://u:s3cret@",
		"ftp://s3cret@h:1",
		"http://h:0",
		"socks5://h:99999",
		"http://u:s3cret%@h:1",
		"http://u%3a:s3cret@h:1",
		"socks5://:",
		"http://a b:1",
		"http://u:s3cret@[::1:8080",
	};
	char longest[600] = "socks5://", *at = longest + 9;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct err err = { 0 };
		struct proxy p;
		if (proxy_parse(&arena, wrong[i], "edge-proxy", &p, &err) >= 0)
			fail_msg("\"%s\" was taken", wrong[i]);
		assert_non_null(strstr(err.text, "edge-proxy"));
		assert_null(strstr(err.text, "s3cret"));
	}
	/* RFC 1929 has one byte for a length. */
	memset(at, 'u', 256);
	memcpy(at + 256, "@h:1", 5);
	struct proxy p;
	assert_int_equal(proxy_parse(&arena, longest, "X", &p, NULL), E_INVALID);
	memcpy(at + 255, "@h:1", 5);
	assert_int_equal(proxy_parse(&arena, longest, "X", &p, NULL), 0);
}

static void loopback_needs_no_proxy(void **state)
{
	assert_true(proxy_is_bypassed(NULL, BYTES_LIT("localhost"), 1));
	assert_true(proxy_is_bypassed("", BYTES_LIT("127.0.0.9"), 1));
	assert_false(proxy_is_bypassed(NULL, BYTES_LIT("edge.example"), 7844));
	assert_true(proxy_is_bypassed("edge.example:7844", BYTES_LIT("edge.example"), 7844));
}

#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_ARENA(every_kind_has_its_port),
		WITH_ARENA(a_name_and_password_are_decoded_and_not_in_the_text),
		WITH_ARENA(errors_name_the_setting_and_no_secret),
		WITH_ARENA(loopback_needs_no_proxy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
