#include "edge/access/set.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/access/cors.h"
#include "config/yaml.h"
#include "edge/access/oauth.h"
#include "edge/access/oidc_groups.h"

#define PLACES_MAX 64 /* of one application */
#define HOST_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]"
#define DAY (24 * 3600 * USEC_PER_SEC)
/* Long enough to open a connection, which lasts as long as it likes. */
#define SSH_CERTIFICATE_LIFE (240 * USEC_PER_SEC)

/* A place and whose it is. */
struct spot {
	struct access_place place;
	const struct access_app *app;
};

struct access_set {
	atomic_size_t refs;
	struct arena arena;
	json_t **bodies; /* counted references; texts of providers' configs live in them */
	size_t body_count;
	struct access_group *groups;
	struct access_policy *policies;
	struct access_provider *providers;
	struct access_app *apps;
	struct access_service_token *tokens;
	size_t group_count, policy_count, provider_count, app_count, token_count;
	struct map *by_client_id; /* -> token */
	struct map *exact;        /* host without stars -> struct spot_list */
	struct spot *spots;       /* all, the more specific first */
	size_t spot_count;
	size_t exact_count; /* of those without stars in the host, which come first */
	struct access_organization organization;
};

/* Spots of one host, the more specific first. */
struct spot_list {
	const struct spot *first;
	size_t count;
};

static const char *const kind_texts[ACCESS_KINDS] = {
	[ACCESS_APP] = "application",     [ACCESS_POLICY] = "policy",
	[ACCESS_GROUPS] = "group",        [ACCESS_PROVIDER] = "identity provider",
	[ACCESS_TOKEN] = "service token", [ACCESS_ORGANIZATION] = "organisation",
};

const char *access_kind_text(enum access_kind kind)
{
	return kind_texts[kind];
}

/* --- Members ---------------------------------------------------------------------------------- */

/* Missing and null: "". */
static int take_text(struct access_set *s, const json_t *object, const char *member,
		     bool is_required, const char **ret, struct err *err)
{
	const json_t *value = json_object_get(object, member);
	const char *text = json_string_value(value);

	if (value && !json_is_null(value) && !text)
		return err_set(err, E_PARSE, "\"%s\" must be a text", member);
	if (is_required && (!text || !text[0]))
		return err_set(err, E_PARSE, "\"%s\" is missing", member);
	*ret = text ? arena_strdup(&s->arena, bytes_str(text)) : "";
	return 0;
}

static int take_bool(const json_t *object, const char *member, bool preset, bool *ret,
		     struct err *err)
{
	const json_t *value = json_object_get(object, member);

	if (value && !json_is_null(value) && !json_is_boolean(value))
		return err_set(err, E_PARSE, "\"%s\" must be true or false", member);
	*ret = json_is_boolean(value) ? json_is_true(value) : preset;
	return 0;
}

static int take_duration(const json_t *object, const char *member, usec preset, usec *ret,
			 struct err *err)
{
	const json_t *value = json_object_get(object, member);

	*ret = preset;
	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value) || !duration_parse(bytes_str(json_string_value(value)), ret) ||
	    *ret < 0)
		return err_set(err, E_PARSE, "\"%s\" must be a duration: \"30m\", \"24h\"", member);
	return 0;
}

/* Missing: `preset`. */
static int take_time(const json_t *object, const char *member, usec preset, usec *ret,
		     struct err *err)
{
	const json_t *value = json_object_get(object, member);

	*ret = preset;
	if (!value || json_is_null(value))
		return 0;
	*ret = json_is_string(value) ? clock_parse_rfc3339(json_string_value(value)) : -1;
	return *ret < 0 ? err_set(err, E_PARSE, "\"%s\" must be a time (RFC 3339)", member) : 0;
}

static int take_hash(const json_t *object, const char *member, bool is_required,
		     uint8_t ret[ACCESS_SECRET_HASH_BYTES], struct err *err)
{
	struct bytes text = bytes_str(json_string_value(json_object_get(object, member)));

	if (text.len == 0 && !is_required)
		return 0;
	if (text.len != (size_t)2 * ACCESS_SECRET_HASH_BYTES || !hex_decode(text, ret))
		return err_set(err, E_PARSE, "\"%s\" must be 64 hexadecimal digits", member);
	return 0;
}

