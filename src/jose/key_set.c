#include "jose/key_set.h"

#include <jansson.h>

#include "base/encode.h"
#include "base/limits.h"
#include "base/mem.h"
#include "jose/cjose_library.h"
#include "jose/jose_internal.h"

/* RSA: below is broken soon, above takes a noticeable time to check. */
#define RSA_BYTES_MIN (2048 / 8)
#define RSA_BYTES_MAX (8192 / 8)
/* 65537 has three; more only makes checking slow. */
#define RSA_EXPONENT_BYTES_MAX 4
#define P256_BYTES 32

struct key {
	char *id; /* owned */
	enum jose_algorithm algorithm;
	cjose_jwk_t *jwk; /* owned */
};

struct key_set {
	struct key *keys; /* owned */
	size_t count;
};

bool jose_algorithm_parse(const char *name, enum jose_algorithm *ret)
{
	if (strcmp(name, "RS256") == 0)
		*ret = JOSE_RS256;
	else if (strcmp(name, "PS256") == 0)
		*ret = JOSE_PS256;
	else if (strcmp(name, "ES256") == 0)
		*ret = JOSE_ES256;
	else
		return false;
	return true;
}

struct key_set *key_set_free(struct key_set *set)
{
	if (!set)
		return NULL;
	for (size_t i = 0; i < set->count; i++) {
		mem_free(set->keys[i].id);
		cjose_jwk_release(set->keys[i].jwk);
	}
	mem_free(set->keys);
	return mem_free(set);
}

size_t key_set_count(const struct key_set *set)
{
	return set->count;
}

const cjose_jwk_t *key_set_find(const struct key_set *set, const char *id,
				enum jose_algorithm algorithm)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->keys[i].algorithm == algorithm && strcmp(set->keys[i].id, id) == 0)
			return set->keys[i].jwk;
	return NULL;
}

/* ------------------------------------------------------------------------------------------ */

/* A base64url member as a number without leading zeros; false when it is none or longer than `max`. */
static bool number_get(const json_t *key, const char *name, uint8_t *dst, size_t max,
		       size_t *ret_len)
{
	uint8_t raw[RSA_BYTES_MAX + 8];
	const char *text = json_string_value(json_object_get(key, name));
	size_t len, zeros = 0;

	if (!text || strlen(text) > base64_size(RSA_BYTES_MAX))
		return false;
	if (!base64_decode(BASE64_URL_RAW, bytes_str(text), raw, &len))
		return false;
	while (zeros < len && raw[zeros] == 0)
		zeros++;
	if (len - zeros > max || len == zeros)
		return false;
	memcpy(dst, raw + zeros, len - zeros);
	*ret_len = len - zeros;
	return true;
}

static cjose_jwk_t *rsa_read(const json_t *key)
{
	uint8_t n[RSA_BYTES_MAX], e[RSA_EXPONENT_BYTES_MAX];
	cjose_jwk_rsa_keyspec spec = { .n = n, .e = e };

	if (!number_get(key, "n", n, sizeof(n), &spec.nlen) ||
	    !number_get(key, "e", e, sizeof(e), &spec.elen) || spec.nlen < RSA_BYTES_MIN)
		return NULL;
	/* Even moduli and exponents, and 1, are no keys; the library does not look. */
	if (!(n[spec.nlen - 1] & 1) || !(e[spec.elen - 1] & 1) || (spec.elen == 1 && e[0] < 3))
		return NULL;
	return cjose_jwk_create_RSA_spec(&spec, NULL);
}

static bool coordinate_get(const json_t *key, const char *name, uint8_t dst[P256_BYTES])
{
	uint8_t number[P256_BYTES];
	size_t len;

	if (!number_get(key, name, number, sizeof(number), &len))
		return false;
	memset(dst, 0, P256_BYTES);
	memcpy(dst + P256_BYTES - len, number, len);
	return true;
}

static cjose_jwk_t *ec_read(const json_t *key)
{
	const char *curve = json_string_value(json_object_get(key, "crv"));
	uint8_t x[P256_BYTES], y[P256_BYTES];
	const cjose_jwk_ec_keyspec spec = { .crv = CJOSE_JWK_EC_P_256,
					    .x = x,
					    .xlen = sizeof(x),
					    .y = y,
					    .ylen = sizeof(y) };

	if (!curve || strcmp(curve, "P-256") != 0 || !coordinate_get(key, "x", x) ||
	    !coordinate_get(key, "y", y))
		return NULL;
	return cjose_jwk_create_EC_spec(&spec,
					NULL); /* it refuses a point that is not on the curve */
}

/* Absent, or this very text. */
static bool is_or_absent(const json_t *key, const char *name, const char *value)
{
	const json_t *member = json_object_get(key, name);

	return !member || (json_is_string(member) && strcmp(json_string_value(member), value) == 0);
}

static void key_read(struct key_set *set, const json_t *json)
{
	const char *id = json_string_value(json_object_get(json, "kid"));
	const char *type = json_string_value(json_object_get(json, "kty"));
	cjose_jwk_t *jwk = NULL;
	enum jose_algorithm algorithm = JOSE_RS256;

	if (!id || !*id || !type || !is_or_absent(json, "use", "sig"))
		return;
	if (strcmp(type, "RSA") == 0 && is_or_absent(json, "alg", "RS256")) {
		jwk = rsa_read(json);
	} else if (strcmp(type, "RSA") == 0 && is_or_absent(json, "alg", "PS256")) {
		algorithm = JOSE_PS256;
		jwk = rsa_read(json);
	} else if (strcmp(type, "EC") == 0 && is_or_absent(json, "alg", "ES256")) {
		algorithm = JOSE_ES256;
		jwk = ec_read(json);
	}
	if (jwk)
		set->keys[set->count++] =
			(struct key){ .id = mem_strdup(id), .algorithm = algorithm, .jwk = jwk };
}

static struct key_set *keys_read(const json_t *keys, struct err *err)
{
	size_t count = json_array_size(keys);

	if (!json_is_array(keys)) {
		err_set(err, E_PARSE, "it has no list of keys");
		return NULL;
	}
	if (count > LIMIT_KEY_SET_KEYS) {
		err_set(err, E_LIMIT, "it has more than %d keys", LIMIT_KEY_SET_KEYS);
		return NULL;
	}
	struct key_set *set = mem_alloc(sizeof(*set));
	set->keys = mem_alloc_array(count + 1, sizeof(*set->keys));
	for (size_t i = 0; i < count; i++)
		key_read(set, json_array_get(keys, i));
	if (set->count)
		return set;
	err_set(err, E_NOT_FOUND, "none of its %zu keys can be used for RS256, PS256 or ES256",
		count);
	return key_set_free(set);
}

struct key_set *key_set_parse(struct bytes json, struct err *err)
{
	json_error_t why;
	json_t *root;

	if (json.len > LIMIT_KEY_SET_BYTES) {
		err_set(err, E_LIMIT, "it is larger than %d bytes", LIMIT_KEY_SET_BYTES);
		return NULL;
	}
	if (!cjose_library_load()) {
		err_set(err, E_UNSUPPORTED, "libcjose (libcjose0), which checks tokens, is missing");
		return NULL;
	}
	root = json_loadb((const char *)(json.ptr ? json.ptr : (const uint8_t *)""), json.len,
			  JSON_REJECT_DUPLICATES, &why);
	if (!root) {
		err_set(err, E_PARSE, "it is no JSON (line %d, column %d)", why.line, why.column);
		return NULL;
	}
	struct key_set *set = keys_read(json_object_get(root, "keys"), err);
	json_decref(root);
	return set;
}
