#include "jose/jwt.h"

#include <cjose/jws.h>
#include <jansson.h>

#include "base/check.h"
#include "base/encode.h"
#include "base/limits.h"
#include "jose/jose_internal.h"

/* Seconds since 1970 that a date may have: the year 9999. */
#define SECONDS_MAX 253402300799.0

/* --- Signature -------------------------------------------------------------------------------- */

/* A text of the token within a message: what is not printable does not get through. */
static const char *shown(const char *text, char dst[64])
{
	size_t i = 0;

	for (; text[i] && i < 63; i++)
		dst[i] = text[i] > ' ' && text[i] < 0x7f ? text[i] : '?';
	dst[i] = 0;
	return dst;
}

/* The key that the header asks for. */
static int key_choose(const struct key_set *keys, const json_t *header, const cjose_jwk_t **ret,
		      struct err *err)
{
	const char *name = json_string_value(json_object_get(header, "alg"));
	const char *id = json_string_value(json_object_get(header, "kid"));
	enum jose_algorithm algorithm;
	char text[64];

	if (!name || !jose_algorithm_parse(name, &algorithm))
		return err_set(err, E_UNSUPPORTED,
			       "it is signed with \"%s\"; RS256, PS256 and ES256 are accepted",
			       shown(name ? name : "", text));
	if (json_object_get(header, "crit"))
		return err_set(err, E_UNSUPPORTED, "it needs extensions that are not known here");
	if (!id)
		return err_set(err, E_INVALID, "it names no key");
	*ret = key_set_find(keys, id, algorithm);
	if (!*ret)
		return err_set(err, E_NOT_FOUND, "its key \"%s\" is not among those of the issuer",
			       shown(id, text));
	return 0;
}

/* Everything of the token that is not said in JSON. libcjose (0.6.2) stops the process over some texts that are
 * no base64url, so it sees none; and a token has one spelling only. */
static bool parts_split(struct bytes token, struct arena *arena, struct bytes parts[3])
{
	struct bytes rest = token, text;

	for (size_t i = 0; i < 3; i++) {
		if (!bytes_split(&rest, '.', &text) || text.len == 0)
			return false;
		uint8_t *raw = arena_alloc_bytes(arena, text.len / 4 * 3 + 3);
		if (!base64_decode(BASE64_URL_RAW, text, raw, &parts[i].len) || parts[i].len == 0)
			return false;
		parts[i].ptr = raw;
	}
	return rest.len == 0 && token.ptr[token.len - 1] != '.';
}

static json_t *object_load(struct bytes text)
{
	json_t *object = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(object))
		return object;
	json_decref(object);
	return NULL;
}

static int check_signature(struct bytes token, const cjose_jwk_t *key, struct err *err)
{
	cjose_jws_t *jws = cjose_jws_import((const char *)token.ptr, token.len, NULL);
	bool is_right = jws && cjose_jws_verify(jws, key, NULL);

	cjose_jws_release(jws);
	return is_right ? 0 : err_set(err, E_INVALID, "its signature is wrong");
}

/* --- Claims ----------------------------------------------------------------------------------- */

/* RFC 7519 §2, NumericDate. 1 when there is one, 0 when not. */
static int date_get(const json_t *claims, const char *name, usec *ret, struct err *err)
{
	const json_t *member = json_object_get(claims, name);
	double seconds = json_number_value(member);

	if (!member)
		return 0;
	if (!json_is_number(member) || !(seconds >= 0 && seconds <= SECONDS_MAX))
		return err_set(err, E_INVALID, "its claim %s is no date", name);
	*ret = (usec)(seconds * (double)USEC_PER_SEC);
	return 1;
}

static int check_dates(const json_t *claims, usec now, usec *ret_expires_at, struct err *err)
{
	usec expires = 0, not_before = 0, issued = 0;
	int r = date_get(claims, "exp", &expires, err);

	if (r == 0)
		return err_set(err, E_INVALID, "it does not say when it expires");
	if (r > 0)
		r = date_get(claims, "nbf", &not_before, err);
	if (r >= 0)
		r = date_get(claims, "iat", &issued, err);
	if (r < 0)
		return r;
	if (now - JWT_LEEWAY >= expires)
		return err_set(err, E_TIMEOUT, "it expired %lld s ago",
			       (long long)((now - expires) / USEC_PER_SEC));
	if (now + JWT_LEEWAY < not_before || now + JWT_LEEWAY < issued)
		return err_set(err, E_TIMEOUT, "it is not valid yet; is the clock right?");
	*ret_expires_at = expires;
	return 0;
}

