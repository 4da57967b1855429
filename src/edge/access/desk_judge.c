/* Judging somebody who has signed in, with what external services say of them: those that a policy's outcome depends on
 * are asked, one after the other, while the request waits. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "edge/access/desk.h"
#include "edge/access/evaluation.h"
#include "edge/access/identity.h"
#include "edge/access/oauth_memory.h"

#define COMPONENT "edge/access"
/* For one decision; a person waits for all of them. */
#define SERVICES_MAX 8
/* Of all people, and so many of them on threads, of which the loop has four: a service that does not answer must not
 * keep people from other ways in. */
#define EVALUATIONS_MAX 16
#define EVALUATIONS_AT_ONCE 2

/* In the request's arena. */
struct judging {
	char aud[65], session[65]; /* looked up anew after each answer: they may be gone by then */
	struct access_external_answer said[SERVICES_MAX];
	size_t said_count;
	desk_judged_fn *then;
	void *ctx;
};

/* One service that is being asked. */
struct inquiry {
	struct evaluation *evaluation; /* owned */
	struct judging *judging;       /* of the request that waits: not to be touched without it */
};

static void inquiry_drop(void *ctx)
{
	struct inquiry *q = ctx;

	evaluation_free(q->evaluation);
	mem_free(q);
}

static void inquire(void *ctx)
{
	struct inquiry *q = ctx;

	evaluation_ask(q->evaluation);
}

const char *desk_json(struct ask *a, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);
	const char *copy = arena_strdup(&a->request->arena, bytes_str(text));

	free(text); /* allowed: jansson took it from malloc */
	json_decref(object);
	return copy;
}

/* What came of it, for the log and the audit log. */
static void note(struct ask *a, const struct evaluation *e, const struct access_app *app,
		 const char *email)
{
	static const char *const outcomes[] = {
		[ACCESS_NO] = "no",
		[ACCESS_YES] = "yes",
		[ACCESS_UNKNOWN] = "no answer",
	};
	const char *url = json_string_value(json_object_get(e->service->config, "evaluate_url"));
	json_t *detail = json_pack("{s:s}", "url", url);

	if (e->answer == ACCESS_UNKNOWN) {
		log_warn(COMPONENT, "an external service did not decide", LOG_STR("url", url),
			 LOG_STR("user", email), LOG_STR("app", app->name),
			 LOG_STR("error", e->err.text));
		json_object_set_new(detail, "error", json_string(e->err.text));
	}
	desk_audit(a, "access.evaluation", email, app->name, outcomes[e->answer],
		   desk_json(a, detail));
}

static enum ask_result judge(struct ask *a, struct judging *j, const struct access_app *app,
			     const struct desk_session *s);

static void take_answer(struct judging *j, struct bytes mark, enum access_answer answer)
{
	j->said[j->said_count++] = (struct access_external_answer){ mark, answer };
}

static enum ask_result on_inquired(struct ask *a, void *ctx)
{
	struct inquiry *q = ctx;
	struct access_desk *d = a->control->desk;
	struct judging *j = q->judging;
	const struct access_view *view = desk_view(d, NULL);
	const struct access_app *app =
		view ? access_set_app(access_view_set(view), bytes_str(j->aud)) : NULL;
	struct desk_session s;
	enum ask_result result;

	oauth_memory_learn(desk_oauth_memory(d), q->evaluation->service, clock_now());
	j->said[j->said_count - 1].answer = q->evaluation->answer;
	/* They may have been signed out, and the application removed, meanwhile. */
	if (!app || !desk_session_find(d, j->session, &s)) {
		inquiry_drop(q);
		return desk_message(a, 403, "This sign-in is over",
				    "You were signed out, or the application was removed.", "/",
				    "Go to the start");
	}
	note(a, q->evaluation, app, s.email);
	inquiry_drop(q);
	result = judge(a, j, app, &s);
	desk_session_done(&s);
	return result;
}

static const struct desk_errand inquiring = {
	.max = EVALUATIONS_MAX,
	.at_once = EVALUATIONS_AT_ONCE,
	.work = inquire,
	.done = on_inquired,
	.drop = inquiry_drop,
};

