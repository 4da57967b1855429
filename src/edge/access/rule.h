/* One condition of an Access policy, a selector with its value, and what is known of a visitor.
 *
 * Conditions have the JSON form that clients of the API know: {"email": {"email": "a@example.com"}}.
 * An answer may be "unknown": before the visitor has signed in nothing is known of the person, and an
 * external service may not have been asked yet. Rules are immutable once parsed; evaluating them is
 * pure. Any thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "edge/access/countries.h"
#include "io/network.h"

struct access_conditions;
struct access_group;

enum access_selector {
	ACCESS_EVERYONE,
	ACCESS_EMAIL,
	ACCESS_EMAIL_DOMAIN,
	ACCESS_IP,
	ACCESS_COUNTRY,
	ACCESS_GROUP,
	ACCESS_SERVICE_TOKEN,
	ACCESS_ANY_SERVICE_TOKEN,
	ACCESS_CERTIFICATE,
	ACCESS_COMMON_NAME,
	ACCESS_LOGIN_METHOD,
	ACCESS_AUTH_METHOD,
	ACCESS_GITHUB,
	ACCESS_PROVIDER_GROUP, /* "gsuite", "azureAD", "okta" */
	ACCESS_CLAIM,          /* "oidc", "saml" */
	ACCESS_EXTERNAL,
};

/* All texts belong to the arena they were parsed into. */
struct access_rule {
	enum access_selector selector;
	const char *kind;   /* its name in JSON: "email" */
	struct bytes value; /* the address, domain, token id, organisation, claim's name, URL … */
	struct bytes detail;    /* the team, the claim's value, the URL of the keys; may be empty */
	struct bytes idp;       /* only who came by this identity provider; empty: by any */
	struct bytes mark;      /* ACCESS_EXTERNAL: stands for its URLs, in tokens */
	const char *ca_file;    /* ACCESS_EXTERNAL: who vouches for its service, too; "": nobody */
	struct network network; /* ACCESS_IP */
	const struct access_group *group; /* ACCESS_GROUP, once access_group_link() has found it */
};

enum access_answer { ACCESS_NO, ACCESS_YES, ACCESS_UNKNOWN };

/* An organisation or a team somebody is in, as the identity provider says. */
struct access_membership {
	struct bytes organisation, team; /* team empty: of the organisation itself */
};

/* What an external service said of this visitor. */
struct access_external_answer {
	struct bytes mark;         /* of the rule */
	enum access_answer answer; /* ACCESS_UNKNOWN: it was asked, and gave none that counts */
};

/* Borrowed, all of it. */
struct access_facts {
	/* Of the person; only with has_identity. */
	bool has_identity;
	struct bytes email;          /* as it was typed or given */
	struct bytes idp;            /* the identity provider's id */
	const struct bytes *methods; /* how they proved it (RFC 8176): "pwd", "mfa", "otp" … */
	size_t method_count;
	const struct access_membership *memberships;
	size_t membership_count;
	const struct bytes *groups; /* names, addresses or ids, as the provider gives them */
	size_t group_count;
	const json_t *claims; /* object, as the provider gave it; may be NULL */
	/* Of the connection and the request: always known. */
	struct network address; /* with has_address; without one no network holds it */
	bool has_address;
	char country[COUNTRY_TEXT_SIZE]; /* "PT"; "" when nobody can say */
	bool has_certificate;            /* a client certificate that was verified */
	struct bytes common_name;        /* of it */
	struct bytes service_token;      /* id of the one whose secret was right; empty: none */
	const struct access_external_answer *external;
	size_t external_count;
};

/* One element of include, exclude or require. E_PARSE when it has no such form, E_UNSUPPORTED for
 * selectors that need what this edge has not (device posture …); the text says what to do. */
int access_rule_parse(const json_t *object, struct arena *arena, struct access_rule *ret,
		      struct err *err);
/* The same object; a new reference. */
json_t *access_rule_json(const struct access_rule *r);
/* For a person: "e-mail address is a@example.com". In `arena`. */
struct bytes access_rule_text(const struct access_rule *r, struct arena *arena);
/* Does it depend on who the visitor is, and not just on the request? Groups: if one of their rules does. */
bool access_rule_needs_identity(const struct access_rule *r);
/* ACCESS_EXTERNAL: has its service been asked, whatever came of it? */
bool access_rule_was_asked(const struct access_rule *r, const struct access_facts *facts);
/* The mark of a rule with these URLs: short, and it does not tell them. In `arena`. */
struct bytes access_external_mark(struct arena *arena, struct bytes evaluate_url,
				  struct bytes keys_url);
/* Groups must be linked. `in_doubt` is the answer to a question about a country that nobody can tell: not "unknown", for
 * a sign-in would not help. What groups exclude is asked the other way round. */
enum access_answer access_rule_answer(const struct access_rule *r, const struct access_facts *facts,
				      bool in_doubt);
/* Is this rule one of `in_doubt`? Groups: no. */
bool access_rule_is_doubtful(const struct access_rule *r, const struct access_facts *facts);
