/* Identity providers on the web: OpenID Connect (OpenID Connect Core 1.0, Discovery 1.0) and GitHub's OAuth
 * (RFC 6749), with PKCE (RFC 7636). Two steps, each of which may ask the provider and block: for threads of
 * loop_work(). The provider's words are not trusted: they are bounded, and an ID token counts only with a good
 * signature, issuer, audience, nonce and time.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"

/* A provider as it is configured, and what one sign-in needs until it comes back. */
struct oauth {
	json_t *config; /* owned; of the provider's object */
	char *kind;     /* owned: "oidc", "google", "google-apps", "azureAD", "okta", "github" */
	char *redirect_uri;             /* owned; of ours */
	char *state, *nonce, *verifier; /* owned; random */
	char *code;                     /* owned; what came back; NULL before */
	/* The results. */
	char *url;        /* oauth_start(): where to send the browser */
	json_t *identity; /* oauth_finish(): {email, name, groups, organizations, claims, amr} */
	struct err err;
};

/* With fresh state, nonce and verifier. `config` is copied. */
struct oauth *oauth_new(const char *kind, const json_t *config, const char *redirect_uri);
struct oauth *oauth_free(struct oauth *o); /* NULL is fine */

/* Fills in o->url, or o->err. */
void oauth_start(struct oauth *o);
/* Fills in o->identity, or o->err: E_DENIED when the provider does not vouch for an e-mail address. */
void oauth_finish(struct oauth *o);
