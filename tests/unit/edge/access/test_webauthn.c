#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/encode.h"
#include "base/mem.h"
#include "edge/access/webauthn.h"

#define CHALLENGE "a challenge of twenty-four"

static const struct webauthn_expected expected = {
	.rp_id = "adit.example.com",
	.origin = "https://adit.example.com:8443",
	.challenge = { (const uint8_t *)CHALLENGE, sizeof(CHALLENGE) - 1 },
};
static char text[65536]; /* tests/data/webauthn/statements.txt */
static struct arena arena;

struct statement {
	struct bytes client_data, auth_data, signature;
};

static int read_statements(void **state)
{
	FILE *f = fopen("tests/data/webauthn/statements.txt", "re");

	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	(void)fclose(f);
	arena_init(&arena);
	return 0;
}

static int forget(void **state)
{
	arena_done(&arena);
	return 0;
}

static struct bytes decoded(struct bytes field)
{
	uint8_t *raw = arena_alloc_bytes(&arena, field.len + 1);
	size_t len = 0;

	if (!bytes_eq(field, BYTES_LIT("-")))
		assert_true(base64_decode(BASE64_URL_RAW, field, raw, &len));
	return bytes_of(raw, len);
}

static struct statement statement_of(const char *name)
{
	struct bytes all = bytes_str(text), line, part[4];

	while (bytes_split(&all, '\n', &line)) {
		for (int i = 0; i < 4; i++)
			(void)bytes_split(&line, ' ', &part[i]);
		if (bytes_eq(part[0], bytes_str(name)))
			return (struct statement){ decoded(part[1]), decoded(part[2]),
						   decoded(part[3]) };
	}
	fail_msg("there is no statement %s", name);
	return (struct statement){ 0 };
}

static int make(const char *name, struct webauthn_key *ret, struct err *err)
{
	struct statement s = statement_of(name);

	return webauthn_register(&expected, s.client_data, s.auth_data, &arena, ret, err);
}

static int use(const char *name, const struct webauthn_key *key, uint32_t *counter, struct err *err)
{
	struct statement s = statement_of(name);

	return webauthn_check(&expected, s.client_data, s.auth_data, s.signature, key, counter, err);
}

/* ------------------------------------------------------------------------------------------ */

static void a_key_of_each_kind_is_made_and_used(void **state)
{
	static const struct {
		const char *made, *used;
		int algorithm;
	} kinds[] = {
		{ "create-es256", "get-es256", -7 },
		{ "create-eddsa", "get-eddsa", -8 },
		{ "create-rs256", "get-rs256", -257 },
	};
	struct webauthn_key key;
	struct err err = { 0 };
	uint32_t counter;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (make(kinds[i].made, &key, &err) < 0 ||
		    use(kinds[i].used, &key, &counter, &err) < 0)
			fail_msg("%s: %s", kinds[i].made, err.text);
		assert_int_equal(key.algorithm, kinds[i].algorithm);
		assert_true(bytes_eq(key.id, BYTES_LIT("an id of a key")));
		assert_int_equal(key.counter, 7);
		assert_int_equal(counter, 8);
	}
}

static void new_keys_that_cannot_be_trusted_are_refused(void **state)
{
	static const struct {
		const char *name, *why;
	} cases[] = {
		{ "create-another-type", "the browser's statement is for something else" },
		{ "create-another-challenge", "the browser's statement answers another challenge" },
		{ "create-another-origin", "the browser's statement is of another page" },
		{ "create-in-a-frame", "the browser's statement is of a frame in another page" },
		{ "create-no-json", "the browser's statement is none" },
		{ "create-another-site", "the passkey is of another site" },
		{ "create-not-present", "the device has not made sure who used it" },
		{ "create-not-verified", "the device has not made sure who used it" },
		{ "create-no-key", "the authenticator's statement is none" },
		{ "create-short", "the authenticator's statement is none" },
		{ "create-cut", "the authenticator's statement is none" },
		{ "create-longer", "the authenticator's statement is none" },
		{ "create-another-curve", "the passkey is of no kind that is known here" },
		{ "create-huge", "the authenticator's statement is none" },
	};
	struct webauthn_key key;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		err = (struct err){ 0 };
		if (make(cases[i].name, &key, &err) != E_INVALID)
			fail_msg("%s is taken, or: %s", cases[i].name, err.text);
		assert_string_equal(err.text, cases[i].why);
	}
}

static void uses_that_cannot_be_trusted_are_refused(void **state)
{
	static const char *const names[] = {
		"get-another-type", "get-another-origin", "get-another-challenge",
		"get-another-site", "get-not-verified",   "get-not-present",
		"get-another-key",  "get-changed",        "get-no-signature",
	};
	struct webauthn_key key, other;
	struct err err = { 0 };
	uint32_t counter = 1234;

	assert_int_equal(make("create-es256", &key, &err), 0);
	assert_int_equal(make("create-rs256", &other, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (use(names[i], &key, &counter, &err) != E_INVALID)
			fail_msg("%s is taken, or: %s", names[i], err.text);
	assert_int_equal(use("get-es256", &other, &counter, &err), E_INVALID);
	assert_int_equal(counter, 1234);
}

static void a_counter_that_does_not_grow_is_a_copy(void **state)
{
	struct webauthn_key key;
	struct err err = { 0 };
	uint32_t counter;

	assert_int_equal(make("create-es256", &key, &err), 0);
	assert_int_equal(use("get-not-counted", &key, &counter, &err), E_DENIED);
	key.counter = 8;
	assert_int_equal(use("get-es256", &key, &counter, &err), E_DENIED);
	/* Those that never count are none. */
	key.counter = 0;
	assert_int_equal(use("get-not-counted", &key, &counter, &err), 0);
}

static void without_a_challenge_nothing_is_right(void **state)
{
	struct webauthn_expected none = expected;
	struct statement s = statement_of("create-es256");
	struct webauthn_key key;

	none.challenge = BYTES_NONE;
	assert_int_equal(webauthn_register(&none, s.client_data, s.auth_data, &arena, &key, NULL),
			 E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_of_each_kind_is_made_and_used),
		cmocka_unit_test(new_keys_that_cannot_be_trusted_are_refused),
		cmocka_unit_test(uses_that_cannot_be_trusted_are_refused),
		cmocka_unit_test(a_counter_that_does_not_grow_is_a_copy),
		cmocka_unit_test(without_a_challenge_nothing_is_right),
	};

	return cmocka_run_group_tests(tests, read_statements, forget);
}
