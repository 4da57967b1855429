/* The three things a connector is given to prove who it is, and their text forms (PROTOCOL.md §1.4,
 * CONTROL.md §2.2):
 *
 *	run token         base64 of {"a":account,"s":secret,"t":tunnel,"e":endpoint}
 *	credentials file  {"AccountTag","TunnelSecret","TunnelID","Endpoint"}
 *	login certificate a PEM block `ARGO TUNNEL TOKEN` around {"zoneID","accountID","apiToken","endpoint"}
 *
 * All three may also carry where our own edge is, so that no further flag is needed; stock programs skip
 * these members:
 *
 *	"edge" ["host:port", …]   "ca" PEM text   "apiURL" text      (in a credentials file "Edge", "CA", "APIURL")
 *
 * Member names compare without case, as stock's JSON library does. Decoding is strict about content:
 * these come from people, by copy and paste, and a clear error is worth more than a late failure. Errors
 * name the member, never a value. Texts a decoder made are wiped where they are secret. Any thread.
 */
#pragma once

#include "base/buf.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/uuid.h"

/* Bounds of a single value; real account tags and secrets have 32 bytes. */
#define TOKEN_ACCOUNT_BYTES 128
#define TOKEN_SECRET_MIN_BYTES 32
#define TOKEN_SECRET_BYTES 256
#define TOKEN_EDGES 16
/* A name (253), a colon, a port, brackets. */
#define TOKEN_EDGE_BYTES 264
#define TOKEN_URL_BYTES 2048
/* A few certificates. */
#define TOKEN_CA_BYTES (32 * 1024)
/* Any of the three texts as a whole. Stock tokens stay below 300 bytes; CA and base64 need the room. */
#define TOKEN_TEXT_BYTES (128 * 1024)

/* Where our edge is. Empty when the text did not say. */
struct token_place {
	char **edges; /* owned, edge_count of them: "host:port", or "domain" */
	size_t edge_count;
	char *ca;      /* owned; PEM, or NULL */
	char *api_url; /* owned; "https://…", or NULL */
};

/* Run token and credentials file. */
struct token {
	char *account; /* owned */
	struct secret secret;
	struct uuid tunnel;
	bool has_tunnel; /* old credentials files have none: the file's name is the id then */
	char *endpoint;  /* owned, or NULL: stock's region */
	struct token_place place;
};

/* Login certificate. */
struct login {
	char *zone;    /* owned */
	char *account; /* owned; "" when the certificate is too old to have one */
	struct secret api_token;
	char *endpoint; /* owned, or NULL; lower case */
	struct token_place place;
};

/* Said by whoever needs login.account and finds it empty, with the certificate's path. */
#define LOGIN_TOO_OLD_FMT                                                        \
	"Origin certificate needs to be refreshed before creating new tunnels. " \
	"Delete %s and run \"adit tunnel login\" to obtain a new cert."

/* Decoders fill *ret (zeroed or not; what was there is not freed) and return 0; on failure (E_PARSE,
 * E_LIMIT) *ret is all zero. Blanks and line ends around a run token are forgiven. */
int token_decode(struct bytes text, struct token *ret, struct err *err) MUST_USE;
int token_decode_credentials(struct bytes json, struct token *ret, struct err *err) MUST_USE;
int login_decode(struct bytes pem, struct login *ret, struct err *err) MUST_USE;

/* Encoders append to `out`; E_LIMIT when it is full (unchanged then). The caller wipes `out` after use.
 * Key order is stock's, then edge, ca, apiURL. What is empty is left out, but for the credentials file's
 * Endpoint, which stock always writes. */
int token_encode(struct buf *out, const struct token *t) MUST_USE;
int token_encode_credentials(struct buf *out, const struct token *t) MUST_USE;
int login_encode(struct buf *out, const struct login *l) MUST_USE;

/* All zero is fine. */
void token_done(struct token *t);
void login_done(struct login *l);
/* A deep copy; what was in *to is not freed. A place may as well be moved: copy the struct, zero the old. */
void token_place_copy(struct token_place *to, const struct token_place *from);
void token_place_done(struct token_place *p);
