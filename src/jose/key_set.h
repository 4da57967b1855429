/* Public keys that sign tokens: a JSON Web Key Set (RFC 7517), as an issuer publishes it.
 *
 * Only what checks RS256, PS256 and ES256 signatures is kept: RSA keys of 2048 to 8192 bits and points on P-256,
 * with a key id. An RSA key is for RS256 unless it says that it is for PS256 (RFC 8725 §3.1: one
 * algorithm a key). Keys for other uses are passed over, as RFC 7517 §5 asks. Immutable after parsing, but
 * used by one thread at a time: it may be handed from one to another.
 */
#pragma once

#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

struct key_set;

/* E_PARSE when it is no key set, E_LIMIT over LIMIT_KEY_SET_BYTES or LIMIT_KEY_SET_KEYS, E_NOT_FOUND when
 * no key of it can be used, E_UNSUPPORTED when libcjose is not installed. */
struct key_set *key_set_parse(struct bytes json, struct err *err);
/* NULL is fine; returns NULL. */
struct key_set *key_set_free(struct key_set *set);
/* Keys that were kept. */
size_t key_set_count(const struct key_set *set);
