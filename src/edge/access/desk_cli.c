/* A command line asks for tokens (CONTROL §5.4): its person signs in with a browser and approves, and what it gets is
 * sealed for its key and fetched from the login store.
 *
 * Anybody may send somebody a link to this page, with a key of their own. So nothing happens without a press of the
 * button, and the page shows a code that the command line shows, too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/box.h"
#include "base/encode.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "edge/access/credentials.h"
#include "edge/access/desk.h"
#include "edge/access/identity.h"
#include "edge/control/login_store.h"
#include "edge/control/page.h"

#define COMPONENT "edge/access"
#define TITLE "Sign in a command line"
#define STATE_SIZE (2 * HASH_SHA256_BYTES + 1)
#define SESSION_RAW 24
#define SESSION_TEXT 32

/* What is asked for, and by whom. In the request's arena. */
struct cli_visit {
	const struct access_app *app;
	const char *key;            /* base64 of the command line's public key */
	uint8_t raw[BOX_KEY_BYTES]; /* of that */
	bool wants_org, wants_close;
	struct desk_session session; /* of the browser */
};

static enum ask_result bad_link(struct ask *a)
{
	return desk_message(a, 400, "This link is not valid",
			    "It was changed, or the application it was made for is gone. Start the "
			    "command once more.",
			    "/", "Go to the start");
}

static bool app_is_here(struct ask *a, const struct access_app *app)
{
	struct bytes host = head_host(a->request->head.authority, &a->request->arena);

	for (size_t i = 0; i < app->place_count; i++) {
		struct access_place place = app->places[i];

		place.path = BYTES_NONE;
		if (access_place_holds(&place, host, BYTES_NONE, false))
			return true;
	}
	return false;
}

static bool says(struct ask *a, const char *name)
{
	const char *text = query_find(&a->query, name);

	return text && strcmp(text, "true") == 0;
}

/* False after having answered. */
static bool read_query(struct ask *a, struct cli_visit *v)
{
	const char *aud = query_find(&a->query, "aud"), *key = query_find(&a->query, "token");
	uint8_t raw[LOGIN_KEY_BYTES];
	struct err err = { 0 };
	const struct access_view *view = desk_view(a->control->desk, &err);
	size_t len;

	*v = (struct cli_visit){ .key = key };
	if (!view) {
		(void)desk_not_ready(a, &err);
		return false;
	}
	v->app = aud ? access_set_app(access_view_set(view), bytes_str(aud)) : NULL;
	if (!v->app || !app_is_here(a, v->app) || !key || !login_key_is_valid(bytes_str(key)) ||
	    !base64_decode(BASE64_URL, bytes_str(key), raw, &len) || len != sizeof(v->raw)) {
		(void)bad_link(a);
		return false;
	}
	memcpy(v->raw, raw, sizeof(v->raw));
	v->wants_org = says(a, "send_org_token");
	v->wants_close = says(a, "close_interstitial");
	return true;
}

/* --- Whose browser it is ---------------------------------------------------------------------------- */

static void state_of(struct bytes session, char text[STATE_SIZE])
{
	uint8_t hash[HASH_SHA256_BYTES];

	hash_sha256(session, hash);
	hex_encode(bytes_of(hash, sizeof(hash)), text);
	text[STATE_SIZE - 1] = 0;
}

/* As the gate looks at it: a cookie that another host planted is none. */
static bool is_of_browser(struct ask *a, const struct access_claims *claims)
{
	struct bytes session = access_own_cookie(&a->request->head.fields, ACCESS_APP_COOKIE);
	json_t *all = json_loadb((const char *)claims->json.ptr, claims->json.len, 0, NULL);
	const char *state = json_string_value(json_object_get(all, "state"));
	char own[STATE_SIZE];
	bool is_own;

	state_of(session, own);
	is_own = session.len && state && secret_bytes_eq(bytes_str(own), bytes_str(state));
	json_decref(all);
	return is_own;
}

