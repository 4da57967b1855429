#include "edge/access/desk.h"

#include <string.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "edge/access/cache.h"
#include "edge/access/credentials.h"
#include "edge/access/identity.h"
#include "edge/access/keys.h"
#include "edge/access/metrics.h"
#include "edge/access/oauth_memory.h"
#include "edge/access/provider_notes.h"
#include "edge/access/question.h"
#include "edge/access/tries.h"
#include "store/store_access.h"

#define COMPONENT "edge/access"
#define KEYS_SETTING "access.keys"
#define AUD_SETTING "access.aud"
/* Sign-ins that end within the life of a login token. */
#define NONCES_MAX 65536
/* The first time soon after the start. */
#define SWEEP_FIRST_MS 1000
#define SWEEP_MS (3600 * 1000)
#define CENSUS_MS (60 * 1000)
#define DAY (24 * 3600 * USEC_PER_SEC)
/* A service's statement: workers ask for a new one in time. */
#define ASSERTION_LIFE (3600 * USEC_PER_SEC)

struct access_desk {
	struct control *control;  /* borrowed */
	struct access_view *view; /* NULL: to be read */
	struct access_keys *keys;
	struct key_set *key_set;
	char *aud;
	struct cache *used; /* hash of a login token -> usec */
	struct oauth_memory *oauth;
	struct provider_notes *notes; /* counted */
	struct tries *tries;
	uint8_t challenge_key[32];
	struct timer sweep, census;
};

static void drop_used(void *value)
{
	mem_free(value);
}

/* What nobody needs any more goes. */
static void on_sweep(struct timer *t)
{
	struct access_desk *d = CONTAINER_OF(t, struct access_desk, sweep);
	usec now = clock_wall_now();
	struct err err = { 0 };
	int r = store_session_sweep(d->control->store, now - LIMIT_SESSION_REST_DAYS * DAY, &err);

	if (r >= 0)
		r = store_audit_sweep(d->control->store, now - LIMIT_AUDIT_DAYS * DAY,
				      LIMIT_AUDIT_LINES, &err);
	/* E_BUSY: a successor does it. */
	if (r < 0 && r != E_BUSY)
		log_warn(COMPONENT, "old sessions and lines of the audit log stay",
			 LOG_STR("error", err.text));
	timer_set(t, SWEEP_MS);
}

static void count_sessions(struct control *c)
{
	int64_t count;

	if (store_session_count(c->store, clock_wall_now(), &count, NULL) == 0)
		metric_set(&metric_access_sessions, count);
}

/* Sessions end by themselves, too. */
static void on_census(struct timer *t)
{
	count_sessions(CONTAINER_OF(t, struct access_desk, census)->control);
	timer_set(t, CENSUS_MS);
}

struct access_desk *access_desk_new(struct control *c)
{
	struct access_desk *d = mem_alloc(sizeof(*d));

	d->control = c;
	d->used = cache_new(NONCES_MAX, drop_used);
	d->oauth = oauth_memory_new();
	d->notes = provider_notes_new();
	d->tries = tries_new();
	random_bytes(d->challenge_key, sizeof(d->challenge_key));
	if (c->loop) {
		timer_init(&d->sweep, c->loop, on_sweep);
		timer_set(&d->sweep, SWEEP_FIRST_MS);
		timer_init(&d->census, c->loop, on_census);
		timer_set(&d->census, SWEEP_FIRST_MS);
	}
	return d;
}

void access_desk_changed(struct access_desk *d)
{
	d->view = access_view_unref(d->view);
	d->keys = access_keys_free(d->keys);
	d->key_set = key_set_free(d->key_set);
}

struct access_desk *access_desk_free(struct access_desk *d)
{
	if (!d)
		return NULL;
	if (d->control->loop) {
		timer_stop(&d->sweep);
		timer_stop(&d->census);
	}
	access_desk_changed(d);
	cache_free(d->used);
	oauth_memory_free(d->oauth);
	provider_notes_unref(d->notes);
	tries_free(d->tries);
	mem_free(d->aud);
	secret_wipe(d->challenge_key, sizeof(d->challenge_key));
	return mem_free(d);
}

/* --- What is read from the store --------------------------------------------------------------- */

const struct access_view *desk_view(struct access_desk *d, struct err *err)
{
	if (!d->view)
		d->view = access_view_build(d->control->store, d->control->public_url,
					    d->control->countries, err);
	return d->view;
}

const struct access_keys *desk_keys(struct access_desk *d, struct err *err)
{
	char *text;

	/* The view makes the first ones. */
	if (d->keys || !desk_view(d, err))
		return d->keys;
	text = store_setting_get(d->control->store, KEYS_SETTING, err);
	if (!text)
		return NULL;
	d->keys = access_keys_parse(text, err);
	secret_wipe(text, strlen(text));
	mem_free(text);
	return d->keys;
}

