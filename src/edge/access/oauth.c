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
#include "edge/access/oidc.h"
#include "http/fetch.h"

/* RFC 7636 §4.1 wants 43 characters at least: 32 bytes in base64url. */
#define RANDOM_BYTES 32
/* Of what a provider says of an error: enough for a log. */
#define SHOWN_BYTES 160

#define TOLD_UNREACHABLE                                                                                   \
	"The identity provider cannot be reached at the moment. Try again in a minute, or choose another " \
	"way to sign in."
#define TOLD_CONFIGURATION                                                                                 \
	"The identity provider does not accept this edge. Its administrator has to look at how it is set " \
	"up; the log of the edge has the reason."
#define TOLD_AGAIN "That sign-in took too long, or was used before. Please sign in again."

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
	json_decref(o->found);
	json_decref(o->identity);
	mem_free(o->kind);
	mem_free(o->redirect_uri);
	mem_free(o->state);
	mem_free(o->nonce);
	mem_free(o->verifier);
	mem_free(o->code);
	mem_free(o->issuer);
	mem_free(o->keys);
	mem_free(o->url);
	return mem_free(o);
}

const char *oauth_config(const struct oauth *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o->config, name));

	return text ? text : "";
}

/* --- Errors ---------------------------------------------------------------------------------------- */

static const struct {
	const char *error;
	bool is_ours;
	const char *told;
} errors[] = {
	{ "access_denied", false,
	  "The identity provider did not let you in, or you said no there. Try again, or choose another "
	  "way to sign in." },
	{ "consent_required", false, "The identity provider needs your consent. Please try again." },
	{ "interaction_required", false,
	  "The identity provider wants to ask you something first. Please try again." },
	{ "login_required", false,
	  "The identity provider wants you to sign in there. Please try again." },
	{ "account_selection_required", false,
	  "The identity provider wants you to choose an account. Please try again." },
	{ "temporarily_unavailable", false, TOLD_UNREACHABLE },
	{ "server_error", false, TOLD_UNREACHABLE },
	{ "invalid_grant", false, TOLD_AGAIN },
	{ "bad_verification_code", false, TOLD_AGAIN },
};

const char *oauth_error_text(const char *error, bool *ret_is_ours)
{
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		if (strcmp(errors[i].error, error) == 0) {
			*ret_is_ours = errors[i].is_ours;
			return errors[i].told;
		}
	}
	*ret_is_ours = true;
	return TOLD_CONFIGURATION;
}

/* Words of the provider in a log: what is not printable does not get there. */
static const char *shown(const char *text, char dst[SHOWN_BYTES])
{
	size_t i = 0;

	for (; text[i] && i < SHOWN_BYTES - 1; i++)
		dst[i] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?';
	dst[i] = 0;
	return dst;
}

/* {"error": …, "error_description": …} with a bad status, or, at GitHub, with a good one. */
static bool take_error(struct oauth *o, const char *url, int status, const json_t *answer)
{
	const char *error = json_string_value(json_object_get(answer, "error"));
	const char *why = json_string_value(json_object_get(answer, "error_description"));
	char error_text[SHOWN_BYTES], why_text[SHOWN_BYTES];
	bool is_ours;

	if (!error)
		return false;
	o->told = oauth_error_text(error, &is_ours);
	err_set(&o->err, is_ours ? E_PROTOCOL : E_DENIED, "%s answered %d: %s (%s)", url, status,
		shown(error, error_text), shown(why ? why : "no reason given", why_text));
	return true;
}

/* --- Asking the provider ---------------------------------------------------------------------------- */

json_t *oauth_fetch(struct oauth *o, const struct fetch_request *wanted)
{
	struct fetch_request req = *wanted;
	struct fetch_response res;
	const char *ca = oauth_config(o, "ca_file");
	json_t *answer;

	if (strncmp(req.url, "https://", 8) != 0) {
		o->told = TOLD_CONFIGURATION;
		err_set(&o->err, E_INVALID, "%s: an identity provider's URL begins with https://",
			req.url);
		return NULL;
	}
	req.ca_file = ca[0] ? ca : NULL;
	req.timeout = o->timeout;
	req.body_max = o->answer_max;
	if (fetch(&req, &res, &o->err) < 0) {
		o->told = TOLD_UNREACHABLE;
		return NULL;
	}
	answer = json_loadb((const char *)res.body.ptr, res.body.len, JSON_REJECT_DUPLICATES, NULL);
	if (take_error(o, req.url, res.status, answer) || res.status != 200 || !answer) {
		json_decref(answer);
		answer = NULL;
		if (!o->err.code) {
			o->told = TOLD_UNREACHABLE;
			err_set(&o->err, E_PROTOCOL, "%s answered %d%s", req.url, res.status,
				res.status == 200 ? " and no JSON" : "");
		}
	}
	fetch_response_done(&res);
	return answer;
}

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

int oauth_add_common(struct buf *url, const struct oauth *o, const char *scopes)
{
	char *challenge = challenge_of(o->verifier);
	int r = oauth_add(url, "response_type", "code");

	r |= oauth_add(url, "client_id", oauth_config(o, "client_id"));
	r |= oauth_add(url, "redirect_uri", o->redirect_uri);
	r |= oauth_add(url, "scope", scopes);
	r |= oauth_add(url, "state", o->state);
	r |= oauth_add(url, "code_challenge", challenge);
	r |= oauth_add(url, "code_challenge_method", "S256");
	mem_free(challenge);
	return r;
}