/* --- Identity providers ----------------------------------------------------------------------- */

static const struct {
	const char *kind;
	enum access_provider_type type;
} provider_kinds[] = {
	{ "onetimepin", PROVIDER_PIN },  { "password", PROVIDER_PASSWORD },
	{ "passkey", PROVIDER_PASSKEY }, { "oidc", PROVIDER_OIDC },
	{ "google", PROVIDER_OIDC },     { "google-apps", PROVIDER_OIDC },
	{ "azureAD", PROVIDER_OIDC },    { "okta", PROVIDER_OIDC },
	{ "github", PROVIDER_GITHUB },
};

/* What cannot sign anybody in is refused when it is set up, not when somebody stands at the door. */
static int provider_check(const struct access_provider *p, struct err *err)
{
	if (p->type != PROVIDER_OIDC && p->type != PROVIDER_GITHUB)
		return 0;
	if (oauth_check(p->kind, p->config, err) < 0)
		return err_wrap(err, "identity provider %s", p->name);
	return 0;
}

static int provider_of(struct access_set *s, json_t *body, struct access_provider *p,
		       struct err *err)
{
	int r = take_text(s, body, "id", true, &p->id, err);

	if (r == 0)
		r = take_text(s, body, "name", true, &p->name, err);
	if (r == 0)
		r = take_text(s, body, "type", true, &p->kind, err);
	if (r < 0)
		return r;
	p->config = json_object_get(body, "config");
	for (size_t i = 0; i < ARRAY_LEN(provider_kinds); i++) {
		if (strcmp(provider_kinds[i].kind, p->kind) == 0) {
			p->type = provider_kinds[i].type;
			return provider_check(p, err);
		}
	}
	if (strcmp(p->kind, "saml") == 0)
		return err_set(
			err, E_UNSUPPORTED,
			"identity provider %s: SAML is not supported (docs/sign-in.md says why); "
			"most that speak it speak OpenID Connect, too: type \"oidc\"",
			p->name);
	return err_set(
		err, E_UNSUPPORTED,
		"identity provider %s: the type \"%s\" is not supported (onetimepin, password, "
		"passkey, oidc, google, azureAD, okta, github)",
		p->name, p->kind);
}

/* --- Service tokens --------------------------------------------------------------------------- */

static int token_of(struct access_set *s, json_t *body, struct access_service_token *t,
		    struct err *err)
{
	int r = take_text(s, body, "id", true, &t->id, err);

	if (r == 0)
		r = take_text(s, body, "name", true, &t->name, err);
	if (r == 0)
		r = take_text(s, body, "client_id", true, &t->client_id, err);
	if (r == 0)
		r = take_hash(body, "secret_sha256", true, t->secret_hash, err);
	if (r == 0)
		r = take_hash(body, "previous_sha256", false, t->previous_hash, err);
	if (r == 0)
		r = take_time(body, "previous_until", 0, &t->previous_until, err);
	if (r == 0)
		r = take_time(body, "expires_at", INT64_MAX, &t->expires_at, err);
	if (r == 0)
		r = take_bool(body, "enabled", true, &t->is_enabled, err);
	if (r == 0 && map_put(s->by_client_id, bytes_str(t->client_id), t))
		r = err_set(err, E_EXISTS, "two service tokens have the client id %s", t->client_id);
	return r;
}

const struct access_service_token *access_set_service_token(const struct access_set *s,
							    struct bytes client_id,
							    struct bytes secret, usec now)
{
	const struct access_service_token *t = map_find(s->by_client_id, client_id);
	uint8_t hash[HASH_SHA256_BYTES];
	struct bytes given = bytes_of(hash, sizeof(hash));
	bool is_current, is_previous;

	if (!t)
		return NULL;
	hash_sha256(secret, hash);
	is_current = secret_bytes_eq(given, bytes_of(t->secret_hash, sizeof(t->secret_hash)));
	is_previous = secret_bytes_eq(given, bytes_of(t->previous_hash, sizeof(t->previous_hash)));
	if (!is_current && !(is_previous && now < t->previous_until))
		return NULL;
	return t->is_enabled && now < t->expires_at ? t : NULL;
}