static bool is_expected(const json_t *audience, const struct jwt_expected *expected)
{
	const char *text = json_string_value(audience);

	for (size_t i = 0; text && i < expected->audience_count; i++)
		if (strcmp(text, expected->audiences[i]) == 0)
			return true;
	return false;
}

/* RFC 7519 §4.1.3: a text or a list of them. */
static int check_audience(const json_t *claims, const struct jwt_expected *expected, struct err *err)
{
	const json_t *audience = json_object_get(claims, "aud");

	if (is_expected(audience, expected))
		return 0;
	for (size_t i = 0; i < json_array_size(audience); i++)
		if (is_expected(json_array_get(audience, i), expected))
			return 0;
	return err_set(err, E_DENIED, "it is meant for another application");
}

static struct bytes text_get(const json_t *claims, const char *name, struct arena *arena)
{
	const json_t *member = json_object_get(claims, name);

	if (!json_is_string(member))
		return BYTES_NONE;
	return arena_copy(arena, bytes_of(json_string_value(member), json_string_length(member)));
}

static int claims_check(const json_t *claims, const struct jwt_expected *expected,
			struct arena *arena, struct jwt_claims *ret, struct err *err)
{
	const char *issuer = json_string_value(json_object_get(claims, "iss"));
	usec expires_at = 0;
	char text[64];

	if (expected->issuer && (!issuer || strcmp(issuer, expected->issuer) != 0))
		return err_set(err, E_INVALID, "its issuer is \"%s\", not \"%.200s\"",
			       shown(issuer ? issuer : "", text), expected->issuer);
	int r = check_dates(claims, expected->now, &expires_at, err);
	if (r == 0 && expected->issuer)
		r = check_audience(claims, expected, err);
	if (r < 0)
		return r;
	*ret = (struct jwt_claims){
		.subject = text_get(claims, "sub", arena),
		.email = text_get(claims, "email", arena),
		.expires_at = expires_at,
	};
	return 0;
}

/* ------------------------------------------------------------------------------------------ */

/* Of any issuer and for anybody when expected->issuer is NULL. */
static int verify(const struct key_set *keys, struct bytes token,
		  const struct jwt_expected *expected, struct arena *arena, struct jwt_claims *ret,
		  struct err *err)
{
	const cjose_jwk_t *key = NULL;
	struct bytes parts[3];
	json_t *header, *claims;

	if (token.len > LIMIT_JWT_BYTES)
		return err_set(err, E_LIMIT, "it is longer than %d bytes", LIMIT_JWT_BYTES);
	header = parts_split(token, arena, parts) ? object_load(parts[0]) : NULL;
	if (!header)
		return err_set(err, E_PARSE, "it is no signed token");
	int r = key_choose(keys, header, &key, err);
	json_decref(header);
	if (r == 0)
		r = check_signature(token, key, err);
	if (r < 0)
		return r;
	claims = object_load(parts[1]);
	r = claims ? claims_check(claims, expected, arena, ret, err)
		   : err_set(err, E_INVALID, "what it carries is no JSON object");
	json_decref(claims);
	if (r == 0)
		ret->json = parts[1];
	return r;
}

int jwt_verify(const struct key_set *keys, struct bytes token, const struct jwt_expected *expected,
	       struct arena *arena, struct jwt_claims *ret, struct err *err)
{
	BUG_IF(!expected->issuer);
	return verify(keys, token, expected, arena, ret, err);
}

int jwt_verify_answer(const struct key_set *keys, struct bytes token, usec now, struct arena *arena,
		      struct jwt_claims *ret, struct err *err)
{
	return verify(keys, token, &(struct jwt_expected){ .now = now }, arena, ret, err);
}
