/* Takes passwords, tokens and the like out of text that people will read: logs and start-up messages.
 *
 * A second line of defence: what is known to be secret is not printed in the first place. Pure, any
 * thread.
 */
#pragma once

#include "base/bytes.h"

#define REDACTED "*****"

/* Does a thing of that name hold a secret? For header fields, query parameters, environment variables,
 * flags: "Authorization", "access_token", "TUNNEL_TOKEN", "Cf-Access-Jwt-Assertion". "token-file" does
 * not: it names a file. Case is ignored. */
bool redact_is_secret_name(struct bytes name);

/* The text with ***** for the value of NAME=value and "NAME":"value" where NAME is one of those, for what
 * follows "Bearer " and "Basic ", and for user:password in a URL. Text without any of these is returned as
 * it is; else what fits is written to `dst`. */
struct bytes redact_text(struct bytes text, char *dst, size_t size);

/* A URL or path without what may carry secrets: the query, the fragment, user:password@. Pieces of the
 * text itself; the part in front of the user is lost with it ("//host/path"). */
struct bytes redact_url(struct bytes url);
