/* Private keys that sign what is no TLS: tokens, certificates, zones. Where there is a key process (tls/key_box.h), they
 * are made there and stay there; elsewhere, as in the connector and in commands, they are in this process.
 *
 * A key is kept as a text: PKCS #8 in PEM, or "boxed " with its place, its public half and what the key process has sealed.
 * One thread at a time per key. Errors: E_PARSE, E_TLS, and what the key process says.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"

struct private_key;

enum private_key_kind {
	PRIVATE_KEY_P256 = 1,
	PRIVATE_KEY_RSA, /* 2048 bits; making one takes a tenth of a second or more */
};

/* NIST SP 800-57: good until 2030, and what verifiers of tokens expect. */
#define PRIVATE_KEY_RSA_BITS 2048

/* `place`: what it is for, in a few words that are no secret. */
struct private_key *private_key_make(enum private_key_kind kind, const char *place, struct err *err);
/* A text of either form. Without a key process a boxed one has its public half, and does not sign. */
struct private_key *private_key_parse(const char *text, struct err *err);
struct private_key *private_key_free(struct private_key *k); /* NULL is fine */
/* Owned by the caller, who wipes it. */
char *private_key_text(const struct private_key *k);

bool private_key_is_boxed(const char *text);
/* A text in PEM becomes one of the key process's; owned by the caller. E_CLOSED: there is none. */
int private_key_box(const char *pem, const char *place, char **ret_text, struct err *err);
/* What the key process has sealed, of a text that is boxed. False: it is not, or is for another place. */
bool private_key_sealed(const char *text, const char *place, struct secret *ret);

/* --- Its public half -------------------------------------------------------------------------- */

#define PRIVATE_KEY_P256_BYTES 32
/* 0x04, x, y (SEC 1 §2.3.3). */
#define PRIVATE_KEY_POINT_BYTES (1 + 2 * PRIVATE_KEY_P256_BYTES)

enum private_key_kind private_key_kind(const struct private_key *k);
/* Of P-256. */
void private_key_point(const struct private_key *k, uint8_t ret[PRIVATE_KEY_POINT_BYTES]);
/* Of RSA, big-endian without zeros in front; borrowed. */
void private_key_rsa(const struct private_key *k, struct bytes *ret_n, struct bytes *ret_e);

/* --- Signing ---------------------------------------------------------------------------------- */

#define PRIVATE_KEY_SIGNATURE_BYTES (PRIVATE_KEY_RSA_BITS / 8)
/* Of the SHA-256 of `data`: for P-256 two numbers of 32 bytes, as in RFC 7518 §3.4 and RFC 6605; for RSA PKCS #1 v1.5. */
int private_key_sign(const struct private_key *k, struct bytes data,
		     uint8_t ret[PRIVATE_KEY_SIGNATURE_BYTES], size_t *ret_len, struct err *err);

/* --- From numbers ----------------------------------------------------------------------------- */

/* Big-endian. */
struct private_key_numbers {
	struct bytes x, y;       /* P-256 */
	struct bytes n, e, p, q; /* RSA */
	struct bytes d;          /* both */
};

/* PEM, owned by the caller, who wipes it; NULL: E_PARSE. */
char *private_key_pem(enum private_key_kind kind, const struct private_key_numbers *numbers,
		      struct err *err);
