/* Shared by oauth.c and github.c only. */
#pragma once

#include "base/buf.h"
#include "edge/access/oauth.h"
#include "http/fetch.h"

/* "" when it is not set. */
const char *oauth_config(const struct oauth *o, const char *name);
/* JSON from an https URL of the provider, with its CA; a new reference, NULL with `err`. */
json_t *oauth_fetch(const struct oauth *o, const struct fetch_request *req, struct err *err);
/* The code for tokens; a new reference. */
json_t *oauth_exchange(const struct oauth *o, const char *url, struct err *err);
/* One more parameter of a query. */
int oauth_add(struct buf *url, const char *name, const char *value) MUST_USE;
