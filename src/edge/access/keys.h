/* The keys that Access signs its tokens with (RS256), and their public halves for everybody who checks them.
 *
 * A new key every six weeks. It is published before it signs, so that whoever checks tokens knows it by then; the ones
 * before stay published until the last token they can have signed has expired. Control thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/err.h"

/* As Cloudflare does it. */
#define ACCESS_KEY_LIFE (42 * 24 * 3600 * USEC_PER_SEC)
/* The longest session there is, and a day. */
#define ACCESS_KEY_OVERLAP (32 * 24 * 3600 * USEC_PER_SEC)

/* A change that is due is announced so early: verifiers that keep keys for a day, or look once a week, have it. */
#define ACCESS_KEY_ANNOUNCE (7 * 24 * 3600 * USEC_PER_SEC)
/* One by hand: verifiers that meet an unknown key ask again within a minute. */
#define ACCESS_KEY_LEAD (2 * 60 * USEC_PER_SEC)

struct access_keys;

enum access_rotation {
	ACCESS_ROTATE_DUE, /* what is due by now, and no more */
	ACCESS_ROTATE_SOON, /* a key that is published long enough signs from now on, else one soon will */
	ACCESS_ROTATE_NOW,      /* a key that nobody has seen signs from now on */
	ACCESS_ROTATE_WITHDRAW, /* the same, and what was ever signed before is void */
};

/* One new key. `now`: wall time. E_UNSUPPORTED when libcjose is missing. Takes a tenth of a second or more. */
struct access_keys *access_keys_new(usec now, struct err *err);
/* As access_keys_text() gave it. E_PARSE. */
struct access_keys *access_keys_parse(const char *text, struct err *err);
/* Keys in such a text that are not the key process's become so: 1 with the new text, owned by the caller; 0: all are. */
int access_keys_box(const char *text, char **ret_text, struct err *err);
struct access_keys *access_keys_free(struct access_keys *k);

/* To be sealed: it has the private keys. Owned by the caller, who wipes it. */
char *access_keys_text(const struct access_keys *k);
/* A JSON Web Key Set (RFC 7517); owned by the caller. */
char *access_keys_public(const struct access_keys *k);
/* When the next change is due. */
usec access_keys_due(const struct access_keys *k);
/* Since when the one that signs has been there; and when another one will, if nobody asks for one earlier. */
usec access_keys_since(const struct access_keys *k);
usec access_keys_change(const struct access_keys *k);
/* When a key that is published will begin to sign; 0: there is none. */
usec access_keys_next(const struct access_keys *k);
/* Changes keys, and forgets those whose time is over. Returns whether anything changed, or an error; nothing has
 * changed then. A tenth of a second when a key is made. */
int access_keys_rotate(struct access_keys *k, usec now, enum access_rotation how, struct err *err);

/* A token with these claims; the reference is taken. Owned by the caller. */
char *access_keys_sign(const struct access_keys *k, json_t *claims);
