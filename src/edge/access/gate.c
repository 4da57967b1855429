#include "edge/access/gate.h"

#include <string.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "edge/access/cache.h"
#include "edge/access/cors.h"
#include "edge/access/credentials.h"
#include "edge/access/identity.h"
#include "edge/access/metrics.h"
#include "edge/access/question.h"
#include "edge/access/token.h"
#include "edge/access/view.h"
#include "edge/control/gateway.h"
#include "edge/worker.h"
#include "tls/tls.h"

/* Each with its identity, a kibibyte or so. */
#define SESSIONS_MAX 8192
#define TOKENS_MAX 8192
#define ASSERTIONS_MAX 1024
/* A session that ended without a word (the database was edited, its time is over) is noticed after this; one that
 * was ended here at once, by gate_forget(). */
#define SESSION_TRUST (30 * USEC_PER_SEC)
#define MISSING_TRUST (2 * USEC_PER_SEC)
#define ASSERTION_MARGIN (60 * USEC_PER_SEC)
#define ACCESS_PATH "/cdn-cgi/access/"
/* Requests under way are looked at again in such portions, so that those of ten thousand people hold nobody up. */
#define DOUBTS_PER_TURN 256
#define DOUBTS_MS 10

/* A token whose signature was right. */
struct known_token {
	char *aud, *session;
	char *state; /* hash of the CF_AppSession of the browser it was made for, in hex; "": of none */
	struct access_external_answer *external; /* owned, texts in it too */
	size_t external_count;
	usec expires_at, era;
	usec purpose_until; /* 0: nobody said why */
	uint8_t binding[HASH_SHA256_BYTES];
	bool has_binding;
};

/* What the control thread said. */
struct known {
	struct access_identity *identity; /* NULL: the session is over */
	char *assertion;                  /* owned; NULL: it was a session */
	usec until;                       /* clock_now(): trusted so long */
};

/* What let a request pass, for as long as it runs; in its arena. */
struct pass {
	struct gate *gate;
	const char *aud, *session, *service; /* "": without */
	usec era, purpose_until;             /* of the token */
	struct access_external_answer *external;
	size_t external_count;
};

struct gate {
	struct worker *w;
	/* Exchanges that have passed, by their `watch`; those that are to be looked at again. */
	struct list passed, doubted;
	struct timer doubts;
	struct access_view *view; /* counted: whose keys these are */
	struct key_set *keys;     /* NULL: none */
	struct cache *tokens, *sessions, *assertions;
	struct map *pending;  /* key of the cache -> struct pending */
	struct map *counters; /* application's id -> struct counters, owned */
};

/* Of one application; NULL: not counted yet. */
struct counters {
	struct metric *of[COUNTED_KINDS];
};

/* A question under way, and who waits for its answer. */
struct pending {
	struct gate *gate;
	struct cache *cache; /* where the answer goes */
	char *key;           /* owned */
	struct list waiting; /* of struct visit */
};

/* A request that waits. */
struct visit {
	struct list node;
	struct gate *gate;
	struct exchange *x;
	unsigned rounds;
};

/* An answer may be gone from the cache before its turn comes, but not again and again. */
#define ROUNDS_MAX 4

enum step {
	STEP_NEXT,     /* it may pass */
	STEP_ANSWERED, /* with a redirect or a short text */
	STEP_FAILED,   /* x->failure says why */
	STEP_WAIT,     /* for `wait_for` */
	STEP_CONTROL,  /* the control thread answers it */
};

/* Everything about one request. */
struct judging {
	struct gate *gate;
	struct exchange *x;
	const struct access_view *view;
	const struct access_app *app;
	struct access_credentials given;
	const struct known_token *token; /* NULL: none that is good here */
	struct bytes token_text;         /* of that one */
	const struct access_service_token *service;
	const struct access_identity *identity; /* borrowed from the cache */
	struct access_facts facts;
	struct pending *wait_for;
	bool is_decided; /* `outcome` is what the policies say */
	enum access_outcome outcome;
};

/* --- What is remembered ------------------------------------------------------------------------ */

