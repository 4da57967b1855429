/* What a request brings along to show who is asking: cookies and fields of Access (CONTROL §5.5). Pure. */
#pragma once

#include "http/exchange.h"

/* Names that stock clients and services know. */
#define ACCESS_COOKIE "CF_Authorization"
#define ACCESS_APP_COOKIE "CF_AppSession"
#define ACCESS_BINDING_COOKIE "CF_Binding"

/* Borrowed from the request; empty where there is none. */
struct access_credentials {
	struct bytes token;       /* of an application: Cf-Access-Token, else the cookie */
	bool is_cookie;           /* the token came as one */
	struct bytes app_session; /* state of a sign-in under way */
	struct bytes binding;
	struct bytes client_id, client_secret; /* a service token */
	bool is_repeated; /* a field that must be there once is there twice: whoever sent that means no good */
};

/* `token_header`: a field that may hold {"cf-access-client-id", "cf-access-client-secret"} as JSON; "": none. */
struct access_credentials access_credentials_of(struct exchange *x, const char *token_header);
/* Takes out what only Access needs and a service must not see: secrets, foreign tokens, state. */
void access_credentials_strip(struct exchange *x, const char *token_header);

/* The value of a cookie; empty when there is none. */
struct bytes access_cookie(const struct fields *f, const char *name);

/* Whether a person's browser is going to show the answer as a page: only then a redirect to a sign-in page makes
 * sense (Fetch Metadata; XMLHttpRequest; Accept). */
bool access_is_navigation(const struct head *h);
