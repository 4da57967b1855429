/* Endpoints below /cdn-cgi/access/ (CONTROL §5.8): the way through a sign-in, and what is known of whom. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "edge/access/credentials.h"
#include "edge/access/desk.h"
#include "edge/access/identity.h"
#include "edge/access/keys.h"
#include "edge/access/metrics.h"
#include "http/fetch.h"
#include "store/store_access.h"

#define COMPONENT "edge/access"
#define PREFIX "cdn-cgi/access"
/* Between two redirects. */
#define LOGIN_TOKEN_LIFE (60 * USEC_PER_SEC)
/* A stock client takes one that is at most a day old. */
#define METADATA_LIFE (24 * 3600 * USEC_PER_SEC)
#define REDIRECT_BYTES_MAX 8192
#define STATE_BYTES (2 * HASH_SHA256_BYTES)

/* --- Small answers ------------------------------------------------------------------------------ */

enum ask_result desk_not_ready(struct ask *a, const struct err *err)
{
	log_error(COMPONENT, "Access cannot work", LOG_STR("error", err->text));
	return desk_message(
		a, 503, "Access is not ready",
		"This edge cannot sign anybody in at the moment; its log has the reason.", "/",
		"Start again");
}

static enum ask_result redirect(struct ask *a, struct bytes to)
{
	answer_field(a->request, "Location", to);
	return answer(a->request, 302, "text/plain; charset=utf-8",
		      BYTES_LIT("See the Location field\n"));
}

/* As an HTTP date (RFC 9110 §5.6.7): stock clients take a cookie only with Expires. */
static struct bytes http_date(struct arena *arena, usec at)
{
	time_t seconds = (time_t)(at / USEC_PER_SEC);
	char text[40];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	return arena_copy(arena, bytes_str(text));
}

static const char *same_site_text(enum access_same_site same_site)
{
	static const char *const texts[] = {
		[SAME_SITE_NONE] = "None",
		[SAME_SITE_LAX] = "Lax",
		[SAME_SITE_STRICT] = "Strict",
	};

	return texts[same_site];
}

/* `path`: without slashes at its ends. */
static void set_cookie_on(struct ask *a, struct bytes path, const char *name, const char *value,
			  usec expires_at, bool is_http_only, const char *same_site)
{
	struct arena *arena = &a->request->arena;

	answer_field(a->request, "Set-Cookie",
		     arena_printf(arena,
				  "%s=%s; Path=/" BYTES_FMT
				  "; Secure%s; SameSite=%s; Expires=" BYTES_FMT,
				  name, value, BYTES_ARG(path), is_http_only ? "; HttpOnly" : "",
				  same_site, BYTES_ARG(http_date(arena, expires_at))));
}

static void set_cookie(struct ask *a, const char *name, const char *value, usec expires_at,
		       bool is_http_only, const char *same_site)
{
	set_cookie_on(a, BYTES_NONE, name, value, expires_at, is_http_only, same_site);
}

/* Under both names (edge/access/credentials.h). */
static void drop_cookie(struct ask *a, const char *name)
{
	set_cookie(a, name, "", 0, true, "None");
	set_cookie(a,
		   arena_strdup(&a->request->arena,
				arena_printf(&a->request->arena, ACCESS_HOST_PREFIX "%s", name)),
		   "", 0, true, "None");
}

static struct bytes host_of(struct ask *a)
{
	return head_host(a->request->head.authority, &a->request->arena);
}

const char *desk_host(struct ask *a)
{
	struct bytes url = bytes_from(bytes_str(a->control->public_url), strlen("https://"));

	return arena_strdup(&a->request->arena, head_host(url, &a->request->arena));
}

bool desk_is_control_host(struct ask *a)
{
	return bytes_eq(host_of(a), bytes_str(desk_host(a)));
}

/* --- Whom a step is for ------------------------------------------------------------------------- */

/* A path on the application's own host, never another host's URL, whatever a browser makes of it. */
static bool is_local_path(const char *text)
{
	/* head_path_is_valid(): browsers pass over tabs. */
	return text && text[0] == '/' && text[1] != '/' && text[1] != '\\' &&
	       strlen(text) <= REDIRECT_BYTES_MAX && head_path_is_valid(bytes_str(text));
}

