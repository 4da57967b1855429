/* Signing in with a code that is sent by e-mail. Whoever types an address sees the same page, whether a code was
 * sent or not: it does not tell who may come in. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/access/credentials.h"
#include "edge/access/desk.h"
#include "edge/access/identity.h"
#include "edge/access/metrics.h"
#include "edge/access/pins.h"
#include "edge/access/provider_notes.h"
#include "edge/access/tries.h"
#include "edge/control/page.h"
#include "edge/control/signin.h"
#include "http/mail.h"
#include "io/loop.h"
#include "store/names.h"

#define COMPONENT "edge/access"
#define MAIL_TIMEOUT (30 * USEC_PER_SEC)

/* --- The mail ------------------------------------------------------------------------------------ */

struct letter {
	char *url, *user, *password, *ca_file, *from, *to, *subject, *text; /* owned */
	bool may_be_plain;
	char *provider, *provider_name; /* owned; id and name */
	struct provider_notes *notes;   /* counted: a letter may outlive the desk */
	usec began;                     /* clock_now() */
	struct err err;
};

static void letter_free(struct letter *l)
{
	secret_wipe(l->text, strlen(l->text));
	if (l->password)
		secret_wipe(l->password, strlen(l->password));
	mem_free(l->url);
	mem_free(l->user);
	mem_free(l->password);
	mem_free(l->ca_file);
	mem_free(l->from);
	mem_free(l->to);
	mem_free(l->provider);
	mem_free(l->provider_name);
	provider_notes_unref(l->notes);
	mem_free(l->subject);
	mem_free(l->text);
	mem_free(l);
}

/* A thread that may block. */
static void send_letter(void *arg)
{
	struct letter *l = arg;
	const struct mail_server server = {
		.url = l->url,
		.user = l->user,
		.password = l->password,
		.ca_file = l->ca_file,
		.may_be_plain = l->may_be_plain,
	};
	const struct mail mail = {
		.from = l->from,
		.to = l->to,
		.from_name = "Adit",
		.subject = l->subject,
		.text = l->text,
	};

	(void)mail_send(&server, &mail, MAIL_TIMEOUT, &l->err);
}

static void on_sent(void *arg)
{
	struct letter *l = arg;

	provider_notes_add(l->notes, l->provider, l->provider_name, clock_now() - l->began, &l->err);
	if (l->err.code)
		log_error(COMPONENT, "a sign-in code could not be sent", LOG_STR("to", l->to),
			  LOG_STR("error", l->err.text));
	else
		log_info(COMPONENT, "sign-in code sent", LOG_STR("to", l->to));
	letter_free(l);
}

static char *config_text(const json_t *config, const char *name)
{
	const char *text = json_string_value(json_object_get(config, name));

	return text && text[0] ? mem_strdup(text) : NULL;
}

static void post(struct ask *a, const struct desk_visit *v, const struct access_provider *p,
		 const char *email, const char *pin)
{
	struct letter *l = mem_alloc(sizeof(*l));

	l->url = config_text(p->config, "smtp_url");
	l->user = config_text(p->config, "smtp_user");
	l->password = config_text(p->config, "client_secret");
	l->ca_file = config_text(p->config, "smtp_ca_file");
	l->from = config_text(p->config, "from");
	l->may_be_plain = json_is_true(json_object_get(p->config, "smtp_plain"));
	l->to = mem_strdup(email);
	l->provider = mem_strdup(p->id);
	l->provider_name = mem_strdup(p->name);
	l->notes = provider_notes_ref(desk_provider_notes(a->control->desk));
	l->began = clock_now();
	l->subject = mem_printf("%s is your code for %s", pin, v->app->name);
	l->text = mem_printf(
		"Your code for %s (%s) is\n\n    %s\n\nIt is good for ten minutes, in the "
		"browser that asked for it. If you did not ask for it, do nothing: "
		"somebody may have mistyped an address.\n",
		v->app->name, v->host, pin);
	if (!l->url || !l->from) {
		log_error(COMPONENT, "no mail server is set for sign-in codes",
			  LOG_STR("provider", p->name));
		letter_free(l);
		return;
	}
	loop_work(a->control->loop, send_letter, on_sent, l);
}

/* --- Pages ---------------------------------------------------------------------------------------- */

