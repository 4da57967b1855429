/* What a request brings along to show who is asking: cookies and fields of Access (CONTROL §5.5). Pure. */
#pragma once

#include "http/exchange.h"

/* Names that stock clients and services know. */
#define ACCESS_COOKIE "CF_Authorization"
#define ACCESS_APP_COOKIE "CF_AppSession"
#define ACCESS_BINDING_COOKIE "CF_Binding"
/* Before a cookie's name: no other host can have set it, not one of the same domain either (RFC 6265bis §4.1.3.2).
 * Ours go out under both names: command lines know the one without, browsers are believed with this one only. */
#define ACCESS_HOST_PREFIX "__Host-"

/* Cookies of one name in one request: its own and those of other hosts and paths. More are somebody's attempt to have
 * us check signatures. */
#define ACCESS_TOKENS_MAX 4

/* Borrowed from the request; empty where there is none. */
struct access_credentials {
	/* Of an application: Cf-Access-Token, else all cookies of the name, in their order. */
	struct bytes tokens[ACCESS_TOKENS_MAX];
	size_t token_count;
	bool is_cookie;  /* the tokens came as such */
	bool is_browser; /* it says so itself, which a page cannot prevent (Fetch Metadata) */
	struct bytes app_session; /* what binds tokens to this browser */
	struct bytes binding;
	struct bytes client_id, client_secret; /* a service token */
	bool is_repeated; /* a field that must be there once is there twice: whoever sent that means no good */
};

/* `token_header`: a field that may hold {"cf-access-client-id", "cf-access-client-secret"} as JSON; "": none. */
struct access_credentials access_credentials_of(struct exchange *x, const char *token_header);
/* Takes out what only Access needs and a service must not see: secrets, state, and tokens but for `good`, the one that
 * was checked. */
void access_credentials_strip(struct exchange *x, const char *token_header, struct bytes good);

/* The value of a cookie; empty when there is none. The first of several. */
struct bytes access_cookie(const struct fields *f, const char *name);
/* The same of one that is set under both names (ACCESS_HOST_PREFIX). */
struct bytes access_own_cookie(const struct fields *f, const char *name);

/* Whether a person's browser is going to show the answer as a page: only then a redirect to a sign-in page makes
 * sense (Fetch Metadata; XMLHttpRequest; Accept). */
bool access_is_navigation(const struct head *h);
