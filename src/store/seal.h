/* Secrets at rest: XChaCha20-Poly1305 under a key derived from the node's master key.
 *
 * Each sealed value is bound to its place ("tunnel 6ff4…"), so that one cannot be put where another
 * belongs. The master key lives in DIR/master.key (0600, 64 hex digits and a newline): whoever has it
 * and the database has everything. Any thread.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"

#define SEAL_KEY_BYTES 32

struct seal_key {
	uint8_t master[SEAL_KEY_BYTES];
	uint8_t values[SEAL_KEY_BYTES]; /* derived: seals values; the master key itself seals nothing */
	uint8_t form;                   /* what sealed values begin with: which key it was */
	bool has_master;                /* false: it was wiped */
};

#define SEAL_FORM_VALUE 1
#define SEAL_FORM_KEY 2 /* a private key, which only the key process opens (tls/key_box.h) */

/* Reads DIR/master.key; makes it when there is none and `create`. E_NOT_FOUND; E_DENIED when others
 * may read it; E_PARSE. Never replaces a key. */
int seal_key_load(const char *dir, bool create, struct seal_key *ret, struct err *err);
/* For the key process alone: what seals private keys, and nothing else; the master key is forgotten. Never makes one. */
int seal_key_load_for_keys(const char *dir, struct seal_key *ret, struct err *err);
/* Whoever has only the rest can neither open private keys nor make a whole backup. */
void seal_key_forget_master(struct seal_key *k);
/* Writes a key that was restored. E_EXISTS. */
int seal_key_save(const char *dir, const uint8_t master[SEAL_KEY_BYTES], struct err *err);
void seal_key_wipe(struct seal_key *k);

/* Owned by the caller; *ret_len bytes. */
uint8_t *seal_value(const struct seal_key *k, struct bytes plain, const char *place,
		    size_t *ret_len);
/* E_DENIED: another key, another place, or damaged. On success *ret is set (NUL after its end). */
int seal_open(const struct seal_key *k, struct bytes sealed, const char *place, struct secret *ret,
	      struct err *err);
