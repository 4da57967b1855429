#include "jose/signer.h"

#include <cjose/jws.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/encode.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/secret.h"
#include "jose/cjose_library.h"

struct signer {
	const char *algorithm;
	cjose_jwk_t *jwk;              /* owned; NULL: it is outside */
	struct signer_outside outside; /* owned */
};

static struct signer *take(const char *algorithm, cjose_jwk_t *jwk)
{
	struct signer *s = mem_alloc(sizeof(*s));

	s->algorithm = algorithm;
	s->jwk = jwk;
	return s;
}

static bool has_library(struct err *err)
{
	if (cjose_library_load())
		return true;
	err_set(err, E_UNSUPPORTED, "libcjose (libcjose0) is missing");
	return false;
}

struct signer *signer_new_es256(struct err *err)
{
	if (!has_library(err))
		return NULL;
	cjose_jwk_t *jwk = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, NULL);
	if (jwk)
		return take("ES256", jwk);
	err_set(err, E_INTERNAL, "no key could be made");
	return NULL;
}

struct signer *signer_new_hs256(struct bytes key, struct err *err)
{
	if (!has_library(err))
		return NULL;
	cjose_jwk_t *jwk = key.len ? cjose_jwk_create_oct_spec(key.ptr, key.len, NULL) : NULL;
	if (jwk)
		return take("HS256", jwk);
	err_set(err, E_INVALID, "the key cannot be used");
	return NULL;
}

/* NIST SP 800-57: good until 2030, and what verifiers of such tokens expect. */
#define RSA_BITS 2048

struct signer *signer_new_rs256(struct err *err)
{
	static const uint8_t exponent[] = { 1, 0, 1 };

	if (!has_library(err))
		return NULL;
	cjose_jwk_t *jwk = cjose_jwk_create_RSA_random(RSA_BITS, exponent, sizeof(exponent), NULL);
	if (jwk)
		return take("RS256", jwk);
	err_set(err, E_INTERNAL, "no key could be made");
	return NULL;
}

struct signer *signer_new_outside(const struct signer_outside *key)
{
	struct signer *s = take(key->algorithm, NULL);

	s->outside = *key;
	return s;
}

struct signer *signer_free(struct signer *s)
{
	if (!s)
		return NULL;
	if (s->jwk) {
		cjose_jwk_release(s->jwk);
	} else {
		json_decref(s->outside.public);
		s->outside.drop(s->outside.ctx);
	}
	return mem_free(s);
}

/* --- As text --------------------------------------------------------------------------------- */

/* A number of this many bytes. */
static bool is_number(const json_t *key, const char *name, size_t min, size_t max)
{
	uint8_t raw[RSA_BITS / 8 + 4];
	struct bytes text = bytes_str(json_string_value(json_object_get(key, name)));
	size_t len = 0;
	bool is_right = text.len && text.len <= base64_size(RSA_BITS / 8) &&
			base64_decode(BASE64_URL_RAW, text, raw, &len) && len >= min && len <= max;

	secret_wipe(raw, sizeof(raw));
	return is_right;
}

static bool is_ec_key(const json_t *key)
{
	return is_number(key, "x", 32, 32) && is_number(key, "y", 32, 32) &&
	       is_number(key, "d", 32, 32);
}

static bool is_rsa_key(const json_t *key)
{
	static const char *const names[] = { "d", "p", "q", "dp", "dq", "qi" };
	bool is_right = is_number(key, "n", RSA_BITS / 8, RSA_BITS / 8) && is_number(key, "e", 1, 4);

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		is_right = is_right && is_number(key, names[i], 1, RSA_BITS / 8);
	return is_right;
}

struct signer *signer_parse(const char *text, struct err *err)
{
	json_t *key = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *type = json_string_value(json_object_get(key, "kty"));
	bool is_rsa = type && strcmp(type, "RSA") == 0;
	/* What libcjose cannot bear does not reach it. */
	bool is_key = is_rsa ? is_rsa_key(key) : is_ec_key(key);
	cjose_jwk_t *jwk = NULL;

	json_decref(key);
	if (!has_library(err))
		return NULL;
	if (is_key)
		jwk = cjose_jwk_import(text, strlen(text), NULL);
	if (jwk)
		return take(is_rsa ? "RS256" : "ES256", jwk);
	err_set(err, E_PARSE, "this is no private key for ES256 or RS256");
	return NULL;
}

/* The library's own memory: copied, and wiped where it is the private key. */
static char *jwk_text(const struct signer *s, bool with_private)
{
	char *text = cjose_jwk_to_json(s->jwk, with_private, NULL);

	BUG_IF(!text);
	char *copy = mem_strdup(text);
	secret_wipe(text, strlen(text));
	free(text); /* allowed: libcjose took it from malloc */
	return copy;
}

