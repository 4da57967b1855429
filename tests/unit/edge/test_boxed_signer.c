/* Keys that sign tokens and more, in the key process: tls/private_key.h, edge/boxed_signer.h, edge/access/keys.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/mem.h"
#include "edge/access/keys.h"
#include "edge/boxed_signer.h"
#include "jose/jwt.h"
#include "tls/key_box.h"

#define PLACE "a test"
#define NOW ((usec)1800000000 * USEC_PER_SEC)

/* --- A box that seals with a byte and the place -------------------------------------------------- */

static int begin(void *ctx, struct err *err)
{
	(void)ctx;
	(void)err;
	return 0;
}

static uint8_t *seal(void *ctx, struct bytes plain, const char *place, size_t *ret_len)
{
	size_t place_len = strlen(place);
	uint8_t *sealed = mem_alloc(1 + place_len + plain.len);

	(void)ctx;
	sealed[0] = (uint8_t)place_len;
	memcpy(sealed + 1, place, place_len);
	for (size_t i = 0; i < plain.len; i++)
		sealed[1 + place_len + i] = plain.ptr[i] ^ 0x55;
	*ret_len = 1 + place_len + plain.len;
	return sealed;
}

static int open_sealed(void *ctx, struct bytes sealed, const char *place, struct secret *ret,
		       struct err *err)
{
	size_t place_len = strlen(place);

	(void)ctx;
	if (sealed.len < 1 + place_len || sealed.ptr[0] != place_len ||
	    memcmp(sealed.ptr + 1, place, place_len) != 0)
		return err_set(err, E_DENIED, "another place");
	secret_set(ret, bytes_from(sealed, 1 + place_len));
	for (size_t i = 0; i < ret->len; i++)
		ret->ptr[i] ^= 0x55;
	return 0;
}

static int start(void **state)
{
	static const struct key_box_options options = {
		.conversations = 1,
		.begin = begin,
		.seal = seal,
		.open = open_sealed,
	};

	(void)state;
	return key_box_start(&options, NULL);
}

static int stop(void **state)
{
	(void)state;
	key_box_stop();
	return 0;
}

/* --- Tokens -------------------------------------------------------------------------------------- */

/* Does a token of the signer hold for its public half? */
static void check_token(const struct signer *s)
{
	char *id = signer_thumbprint(s);
	json_t *public = signer_public(s), *header = json_pack("{s:s}", "kid", id);

	json_object_set_new(public, "kid", json_string(id));
	json_t *list = json_pack("{s:[o]}", "keys", public);
	char *text = json_dumps(list, 0);
	struct key_set *set = key_set_parse(bytes_str(text), NULL);
	assert_non_null(set);
	char *payload =
		mem_printf("{\"exp\":%lld,\"sub\":\"x\"}", (long long)(NOW / USEC_PER_SEC + 60));
	char *token = signer_token(s, header, bytes_str(payload));
	struct arena arena;
	struct jwt_claims claims;
	struct err err = { 0 };
	arena_init(&arena);
	int r = jwt_verify_answer(set, bytes_str(token), NOW, &arena, &claims, &err);
	if (r < 0)
		print_error("%s\n", err.text);
	assert_int_equal(r, 0);
	assert_true(bytes_eq(claims.subject, BYTES_LIT("x")));
	arena_done(&arena);
	key_set_free(set);
	mem_free(token);
	mem_free(payload);
	mem_free(id);
	free(text);
	json_decref(list);
	json_decref(header);
}

static void test_a_key_that_is_made_there_signs_tokens(void **state)
{
	static const enum private_key_kind kinds[] = { PRIVATE_KEY_P256, PRIVATE_KEY_RSA };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct err err = { 0 };
		struct signer *s = boxed_signer_make(kinds[i], PLACE, &err);
		assert_non_null(s);
		check_token(s);
		char *text = signer_text(s), *id = signer_thumbprint(s);
		assert_true(private_key_is_boxed(text));
		struct signer *again = boxed_signer_parse(text, &err);
		assert_non_null(again);
		check_token(again);
		char *same = signer_thumbprint(again);
		assert_string_equal(id, same);
		mem_free(same);
		mem_free(id);
		mem_free(text);
		signer_free(again);
		signer_free(s);
	}
}

static void test_a_key_of_before_moves_and_is_the_same(void **state)
{
	struct signer *(*const make[])(struct err *) = { signer_new_es256, signer_new_rs256 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(make); i++) {
		struct err err = { 0 };
		struct signer *before = make[i](&err);
		char *jwk = signer_text(before), *id = signer_thumbprint(before), *text = NULL;
		assert_int_equal(boxed_signer_move(jwk, PLACE, &text, &err), 0);
		struct signer *after = boxed_signer_parse(text, &err);
		assert_non_null(after);
		char *same = signer_thumbprint(after);
		assert_string_equal(id, same);
		check_token(after);
		mem_free(same);
		mem_free(id);
		mem_free(jwk);
		mem_free(text);
		signer_free(after);
		signer_free(before);
	}
}

