/* The form that asks why somebody opens an application, where a policy wants to know. The answer goes to the audit log;
 * that it was given is kept with the session, for as long as the application's session would last. */
#include <string.h>

#include "base/log.h"
#include "edge/access/desk.h"
#include "edge/access/purpose.h"
#include "edge/control/page.h"
#include "store/store_access.h"

#define COMPONENT "edge/access"
#define OWN_PROMPT "The owner of this service wants to know why it is opened."
#define TITLE "Why do you open it?"

/* Of the policy that lets them in, else of the first that asks. */
static const char *prompt_of(const struct desk_judged *j)
{
	const struct access_policy *asking = j->verdict.policy;

	for (size_t i = 0; (!asking || !asking->asks_purpose) && i < j->app->policy_count; i++)
		asking = j->app->policies[i];
	return asking && asking->purpose_prompt[0] ? asking->purpose_prompt : OWN_PROMPT;
}

usec desk_purpose_until(struct ask *a, const struct access_app *app, const struct desk_session *s)
{
	struct access_desk *d = a->control->desk;
	struct store_purpose p;
	struct err err = { 0 };
	bool asks = false;

	for (size_t i = 0; i < app->policy_count; i++)
		asks = asks || app->policies[i]->asks_purpose;
	if (!asks)
		return 0;
	if (store_purpose_get(a->control->store, s->id, app->id, &p, &err) < 0) {
		if (err.code != E_NOT_FOUND)
			log_error(COMPONENT, "it cannot be read whether a reason was given",
				  LOG_STR("error", err.text));
		return 0;
	}
	/* A token that ends in less than a second is none, for its dates are whole ones. */
	if (p.given_at < access_view_era(desk_view(d, NULL), app->id) ||
	    p.expires_at <= clock_wall_now() + USEC_PER_SEC)
		return 0;
	return p.expires_at;
}

enum ask_result desk_purpose_page(struct ask *a, int status, const struct desk_visit *v,
				  const struct desk_judged *j, const char *problem)
{
	struct bytes typed = bytes_str(v->purpose);
	const struct page_value values[] = {
		{ "app", bytes_str(j->app->name), false },
		{ "host", bytes_str(v->host), false },
		{ "email", bytes_str(j->session->email), false },
		{ "prompt", bytes_str(prompt_of(j)), false },
		{ "typed", purpose_is_text(typed) ? typed : BYTES_NONE, false },
		{ "action", desk_login_path(a, v, true), false },
		{ "csrf", bytes_str(desk_form_token(a)), false },
		{ "notice", desk_notice(a, problem), true },
	};

	return desk_page(
		a, status, TITLE,
		page_fill(&a->request->arena, "access_purpose.html", values, ARRAY_LEN(values)),
		false);
}

/* First to the audit log: nobody gets in without a line there. */
static int keep(struct ask *a, const struct desk_judged *j, struct bytes purpose, usec until,
		struct err *err)
{
	const char *policy = j->verdict.policy ? j->verdict.policy->name : "";
	const char *detail = desk_json(
		a, json_pack("{s:s%, s:s}", "purpose", purpose.ptr, purpose.len, "policy", policy));
	usec now = clock_wall_now();
	usec era = access_view_era(desk_view(a->control->desk, NULL), j->app->id);
	const struct store_purpose p = { .given_at = now > era ? now : era, .expires_at = until };
	int r = desk_audit_write(a, "access.purpose", j->session->email, j->app->name, "given",
				 detail, err);

	return r < 0 ? r : store_purpose_put(a->control->store, j->session->id, j->app->id, &p, err);
}

bool desk_purpose_take(struct ask *a, const struct desk_visit *v, const struct desk_judged *j,
		       usec end)
{
	usec least = clock_wall_now() + PURPOSE_LIFE_MIN;
	struct err err = { 0 };
	struct bytes purpose;

	if (!purpose_clean(bytes_str(v->purpose), &a->request->arena, &purpose)) {
		(void)desk_purpose_page(a, 400, v, j, "Write a few words, 500 characters at most.");
		return false;
	}
	/* Tokens end at whole seconds, and with the last of them it is asked again. */
	end = (end > least ? end : least) / USEC_PER_SEC * USEC_PER_SEC;
	if (keep(a, j, purpose, end, &err) < 0) {
		(void)desk_not_ready(a, &err);
		return false;
	}
	log_info(COMPONENT, "a reason was given", LOG_STR("user", j->session->email),
		 LOG_STR("app", j->app->name), LOG_BYTES("ip", a->request->client_ip));
	return true;
}