const struct access_service_token *access_set_token_of_id(const struct access_set *s,
							  struct bytes id)
{
	for (size_t i = 0; i < s->token_count; i++)
		if (bytes_eq(bytes_str(s->tokens[i].id), id))
			return &s->tokens[i];
	return NULL;
}

const struct access_service_token *access_set_token_named(const struct access_set *s,
							  const char *name_or_id)
{
	for (size_t i = 0; i < s->token_count; i++)
		if (strcmp(s->tokens[i].name, name_or_id) == 0)
			return &s->tokens[i];
	return access_set_token_of_id(s, bytes_str(name_or_id));
}

/* --- Applications ----------------------------------------------------------------------------- */

/* "domain" and "self_hosted_domains" (CONTROL §5.10); the first may be repeated in the second. */
static int places_of(struct access_set *s, const json_t *body, struct access_app *app,
		     struct err *err)
{
	const json_t *one = json_object_get(body, "domain");
	const json_t *more = json_object_get(body, "self_hosted_domains");
	size_t count = json_array_size(more);
	struct access_place *places;

	if (count > PLACES_MAX)
		return err_set(err, E_LIMIT, "an application has %d places at most", PLACES_MAX);
	places = arena_alloc(&s->arena, (count + 1) * sizeof(*places));
	app->places = places;
	for (size_t i = 0; i <= count; i++) {
		const json_t *value = i == 0 ? one : json_array_get(more, i - 1);
		bool is_same = i > 0 && one &&
			       json_equal((json_t *)(uintptr_t)one, (json_t *)(uintptr_t)value);
		int r;

		if ((i == 0 && (!one || json_is_null(one))) || is_same)
			continue;
		if (!json_is_string(value))
			return err_set(err, E_PARSE,
				       "\"domain\" and those of "
				       "\"self_hosted_domains\" are texts");
		r = access_place_parse(bytes_str(json_string_value(value)), &s->arena,
				       &places[app->place_count], err);
		if (r < 0)
			return r;
		app->place_count++;
	}
	return app->place_count ? 0 : err_set(err, E_PARSE, "\"domain\" is missing");
}

static const struct access_policy *policy_find(const struct access_set *s, const char *id)
{
	for (size_t i = 0; i < s->policy_count; i++)
		if (strcmp(s->policies[i].id, id) == 0)
			return &s->policies[i];
	return NULL;
}

const struct access_provider *access_set_provider(const struct access_set *s, struct bytes id)
{
	for (size_t i = 0; i < s->provider_count; i++)
		if (bytes_eq(bytes_str(s->providers[i].id), id))
			return &s->providers[i];
	return NULL;
}

static int policies_of(struct access_set *s, const json_t *body, struct access_app *app,
		       struct err *err)
{
	const json_t *list = json_object_get(body, "policies");
	size_t count = json_array_size(list);
	const struct access_policy **found =
		arena_alloc(&s->arena, count * sizeof(struct access_policy *) + 1);

	app->policies = found;
	for (size_t i = 0; i < count; i++) {
		const char *id = json_string_value(json_array_get(list, i));

		found[i] = id ? policy_find(s, id) : NULL;
		if (!found[i])
			return err_set(err, E_NOT_FOUND, "there is no policy %s", id ? id : "\"\"");
	}
	app->policy_count = count;
	return 0;
}

static int providers_of(struct access_set *s, const json_t *body, struct access_app *app,
			struct err *err)
{
	const json_t *list = json_object_get(body, "allowed_idps");
	size_t count = json_array_size(list);
	const struct access_provider **found =
		arena_alloc(&s->arena, count * sizeof(struct access_provider *) + 1);

	app->providers = found;
	for (size_t i = 0; i < count; i++) {
		const char *id = json_string_value(json_array_get(list, i));

		found[i] = id ? access_set_provider(s, bytes_str(id)) : NULL;
		if (!found[i])
			return err_set(err, E_NOT_FOUND, "there is no identity provider %s",
				       id ? id : "\"\"");
	}
	app->provider_count = count;
	return 0;
}

static int same_site_of(const json_t *body, struct access_app *app, struct err *err)
{
	const char *text = json_string_value(json_object_get(body, "same_site_cookie_attribute"));

	if (!text || !text[0] || strcmp(text, "none") == 0)
		app->same_site = SAME_SITE_NONE;
	else if (strcmp(text, "lax") == 0)
		app->same_site = SAME_SITE_LAX;
	else if (strcmp(text, "strict") == 0)
		app->same_site = SAME_SITE_STRICT;
	else
		return err_set(err, E_PARSE,
			       "\"same_site_cookie_attribute\" must be none, lax or strict");
	return 0;
}

