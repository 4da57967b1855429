/* Passkeys (Web Authentication Level 2): what a browser says when one is made (§7.1) and when one is used (§7.2).
 *
 * No attestation is asked for: what made a key does not matter, who holds it does. The person must have been verified
 * by their device, the page must have been ours, and the challenge the one that was given. Everything is the word of a
 * stranger: bounded, and parsed by libfido2. Pure. Any thread.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

#define WEBAUTHN_FIELD_BYTES 4096
#define WEBAUTHN_ID_BYTES 1023 /* WebAuthn §4, credential id */

/* What a browser must have seen. */
struct webauthn_expected {
	const char *rp_id;  /* the host of the page: "adit.example.com" */
	const char *origin; /* "https://adit.example.com:8443" */
	struct bytes challenge;
};

struct webauthn_key {
	struct bytes id; /* in the arena */
	int algorithm;   /* COSE: -7 ES256, -8 EdDSA, -257 RS256 */
	struct bytes public_key;
	uint32_t counter; /* 0: this one does not count */
};

/* A new key. E_INVALID says what is wrong with it, E_UNSUPPORTED: libfido2 is missing. */
int webauthn_register(const struct webauthn_expected *e, struct bytes client_data,
		      struct bytes auth_data, struct arena *arena, struct webauthn_key *ret,
		      struct err *err) MUST_USE;
/* A known key was used. E_INVALID as above; E_DENIED: its counter did not grow, so there may be two of it. */
int webauthn_check(const struct webauthn_expected *e, struct bytes client_data,
		   struct bytes auth_data, struct bytes signature, const struct webauthn_key *key,
		   uint32_t *ret_counter, struct err *err) MUST_USE;
