#include "edge/access/oauth.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "edge/access/github.h"
#include "edge/access/oauth_internal.h"
#include "http/fetch.h"
#include "jose/jwt.h"

/* RFC 7636 §4.1 wants 43 characters at least: 32 bytes in base64url. */
#define RANDOM_BYTES 32

/* --- Life ---------------------------------------------------------------------------------------- */

static char *random_text(void)
{
	uint8_t raw[RANDOM_BYTES];

	random_bytes(raw, sizeof(raw));
	return base64_text(BASE64_URL_RAW, bytes_of(raw, sizeof(raw)));
}

struct oauth *oauth_new(const char *kind, const json_t *config, const char *redirect_uri)
{
	struct oauth *o = mem_alloc(sizeof(*o));

	o->kind = mem_strdup(kind);
	o->config = json_is_object(config) ? json_deep_copy(config) : json_object();
	o->redirect_uri = mem_strdup(redirect_uri);
	o->state = random_text();
	o->nonce = random_text();
	o->verifier = random_text();
	return o;
}

struct oauth *oauth_free(struct oauth *o)
{
	if (!o)
		return NULL;
	json_decref(o->config);
	json_decref(o->identity);
	mem_free(o->kind);
	mem_free(o->redirect_uri);
	mem_free(o->state);
	mem_free(o->nonce);
	mem_free(o->verifier);
	mem_free(o->code);
	mem_free(o->url);
	return mem_free(o);
}

/* --- What is configured --------------------------------------------------------------------------- */

const char *oauth_config(const struct oauth *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o->config, name));

	return text ? text : "";
}

/* Where the provider describes itself; NULL: it does not, all its URLs are configured. */
static char *issuer_of(const struct oauth *o)
{
	const char *given = oauth_config(o, "issuer"), *tenant;

	if (given[0])
		return mem_strdup(given);
	if (strncmp(o->kind, "google", 6) == 0)
		return mem_strdup("https://accounts.google.com");
	if (strcmp(o->kind, "azureAD") == 0) {
		tenant = oauth_config(o, "directory_id");
		return mem_printf("https://login.microsoftonline.com/%s/v2.0",
				  tenant[0] ? tenant : "common");
	}
	if (strcmp(o->kind, "okta") == 0 && oauth_config(o, "okta_account")[0])
		return mem_strdup(oauth_config(o, "okta_account"));
	return NULL;
}

/* --- Asking the provider ---------------------------------------------------------------------------- */

json_t *oauth_fetch(const struct oauth *o, const struct fetch_request *wanted, struct err *err)
{
	struct fetch_request req = *wanted;
	struct fetch_response res;
	const char *ca = oauth_config(o, "ca_file");
	json_t *answer = NULL;

	if (strncmp(req.url, "https://", 8) != 0) {
		err_set(err, E_INVALID, "%s: an identity provider's URL begins with https://",
			req.url);
		return NULL;
	}
	req.ca_file = ca[0] ? ca : NULL;
	if (fetch(&req, &res, err) < 0)
		return NULL;
	if (res.status == 200)
		answer = json_loadb((const char *)res.body.ptr, res.body.len,
				    JSON_REJECT_DUPLICATES, NULL);
	if (!answer)
		err_set(err, E_PROTOCOL, "%s answered %d%s", req.url, res.status,
			res.status == 200 ? " and no JSON" : "");
	fetch_response_done(&res);
	return answer;
}

static json_t *discover(const struct oauth *o, struct err *err)
{
	char *issuer = issuer_of(o), *url;
	json_t *found;

	if (!issuer)
		return json_object();
	url = mem_printf("%s/.well-known/openid-configuration", issuer);
	found = oauth_fetch(o, &(struct fetch_request){ .url = url }, err);
	mem_free(url);
	mem_free(issuer);
	return found;
}

/* What is configured, else what the provider says of itself; owned, NULL: neither. */
static char *endpoint(const struct oauth *o, const json_t *found, const char *configured,
		      const char *discovered)
{
	const char *text = oauth_config(o, configured);

	if (!text[0])
		text = json_string_value(json_object_get(found, discovered));
	return text && text[0] ? mem_strdup(text) : NULL;
}

/* --- Start ------------------------------------------------------------------------------------------ */

int oauth_add(struct buf *url, const char *name, const char *value)
{
	bool has_query = url->len && memchr(url->ptr, '?', url->len) != NULL;
	int r = buf_printf(url, "%s%s=", has_query ? "&" : "?", name);

	return r < 0 ? r : fetch_escape(url, bytes_str(value));
}

static char *challenge_of(const char *verifier)
{
	uint8_t hash[HASH_SHA256_BYTES];

	hash_sha256(bytes_str(verifier), hash);
	return base64_text(BASE64_URL_RAW, bytes_of(hash, sizeof(hash)));
}