/* Its origin goes into a Content-Security-Policy. */
static bool is_logo(const char *url)
{
	const char *host = url + strlen("https://");

	if (!url[0])
		return true;
	if (url[strcspn(url, " \t\r\n\"'<>")])
		return false;
	if (strncmp(url, "data:image/", 11) == 0)
		return true;
	return strncmp(url, "https://", 8) == 0 && host[strspn(host, HOST_CHARACTERS)] == '/';
}

static int flags_of(const json_t *body, struct access_app *app, struct err *err)
{
	const struct {
		const char *member;
		bool preset;
		bool *ret;
	} flags[] = {
		{ "auto_redirect_to_identity", false, &app->redirects_at_once },
		{ "app_launcher_visible", true, &app->is_in_launcher },
		{ "service_auth_401_redirect", false, &app->answers_401 },
		{ "options_preflight_bypass", false, &app->passes_preflight },
		{ "http_only_cookie_attribute", true, &app->has_http_only },
		{ "path_cookie_attribute", false, &app->has_path_cookie },
		{ "enable_binding_cookie", false, &app->has_binding },
	};

	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		int r = take_bool(body, flags[i].member, flags[i].preset, flags[i].ret, err);
		if (r < 0)
			return r;
	}
	return same_site_of(body, app, err);
}

static int cors_of(const json_t *body, struct access_app *app, struct err *err)
{
	const json_t *cors = json_object_get(body, "cors_headers");

	if (!cors || json_is_null(cors))
		return 0;
	if (app->passes_preflight)
		return err_set(err, E_PARSE,
			       "\"cors_headers\" does not go with \"options_preflight_bypass\": who "
			       "answers them, the edge or the service?");
	app->cors = cors;
	return access_cors_check(cors, err);
}

static int app_of(struct access_set *s, json_t *body, struct access_app *app, struct err *err)
{
	uint8_t aud[ACCESS_SECRET_HASH_BYTES];
	int r = take_text(s, body, "id", true, &app->id, err);

	if (r == 0)
		r = take_text(s, body, "name", true, &app->name, err);
	if (r < 0)
		return r;
	r = take_hash(body, "aud", true, aud, err);
	if (r == 0)
		r = take_text(s, body, "aud", true, &app->aud, err);
	if (r == 0)
		r = take_text(s, body, "logo_url", false, &app->logo_url, err);
	if (r == 0 && !is_logo(app->logo_url))
		r = err_set(err, E_INVALID,
			    "logo_url begins with https:// or data:image/ and holds no blanks or "
			    "quotes");
	if (r == 0)
		r = take_text(s, body, "custom_deny_message", false, &app->deny_message, err);
	if (r == 0)
		r = take_text(s, body, "read_service_tokens_from_header", false, &app->token_header,
			      err);
	if (r == 0)
		r = take_duration(body, "session_duration", -1, &app->session, err);
	if (r == 0)
		r = take_duration(body, "ssh_certificate_duration", SSH_CERTIFICATE_LIFE,
				  &app->ssh_certificate, err);
	if (r == 0 && (app->ssh_certificate < USEC_PER_SEC || app->ssh_certificate > DAY))
		r = err_set(err, E_INVALID, "\"ssh_certificate_duration\" must be from 1s to 24h");
	if (r == 0)
		r = flags_of(body, app, err);
	if (r == 0)
		r = cors_of(body, app, err);
	if (r == 0)
		r = places_of(s, body, app, err);
	if (r == 0)
		r = policies_of(s, body, app, err);
	if (r == 0)
		r = providers_of(s, body, app, err);
	return r < 0 ? err_wrap(err, "application %s", app->name) : 0;
}

/* --- The organisation ------------------------------------------------------------------------- */

