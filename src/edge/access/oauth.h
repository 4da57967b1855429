/* Identity providers on the web: OpenID Connect (OpenID Connect Core 1.0, Discovery 1.0) and GitHub's OAuth
 * (RFC 6749), with PKCE (RFC 7636). Two steps, each of which may ask the provider and block: for threads of
 * loop_work(). The provider's words are not trusted: they are bounded, and an ID token counts only with a good
 * signature, issuer, audience, nonce and time.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/err.h"

/* A provider as it is configured, and what one sign-in needs until it comes back. */
struct oauth {
	json_t *config; /* owned; of the provider's object */
	char *kind;     /* owned: "oidc", "google", "google-apps", "azureAD", "okta", "github" */
	char *redirect_uri;             /* owned; of ours */
	char *state, *nonce, *verifier; /* owned; random */
	char *code;                     /* owned; what came back; NULL before */
	char *issuer;                   /* owned; who says it was it (RFC 9207); NULL: nobody */
	/* What the provider said of itself, to somebody before, or now; owned, NULL: not known. */
	json_t *found;      /* its configuration document */
	char *keys;         /* its JSON Web Key Set */
	usec timeout;       /* of each request; 0: the preset of http/fetch.h */
	size_t answer_max;  /* bytes of each answer; 0: the preset of http/fetch.h */
	bool may_ask_again; /* for newer keys, when a token names one that is not in `keys` */
	bool has_found, has_keys, has_asked_again; /* what has been fetched for this sign-in */
	/* The results. */
	char *url;        /* oauth_start(): where to send the browser */
	json_t *identity; /* oauth_finish(): {email, name, groups, organizations, claims, amr} */
	const char *told; /* why not, for the person; static. NULL: err.text is for them */
	struct err err;
};

/* With fresh state, nonce and verifier. `config` is copied. */
struct oauth *oauth_new(const char *kind, const json_t *config, const char *redirect_uri);
struct oauth *oauth_free(struct oauth *o); /* NULL is fine */

/* Whether oauth_start() asks nobody: any thread may do it, then. */
bool oauth_start_is_quick(const struct oauth *o);
/* Fills in o->url, or o->err. */
void oauth_start(struct oauth *o);
/* Fills in o->identity, or o->err: E_DENIED when the provider does not vouch for an e-mail address. */
void oauth_finish(struct oauth *o);
/* What an error of the provider (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6) means, for a person; static.
 * *ret_is_ours: somebody has to look at the configuration. */
const char *oauth_error_text(const char *error, bool *ret_is_ours);
/* Is what is configured enough to sign anybody in? E_INVALID says what is missing. */
int oauth_check(const char *kind, const json_t *config, struct err *err);
