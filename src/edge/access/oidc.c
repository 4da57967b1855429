#include "edge/access/oidc.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/access/oauth_internal.h"
#include "edge/access/oidc_groups.h"
#include "jose/jwt.h"

#define TOLD_UNTRUSTED                                                                                      \
	"What the identity provider said about you could not be trusted, so nobody was signed in. The log " \
	"of the edge has the reason."

/* --- What is configured --------------------------------------------------------------------------- */

static bool is_kind(const struct oauth *o, const char *kind)
{
	return strcmp(o->kind, kind) == 0;
}

/* Where the provider describes itself; NULL: it is not set. */
static char *issuer_of(const struct oauth *o)
{
	const char *given = oauth_config(o, "issuer");

	if (given[0])
		return mem_strdup(given);
	if (strncmp(o->kind, "google", 6) == 0)
		return mem_strdup("https://accounts.google.com");
	if (is_kind(o, "azureAD") && oauth_config(o, "directory_id")[0])
		return mem_printf("https://login.microsoftonline.com/%s/v2.0",
				  oauth_config(o, "directory_id"));
	if (is_kind(o, "okta") && oauth_config(o, "okta_account")[0])
		return mem_strdup(oauth_config(o, "okta_account"));
	return NULL;
}

/* Entra without a directory would let in everybody who has an account at Microsoft, under whatever address they gave
 * themselves there. */
int oidc_check(const struct oauth *o, struct err *err)
{
	const char *missing = is_kind(o, "azureAD") ? "directory_id"
			      : is_kind(o, "okta")  ? "okta_account"
						    : "issuer";
	char *issuer = issuer_of(o);
	int r = 0;

	if (!issuer)
		r = err_set(err, E_INVALID, "config.%s is missing", missing);
	else if (strncmp(issuer, "https://", 8) != 0)
		r = err_set(err, E_INVALID, "config.%s: an issuer begins with https://", missing);
	mem_free(issuer);
	return r;
}

/* --- The provider's own description ------------------------------------------------------------------- */

static size_t length_without_slash(const char *url)
{
	size_t len = strlen(url);

	return len && url[len - 1] == '/' ? len - 1 : len;
}

/* Discovery §4.3: a document speaks for the issuer at whose place it is, or else anybody could speak for others. Entra
 * knows a directory under several names and calls itself by one of them. */
static bool is_of_issuer(const struct oauth *o, const json_t *found, const char *issuer)
{
	const char *said = json_string_value(json_object_get(found, "issuer"));
	size_t len = length_without_slash(issuer);

	if (!said || strchr(said, '{'))
		return false;
	return is_kind(o, "azureAD") ||
	       (length_without_slash(said) == len && strncmp(said, issuer, len) == 0);
}

static bool discover(struct oauth *o)
{
	char *issuer, *url;

	if (o->found)
		return true;
	issuer = issuer_of(o);
	if (!issuer) {
		(void)oidc_check(o, &o->err);
		return false;
	}
	url = mem_printf("%.*s/.well-known/openid-configuration", (int)length_without_slash(issuer),
			 issuer);
	o->found = oauth_fetch(o, &(struct fetch_request){ .url = url });
	if (o->found && !is_of_issuer(o, o->found, issuer)) {
		o->told = TOLD_UNTRUSTED;
		err_set(&o->err, E_PROTOCOL, "%s speaks for another issuer", url);
		json_decref(o->found);
		o->found = NULL;
	}
	o->has_found = o->found != NULL;
	mem_free(url);
	mem_free(issuer);
	return o->found != NULL;
}

/* What is configured, else what the provider says of itself; borrowed. NULL: neither, and o->err says so unless
 * nobody needs it. */
static const char *endpoint(struct oauth *o, const char *configured, const char *discovered,
			    bool is_needed)
{
	const char *text = oauth_config(o, configured);

	if (!text[0])
		text = json_string_value(json_object_get(o->found, discovered));
	if (text && text[0])
		return text;
	if (is_needed)
		err_set(&o->err, E_INVALID,
			"the identity provider does not say its %s; set config.%s", discovered,
			configured);
	return NULL;
}

/* --- Start ------------------------------------------------------------------------------------------ */