static void drop_token(void *value)
{
	struct known_token *t = value;

	for (size_t i = 0; i < t->external_count; i++)
		mem_free((void *)(uintptr_t)t->external[i].mark.ptr);
	mem_free(t->external);
	mem_free(t->aud);
	mem_free(t->session);
	mem_free(t->state);
	mem_free(t);
}

static void drop_known(void *value)
{
	struct known *k = value;

	access_identity_unref(k->identity);
	mem_free(k->assertion);
	mem_free(k);
}

static void on_doubts(struct timer *t);

struct gate *gate_new(struct worker *w)
{
	struct gate *g = mem_alloc(sizeof(*g));

	g->w = w;
	g->tokens = cache_new(TOKENS_MAX, drop_token);
	g->sessions = cache_new(SESSIONS_MAX, drop_known);
	g->assertions = cache_new(ASSERTIONS_MAX, drop_known);
	g->pending = map_new();
	g->counters = map_new();
	list_init(&g->passed);
	list_init(&g->doubted);
	timer_init(&g->doubts, w->loop, on_doubts);
	return g;
}

/* Applications may have other names now. */
static void drop_counters(struct gate *g)
{
	struct bytes key;
	size_t cursor = 0;
	void *counters;

	while (map_next(g->counters, &cursor, &key, &counters))
		mem_free(counters);
	map_free(g->counters);
	g->counters = map_new();
}

void gate_forget(struct gate *g)
{
	cache_clear(g->tokens);
	cache_clear(g->sessions);
	cache_clear(g->assertions);
	drop_counters(g);
	g->keys = key_set_free(g->keys);
	g->view = access_view_unref(g->view);
	/* Whoever is in the middle of something is judged by what holds now, too. */
	while (!list_is_empty(&g->passed))
		list_append(&g->doubted, list_pop(&g->passed));
	if (!list_is_empty(&g->doubted))
		timer_set(&g->doubts, 0);
}

struct gate *gate_free(struct gate *g)
{
	if (!g)
		return NULL;
	BUG_IF(map_count(g->pending) > 0 || !list_is_empty(&g->passed) ||
	       !list_is_empty(&g->doubted));
	gate_forget(g);
	cache_free(g->tokens);
	cache_free(g->sessions);
	cache_free(g->assertions);
	map_free(g->pending);
	map_free(g->counters);
	return mem_free(g);
}

/* The keys of the worker's snapshot. A request that began before has an older one: it is judged by what it began
 * with, but nobody signs with a key that both do not know. */
static const struct key_set *keys_of(struct gate *g)
{
	struct access_view *view = snapshot_access(g->w->snapshot);

	if (!g->view) {
		g->view = access_view_ref(view);
		if (access_view_keys(view)[0])
			g->keys = key_set_parse(bytes_str(access_view_keys(view)), NULL);
	}
	return g->keys;
}

/* --- Asking the control thread ------------------------------------------------------------------ */

static void judge_again(struct visit *v);

static void on_answered(struct access_question *q)
{
	struct pending *p = q->asker;
	struct known *k = mem_alloc(sizeof(*k));
	usec trust = q->result == 0 ? SESSION_TRUST : MISSING_TRUST;
	struct list waiting;

	k->identity = TAKE(q->identity);
	k->assertion = TAKE(q->assertion);
	if (k->assertion)
		trust = q->expires_at - clock_wall_now() - ASSERTION_MARGIN;
	k->until = clock_now() + trust;
	cache_put(p->cache, bytes_str(p->key), k);
	map_take(p->gate->pending, bytes_str(p->key));
	list_init(&waiting);
	list_take_all(&waiting, &p->waiting);
	mem_free(p->key);
	mem_free(p);
	access_question_free(q);
	for (struct list *node = list_pop(&waiting); node; node = list_pop(&waiting))
		judge_again(LIST_ENTRY(node, struct visit, node));
}