const struct key_set *desk_key_set(struct access_desk *d, struct err *err)
{
	const struct access_view *view = desk_view(d, err);

	if (!d->key_set && view && access_view_keys(view)[0])
		d->key_set = key_set_parse(bytes_str(access_view_keys(view)), err);
	return d->key_set;
}

const char *desk_org_aud(struct access_desk *d, struct err *err)
{
	struct err why = { 0 };
	uint8_t raw[32];
	char text[2 * sizeof(raw) + 1];

	if (d->aud)
		return d->aud;
	d->aud = store_setting_get(d->control->store, AUD_SETTING, &why);
	if (!d->aud && why.code == E_NOT_FOUND) {
		random_bytes(raw, sizeof(raw));
		hex_encode(bytes_of(raw, sizeof(raw)), text);
		text[sizeof(text) - 1] = 0;
		if (store_setting_put(d->control->store, AUD_SETTING, text, false, &why) == 0)
			d->aud = mem_strdup(text);
	}
	if (!d->aud && err)
		*err = why;
	return d->aud;
}

struct tries *desk_tries(struct access_desk *d)
{
	return d->tries;
}

struct bytes desk_challenge_key(const struct access_desk *d)
{
	return bytes_of(d->challenge_key, sizeof(d->challenge_key));
}

struct oauth_memory *desk_oauth_memory(struct access_desk *d)
{
	return d->oauth;
}

struct provider_notes *desk_provider_notes(const struct access_desk *d)
{
	return d->notes;
}

int desk_revoke_person(struct control *c, const char *email, const char *of, struct err *err)
{
	int r = store_person_revoke(c->store, email, err);

	if (r == 0) {
		access_count_revocation(of);
		count_sessions(c);
	}
	return r;
}

bool desk_use_nonce(struct access_desk *d, struct bytes token, usec expires_at)
{
	uint8_t hash[HASH_SHA256_BYTES];
	usec *until;

	hash_sha256(token, hash);
	if (cache_find(d->used, bytes_of(hash, sizeof(hash))))
		return false;
	until = mem_alloc(sizeof(*until));
	*until = expires_at;
	cache_put(d->used, bytes_of(hash, sizeof(hash)), until);
	return true;
}

/* --- Sessions ---------------------------------------------------------------------------------- */

void desk_session_done(struct desk_session *s)
{
	s->email = mem_free(s->email);
	s->provider = mem_free(s->provider);
	s->identity = access_identity_unref(s->identity);
}

/* One that is not over at `now`; 0: or is, but was not ended by anybody. */
static bool find_session(struct access_desk *d, const char *id, usec now, struct desk_session *ret)
{
	char person[UUID_TEXT_SIZE];
	struct store_session x;
	struct err err = { 0 };
	int r = store_session_get(d->control->store, id, now, &x, &err);

	*ret = (struct desk_session){ 0 };
	if (r < 0) {
		if (r != E_NOT_FOUND)
			log_error(COMPONENT, "a session cannot be read", LOG_STR("error", err.text));
		return false;
	}
	ret->identity = access_identity_new(id, uuid_text(&x.person, person),
					    bytes_of(x.identity.ptr, x.identity.len), x.created_at,
					    x.expires_at, &err);
	if (ret->identity) {
		snprintf(ret->id, sizeof(ret->id), "%s", x.id);
		ret->email = TAKE(x.email);
		ret->provider = TAKE(x.provider);
		ret->created_at = x.created_at;
		ret->expires_at = x.expires_at;
	} else {
		log_error(COMPONENT, "a session is damaged", LOG_STR("error", err.text));
	}
	store_session_done(&x);
	return ret->identity != NULL;
}

bool desk_session_find(struct access_desk *d, const char *id, struct desk_session *ret)
{
	return find_session(d, id, clock_wall_now(), ret);
}

bool desk_session_of_cookie(struct ask *a, struct desk_session *ret)
{
	struct access_desk *d = a->control->desk;
	struct control_request *r = a->request;
	struct bytes token = access_own_cookie(&r->head.fields, ACCESS_COOKIE);
	const struct key_set *keys = desk_key_set(d, NULL);
	const char *aud = desk_org_aud(d, NULL);
	struct access_claims claims;

	*ret = (struct desk_session){ 0 };
	if (token.len == 0 || !keys || !aud ||
	    access_token_check(keys, token, TOKEN_ORG, a->control->public_url, aud,
			       clock_wall_now(), &r->arena, &claims, NULL) < 0)
		return false;
	return desk_session_find(d, arena_strdup(&r->arena, claims.session), ret);
}

