/* Tokens of Access as a command line keeps them: what they say, and the files they are in (CONTROL §5.2).
 *
 * What is read of a token here is not verified: it decides which file it is in and when to ask for a new one. Who is
 * let in is the edge's decision.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"

/* The claims, a new reference; NULL: it is no token. Hostile input is fine. */
json_t *token_claims(struct bytes token);
/* Whether `aud`, a text or an array of texts, has this one. */
bool token_is_for(const json_t *claims, const char *audience);
/* "*.example.com" and "…/x" as parts of a file's name; NULL for what can be none. Owned by the caller. */
char *token_file_part(const char *text);

/* The token in that file if it is from `issuer`, for `audience` (NULL: any) and good for some seconds still; owned by
 * the caller, who wipes it. NULL: there is none. One that is over or not for this is removed. */
char *token_file_read(const char *path, const char *issuer, const char *audience, usec now);