/* `key` is new, or asked for already. */
static struct pending *ask(struct gate *g, enum access_question_kind kind, struct cache *cache,
			   const char *key, const char *subject, const char *app)
{
	struct pending *p = map_find(g->pending, bytes_str(key));
	struct access_question *q;

	if (p)
		return p;
	p = mem_alloc(sizeof(*p));
	p->gate = g;
	p->cache = cache;
	p->key = mem_strdup(key);
	list_init(&p->waiting);
	map_put(g->pending, bytes_str(key), p);
	q = access_question_new(kind, g->w->loop, on_answered, p);
	q->subject = mem_strdup(subject);
	q->app = mem_strdup(app);
	access_question_ask(q, g->w->control);
	return p;
}

static const struct known *find_known(struct cache *cache, const char *key)
{
	const struct known *k = cache_find(cache, bytes_str(key));

	return k && clock_now() < k->until ? k : NULL;
}

/* --- Tokens ----------------------------------------------------------------------------------- */

/* What external services said when it was made. */
static void take_external(struct known_token *t, const json_t *claims)
{
	json_t *object = json_object_get(claims, ACCESS_EXTERNAL_CLAIM), *value;
	const char *mark;

	t->external = mem_alloc_array(json_object_size(object) + 1, sizeof(*t->external));
	json_object_foreach(object, mark, value) t->external[t->external_count++] =
		(struct access_external_answer){ bytes_str(mem_strdup(mark)),
						 access_external_of_json(value) };
}

static struct known_token *token_of(const struct access_claims *claims, const char *aud)
{
	json_t *all = json_loadb((const char *)claims->json.ptr, claims->json.len, 0, NULL);
	struct known_token *t = mem_alloc(sizeof(*t));
	struct bytes binding = bytes_str(json_string_value(json_object_get(all, "binding")));
	const json_t *state = json_object_get(all, "state");

	t->aud = mem_strdup(aud);
	t->session = mem_strndup(claims->session);
	t->state = json_string_length(state) ? mem_strdup(json_string_value(state)) : mem_strdup("");
	t->era = claims->era;
	t->expires_at = claims->expires_at;
	t->purpose_until =
		json_integer_value(json_object_get(all, ACCESS_PURPOSE_CLAIM)) * USEC_PER_SEC;
	t->has_binding = binding.len > 0;
	if (t->has_binding &&
	    (binding.len != 2 * sizeof(t->binding) || !hex_decode(binding, t->binding)))
		memset(t->binding, 0, sizeof(t->binding));
	take_external(t, all);
	json_decref(all);
	return t;
}

/* A token with a good signature and for this application; its session may be over all the same. */
static const struct known_token *check_token(struct judging *j, struct bytes token)
{
	struct gate *g = j->gate;
	struct known_token *t = cache_find(g->tokens, token);
	usec now = clock_wall_now();
	struct access_claims claims;
	struct err err = { 0 };

	if (!t) {
		const struct key_set *keys = keys_of(g);

		if (!keys || access_token_check(keys, token, TOKEN_APP, access_view_issuer(j->view),
						j->app->aud, now, &j->x->arena, &claims, &err) < 0)
			return NULL;
		t = token_of(&claims, j->app->aud);
		cache_put(g->tokens, token, t);
	}
	if (strcmp(t->aud, j->app->aud) != 0 || now >= t->expires_at)
		return NULL;
	return t->era >= access_view_era(j->view, j->app->id) ? t : NULL;
}

/* A stolen cookie is of no use without the one that was set beside it (CONTROL §5.7). */
static bool binding_is_right(const struct judging *j, const struct known_token *t)
{
	uint8_t hash[HASH_SHA256_BYTES];

	if (!j->app->has_binding || !j->given.is_cookie)
		return true;
	hash_sha256(j->given.binding, hash);
	return t->has_binding &&
	       secret_bytes_eq(bytes_of(hash, sizeof(hash)), bytes_of(t->binding, sizeof(hash)));
}

/* Any host of the same domain may set a browser's cookies here, and so make somebody use another's token without
 * knowing. What is set under __Host- it cannot. */
