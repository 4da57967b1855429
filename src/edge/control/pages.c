/* The pages of the control host: what this is, signing in, approving a login. No JavaScript. */
#include <string.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/control/login_store.h"
#include "edge/control/page.h"
#include "edge/control/signin.h"
#include "store/names.h"

/* __Host-: only this very host may have set them, over TLS; a tunnel's service on a neighbouring name
 * cannot plant one (RFC 6265bis §4.1.3.2). */
#define SESSION_COOKIE "__Host-adit-session"
#define FORM_COOKIE "__Host-adit-form"
#define PASSWORD_BYTES_MAX 1024
/* The list of zones on the approval page: about a thousand. */
#define CHOICES_BYTES_MAX (256 * 1024)

/* --- Cookies -------------------------------------------------------------------------------- */

static struct bytes cookie(const struct control_request *r, const char *name)
{
	for (size_t i = 0; i < r->head.fields.count; i++) {
		const struct field *f = &r->head.fields.list[i];
		struct bytes rest = f->value, part;

		/* HTTP/2 may send one field per cookie. */
		if (!bytes_eq_nocase(f->name, BYTES_LIT("cookie")))
			continue;
		while (bytes_split(&rest, ';', &part)) {
			part = bytes_trim(part);
			size_t equals = bytes_index(part, '=');
			if (bytes_eq(bytes_first(part, equals), bytes_str(name)))
				return bytes_from(part, equals + 1);
		}
	}
	return BYTES_NONE;
}

static void set_cookie(struct control_request *r, const char *name, const char *value, int seconds)
{
	answer_field(r, "Set-Cookie",
		     arena_printf(&r->arena,
				  "%s=%s; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=%d", name,
				  value, seconds));
}

static const struct signin_session *session_of(struct ask *a)
{
	return signin_find(a->control->signin, cookie(a->request, SESSION_COOKIE), clock_now());
}

/* Before anybody is signed in, a form must bring back what a cookie of this host says. */
static const char *form_token(struct ask *a)
{
	struct control_request *r = a->request;
	struct bytes have = cookie(r, FORM_COOKIE);
	uint8_t raw[SIGNIN_TOKEN_SIZE];
	char token[SIGNIN_TOKEN_SIZE];
	size_t len;

	if (have.len == SIGNIN_TOKEN_SIZE - 1 && base64_decode(BASE64_URL_RAW, have, raw, &len))
		return arena_strdup(&r->arena, have);
	signin_random_token(token);
	set_cookie(r, FORM_COOKIE, token, 3600);
	return arena_strdup(&r->arena, bytes_str(token));
}

static bool form_token_is_right(struct ask *a, const struct query *form)
{
	struct bytes have = cookie(a->request, FORM_COOKIE);
	const char *sent = query_find(form, "csrf");

	return sent && have.len == SIGNIN_TOKEN_SIZE - 1 && secret_bytes_eq(have, bytes_str(sent));
}

static bool session_token_is_right(const struct signin_session *session, const struct query *form)
{
	const char *sent = query_find(form, "csrf");

	return sent && secret_bytes_eq(bytes_str(session->csrf), bytes_str(sent));
}

/* --- Small pages ---------------------------------------------------------------------------- */

static enum ask_result redirect(struct ask *a, const char *to)
{
	answer_field(a->request, "Location", arena_copy(&a->request->arena, bytes_str(to)));
	return answer(a->request, 303, "text/plain; charset=utf-8",
		      BYTES_LIT("See the Location field\n"));
}

static enum ask_result message(struct ask *a, int status, const char *title, const char *text,
			       const char *href, const char *link)
{
	const struct page_value values[] = {
		{ "title", bytes_str(title), false },
		{ "text", bytes_str(text), false },
		{ "href", bytes_str(href), false },
		{ "link", bytes_str(link), false },
	};
	struct bytes body = page_fill(&a->request->arena, "message.html", values, ARRAY_LEN(values));

	return page_answer(a, status, title, body, session_of(a));
}

static enum ask_result form_is_old(struct ask *a)
{
	return message(a, 403, "This form is too old",
		       "The form you sent does not belong to your session. Nothing was changed.",
		       "/", "Start again");
}

/* The posted form; false after having answered. */
static bool read_form(struct ask *a, struct query *ret)
{
	struct bytes body = a->request->body;

	if (body.len <= LIMIT_API_BODY_BYTES && query_parse(body, &a->request->arena, ret) == 0)
		return true;
	(void)message(a, 400, "This form cannot be read",
		      "What your browser sent is no form of ours.", "/", "Start again");
	return false;
}