static enum ask_result code_page(struct ask *a, int status, const struct desk_visit *v,
				 const struct access_provider *p, const char *email,
				 const char *problem)
{
	struct arena *arena = &a->request->arena;
	const struct page_value values[] = {
		{ "email", bytes_str(email), false },
		{ "app", bytes_str(v->app->name), false },
		{ "notice", desk_notice(a, problem), true },
		{ "csrf", bytes_str(desk_form_token(a)), false },
		{ "id", bytes_str(p->id), false },
		{ "again", a->request->head.path, false },
	};

	return desk_page(a, status, "Type in the code",
			 page_fill(arena, "access_code.html", values, ARRAY_LEN(values)), false);
}

/* Might this address be let in, were it proven? */
static bool may_come(struct ask *a, const struct desk_visit *v, const struct access_provider *p,
		     const char *email)
{
	json_t *identity =
		json_pack("{s:s, s:s, s:[s]}", "email", email, "idp", p->id, "amr", "otp");
	char *text = json_dumps(identity, JSON_COMPACT);
	struct access_identity *who =
		access_identity_new("", "", bytes_str(text), 0, INT64_MAX, NULL);
	enum access_outcome outcome = desk_decide(a, v->app, who, NULL, 0).outcome;

	free(text); /* allowed: jansson took it from malloc */
	json_decref(identity);
	access_identity_unref(who);
	return outcome == ACCESS_ALLOWED || outcome == ACCESS_ASK;
}

static enum ask_result ask_for_code(struct ask *a, const struct desk_visit *v,
				    const struct access_provider *p, const char *email)
{
	struct bytes device = desk_device(a), to = bytes_str(email);
	struct tries *tries = desk_tries(a->control->desk);
	uint8_t room[16];
	struct bytes network = signin_network(a->request->client_ip, room);
	char pin[PIN_DIGITS_LONG + 1] = "";

	if (may_come(a, v, p, email)) {
		if (tries_code(tries, device, to, network, clock_now())) {
			pins_make(a->control->pins, device, to, bytes_str(v->app->aud), clock_now(),
				  tries_is_own(tries, device, to), pin);
			post(a, v, p, email, pin);
		} else {
			log_warn(COMPONENT, "too many sign-in codes for one address",
				 LOG_STR("to", email), LOG_BYTES("ip", a->request->client_ip));
		}
		secret_wipe(pin, sizeof(pin));
	} else {
		log_info(COMPONENT, "no code for who may not come in", LOG_STR("to", email),
			 LOG_STR("app", v->app->name), LOG_BYTES("ip", a->request->client_ip));
	}
	return code_page(a, 200, v, p, email, NULL);
}

/* People type "123 456". */
static struct bytes digits_of(struct ask *a, const char *typed)
{
	uint8_t *digits = arena_alloc_bytes(&a->request->arena, strlen(typed) + 1);
	size_t len = 0;

	for (; *typed; typed++)
		if (*typed != ' ')
			digits[len++] = (uint8_t)*typed;
	return bytes_of(digits, len);
}

enum ask_result desk_pin_post(struct ask *a, const struct desk_visit *v, const struct query *form,
			      const struct access_provider *p)
{
	const char *given = query_find(form, "email"), *code = query_find(form, "code");
	char email[NAME_EMAIL_BYTES + 1];

	if (!given || name_email(given, email, NULL) < 0)
		return desk_sign_in_page(a, 400, v, "That is no e-mail address.");
	/* In their own browser a person may go on whatever others of their network do. */
	if (!tries_is_own(desk_tries(a->control->desk), desk_device(a), bytes_str(email)) &&
	    !desk_may_try(a, v, false))
		return ASK_ANSWERED;
	if (!code)
		return ask_for_code(a, v, p, email);
	if (pins_check(a->control->pins, desk_device(a), bytes_str(email), bytes_str(v->app->aud),
		       digits_of(a, code), clock_now()) < 0) {
		desk_audit(a, "login", email, v->app->name, "wrong code", "{}");
		access_count_signin(p->kind, "failed");
		return code_page(a, 403, v, p, email,
				 "That code is wrong, too old, or was tried too often.");
	}
	desk_try_worked(a, email);
	return desk_signed_in(a, v, email, "", p->id, json_pack("{s:[s]}", "amr", "otp"));
}
