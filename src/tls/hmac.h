/* Keyed hashes (RFC 2104), for protocols that sign messages with a secret that both sides have. Any thread. */
#pragma once

#include "base/bytes.h"

enum hmac {
	HMAC_SHA1,
	HMAC_SHA224,
	HMAC_SHA256,
	HMAC_SHA384,
	HMAC_SHA512,
};
#define HMAC_BYTES_MAX 64

/* Over the parts, one after the other. Returns how many bytes of `ret` are used. Whoever compares them with what came
 * from outside does so with secret_bytes_eq(). */
size_t hmac_make(enum hmac algorithm, struct bytes key, const struct bytes *parts, size_t count,
		 uint8_t ret[HMAC_BYTES_MAX]);
