/* Passkeys: signing in with one, and the page where people add and remove theirs. */
#include <string.h>
#include <time.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/access/desk.h"
#include "edge/access/identity.h"
#include "edge/access/metrics.h"
#include "edge/access/webauthn.h"
#include "edge/control/page.h"
#include "store/store_access.h"

#define COMPONENT "edge/access"
#define PAGE "/cdn-cgi/access/passkeys"
#define CHALLENGE_LIFE (600 * USEC_PER_SEC)
/* Whoever finds a browser that somebody left signed in must not make themselves a key of their own. */
#define FRESH (900 * USEC_PER_SEC)
#define KEYS_MAX 20 /* of one person */
#define NAME_BYTES 60
/* WEBAUTHN_FIELD_BYTES in base64url. */
#define FIELD_TEXT_BYTES (WEBAUTHN_FIELD_BYTES / 3 * 4 + 4)

/* --- Challenges: nothing is kept for those that never come back ------------------------------------ */

/* When it ends (seconds since 1970), and a MAC. */
#define CHALLENGE_BYTES (8 + HASH_MAC_BYTES)

/* Good for one browser and one purpose. */
static struct bytes challenge_of(struct ask *a, const char *purpose, uint64_t expires_at)
{
	struct arena *arena = &a->request->arena;
	struct bytes said = arena_printf(arena, "%s %llu %s", purpose,
					 (unsigned long long)expires_at, desk_form_token(a));
	uint8_t *raw = arena_alloc_bytes(arena, CHALLENGE_BYTES);

	for (int i = 0; i < 8; i++)
		raw[i] = (uint8_t)(expires_at >> (56 - 8 * i));
	hash_mac(desk_challenge_key(a->control->desk), said, raw + 8);
	return bytes_of(raw, CHALLENGE_BYTES);
}

static const char *challenge_text(struct ask *a, const char *purpose)
{
	uint64_t end = (uint64_t)((clock_wall_now() + CHALLENGE_LIFE) / USEC_PER_SEC);
	char *text = base64_text(BASE64_URL_RAW, challenge_of(a, purpose, end));
	const char *kept = arena_strdup(&a->request->arena, bytes_str(text));

	mem_free(text);
	return kept;
}

/* A base64url field of a form; empty when it is none. */
static struct bytes field(struct ask *a, const struct query *form, const char *name)
{
	const char *text = query_find(form, name);
	size_t len = text ? strlen(text) : 0;
	uint8_t *raw;

	if (len == 0 || len > FIELD_TEXT_BYTES)
		return BYTES_NONE;
	raw = arena_alloc_bytes(&a->request->arena, len);
	if (!base64_decode(BASE64_URL_RAW, bytes_of(text, len), raw, &len))
		return BYTES_NONE;
	return bytes_of(raw, len);
}

/* Once only. */
static bool take_challenge(struct ask *a, const struct query *form, const char *purpose,
			   struct bytes *ret)
{
	struct bytes sent = field(a, form, "challenge");
	uint64_t end = 0;

	if (sent.len != CHALLENGE_BYTES)
		return false;
	for (int i = 0; i < 8; i++)
		end = end << 8 | sent.ptr[i];
	if (end > INT64_MAX / USEC_PER_SEC || clock_wall_now() >= (usec)end * USEC_PER_SEC ||
	    !secret_bytes_eq(sent, challenge_of(a, purpose, end)))
		return false;
	*ret = sent;
	return desk_use_nonce(a->control->desk, sent, (usec)end * USEC_PER_SEC);
}

static struct webauthn_expected expected_of(struct ask *a, struct bytes challenge)
{
	return (struct webauthn_expected){
		.rp_id = desk_host(a),
		.origin = a->control->public_url,
		.challenge = challenge,
	};
}

/* --- Signing in ---------------------------------------------------------------------------------------- */

#define SIGN_IN "sign in"

struct bytes desk_passkey_way(struct ask *a, const struct desk_visit *v,
			      const struct access_provider *p)
{
	const struct page_value values[] = {
		{ "action", desk_login_path(a, v, v->wants_purpose), false },
		{ "id", bytes_str(p->id), false },
		{ "name", bytes_str(p->name), false },
		{ "csrf", bytes_str(desk_form_token(a)), false },
		{ "challenge", bytes_str(challenge_text(a, SIGN_IN)), false },
		{ "rp", bytes_str(desk_host(a)), false },
	};

	return page_fill(&a->request->arena, "access_passkey.html", values, ARRAY_LEN(values));
}

/* Whose key it was, once all is well. */
static int check_key(struct ask *a, const struct query *form, struct bytes challenge,
		     struct store_passkey *ret, struct err *err)
{
	const struct webauthn_expected expected = expected_of(a, challenge);
	char *id = base64_text(BASE64_URL_RAW, field(a, form, "credential"));
	uint32_t counter = 0;
	int r = store_passkey_find(a->control->store, id, ret, err);

