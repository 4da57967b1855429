/* The keys that Access signs its tokens with (RS256), and their public halves for everybody who checks them.
 *
 * A new key every six weeks; the ones before stay published until the last token they can have signed has
 * expired. Control thread.
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

struct access_keys;

/* One new key. `now`: wall time. E_UNSUPPORTED when libcjose is missing. Takes a tenth of a second or more. */
struct access_keys *access_keys_new(usec now, struct err *err);
/* As access_keys_text() gave it. E_PARSE. */
struct access_keys *access_keys_parse(const char *text, struct err *err);
struct access_keys *access_keys_free(struct access_keys *k);

/* To be sealed: it has the private keys. Owned by the caller, who wipes it. */
char *access_keys_text(const struct access_keys *k);
/* A JSON Web Key Set (RFC 7517); owned by the caller. */
char *access_keys_public(const struct access_keys *k);
/* When the next change is due. */
usec access_keys_due(const struct access_keys *k);
/* A new key if the current one is old or `at_once`, and without those whose time is over. Returns whether anything
 * changed, or an error; nothing has changed then. */
int access_keys_rotate(struct access_keys *k, usec now, bool at_once, struct err *err);

/* A token with these claims; the reference is taken. Owned by the caller. */
char *access_keys_sign(const struct access_keys *k, json_t *claims);