static bool state_is_right(const struct judging *j, const struct known_token *t)
{
	uint8_t hash[HASH_SHA256_BYTES];
	char text[2 * sizeof(hash) + 1];

	if (!j->given.is_cookie || !j->given.is_browser)
		return true;
	hash_sha256(j->given.app_session, hash);
	hex_encode(bytes_of(hash, sizeof(hash)), text);
	return secret_bytes_eq(bytes_of(text, 2 * sizeof(hash)), bytes_str(t->state));
}

/* The first that is good: what others have set does not keep anybody out. */
static void choose_token(struct judging *j)
{
	for (size_t i = 0; i < j->given.token_count && !j->token; i++) {
		const struct known_token *t = check_token(j, j->given.tokens[i]);

		if (t && binding_is_right(j, t) && state_is_right(j, t)) {
			j->token = t;
			j->token_text = j->given.tokens[i];
		}
	}
}

/* Finds the session of the token. False: it has to be asked for (j->wait_for). */
static bool find_identity(struct judging *j)
{
	const struct known *k;

	choose_token(j);
	if (!j->token || !j->token->session[0])
		return true;
	k = find_known(j->gate->sessions, j->token->session);
	if (!k) {
		j->wait_for = ask(j->gate, QUESTION_SESSION, j->gate->sessions, j->token->session,
				  j->token->session, NULL);
		return false;
	}
	if (k->identity && clock_wall_now() < k->identity->expires_at)
		j->identity = k->identity;
	return true;
}

/* --- Facts ------------------------------------------------------------------------------------- */

static void add_connection(struct access_facts *f, const struct exchange *x,
			   const struct access_view *view)
{
	struct address address;

	if (address_from_ip(x->client_ip, 0, &address))
		f->has_address = network_of_address(&address, &f->address);
	if (f->has_address)
		countries_find(access_view_countries(view), &f->address, f->country);
	if (x->certificate && !x->certificate->refused) {
		f->has_certificate = true;
		f->common_name = bytes_str(x->certificate->common_name);
	}
}

static void gather_facts(struct judging *j)
{
	if (j->identity) {
		j->facts = j->identity->facts;
		j->facts.external = j->token->external;
		j->facts.external_count = j->token->external_count;
	}
	if (j->service)
		j->facts.service_token = bytes_str(j->service->id);
	add_connection(&j->facts, j->x, j->view);
}

/* --- Answers ----------------------------------------------------------------------------------- */

static struct bytes percent_encoded(struct arena *arena, struct bytes text)
{
	static const char digits[] = "0123456789ABCDEF";
	uint8_t *out = arena_alloc_bytes(arena, text.len * 3 + 1);
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    c == '-' || c == '.' || c == '_' || c == '~' || c == '/') {
			out[len++] = c;
		} else {
			out[len++] = '%';
			out[len++] = (uint8_t)digits[c >> 4];
			out[len++] = (uint8_t)digits[c & 15];
		}
	}
	return bytes_of(out, len);
}

/* The state that binds the end of a sign-in to the browser that began it: what it has already, so that several
 * tabs may sign in at once, or a new one, which is set. */
static struct bytes app_session(struct judging *j)
{
	struct bytes have = j->given.app_session;
	uint8_t raw[24];
	char text[33];

	if (have.len == sizeof(text) - 1)
		return have;
	random_bytes(raw, sizeof(raw));
	base64_encode(BASE64_URL_RAW, bytes_of(raw, sizeof(raw)), text);
	text[sizeof(text) - 1] = 0;
	have = arena_copy(&j->x->arena, bytes_str(text));
	(void)fields_add(&j->x->response.fields, &j->x->arena, BYTES_LIT("Set-Cookie"),
			 arena_printf(&j->x->arena,
				      ACCESS_APP_COOKIE "=" BYTES_FMT
							"; Path=/; Secure; HttpOnly; SameSite=Lax; "
							"Max-Age=86400",
				      BYTES_ARG(have)));
	/* Tokens are bound to this one: it goes wherever they go, and stays longer than they do. */
	(void)fields_add(&j->x->response.fields, &j->x->arena, BYTES_LIT("Set-Cookie"),
			 arena_printf(&j->x->arena,
				      ACCESS_HOST_PREFIX ACCESS_APP_COOKIE
				      "=" BYTES_FMT "; Path=/; Secure; HttpOnly; SameSite=%s; "
				      "Max-Age=2764800",
				      BYTES_ARG(have),
				      j->app->same_site == SAME_SITE_NONE ? "None" : "Lax"));
	return have;
}