static struct bytes notice(struct ask *a, const char *text)
{
	const struct page_value values[] = { { "text", bytes_str(text), false } };

	return text ? page_fill(&a->request->arena, "notice.html", values, 1) : BYTES_NONE;
}

/* --- Home ----------------------------------------------------------------------------------- */

static struct bytes url_authority(const char *url)
{
	return bytes_from(bytes_str(url), strlen("https://"));
}

/* "adit.example.com" lives in "example.com": good enough for an example on a page. */
static struct bytes example_zone(struct ask *a)
{
	struct bytes host = head_host(url_authority(a->control->public_url), &a->request->arena);
	struct bytes parent = bytes_from(host, bytes_index(host, '.') + 1);

	return bytes_index(parent, '.') < parent.len ? parent : BYTES_LIT("example.com");
}

static struct bytes zone_names(struct ask *a)
{
	struct store_zone *zones;
	struct bytes names = BYTES_NONE;
	size_t count;

	if (store_zone_list(a->control->store, &zones, &count, NULL) < 0)
		return names;
	for (size_t i = 0; i < count; i++) {
		if (names.len < 2000)
			names = arena_printf(&a->request->arena, BYTES_FMT "%s%s", BYTES_ARG(names),
					     names.len ? ", " : "", zones[i].name);
		store_zone_done(&zones[i]);
	}
	mem_free(zones);
	return names;
}

static enum ask_result home(struct ask *a)
{
	struct arena *arena = &a->request->arena;
	const struct signin_session *session = session_of(a);
	struct bytes zones = BYTES_NONE;

	if (session) {
		const struct page_value values[] = { { "zones", zone_names(a), false } };
		zones = page_fill(arena, "home_zones.html", values, 1);
	}
	const struct page_value values[] = {
		{ "zones", zones, true },
		{ "url", bytes_str(a->control->public_url), false },
		{ "zone", example_zone(a), false },
	};
	return page_answer(a, 200, "An edge",
			   page_fill(arena, "home.html", values, ARRAY_LEN(values)), session);
}

static enum ask_result asset(struct ask *a)
{
	static const struct {
		const char *name, *type;
	} served[] = {
		{ "style.css", "text/css; charset=utf-8" },
		{ "icon.svg", "image/svg+xml" },
	};

	for (size_t i = 0; i < ARRAY_LEN(served); i++) {
		if (!bytes_eq(a->args[0], bytes_str(served[i].name)))
			continue;
		answer_field(a->request, "Cache-Control", BYTES_LIT("public, max-age=600"));
		return answer(a->request, 200, served[i].type, page_asset(served[i].name));
	}
	return answer_text(a->request, 404, "There is no such file\n");
}

/* --- Signing in ----------------------------------------------------------------------------- */

/* Where to go afterwards: only pages of ours, whatever a link says. */
static const char *local_target(const char *next)
{
	if (next && (!strcmp(next, "/argotunnel") || !strncmp(next, "/argotunnel?", 12)) &&
	    head_value_is_valid(bytes_str(next)))
		return next;
	return "/";
}

static enum ask_result sign_in_page(struct ask *a, int status, const char *next, const char *email,
				    const char *problem)
{
	bool is_login = strcmp(local_target(next), "/") != 0;
	const struct page_value values[] = {
		{ "reason",
		  is_login ? BYTES_LIT("A machine asks for a certificate of this edge. Only its "
				       "administrators can give one.")
			   : BYTES_LIT("For the administrators of this edge."),
		  false },
		{ "notice", notice(a, problem), true },
		{ "csrf", bytes_str(form_token(a)), false },
		{ "next", bytes_str(local_target(next)), false },
		{ "email", bytes_str(email), false },
	};

	return page_answer(a, status, "Sign in",
			   page_fill(&a->request->arena, "sign_in.html", values, ARRAY_LEN(values)),
			   NULL);
}

static enum ask_result sign_in_get(struct ask *a)
{
	if (session_of(a))
		return redirect(a, "/");
	return sign_in_page(a, 200, "/", "", NULL);
}

static enum ask_result signed_in(struct ask *a, const char *email, const char *next)
{
	const struct signin_session *session = signin_open(a->control->signin, email, clock_now());

