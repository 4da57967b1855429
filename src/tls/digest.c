#include "tls/digest.h"

#include <gnutls/crypto.h>

#include "base/check.h"

void digest_sha1(const struct bytes *parts, size_t count, uint8_t dst[DIGEST_SHA1_SIZE])
{
	gnutls_hash_hd_t hash;

	BUG_IF(gnutls_hash_init(&hash, GNUTLS_DIG_SHA1) != 0);
	for (size_t i = 0; i < count; i++)
		BUG_IF(gnutls_hash(hash, parts[i].ptr, parts[i].len) != 0);
	gnutls_hash_deinit(hash, dst);
}