static struct bytes login_url(struct judging *j, bool wants_purpose)
{
	struct arena *arena = &j->x->arena;
	uint8_t hash[HASH_SHA256_BYTES];
	char state[2 * sizeof(hash) + 1];
	struct bytes to = percent_encoded(arena, j->x->request.path);
	struct bytes host = percent_encoded(arena, j->x->request.authority);

	hash_sha256(app_session(j), hash);
	hex_encode(bytes_of(hash, sizeof(hash)), state);
	state[sizeof(state) - 1] = 0;
	return arena_printf(arena,
			    "%s" ACCESS_PATH "login/" BYTES_FMT "?kid=%s&redirect_url=" BYTES_FMT
			    "&state=%s%s",
			    access_view_issuer(j->view), BYTES_ARG(host), j->app->aud, BYTES_ARG(to),
			    state, wants_purpose ? "&" ACCESS_PURPOSE_PARAMETER "=1" : "");
}

static void answer_plain(struct exchange *x, int status, struct bytes type, struct bytes text)
{
	(void)fields_add(&x->response.fields, &x->arena, BYTES_LIT("Cache-Control"),
			 BYTES_LIT("no-store"));
	exchange_answer_whole(x, status, type, text);
}

/* Programs that cannot show a page get to know where people would sign in, or say why they come. */
static enum step ask_person(struct judging *j, const char *wanted, bool wants_purpose)
{
	struct exchange *x = j->x;
	struct bytes url = login_url(j, wants_purpose);

	if (access_is_navigation(&x->request) && !j->app->answers_401) {
		(void)fields_set(&x->response.fields, &x->arena, HEAD_LOCATION, url);
		answer_plain(x, 302, BYTES_LIT("text/plain; charset=utf-8"),
			     BYTES_LIT("Sign in first.\n"));
		return STEP_ANSWERED;
	}
	(void)fields_add(&x->response.fields, &x->arena, BYTES_LIT("WWW-Authenticate"),
			 BYTES_LIT("Cloudflare-Access"));
	answer_plain(x, 401, BYTES_LIT("application/json"),
		     arena_printf(&x->arena,
				  "{\"status\":401,\"error\":\"%s required\",\"hop\":\"access\","
				  "\"login_url\":\"" BYTES_FMT "\"}\n",
				  wanted, BYTES_ARG(url)));
	return STEP_ANSWERED;
}

static enum step ask_to_sign_in(struct judging *j)
{
	return ask_person(j, "sign-in", false);
}

static enum step failed(struct exchange *x, int status, const char *title, const char *detail)
{
	exchange_failed(x, FAILURE_VISITOR, status, 0, title, "%s", detail);
	return STEP_FAILED;
}

static enum step refuse(struct judging *j)
{
	if (!j->identity)
		return failed(
			j->x, 403, "Access denied",
			"This address is guarded, and no policy lets you in from where you are.");
	exchange_failed(j->x, FAILURE_VISITOR, 403, 0, "Access denied",
			"You are signed in as " BYTES_FMT ", who may not open this. "
			"%s" ACCESS_PATH "logout signs you out.",
			BYTES_ARG(j->facts.email), access_view_issuer(j->view));
	return STEP_FAILED;
}

/* --- Judging ----------------------------------------------------------------------------------- */

/* A service's or a device's statement is made by the control thread, and good for a while. Ids have no blanks, common
 * names may. */
static enum step let_service_in(struct judging *j)
{
	const char *device = j->x->certificate ? j->x->certificate->common_name : "";
	const char *subject = j->service ? j->service->id : device;
	struct bytes key = arena_printf(&j->x->arena, "%s %s %s", j->service ? "token" : "device",
					j->app->id, subject);
	const struct known *k;

