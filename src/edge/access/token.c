#include "edge/access/token.h"

#include <string.h>

#include "base/encode.h"
#include "base/limits.h"
#include "edge/access/keys.h"
#include "edge/access/metrics.h"
#include "jose/jwt.h"

static const char *const types[TOKEN_TYPES] = {
	[TOKEN_APP] = "app",
	[TOKEN_ORG] = "org",
	[TOKEN_META] = "match",
	[TOKEN_LOGIN] = "login",
};

const char *access_token_type_name(enum access_token_type type)
{
	return types[type];
}

static void put(json_t *claims, const char *name, const char *text)
{
	if (text && text[0])
		json_object_set_new(claims, name, json_string(text));
}

char *access_token_mint(const struct access_keys *keys, const struct access_mint *m)
{
	json_int_t now = m->now / USEC_PER_SEC;

	access_count_token(types[m->type]);
	json_t *claims = json_pack("{s:[s], s:s, s:s, s:I, s:I, s:I, s:s}", "aud", m->audience,
				   "iss", m->issuer, "type", types[m->type], "iat", now, "nbf", now,
				   "exp", (json_int_t)(m->expires_at / USEC_PER_SEC), "sub",
				   m->subject ? m->subject : "");

	/* Stock clients read a text here, in this one only. */
	if (m->type == TOKEN_META)
		json_object_set_new(claims, "aud", json_string(m->audience));
	put(claims, "identity_nonce", m->session);
	put(claims, "email", m->email);
	put(claims, "country", m->country);
	put(claims, "common_name", m->common_name);
	if (m->era)
		json_object_set_new(claims, "era", json_integer(m->era));
	if (m->more) {
		json_object_update_missing(claims, m->more);
		json_decref(m->more);
	}
	return access_keys_sign(keys, claims);
}

static struct bytes text_of(const json_t *claims, const char *name, struct arena *arena)
{
	const json_t *value = json_object_get(claims, name);

	if (!json_is_string(value))
		return BYTES_NONE;
	return arena_copy(arena, bytes_of(json_string_value(value), json_string_length(value)));
}

struct bytes access_token_audience(struct bytes token, struct arena *arena)
{
	struct bytes rest = token, payload = BYTES_NONE, audience = BYTES_NONE;
	const json_t *claim;
	uint8_t *raw;
	size_t len;
	json_t *all;

	if (token.len > LIMIT_JWT_BYTES || !bytes_split(&rest, '.', &payload) ||
	    !bytes_split(&rest, '.', &payload))
		return audience;
	raw = arena_alloc_bytes(arena, payload.len / 4 * 3 + 3);
	if (!base64_decode(BASE64_URL_RAW, payload, raw, &len))
		return audience;
	all = json_loadb((const char *)raw, len, JSON_REJECT_DUPLICATES, NULL);
	claim = json_object_get(all, "aud");
	if (json_array_size(claim) == 1)
		claim = json_array_get(claim, 0);
	if (json_is_string(claim))
		audience = arena_copy(
			arena, bytes_of(json_string_value(claim), json_string_length(claim)));
	json_decref(all);
	return audience;
}

enum access_answer access_external_of_json(const json_t *value)
{
	if (json_is_boolean(value))
		return json_is_true(value) ? ACCESS_YES : ACCESS_NO;
	return ACCESS_UNKNOWN;
}

json_t *access_external_json(enum access_answer answer)
{
	return answer == ACCESS_UNKNOWN ? json_null() : json_boolean(answer == ACCESS_YES);
}

int access_token_check(const struct key_set *keys, struct bytes token, enum access_token_type type,
		       const char *issuer, const char *audience, usec now, struct arena *arena,
		       struct access_claims *ret, struct err *err)
{
	struct jwt_expected expected = {
		.issuer = issuer,
		.audiences = &audience,
		.audience_count = 1,
		.now = now,
	};
	struct jwt_claims claims;
	int r = jwt_verify(keys, token, &expected, arena, &claims, err);
	const char *given;
	json_t *all;

	if (r < 0)
		return r;
	all = json_loadb((const char *)claims.json.ptr, claims.json.len, 0, NULL);
	given = json_string_value(json_object_get(all, "type"));
	if (!given || strcmp(given, types[type]) != 0) {
		r = err_set(err, E_DENIED, "it is no token of the type \"%s\"", types[type]);
	} else {
		*ret = (struct access_claims){
			.session = text_of(all, "identity_nonce", arena),
			.subject = claims.subject,
			.email = claims.email,
			.common_name = text_of(all, "common_name", arena),
			.country = text_of(all, "country", arena),
			.json = claims.json,
			.expires_at = claims.expires_at,
			.era = json_integer_value(json_object_get(all, "era")),
		};
	}
	json_decref(all);
	return r;
}
