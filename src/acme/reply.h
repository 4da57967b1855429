/* What an authority says, read: JSON objects, problem documents (RFC 7807), times. Nothing of it is believed to be well
 * made. Pure; any thread.
 */
#pragma once

#include <jansson.h>

#include "acme/acme.h"

#define ACME_BODY_BYTES (256 * 1024)
/* What is asked for at most: whoever says a year is not understood. */
#define ACME_RETRY_AFTER_MAX (7 * 86400 * USEC_PER_SEC)

struct acme_reply {
	int status;
	json_t *json;          /* NULL: it was no JSON */
	char *text, *location; /* owned; location may be NULL */
	usec retry_after;      /* from now on; 0: not said */
};

/* Header values are empty when they are not there. */
void acme_reply_read(struct acme_reply *r, int status, struct bytes body, struct bytes location,
		     struct bytes retry_after);
void acme_reply_done(struct acme_reply *r);

/* A member that is a text, or NULL. */
const char *acme_text(const json_t *object, const char *key);
/* What is printable of it, cut: a stranger's text goes to logs. */
#define ACME_SHOWN_BYTES 300
void acme_shown(const char *text, char dst[ACME_SHOWN_BYTES]);

/* The error that the reply is, in the authority's words: E_LIMIT, E_IO (it is its own fault) or E_DENIED. */
int acme_reply_error(const struct acme_reply *r, const char *what, struct err *err);
/* Whether the problem is of this type: ":badNonce". */
bool acme_reply_is(const struct acme_reply *r, const char *type);
/* Of an order or an authorization that has failed: why, borrowed; NULL: it does not say. */
const json_t *acme_failure_of(const json_t *object);

/* The challenge of that method in an authorization, with a token that is one and a URL; NULL. */
const json_t *acme_challenge_of(const json_t *authorization, enum acme_method m);
/* Of renewal information: wall times. */
bool acme_window_of(const json_t *info, usec *start, usec *end);
