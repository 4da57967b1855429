/* Keyed hashes that are the same on every machine and at every start, unlike those of base/map.h. Any
 * thread. */
#pragma once

#include "base/bytes.h"

#define HASH_KEY_BYTES 16
#define HASH_MAC_BYTES 16

/* SipHash-2-4: evenly spread, and nobody without the key can choose where a value falls. Not a MAC: it is
 * too short for that. */
uint64_t hash_keyed(const uint8_t key[HASH_KEY_BYTES], struct bytes data);
/* BLAKE2b with a key: nobody without it can make one. The key has 16 to 64 bytes; of a longer one the first
 * 64 count. */
void hash_mac(struct bytes key, struct bytes data, uint8_t ret[HASH_MAC_BYTES]);

#define HASH_SHA256_BYTES 32
/* For protocols that ask for it (FIPS 180-4). */
void hash_sha256(struct bytes data, uint8_t ret[HASH_SHA256_BYTES]);
