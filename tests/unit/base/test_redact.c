#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/redact.h"

static void names_of_secrets_are_known(void **state)
{
	static const char *const secret[] = {
		"Authorization",
		"Proxy-Authorization",
		"Cookie",
		"Set-Cookie",
		"Cf-Access-Jwt-Assertion",
		"cf-access-client-secret",
		"Sec-WebSocket-Key",
		"Sec-WebSocket-Protocol",
		"X-Api-Key",
		"access_token",
		"token",
		"TUNNEL_TOKEN",
		"TUNNEL_CREATE_SECRET",
		"TUNNEL_SERVICE_TOKEN_ID",
		"password",
		"key",
		"code",
		"sig",
	};
	static const char *const open[] = {
		"Accept",  "User-Agent",  "TUNNEL_TOKEN_FILE", "token-file",
		"",        "TUNNEL_EDGE", "TUNNEL_CRED_FILE",  "Sec-WebSocket-Version",
		"keyword", "status_code",
	};

	for (size_t i = 0; i < ARRAY_LEN(secret); i++)
		if (!redact_is_secret_name(bytes_str(secret[i])))
			fail_msg("%s would be shown", secret[i]);
	for (size_t i = 0; i < ARRAY_LEN(open); i++)
		if (redact_is_secret_name(bytes_str(open[i])))
			fail_msg("%s is hidden", open[i]);
}

static void secrets_in_text_are_masked(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "GET /a?token=abc&b=1", "GET /a?token=*****&b=1" },
		{ "/a?b=1&access_token=abc", "/a?b=1&access_token=*****" },
		{ "https://u:p@h/x?y", "https://*****@h/x?y" },
		{ "http://user@h", "http://*****@h" },
		{ "https://u:p@q@h/", "https://*****@h/" },
		{ "see https://h/a@b", "see https://h/a@b" },
		{ "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.x, next",
		  "Authorization: Bearer *****, next" },
		{ "basic functions only", "basic functions only" },
		{ "Basic dXNlcjpwYXNzd29yZA==", "Basic *****" },
		{ "{\"token\": \"abc\",\"a\":1}", "{\"token\": \"*****\",\"a\":1}" },
		{ "{\"TunnelSecret\":\"abc\"}", "{\"TunnelSecret\":\"*****\"}" },
		{ "password='x y'", "password='***** y'" },
		{ "token=", "token=" },
		{ "token", "token" },
		{ "=", "=" },
		{ "://", "://" },
		{ ":", ":" },
		{ "", "" },
		{ "Invalid token: too short", "Invalid token: too short" },
	};
	char dst[200];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct bytes got = redact_text(bytes_str(cases[i].text), dst, sizeof(dst));
		if (!bytes_eq(got, bytes_str(cases[i].want)))
			fail_msg("%s became " BYTES_FMT, cases[i].text, BYTES_ARG(got));
	}
}

static void text_without_secrets_is_not_copied(void **state)
{
	struct bytes text = BYTES_LIT("nothing = here");
	char dst[20];

	assert_ptr_equal(redact_text(text, dst, sizeof(dst)).ptr, text.ptr);
}

static void masked_text_is_cut_to_what_there_is_room_for(void **state)
{
	char dst[10];

	for (size_t size = 0; size <= sizeof(dst); size++) {
		struct bytes got = redact_text(BYTES_LIT("token=secret&token=secret"), dst, size);
		assert_int_equal(got.len, size);
		assert_memory_equal(got.ptr, "token=****", size);
	}
}

static void urls_lose_what_may_be_secret(void **state)
{
	static const struct {
		const char *url, *want;
	} cases[] = {
		{ "https://a.example/x?y=1#z", "https://a.example/x" },
		{ "https://a.example/x#z?", "https://a.example/x" },
		{ "https://u:p@a.example/x", "a.example/x" },
		{ "https://u:p@q@a.example/x@y", "a.example/x@y" },
		{ "/path?x", "/path" },
		{ "?x", "" },
		{ "//", "//" },
		{ "", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct bytes got = redact_url(bytes_str(cases[i].url));
		if (!bytes_eq(got, bytes_str(cases[i].want)))
			fail_msg("%s became " BYTES_FMT, cases[i].url, BYTES_ARG(got));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_secrets_are_known),
		cmocka_unit_test(secrets_in_text_are_masked),
		cmocka_unit_test(text_without_secrets_is_not_copied),
		cmocka_unit_test(masked_text_is_cut_to_what_there_is_room_for),
		cmocka_unit_test(urls_lose_what_may_be_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
