/* The desk: where people sign in and tokens are made. The control thread's half of Access; the gate
 * (edge/access/gate.h) is the workers'.
 *
 * On the control host it shows the sign-in page and keeps the organisation's token in a cookie; on the hosts of
 * applications it ends a sign-in, signs out, and says who somebody is. CONTROL §5.8 has the endpoints.
 */
#pragma once

#include "edge/access/token.h"
#include "edge/access/view.h"
#include "edge/control/control_parts.h"

struct access_desk;
struct oauth_memory;
struct provider_notes;
struct tries;

struct access_desk *access_desk_new(struct control *c);
struct access_desk *access_desk_free(struct access_desk *d); /* NULL is fine */
/* The store has changed: what is read from it is read again when it is needed next. */
void access_desk_changed(struct access_desk *d);

/* A request below /cdn-cgi/access/, on whatever host; `path` is what follows. Also the HEAD request of a command
 * line that asks what guards a host, wherever it points. */
enum ask_result access_desk_ask(struct ask *a, struct bytes path);
bool access_desk_wants(struct ask *a, struct bytes path);

/* --- Between the files of the desk ------------------------------------------------------------ */

/* Somebody who has signed in, for as long as one request. */
struct desk_session {
	char id[65];
	char *email;                      /* owned */
	char *provider;                   /* owned */
	struct access_identity *identity; /* counted */
	usec created_at, expires_at;
};
void desk_session_done(struct desk_session *s);

/* The current configuration; NULL with `err` when it cannot be read. Borrowed until the next change. */
const struct access_view *desk_view(struct access_desk *d, struct err *err);
/* The keys; made when there are none. */
const struct access_keys *desk_keys(struct access_desk *d, struct err *err);
/* Public keys for checking our own tokens. */
const struct key_set *desk_key_set(struct access_desk *d, struct err *err);
/* The organisation's AUD. */
const char *desk_org_aud(struct access_desk *d, struct err *err);
/* What identity providers said of themselves. */
struct oauth_memory *desk_oauth_memory(struct access_desk *d);
/* How they answer. */
struct provider_notes *desk_provider_notes(const struct access_desk *d);
/* All sessions of one person end; `of` is what /metrics call it (access_count_revocation()). E_NOT_FOUND. */
int desk_revoke_person(struct control *c, const char *email, const char *of, struct err *err);
/* A login token may be used once. */
bool desk_use_nonce(struct access_desk *d, struct bytes token, usec expires_at);
/* By its id. False: it is over. */
bool desk_session_find(struct access_desk *d, const char *id, struct desk_session *ret);
/* Checks a token of an application, whichever it is; NULL when it is good for none. */
const struct access_app *desk_app_of_token(struct ask *a, enum access_token_type type,
					   struct bytes token, struct access_claims *ret);
/* Who sends the organisation's cookie. False: nobody who is signed in. */
bool desk_session_of_cookie(struct ask *a, struct desk_session *ret);

/* What a person is asked for, carried along in the query of each step and checked in each. */
struct desk_visit {
	const struct access_app *app;
	const char *host;     /* host[:port] as the visitor wrote it */
	const char *redirect; /* path and query on that host */
	const char *state;    /* SHA-256 of CF_AppSession, 64 hex digits */
	bool wants_purpose;   /* to be asked why, whatever policy lets them in */
	const char *purpose;  /* as it was typed; NULL: it was not */
};

/* Signed in: makes the session and its cookie, and goes on. */
enum ask_result desk_signed_in(struct ask *a, const struct desk_visit *v, const char *email,
			       const char *name, const char *provider, json_t *identity);
/* The sign-in page, with a problem to tell (NULL: none). */
enum ask_result desk_sign_in_page(struct ask *a, int status, const struct desk_visit *v,
				  const char *problem);
/* What is known of who asks; `identity` may be NULL. The lists stay the caller's. */
struct access_facts desk_facts(struct ask *a, const struct access_identity *identity,
			       const struct access_external_answer *said, size_t said_count);