	signin_try_worked(a->control->signin, a->request->client_ip);
	set_cookie(a->request, SESSION_COOKIE, session->token, SIGNIN_SECONDS);
	log_info("edge/control", "administrator signed in", LOG_STR("user", email),
		 LOG_BYTES("ip", a->request->client_ip));
	return redirect(a, local_target(next));
}

/* The form's cookie is gone, or it came from somewhere else. */
#define FORM_TOO_OLD "The form was too old, or your browser keeps no cookies. Please try again."

/* Counts the try; false after having answered. */
static bool may_try(struct ask *a, const char *next, const char *email)
{
	struct control_request *r = a->request;
	int wait = 0;

	if (signin_try(a->control->signin, r->client_ip, clock_now(), &wait))
		return true;
	log_warn("edge/control", "too many sign-in attempts", LOG_BYTES("ip", r->client_ip));
	answer_field(r, "Retry-After", arena_printf(&r->arena, "%d", wait));
	struct bytes text =
		arena_printf(&r->arena, "Too many attempts. Wait %d second%s, then try again.",
			     wait, wait == 1 ? "" : "s");
	(void)sign_in_page(a, 429, next, email, arena_strdup(&r->arena, text));
	return false;
}

static enum ask_result sign_in_post(struct ask *a)
{
	struct err err = { 0 };
	struct query form;
	const char *email, *password, *next;
	int rc;

	if (!read_form(a, &form))
		return ASK_ANSWERED;
	email = query_find(&form, "email");
	password = query_find(&form, "password");
	next = query_find(&form, "next");
	if (!form_token_is_right(a, &form))
		return sign_in_page(a, 403, next, "", FORM_TOO_OLD);
	if (!email || !password || strlen(email) > NAME_EMAIL_BYTES ||
	    strlen(password) > PASSWORD_BYTES_MAX)
		return sign_in_page(a, 400, next, "",
				    "Both an e-mail address and a password are needed.");
	if (!may_try(a, next, email))
		return ASK_ANSWERED;
	rc = store_user_check(a->control->store, email, password, &err);
	if (rc == 0) {
		char folded[NAME_EMAIL_BYTES + 1];

		if (name_email(email, folded, &err) == 0)
			return signed_in(a, folded, next);
	}
	if (rc != E_DENIED && rc != E_INVALID)
		log_error("edge/control", "sign-in failed", LOG_STR("error", err.text));
	else
		log_warn("edge/control", "wrong password", LOG_BYTES("ip", a->request->client_ip));
	return sign_in_page(a, 403, next, email, "The e-mail address or the password is wrong.");
}

static enum ask_result link_get(struct ask *a)
{
	const char *token = query_find(&a->query, "token");

	/* A link may be fetched by whatever previews messages: only the button uses it up. */
	if (!token || !token[0])
		return sign_in_page(a, 200, "/", "", NULL);
	const struct page_value values[] = {
		{ "csrf", bytes_str(form_token(a)), false },
		{ "token", bytes_str(token), false },
	};
	return page_answer(a, 200, "Sign in",
			   page_fill(&a->request->arena, "link.html", values, ARRAY_LEN(values)),
			   NULL);
}

/* People paste the whole link as well as the code in it. */
static const char *link_code(struct ask *a, const char *pasted)
{
	const char *at = strstr(pasted, "token=");
	struct bytes code = bytes_trim(bytes_str(at ? at + 6 : pasted));

	return arena_strdup(&a->request->arena, bytes_first(code, bytes_index(code, '&')));
}

static enum ask_result link_post(struct ask *a)
{
	struct err err = { 0 };
	struct query form;
	const char *token, *next;
	enum ask_result result;
	char *email;

	if (!read_form(a, &form))
		return ASK_ANSWERED;
	token = query_find(&form, "token");
	next = query_find(&form, "next");
	if (!form_token_is_right(a, &form))
		return sign_in_page(a, 403, next, "", FORM_TOO_OLD);
	if (!token || !token[0])
		return sign_in_page(a, 400, next, "", "The link is missing.");
	if (!may_try(a, next, ""))
		return ASK_ANSWERED;
	email = store_link_use(a->control->store, link_code(a, token), &err);
	if (!email)
		return sign_in_page(a, 403, next, "",
				    "This link was used already, is too old, or never existed. "
				    "On the edge, adit-edge user link E-MAIL makes a new one.");
	result = signed_in(a, email, next);
	mem_free(email);
	return result;
}