static bool is_state(const char *text)
{
	uint8_t raw[HASH_SHA256_BYTES];

	return text && strlen(text) == STATE_BYTES && hex_decode(bytes_str(text), raw);
}

static bool app_is_on(const struct access_set *set, const struct access_app *app, struct bytes host,
		      struct bytes path, struct arena *arena)
{
	const struct access_app *there;
	struct access_place place;

	/* Below no path of the application, but of each host that it is on. */
	if (bytes_eq(bytes_first(path, bytes_index(path, '?')), BYTES_LIT(DESK_CLI_PATH))) {
		for (size_t i = 0; i < app->place_count; i++) {
			place = app->places[i];
			place.path = BYTES_NONE;
			place.path_segments = 0;
			if (access_place_holds(&place, host, BYTES_NONE, false))
				return true;
		}
		return false;
	}
	return access_set_find(set, host, path, arena, &there) && there == app;
}

/* "login/HOST" and the query. False after having answered. */
static bool read_visit(struct ask *a, struct bytes host, struct desk_visit *ret)
{
	struct arena *arena = &a->request->arena;
	const char *aud = query_find(&a->query, "kid"), *state = query_find(&a->query, "state");
	const char *to = query_find(&a->query, "redirect_url");
	const char *purpose = query_find(&a->query, ACCESS_PURPOSE_PARAMETER);
	struct err err = { 0 };
	const struct access_view *view = desk_view(a->control->desk, &err);

	if (!view) {
		(void)desk_not_ready(a, &err);
		return false;
	}
	*ret = (struct desk_visit){
		.app = aud ? access_set_app(access_view_set(view), bytes_str(aud)) : NULL,
		.host = arena_strdup(arena, host),
		.redirect = to ? arena_strdup(arena, bytes_str(to)) : "/",
		.state = state ? arena_strdup(arena, bytes_str(state)) : "",
		.wants_purpose = purpose && strcmp(purpose, "1") == 0,
	};
	if (ret->app && head_authority_is_valid(host) && is_local_path(ret->redirect) &&
	    is_state(ret->state) &&
	    app_is_on(access_view_set(view), ret->app, head_host(host, arena),
		      bytes_str(ret->redirect), arena))
		return true;
	(void)desk_message(a, 400, "This sign-in link is not valid",
			   "It was changed, or the application it was made for is gone. Open the "
			   "application again.",
			   "/", "About this edge");
	return false;
}

static struct bytes escaped(struct ask *a, struct bytes text)
{
	struct bytes copy;
	struct buf out;

	buf_init(&out, 3 * text.len + 1);
	copy = fetch_escape(&out, text) == 0 ? arena_copy(&a->request->arena, buf_bytes(&out))
					     : BYTES_NONE;
	buf_done(&out);
	return copy;
}

struct bytes desk_login_path(struct ask *a, const struct desk_visit *v, bool wants_purpose)
{
	struct bytes host = escaped(a, bytes_str(v->host)), to = escaped(a, bytes_str(v->redirect));

	return arena_printf(&a->request->arena,
			    "/" PREFIX "/login/" BYTES_FMT "?kid=%s&redirect_url=" BYTES_FMT
			    "&state=%s%s",
			    BYTES_ARG(host), v->app->aud, BYTES_ARG(to), v->state,
			    wants_purpose ? "&" ACCESS_PURPOSE_PARAMETER "=1" : "");
}

/* --- Going back to the application ------------------------------------------------------------- */

static struct bytes random_id(struct ask *a)
{
	uint8_t raw[32];
	char *text = (char *)arena_alloc_bytes(&a->request->arena, 2 * sizeof(raw) + 1);

	random_bytes(raw, sizeof(raw));
	hex_encode(bytes_of(raw, sizeof(raw)), text);
	text[2 * sizeof(raw)] = 0;
	return bytes_str(text);
}