/* "scopes": a list; the usual three unless they say otherwise. */
static char *scopes_of(const struct oauth *o)
{
	json_t *list = json_object_get(o->config, "scopes"), *one;
	struct buf text;
	size_t i;

	if (json_array_size(list) == 0)
		return mem_strdup("openid email profile");
	buf_init(&text, 1024);
	json_array_foreach(list, i, one) if (json_is_string(one) &&
					     buf_printf(&text, "%s%s", text.len ? " " : "",
							json_string_value(one)) < 0) break;
	char *scopes = buf_take_str(&text);
	buf_done(&text);
	return scopes;
}

static int start_oidc(struct oauth *o)
{
	json_t *found = discover(o, &o->err);
	char *to = found ? endpoint(o, found, "auth_url", "authorization_endpoint") : NULL;
	char *scopes = scopes_of(o), *challenge = challenge_of(o->verifier);
	struct buf url;
	int r = 0;

	buf_init(&url, LIMIT_TARGET_BYTES);
	if (found && !to)
		err_set(&o->err, E_INVALID,
			"neither auth_url nor issuer is set for this identity provider");
	if (to) {
		r |= buf_append_str(&url, to);
		r |= oauth_add(&url, "response_type", "code");
		r |= oauth_add(&url, "client_id", oauth_config(o, "client_id"));
		r |= oauth_add(&url, "redirect_uri", o->redirect_uri);
		r |= oauth_add(&url, "scope", scopes);
		r |= oauth_add(&url, "state", o->state);
		r |= oauth_add(&url, "nonce", o->nonce);
		r |= oauth_add(&url, "code_challenge", challenge);
		r |= oauth_add(&url, "code_challenge_method", "S256");
		if (r == 0)
			o->url = buf_take_str(&url);
	}
	buf_done(&url);
	mem_free(scopes);
	mem_free(challenge);
	mem_free(to);
	json_decref(found);
	return r;
}

void oauth_start(struct oauth *o)
{
	int r = strcmp(o->kind, "github") == 0 ? github_start(o) : start_oidc(o);

	if (r < 0)
		err_set(&o->err, E_LIMIT, "the URL of the identity provider is too long");
}

/* --- Finish: the code becomes an ID token ------------------------------------------------------------ */

json_t *oauth_exchange(const struct oauth *o, const char *url, struct err *err)
{
	static const struct fetch_header headers[] = {
		{ "Content-Type", "application/x-www-form-urlencoded" },
		{ "Accept", "application/json" },
	};
	const char *const fields[][2] = {
		{ "grant_type", "authorization_code" },
		{ "code", o->code },
		{ "redirect_uri", o->redirect_uri },
		{ "client_id", oauth_config(o, "client_id") },
		{ "client_secret", oauth_config(o, "client_secret") },
		{ "code_verifier", o->verifier },
	};
	struct buf body;
	json_t *answer = NULL;
	int r = 0;

	buf_init(&body, LIMIT_TARGET_BYTES);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		r |= buf_printf(&body, "%s%s=", i ? "&" : "", fields[i][0]);
		r |= fetch_escape(&body, bytes_str(fields[i][1]));
	}
	if (r < 0)
		err_set(err, E_LIMIT, "what came back from the identity provider is too long");
	else
		answer = oauth_fetch(o,
				     &(struct fetch_request){
					     .method = "POST",
					     .url = url,
					     .headers = headers,
					     .header_count = ARRAY_LEN(headers),
					     .body = buf_bytes(&body),
				     },
				     err);
	secret_wipe(body.ptr, body.len);
	buf_done(&body);
	return answer;
}

static struct key_set *fetch_keys(const struct oauth *o, const char *url, struct err *err)
{
	json_t *keys = oauth_fetch(o, &(struct fetch_request){ .url = url }, err);
	struct key_set *set;
	char *text;

	if (!keys)
		return NULL;
	text = json_dumps(keys, JSON_COMPACT);
	set = key_set_parse(bytes_str(text), err);
	if (!set)
		err_wrap(err, "the keys of the identity provider");
	free(text); /* allowed: jansson took it from malloc */
	json_decref(keys);
	return set;
}

/* Microsoft's "common" keys name the tenant in the token: the issuer is a pattern there. */
static char *expected_issuer(const struct oauth *o, const json_t *found)
{
	const char *text = json_string_value(json_object_get(found, "issuer"));
	char *own = issuer_of(o);

	if (!text)
		return own;
	mem_free(own);
	return mem_strdup(text);
}