/* {"background_color": "#…", "text_color": "#…"}: both, or none. */
static int colours_of(const json_t *body, struct access_organization *o, struct err *err)
{
	json_t *design = json_object_get(body, "login_design"), *value;
	const char *background, *text, *name;

	if (!design || json_is_null(design))
		return 0;
	if (!json_is_object(design))
		return err_set(err, E_PARSE, "\"login_design\" must be an object");
	json_object_foreach(design, name, value)
	{
		if (strcmp(name, "background_color") != 0 && strcmp(name, "text_color") != 0)
			return err_set(
				err, E_UNSUPPORTED,
				"login_design: \"%.60s\" is not served: there are "
				"background_color and text_color, and name and logo_url of the "
				"organisation",
				name);
	}
	background = json_string_value(json_object_get(design, "background_color"));
	text = json_string_value(json_object_get(design, "text_color"));
	if (json_object_size(design) == 0)
		return 0;
	if (!background || !text || !colour_parse(background, &o->background) ||
	    !colour_parse(text, &o->text))
		return err_set(err, E_INVALID,
			       "login_design: background_color and text_color are both colours like "
			       "\"#1f5f5b\"");
	if (colour_contrast(o->background, o->text) < PALETTE_CONTRAST_MIN)
		return err_set(err, E_INVALID,
			       "login_design: text of the colour %s cannot be read well on %s: their "
			       "contrast is %.2f, and has to be %.1f",
			       text, background, colour_contrast(o->background, o->text),
			       PALETTE_CONTRAST_MIN);
	o->has_colours = true;
	return 0;
}

static int organization_of(struct access_set *s, const json_t *body, struct err *err)
{
	struct access_organization *o = &s->organization;
	int r = take_text(s, body, "name", false, &o->name, err);

	if (r == 0)
		r = take_text(s, body, "auth_domain", false, &o->auth_domain, err);
	if (r == 0)
		r = take_text(s, body, "aud", false, &o->aud, err);
	if (r == 0)
		r = take_text(s, body, "logo_url", false, &o->logo_url, err);
	if (r == 0 && !is_logo(o->logo_url))
		r = err_set(
			err, E_INVALID,
			"the organisation's logo_url begins with https:// or data:image/ and holds "
			"no blanks or quotes");
	if (r == 0)
		r = colours_of(body, o, err);
	if (r == 0)
		r = take_duration(body, "session_duration", DAY, &o->session, err);
	if (r == 0)
		r = take_bool(body, "app_launcher", true, &o->has_launcher, err);
	return r;
}

/* --- Finding ---------------------------------------------------------------------------------- */

static int compare_spots(const void *a, const void *b)
{
	const struct spot *x = a, *y = b;
	int r = access_place_compare(&x->place, &y->place);

	/* Of the same lengths now; what is the same place comes together. */
	if (r == 0)
		r = memcmp(x->place.host.ptr, y->place.host.ptr, x->place.host.len);
	for (size_t i = 0; r == 0 && i < x->place.path.len; i++)
		r = bytes_lower(x->place.path.ptr[i]) - bytes_lower(y->place.path.ptr[i]);
	return r;
}

/* By host first, so that each host's are together; stars last. */
static int compare_by_host(const void *a, const void *b)
{
	const struct spot *x = a, *y = b;
	size_t len = x->place.host.len < y->place.host.len ? x->place.host.len : y->place.host.len;
	int r = (x->place.host_stars > 0) - (y->place.host_stars > 0);

	if (r == 0 && x->place.host_stars == 0) {
		r = memcmp(x->place.host.ptr, y->place.host.ptr, len);
		if (r == 0)
			r = (x->place.host.len > y->place.host.len) -
			    (x->place.host.len < y->place.host.len);
	}
	return r ? r : compare_spots(a, b);
}