/* RFC 6749 §2.3.1: both are form-encoded before they are put together. Owned: wipe it. */
static char *basic_of(const struct oauth *o)
{
	char *both, *encoded, *field;
	struct buf text;
	int r;

	buf_init(&text, LIMIT_TARGET_BYTES);
	r = fetch_escape(&text, bytes_str(oauth_config(o, "client_id")));
	r |= buf_append_str(&text, ":");
	r |= fetch_escape(&text, bytes_str(oauth_config(o, "client_secret")));
	both = r < 0 ? mem_strdup("") : buf_take_str(&text);
	buf_done(&text);
	encoded = base64_text(BASE64_STD, bytes_str(both));
	field = mem_printf("Basic %s", encoded);
	secret_wipe(both, strlen(both));
	secret_wipe(encoded, strlen(encoded));
	mem_free(both);
	mem_free(encoded);
	return field;
}

json_t *oauth_exchange(struct oauth *o, const char *url, bool in_header)
{
	bool has_secret = oauth_config(o, "client_secret")[0] != 0;
	char *basic = in_header && has_secret ? basic_of(o) : mem_strdup("");
	const struct fetch_header headers[] = {
		{ "Content-Type", "application/x-www-form-urlencoded" },
		{ "Accept", "application/json" },
		{ "Authorization", basic },
	};
	const char *const fields[][2] = {
		{ "grant_type", "authorization_code" },
		{ "code", o->code },
		{ "redirect_uri", o->redirect_uri },
		{ "code_verifier", o->verifier },
		{ "client_id", oauth_config(o, "client_id") },
		{ "client_secret", oauth_config(o, "client_secret") },
	};
	size_t count = basic[0] ? ARRAY_LEN(fields) - 2 : ARRAY_LEN(fields) - !has_secret;
	struct buf body;
	json_t *answer = NULL;
	int r = 0;

	buf_init(&body, LIMIT_TARGET_BYTES);
	for (size_t i = 0; i < count; i++) {
		r |= buf_printf(&body, "%s%s=", i ? "&" : "", fields[i][0]);
		r |= fetch_escape(&body, bytes_str(fields[i][1]));
	}
	if (r < 0)
		err_set(&o->err, E_LIMIT, "what came back from the identity provider is too long");
	else
		answer = oauth_fetch(o, &(struct fetch_request){
						.method = "POST",
						.url = url,
						.headers = headers,
						.header_count = basic[0] ? 3 : 2,
						.body = buf_bytes(&body),
					});
	secret_wipe(body.ptr, body.len);
	secret_wipe(basic, strlen(basic));
	buf_done(&body);
	mem_free(basic);
	return answer;
}

/* --- Keys ---------------------------------------------------------------------------------------------- */

static bool fetch_keys(struct oauth *o, const char *url)
{
	json_t *keys = oauth_fetch(o, &(struct fetch_request){ .url = url });
	char *text;

	if (!keys)
		return false;
	text = json_dumps(keys, JSON_COMPACT);
	mem_free(o->keys);
	o->keys = mem_strdup(text);
	o->has_keys = true;
	free(text); /* allowed: jansson took it from malloc */
	json_decref(keys);
	return true;
}

static int check_with_keys(struct oauth *o, const char *token,
			   int (*check)(struct oauth *o, const struct key_set *keys,
					const char *token, json_t **ret),
			   json_t **ret)
{
	struct key_set *keys = key_set_parse(bytes_str(o->keys), &o->err);
	int r;

	if (!keys) {
		/* They are not remembered, either. */
		o->keys = mem_free(o->keys);
		return err_wrap(&o->err, "the keys of the identity provider");
	}
	r = check(o, keys, token, ret);
	key_set_free(keys);
	return r;
}

/* Providers change their keys. A token whose key is not known is a reason to ask for them once more, but not as
 * often as somebody likes to send such tokens. */
json_t *oauth_verified(struct oauth *o, const char *keys_url, const char *token,
		       int (*check)(struct oauth *o, const struct key_set *keys, const char *token,
				    json_t **ret))
{
	json_t *claims = NULL;
	int r;

	if (!o->keys && !fetch_keys(o, keys_url))
		return NULL;
	r = check_with_keys(o, token, check, &claims);
	if (r == E_NOT_FOUND && !o->has_keys && o->may_ask_again) {
		o->err = (struct err){ 0 };
		o->has_asked_again = true;
		if (!fetch_keys(o, keys_url))
			return NULL;
		(void)check_with_keys(o, token, check, &claims);
	}
	return claims;
}

/* --- The steps ---------------------------------------------------------------------------------------- */

static bool is_github(const struct oauth *o)
{
	return strcmp(o->kind, "github") == 0;
}

bool oauth_start_is_quick(const struct oauth *o)
{
	return is_github(o) || o->found;
}

void oauth_start(struct oauth *o)
{
	int r = is_github(o) ? github_start(o) : oidc_start(o);

	if (r < 0)
		err_set(&o->err, E_LIMIT, "the URL of the identity provider is too long");
}

void oauth_finish(struct oauth *o)
{
	if (is_github(o))
		github_finish(o);
	else
		oidc_finish(o);
}

int oauth_check(const char *kind, const json_t *config, struct err *err)
{
	const struct oauth o = {
		.kind = (char *)(uintptr_t)kind,
		.config = (json_t *)(uintptr_t)config,
	};

	if (!oauth_config(&o, "client_id")[0])
		return err_set(err, E_INVALID, "config.client_id is missing");
	return is_github(&o) ? 0 : oidc_check(&o, err);
}