/* Asks the policies, and nobody else. */
struct access_verdict desk_decide(struct ask *a, const struct access_app *app,
				  const struct access_identity *identity,
				  const struct access_external_answer *said, size_t said_count);

/* desk_judge.c: asks the policies, and first the external services that they depend on. Borrowed for the call. */
struct desk_judged {
	const struct access_app *app;
	const struct desk_session *session;
	struct access_verdict verdict;
	const struct access_external_answer *said; /* by services; goes into tokens */
	size_t said_count;
	usec purpose_until; /* they have said why, which holds so long (wall time); 0: they have not */
};
typedef enum ask_result desk_judged_fn(struct ask *a, const struct desk_judged *j, void *ctx);
/* `then` is called now, or later when a service has to be asked (the answer is ASK_PARKED then): app and session are
 * looked up again by that time, and `ctx` must live in the request's arena, like all it points to. `said`: what is known
 * already, in the arena. */
enum ask_result desk_judge(struct ask *a, const struct access_app *app,
			   const struct desk_session *s, const struct access_external_answer *said,
			   size_t said_count, desk_judged_fn *then, void *ctx);
/* As a claim of a token (ACCESS_EXTERNAL_CLAIM), a new reference; and of all claims of one, into the arena. */
json_t *desk_said_json(const struct access_external_answer *said, size_t count);
size_t desk_said_of(struct ask *a, const json_t *claims, const struct access_external_answer **ret);
/* As text in the arena; the reference is taken. */
const char *desk_json(struct ask *a, json_t *object);
/* Where the request comes from, in its arena; NULL: nobody knows. */
const char *desk_country(struct ask *a);
/* Somebody who is not signed in: the page, or, where the application wants that, on to its only provider. */
enum ask_result desk_sign_in(struct ask *a, const struct desk_visit *v);
/* desk_signin.c: a posted form of the sign-in page. */
enum ask_result desk_sign_in_post(struct ask *a, const struct desk_visit *v);
/* What every form must bring back; sets a cookie when there is none. */
const char *desk_form_token(struct ask *a);
/* Whether a posted form brings it back. */
bool desk_form_is_right(struct ask *a, const struct query *form);
/* The control host's name, without port; and whether this request is to it. */
const char *desk_host(struct ask *a);
bool desk_is_control_host(struct ask *a);
/* Our own failure: the log has the reason. */
enum ask_result desk_not_ready(struct ask *a, const struct err *err);
/* desk_passkey.c: the form of a sign-in page, what comes back from it, and the page of one's own keys. */
struct bytes desk_passkey_way(struct ask *a, const struct desk_visit *v,
			      const struct access_provider *p);
enum ask_result desk_passkey_post(struct ask *a, const struct desk_visit *v,
				  const struct query *form, const struct access_provider *p);
enum ask_result desk_launcher(struct ask *a); /* desk_launcher.c */
enum ask_result desk_passkeys(struct ask *a);
/* Makes challenges that only this process can make. */
struct bytes desk_challenge_key(const struct access_desk *d);
/* Counts a try of this network; false after having answered. `is_costly`: all networks together are counted, too. */
bool desk_may_try(struct ask *a, const struct desk_visit *v, bool is_costly);
/* Somebody proved who they are, by what only they know or have; `email` of whom. */
void desk_try_worked(struct ask *a, const char *email);
/* The browser's own mark, which is set when it has none (CONTROL §5.7). */
struct bytes desk_device(struct ask *a);
struct tries *desk_tries(struct access_desk *d);
/* desk_pin.c: an address to send a code to, or the code. */
enum ask_result desk_pin_post(struct ask *a, const struct desk_visit *v, const struct query *form,
			      const struct access_provider *p);