	const char *text = arena_strdup(&j->x->arena, key);
	k = find_known(j->gate->assertions, text);
	if (!k) {
		j->wait_for =
			ask(j->gate, j->service ? QUESTION_ASSERTION : QUESTION_DEVICE_ASSERTION,
			    j->gate->assertions, text, subject, j->app->id);
		return STEP_WAIT;
	}
	if (!k->assertion)
		return failed(j->x, 503, "Access is not ready",
			      "The statement for this service could not be signed.");
	j->x->identity_token = arena_copy(&j->x->arena, bytes_str(k->assertion));
	return STEP_NEXT;
}

static enum step act(struct judging *j, const struct access_verdict *v)
{
	switch (v->outcome) {
	case ACCESS_PASS:
		return STEP_NEXT;
	case ACCESS_SERVICE:
		return let_service_in(j);
	case ACCESS_ALLOWED:
		if (v->policy->asks_purpose && clock_wall_now() >= j->token->purpose_until)
			return ask_person(j, "reason", true);
		j->x->identity_token = j->token_text;
		j->x->identity_email = arena_copy(&j->x->arena, j->facts.email);
		return STEP_NEXT;
	case ACCESS_SIGN_IN:
		/* A service cannot sign in, whatever its token is good for elsewhere. */
		if (j->service)
			return failed(j->x, 403, "Access denied",
				      "The service token is valid, but no policy lets it in here.");
		return ask_to_sign_in(j);
	case ACCESS_ASK:
		/* A rule that is newer than the token: the next one will have its answer. */
		return ask_to_sign_in(j);
	case ACCESS_REFUSED:
		break;
	}
	return refuse(j);
}

static bool has_member(const struct head *h, const char *name)
{
	return fields_find_text(&h->fields, bytes_str(name)) != NULL;
}

/* What a command line asks to find out what guards this host (CONTROL §5.1). */
static bool wants_metadata(const struct head *h)
{
	return bytes_eq(h->method, BYTES_LIT("HEAD")) && has_member(h, "cf-access-metadata-request");
}

static enum step judge_app(struct judging *j)
{
	const struct access_set *set = access_view_set(j->view);
	struct access_verdict v;

	j->given = access_credentials_of(j->x, j->app->token_header);
	if (j->given.is_repeated)
		return failed(j->x, 400, "Bad request",
			      "A field of Access is there twice; it may be there once.");
	if (wants_metadata(&j->x->request))
		return STEP_CONTROL;
	if ((j->app->passes_preflight || j->app->cors) && access_cors_is_preflight(&j->x->request)) {
		if (j->app->passes_preflight)
			return STEP_NEXT;
		access_cors_answer(j->app->cors, j->x);
		return STEP_ANSWERED;
	}
	if (j->given.client_id.len || j->given.client_secret.len) {
		j->service = access_set_service_token(set, j->given.client_id,
						      j->given.client_secret, clock_wall_now());
		if (!j->service)
			return failed(
				j->x, 401, "Access denied",
				"The service token is not valid: unknown, expired, switched off, or "
				"its secret is wrong.");
	} else if (!find_identity(j)) {
		return STEP_WAIT;
	}
	gather_facts(j);
	v = access_decide(j->app->policies, j->app->policy_count, &j->facts);
	j->is_decided = true;
	j->outcome = v.outcome;
	return act(j, &v);
}

/* --- Those that have passed ---------------------------------------------------------------------- */

/* A WebSocket, a long download: it ends when who opened it may not come in any more. */
static void watch(const struct judging *j)
{
	struct arena *arena = &j->x->arena;
	struct pass *p;

	if (!j->app)
		return;
	p = arena_alloc(arena, sizeof(*p));
	p->gate = j->gate;
	p->aud = arena_strdup(arena, bytes_str(j->app->aud));
	p->session = j->identity ? arena_strdup(arena, bytes_str(j->token->session)) : "";
	p->service = j->service ? arena_strdup(arena, bytes_str(j->service->id)) : "";
	p->era = j->token ? j->token->era : INT64_MAX;
	p->purpose_until = j->token ? j->token->purpose_until : 0;
	if (j->identity && j->token->external_count) {
		p->external_count = j->token->external_count;
		p->external = arena_alloc(arena, p->external_count * sizeof(*p->external));
		for (size_t i = 0; i < p->external_count; i++) {
			p->external[i] = j->token->external[i];
			p->external[i].mark = arena_copy(arena, p->external[i].mark);
		}
	}
	j->x->watcher_ctx = p;
	list_append(&j->gate->passed, &j->x->watch);
}

