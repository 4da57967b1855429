/* All that Access is configured to be, as one immutable value: applications, policies, groups, identity
 * providers, service tokens, the organisation. Made from the objects of the store, in the JSON form of the
 * API; counted, for workers keep it in their snapshot. Reading it is safe on any thread.
 */
#pragma once

#include "edge/access/palette.h"
#include "edge/access/place.h"
#include "edge/access/policy.h"

struct access_set;

enum access_kind {
	ACCESS_APP,
	ACCESS_POLICY,
	ACCESS_GROUPS,
	ACCESS_PROVIDER,
	ACCESS_TOKEN,
	ACCESS_ORGANIZATION,
	ACCESS_KINDS,
};

/* "application", "policy", "group", "identity provider", "service token", "organisation". */
const char *access_kind_text(enum access_kind kind);

/* One object of the store. */
struct access_object {
	enum access_kind kind;
	json_t *body; /* owned; has "id" */
};

enum access_provider_type {
	PROVIDER_PIN,
	PROVIDER_PASSWORD,
	PROVIDER_PASSKEY,
	PROVIDER_OIDC,
	PROVIDER_GITHUB,
};

struct access_provider {
	const char *id, *name;
	enum access_provider_type type;
	const char *kind;     /* "oidc", "google", "azureAD", "onetimepin" … */
	const json_t *config; /* of the object; belongs to the set */
};

enum access_same_site { SAME_SITE_NONE, SAME_SITE_LAX, SAME_SITE_STRICT };

struct access_app {
	const char *id, *name, *aud; /* aud: 64 hex digits */
	const char *logo_url;        /* "": none */
	const struct access_place *places;
	size_t place_count;
	const struct access_policy *const *policies; /* in order */
	size_t policy_count;
	const struct access_provider *const *providers; /* ways to sign in; none: all there are */
	size_t provider_count;
	usec session;           /* -1: as the organisation's */
	usec ssh_certificate;   /* how long a certificate opens connections */
	bool redirects_at_once; /* to the only provider */
	bool is_in_launcher;
	bool answers_401;      /* to those who are no browsers, instead of a redirect */
	bool passes_preflight; /* CORS OPTIONS go to the service without identity */
	const json_t *cors;    /* they are answered here (edge/access/cors.h); NULL: not */
	bool has_http_only, has_path_cookie, has_binding;
	enum access_same_site same_site;
	const char *token_header; /* a field that may hold both parts of a service token; "": none */
	const char *deny_message; /* "": ours */
};

#define ACCESS_SECRET_HASH_BYTES 32

struct access_service_token {
	const char *id, *name, *client_id;
	uint8_t secret_hash[ACCESS_SECRET_HASH_BYTES];   /* SHA-256: the secret itself is random */
	uint8_t previous_hash[ACCESS_SECRET_HASH_BYTES]; /* of before a rotation */
	usec previous_until;                             /* wall time; 0: there is none */
	usec expires_at;                                 /* INT64_MAX: never */
	bool is_enabled;
};

struct access_organization {
	const char *name,
		*auth_domain; /* as pages say it; "team.cloudflareaccess.com" for stock clients */
	const char *aud;
	const char *logo_url;
	/* Of its pages ("login_design"), which can be read; only with has_colours. */
	struct colour background, text;
	bool has_colours;
	usec session;      /* of the global session */
	bool has_launcher; /* the page of applications */
};

/* Objects that do not fit together are refused, with their name: E_PARSE, E_NOT_FOUND (a group, policy or
 * provider that is named and missing), E_EXISTS (one place in two applications), E_INVALID, E_LIMIT. The bodies stay
 * the caller's. */
struct access_set *access_set_build(const struct access_object *objects, size_t count,
				    struct err *err);
/* Whether what rules want to know of people is said by the identity providers they name. For what is about to be put
 * in place: E_INVALID; what is in place already is served all the same, where such rules hold for nobody. */
int access_set_check_groups(const struct access_set *s, struct err *err);
struct access_set *access_set_ref(struct access_set *s);
struct access_set *access_set_unref(struct access_set *s); /* NULL is fine */

/* The application a request is in; NULL: none, and it goes on. False: services may read the path in two ways that
 * are in two applications. `host` in lower case; `arena` for the paths. */
bool access_set_find(const struct access_set *s, struct bytes host, struct bytes target,
		     struct arena *arena, const struct access_app **ret);
/* Whether any application is on this host. */
bool access_set_has_host(const struct access_set *s, struct bytes host);

const struct access_app *access_set_app(const struct access_set *s, struct bytes id_or_aud);
const struct access_provider *access_set_provider(const struct access_set *s, struct bytes id);
const struct access_app *access_set_apps(const struct access_set *s, size_t *ret_count);
const struct access_provider *access_set_providers(const struct access_set *s, size_t *ret_count);
const struct access_organization *access_set_organization(const struct access_set *s);
/* The token whose secret this is, in constant time for known ids; NULL: nobody's, off, or expired at `now` (wall
 * time). */
const struct access_service_token *access_set_service_token(const struct access_set *s,
							    struct bytes client_id,
							    struct bytes secret, usec now);
/* By its own id, whatever state it is in, or by that or its name; NULL: there is none. */
const struct access_service_token *access_set_token_of_id(const struct access_set *s,
							  struct bytes id);
const struct access_service_token *access_set_token_named(const struct access_set *s,
							  const char *name_or_id);