static enum ask_result go_back(struct ask *a, const struct desk_visit *v,
			       const struct desk_judged *j)
{
	struct arena *arena = &a->request->arena;
	struct err err = { 0 };
	const struct access_keys *keys = desk_keys(a->control->desk, &err);
	usec now = clock_wall_now();
	char *token;

	if (!keys)
		return desk_not_ready(a, &err);
	struct access_mint m = {
		.type = TOKEN_LOGIN,
		.issuer = a->control->public_url,
		.audience = v->app->aud,
		.session = j->session->id,
		.now = now,
		.expires_at = now + LOGIN_TOKEN_LIFE,
		/* Two of one second are two all the same: each is good once. */
		.more = json_pack("{s:s, s:s, s:s, s:s, s:o}", "host", v->host, "redirect",
				  v->redirect, "state", v->state, "jti",
				  (const char *)random_id(a).ptr, ACCESS_EXTERNAL_CLAIM,
				  desk_said_json(j->said, j->said_count)),
	};
	token = access_token_mint(keys, &m);
	struct bytes url =
		arena_printf(arena, "https://%s/" PREFIX "/authorized?nonce=%s", v->host, token);
	mem_free(token);
	return redirect(a, url);
}

/* In the audit log: which policy and rule it was. */
static const char *reason(struct ask *a, const struct access_verdict *verdict)
{
	struct bytes why = access_verdict_text(verdict, &a->request->arena);

	return desk_json(a, json_pack("{s:s%}", "why", why.ptr, why.len));
}

static enum ask_result may_not(struct ask *a, const struct desk_judged *j)
{
	struct arena *arena = &a->request->arena;
	struct bytes why = access_verdict_text(&j->verdict, arena);
	const char *text = j->app->deny_message, *email = j->session->email;

	log_info(COMPONENT, "refused", LOG_STR("user", email), LOG_STR("app", j->app->name),
		 LOG_BYTES("ip", a->request->client_ip), LOG_BYTES("why", why));
	desk_audit(a, "access", email, j->app->name, "refused", reason(a, &j->verdict));
	metric_add(access_metric_decision(j->app->name, COUNTED_REFUSED), 1);
	if (access_verdict_is_unsure(&j->verdict))
		return desk_message(
			a, 503, "It cannot be decided at the moment",
			"Another service has to say whether you may come in, and it gave no answer "
			"that can be trusted. Open the application again in a minute.",
			"/" PREFIX "/logout", "Sign out");
	if (!text[0])
		text = arena_strdup(
			arena, arena_printf(arena, "You are signed in as %s, who may not open %s.",
					    email, j->app->name));
	return desk_message(a, 403, "That account does not have access", text, "/" PREFIX "/logout",
			    "Sign out, to use another account");
}

/* What the policy says, else the application, else as long as the session. */
static usec token_end(const struct desk_judged *j)
{
	const struct access_policy *p = j->verdict.policy;
	usec life = p && p->session >= 0 ? p->session : j->app->session;
	usec end = clock_wall_now() + life, last = j->session->expires_at;

	/* With the reason ends what was let in for it. */
	if (p && p->asks_purpose && j->purpose_until && j->purpose_until < last)
		last = j->purpose_until;
	return life >= 0 && end < last ? end : last;
}

static enum ask_result on_judged(struct ask *a, const struct desk_judged *j, void *ctx)
{
	struct desk_visit *v = ctx;
	bool wants = v->wants_purpose;

	v->app = j->app;
	if (j->verdict.outcome == ACCESS_PASS)
		return go_back(a, v, j);
	if (j->verdict.outcome != ACCESS_ALLOWED)
		return may_not(a, j);
	wants = wants || j->verdict.policy->asks_purpose;
	if (v->purpose && !desk_purpose_take(a, v, j, token_end(j)))
		return ASK_ANSWERED;
	if (!v->purpose && wants && !j->purpose_until)
		return desk_purpose_page(a, 200, v, j, NULL);
	return go_back(a, v, j);
}

static enum ask_result go_on(struct ask *a, const struct desk_visit *visit,
			     const struct desk_session *s)
{
	struct arena *arena = &a->request->arena;
	struct desk_visit *v = arena_alloc(arena, sizeof(*v));

	*v = (struct desk_visit){
		.app = visit->app,
		.host = arena_strdup(arena, bytes_str(visit->host)),
		.redirect = arena_strdup(arena, bytes_str(visit->redirect)),
		.state = arena_strdup(arena, bytes_str(visit->state)),
		.wants_purpose = visit->wants_purpose,
		.purpose = visit->purpose,
	};
	return desk_judge(a, v->app, s, NULL, 0, on_judged, v);
}