enum doubt { DOUBT_NONE, DOUBT_STAYS, DOUBT_WAITS };

/* Would who opened it be let in now? That the session's, the token's or the reason's time is over ends nothing that is
 * open: that would come with whatever change of the configuration is the next, at any time. What somebody took away
 * does. */
static enum doubt judge_pass(const struct pass *p, const struct exchange *x)
{
	struct gate *g = p->gate;
	const struct access_view *view = snapshot_access(g->w->snapshot);
	const struct access_set *set = access_view_set(view);
	const struct access_app *app = access_set_app(set, bytes_str(p->aud));
	struct access_facts facts = { 0 };
	struct access_verdict v;

	if (!app || p->era < access_view_era(view, app->id))
		return DOUBT_STAYS;
	if (p->session[0]) {
		const struct known *k = find_known(g->sessions, p->session);

		if (!k) {
			ask(g, QUESTION_SESSION, g->sessions, p->session, p->session, NULL);
			return DOUBT_WAITS;
		}
		if (!k->identity)
			return DOUBT_STAYS;
		facts = k->identity->facts;
		facts.external = p->external;
		facts.external_count = p->external_count;
	}
	if (p->service[0]) {
		const struct access_service_token *token =
			access_set_token_of_id(set, bytes_str(p->service));

		if (!token || !token->is_enabled)
			return DOUBT_STAYS;
		facts.service_token = bytes_str(token->id);
	}
	add_connection(&facts, x, view);
	v = access_decide(app->policies, app->policy_count, &facts);
	if (v.outcome == ACCESS_ALLOWED && v.policy->asks_purpose && !p->purpose_until)
		return DOUBT_STAYS;
	return v.outcome == ACCESS_PASS || v.outcome == ACCESS_SERVICE || v.outcome == ACCESS_ALLOWED
		       ? DOUBT_NONE
		       : DOUBT_STAYS;
}

static void on_doubts(struct timer *t)
{
	struct gate *g = CONTAINER_OF(t, struct gate, doubts);
	struct list waiting;

	list_init(&waiting);
	for (int i = 0; i < DOUBTS_PER_TURN && !list_is_empty(&g->doubted); i++) {
		struct list *node = list_pop(&g->doubted);
		struct exchange *x = LIST_ENTRY(node, struct exchange, watch);

		switch (judge_pass(x->watcher_ctx, x)) {
		case DOUBT_NONE:
			list_append(&g->passed, node);
			break;
		case DOUBT_WAITS:
			list_append(&waiting, node);
			break;
		case DOUBT_STAYS:
			failed(x, 403, "Access denied",
			       "You were let in, but may not stay: the session is over, or the rules "
			       "have changed.");
			exchange_cut(x);
			break;
		}
	}
	while (!list_is_empty(&waiting))
		list_append(&g->doubted, list_pop(&waiting));
	if (!list_is_empty(&g->doubted))
		timer_set(&g->doubts, DOUBTS_MS);
}

/* Some frameworks take the path from these instead of the request: to them it would be another one than was judged. */
static void strip_other_targets(struct fields *f)
{
	fields_remove_text(f, BYTES_LIT("x-original-url"));
	fields_remove_text(f, BYTES_LIT("x-rewrite-url"));
}

static struct metric *counter_of(struct gate *g, const struct access_app *app,
				 enum access_counted what)
{
	struct counters *c = map_find(g->counters, bytes_str(app->id));

	if (!c) {
		c = mem_alloc(sizeof(*c));
		map_put(g->counters, bytes_str(app->id), c);
	}
	if (!c->of[what])
		c->of[what] = access_metric_decision(app->name, what);
	return c->of[what];
}

