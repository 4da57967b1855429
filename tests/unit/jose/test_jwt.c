/* Tokens of tests/data/jose/, made by make.py there with PyJWT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "jose/jwt.h"

#define NOW (1767225600 * USEC_PER_SEC)

static struct key_set *keys;
static struct arena arena;
static char *tokens;

static char *file_text(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = mem_alloc(256 * 1024);

	assert_non_null(file);
	assert_true(fread(text, 1, 256 * 1024 - 1, file) > 0);
	fclose(file);
	return text;
}

static int start(void **state)
{
	struct err err;
	char *text = file_text("tests/data/jose/keys.json");

	keys = key_set_parse(bytes_str(text), &err);
	mem_free(text);
	if (!keys)
		fail_msg("%s", err.text);
	tokens = file_text("tests/data/jose/tokens.txt");
	arena_init(&arena);
	return 0;
}

static int stop(void **state)
{
	arena_done(&arena);
	keys = key_set_free(keys);
	tokens = mem_free(tokens);
	return 0;
}

static struct bytes token_of(const char *name)
{
	size_t len = strlen(name);

	for (const char *line = tokens; *line;) {
		const char *end = strchr(line, '\n');
		if (strncmp(line, name, len) == 0 && line[len] == ' ')
			return bytes_of(line + len + 1, (size_t)(end - line) - len - 1);
		line = end + 1;
	}
	fail_msg("there is no token %s", name);
	return BYTES_NONE;
}

static int verify(struct bytes token, struct jwt_claims *claims, struct err *err)
{
	static const char *const audiences[] = { "unused", "app" };
	const struct jwt_expected expected = { .issuer = "https://team.example.com",
					       .audiences = audiences,
					       .audience_count = 2,
					       .now = NOW };

	return jwt_verify(keys, token, &expected, &arena, claims, err);
}

static void good_tokens_tell_who_comes(void **state)
{
	static const char *const names[] = { "good",
					     "good-second",
					     "good-ec",
					     "good-ps256",
					     "good-one-audience",
					     "good-float-dates",
					     "just-expired",
					     "almost" };
	struct jwt_claims claims;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (verify(token_of(names[i]), &claims, &err) < 0)
			fail_msg("%s: %s", names[i], err.text);
		assert_true(bytes_eq(claims.subject, BYTES_LIT("7335d417")));
		assert_true(bytes_eq(claims.email, BYTES_LIT("ann@example.com")));
	}
	assert_int_equal(verify(token_of("good"), &claims, &err), 0);
	assert_int_equal(claims.expires_at, NOW + 3600 * USEC_PER_SEC);
	assert_int_equal(verify(token_of("good-without-nbf-iat"), &claims, &err), 0);
	assert_int_equal(claims.subject.len + claims.email.len, 0);
}

static void bad_tokens_say_why(void **state)
{
	static const char form[] = "it is no signed token", signature[] = "its signature is wrong",
			  audience[] = "it is meant for another application";
	static const struct {
		const char *name;
		int code;
		const char *text;
	} cases[] = {
		{ "tampered", E_INVALID, signature },
		{ "no-signature", E_PARSE, form },
		{ "two-parts", E_PARSE, form },
		{ "five-parts", E_PARSE, form },
		{ "stranger", E_INVALID, signature },
		{ "wrong-key", E_INVALID, signature },
		{ "wrong-kind-of-key", E_NOT_FOUND,
		  "its key \"curve\" is not among those of the issuer" },
		{ "unknown-key", E_NOT_FOUND, "its key \"third\" is not among those of the issuer" },
		{ "encryption-key", E_NOT_FOUND,
		  "its key \"encryption\" is not among those of the issuer" },
		{ "no-kid", E_INVALID, "it names no key" },
		{ "none", E_PARSE, form },
		{ "none-with-signature", E_UNSUPPORTED,
		  "it is signed with \"none\"; RS256, PS256 and ES256 are accepted" },
		{ "no-algorithm", E_UNSUPPORTED,
		  "it is signed with \"\"; RS256, PS256 and ES256 are accepted" },
		{ "rs512", E_UNSUPPORTED,
		  "it is signed with \"RS512\"; RS256, PS256 and ES256 are accepted" },
		{ "ps256", E_NOT_FOUND, "its key \"first\" is not among those of the issuer" },
		{ "rs256-of-a-ps256-key", E_NOT_FOUND,
		  "its key \"another\" is not among those of the issuer" },
		{ "hmac-with-public-key", E_UNSUPPORTED,
		  "it is signed with \"HS256\"; RS256, PS256 and ES256 are accepted" },
		{ "critical", E_UNSUPPORTED, "it needs extensions that are not known here" },
		{ "other-issuer", E_INVALID,
		  "its issuer is \"https://evil.example.com\", not \"https://team.example.com\"" },
		{ "issuer-with-slash", E_INVALID,
		  "its issuer is \"https://team.example.com/\", not \"https://team.example.com\"" },
		{ "no-issuer", E_INVALID, "its issuer is \"\", not \"https://team.example.com\"" },
		{ "other-audience", E_DENIED, audience },
		{ "no-audience", E_DENIED, audience },
		{ "odd-audience", E_DENIED, audience },
		{ "expired", E_TIMEOUT, "it expired 61 s ago" },
		{ "never-expires", E_INVALID, "it does not say when it expires" },
		{ "text-expiry", E_INVALID, "its claim exp is no date" },
		{ "huge-date", E_INVALID, "its claim exp is no date" },
		{ "not-yet", E_TIMEOUT, "it is not valid yet; is the clock right?" },
		{ "from-the-future", E_TIMEOUT, "it is not valid yet; is the clock right?" },
		{ "no-object", E_INVALID, "what it carries is no JSON object" },
		{ "no-json", E_INVALID, "what it carries is no JSON object" },
		{ "twice", E_INVALID, "what it carries is no JSON object" },
	};
	struct jwt_claims claims;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int r = verify(token_of(cases[i].name), &claims, &err);
		if (r != cases[i].code || strcmp(err.text, cases[i].text) != 0)
			fail_msg("%s: %d %s", cases[i].name, r, err.text);
	}
}

/* libcjose 0.6.2 stops the process over it. */
static void padding_is_refused(void **state)
{
	struct jwt_claims claims;
	struct err err;

	assert_int_equal(verify(BYTES_LIT("eyJhbGciOiAiUlMyNTYiLCAia2lkIjogImZpcnN0In0.WzFd."
					  "n=pMoetKlZwx5QDYZ5YrSmkE873Ukhw"),
				&claims, &err),
			 E_PARSE);
}