static bool find_session(struct ask *a, struct cli_visit *v)
{
	struct bytes token = access_cookie(&a->request->head.fields, ACCESS_COOKIE);
	struct access_claims claims;

	return token.len && desk_app_of_token(a, TOKEN_APP, token, &claims) == v->app &&
	       is_of_browser(a, &claims) &&
	       desk_session_find(a->control->desk, arena_strdup(&a->request->arena, claims.session),
				 &v->session);
}

/* The same two cookies that the gate sets where somebody comes without. */
static struct bytes browser_session(struct ask *a, const struct access_app *app)
{
	struct control_request *r = a->request;
	struct bytes have = access_own_cookie(&r->head.fields, ACCESS_APP_COOKIE);
	uint8_t raw[SESSION_RAW];
	char text[SESSION_TEXT + 1];

	if (have.len == SESSION_TEXT)
		return have;
	random_bytes(raw, sizeof(raw));
	base64_encode(BASE64_URL_RAW, bytes_of(raw, sizeof(raw)), text);
	have = arena_copy(&r->arena, bytes_of(text, SESSION_TEXT));
	answer_field(r, "Set-Cookie",
		     arena_printf(&r->arena,
				  ACCESS_APP_COOKIE "=" BYTES_FMT "; Path=/; Secure; HttpOnly; "
						    "SameSite=Lax; Max-Age=86400",
				  BYTES_ARG(have)));
	answer_field(r, "Set-Cookie",
		     arena_printf(&r->arena,
				  ACCESS_HOST_PREFIX ACCESS_APP_COOKIE
				  "=" BYTES_FMT "; Path=/; Secure; HttpOnly; SameSite=%s; "
				  "Max-Age=2764800",
				  BYTES_ARG(have),
				  app->same_site == SAME_SITE_NONE ? "None" : "Lax"));
	return have;
}

/* To the sign-in page, and from there back to here. */
static enum ask_result sign_in_first(struct ask *a, const struct access_app *app, bool wants_purpose)
{
	struct control_request *r = a->request;
	char state[STATE_SIZE];
	struct desk_visit v = {
		.app = app,
		.host = arena_strdup(&r->arena, r->head.authority),
		.redirect = arena_strdup(&r->arena, r->head.path),
		.state = state,
	};

	state_of(browser_session(a, app), state);
	struct bytes path = desk_login_path(a, &v, wants_purpose);
	answer_field(
		r, "Location",
		arena_printf(&r->arena, "%s" BYTES_FMT, a->control->public_url, BYTES_ARG(path)));
	return answer(r, 302, "text/plain; charset=utf-8", BYTES_LIT("Sign in first.\n"));
}

/* --- Approving ---------------------------------------------------------------------------------------- */

/* Of its key: both sides show it (connector/cli/sign_in.c). */
static void code_of(const struct cli_visit *v, char text[10])
{
	uint8_t hash[HASH_SHA256_BYTES];
	char hex[8];

	hash_sha256(bytes_of(v->raw, sizeof(v->raw)), hash);
	hex_encode(bytes_of(hash, sizeof(hex) / 2), hex);
	(void)snprintf(text, 10, "%.4s-%.4s", hex, hex + 4);
}

static enum ask_result ask_person(struct ask *a, const struct cli_visit *v, int status,
				  const char *problem)
{
	char code[10];

	code_of(v, code);
	const struct page_value values[] = {
		{ "app", bytes_str(v->app->name), false },
		{ "host", a->request->head.authority, false },
		{ "email", bytes_str(v->session.email), false },
		{ "code", bytes_str(code), false },
		{ "csrf", bytes_str(desk_form_token(a)), false },
		{ "notice", desk_notice(a, problem), true },
	};
	return desk_page(a, status, TITLE,
			 page_fill(&a->request->arena, "access_cli.html", values, ARRAY_LEN(values)),
			 false);
}

