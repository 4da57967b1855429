/* Signing with ECDSA on P-256 (FIPS 186-4), for formats that are no X.509: SSH certificates. One thread at a time. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct ecdsa_key;

#define ECDSA_NUMBER_BYTES 32
/* 0x04, x, y (SEC 1 §2.3.3). */
#define ECDSA_POINT_BYTES (1 + 2 * ECDSA_NUMBER_BYTES)

struct ecdsa_key *ecdsa_key_new(struct err *err);
/* PKCS #8 in PEM, as ecdsa_key_pem() gives it. E_PARSE. */
struct ecdsa_key *ecdsa_key_parse(const char *pem, struct err *err);
struct ecdsa_key *ecdsa_key_free(struct ecdsa_key *k); /* NULL is fine */
/* Owned by the caller, who wipes it. */
char *ecdsa_key_pem(const struct ecdsa_key *k);
void ecdsa_key_point(const struct ecdsa_key *k, uint8_t ret[ECDSA_POINT_BYTES]);
/* Of the SHA-256 of `data`: both numbers, big-endian, with leading zeros. */
int ecdsa_sign(const struct ecdsa_key *k, struct bytes data, uint8_t r[ECDSA_NUMBER_BYTES],
	       uint8_t s[ECDSA_NUMBER_BYTES], struct err *err);