static void test_what_is_no_key_does_not_move(void **state)
{
	static const char *const texts[] = {
		"",
		"{}",
		"[]",
		"{\"kty\":\"RSA\"}",
		"{\"kty\":\"EC\",\"x\":\"AA\",\"y\":\"AA\",\"d\":\"AA\"}",
		"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\",\"d\":\"AQAB\",\"p\":\"AQAB\",\"q\":\"AQAB\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct err err = { 0 };
		char *text = NULL;
		assert_int_equal(boxed_signer_move(texts[i], PLACE, &text, &err), E_PARSE);
		assert_null(text);
	}
	static const char *const boxed[] = {
		"boxed ",          "boxed AA==",  "boxed YQ== YQ== YQ==",
		"boxed YQ== YQ==", "boxed * * *", "boxed YQ== YQ== YQ== YQ==",
		"rubbish",
	};
	for (size_t i = 0; i < ARRAY_LEN(boxed); i++) {
		struct err err = { 0 };
		assert_null(private_key_parse(boxed[i], &err));
		assert_true(err.code < 0);
	}
}

static void test_the_keys_of_access_move_as_a_whole(void **state)
{
	struct err err = { 0 };
	char *moved = NULL, *again = NULL;

	(void)state;
	key_box_stop();
	struct access_keys *keys = access_keys_new(NOW, &err);
	assert_true(access_keys_rotate(keys, NOW + 1, ACCESS_ROTATE_SOON, &err) > 0);
	char *text = access_keys_text(keys), *published = access_keys_public(keys);
	access_keys_free(keys);
	assert_int_equal(start(NULL), 0);
	assert_int_equal(access_keys_box(text, &moved, &err), 1);
	assert_null(strstr(moved, "\\\"d\\\""));
	assert_int_equal(access_keys_box(moved, &again, &err), 0);
	keys = access_keys_parse(moved, &err);
	assert_non_null(keys);
	char *same = access_keys_public(keys);
	assert_string_equal(same, published);
	/* The next one, when it is its turn, and the one after that, which is made there. */
	assert_true(access_keys_rotate(keys, NOW + 1 + ACCESS_KEY_LEAD, ACCESS_ROTATE_DUE, &err) >
		    0);
	assert_true(access_keys_rotate(keys, NOW + 2 + ACCESS_KEY_LEAD, ACCESS_ROTATE_NOW, &err) >
		    0);
	mem_free(text);
	text = access_keys_text(keys);
	assert_int_equal(access_keys_box(text, &again, &err), 0);
	access_keys_free(keys);
	mem_free(same);
	mem_free(published);
	mem_free(moved);
	mem_free(text);
}

static void test_without_the_process_a_key_says_who_it_is_and_does_not_sign(void **state)
{
	uint8_t signature[PRIVATE_KEY_SIGNATURE_BYTES];
	uint8_t before[PRIVATE_KEY_POINT_BYTES], after[PRIVATE_KEY_POINT_BYTES];
	struct err err = { 0 };
	size_t len = 0;

	(void)state;
	struct private_key *k = private_key_make(PRIVATE_KEY_P256, PLACE, &err);
	char *text = private_key_text(k);
	private_key_point(k, before);
	private_key_free(k);
	key_box_stop();
	k = private_key_parse(text, &err);
	assert_non_null(k);
	private_key_point(k, after);
	assert_memory_equal(before, after, sizeof(before));
	assert_int_equal(private_key_sign(k, BYTES_LIT("data"), signature, &len, &err), E_CLOSED);
	private_key_free(k);
	struct signer *s = boxed_signer_parse(text, &err);
	json_t *header = json_object();
	char *token = signer_token(s, header, BYTES_LIT("x"));
	assert_int_equal(token[strlen(token) - 1], '.');
	json_decref(header);
	mem_free(token);
	signer_free(s);
	mem_free(text);
	assert_int_equal(start(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_key_that_is_made_there_signs_tokens, start,
						stop),
		cmocka_unit_test_setup_teardown(test_a_key_of_before_moves_and_is_the_same, start,
						stop),
		cmocka_unit_test_setup_teardown(test_what_is_no_key_does_not_move, start, stop),
		cmocka_unit_test_setup_teardown(test_the_keys_of_access_move_as_a_whole, start,
						stop),
		cmocka_unit_test_setup_teardown(
			test_without_the_process_a_key_says_who_it_is_and_does_not_sign, start,
			stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