/* Seals both tokens for the command line's key and leaves them where it waits. */
static int hand_over(struct ask *a, const struct cli_visit *v, const char *app_token,
		     const char *org_token, struct err *err)
{
	json_t *object = json_pack("{s:s, s:s*}", "app_token", app_token, "org_token", org_token);
	char *text = json_dumps(object, JSON_COMPACT), *sealed, *sender;
	struct box_keys keys;
	struct buf box;
	int r = box_keys_new(&keys, err);

	buf_init(&box, strlen(text) + BOX_OVERHEAD);
	if (r == 0) {
		r = box_seal(&keys, v->raw, bytes_str(text), &box);
		if (r < 0)
			err_set(err, r, "the key of the command line is none");
	}
	if (r == 0) {
		sealed = base64_text(BASE64_STD, buf_bytes(&box));
		sender = base64_text(BASE64_URL, bytes_of(keys.public_key, BOX_KEY_BYTES));
		login_store_put_sealed(a->control->logins, bytes_str(v->key), sealed, sender,
				       clock_now());
		mem_free(sealed);
		mem_free(sender);
	}
	buf_done(&box);
	secret_wipe(&keys, sizeof(keys));
	secret_wipe(text, strlen(text));
	free(text); /* allowed: jansson took it from malloc */
	json_decref(object);
	return r;
}

static enum ask_result done_page(struct ask *a, bool wants_close)
{
	const struct page_value values[] = {
		{ "script",
		  wants_close ? BYTES_LIT("<script src=\"/cdn-cgi/access/assets/close.js\" "
					  "defer></script>")
			      : BYTES_NONE,
		  true },
	};

	return desk_page(
		a, 200, "Signed in",
		page_fill(&a->request->arena, "access_cli_done.html", values, ARRAY_LEN(values)),
		wants_close);
}

static enum ask_result on_judged(struct ask *a, const struct desk_judged *j, void *ctx)
{
	const struct cli_visit *v = ctx;
	struct err err = { 0 };
	char *app_token, *org_token = NULL;
	int r = 0;

	if (j->verdict.outcome != ACCESS_ALLOWED)
		return desk_message(a, 403, "That account does not have access",
				    "The rules have changed since you signed in.",
				    "/cdn-cgi/access/logout", "Sign out");
	if (j->verdict.policy->asks_purpose && !j->purpose_until)
		return sign_in_first(a, j->app, true);
	app_token = desk_app_token(a, j, &err);
	if (app_token && v->wants_org)
		org_token = desk_org_token(a, j->session, &err);
	if (!app_token || (v->wants_org && !org_token))
		r = err.code;
	else
		r = hand_over(a, v, app_token, org_token, &err);
	mem_free(app_token);
	mem_free(org_token);
	if (r < 0)
		return r == E_INVALID ? bad_link(a) : desk_not_ready(a, &err);
	log_info(COMPONENT, "command line signed in", LOG_STR("user", j->session->email),
		 LOG_STR("app", j->app->name), LOG_BYTES("ip", a->request->client_ip));
	desk_audit(a, "login.cli", j->session->email, j->app->name, "approved", "{}");
	return done_page(a, v->wants_close);
}

static enum ask_result posted(struct ask *a, struct cli_visit *v)
{
	struct query form;

	if (query_parse(a->request->body, &a->request->arena, &form) < 0 ||
	    !desk_form_is_right(a, &form))
		return ask_person(a, v, 403,
				  "The form was too old, or your browser keeps no cookies. Please "
				  "try again.");
	return desk_judge(a, v->app, &v->session, NULL, 0, on_judged, v);
}

enum ask_result desk_cli(struct ask *a)
{
	struct cli_visit *v = arena_alloc(&a->request->arena, sizeof(*v));
	enum ask_result result;

	if (!read_query(a, v))
		return ASK_ANSWERED;
	if (!find_session(a, v))
		return sign_in_first(a, v->app, false);
	result = bytes_eq(a->request->head.method, BYTES_LIT("POST")) ? posted(a, v)
								      : ask_person(a, v, 200, NULL);
	desk_session_done(&v->session);
	return result;
}
