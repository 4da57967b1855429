/* What Access signs, and what it accepts as its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/mem.h"
#include "edge/access/keys.h"
#include "edge/access/token.h"
#include "jose/signer.h"

#define AUD_1 "1111111111111111111111111111111111111111111111111111111111111111"
#define AUD_2 "2222222222222222222222222222222222222222222222222222222222222222"
#define ISSUER "https://adit.example.com"
#define NOW (1767225600 * USEC_PER_SEC)
#define HOUR (3600 * USEC_PER_SEC)

static struct arena arena;
static struct access_keys *keys;

static int start(void **state)
{
	struct err err = { 0 };

	(void)state;
	arena_init(&arena);
	keys = access_keys_new(NOW, &err);
	if (!keys)
		fail_msg("%s", err.text);
	return 0;
}

static int end(void **state)
{
	(void)state;
	keys = access_keys_free(keys);
	arena_done(&arena);
	return 0;
}

static struct key_set *published_by(const struct access_keys *k)
{
	struct err err = { 0 };
	char *text = access_keys_public(k);
	struct key_set *set = key_set_parse(bytes_str(text), &err);

	if (!set)
		fail_msg("%s", err.text);
	mem_free(text);
	return set;
}

static char *mint(enum access_token_type type)
{
	struct access_mint m = {
		.type = type,
		.issuer = ISSUER,
		.audience = AUD_1,
		.session = "s1",
		.subject = "u1",
		.email = "ann@example.com",
		.country = "PT",
		.now = NOW,
		.expires_at = NOW + HOUR,
		.era = 7,
		.more = json_pack("{s:s, s:s}", "custom", "x", "email", "eve@evil.test"),
	};

	return access_token_mint(keys, &m);
}

static int check(const struct key_set *set, const char *token, enum access_token_type type,
		 const char *issuer, const char *aud, usec now, struct access_claims *ret)
{
	struct err err = { 0 };
	int r = access_token_check(set, bytes_str(token), type, issuer, aud, now, &arena, ret, &err);

	assert_int_equal(r, err.code);
	return r;
}

static void a_token_says_what_it_was_made_for(void **state)
{
	struct key_set *set = published_by(keys);
	struct access_claims c;
	char *token = mint(TOKEN_APP);

	(void)state;
	assert_int_equal(check(set, token, TOKEN_APP, ISSUER, AUD_1, NOW, &c), 0);
	assert_true(bytes_eq(c.session, BYTES_LIT("s1")));
	assert_true(bytes_eq(c.subject, BYTES_LIT("u1")));
	assert_true(bytes_eq(c.email, BYTES_LIT("ann@example.com")));
	assert_true(bytes_eq(c.country, BYTES_LIT("PT")));
	assert_int_equal(c.expires_at, NOW + HOUR);
	assert_int_equal(c.era, 7);
	mem_free(token);
	key_set_free(set);
}

/* With a token in their hands, the clock of the edge is set: a little, back by an hour, and forward. What was made by a
 * clock that was ahead is not good before its time. */
static void a_token_goes_by_the_clock_of_the_moment(void **state)
{
	struct key_set *set = published_by(keys);
	struct access_claims c;
	char *token = mint(TOKEN_APP);

	(void)state;
	assert_int_equal(check(set, token, TOKEN_APP, ISSUER, AUD_1, NOW - 30 * USEC_PER_SEC, &c),
			 0);
	assert_int_equal(check(set, token, TOKEN_APP, ISSUER, AUD_1, NOW - HOUR, &c), E_TIMEOUT);
	assert_int_equal(check(set, token, TOKEN_APP, ISSUER, AUD_1, NOW + 2 * HOUR, &c), E_TIMEOUT);
	assert_int_equal(check(set, token, TOKEN_APP, ISSUER, AUD_1, NOW, &c), 0);
	mem_free(token);
	key_set_free(set);
}

/* A leap of ten years forward, and back again. */
static void keys_outlive_a_clock_that_is_set(void **state)
{
	usec ahead = NOW + 3650 * 24 * HOUR, back = NOW + HOUR;
	char *old = mint(TOKEN_APP);
	struct access_claims c;
	struct key_set *set;

	(void)state;
	while (access_keys_due(keys) <= ahead)
		assert_true(access_keys_rotate(keys, ahead, ACCESS_ROTATE_DUE, NULL) > 0);
	assert_true(access_keys_rotate(keys, back, ACCESS_ROTATE_DUE, NULL) > 0);
	/* What was signed with the key of before is good, and the next change is as far as it should be. */
	set = published_by(keys);
	assert_int_equal(check(set, old, TOKEN_APP, ISSUER, AUD_1, NOW, &c), 0);
	assert_true(access_keys_due(keys) <= back + ACCESS_KEY_LIFE);
	assert_int_equal(access_keys_rotate(keys, back, ACCESS_ROTATE_DUE, NULL), 0);
	key_set_free(set);
	mem_free(old);
}