/* "scopes": a list; the usual three unless they say otherwise. */
static char *scopes_of(const struct oauth *o)
{
	json_t *list = json_object_get(o->config, "scopes"), *one;
	struct buf text;
	char *scopes;
	size_t i;

	if (json_array_size(list) == 0)
		return mem_printf("openid email profile%s", oidc_groups_scope(o));
	buf_init(&text, 1024);
	json_array_foreach(list, i, one)
	{
		if (json_is_string(one) &&
		    buf_printf(&text, "%s%s", text.len ? " " : "", json_string_value(one)) < 0)
			break;
	}
	scopes = buf_take_str(&text);
	buf_done(&text);
	return scopes;
}

int oidc_start(struct oauth *o)
{
	const char *to =
		discover(o) ? endpoint(o, "auth_url", "authorization_endpoint", true) : NULL;
	char *scopes = scopes_of(o);
	struct buf url;
	int r = 0;

	buf_init(&url, LIMIT_TARGET_BYTES);
	if (to) {
		r |= buf_append_str(&url, to);
		r |= oauth_add_common(&url, o, scopes);
		r |= oauth_add(&url, "nonce", o->nonce);
		if (oauth_config(o, "prompt")[0])
			r |= oauth_add(&url, "prompt", oauth_config(o, "prompt"));
		if (oauth_config(o, "apps_domain")[0])
			r |= oauth_add(&url, "hd", oauth_config(o, "apps_domain"));
		if (r == 0)
			o->url = buf_take_str(&url);
	}
	buf_done(&url);
	mem_free(scopes);
	return r;
}

/* --- Finish: the code becomes an ID token ------------------------------------------------------------ */

static int check_with_keys(struct oauth *o, const struct key_set *keys, const char *id_token,
			   json_t **ret)
{
	const char *client = oauth_config(o, "client_id");
	const struct jwt_expected expected = {
		.issuer = json_string_value(json_object_get(o->found, "issuer")),
		.audiences = &client,
		.audience_count = 1,
		.now = clock_wall_now(),
	};
	struct jwt_claims claims;
	struct arena arena;
	int r;

	arena_init(&arena);
	r = jwt_verify(keys, bytes_str(id_token), &expected, &arena, &claims, &o->err);
	if (r == 0)
		*ret = json_loadb((const char *)claims.json.ptr, claims.json.len, 0, NULL);
	arena_done(&arena);
	return r;
}

static json_t *check_id_token(struct oauth *o, const char *id_token)
{
	const char *url = endpoint(o, "certs_url", "jwks_uri", true);
	json_t *claims = url ? oauth_verified(o, url, id_token, check_with_keys) : NULL;

	/* Where they could not be fetched it is said already. */
	if (url && !claims && !o->told) {
		o->told = TOLD_UNTRUSTED;
		err_wrap(&o->err, "the ID token");
	}
	return claims;
}

static bool is_text(const json_t *claims, const char *name, const char *value)
{
	const char *text = json_string_value(json_object_get(claims, name));

	return text && strcmp(text, value) == 0;
}

/* Core §3.1.3.7: made for this sign-in and for us alone. */
static bool is_for_us(struct oauth *o, const json_t *claims)
{
	const json_t *party = json_object_get(claims, "azp");
	const char *wrong = NULL;

	if (!is_text(claims, "nonce", o->nonce))
		wrong = "was made for another sign-in";
	else if (party && !is_text(claims, "azp", oauth_config(o, "client_id")))
		wrong = "was made for another party";
	else if (!json_is_string(json_object_get(claims, "sub")))
		wrong = "does not say whom it is about";
	if (!wrong)
		return true;
	o->told = TOLD_UNTRUSTED;
	err_set(&o->err, E_DENIED, "the ID token %s", wrong);
	return false;
}

/* Claims that only the userinfo endpoint has (Core §5.3.2: of the same subject). Without it there is less to know, and
 * that is all. */
static void add_userinfo(struct oauth *o, const json_t *tokens, json_t *claims)
{
	const char *url = endpoint(o, "userinfo_url", "userinfo_endpoint", false);
	const char *access = json_string_value(json_object_get(tokens, "access_token"));
	char *bearer = access ? mem_printf("Bearer %s", access) : NULL;
	const struct fetch_header header = { "Authorization", bearer ? bearer : "" };
	json_t *more = NULL;

	if (url && bearer)
		more = oauth_fetch(o, &(struct fetch_request){ .url = url,
							       .headers = &header,
							       .header_count = 1 });
	if (more && json_equal(json_object_get(more, "sub"), json_object_get(claims, "sub")))
		json_object_update_missing(claims, more);
	json_decref(more);
	o->err = (struct err){ 0 };
	o->told = NULL;
	if (bearer)
		secret_wipe(bearer, strlen(bearer));
	mem_free(bearer);
}

