/* Messages that only one receiver can read, who knows that they came from the holder of the sender's key: NaCl's
 * crypto_box (X25519, XSalsa20-Poly1305) with its nonce in front. Any thread.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

#define BOX_KEY_BYTES 32
/* Nonce and authenticator. */
#define BOX_OVERHEAD (24 + 16)

struct box_keys {
	uint8_t public_key[BOX_KEY_BYTES];
	uint8_t secret_key[BOX_KEY_BYTES]; /* the owner wipes it */
};

/* A new pair. E_INTERNAL: libsodium does not start. */
int box_keys_new(struct box_keys *ret, struct err *err) MUST_USE;
/* Appends nonce and box. E_INVALID: the receiver's is no key; E_LIMIT: no room. */
int box_seal(const struct box_keys *sender, const uint8_t receiver[BOX_KEY_BYTES],
	     struct bytes text, struct buf *out) MUST_USE;
/* Appends the text. E_INVALID: it is not for this receiver, not from this sender, or was changed; E_LIMIT. */
int box_open(const struct box_keys *receiver, const uint8_t sender[BOX_KEY_BYTES],
	     struct bytes sealed, struct buf *out) MUST_USE;