/* desk_page.c: a page in the organisation's frame; `has_script`: it asks for passkeys. */
enum ask_result desk_page(struct ask *a, int status, const char *title, struct bytes body,
			  bool has_script);
/* The same with images of others on it: a list of sources for its content policy, each after a blank. */
enum ask_result desk_page_with(struct ask *a, int status, const char *title, struct bytes body,
			       bool has_script, struct bytes images);
/* Where a logo comes from, as content policies have it: an origin, or "data:"; empty: neither. URLs are looked at when they
 * are set. */
struct bytes desk_image_source(struct bytes url);
enum ask_result desk_message(struct ask *a, int status, const char *title, const char *text,
			     const char *href, const char *link);
/* What went wrong, as HTML for a page; NULL: nothing. */
struct bytes desk_notice(struct ask *a, const char *text);
enum ask_result desk_asset(struct ask *a);
/* The organisation's name. */
const char *desk_brand(struct ask *a);
/* One line of the audit log. The first: what must not happen without it. */
int desk_audit_write(struct ask *a, const char *action, const char *actor, const char *subject,
		     const char *outcome, const char *detail, struct err *err);
void desk_audit(struct ask *a, const char *action, const char *actor, const char *subject,
		const char *outcome, const char *detail);
/* The path of the sign-in page for this visit, with its query; below the URL of the control host. */
struct bytes desk_login_path(struct ask *a, const struct desk_visit *v, bool wants_purpose);
/* desk_pages.c: whoever is signed in goes on to the application, if its policies let them; others sign in. */
enum ask_result desk_visit_again(struct ask *a, const struct desk_visit *v);
/* desk_purpose.c: what was typed is taken, to hold until `end` (wall time) or a little longer; false after having
 * answered. */
bool desk_purpose_take(struct ask *a, const struct desk_visit *v, const struct desk_judged *j,
		       usec end);
enum ask_result desk_purpose_page(struct ask *a, int status, const struct desk_visit *v,
				  const struct desk_judged *j, const char *problem);
/* As desk_judged.purpose_until. */
usec desk_purpose_until(struct ask *a, const struct access_app *app, const struct desk_session *s);
/* desk_oauth.c: out to an identity provider, and back from it. */
enum ask_result desk_oauth_post(struct ask *a, const struct desk_visit *v,
				const struct access_provider *p);
enum ask_result desk_callback(struct ask *a);
void desk_flow_drop(void *flow);
/* desk_errands.c: a step on a thread that may block, while the request waits. */
struct desk_errand {
	size_t max;              /* of this kind, under way or waiting for it */
	size_t at_once;          /* of those, on threads; 0: all */
	void (*work)(void *ctx); /* on that thread */
	/* Then, on the control thread; it owns ctx. The answer may be ASK_PARKED again. */
	enum ask_result (*done)(struct ask *a, void *ctx);
	void (*drop)(void *ctx); /* instead of done(): the request is over */
};
/* False when too many are under way; ctx is the caller's then. */
bool desk_errand_start(struct ask *a, const struct desk_errand *kind, void *ctx);
/* Whoever waits for one is told that the edge stops. */
void desk_errands_end(struct control *c);
/* desk_ssh.c: the public half of an application's SSH authority, which is made when there is none; owned by the
 * caller. */
char *desk_ssh_authority(struct control *c, const struct access_app *app, struct err *err);
enum ask_result desk_cert_sign(struct ask *a);
/* desk_cli.c: a command line asks for tokens, and a person approves (CONTROL §5.4). */
enum ask_result desk_cli(struct ask *a);
/* The path of that page, on the host of whatever application. */
#define DESK_CLI_PATH "/cdn-cgi/access/cli"
/* A token of the application, for as long as the verdict lets it live, the
 * organisation's token. Owned by the caller, who wipes it. NULL: not ready. */
char *desk_app_token(struct ask *a, const struct desk_judged *j, struct err *err);
char *desk_org_token(struct ask *a, const struct desk_session *s, struct err *err);