static void a_token_is_good_for_its_own_purpose_only(void **state)
{
	struct key_set *set = published_by(keys);
	struct access_claims c;

	(void)state;
	for (enum access_token_type made = 0; made < TOKEN_TYPES; made++) {
		char *token = mint(made);

		for (enum access_token_type type = 0; type < TOKEN_TYPES; type++)
			assert_int_equal(check(set, token, type, ISSUER, AUD_1, NOW, &c),
					 type == made ? 0 : E_DENIED);
		assert_int_equal(check(set, token, made, ISSUER, AUD_2, NOW, &c), E_DENIED);
		assert_int_equal(check(set, token, made, "https://x.test", AUD_1, NOW, &c),
				 E_INVALID);
		assert_int_equal(check(set, token, made, ISSUER, AUD_1, NOW + 2 * HOUR, &c),
				 E_TIMEOUT);
		assert_int_equal(check(set, token, made, ISSUER, AUD_1, NOW - HOUR, &c), E_TIMEOUT);
		mem_free(token);
	}
	key_set_free(set);
}

static char *forged(const char *header, const char *payload, const char *signature)
{
	char *h = base64_text(BASE64_URL_RAW, bytes_str(header));
	char *p = base64_text(BASE64_URL_RAW, bytes_str(payload));
	char *token = mem_printf("%s.%s.%s", h, p, signature);

	mem_free(h);
	mem_free(p);
	return token;
}

static char *key_id(void)
{
	char *text = access_keys_public(keys), *id;
	json_t *set = json_loads(text, 0, NULL);

	id = mem_strdup(json_string_value(
		json_object_get(json_array_get(json_object_get(set, "keys"), 0), "kid")));
	json_decref(set);
	mem_free(text);
	return id;
}

static void forgeries_are_refused(void **state)
{
	static const char payload[] =
		"{\"aud\":[\"" AUD_1 "\"],\"iss\":\"" ISSUER
		"\",\"type\":\"app\",\"exp\":1767229200,\"iat\":1767225600,\"sub\":\"u1\"}";
	struct key_set *set = published_by(keys);
	struct access_claims c;
	struct err err = { 0 };
	char *id = key_id(), *public = access_keys_public(keys), *header, *token;
	struct signer *hmac = signer_new_hs256(bytes_str(public), &err);

	(void)state;
	assert_non_null(hmac);
	/* No signature at all. */
	header = mem_printf("{\"alg\":\"none\",\"kid\":\"%s\"}", id);
	token = forged(header, payload, "AA");
	assert_int_equal(check(set, token, TOKEN_APP, ISSUER, AUD_1, NOW, &c), E_UNSUPPORTED);
	mem_free(token);
	token = forged(header, payload, "");
	assert_int_equal(check(set, token, TOKEN_APP, ISSUER, AUD_1, NOW, &c), E_PARSE);
	mem_free(token);
	mem_free(header);
	/* The public key as the secret of an HMAC. */
	json_t *h = json_pack("{s:s}", "kid", id);
	token = signer_token(hmac, h, bytes_str(payload));
	assert_int_equal(check(set, token, TOKEN_APP, ISSUER, AUD_1, NOW, &c), E_UNSUPPORTED);
	mem_free(token);
	json_decref(h);
	/* Another's key under our name. */
	struct access_keys *others = access_keys_new(NOW, &err);
	struct access_mint m = { .type = TOKEN_APP,
				 .issuer = ISSUER,
				 .audience = AUD_1,
				 .now = NOW,
				 .expires_at = NOW + HOUR };
	token = access_token_mint(others, &m);
	assert_int_equal(check(set, token, TOKEN_APP, ISSUER, AUD_1, NOW, &c), E_NOT_FOUND);
	mem_free(token);
	access_keys_free(others);
	/* Every byte of a good one matters. */
	token = mint(TOKEN_APP);
	for (size_t i = 0; token[i]; i++) {
		char was = token[i];

		token[i] = was == 'A' ? 'B' : 'A';
		assert_true(check(set, token, TOKEN_APP, ISSUER, AUD_1, NOW, &c) < 0);
		token[i] = was;
	}
	assert_int_equal(check(set, token, TOKEN_APP, ISSUER, AUD_1, NOW, &c), 0);
	mem_free(token);
	signer_free(hmac);
	mem_free(id);
	mem_free(public);
	key_set_free(set);
}

