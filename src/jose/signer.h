/* Keys of our own that sign (RFC 7515): ES256 for an ACME account, HS256 for its binding to a customer number
 * (RFC 8555 §7.3.4), RS256 for tokens that say who a visitor is. Keys may be elsewhere. One thread at a time.
 */
#pragma once

#include <jansson.h>

#include "base/bytes.h"
#include "base/err.h"

struct signer;

/* E_UNSUPPORTED when libcjose is not installed. */
struct signer *signer_new_es256(struct err *err);
struct signer *signer_new_hs256(struct bytes key, struct err *err);
/* 2048 bits; takes a tenth of a second or more. */
struct signer *signer_new_rs256(struct err *err);
/* A key that is elsewhere. */
struct signer_outside {
	const char *algorithm; /* a constant: "ES256" or "RS256" */
	void *ctx;             /* owned: see drop */
	json_t *public;        /* as signer_public() gives it; taken over */
	/* A signature of the algorithm (RFC 7518 §3), of SIGNER_SIGNATURE_BYTES at most. */
	int (*sign)(void *ctx, struct bytes data, uint8_t *ret, size_t *ret_len);
	char *(*text)(void *ctx); /* how it is kept: what signer_text() gives */
	void (*drop)(void *ctx);
};
#define SIGNER_SIGNATURE_BYTES 256
/* When it cannot sign any more, what it signs has an empty signature, which nobody accepts. */
struct signer *signer_new_outside(const struct signer_outside *key);
/* As signer_text() gave it; ES256 and RS256. E_PARSE. */
struct signer *signer_parse(const char *text, struct err *err);
/* The private key as a JWK; owned by the caller, who wipes it. */
char *signer_text(const struct signer *s);
struct signer *signer_free(struct signer *s);

/* The public key (RFC 7517) with the members that RFC 7638 names and no other; a new reference. Not of HS256. */
json_t *signer_public(const struct signer *s);
/* base64url of the SHA-256 of it (RFC 7638); owned by the caller. */
char *signer_thumbprint(const struct signer *s);

/* Signs `payload` with the protected header `header`, an object to which "alg" is added: the flattened JSON form
 * (RFC 7515 §7.2.2), a new reference. */
json_t *signer_sign(const struct signer *s, json_t *header, struct bytes payload);
/* The same in the compact form (RFC 7515 §7.1): a token. Owned by the caller. */
char *signer_token(const struct signer *s, json_t *header, struct bytes payload);
