/* The sign-in page, and the forms that come back from it. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "edge/access/credentials.h"
#include "edge/access/desk.h"
#include "edge/access/metrics.h"
#include "edge/access/tries.h"
#include "edge/control/page.h"
#include "edge/control/signin.h"
#include "store/names.h"
#include "store/store_access.h"

#define COMPONENT "edge/access"
#define FORM_COOKIE "__Host-adit-form"
#define PASSWORD_BYTES_MAX 1024

/* --- The page ------------------------------------------------------------------------------------ */

/* What this answer sets already: all that is on a page must have the same. `start`: the name and "=". */
static struct bytes cookie_set(const struct control_request *r, const char *start, size_t len)
{
	for (size_t i = 0; i < r->fields.count; i++) {
		struct bytes value = r->fields.list[i].value;

		if (bytes_starts_with(value, bytes_str(start)))
			return bytes_first(bytes_from(value, strlen(start)), len);
	}
	return BYTES_NONE;
}

/* Before anybody is signed in, a form must bring back what a cookie of this host says. */
const char *desk_form_token(struct ask *a)
{
	struct control_request *r = a->request;
	struct bytes have = access_cookie(&r->head.fields, FORM_COOKIE);
	char token[SIGNIN_TOKEN_SIZE];

	if (have.len != SIGNIN_TOKEN_SIZE - 1)
		have = cookie_set(r, FORM_COOKIE "=", SIGNIN_TOKEN_SIZE - 1);
	if (have.len == SIGNIN_TOKEN_SIZE - 1)
		return arena_strdup(&r->arena, have);
	signin_random_token(token);
	answer_field(r, "Set-Cookie",
		     arena_printf(&r->arena,
				  FORM_COOKIE
				  "=%s; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=3600",
				  token));
	return arena_strdup(&r->arena, bytes_str(token));
}

bool desk_form_is_right(struct ask *a, const struct query *form)
{
	struct bytes have = access_cookie(&a->request->head.fields, FORM_COOKIE);
	const char *sent = query_find(form, "csrf");

	return sent && have.len == SIGNIN_TOKEN_SIZE - 1 && secret_bytes_eq(have, bytes_str(sent));
}

/* The ways an application allows, else all there are. */
static const struct access_provider *provider_at(struct ask *a, const struct desk_visit *v, size_t i)
{
	const struct access_view *view = desk_view(a->control->desk, NULL);
	const struct access_provider *all;
	size_t count;

	if (v->app->provider_count)
		return i < v->app->provider_count ? v->app->providers[i] : NULL;
	all = access_set_providers(access_view_set(view), &count);
	return i < count ? &all[i] : NULL;
}

/* What stands on the page for each kind. */
static const char *const forms[] = {
	[PROVIDER_PIN] = "access_pin.html",
	[PROVIDER_PASSWORD] = "access_password.html",
	[PROVIDER_OIDC] = "access_provider.html",
	[PROVIDER_GITHUB] = "access_provider.html",
	[PROVIDER_PASSKEY] = NULL,
};

/* Forms say where they go: the page may be the end of a sign-in that did not work, at another address. */
static struct bytes way(struct ask *a, const struct desk_visit *v, const struct access_provider *p)
{
	const struct page_value values[] = {
		{ "action", desk_login_path(a, v, v->wants_purpose), false },
		{ "id", bytes_str(p->id), false },
		{ "name", bytes_str(p->name), false },
		{ "csrf", bytes_str(desk_form_token(a)), false },
	};

	if (p->type == PROVIDER_PASSKEY)
		return desk_passkey_way(a, v, p);
	return page_fill(&a->request->arena, forms[p->type], values, ARRAY_LEN(values));
}

enum ask_result desk_sign_in_page(struct ask *a, int status, const struct desk_visit *v,
				  const char *problem)
{
	struct arena *arena = &a->request->arena;
	const struct access_provider *p;
	struct bytes buttons = BYTES_NONE, others = BYTES_NONE;
	bool has_script = false;

	/* What takes one press comes before what has to be typed. */
	for (size_t i = 0; (p = provider_at(a, v, i)); i++) {
		bool has_fields = p->type == PROVIDER_PIN || p->type == PROVIDER_PASSWORD;
		struct bytes *html = has_fields ? &others : &buttons, one = way(a, v, p);

		*html = arena_printf(arena, BYTES_FMT BYTES_FMT, BYTES_ARG(*html), BYTES_ARG(one));
		has_script = has_script || p->type == PROVIDER_PASSKEY;
	}
	if (!buttons.len && !others.len && !problem)
		problem =
			"No way to sign in has been set up here. The administrator of this edge can "
			"add one.";
	const struct page_value values[] = {
		{ "app", bytes_str(v->app->name), false },
		{ "host", bytes_str(v->host), false },
		{ "notice", desk_notice(a, problem), true },
		{ "buttons", buttons, true },
		{ "others", others, true },
	};
	return desk_page(a, status, "Sign in",
			 page_fill(arena, "access_sign_in.html", values, ARRAY_LEN(values)),
			 has_script);
}

static bool is_on_the_web(const struct access_provider *p)
{
	return p->type == PROVIDER_OIDC || p->type == PROVIDER_GITHUB;
}

enum ask_result desk_sign_in(struct ask *a, const struct desk_visit *v)
{
	const struct access_provider *only = provider_at(a, v, 0);

	if (v->app->redirects_at_once && only && !provider_at(a, v, 1) && is_on_the_web(only))
		return desk_oauth_post(a, v, only);
	return desk_sign_in_page(a, 200, v, NULL);
}

