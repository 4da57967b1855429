/* Signing in with an identity provider: out to it, and back at /cdn-cgi/access/callback. */
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/access/cache.h"
#include "edge/access/credentials.h"
#include "edge/access/desk.h"
#include "edge/access/oauth.h"
#include "edge/access/metrics.h"
#include "edge/access/oauth_memory.h"
#include "edge/access/provider_notes.h"
#include "edge/control/signin.h"
#include "store/names.h"

#define COMPONENT "edge/access"
/* Binds the end of a sign-in to the browser that began it (CONTROL §5.7). No service on a neighbouring name can plant one
 * with this prefix. */
#define SESSION_COOKIE "__Host-CF_Session"
/* Steps at a provider that are under way at a time. */
#define STEPS_MAX 64
#define BUSY "Many people are signing in at this moment. Please try again."
#define FLOW_LIFE (900 * USEC_PER_SEC)

/* A sign-in that is at the provider. */
struct flow {
	struct oauth *oauth;                 /* owned; NULL while a thread has it */
	char *provider, *browser;            /* owned; the provider's id, the cookie */
	char *aud, *host, *redirect, *state; /* of the visit */
	usec until;
	char *name; /* owned; of the provider */
	usec began; /* the step that is under way; clock_now() */
};

void desk_flow_drop(void *flow)
{
	struct flow *f = flow;

	oauth_free(f->oauth);
	mem_free(f->provider);
	mem_free(f->name);
	mem_free(f->browser);
	mem_free(f->aud);
	mem_free(f->host);
	mem_free(f->redirect);
	mem_free(f->state);
	mem_free(f);
}

static struct desk_visit visit_of(struct control *c, const struct flow *f)
{
	const struct access_view *view = desk_view(c->desk, NULL);

	return (struct desk_visit){
		.app = view ? access_set_app(access_view_set(view), bytes_str(f->aud)) : NULL,
		.host = f->host,
		.redirect = f->redirect,
		.state = f->state,
	};
}

static enum ask_result went_wrong(struct ask *a, const struct flow *f)
{
	struct desk_visit v = visit_of(a->control, f);
	const struct err *err = &f->oauth->err;
	const char *told = f->oauth->told;

	log_warn(COMPONENT, "the identity provider did not sign anybody in",
		 LOG_STR("provider", f->provider), LOG_STR("error", err->text),
		 LOG_BYTES("ip", a->request->client_ip));
	if (!v.app)
		return desk_message(a, 403, "The sign-in did not work", "The application is gone.",
				    "/", "About this edge");
	desk_audit(a, "login", "", v.app->name, "identity provider failed", "{}");
	access_count_signin(f->oauth->kind, "failed");
	if (!told)
		told = err->code == E_DENIED
			       ? arena_strdup(&a->request->arena, bytes_str(err->text))
			       : "The identity provider could not be asked. The log of the edge has the "
				 "reason.";
	return desk_sign_in_page(a, err->code == E_DENIED ? 403 : 502, &v, told);
}

/* --- Out -------------------------------------------------------------------------------------------- */

static void start(void *arg)
{
	struct flow *f = arg;

	oauth_start(f->oauth);
}

/* Off to the provider; `f` is ours. */
static enum ask_result depart(struct ask *a, struct flow *f)
{
	struct control *c = a->control;
	enum ask_result result;

	oauth_memory_learn(desk_oauth_memory(c->desk), f->oauth, clock_now());
	if (!f->oauth->url) {
		result = went_wrong(a, f);
		desk_flow_drop(f);
		return result;
	}
	answer_field(a->request, "Location",
		     arena_copy(&a->request->arena, bytes_str(f->oauth->url)));
	cache_put(c->flows, bytes_str(f->oauth->state), f);
	return answer(a->request, 302, "text/plain; charset=utf-8",
		      BYTES_LIT("See the Location field\n"));
}

static void note(struct ask *a, const struct flow *f)
{
	provider_notes_add(desk_provider_notes(a->control->desk), f->provider, f->name,
			   clock_now() - f->began, &f->oauth->err);
}

static enum ask_result on_started(struct ask *a, void *ctx)
{
	note(a, ctx);
	return depart(a, ctx);
}

static const struct desk_errand starting = {
	.max = STEPS_MAX,
	.work = start,
	.done = on_started,
	.drop = desk_flow_drop,
};

/* The browser's mark. */
static struct bytes browser_of(struct ask *a)
{
	struct control_request *r = a->request;
	struct bytes have = access_cookie(&r->head.fields, SESSION_COOKIE);
	char token[SIGNIN_TOKEN_SIZE];

	if (have.len == SIGNIN_TOKEN_SIZE - 1)
		return have;
	signin_random_token(token);
	answer_field(r, "Set-Cookie",
		     arena_printf(&r->arena,
				  SESSION_COOKIE "=%s; Path=/; Secure; HttpOnly; SameSite=Lax; "
						 "Max-Age=14400",
				  token));
	return arena_copy(&r->arena, bytes_str(token));
}