static int index_spots(struct access_set *s, struct err *err)
{
	struct spot_list *list = NULL;
	size_t at = 0;

	for (size_t i = 0; i < s->app_count; i++)
		s->spot_count += s->apps[i].place_count;
	s->spots = arena_alloc(&s->arena, s->spot_count * sizeof(*s->spots) + 1);
	for (size_t i = 0; i < s->app_count; i++)
		for (size_t k = 0; k < s->apps[i].place_count; k++)
			s->spots[at++] = (struct spot){ s->apps[i].places[k], &s->apps[i] };
	if (s->spot_count)
		qsort(s->spots, s->spot_count, sizeof(*s->spots), compare_by_host);
	for (size_t i = 0; i < s->spot_count; i++) {
		const struct spot *spot = &s->spots[i], *before = i ? spot - 1 : NULL;
		bool same_host = before && bytes_eq(before->place.host, spot->place.host);

		if (same_host && bytes_eq_nocase(before->place.path, spot->place.path))
			return err_set(err, E_EXISTS,
				       "the applications %s and %s are both on " BYTES_FMT
				       "/" BYTES_FMT,
				       before->app->name, spot->app->name,
				       BYTES_ARG(spot->place.host), BYTES_ARG(spot->place.path));
		if (spot->place.host_stars)
			continue;
		s->exact_count++;
		if (!same_host) {
			list = arena_alloc(&s->arena, sizeof(*list));
			list->first = spot;
			map_put(s->exact, spot->place.host, list);
		}
		list->count++;
	}
	return 0;
}

static const struct access_app *find_in(const struct spot *first, size_t count, struct bytes host,
					struct bytes path, bool ignore_case)
{
	for (size_t i = 0; i < count; i++)
		if (access_place_holds(&first[i].place, host, path, ignore_case))
			return first[i].app;
	return NULL;
}

static const struct access_app *find(const struct access_set *s, struct bytes host,
				     struct bytes path, bool ignore_case)
{
	const struct spot_list *exact = map_find(s->exact, host);
	const struct access_app *app = NULL;

	if (exact)
		app = find_in(exact->first, exact->count, host, path, ignore_case);
	if (app)
		return app;
	return find_in(s->spots + s->exact_count, s->spot_count - s->exact_count, host, path,
		       ignore_case);
}

bool access_set_find(const struct access_set *s, struct bytes host, struct bytes target,
		     struct arena *arena, const struct access_app **ret)
{
	struct access_paths paths;

	*ret = NULL;
	if (s->spot_count == 0)
		return true;
	paths = access_paths_of(target, arena);
	*ret = find(s, host, paths.as_sent, false);
	for (size_t i = 0; i < paths.count; i++)
		if (find(s, host, paths.resolved[i], true) != *ret)
			return false;
	return !paths.is_endless;
}

bool access_set_has_host(const struct access_set *s, struct bytes host)
{
	if (map_find(s->exact, host))
		return true;
	for (size_t i = s->exact_count; i < s->spot_count; i++) {
		struct access_place place = s->spots[i].place;

		place.path = BYTES_NONE;
		if (access_place_holds(&place, host, BYTES_NONE, false))
			return true;
	}
	return false;
}

/* --- The whole -------------------------------------------------------------------------------- */

static size_t count_kind(const struct access_object *objects, size_t count, enum access_kind kind)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		found += objects[i].kind == kind;
	return found;
}

/* Bodies of a kind, in the order they came. */
static json_t *next_of(const struct access_object *objects, size_t count, enum access_kind kind,
		       size_t *cursor)
{
	while (*cursor < count && objects[*cursor].kind != kind)
		++*cursor;
	return *cursor < count ? objects[(*cursor)++].body : NULL;
}

#define FOR_EACH_OF(kind, body) \
	for (size_t cursor_ = 0; ((body) = next_of(objects, count, (kind), &cursor_)) != NULL;)

static int read_objects(struct access_set *s, const struct access_object *objects, size_t count,
			struct err *err)
{
	json_t *body;
	int r = 0;

	FOR_EACH_OF(ACCESS_ORGANIZATION, body) if (r == 0) r = organization_of(s, body, err);
	FOR_EACH_OF(ACCESS_GROUPS, body)
	if (r == 0)
		r = access_group_parse(body, &s->arena, &s->groups[s->group_count++], err);
	if (r == 0)
		r = access_group_link_all(s->groups, s->group_count, err);
	FOR_EACH_OF(ACCESS_PROVIDER, body)
	if (r == 0)
		r = provider_of(s, body, &s->providers[s->provider_count++], err);
	FOR_EACH_OF(ACCESS_TOKEN, body)
	if (r == 0)
		r = token_of(s, body, &s->tokens[s->token_count++], err);
	FOR_EACH_OF(ACCESS_POLICY, body)
	{
		struct access_policy *p = &s->policies[s->policy_count];

		if (r == 0)
			r = access_policy_parse(body, &s->arena, p, err);
		if (r == 0)
			r = access_group_link(&p->conditions, s->groups, s->group_count, err);
		if (r == 0)
			r = access_policy_check(p, err);
		s->policy_count += r == 0;
	}
	FOR_EACH_OF(ACCESS_APP, body)
	if (r == 0)
		r = app_of(s, body, &s->apps[s->app_count++], err);
	return r < 0 ? r : index_spots(s, err);
}

