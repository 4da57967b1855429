#include "tls/hmac.h"

#include <gnutls/crypto.h>

#include "base/check.h"

static const gnutls_mac_algorithm_t algorithms[] = {
	[HMAC_SHA1] = GNUTLS_MAC_SHA1,     [HMAC_SHA224] = GNUTLS_MAC_SHA224,
	[HMAC_SHA256] = GNUTLS_MAC_SHA256, [HMAC_SHA384] = GNUTLS_MAC_SHA384,
	[HMAC_SHA512] = GNUTLS_MAC_SHA512,
};

size_t hmac_make(enum hmac algorithm, struct bytes key, const struct bytes *parts, size_t count,
		 uint8_t ret[HMAC_BYTES_MAX])
{
	gnutls_mac_algorithm_t which = algorithms[algorithm];
	gnutls_hmac_hd_t hmac;

	BUG_IF(gnutls_hmac_init(&hmac, which, key.ptr, key.len) != 0);
	for (size_t i = 0; i < count; i++)
		BUG_IF(parts[i].len && gnutls_hmac(hmac, parts[i].ptr, parts[i].len) != 0);
	gnutls_hmac_deinit(hmac, ret);
	return gnutls_hmac_get_len(which);
}