static bool allows_provider(const struct access_app *app, const char *provider)
{
	for (size_t i = 0; i < app->provider_count; i++)
		if (strcmp(app->providers[i]->id, provider) == 0)
			return true;
	return app->provider_count == 0;
}

static struct bytes agent_of(struct ask *a)
{
	const struct field *f = fields_find(&a->request->head.fields, HEAD_USER_AGENT);

	return f ? bytes_first(f->value, 200) : BYTES_NONE;
}

/* A new session in the store, whatever was there before: nobody can plant one beforehand. */
static int open_session(struct ask *a, const char *email, const char *name, const char *provider,
			const json_t *identity, usec expires_at, struct desk_session *ret,
			struct err *err)
{
	struct arena *arena = &a->request->arena;
	struct access_desk *d = a->control->desk;
	struct store_person person;
	struct store_session x;
	char *text;
	int r = store_person_seen(a->control->store, email, name, &person, err);

	if (r < 0)
		return r;
	text = json_dumps(identity, JSON_COMPACT);
	x = (struct store_session){
		.id = arena_strdup(arena, random_id(a)),
		.person = person.id,
		.provider = arena_strdup(arena, bytes_str(provider)),
		.identity = { (uint8_t *)text, strlen(text) },
		.address = arena_strdup(arena, a->request->client_ip),
		.agent = arena_strdup(arena, agent_of(a)),
		.created_at = clock_wall_now(),
		.expires_at = expires_at,
	};
	r = store_session_add(a->control->store, &x, err);
	free(text); /* allowed: jansson took it from malloc */
	store_person_done(&person);
	if (r == 0 && !desk_session_find(d, x.id, ret))
		r = err_set(err, E_INTERNAL, "the session is gone at once");
	return r;
}

char *desk_org_token(struct ask *a, const struct desk_session *s, struct err *err)
{
	const struct access_keys *keys = desk_keys(a->control->desk, err);
	const char *aud = keys ? desk_org_aud(a->control->desk, err) : NULL;
	struct access_mint m = {
		.type = TOKEN_ORG,
		.issuer = a->control->public_url,
		.audience = aud,
		.session = s->id,
		.subject = s->identity->person,
		.email = s->email,
		.country = desk_country(a),
		.now = clock_wall_now(),
		.expires_at = s->expires_at,
	};

	return aud ? access_token_mint(keys, &m) : NULL;
}

static void set_org_cookie(struct ask *a, const struct desk_session *s)
{
	char *token = desk_org_token(a, s, NULL);

	if (!token)
		return;
	set_cookie(a, ACCESS_COOKIE, token, s->expires_at, true, "None");
	set_cookie(a, ACCESS_HOST_PREFIX ACCESS_COOKIE, token, s->expires_at, true, "None");
	mem_free(token);
}

static const char *kind_of(const struct access_view *view, const char *provider)
{
	const struct access_provider *p =
		access_set_provider(access_view_set(view), bytes_str(provider));

	return p ? p->kind : "removed";
}

enum ask_result desk_signed_in(struct ask *a, const struct desk_visit *v, const char *email,
			       const char *name, const char *provider, json_t *identity)
{
	struct access_desk *d = a->control->desk;
	struct err err = { 0 };
	const struct access_view *view = desk_view(d, &err);
	const struct access_keys *keys = view ? desk_keys(d, &err) : NULL;
	const char *aud = keys ? desk_org_aud(d, &err) : NULL;
	struct desk_session s;
	enum ask_result result;
	usec life;

	if (!aud) {
		json_decref(identity);
		return desk_not_ready(a, &err);
	}
	life = access_set_organization(access_view_set(view))->session;
	json_object_set_new(identity, "email", json_string(email));
	json_object_set_new(identity, "name", json_string(name));
	json_object_set_new(identity, "idp", json_string(provider));
	if (open_session(a, email, name, provider, identity, clock_wall_now() + life, &s, &err) < 0) {
		json_decref(identity);
		return desk_not_ready(a, &err);
	}
	json_decref(identity);
	log_info(COMPONENT, "signed in", LOG_STR("user", s.email), LOG_STR("provider", provider),
		 LOG_BYTES("ip", a->request->client_ip));
	desk_audit(a, "login", s.email, v->app->name, "signed in", "{}");
	access_count_signin(kind_of(view, provider), "signed_in");
	metric_add(&metric_access_sessions, 1);
	set_org_cookie(a, &s);
	result = go_on(a, v, &s);
	desk_session_done(&s);
	return result;
}

