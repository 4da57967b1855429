#include "base/hash.h"

#include <sodium.h>

#include "base/check.h"
#include "base/filled.h"

_Static_assert(HASH_KEY_BYTES == crypto_shorthash_siphash24_KEYBYTES, "SipHash's key");
_Static_assert(HASH_MAC_BYTES >= crypto_generichash_BYTES_MIN, "BLAKE2b's shortest");

uint64_t hash_keyed(const uint8_t key[HASH_KEY_BYTES], struct bytes data)
{
	uint8_t out[crypto_shorthash_siphash24_BYTES];
	uint64_t value = 0;

	crypto_shorthash_siphash24(out, data.ptr ? data.ptr : key, data.len, key);
	FILLED(out, sizeof(out));
	for (size_t i = 0; i < sizeof(out); i++)
		value |= (uint64_t)out[i] << 8 * i;
	return value;
}

void hash_mac(struct bytes key, struct bytes data, uint8_t ret[HASH_MAC_BYTES])
{
	BUG_IF(key.len < crypto_generichash_KEYBYTES_MIN);
	key = bytes_first(key, crypto_generichash_KEYBYTES_MAX);
	BUG_IF(crypto_generichash(ret, HASH_MAC_BYTES, data.ptr, data.len, key.ptr, key.len) != 0);
	FILLED(ret, HASH_MAC_BYTES);
}

void hash_sha256(struct bytes data, uint8_t ret[HASH_SHA256_BYTES])
{
	(void)crypto_hash_sha256(ret, data.ptr ? data.ptr : ret, data.len);
	FILLED(ret, HASH_SHA256_BYTES);
}