	if (r == 0) {
		const struct webauthn_key key = {
			.algorithm = ret->algorithm,
			.public_key = bytes_of(ret->public_key.ptr, ret->public_key.len),
			.counter = ret->counter,
		};

		r = webauthn_check(&expected, field(a, form, "client_data"),
				   field(a, form, "auth_data"), field(a, form, "signature"), &key,
				   &counter, err);
		if (r == 0)
			r = store_passkey_count(a->control->store, id, counter, err);
		if (r < 0)
			store_passkey_done(ret);
	}
	mem_free(id);
	return r;
}

enum ask_result desk_passkey_post(struct ask *a, const struct desk_visit *v,
				  const struct query *form, const struct access_provider *p)
{
	struct store_passkey key;
	struct err err = { 0 };
	struct bytes challenge;
	enum ask_result result;

	if (!desk_may_try(a, v, false))
		return ASK_ANSWERED;
	if (!take_challenge(a, form, SIGN_IN, &challenge))
		return desk_sign_in_page(a, 403, v,
					 "This page was too old for a passkey. Please try again.");
	if (check_key(a, form, challenge, &key, &err) < 0) {
		log_warn(COMPONENT, "a passkey was refused", LOG_STR("error", err.text),
			 LOG_BYTES("ip", a->request->client_ip));
		desk_audit(a, "login", "", v->app->name, "passkey refused", "{}");
		access_count_signin(p->kind, "failed");
		return desk_sign_in_page(
			a, 403, v,
			"That passkey cannot be used here. Choose another one, or another way.");
	}
	desk_try_worked(a, key.email);
	result = desk_signed_in(a, v, key.email, "", p->id,
				json_pack("{s:[s, s, s]}", "amr", "pop", "user", "mfa"));
	store_passkey_done(&key);
	return result;
}

/* --- One's own ----------------------------------------------------------------------------------------- */

struct keys {
	struct store_passkey *list;
	size_t count;
};

static void keys_done(struct keys *k)
{
	for (size_t i = 0; i < k->count; i++)
		store_passkey_done(&k->list[i]);
	mem_free(k->list);
}

static struct bytes date_text(struct arena *arena, usec at)
{
	time_t seconds = (time_t)(at / USEC_PER_SEC);
	char text[16];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d", &tm);
	return arena_copy(arena, bytes_str(text));
}

static struct bytes key_rows(struct ask *a, const struct keys *keys)
{
	struct arena *arena = &a->request->arena;
	struct bytes html = BYTES_NONE;

	for (size_t i = 0; i < keys->count; i++) {
		const struct store_passkey *k = &keys->list[i];
		const struct page_value values[] = {
			{ "id", bytes_str(k->id), false },
			{ "name", bytes_str(k->name), false },
			{ "since", date_text(arena, k->created_at), false },
			{ "csrf", bytes_str(desk_form_token(a)), false },
		};
		struct bytes row =
			page_fill(arena, "access_passkey_row.html", values, ARRAY_LEN(values));

		html = arena_printf(arena, BYTES_FMT BYTES_FMT, BYTES_ARG(html), BYTES_ARG(row));
	}
	if (!keys->count)
		return BYTES_LIT("<p>You have none yet.</p>");
	return arena_printf(arena, "<ul class=\"passkeys\">" BYTES_FMT "</ul>", BYTES_ARG(html));
}

static struct bytes add_form(struct ask *a, const struct desk_session *s, const struct keys *keys)
{
	struct arena *arena = &a->request->arena;
	struct bytes known = BYTES_NONE;

	for (size_t i = 0; i < keys->count; i++)
		known = arena_printf(arena, BYTES_FMT "%s ", BYTES_ARG(known), keys->list[i].id);
	const struct page_value values[] = {
		{ "csrf", bytes_str(desk_form_token(a)), false },
		{ "challenge", bytes_str(challenge_text(a, s->identity->person)), false },
		{ "rp", bytes_str(desk_host(a)), false },
		{ "brand", bytes_str(desk_brand(a)), false },
		{ "user", bytes_str(s->identity->person), false },
		{ "email", bytes_str(s->email), false },
		{ "known", known, false },
	};

	return page_fill(arena, "access_passkey_add.html", values, ARRAY_LEN(values));
}

/* People of an identity provider leave with it: a key of theirs here would stay. */
static const char *why_not(const struct desk_session *s, const struct store_person *person,
			   const struct keys *keys)
{
	if (!person->has_password)
		return "Passkeys are for people who have a password here. You sign in elsewhere; add a "
		       "passkey there.";
	if (clock_wall_now() - s->created_at >= FRESH)
		return "To add a passkey, sign out and in again: you signed in a while ago.";
	if (keys->count >= KEYS_MAX)
		return "You have as many passkeys as there may be. Remove one to add another.";
	return NULL;
}