/* --- login -------------------------------------------------------------------------------------- */

enum ask_result desk_visit_again(struct ask *a, const struct desk_visit *v)
{
	struct desk_session s;
	enum ask_result result;

	if (!desk_session_of_cookie(a, &s))
		return desk_sign_in(a, v);
	if (allows_provider(v->app, s.provider))
		result = go_on(a, v, &s);
	else
		result = desk_sign_in_page(a, 200, v,
					   "This application asks for another way to sign in.");
	desk_session_done(&s);
	return result;
}

static enum ask_result login(struct ask *a)
{
	struct desk_visit v;

	if (!desk_is_control_host(a))
		return answer_text(a->request, 404, "People sign in at the control host\n");
	if (!read_visit(a, a->args[0], &v))
		return ASK_ANSWERED;
	if (bytes_eq(a->request->head.method, BYTES_LIT("POST")))
		return desk_sign_in_post(a, &v);
	return desk_visit_again(a, &v);
}

/* --- authorized: back at the application -------------------------------------------------------- */

/* The claims of a login token that belongs to this host and this browser. */
struct arrival {
	const struct access_app *app;
	struct bytes session;
	const char *redirect, *state;
	const struct access_external_answer *said; /* by external services, a moment ago */
	size_t said_count;
};

static bool state_is_right(struct ask *a, const char *state)
{
	struct bytes cookie = access_own_cookie(&a->request->head.fields, ACCESS_APP_COOKIE);
	uint8_t hash[HASH_SHA256_BYTES], wanted[HASH_SHA256_BYTES];

	hash_sha256(cookie, hash);
	return cookie.len && is_state(state) && hex_decode(bytes_str(state), wanted) &&
	       secret_bytes_eq(bytes_of(hash, sizeof(hash)), bytes_of(wanted, sizeof(wanted)));
}

static bool read_arrival(struct ask *a, struct arrival *ret)
{
	struct access_desk *d = a->control->desk;
	struct arena *arena = &a->request->arena;
	const char *nonce = query_find(&a->query, "nonce"), *host, *redirect, *state;
	struct bytes token = bytes_str(nonce);
	struct access_claims claims;
	json_t *all;
	bool is_right;

	ret->app = nonce ? desk_app_of_token(a, TOKEN_LOGIN, token, &claims) : NULL;
	if (!ret->app)
		return false;
	all = json_loadb((const char *)claims.json.ptr, claims.json.len, 0, NULL);
	host = json_string_value(json_object_get(all, "host"));
	redirect = json_string_value(json_object_get(all, "redirect"));
	state = json_string_value(json_object_get(all, "state"));
	is_right = host && bytes_eq_nocase(bytes_str(host), a->request->head.authority) &&
		   is_local_path(redirect) && state_is_right(a, state) &&
		   desk_use_nonce(d, token, claims.expires_at);
	ret->session = claims.session;
	ret->redirect = is_right ? arena_strdup(arena, bytes_str(redirect)) : "/";
	ret->state = is_right ? arena_strdup(arena, bytes_str(state)) : "";
	ret->said_count = desk_said_of(a, all, &ret->said);
	json_decref(all);
	return is_right;
}

/* To this browser: the gate compares (edge/access/gate.c). */
static json_t *bind_token(struct ask *a, const struct access_app *app, const char *state,
			  usec expires_at)
{
	uint8_t hash[HASH_SHA256_BYTES];
	struct bytes value;
	json_t *more = json_pack("{s:s}", "state", state);
	char *text;

	if (!app->has_binding)
		return more;
	value = random_id(a);
	set_cookie(a, ACCESS_HOST_PREFIX ACCESS_BINDING_COOKIE, (const char *)value.ptr, expires_at,
		   true, "Strict");
	hash_sha256(value, hash);
	text = hex_text(bytes_of(hash, sizeof(hash)));
	json_object_set_new(more, "binding", json_string(text));
	mem_free(text);
	return more;
}