enum ask_result desk_oauth_post(struct ask *a, const struct desk_visit *v,
				const struct access_provider *p)
{
	struct control *c = a->control;
	char *redirect_uri = mem_printf("%s/cdn-cgi/access/callback", c->public_url);
	struct flow *f = mem_alloc(sizeof(*f));

	f->oauth = oauth_new(p->kind, p->config, redirect_uri);
	f->provider = mem_strdup(p->id);
	f->name = mem_strdup(p->name);
	f->began = clock_now();
	f->browser = mem_strndup(browser_of(a));
	f->aud = mem_strdup(v->app->aud);
	f->host = mem_strdup(v->host);
	f->redirect = mem_strdup(v->redirect);
	f->state = mem_strdup(v->state);
	f->until = clock_now() + FLOW_LIFE;
	mem_free(redirect_uri);
	oauth_memory_lend(desk_oauth_memory(c->desk), f->oauth, clock_now());
	if (oauth_start_is_quick(f->oauth)) {
		oauth_start(f->oauth);
		return depart(a, f);
	}
	if (desk_errand_start(a, &starting, f))
		return ASK_PARKED;
	desk_flow_drop(f);
	return desk_sign_in_page(a, 503, v, BUSY);
}

/* --- Back ------------------------------------------------------------------------------------------- */

static void finish(void *arg)
{
	struct flow *f = arg;

	oauth_finish(f->oauth);
}

static enum ask_result arrive(struct ask *a, struct flow *f)
{
	struct desk_visit v = visit_of(a->control, f);
	json_t *identity = f->oauth->identity;
	const char *given = json_string_value(json_object_get(identity, "email"));
	char email[NAME_EMAIL_BYTES + 1];

	if (!identity || !v.app)
		return went_wrong(a, f);
	if (!given || name_email(given, email, &f->oauth->err) < 0)
		return went_wrong(a, f);
	const char *name = json_string_value(json_object_get(identity, "name"));
	const char *shown = arena_strdup(&a->request->arena, bytes_str(name));
	return desk_signed_in(a, &v, email, shown, f->provider, json_incref(identity));
}

static enum ask_result on_finished(struct ask *a, void *ctx)
{
	struct flow *f = ctx;
	enum ask_result result;

	oauth_memory_learn(desk_oauth_memory(a->control->desk), f->oauth, clock_now());
	note(a, f);
	result = arrive(a, f);
	desk_flow_drop(f);
	return result;
}

static const struct desk_errand finishing = {
	.max = STEPS_MAX,
	.work = finish,
	.done = on_finished,
	.drop = desk_flow_drop,
};

static bool is_of_browser(struct ask *a, const struct flow *f)
{
	struct bytes have = access_cookie(&a->request->head.fields, SESSION_COOKIE);

	return secret_bytes_eq(have, bytes_str(f->browser));
}

/* Moves what the provider's answer belongs to out of the cache: once only. */
static struct flow *take_flow(struct ask *a, const char *state)
{
	struct flow *f = state ? cache_find(a->control->flows, bytes_str(state)) : NULL, *taken;

	if (!f || clock_now() >= f->until || !is_of_browser(a, f))
		return NULL;
	taken = mem_alloc(sizeof(*taken));
	*taken = *f;
	*f = (struct flow){ 0 };
	cache_remove(a->control->flows, bytes_str(state));
	return taken;
}

/* What the provider says came with the browser: its words go to the log, ours to the page. */
static void refused(struct oauth *o, const char *error)
{
	bool is_ours;

	o->told = oauth_error_text(error, &is_ours);
	err_set(&o->err, is_ours ? E_PROTOCOL : E_DENIED, "it said %.100s", error);
}

enum ask_result desk_callback(struct ask *a)
{
	const char *code = query_find(&a->query, "code"), *why = query_find(&a->query, "error");
	const char *issuer = query_find(&a->query, "iss");
	struct flow *f = take_flow(a, query_find(&a->query, "state"));
	enum ask_result result;

	if (!f)
		return desk_message(
			a, 403, "This sign-in did not begin in this browser",
			"It took too long, was finished already, or the link was made for "
			"somebody else. Open the application again.",
			"/", "About this edge");
	if (!code || !code[0]) {
		refused(f->oauth, why ? why : "no reason given");
		result = went_wrong(a, f);
		desk_flow_drop(f);
		return result;
	}
	f->began = clock_now();
	f->oauth->code = mem_strdup(code);
	f->oauth->issuer = issuer ? mem_strdup(issuer) : NULL;
	oauth_memory_lend(desk_oauth_memory(a->control->desk), f->oauth, clock_now());
	if (desk_errand_start(a, &finishing, f))
		return ASK_PARKED;
	struct desk_visit v = visit_of(a->control, f);
	result = v.app ? desk_sign_in_page(a, 503, &v, BUSY)
		       : answer_text(a->request, 503, BUSY "\n");
	desk_flow_drop(f);
	return result;
}
