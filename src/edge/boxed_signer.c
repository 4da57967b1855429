#include "edge/boxed_signer.h"

#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "tls/key_box.h"

_Static_assert(PRIVATE_KEY_SIGNATURE_BYTES <= SIGNER_SIGNATURE_BYTES, "signatures fit");

static int on_sign(void *ctx, struct bytes data, uint8_t *ret, size_t *ret_len)
{
	return private_key_sign(ctx, data, ret, ret_len, NULL);
}

static char *on_text(void *ctx)
{
	return private_key_text(ctx);
}

static void on_drop(void *ctx)
{
	private_key_free(ctx);
}

static json_t *number(struct bytes value)
{
	char *text = base64_text(BASE64_URL_RAW, value);
	json_t *member = json_string(text);

	mem_free(text);
	return member;
}

/* As RFC 7517 has it, in the order of RFC 7638. */
static json_t *public_of(const struct private_key *k)
{
	uint8_t point[PRIVATE_KEY_POINT_BYTES];
	struct bytes n, e;

	if (private_key_kind(k) == PRIVATE_KEY_RSA) {
		private_key_rsa(k, &n, &e);
		return json_pack("{s:o, s:s, s:o}", "e", number(e), "kty", "RSA", "n", number(n));
	}
	private_key_point(k, point);
	return json_pack(
		"{s:s, s:s, s:o, s:o}", "crv", "P-256", "kty", "EC", "x",
		number(bytes_of(point + 1, PRIVATE_KEY_P256_BYTES)), "y",
		number(bytes_of(point + 1 + PRIVATE_KEY_P256_BYTES, PRIVATE_KEY_P256_BYTES)));
}

static struct signer *wrap(struct private_key *k)
{
	const struct signer_outside outside = {
		.algorithm = private_key_kind(k) == PRIVATE_KEY_RSA ? "RS256" : "ES256",
		.ctx = k,
		.public = public_of(k),
		.sign = on_sign,
		.text = on_text,
		.drop = on_drop,
	};

	return signer_new_outside(&outside);
}

struct signer *boxed_signer_make(enum private_key_kind kind, const char *place, struct err *err)
{
	if (!key_box_is_running())
		return kind == PRIVATE_KEY_RSA ? signer_new_rs256(err) : signer_new_es256(err);
	struct private_key *k = private_key_make(kind, place, err);

	return k ? wrap(k) : NULL;
}

struct signer *boxed_signer_parse(const char *text, struct err *err)
{
	if (!private_key_is_boxed(text))
		return signer_parse(text, err);
	struct private_key *k = private_key_parse(text, err);

	return k ? wrap(k) : NULL;
}

/* --- Moving ----------------------------------------------------------------------------------- */

static const char *const members[] = { "x", "y", "n", "e", "p", "q", "d" };

int boxed_signer_move(const char *jwk, const char *place, char **ret_text, struct err *err)
{
	json_t *key = json_loads(jwk, JSON_REJECT_DUPLICATES, NULL);
	const char *type = json_string_value(json_object_get(key, "kty"));
	bool is_rsa = type && strcmp(type, "RSA") == 0;
	struct private_key_numbers numbers = { 0 };
	struct bytes *const to[] = { &numbers.x, &numbers.y, &numbers.n, &numbers.e,
				     &numbers.p, &numbers.q, &numbers.d };
	struct secret raw[ARRAY_LEN(to)] = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(to); i++) {
		struct bytes text = bytes_str(json_string_value(json_object_get(key, members[i])));
		size_t len = 0;
		raw[i] = (struct secret){ mem_alloc(text.len / 4 * 3 + 3), text.len / 4 * 3 + 3 };
		if (text.len && base64_decode(BASE64_URL_RAW, text, raw[i].ptr, &len))
			*to[i] = bytes_of(raw[i].ptr, len);
	}
	json_decref(key);
	char *pem = private_key_pem(is_rsa ? PRIVATE_KEY_RSA : PRIVATE_KEY_P256, &numbers, err);
	int r = pem ? private_key_box(pem, place, ret_text, err) : E_PARSE;
	for (size_t i = 0; i < ARRAY_LEN(raw); i++)
		secret_done(&raw[i]);
	if (pem)
		secret_wipe(pem, strlen(pem));
	mem_free(pem);
	return r;
}