/* Claims that the gate goes by, added to `more`, which is returned. */
static json_t *add_judged(const struct desk_judged *j, json_t *more)
{
	if (j->said_count)
		json_object_set_new(more, ACCESS_EXTERNAL_CLAIM,
				    desk_said_json(j->said, j->said_count));
	if (j->purpose_until)
		json_object_set_new(more, ACCESS_PURPOSE_CLAIM,
				    json_integer(j->purpose_until / USEC_PER_SEC));
	return more;
}

char *desk_app_token(struct ask *a, const struct desk_judged *j, struct err *err)
{
	const struct access_keys *keys = desk_keys(a->control->desk, err);
	const struct access_app *app = j->app;
	const struct desk_session *s = j->session;
	struct access_mint m = {
		.type = TOKEN_APP,
		.issuer = a->control->public_url,
		.audience = app->aud,
		.session = s->id,
		.subject = s->identity->person,
		.email = s->email,
		.country = desk_country(a),
		.now = clock_wall_now(),
		.expires_at = token_end(j),
		.era = access_view_era(desk_view(a->control->desk, NULL), app->id),
	};

	if (!keys)
		return NULL;
	m.more = add_judged(j, json_object());
	return access_token_mint(keys, &m);
}

/* Where the token is sent to: to the part of the host that the application is, if it wants that. A path with stars has no
 * cookie. */
static struct bytes cookie_path(struct ask *a, const struct access_app *app, const char *redirect)
{
	struct arena *arena = &a->request->arena;
	struct access_paths paths = access_paths_of(bytes_str(redirect), arena);
	struct bytes host = head_host(a->request->head.authority, arena);

	for (size_t i = 0; app->has_path_cookie && i < app->place_count; i++)
		if (app->places[i].path_stars == 0 &&
		    access_place_holds(&app->places[i], host, paths.as_sent, false))
			return app->places[i].path;
	return BYTES_NONE;
}

static enum ask_result let_in(struct ask *a, const struct arrival *arrival,
			      const struct desk_judged *j)
{
	struct err err = { 0 };
	const struct access_keys *keys = desk_keys(a->control->desk, &err);
	const struct access_app *app = j->app;
	const struct desk_session *s = j->session;
	char *token;

	if (!keys)
		return desk_not_ready(a, &err);
	struct access_mint m = {
		.type = TOKEN_APP,
		.issuer = a->control->public_url,
		.audience = app->aud,
		.session = s->id,
		.subject = s->identity->person,
		.email = s->email,
		.country = desk_country(a),
		.now = clock_wall_now(),
		.expires_at = token_end(j),
		.era = access_view_era(desk_view(a->control->desk, NULL), app->id),
	};
	m.more = add_judged(j, bind_token(a, app, arrival->state, m.expires_at));
	token = access_token_mint(keys, &m);
	set_cookie_on(a, cookie_path(a, app, arrival->redirect), ACCESS_COOKIE, token, m.expires_at,
		      app->has_http_only, same_site_text(app->same_site));
	mem_free(token);
	log_info(COMPONENT, "let in", LOG_STR("user", s->email), LOG_STR("app", app->name),
		 LOG_BYTES("ip", a->request->client_ip),
		 LOG_BYTES("why", access_verdict_text(&j->verdict, &a->request->arena)));
	desk_audit(a, "access", s->email, app->name, "allowed", reason(a, &j->verdict));
	return redirect(a, bytes_str(arrival->redirect));
}

static enum ask_result on_arrived(struct ask *a, const struct desk_judged *j, void *ctx)
{
	const struct arrival *arrival = ctx;

	if (j->verdict.outcome == ACCESS_ALLOWED && j->verdict.policy->asks_purpose &&
	    !j->purpose_until) {
		/* A policy that is newer than the sign-in, or that counts where they come from. */
		struct desk_visit v = {
			.app = j->app,
			.host = arena_strdup(&a->request->arena, a->request->head.authority),
			.redirect = arrival->redirect,
			.state = arrival->state,
		};
		struct bytes path = desk_login_path(a, &v, true);

		return redirect(a, arena_printf(&a->request->arena, "%s" BYTES_FMT,
						a->control->public_url, BYTES_ARG(path)));
	}
	if (j->verdict.outcome == ACCESS_ALLOWED)
		return let_in(a, arrival, j);
	return desk_message(a, 403, "That account does not have access",
			    "The rules have changed since you signed in.", "/" PREFIX "/logout",
			    "Sign out");
}