static json_t *claims_of(struct oauth *o, const json_t *found, const char *id_token)
{
	char *certs = endpoint(o, found, "certs_url", "jwks_uri"),
	     *issuer = expected_issuer(o, found);
	const char *client = oauth_config(o, "client_id"), *nonce;
	struct key_set *keys = certs ? fetch_keys(o, certs, &o->err) : NULL;
	struct jwt_expected expected = {
		.issuer = issuer ? issuer : "",
		.audiences = &client,
		.audience_count = 1,
		.now = clock_wall_now(),
	};
	struct jwt_claims claims;
	struct arena arena;
	json_t *all = NULL;

	arena_init(&arena);
	if (!certs || !issuer)
		err_set(&o->err, E_INVALID,
			"certs_url and issuer are not set, and the identity "
			"provider does not say them");
	if (keys && issuer &&
	    jwt_verify(keys, bytes_str(id_token), &expected, &arena, &claims, &o->err) == 0)
		all = json_loadb((const char *)claims.json.ptr, claims.json.len, 0, NULL);
	else if (o->err.code)
		err_wrap(&o->err, "the ID token");
	nonce = json_string_value(json_object_get(all, "nonce"));
	if (all && (!nonce || strcmp(nonce, o->nonce) != 0)) {
		err_set(&o->err, E_DENIED, "the ID token was made for another sign-in");
		json_decref(all);
		all = NULL;
	}
	arena_done(&arena);
	key_set_free(keys);
	mem_free(certs);
	mem_free(issuer);
	return all;
}

/* Claims of the ID token, and those that only the userinfo endpoint has (Core §5.3.2: of the same subject). */
static void add_userinfo(const struct oauth *o, const json_t *found, const json_t *tokens,
			 json_t *claims)
{
	char *url = endpoint(o, found, "userinfo_url", "userinfo_endpoint");
	const char *access = json_string_value(json_object_get(tokens, "access_token"));
	char *bearer = access ? mem_printf("Bearer %s", access) : NULL;
	const struct fetch_header header = { "Authorization", bearer ? bearer : "" };
	json_t *more = NULL;

	if (url && bearer)
		more = oauth_fetch(
			o,
			&(struct fetch_request){ .url = url, .headers = &header, .header_count = 1 },
			NULL);
	if (json_equal(json_object_get(more, "sub"), json_object_get(claims, "sub")))
		json_object_update_missing(claims, more);
	json_decref(more);
	if (bearer)
		secret_wipe(bearer, strlen(bearer));
	mem_free(bearer);
	mem_free(url);
}

/* An address that the provider does not call its own proof is nobody's. Not all say "email_verified": those that a
 * company runs for its own people leave it out. */
static int identity_of(struct oauth *o, json_t *claims)
{
	const char *claim = oauth_config(o, "email_claim_name");
	const char *email = json_string_value(json_object_get(claims, claim[0] ? claim : "email"));
	const json_t *verified = json_object_get(claims, "email_verified");
	const char *name = json_string_value(json_object_get(claims, "name"));
	json_t *groups = json_object_get(claims, "groups"), *amr = json_object_get(claims, "amr");

	if (!email || !email[0])
		return err_set(&o->err, E_DENIED,
			       "the identity provider gives no e-mail address (claim %s)",
			       claim[0] ? claim : "email");
	if (json_is_false(verified) ||
	    (json_is_string(verified) && strcmp(json_string_value(verified), "false") == 0))
		return err_set(&o->err, E_DENIED,
			       "the identity provider has not verified the e-mail address");
	o->identity = json_pack("{s:s, s:s, s:O}", "email", email, "name", name ? name : "",
				"claims", claims);
	if (json_is_array(groups))
		json_object_set(o->identity, "groups", groups);
	if (json_is_array(amr))
		json_object_set(o->identity, "amr", amr);
	return 0;
}

static void finish_oidc(struct oauth *o)
{
	json_t *found = discover(o, &o->err), *tokens = NULL, *claims = NULL;
	char *url = found ? endpoint(o, found, "token_url", "token_endpoint") : NULL;
	const char *id_token;

	if (found && !url)
		err_set(&o->err, E_INVALID,
			"neither token_url nor issuer is set for this identity provider");
	if (url)
		tokens = oauth_exchange(o, url, &o->err);
	id_token = json_string_value(json_object_get(tokens, "id_token"));
	if (tokens && !id_token)
		err_set(&o->err, E_PROTOCOL, "the identity provider gave no ID token");
	if (id_token)
		claims = claims_of(o, found, id_token);
	if (claims) {
		add_userinfo(o, found, tokens, claims);
		(void)identity_of(o, claims);
	}
	json_decref(claims);
	json_decref(tokens);
	json_decref(found);
	mem_free(url);
}

void oauth_finish(struct oauth *o)
{
	if (strcmp(o->kind, "github") == 0)
		github_finish(o);
	else
		finish_oidc(o);
}