const struct access_app *desk_app_of_token(struct ask *a, enum access_token_type type,
					   struct bytes token, struct access_claims *ret)
{
	struct access_desk *d = a->control->desk;
	struct arena *arena = &a->request->arena;
	const struct access_view *view = desk_view(d, NULL);
	const struct key_set *keys = desk_key_set(d, NULL);
	const struct access_app *app;

	if (!view || !keys)
		return NULL;
	app = access_set_app(access_view_set(view), access_token_audience(token, arena));
	if (!app || access_token_check(keys, token, type, a->control->public_url, app->aud,
				       clock_wall_now(), arena, ret, NULL) < 0)
		return NULL;
	/* A sign-in under way ends with a new token, and the rules are asked again. */
	if (type == TOKEN_APP && ret->era < access_view_era(view, app->id))
		return NULL;
	return app;
}

const char *desk_country(struct ask *a)
{
	char code[COUNTRY_TEXT_SIZE];

	countries_find_ip(a->control->countries, a->request->client_ip, code);
	return code[0] ? arena_strdup(&a->request->arena, bytes_str(code)) : NULL;
}

struct access_facts desk_facts(struct ask *a, const struct access_identity *identity,
			       const struct access_external_answer *said, size_t said_count)
{
	struct access_facts facts = { 0 };
	struct address address;

	if (identity)
		facts = identity->facts;
	if (address_from_ip(a->request->client_ip, 0, &address))
		facts.has_address = network_of_address(&address, &facts.address);
	if (facts.has_address)
		countries_find(a->control->countries, &facts.address, facts.country);
	facts.external = said;
	facts.external_count = said_count;
	return facts;
}

struct access_verdict desk_decide(struct ask *a, const struct access_app *app,
				  const struct access_identity *identity,
				  const struct access_external_answer *said, size_t said_count)
{
	struct access_facts facts = desk_facts(a, identity, said, said_count);

	return access_decide(app->policies, app->policy_count, &facts);
}

int desk_audit_write(struct ask *a, const char *action, const char *actor, const char *subject,
		     const char *outcome, const char *detail, struct err *err)
{
	struct arena *arena = &a->request->arena;
	struct store_audit entry = {
		.action = arena_strdup(arena, bytes_str(action)),
		.actor = arena_strdup(arena, bytes_str(actor)),
		.address = arena_strdup(arena, a->request->client_ip),
		.subject = arena_strdup(arena, bytes_str(subject)),
		.outcome = arena_strdup(arena, bytes_str(outcome)),
		.detail = arena_strdup(arena, bytes_str(detail)),
	};

	return store_audit_add(a->control->store, &entry, err);
}

void desk_audit(struct ask *a, const char *action, const char *actor, const char *subject,
		const char *outcome, const char *detail)
{
	struct err err = { 0 };

	if (desk_audit_write(a, action, actor, subject, outcome, detail, &err) < 0)
		log_error(COMPONENT, "the audit log cannot be written", LOG_STR("error", err.text));
}

/* --- Questions of the gate ---------------------------------------------------------------------- */

static int answer_session(struct access_desk *d, struct access_question *q)
{
	struct desk_session s;

	/* The gate looks at the end of it: what was opened before that may go on. */
	if (!find_session(d, q->subject, 0, &s))
		return E_NOT_FOUND;
	q->identity = access_identity_ref(s.identity);
	desk_session_done(&s);
	return 0;
}

static int answer_assertion(struct access_desk *d, struct access_question *q)
{
	struct err err = { 0 };
	const struct access_view *view = desk_view(d, &err);
	const struct access_keys *keys = view ? desk_keys(d, &err) : NULL;
	const struct access_app *app =
		view ? access_set_app(access_view_set(view), bytes_str(q->app)) : NULL;
	const struct access_service_token *token = NULL;

	if (app && q->kind == QUESTION_ASSERTION)
		token = access_set_token_of_id(access_view_set(view), bytes_str(q->subject));
	if (!keys || !app || (!token && q->kind == QUESTION_ASSERTION))
		return E_NOT_FOUND;
	struct access_mint m = {
		.type = TOKEN_APP,
		.issuer = d->control->public_url,
		.audience = app->aud,
		.common_name = token ? token->client_id : q->subject,
		.now = clock_wall_now(),
		.era = access_view_era(view, app->id),
	};
	m.expires_at = q->expires_at = m.now + ASSERTION_LIFE;
	/* Asked for once an hour: what more would be known is not worth a write for each request. */
	if (token && store_token_used(d->control->store, token->id, &err) < 0)
		log_warn(COMPONENT, "the use of a service token is not noted",
			 LOG_STR("token", token->name), LOG_STR("error", err.text));
	q->assertion = access_token_mint(keys, &m);
	return 0;
}

void access_desk_question(struct control *c, struct access_question *q)
{
	int r = q->kind == QUESTION_SESSION ? answer_session(c->desk, q)
					    : answer_assertion(c->desk, q);

	access_question_answer(q, r);
}