static enum ask_result authorized(struct ask *a)
{
	struct access_desk *d = a->control->desk;
	struct err err = { 0 };
	const struct access_view *view = desk_view(d, &err);
	struct arrival *arrival = arena_alloc(&a->request->arena, sizeof(*arrival));
	struct desk_session s;
	enum ask_result result;

	if (!view)
		return desk_not_ready(a, &err);
	if (!read_arrival(a, arrival) ||
	    !desk_session_find(d, arena_strdup(&a->request->arena, arrival->session), &s))
		return desk_message(a, 403, "This sign-in did not begin in this browser",
				    "The link was used before, is too old, or was made for somebody "
				    "else.",
				    "/", "Open the application again");
	/* What services said when the link was made holds for it. */
	result = desk_judge(a, arrival->app, &s, arrival->said, arrival->said_count, on_arrived,
			    arrival);
	desk_session_done(&s);
	return result;
}

/* --- Who somebody is, and leaving ------------------------------------------------------------- */

/* The session of whatever cookie this host has: the organisation's or an application's. */
static bool session_here(struct ask *a, struct desk_session *ret)
{
	struct access_desk *d = a->control->desk;
	struct control_request *r = a->request;
	struct bytes token = access_cookie(&r->head.fields, ACCESS_COOKIE);
	struct access_claims claims;

	*ret = (struct desk_session){ 0 };
	if (desk_is_control_host(a))
		return desk_session_of_cookie(a, ret);
	return token.len && desk_app_of_token(a, TOKEN_APP, token, &claims) &&
	       desk_session_find(d, arena_strdup(&r->arena, claims.session), ret);
}

static enum ask_result get_identity(struct ask *a)
{
	struct desk_session s;
	char *text;

	if (!session_here(a, &s))
		return answer(a->request, 401, "application/json",
			      BYTES_LIT("{\"err\":\"no app token set\"}\n"));
	json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:{s:s}, s:I, s:s%}", "id",
				   s.identity->person, "user_uuid", s.identity->person, "email",
				   s.email, "name", s.identity->name, "idp", "id", s.provider,
				   "iat", (json_int_t)(s.created_at / USEC_PER_SEC), "ip",
				   a->request->client_ip.ptr, a->request->client_ip.len);
	const char *country = desk_country(a);
	if (country)
		json_object_set_new(object, "geo", json_pack("{s:s}", "country", country));
	text = json_dumps(object, JSON_COMPACT);
	struct bytes body = arena_copy(&a->request->arena, bytes_str(text));
	free(text); /* allowed: jansson took it from malloc */
	json_decref(object);
	desk_session_done(&s);
	return answer(a->request, 200, "application/json", body);
}

/* A picture or a script of another site that asks for this address (Fetch Metadata). */
static bool is_hidden_request(const struct head *h)
{
	const struct field *site = fields_find_text(&h->fields, BYTES_LIT("sec-fetch-site"));
	const struct field *mode = fields_find_text(&h->fields, BYTES_LIT("sec-fetch-mode"));

	return site && bytes_eq(site->value, BYTES_LIT("cross-site")) &&
	       !(mode && bytes_eq(mode->value, BYTES_LIT("navigate")));
}

/* Everywhere: all sessions of this person end. A link may do that to somebody; it costs them a sign-in, and they see
 * it. */
static enum ask_result logout(struct ask *a)
{
	struct desk_session s;
	struct err err = { 0 };

	if (is_hidden_request(&a->request->head))
		return answer_text(a->request, 403, "Another site cannot sign you out\n");
	if (session_here(a, &s)) {
		if (desk_revoke_person(a->control, s.email, "logout", &err) < 0)
			log_error(COMPONENT, "nobody can be signed out", LOG_STR("error", err.text));
		log_info(COMPONENT, "signed out", LOG_STR("user", s.email),
			 LOG_BYTES("ip", a->request->client_ip));
		desk_audit(a, "logout", s.email, "", "signed out", "{}");
		desk_session_done(&s);
		control_changed(a->control);
	}
	drop_cookie(a, ACCESS_COOKIE);
	drop_cookie(a, ACCESS_BINDING_COOKIE);
	return desk_message(a, 200, "You are signed out",
			    "Of this edge and of all applications behind it.", "/",
			    "Go to the start");
}