static size_t count_published(void)
{
	struct key_set *set = published_by(keys);
	size_t count = key_set_count(set);

	key_set_free(set);
	return count;
}

static void keys_change_with_overlap(void **state)
{
	char *old = mint(TOKEN_APP), *other;
	struct access_claims c;
	struct key_set *set;
	struct err err = { 0 };
	usec later = NOW + ACCESS_KEY_LIFE, announced = later - ACCESS_KEY_ANNOUNCE;

	(void)state;
	/* The next one is published, and signs a week later. */
	assert_int_equal(access_keys_due(keys), announced);
	assert_int_equal(access_keys_rotate(keys, announced - 1, ACCESS_ROTATE_DUE, &err), 0);
	assert_int_equal(count_published(), 1);
	assert_int_equal(access_keys_next(keys), 0);
	assert_int_equal(access_keys_rotate(keys, announced, ACCESS_ROTATE_DUE, &err), 1);
	assert_int_equal(count_published(), 2);
	assert_int_equal(access_keys_next(keys), later);
	assert_int_equal(access_keys_due(keys), later);
	set = published_by(keys);
	assert_int_equal(access_keys_rotate(keys, later - 1, ACCESS_ROTATE_DUE, &err), 0);
	assert_int_equal(access_keys_rotate(keys, later, ACCESS_ROTATE_DUE, &err), 1);
	assert_int_equal(access_keys_next(keys), 0);
	assert_int_equal(count_published(), 2);
	/* Who fetched the keys a week ago knows both. */
	other = mint(TOKEN_APP);
	assert_int_equal(check(set, old, TOKEN_APP, ISSUER, AUD_1, NOW, &c), 0);
	assert_int_equal(check(set, other, TOKEN_APP, ISSUER, AUD_1, NOW, &c), 0);
	key_set_free(set);
	mem_free(other);

	usec gone = later + ACCESS_KEY_OVERLAP;
	assert_int_equal(access_keys_due(keys), gone);
	assert_int_equal(access_keys_rotate(keys, gone, ACCESS_ROTATE_DUE, &err), 1);
	set = published_by(keys);
	assert_int_equal(key_set_count(set), 1);
	assert_int_equal(check(set, old, TOKEN_APP, ISSUER, AUD_1, NOW, &c), E_NOT_FOUND);
	key_set_free(set);
	mem_free(old);
}

static void a_change_by_hand_is_announced_too(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(access_keys_rotate(keys, NOW, ACCESS_ROTATE_SOON, &err), 1);
	assert_int_equal(access_keys_next(keys), NOW + ACCESS_KEY_LEAD);
	assert_int_equal(count_published(), 2);
	/* Asked for again, it is not put off. */
	assert_int_equal(access_keys_rotate(keys, NOW + 1, ACCESS_ROTATE_SOON, &err), 0);
	assert_int_equal(access_keys_due(keys), NOW + ACCESS_KEY_LEAD);
	assert_int_equal(access_keys_rotate(keys, NOW + ACCESS_KEY_LEAD, ACCESS_ROTATE_DUE, &err),
			 1);
	assert_int_equal(access_keys_next(keys), 0);

	/* One that has been published for days signs at once. */
	usec due = NOW + ACCESS_KEY_LEAD + ACCESS_KEY_LIFE - ACCESS_KEY_ANNOUNCE;
	assert_int_equal(access_keys_rotate(keys, due, ACCESS_ROTATE_DUE, &err), 1);
	assert_int_equal(access_keys_next(keys), due + ACCESS_KEY_ANNOUNCE);
	assert_int_equal(access_keys_rotate(keys, due + ACCESS_KEY_LEAD, ACCESS_ROTATE_SOON, &err),
			 1);
	assert_int_equal(access_keys_next(keys), 0);
	assert_int_equal(count_published(), 2);
}

static void an_edge_that_was_off_for_long_announces_nevertheless(void **state)
{
	struct err err = { 0 };
	usec later = NOW + 3 * ACCESS_KEY_LIFE;

	(void)state;
	assert_int_equal(access_keys_rotate(keys, later, ACCESS_ROTATE_DUE, &err), 1);
	assert_int_equal(access_keys_next(keys), later + ACCESS_KEY_LEAD);
}

