/* Checking signed tokens (JSON Web Tokens, RFC 7519, in the compact form of RFC 7515).
 *
 * RS256, PS256 and ES256 with a key of a known id; every other algorithm is refused, "none" and the symmetric
 * ones before a key is looked at (RFC 8725 §3.1). A header that names critical extensions is refused. Pure:
 * the time is an argument. Same thread as the key set.
 */
#pragma once

#include "base/arena.h"
#include "base/clock.h"
#include "jose/key_set.h"

/* Clocks of two machines may differ by this much: exp, nbf and iat. */
#define JWT_LEEWAY (60 * USEC_PER_SEC)

/* What a token must say. */
struct jwt_expected {
	const char *issuer;           /* `iss`, letter for letter */
	const char *const *audiences; /* one of them must be in `aud`; none: no token is good */
	size_t audience_count;
	usec now; /* microseconds since 1970 (clock_wall_now()) */
};

/* Of a good token; texts are in the caller's arena, empty where the token has none. */
struct jwt_claims {
	struct bytes subject; /* sub */
	struct bytes email;
	struct bytes json; /* all claims, an object as it was signed */
	usec expires_at;   /* since 1970 */
};

/* 0, or why not, with one sentence about it in `err`. It repeats nothing of the token but the names of key,
 * algorithm and issuer:
 *   E_PARSE, E_LIMIT  it is no token, or longer than LIMIT_JWT_BYTES
 *   E_UNSUPPORTED     another algorithm, or an extension
 *   E_NOT_FOUND       the key is not in the set: a newer set may have it
 *   E_INVALID         the signature, the issuer or the form of a claim is wrong
 *   E_TIMEOUT         it has expired, or is not valid yet
 *   E_DENIED          all is well, but it is meant for others */
int jwt_verify(const struct key_set *keys, struct bytes token, const struct jwt_expected *expected,
	       struct arena *arena, struct jwt_claims *ret, struct err *err) MUST_USE;
/* The same without issuer and audience, for an answer that has neither: the caller makes sure of whom and what it is
 * about, by a nonce of the question. */
int jwt_verify_answer(const struct key_set *keys, struct bytes token, usec now, struct arena *arena,
		      struct jwt_claims *ret, struct err *err) MUST_USE;
