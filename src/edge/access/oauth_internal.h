/* Shared by oauth.c, oidc.c and github.c only. */
#pragma once

#include "base/buf.h"
#include "edge/access/oauth.h"
#include "http/fetch.h"
#include "jose/key_set.h"

/* "" when it is not set. */
const char *oauth_config(const struct oauth *o, const char *name);
/* JSON from an https URL of the provider, with its CA; a new reference, NULL with o->err and o->told. */
json_t *oauth_fetch(struct oauth *o, const struct fetch_request *req);
/* The code for tokens; a new reference. `in_header`: the client's secret goes there, not into the body. */
json_t *oauth_exchange(struct oauth *o, const char *url, bool in_header);
/* What a token signed by one of the provider's keys says, which are at `keys_url`: a new reference, NULL with o->err
 * (the caller says what that means to people). They are fetched when they are not known, and once more when the token
 * names one that is not among them; `check` is given them, and returns E_NOT_FOUND then. */
json_t *oauth_verified(struct oauth *o, const char *keys_url, const char *token,
		       int (*check)(struct oauth *o, const struct key_set *keys, const char *token,
				    json_t **ret));
/* One more parameter of a query. */
int oauth_add(struct buf *url, const char *name, const char *value) MUST_USE;
/* The four that every request for a code has, and PKCE's. */
int oauth_add_common(struct buf *url, const struct oauth *o, const char *scopes) MUST_USE;