/* --- Passwords ----------------------------------------------------------------------------------- */

static const struct access_provider *provider_of_form(struct ask *a, const struct desk_visit *v,
						      const struct query *form)
{
	const char *id = query_find(form, "provider");
	const struct access_provider *p;

	for (size_t i = 0; id && (p = provider_at(a, v, i)); i++)
		if (strcmp(p->id, id) == 0)
			return p;
	return NULL;
}

#define DEVICE_COOKIE "__Host-CF_Device"
#define DEVICE_BYTES (SIGNIN_TOKEN_SIZE - 1)

struct bytes desk_device(struct ask *a)
{
	struct control_request *r = a->request;
	struct bytes have = access_cookie(&r->head.fields, DEVICE_COOKIE);
	char token[SIGNIN_TOKEN_SIZE];

	if (have.len != DEVICE_BYTES)
		have = cookie_set(r, DEVICE_COOKIE "=", DEVICE_BYTES);
	if (have.len == DEVICE_BYTES)
		return have;
	signin_random_token(token);
	answer_field(r, "Set-Cookie",
		     arena_printf(&r->arena,
				  DEVICE_COOKIE "=%s; Path=/; Secure; HttpOnly; SameSite=Strict; "
						"Max-Age=2592000",
				  token));
	return arena_copy(&r->arena, bytes_str(token));
}

static bool too_many(struct ask *a, const struct desk_visit *v, int wait)
{
	log_warn(COMPONENT, "too many sign-in attempts", LOG_BYTES("ip", a->request->client_ip));
	access_count_signin("any", "limited");
	answer_field(a->request, "Retry-After", arena_printf(&a->request->arena, "%d", wait));
	(void)desk_sign_in_page(a, 429, v, "Too many attempts. Wait a little, then try again.");
	return false;
}

bool desk_may_try(struct ask *a, const struct desk_visit *v, bool is_costly)
{
	struct control_request *r = a->request;
	int wait = 0;

	if (is_costly ? signin_try(a->control->signin, r->client_ip, clock_now(), &wait)
		      : signin_try_network(a->control->signin, r->client_ip, clock_now(), &wait))
		return true;
	return too_many(a, v, wait);
}

void desk_try_worked(struct ask *a, const char *email)
{
	signin_try_worked(a->control->signin, a->request->client_ip);
	tries_worked(desk_tries(a->control->desk), desk_device(a), bytes_str(email));
}

/* In their own browser a person may try whatever others do meanwhile. */
static bool may_try_password(struct ask *a, const struct desk_visit *v, const char *email)
{
	struct tries *tries = desk_tries(a->control->desk);
	struct bytes who = bytes_str(email), device = desk_device(a);

	if (!tries_is_own(tries, device, who) && !desk_may_try(a, v, true))
		return false;
	return tries_password(tries, device, who, clock_now()) || too_many(a, v, 60);
}

static enum ask_result password(struct ask *a, const struct desk_visit *v, const struct query *form,
				const struct access_provider *p)
{
	const char *given = query_find(form, "email"), *word = query_find(form, "password");
	char email[NAME_EMAIL_BYTES + 1];
	struct err err = { 0 };
	int r;

	if (!given || !word || strlen(word) > PASSWORD_BYTES_MAX)
		return desk_sign_in_page(a, 400, v,
					 "Both an e-mail address and a password are needed.");
	/* What is no address is looked for all the same: nobody has it, and it takes as long. */
	if (name_email(given, email, NULL) < 0)
		email[0] = 0;
	if (!may_try_password(a, v, email))
		return ASK_ANSWERED;
	r = store_person_check(a->control->store, email, word, &err);
	if (r < 0) {
		if (r != E_DENIED)
			log_error(COMPONENT, "sign-in failed", LOG_STR("error", err.text));
		desk_audit(a, "login", email, v->app->name, "wrong password", "{}");
		access_count_signin(p->kind, "failed");
		return desk_sign_in_page(a, 403, v, "The e-mail address or the password is wrong.");
	}
	desk_try_worked(a, email);
	return desk_signed_in(a, v, email, "", p->id, json_pack("{s:[s]}", "amr", "pwd"));
}

/* --- Posted forms -------------------------------------------------------------------------------- */

enum ask_result desk_sign_in_post(struct ask *a, const struct desk_visit *v)
{
	const struct access_provider *p;
	struct query form;

	if (query_parse(a->request->body, &a->request->arena, &form) < 0)
		return desk_sign_in_page(a, 400, v, "What your browser sent is no form of ours.");
	if (!desk_form_is_right(a, &form))
		return desk_sign_in_page(
			a, 403, v,
			"The form was too old, or your browser keeps no cookies. Please try again.");
	if (query_find(&form, "purpose")) {
		struct desk_visit said = *v;

		said.purpose = query_find(&form, "purpose");
		return desk_visit_again(a, &said);
	}
	p = provider_of_form(a, v, &form);
	if (p && p->type == PROVIDER_PASSWORD)
		return password(a, v, &form, p);
	if (p && p->type == PROVIDER_PIN)
		return desk_pin_post(a, v, &form, p);
	if (p && p->type == PROVIDER_PASSKEY)
		return desk_passkey_post(a, v, &form, p);
	if (p && is_on_the_web(p))
		return desk_oauth_post(a, v, p);
	return desk_sign_in_page(a, 400, v, "This application does not allow that way to sign in.");
}