char *signer_text(const struct signer *s)
{
	return s->jwk ? jwk_text(s, true) : s->outside.text(s->outside.ctx);
}

json_t *signer_public(const struct signer *s)
{
	if (!s->jwk)
		return json_deep_copy(s->outside.public);
	char *text = jwk_text(s, false);
	json_t *all = json_loads(text, 0, NULL);
	static const char *const names[] = { "crv", "e", "kty", "n", "x", "y" };
	json_t *key = json_object();

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (json_object_get(all, names[i]))
			json_object_set(key, names[i], json_object_get(all, names[i]));
	json_decref(all);
	mem_free(text);
	return key;
}

char *signer_thumbprint(const struct signer *s)
{
	uint8_t hash[HASH_SHA256_BYTES];
	json_t *key = signer_public(s);
	char *text = json_dumps(key, JSON_COMPACT | JSON_SORT_KEYS);

	hash_sha256(bytes_str(text), hash);
	free(text); /* allowed: jansson took it from malloc */
	json_decref(key);
	return base64_text(BASE64_URL_RAW, bytes_of(hash, sizeof(hash)));
}

/* --- Signing --------------------------------------------------------------------------------- */

/* Members are texts or objects; libcjose has a way for each. */
static void set_member(cjose_header_t *h, const char *name, const json_t *value)
{
	const char *text = json_string_value(value);
	char *printed = text ? NULL : json_dumps(value, JSON_COMPACT);

	BUG_IF(text ? !cjose_header_set(h, name, text, NULL)
		    : !printed || !cjose_header_set_raw(h, name, printed, NULL));
	free(printed); /* allowed: jansson took it from malloc */
}

/* In the order of their names: cloudflared reads a token's header and writes it anew so before it sends the token on,
 * and the signature is of what was written first. */
static char *header_text(const struct signer *s, json_t *from)
{
	json_object_set_new(from, "alg", json_string(s->algorithm));
	return json_dumps(from, JSON_COMPACT | JSON_SORT_KEYS);
}

static cjose_header_t *header_of(const struct signer *s, json_t *from)
{
	cjose_header_t *h = cjose_header_new(NULL);
	const char *name;
	json_t *value;
	char *text = header_text(s, from);
	json_t *sorted = text ? json_loads(text, 0, NULL) : NULL;
	free(text); /* allowed: jansson took it from malloc */
	BUG_IF(!h || !sorted);
	json_object_foreach(sorted, name, value) set_member(h, name, value);
	json_decref(sorted);
	return h;
}

static char *token_outside(const struct signer *s, json_t *header, struct bytes payload)
{
	uint8_t signature[SIGNER_SIGNATURE_BYTES];
	size_t len = 0;
	char *text = header_text(s, header);

	BUG_IF(!text);
	char *first = base64_text(BASE64_URL_RAW, bytes_str(text));
	char *second = base64_text(BASE64_URL_RAW, payload);
	char *signed_part = mem_printf("%s.%s", first, second);
	if (s->outside.sign(s->outside.ctx, bytes_str(signed_part), signature, &len) < 0)
		len = 0;
	char *third = base64_text(BASE64_URL_RAW, bytes_of(signature, len));
	char *token = mem_printf("%s.%s", signed_part, third);
	mem_free(third);
	mem_free(signed_part);
	mem_free(second);
	mem_free(first);
	free(text); /* allowed: jansson took it from malloc */
	return token;
}

char *signer_token(const struct signer *s, json_t *header, struct bytes payload)
{
	if (!s->jwk)
		return token_outside(s, header, payload);
	static const uint8_t nothing;
	cjose_header_t *h = header_of(s, header);
	cjose_jws_t *jws =
		cjose_jws_sign(s->jwk, h, payload.len ? payload.ptr : &nothing, payload.len, NULL);
	const char *compact = NULL;

	BUG_IF(!jws || !cjose_jws_export(jws, &compact, NULL));
	char *token = mem_strdup(compact);
	cjose_jws_release(jws);
	cjose_header_release(h);
	return token;
}

json_t *signer_sign(const struct signer *s, json_t *header, struct bytes payload)
{
	char *token = signer_token(s, header, payload);
	struct bytes rest = bytes_str(token), parts[3];

	for (size_t i = 0; i < 3; i++)
		BUG_IF(!bytes_split(&rest, '.', &parts[i]));
	json_t *flat =
		json_pack("{s:s%, s:s%, s:s%}", "protected", parts[0].ptr, parts[0].len, "payload",
			  parts[1].ptr, parts[1].len, "signature", parts[2].ptr, parts[2].len);
	mem_free(token);
	return flat;
}
