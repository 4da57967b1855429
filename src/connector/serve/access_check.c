#include "connector/serve/access_check.h"

#include "base/limits.h"
#include "base/log.h"
#include "connector/serve/issuer_keys.h"
#include "connector/serve/serve_internal.h"
#include "jose/jwt.h"

#define COMPONENT "connector"

/* A parked exchange; in its arena. */
struct parked {
	struct exchange *x;
	struct access_team *team;
	struct bytes token;
	bool is_again; /* it waits for the second time */
	struct access_wait wait;
	struct timer deadline;
};

/* --- Answers ---------------------------------------------------------------------------------- */

static void name_rule(struct exchange *x)
{
	const struct ingress_rule *rule = x->route;

	x->failure.origin = bytes_str(rule->service);
	x->failure.rule = arena_printf(&x->arena, "%u: %s", rule->index, rule->label);
}

static enum handled forbid(struct exchange *x, const char *why)
{
	const struct ingress_rule *rule = x->route;

	log_info(COMPONENT, "Request refused by the rule's access", LOG_STR("reason", why),
		 LOG_STR("cfRay", x->id), LOG_BYTES("host", x->host),
		 LOG_STR("ingressRule", rule->label));
	x->response.status = 403;
	x->response.length = HEAD_LENGTH_NONE;
	exchange_respond(x);
	body_end(&x->response_body);
	exchange_release_answerer(x);
	return HANDLED_TAKEN;
}

static enum handled refuse(struct exchange *x, const char *why)
{
	exchange_failed(x, FAILURE_CONNECTOR, 403, 0, "Access token refused",
			"The Access token of the request is not valid: %s.", why);
	name_rule(x);
	return HANDLED_FAILED;
}

static enum handled fail(struct exchange *x, const char *why)
{
	exchange_failed(x, FAILURE_CONNECTOR, 502, 0, "Access cannot be checked",
			"The keys that Access tokens are checked with are missing: %s.", why);
	name_rule(x);
	return HANDLED_FAILED;
}

/* --- Parking ---------------------------------------------------------------------------------- */

/* `parked`: NULL when the exchange comes for the first time. */
static enum handled check(struct exchange *x, struct access_team *team, struct bytes token,
			  struct parked *parked);

static void unpark(struct parked *p)
{
	access_wait_cancel(&p->wait);
	timer_stop(&p->deadline);
}

static void on_keys(struct access_wait *w)
{
	struct parked *p = CONTAINER_OF(w, struct parked, wait);
	struct exchange *x = p->x;

	unpark(p);
	switch (check(x, p->team, p->token, p)) {
	case HANDLED_NEXT:
		exchange_resume(x);
		break;
	case HANDLED_TAKEN:
		break;
	case HANDLED_FAILED:
		exchange_fail(x);
		break;
	}
}

static void on_deadline(struct timer *t)
{
	struct parked *p = CONTAINER_OF(t, struct parked, deadline);

	unpark(p);
	(void)fail(p->x, "the issuer did not answer in time");
	exchange_fail(p->x);
}

static void on_parked_event(struct exchange *x)
{
	(void)x; /* the body waits, as far as its window goes */
}

static void on_cancelled(struct exchange *x)
{
	unpark(x->answerer_ctx);
	exchange_release_answerer(x);
}

static const struct exchange_answerer parking = {
	.name = "access",
	.on_request_data = on_parked_event,
	.on_response_room = on_parked_event,
	.on_cancelled = on_cancelled,
};

static bool wait_for_keys(struct parked *p)
{
	if (!access_team_wait(p->team, &p->wait))
		return false;
	timer_set(&p->deadline, LIMIT_ACCESS_WAIT_MS);
	return true;
}

static bool park(struct exchange *x, struct access_team *team, struct bytes token)
{
	struct parked *p = arena_alloc(&x->arena, sizeof(*p));

	p->x = x;
	p->team = team;
	p->token = token;
	p->wait.done = on_keys;
	list_init(&p->wait.node);
	timer_init(&p->deadline, x->loop, on_deadline);
	if (!wait_for_keys(p))
		return false;
	exchange_answer_by(x, &parking, p);
	return true;
}

/* Keys that were on their way already when the token came may be older than it: then it waits once more. */
static bool park_again(struct parked *p)
{
	if (p->is_again || !p->wait.is_late)
		return false;
	p->is_again = true;
	return wait_for_keys(p);
}

/* --- The check -------------------------------------------------------------------------------- */

static enum handled check(struct exchange *x, struct access_team *team, struct bytes token,
			  struct parked *parked)
{
	const struct ingress_access *access =
		&((const struct ingress_rule *)x->route)->origin.access;
	const struct jwt_expected expected = {
		.issuer = access->issuer,
		.audiences = access->audiences,
		.audience_count = access->audience_count,
		.now = clock_wall_now(),
	};
	const struct key_set *keys = access_team_keys(team);
	struct jwt_claims claims;
	struct err err = { 0 };
	int r = keys ? jwt_verify(keys, token, &expected, &x->arena, &claims, &err) : E_NOT_FOUND;

	if (r == 0)
		return HANDLED_NEXT;
	if (r == E_NOT_FOUND && (parked ? park_again(parked) : park(x, team, token)))
		return HANDLED_TAKEN;
	if (!keys) {
		const char *why = access_team_error(team)->text;
		return fail(x, *why ? why : "too many requests wait for them");
	}
	return r == E_DENIED ? forbid(x, err.text) : refuse(x, err.text);
}

enum handled access_check_handle(struct exchange *x, void *ctx)
{
	struct server *s = ctx;
	const struct ingress_access *access =
		&((const struct ingress_rule *)x->route)->origin.access;
	struct bytes token = BYTES_NONE;
	size_t count = 0;

	if (!access->is_required)
		return HANDLED_NEXT;
	for (size_t i = 0; i < x->request.fields.count; i++) {
		const struct field *field = &x->request.fields.list[i];
		if (field->token != HEAD_CF_ACCESS_JWT_ASSERTION)
			continue;
		token = field->value;
		count++;
	}
	if (token.len == 0 && count <= 1)
		return forbid(x, "no access token in request");
	if (count > 1)
		return refuse(x, "there is more than one");
	if (access->audience_count == 0)
		return forbid(x, "the rule names no audTag");
	return check(x, access_team_get(s->issuer_keys, access->issuer), token, NULL);
}