static enum ask_result show(struct ask *a, int status, const struct desk_session *s,
			    const struct store_person *person, const char *problem)
{
	struct arena *arena = &a->request->arena;
	struct keys keys = { 0 };
	struct err err = { 0 };
	const char *no;

	if (store_passkey_list(a->control->store, &person->id, &keys.list, &keys.count, &err) < 0)
		return desk_not_ready(a, &err);
	no = why_not(s, person, &keys);
	const struct page_value values[] = {
		{ "email", bytes_str(s->email), false },
		{ "notice", desk_notice(a, problem ? problem : no), true },
		{ "list", key_rows(a, &keys), true },
		{ "add", no ? BYTES_NONE : add_form(a, s, &keys), true },
	};
	keys_done(&keys);
	return desk_page(a, status, "Your passkeys",
			 page_fill(arena, "access_passkeys.html", values, ARRAY_LEN(values)), true);
}

/* As they call it; no longer than fits, whole characters of UTF-8. */
static struct bytes name_of(const struct query *form)
{
	const char *text = query_find(form, "name");
	struct bytes name = bytes_first(bytes_str(text), NAME_BYTES);
	json_t *whole;

	while (name.len && name.len < strlen(text) && ((uint8_t)text[name.len] & 0xc0) == 0x80)
		name.len--;
	whole = json_stringn(name.len ? (const char *)name.ptr : "", name.len);
	if (!whole)
		name.len = 0;
	json_decref(whole);
	return name.len ? name : BYTES_LIT("Passkey");
}

static int add_key(struct ask *a, const struct desk_session *s, const struct store_person *person,
		   const struct query *form, struct err *err)
{
	struct webauthn_key made = { 0 };
	struct keys keys = { 0 };
	struct bytes challenge;
	const char *no;
	int r = store_passkey_list(a->control->store, &person->id, &keys.list, &keys.count, err);

	if (r < 0)
		return r;
	no = why_not(s, person, &keys);
	keys_done(&keys);
	if (no)
		return err_set(err, E_DENIED, "%s", no);
	if (!take_challenge(a, form, s->identity->person, &challenge))
		return err_set(err, E_INVALID, "the page was too old");
	const struct webauthn_expected expected = expected_of(a, challenge);
	r = webauthn_register(&expected, field(a, form, "client_data"), field(a, form, "auth_data"),
			      &a->request->arena, &made, err);
	if (r < 0)
		return r;
	struct store_passkey key = {
		.id = base64_text(BASE64_URL_RAW, made.id),
		.person = person->id,
		.name = mem_strndup(name_of(form)),
		.algorithm = made.algorithm,
		.counter = made.counter,
	};
	secret_set(&key.public_key, made.public_key);
	r = store_passkey_add(a->control->store, &key, err);
	store_passkey_done(&key);
	return r;
}

static enum ask_result change(struct ask *a, const struct desk_session *s,
			      const struct store_person *person)
{
	const char *id, *done = "passkey.add";
	struct err err = { 0 };
	struct query form;
	int r;

	if (query_parse(a->request->body, &a->request->arena, &form) < 0 ||
	    !desk_form_is_right(a, &form))
		return show(a, 403, s, person,
			    "The form was too old, or your browser keeps no cookies. Please try "
			    "again.");
	id = query_find(&form, "remove");
	if (id) {
		done = "passkey.remove";
		r = store_passkey_remove(a->control->store, &person->id, id, &err);
	} else {
		r = add_key(a, s, person, &form, &err);
	}
	if (r < 0) {
		log_warn(COMPONENT, "a passkey was not added or removed", LOG_STR("user", s->email),
			 LOG_STR("error", err.text), LOG_BYTES("ip", a->request->client_ip));
		desk_audit(a, done, s->email, "", "refused", "{}");
		return show(a, 400, s, person, "That did not work. Please try again.");
	}
	log_info(COMPONENT, done, LOG_STR("user", s->email), LOG_BYTES("ip", a->request->client_ip));
	desk_audit(a, done, s->email, "", "done", "{}");
	answer_field(a->request, "Location", BYTES_LIT(PAGE));
	return answer(a->request, 303, "text/plain; charset=utf-8",
		      BYTES_LIT("See the Location field\n"));
}

enum ask_result desk_passkeys(struct ask *a)
{
	bool is_post = bytes_eq(a->request->head.method, BYTES_LIT("POST"));
	struct store_person person;
	struct desk_session s;
	struct err err = { 0 };
	enum ask_result result;

	if (!desk_is_control_host(a))
		return answer_text(a->request, 404, "Passkeys are kept at the control host\n");
	if (!desk_session_of_cookie(a, &s))
		return desk_message(
			a, 401, "Sign in first",
			"Open one of the applications you may use, sign in, and come back "
			"here.",
			PAGE, "Try again");
	if (store_person_find(a->control->store, s.email, &person, &err) < 0) {
		desk_session_done(&s);
		return desk_not_ready(a, &err);
	}
	result = is_post ? change(a, &s, &person) : show(a, 200, &s, &person, NULL);
	store_person_done(&person);
	desk_session_done(&s);
	return result;
}
