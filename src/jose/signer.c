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
	cjose_jwk_t *jwk; /* owned */
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

struct signer *signer_free(struct signer *s)
{
	if (!s)
		return NULL;
	cjose_jwk_release(s->jwk);
	return mem_free(s);
}

/* --- As text --------------------------------------------------------------------------------- */

static bool is_coordinate(const json_t *key, const char *name)
{
	uint8_t raw[64];
	const char *text = json_string_value(json_object_get(key, name));
	size_t len;

	return text && strlen(text) == 43 &&
	       base64_decode(BASE64_URL_RAW, bytes_str(text), raw, &len) && len == 32;
}

struct signer *signer_parse(const char *text, struct err *err)
{
	json_t *key = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	/* What libcjose cannot bear does not reach it. */
	bool is_key = is_coordinate(key, "x") && is_coordinate(key, "y") && is_coordinate(key, "d");
	cjose_jwk_t *jwk = NULL;

	json_decref(key);
	if (!has_library(err))
		return NULL;
	if (is_key)
		jwk = cjose_jwk_import(text, strlen(text), NULL);
	if (jwk)
		return take("ES256", jwk);
	err_set(err, E_PARSE, "this is no private key for ES256");
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
	return jwk_text(s, true);
}

json_t *signer_public(const struct signer *s)
{
	char *text = jwk_text(s, false);
	json_t *all = json_loads(text, 0, NULL);
	json_t *key = json_pack("{s:O, s:O, s:O, s:O}", "crv", json_object_get(all, "crv"), "kty",
				json_object_get(all, "kty"), "x", json_object_get(all, "x"), "y",
				json_object_get(all, "y"));

	BUG_IF(!key);
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

static cjose_header_t *header_of(const struct signer *s, json_t *from)
{
	cjose_header_t *h = cjose_header_new(NULL);
	const char *name;
	json_t *value;

	BUG_IF(!h);
	json_object_set_new(from, "alg", json_string(s->algorithm));
	json_object_foreach(from, name, value) set_member(h, name, value);
	return h;
}

json_t *signer_sign(const struct signer *s, json_t *header, struct bytes payload)
{
	static const uint8_t nothing;
	cjose_header_t *h = header_of(s, header);
	cjose_jws_t *jws =
		cjose_jws_sign(s->jwk, h, payload.len ? payload.ptr : &nothing, payload.len, NULL);
	const char *compact = NULL;
	struct bytes rest, parts[3];

	BUG_IF(!jws || !cjose_jws_export(jws, &compact, NULL));
	rest = bytes_str(compact);
	for (size_t i = 0; i < 3; i++)
		BUG_IF(!bytes_split(&rest, '.', &parts[i]));
	json_t *flat =
		json_pack("{s:s%, s:s%, s:s%}", "protected", parts[0].ptr, parts[0].len, "payload",
			  parts[1].ptr, parts[1].len, "signature", parts[2].ptr, parts[2].len);
	cjose_jws_release(jws);
	cjose_header_release(h);
	return flat;
}