static enum ask_result sign_out(struct ask *a)
{
	const struct signin_session *session = session_of(a);
	struct query form;

	if (!read_form(a, &form))
		return ASK_ANSWERED;
	if (session) {
		if (!session_token_is_right(session, &form))
			return form_is_old(a);
		signin_close(a->control->signin, cookie(a->request, SESSION_COOKIE));
	}
	set_cookie(a->request, SESSION_COOKIE, "", 0);
	return redirect(a, "/");
}

/* --- `adit tunnel login` -------------------------------------------------------------------- */

/* The key of a callback that is our own store ("https://HOST/login/KEY"), else BYTES_NONE. We deliver
 * nowhere else: an address in a link must not make the edge send a certificate to it. */
static struct bytes callback_key(struct ask *a, const char *callback)
{
	struct bytes rest = bytes_str(callback ? callback : ""), key;
	struct bytes ours = url_authority(a->control->public_url), host;

	if (!bytes_starts_with(rest, BYTES_LIT("https://")))
		return BYTES_NONE;
	rest = bytes_from(rest, 8);
	host = bytes_first(rest, bytes_index(rest, '/'));
	rest = bytes_from(rest, host.len);
	if (!bytes_eq_nocase(host, ours) && !bytes_eq_nocase(host, a->request->head.authority))
		return BYTES_NONE;
	if (!bytes_starts_with(rest, BYTES_LIT("/login/")) ||
	    query_decode(bytes_from(rest, 7), false, &a->request->arena, &key) < 0 ||
	    !login_key_is_valid(key))
		return BYTES_NONE;
	return key;
}

static struct bytes zone_choices(struct ask *a, struct err *err)
{
	struct arena *arena = &a->request->arena;
	struct store_zone *zones;
	struct bytes html;
	struct buf all;
	size_t count;

	if (store_zone_list(a->control->store, &zones, &count, err) < 0)
		return BYTES_NONE;
	buf_init(&all, CHOICES_BYTES_MAX);
	for (size_t i = 0; i < count; i++) {
		char id[33];

		zone_id_text(&zones[i].id, id);
		const struct page_value values[] = {
			{ "id", bytes_of(id, 32), false },
			{ "name", bytes_str(zones[i].name), false },
			{ "checked", count == 1 ? BYTES_LIT("checked") : BYTES_NONE, false },
		};
		struct bytes choice =
			page_fill(arena, "approve_zone.html", values, ARRAY_LEN(values));
		/* More zones than fit are beyond a page; `adit-edge cert` takes any. */
		if (buf_append(&all, choice) < 0)
			log_debug("edge/control", "zone left off the page",
				  LOG_STR("zone", zones[i].name));
		store_zone_done(&zones[i]);
	}
	mem_free(zones);
	html = arena_copy(arena, buf_bytes(&all));
	buf_done(&all);
	if (count == 0)
		err_set(err, E_NOT_FOUND,
			"This edge has no zone yet; adit-edge zone add makes one.");
	return html;
}

static enum ask_result approve_page(struct ask *a, int status, const struct signin_session *session,
				    const char *callback, const char *problem)
{
	struct arena *arena = &a->request->arena;
	struct bytes key = callback_key(a, callback);
	struct err err = { 0 };
	struct bytes zones = zone_choices(a, &err);

	const struct page_value key_value = { "key", bytes_from(key, key.len > 9 ? key.len - 9 : 0),
					      false };
	const struct page_value values[] = {
		{ "csrf", bytes_str(session->csrf), false },
		{ "callback", bytes_str(callback ? callback : ""), false },
		{ "notice", notice(a, err.code ? err.text : problem), true },
		{ "zones", zones, true },
		{ "action",
		  page_fill(arena, key.len ? "approve_deliver.html" : "approve_download.html",
			    &key_value, 1),
		  true },
	};

	return page_answer(a, status, "Authorize a tunnel",
			   page_fill(arena, "approve.html", values, ARRAY_LEN(values)), session);
}

static enum ask_result argotunnel_get(struct ask *a)
{
	const struct signin_session *session = session_of(a);
	const char *callback = query_find(&a->query, "callback");

	if (!session)
		return sign_in_page(a, 200, arena_strdup(&a->request->arena, a->request->head.path),
				    "", NULL);
	return approve_page(a, 200, session, callback, NULL);
}

