/* Shared by oauth.c, oidc.c and github.c only. */
#pragma once

#include "base/buf.h"
#include "edge/access/oauth.h"
#include "http/fetch.h"

/* "" when it is not set. */
const char *oauth_config(const struct oauth *o, const char *name);
/* JSON from an https URL of the provider, with its CA; a new reference, NULL with o->err and o->told. */
json_t *oauth_fetch(struct oauth *o, const struct fetch_request *req);
/* The code for tokens; a new reference. `in_header`: the client's secret goes there, not into the body. */
json_t *oauth_exchange(struct oauth *o, const char *url, bool in_header);
/* One more parameter of a query. */
int oauth_add(struct buf *url, const char *name, const char *value) MUST_USE;
/* The four that every request for a code has, and PKCE's. */
int oauth_add_common(struct buf *url, const struct oauth *o, const char *scopes) MUST_USE;