static void without_audiences_nobody_is_expected(void **state)
{
	const struct jwt_expected expected = { .issuer = "https://team.example.com", .now = NOW };
	struct jwt_claims claims;

	assert_int_equal(jwt_verify(keys, token_of("good"), &expected, &arena, &claims, NULL),
			 E_DENIED);
}

static void anything_else_is_no_token(void **state)
{
	static const char *const texts[] = {
		"", ".", "..", "...", "a.b.c", "e30.e30.", "\xff..", "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"
	};
	struct jwt_claims claims;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_true(verify(bytes_str(texts[i]), &claims, &err) < 0);
	char *long_one = mem_alloc(LIMIT_JWT_BYTES + 2);
	memset(long_one, 'a', LIMIT_JWT_BYTES + 1);
	assert_int_equal(verify(bytes_str(long_one), &claims, &err), E_LIMIT);
	mem_free(long_one);
}

/* ------------------------------------------------------------------------------------------ */

static void only_keys_that_are_of_use_are_kept(void **state)
{
	assert_int_equal(key_set_count(keys), 4);
}

static void what_is_no_key_set_says_why(void **state)
{
	static const struct {
		const char *text;
		int code;
		const char *why;
	} cases[] = {
		{ "", E_PARSE, "it is no JSON (line 1, column 0)" },
		{ "<html>", E_PARSE, "it is no JSON (line 1, column 1)" },
		{ "{}", E_PARSE, "it has no list of keys" },
		{ "[]", E_PARSE, "it has no list of keys" },
		{ "{\"keys\":{}}", E_PARSE, "it has no list of keys" },
		{ "{\"keys\":[]}", E_NOT_FOUND,
		  "none of its 0 keys can be used for RS256, PS256 or ES256" },
		{ "{\"keys\":[1,null,{\"kty\":1},{\"kid\":\"a\",\"kty\":\"RSA\",\"n\":\"AAAA\","
		  "\"e\":\"AQAB\"},{\"kid\":\"a\",\"kty\":\"RSA\",\"n\":\"?\",\"e\":5}]}",
		  E_NOT_FOUND, "none of its 5 keys can be used for RS256, PS256 or ES256" },
	};
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_null(key_set_parse(bytes_str(cases[i].text), &err));
		assert_int_equal(err.code, cases[i].code);
		assert_string_equal(err.text, cases[i].why);
	}
}

static void too_many_keys_are_refused(void **state)
{
	struct buf text;
	struct err err;

	buf_init(&text, LIMIT_KEY_SET_BYTES * 2);
	assert_int_equal(buf_append_str(&text, "{\"keys\":["), 0);
	for (int i = 0; i <= LIMIT_KEY_SET_KEYS; i++)
		assert_int_equal(buf_append_str(&text, i ? ",{}" : "{}"), 0);
	assert_int_equal(buf_append_str(&text, "]}"), 0);
	assert_null(key_set_parse(buf_bytes(&text), &err));
	assert_int_equal(err.code, E_LIMIT);
	while (text.len <= LIMIT_KEY_SET_BYTES)
		assert_int_equal(buf_append_str(&text, "                    "), 0);
	assert_null(key_set_parse(buf_bytes(&text), &err));
	assert_string_equal(err.text, "it is larger than 131072 bytes");
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_tokens_tell_who_comes),
		cmocka_unit_test(bad_tokens_say_why),
		cmocka_unit_test(padding_is_refused),
		cmocka_unit_test(without_audiences_nobody_is_expected),
		cmocka_unit_test(anything_else_is_no_token),
		cmocka_unit_test(only_keys_that_are_of_use_are_kept),
		cmocka_unit_test(what_is_no_key_set_says_why),
		cmocka_unit_test(too_many_keys_are_refused),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