static const char *provider_type(struct ask *a, struct bytes id)
{
	const struct access_view *view = desk_view(a->control->desk, NULL);
	const struct access_provider *p =
		view ? access_set_provider(access_view_set(view), id) : NULL;

	return p ? p->kind : "";
}

/* False when too many are being asked: that is no answer, too. */
static bool ask_service(struct ask *a, struct judging *j, const struct access_app *app,
			const struct desk_session *s, const struct access_rule *rule,
			const struct access_facts *facts, const struct access_keys *keys)
{
	struct access_desk *d = a->control->desk;
	struct inquiry *q = mem_alloc(sizeof(*q));
	const struct evaluation_about about = {
		.issuer = a->control->public_url,
		.identity = s->identity,
		.facts = facts,
		.provider_type = provider_type(a, facts->idp),
		.client_ip = a->request->client_ip,
		.now = clock_wall_now(),
	};

	q->evaluation = evaluation_new(rule);
	q->judging = j;
	evaluation_sign(q->evaluation, keys, &about);
	oauth_memory_lend(desk_oauth_memory(d), q->evaluation->service, clock_now());
	take_answer(j, arena_copy(&a->request->arena, rule->mark), ACCESS_UNKNOWN);
	if (desk_errand_start(a, &inquiring, q))
		return true;
	err_set(&q->evaluation->err, E_BUSY, "%d services are being asked already", EVALUATIONS_MAX);
	note(a, q->evaluation, app, s->email);
	inquiry_drop(q);
	return false;
}

static enum ask_result judge(struct ask *a, struct judging *j, const struct access_app *app,
			     const struct desk_session *s)
{
	struct desk_judged judged = { .app = app, .session = s, .said = j->said };
	struct err err = { 0 };

	for (;;) {
		struct access_facts facts = desk_facts(a, s->identity, j->said, j->said_count);

		judged.verdict = access_decide(app->policies, app->policy_count, &facts);
		if (judged.verdict.outcome != ACCESS_ASK || j->said_count == SERVICES_MAX)
			break;
		const struct access_keys *keys = desk_keys(a->control->desk, &err);
		if (!keys)
			return desk_not_ready(a, &err);
		if (ask_service(a, j, app, s, judged.verdict.why.rule, &facts, keys))
			return ASK_PARKED;
	}
	judged.said_count = j->said_count;
	judged.purpose_until = desk_purpose_until(a, app, s);
	return j->then(a, &judged, j->ctx);
}

enum ask_result desk_judge(struct ask *a, const struct access_app *app,
			   const struct desk_session *s, const struct access_external_answer *said,
			   size_t said_count, desk_judged_fn *then, void *ctx)
{
	struct judging *j = arena_alloc(&a->request->arena, sizeof(*j));

	*j = (struct judging){ .then = then, .ctx = ctx };
	snprintf(j->aud, sizeof(j->aud), "%s", app->aud);
	snprintf(j->session, sizeof(j->session), "%s", s->id);
	for (size_t i = 0; i < said_count && i < SERVICES_MAX; i++)
		take_answer(j, said[i].mark, said[i].answer);
	return judge(a, j, app, s);
}

json_t *desk_said_json(const struct access_external_answer *said, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++)
		json_object_setn_new(object, (const char *)said[i].mark.ptr, said[i].mark.len,
				     access_external_json(said[i].answer));
	return object;
}

size_t desk_said_of(struct ask *a, const json_t *claims, const struct access_external_answer **ret)
{
	json_t *object = json_object_get(claims, ACCESS_EXTERNAL_CLAIM), *value;
	struct access_external_answer *said =
		arena_alloc(&a->request->arena, json_object_size(object) * sizeof(*said) + 1);
	const char *mark;
	size_t count = 0;

	json_object_foreach(object, mark, value) said[count++] = (struct access_external_answer){
		bytes_str(arena_strdup(&a->request->arena, bytes_str(mark))),
		access_external_of_json(value),
	};
	*ret = said;
	return count;
}