static void a_key_that_is_known_to_others_goes_at_once(void **state)
{
	char *old = mint(TOKEN_APP), *fresh;
	struct access_claims c;
	struct key_set *announced, *set;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(access_keys_rotate(keys, NOW, ACCESS_ROTATE_SOON, &err), 1);
	announced = published_by(keys);
	assert_int_equal(access_keys_rotate(keys, NOW + 1, ACCESS_ROTATE_NOW, &err), 1);
	/* Not the one that lay beside it. */
	fresh = mint(TOKEN_APP);
	assert_int_equal(access_keys_next(keys), 0);
	assert_int_equal(check(announced, fresh, TOKEN_APP, ISSUER, AUD_1, NOW, &c), E_NOT_FOUND);
	set = published_by(keys);
	assert_int_equal(key_set_count(set), 2);
	assert_int_equal(check(set, old, TOKEN_APP, ISSUER, AUD_1, NOW, &c), 0);
	key_set_free(set);

	assert_int_equal(access_keys_rotate(keys, NOW + 2, ACCESS_ROTATE_WITHDRAW, &err), 1);
	set = published_by(keys);
	assert_int_equal(key_set_count(set), 1);
	assert_int_equal(check(set, old, TOKEN_APP, ISSUER, AUD_1, NOW, &c), E_NOT_FOUND);
	assert_int_equal(check(set, fresh, TOKEN_APP, ISSUER, AUD_1, NOW, &c), E_NOT_FOUND);
	key_set_free(set);
	key_set_free(announced);
	mem_free(fresh);
	mem_free(old);
}

static void keys_survive_being_stored(void **state)
{
	char *token = mint(TOKEN_APP), *text;
	struct access_keys *again;
	struct access_claims c;
	struct key_set *set;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(access_keys_rotate(keys, NOW + 1, ACCESS_ROTATE_NOW, &err), 1);
	assert_int_equal(access_keys_rotate(keys, NOW + 2, ACCESS_ROTATE_SOON, &err), 1);
	text = access_keys_text(keys);
	again = access_keys_parse(text, &err);
	if (!again)
		fail_msg("%s", err.text);
	set = published_by(again);
	assert_int_equal(key_set_count(set), 3);
	assert_int_equal(access_keys_next(again), NOW + 2 + ACCESS_KEY_LEAD);
	assert_int_equal(
		access_keys_rotate(again, NOW + 2 + ACCESS_KEY_LEAD, ACCESS_ROTATE_DUE, &err), 1);
	assert_int_equal(check(set, token, TOKEN_APP, ISSUER, AUD_1, NOW, &c), 0);
	mem_free(token);
	token = mint(TOKEN_ORG);
	assert_int_equal(check(set, token, TOKEN_ORG, ISSUER, AUD_1, NOW, &c), 0);
	access_keys_free(again);
	key_set_free(set);
	mem_free(token);
	mem_free(text);
	assert_null(access_keys_parse("{}", &err));
	assert_int_equal(err.code, E_PARSE);
	assert_null(access_keys_parse("{\"next\":{}}", &err));
	assert_int_equal(err.code, E_PARSE);
	assert_null(access_keys_parse("{\"current\":\"{\\\"kty\\\":\\\"RSA\\\"}\"}", &err));
	assert_int_equal(err.code, E_PARSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_token_says_what_it_was_made_for, start, end),
		cmocka_unit_test_setup_teardown(a_token_goes_by_the_clock_of_the_moment, start, end),
		cmocka_unit_test_setup_teardown(keys_outlive_a_clock_that_is_set, start, end),
		cmocka_unit_test_setup_teardown(a_token_is_good_for_its_own_purpose_only, start,
						end),
		cmocka_unit_test_setup_teardown(forgeries_are_refused, start, end),
		cmocka_unit_test_setup_teardown(keys_change_with_overlap, start, end),
		cmocka_unit_test_setup_teardown(a_change_by_hand_is_announced_too, start, end),
		cmocka_unit_test_setup_teardown(
			an_edge_that_was_off_for_long_announces_nevertheless, start, end),
		cmocka_unit_test_setup_teardown(a_key_that_is_known_to_others_goes_at_once, start,
						end),
		cmocka_unit_test_setup_teardown(keys_survive_being_stored, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