static enum ask_result hand_over(struct ask *a, const struct signin_session *session,
				 const struct store_zone *zone, struct bytes key)
{
	struct control_request *r = a->request;
	struct err err = { 0 };
	struct bytes note = arena_printf(&r->arena, "login by %.180s", session->email);
	char *pem = credentials_cert_pem(a->control, zone, arena_strdup(&r->arena, note), &err);
	enum ask_result result;

	if (!pem) {
		log_error("edge/control", "no certificate made", LOG_STR("error", err.text));
		return message(a, 500, "This did not work", "The edge's log says why.",
			       "/argotunnel", "Try again");
	}
	log_info("edge/control", "login certificate given out", LOG_STR("zone", zone->name),
		 LOG_STR("user", session->email), LOG_BYTES("ip", r->client_ip));
	if (key.len) {
		const struct page_value values[] = { { "zone", bytes_str(zone->name), false } };

		login_store_put(a->control->logins, key, pem, clock_now());
		result = page_answer(a, 200, "Authorized",
				     page_fill(&r->arena, "done.html", values, 1), session);
	} else {
		answer_field(r, "Content-Disposition",
			     BYTES_LIT("attachment; filename=\"cert.pem\""));
		result = answer(r, 200, "application/x-pem-file",
				arena_copy(&r->arena, bytes_str(pem)));
	}
	credentials_text_free(pem);
	return result;
}

static enum ask_result argotunnel_post(struct ask *a)
{
	const struct signin_session *session = session_of(a);
	const char *callback, *zone_text, *action;
	struct store_zone zone;
	struct query form;
	struct uuid zone_id;
	struct bytes key = BYTES_NONE;
	enum ask_result result;

	if (!read_form(a, &form))
		return ASK_ANSWERED;
	if (!session)
		return message(a, 403, "You are signed out", "Open the login address once more.",
			       "/sign-in", "Sign in");
	if (!session_token_is_right(session, &form))
		return form_is_old(a);
	callback = query_find(&form, "callback");
	zone_text = query_find(&form, "zone");
	action = query_find(&form, "action");
	if (!zone_text || !zone_id_parse(bytes_str(zone_text), &zone_id))
		return approve_page(a, 400, session, callback, "Choose a zone.");
	if (action && !strcmp(action, "approve")) {
		key = callback_key(a, callback);
		if (key.len == 0)
			return approve_page(a, 400, session, callback,
					    "That machine cannot be reached.");
	}
	if (store_zone_get(a->control->store, &zone_id, &zone, NULL) < 0)
		return approve_page(a, 400, session, callback,
				    "This zone is gone. Choose another one.");
	result = hand_over(a, session, &zone, key);
	store_zone_done(&zone);
	return result;
}

static enum ask_result login_poll(struct ask *a)
{
	struct control_request *r = a->request;

	if (!login_key_is_valid(a->args[0]))
		return answer_text(r, 404, "This is no login\n");
	/* HEAD looks and takes nothing. */
	if (!bytes_eq(r->head.method, BYTES_LIT("GET")))
		return answer_text(r, 404, "Waiting for approval\n");
	return login_store_poll(a->control->logins, r, a->args[0], clock_now()) ? ASK_ANSWERED
										: ASK_PARKED;
}

/* --- The table ------------------------------------------------------------------------------ */

static const struct endpoint endpoints[] = {
	{ "GET", "", home },
	{ "GET", "assets/:", asset },
	{ "GET", "sign-in", sign_in_get },
	{ "POST", "sign-in", sign_in_post },
	{ "POST", "sign-out", sign_out },
	{ "GET", "login/link", link_get },
	{ "POST", "login/link", link_post },
	{ "GET", "login/:", login_poll },
	{ "GET", "transfer/:", login_poll },
	{ "GET", "argotunnel", argotunnel_get },
	{ "POST", "argotunnel", argotunnel_post },
};

enum ask_result pages_ask(struct ask *a, struct bytes path)
{
	const struct endpoint *endpoint = NULL;

	switch (endpoint_find(endpoints, ARRAY_LEN(endpoints), path, a, &endpoint)) {
	case ENDPOINT_NO_PATH:
		return message(a, 404, "There is no such page",
			       "The address may be mistyped or out of date.", "/",
			       "Go to the start page");
	case ENDPOINT_NO_METHOD:
		return message(a, 405, "This page cannot do that",
			       "The address exists, but not for this kind of request.", "/",
			       "Go to the start page");
	case ENDPOINT_FOUND:
		break;
	}
	return endpoint->handle(a);
}
