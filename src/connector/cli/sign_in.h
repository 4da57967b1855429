/* Signing in to an application of Access from a command line (CONTROL §5.1, §5.3, §5.4): what guards a URL, and a token
 * for it, from a file, by the organisation's token, or by way of a person and their browser.
 *
 * Blocks, for minutes where a person is asked: for commands. Tokens never go anywhere but to the application's own
 * host, and the organisation's to the edge that issued it alone.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/* How to get there, and where things are kept. Borrowed. */
struct sign_in_client {
	const char *program;   /* for User-Agent: "adit" */
	const char *directory; /* of the tokens; made when it is missing */
	struct bytes ca_pem;   /* trusted beside the system's roots */
	/* Called with the page where a person approves, and the code that it shows. */
	void (*announce)(void *ctx, const char *url, const char *code);
	void *ctx;
	bool wants_close; /* the page is asked to close itself */
};

/* What guards a URL; texts are owned, signed by the issuer and checked. */
struct sign_in_app {
	char *url;    /* "https://host[:port]/path" */
	char *origin; /* "https://host[:port]" */
	char *issuer; /* https URL of the edge's control host */
	char *keys;   /* its public keys, as they came */
	char *aud;    /* which application */
	char *host;   /* of the application, may hold '*' */
	char *team;   /* what the organisation calls itself: CONTROL's auth_domain; "": nothing */
	char *token_path, *org_path; /* in the client's directory */
};

/* `text` as people write a URL or hostname. E_NOT_FOUND: nothing guards it; E_INVALID, E_PROTOCOL: what came is not to
 * be trusted; and whatever fetch() says. */
int sign_in_find(const struct sign_in_client *c, const char *text, struct sign_in_app *ret,
		 struct err *err) MUST_USE;
void sign_in_app_done(struct sign_in_app *app);

/* The stored token; NULL: none that is good. Owned by the caller, who wipes it. Asks nobody. */
char *sign_in_stored(const struct sign_in_app *app);
/* Whether the edge still takes it: not where the session was ended. Removes the file if it does not. */
bool sign_in_check(const struct sign_in_client *c, const struct sign_in_app *app, const char *token);
/* A good token, whatever it takes, stored; owned by the caller, who wipes it. NULL: E_TIMEOUT when nobody approved in
 * ten minutes, and what else can be. Of several processes one asks, the others wait for it. */
char *sign_in(const struct sign_in_client *c, const struct sign_in_app *app, struct err *err);
/* Puts what is known where a stock client looks, so that it works without reaching hosts of Cloudflare (CONTROL
 * §5.11 c). E_UNSUPPORTED: the organisation has no name that stock clients accept. */
int sign_in_seed(const struct sign_in_app *app, const char *directory, struct err *err) MUST_USE;

/* A certificate for this public key (as in authorized_keys), as one line; owned by the caller. */
char *sign_in_certificate(const struct sign_in_client *c, const struct sign_in_app *app,
			  const char *token, const char *public_key, struct err *err);
