/* The tokens of Access (CONTROL §5.6; RFC 7519): what is in them, and checking them.
 *
 * An application token lets one session into one application; the organisation's token, in a cookie of the
 * control host, gets new ones without another sign-in; a metadata token tells a command line what guards a
 * hostname; a login token carries a request across the sign-in. Each type is good for its own purpose only.
 */
#pragma once

#include <jansson.h>

#include "base/arena.h"
#include "base/clock.h"
#include "edge/access/rule.h"
#include "jose/key_set.h"

struct access_keys;

/* In tokens of applications and of sign-ins: what external services said, {mark of the rule: true, false, or null for
 * one that did not answer}. */
#define ACCESS_EXTERNAL_CLAIM "external"
/* Until when (seconds since 1970) the reason holds that this person gave; missing: they gave none. */
#define ACCESS_PURPOSE_CLAIM "purpose_until"
/* Of the sign-in page, "1": ask why. */
#define ACCESS_PURPOSE_PARAMETER "purpose"

enum access_token_type { TOKEN_APP, TOKEN_ORG, TOKEN_META, TOKEN_LOGIN, TOKEN_TYPES };

/* "app", "org", "match", "login". */
const char *access_token_type_name(enum access_token_type type);

/* Texts are borrowed; NULL and "" are left out. */
struct access_mint {
	enum access_token_type type;
	const char *issuer;   /* https URL of the control host */
	const char *audience; /* AUD of the application or of the organisation */
	const char *session;  /* identity_nonce: the session's id */
	const char *subject;  /* the person's id; "" for services */
	const char *email, *country;
	const char *common_name; /* client id of a service token, or of a certificate */
	usec now, expires_at;    /* wall time */
	usec era;                /* of the application: access_view_era() */
	json_t *more;            /* owned by the callee: further claims; NULL: none */
};

/* Owned by the caller. Control thread. */
char *access_token_mint(const struct access_keys *keys, const struct access_mint *m);

/* Of a good token; in the arena. */
struct access_claims {
	struct bytes session, subject, email, common_name, country;
	struct bytes json; /* all of it */
	usec expires_at, era;
};

/* What it says whom it is for, unchecked: to find out whom to check it for, which is dear. Empty when nothing can be
 * read. In the arena. Any thread. */
struct bytes access_token_audience(struct bytes token, struct arena *arena);

/* A value of that claim, and back; a new reference. */
enum access_answer access_external_of_json(const json_t *value);
json_t *access_external_json(enum access_answer answer);

/* As jwt_verify() (jose/jwt.h), and E_DENIED for a token of another type. The key set's thread. */
int access_token_check(const struct key_set *keys, struct bytes token, enum access_token_type type,
		       const char *issuer, const char *audience, usec now, struct arena *arena,
		       struct access_claims *ret, struct err *err) MUST_USE;