/* --- Who it is --------------------------------------------------------------------------------------- */

/* Entra has "email" only for who has a mailbox; within one directory the name they sign in with is given by its
 * administrators, too. */
static const char *email_of(const struct oauth *o, const json_t *claims, const char **ret_claim)
{
	const char *claim = oauth_config(o, "email_claim_name"), *email;

	*ret_claim = claim[0] ? claim : "email";
	email = json_string_value(json_object_get(claims, *ret_claim));
	if (!email && !claim[0] && is_kind(o, "azureAD"))
		email = json_string_value(json_object_get(claims, "preferred_username"));
	return email && email[0] ? email : NULL;
}

/* An address that the provider does not call its own proof is nobody's. Not all say "email_verified": those that a
 * company runs for its own people leave it out. */
static bool is_unverified(const json_t *claims)
{
	const json_t *verified = json_object_get(claims, "email_verified");

	return json_is_false(verified) ||
	       (json_is_string(verified) && strcmp(json_string_value(verified), "false") == 0);
}

static void take_identity(struct oauth *o, const json_t *tokens, json_t *claims)
{
	const char *claim, *email = email_of(o, claims, &claim);
	const char *domain = oauth_config(o, "apps_domain");
	const char *name = json_string_value(json_object_get(claims, "name"));
	json_t *groups = NULL, *amr = json_object_get(claims, "amr");

	if (!email)
		err_set(&o->err, E_DENIED,
			"The identity provider does not say your e-mail address (claim \"%.40s\").",
			claim);
	else if (is_unverified(claims))
		err_set(&o->err, E_DENIED,
			"The identity provider has not verified your e-mail address. Do that there, "
			"then sign in again.");
	else if (domain[0] && !is_text(claims, "hd", domain))
		err_set(&o->err, E_DENIED, "That account is not one of %.100s.", domain);
	else if (oidc_groups(o, tokens, claims, email, &groups))
		o->identity = json_pack("{s:s, s:s, s:O}", "email", email, "name", name ? name : "",
					"claims", claims);
	if (o->identity && groups)
		json_object_set(o->identity, "groups", groups);
	json_decref(groups);
	if (o->identity && json_is_array(amr))
		json_object_set(o->identity, "amr", amr);
}

/* RFC 9207: an answer that another provider gave is not taken to this one. */
static bool is_answer_of(struct oauth *o)
{
	if (!o->issuer || is_text(o->found, "issuer", o->issuer))
		return true;
	o->told = TOLD_UNTRUSTED;
	err_set(&o->err, E_DENIED, "the answer is another identity provider's");
	return false;
}

/* OpenID Connect Core §9: in the header, unless the provider knows of the body alone, or somebody says so. */
static bool secret_goes_into_header(const struct oauth *o)
{
	const char *method = oauth_config(o, "token_endpoint_auth_method");
	json_t *known = json_object_get(o->found, "token_endpoint_auth_methods_supported"), *one;
	bool in_body = false;
	size_t i;

	if (method[0])
		return strcmp(method, "client_secret_post") != 0;
	json_array_foreach(known, i, one)
	{
		const char *text = json_string_value(one);

		if (text && strcmp(text, "client_secret_basic") == 0)
			return true;
		in_body = in_body || (text && strcmp(text, "client_secret_post") == 0);
	}
	return !in_body;
}

void oidc_finish(struct oauth *o)
{
	const char *url = discover(o) && is_answer_of(o)
				  ? endpoint(o, "token_url", "token_endpoint", true)
				  : NULL;
	json_t *tokens = url ? oauth_exchange(o, url, secret_goes_into_header(o)) : NULL;
	const char *id_token = json_string_value(json_object_get(tokens, "id_token"));
	json_t *claims = NULL;

	if (tokens && !id_token) {
		o->told = TOLD_UNTRUSTED;
		err_set(&o->err, E_PROTOCOL, "the identity provider gave no ID token");
	}
	if (id_token)
		claims = check_id_token(o, id_token);
	if (claims && is_for_us(o, claims)) {
		add_userinfo(o, tokens, claims);
		take_identity(o, tokens, claims);
	}
	json_decref(claims);
	json_decref(tokens);
}