/* Preflights, questions for the control thread and whoever has to wait are no decisions. */
static void count(const struct judging *j, enum step step)
{
	enum access_counted what = COUNTED_REFUSED;

	if (step == STEP_WAIT || step == STEP_CONTROL || (!j->is_decided && step != STEP_FAILED))
		return;
	if (step == STEP_NEXT)
		what = j->outcome == ACCESS_PASS      ? COUNTED_BYPASSED
		       : j->outcome == ACCESS_SERVICE ? COUNTED_SERVICE
						      : COUNTED_ALLOWED;
	else if (step == STEP_ANSWERED)
		what = COUNTED_SIGN_IN;
	metric_add(counter_of(j->gate, j->app, what), 1);
}

static enum step judge(struct gate *g, struct exchange *x, struct pending **ret_wait)
{
	struct judging j = { .gate = g, .x = x, .view = snapshot_access(x->snapshot) };
	const struct access_set *set = access_view_set(j.view);
	enum step step;

	*ret_wait = NULL;
	if (!access_set_has_host(set, x->host))
		return STEP_NEXT;
	if (bytes_starts_with(x->request.path, BYTES_LIT(ACCESS_PATH)))
		return STEP_CONTROL;
	if (!access_set_find(set, x->host, x->request.path, &x->arena, &j.app))
		return failed(
			x, 400, "Bad request",
			"This path may mean two things, and they are guarded differently. Write it "
			"without escapes, dots and doubled slashes.");
	step = j.app ? judge_app(&j) : STEP_NEXT;
	if (j.app)
		count(&j, step);
	if (step == STEP_NEXT) {
		watch(&j);
		access_credentials_strip(x, j.app ? j.app->token_header : "", x->identity_token);
		strip_other_targets(&x->request.fields);
	}
	*ret_wait = j.wait_for;
	return step;
}

/* --- The handler -------------------------------------------------------------------------------- */

static void visit_free(struct visit *v)
{
	list_remove(&v->node);
	mem_free(v);
}

static void on_ignored(struct exchange *x)
{
	(void)x; /* the body waits in its queue, nothing is answered yet */
}

static void on_cancelled(struct exchange *x)
{
	visit_free(x->answerer_ctx);
	exchange_release_answerer(x);
}

static const struct exchange_answerer answerer = {
	.name = "access",
	.on_request_data = on_ignored,
	.on_response_room = on_ignored,
	.on_cancelled = on_cancelled,
};

static void judge_again(struct visit *v)
{
	struct exchange *x = v->x;
	struct gate *g = v->gate;
	struct pending *wait_for;
	enum step step = judge(g, x, &wait_for);

	if (step == STEP_WAIT && ++v->rounds < ROUNDS_MAX) {
		list_append(&wait_for->waiting, &v->node);
		return;
	}
	visit_free(v);
	switch (step) {
	case STEP_NEXT:
		exchange_resume(x);
		break;
	case STEP_WAIT:
		failed(x, 503, "Access is busy", "Who you are could not be found out in time.");
		exchange_fail(x);
		break;
	case STEP_FAILED:
		exchange_fail(x);
		break;
	case STEP_CONTROL: /* seen before there was anything to wait for */
	case STEP_ANSWERED:
		break;
	}
}

enum handled gate_handle(struct exchange *x, void *worker)
{
	struct worker *w = worker;
	struct pending *wait_for;
	struct visit *v;

	switch (judge(w->gate, x, &wait_for)) {
	case STEP_NEXT:
		return HANDLED_NEXT;
	case STEP_FAILED:
		return HANDLED_FAILED;
	case STEP_ANSWERED:
		return HANDLED_TAKEN;
	case STEP_CONTROL:
		return control_gateway_handle(x, w->control, false);
	case STEP_WAIT:
		break;
	}
	v = mem_alloc(sizeof(*v));
	v->gate = w->gate;
	v->x = x;
	list_init(&v->node);
	exchange_answer_by(x, &answerer, v);
	list_append(&wait_for->waiting, &v->node);
	return HANDLED_TAKEN;
}