static enum ask_result certs(struct ask *a)
{
	struct err err = { 0 };
	const struct access_view *view = desk_view(a->control->desk, &err);
	const char *keys = view ? access_view_keys(view) : "";

	if (!view)
		return desk_not_ready(a, &err);
	return answer(a->request, 200, "application/json",
		      arena_copy(&a->request->arena,
				 keys[0] ? bytes_str(keys) : BYTES_LIT("{\"keys\":[]}")));
}

/* CONTROL §5.1: what guards this host, for command lines. */
static enum ask_result metadata(struct ask *a)
{
	struct arena *arena = &a->request->arena;
	struct access_desk *d = a->control->desk;
	struct err err = { 0 };
	const struct access_view *view = desk_view(d, &err);
	const struct access_keys *keys = view ? desk_keys(d, &err) : NULL;
	const struct access_app *app = NULL;
	struct bytes host = host_of(a);
	char *token;

	if (!keys)
		return desk_not_ready(a, &err);
	if (!access_set_find(access_view_set(view), host, a->request->head.path, arena, &app) ||
	    !app)
		return answer_text(a->request, 404, "Nothing guards this\n");
	struct access_mint m = {
		.type = TOKEN_META,
		.issuer = a->control->public_url,
		.audience = app->aud,
		.now = clock_wall_now(),
	};
	m.expires_at = m.now + METADATA_LIFE;
	m.more = json_pack("{s:s%, s:s, s:s%}", "hostname", host.ptr, host.len, "auth_domain",
			   access_set_organization(access_view_set(view))->auth_domain,
			   "app_hostname", app->places[0].host.ptr, app->places[0].host.len);
	token = access_token_mint(keys, &m);
	answer_field(a->request, "cf-access-metadata", arena_copy(arena, bytes_str(token)));
	mem_free(token);
	return answer(a->request, 200, "text/plain; charset=utf-8", BYTES_NONE);
}

/* --- The table ----------------------------------------------------------------------------------- */

static const struct endpoint endpoints[] = {
	{ "GET", "cdn-cgi/access/login/:", login },
	{ "POST", "cdn-cgi/access/login/:", login },
	{ "GET", "cdn-cgi/access/authorized", authorized },
	{ "GET", "cdn-cgi/access/get-identity", get_identity },
	{ "GET", "cdn-cgi/access/logout", logout },
	{ "GET", "cdn-cgi/access/certs", certs },
	{ "GET", "cdn-cgi/access/cli", desk_cli },
	{ "POST", "cdn-cgi/access/cli", desk_cli },
	{ "GET", "cdn-cgi/access/callback", desk_callback },
	{ "GET", "cdn-cgi/access/assets/:", desk_asset },
	{ "GET", "cdn-cgi/access/apps", desk_launcher },
	{ "GET", "cdn-cgi/access/passkeys", desk_passkeys },
	{ "POST", "cdn-cgi/access/passkeys", desk_passkeys },
	{ "POST", "cdn-cgi/access/cert_sign", desk_cert_sign },
};

static bool asks_metadata(const struct head *h)
{
	return bytes_eq(h->method, BYTES_LIT("HEAD")) &&
	       fields_find_text(&h->fields, BYTES_LIT("cf-access-metadata-request"));
}

bool access_desk_wants(struct ask *a, struct bytes path)
{
	return bytes_starts_with(path, BYTES_LIT("cdn-cgi/access/")) ||
	       (asks_metadata(&a->request->head) && !desk_is_control_host(a));
}

enum ask_result access_desk_ask(struct ask *a, struct bytes path)
{
	const struct endpoint *endpoint;

	if (asks_metadata(&a->request->head) && !desk_is_control_host(a))
		return metadata(a);
	switch (endpoint_find(endpoints, ARRAY_LEN(endpoints), path, a, &endpoint)) {
	case ENDPOINT_FOUND:
		return endpoint->handle(a);
	case ENDPOINT_NO_METHOD:
		return answer_text(a->request, 405, "Not this way\n");
	case ENDPOINT_NO_PATH:
		break;
	}
	return answer_text(a->request, 404, "Access has no such page\n");
}