static void *room(struct access_set *s, const struct access_object *objects, size_t count,
		  enum access_kind kind, size_t size)
{
	return arena_alloc(&s->arena, count_kind(objects, count, kind) * size + 1);
}

struct access_set *access_set_build(const struct access_object *objects, size_t count,
				    struct err *err)
{
	struct access_set *s = mem_alloc(sizeof(*s));

	atomic_init(&s->refs, 1);
	arena_init(&s->arena);
	s->by_client_id = map_new();
	s->exact = map_new();
	s->organization = (struct access_organization){
		.name = "",
		.auth_domain = "",
		.aud = "",
		.logo_url = "",
		.session = DAY,
		.has_launcher = true,
	};
	s->groups = room(s, objects, count, ACCESS_GROUPS, sizeof(*s->groups));
	s->providers = room(s, objects, count, ACCESS_PROVIDER, sizeof(*s->providers));
	s->tokens = room(s, objects, count, ACCESS_TOKEN, sizeof(*s->tokens));
	s->policies = room(s, objects, count, ACCESS_POLICY, sizeof(*s->policies));
	s->apps = room(s, objects, count, ACCESS_APP, sizeof(*s->apps));
	s->bodies = mem_alloc_array(count ? count : 1, sizeof(json_t *));
	for (size_t i = 0; i < count; i++)
		s->bodies[s->body_count++] = json_incref(objects[i].body);
	if (read_objects(s, objects, count, err) < 0)
		return access_set_unref(s);
	return s;
}

static int check_rules(const struct access_set *s, const struct access_rule *list, size_t count,
		       const char *name, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		const struct access_provider *p = list[i].selector == ACCESS_PROVIDER_GROUP
							  ? access_set_provider(s, list[i].idp)
							  : NULL;
		if (p && !oidc_has_groups(p->kind, p->config))
			return err_set(
				err, E_INVALID,
				"%s: %s rules need \"support_groups\": true in the configuration of "
				"the identity provider %s, which says no groups otherwise",
				name, list[i].kind, p->name);
	}
	return 0;
}

static int check_conditions(const struct access_set *s, const struct access_conditions *c,
			    const char *name, struct err *err)
{
	int r = check_rules(s, c->include, c->include_count, name, err);

	if (r == 0)
		r = check_rules(s, c->require, c->require_count, name, err);
	return r == 0 ? check_rules(s, c->exclude, c->exclude_count, name, err) : r;
}

int access_set_check_groups(const struct access_set *s, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->group_count; i++)
		r = check_conditions(s, &s->groups[i].conditions, s->groups[i].name, err);
	for (size_t i = 0; r == 0 && i < s->policy_count; i++)
		r = check_conditions(s, &s->policies[i].conditions, s->policies[i].name, err);
	return r;
}

struct access_set *access_set_ref(struct access_set *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

struct access_set *access_set_unref(struct access_set *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	for (size_t i = 0; i < s->body_count; i++)
		json_decref(s->bodies[i]);
	mem_free(s->bodies);
	map_free(s->by_client_id);
	map_free(s->exact);
	arena_done(&s->arena);
	return mem_free(s);
}

const struct access_app *access_set_app(const struct access_set *s, struct bytes id_or_aud)
{
	for (size_t i = 0; i < s->app_count; i++)
		if (bytes_eq(bytes_str(s->apps[i].id), id_or_aud) ||
		    bytes_eq(bytes_str(s->apps[i].aud), id_or_aud))
			return &s->apps[i];
	return NULL;
}

const struct access_app *access_set_apps(const struct access_set *s, size_t *ret_count)
{
	*ret_count = s->app_count;
	return s->apps;
}

const struct access_provider *access_set_providers(const struct access_set *s, size_t *ret_count)
{
	*ret_count = s->provider_count;
	return s->providers;
}

const struct access_organization *access_set_organization(const struct access_set *s)
{
	return &s->organization;
}
