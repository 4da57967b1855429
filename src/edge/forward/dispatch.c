#include "edge/forward/dispatch.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "edge/forward/crossing.h"
#include "edge/forward/forward.h"
#include "edge/forward/hold.h"
#include "edge/forward/sticky.h"
#include "edge/worker.h"

#define COMPONENT "edge/forward"

struct metric metric_retried = {
	.name = "adit_edge_requests_retried_total",
	.help = "Requests sent again over another connection, for nobody had acted on them",
};

/* Notes whom it is. */
static struct registry_try *add_try(struct dispatch *d, const struct registry_choice *choice)
{
	struct registry_try *try = &d->ask.tries[d->ask.try_count++];

	*try = (struct registry_try){
		.connector = choice->replica->connector,
		.session = choice->session,
	};
	if (d->ask.policy == BALANCE_COOKIE && !choice->has_cookie)
		d->new_cookie = arena_copy(&d->x->arena, bytes_str(choice->replica->facts.tag));
	else
		d->new_cookie = BYTES_NONE;
	return try;
}

bool dispatch_try(struct dispatch *d)
{
	struct registry_choice choice;

	while (d->ask.try_count < REGISTRY_TRIES && registry_choose(d->worker, &d->ask, &choice)) {
		const struct registry_try *try = add_try(d, &choice);
		const struct forward_how how = {
			.dispatch = d,
			.replay = &d->replay,
			.tunnel = d->tunnel,
			.connector = try->connector,
			.replica = choice.replica,
			.host_key = d->ask.host_key,
			.is_probe = choice.is_probe,
			.eject_on_5xx = d->eject_on_5xx,
		};
		if (!choice.session) {
			crossing_start(d->worker, choice.worker, d->x, &how);
			return true;
		}
		if (forward_on(d->worker, d->x, choice.session, &how))
			return true;
	}
	return false;
}

bool dispatch_start(struct worker *w, struct exchange *x, const struct snapshot_route *route)
{
	struct dispatch *d = arena_alloc(&x->arena, sizeof(*d));

	d->x = x;
	d->worker = w;
	d->tunnel = route->tunnel->id;
	d->eject_on_5xx = route->balance.eject_on_5xx;
	d->ask = (struct registry_ask){
		.tunnel = &d->tunnel,
		.policy = route->balance.policy,
		.host = x->host,
		.host_key = registry_host_key(&d->tunnel, x->host),
		.client = x->client_ip,
	};
	if (d->ask.policy == BALANCE_COOKIE)
		d->ask.cookie = sticky_find(&x->request.fields);
	replay_init(&d->replay, x, registry_has_replicas(w, &d->tunnel) ? LIMIT_REPLAY_BYTES : 0);
	return dispatch_try(d) || hold_take(w, d);
}

/* Nobody has seen the request: then its method does not matter. One that somebody may have seen is never sent twice,
 * a GET neither: what has just brought one replica down would go round them all. */
static bool may_try_again(const struct dispatch *d)
{
	const struct exchange *x = d->x;
	const struct failure *f = &x->failure;

	/* Without its producer the request is nobody's, and its head may be gone: see the crossing. */
	if (!x->producer || x->has_head || d->ask.try_count == REGISTRY_TRIES ||
	    !replay_can_rewind(&d->replay))
		return false;
	return !f->was_sent && (f->hop == FAILURE_TUNNEL || f->hop == FAILURE_ORIGIN);
}

bool dispatch_again(struct dispatch *d)
{
	struct exchange *x = d->x;
	const struct failure failure = x->failure;

	if (!may_try_again(d))
		return false;
	/* A tunnel that failed may have other connections; a service that is not there is not there. */
	d->ask.tries[d->ask.try_count - 1].is_final = failure.hop == FAILURE_ORIGIN;
	if (x->answerer)
		exchange_release_answerer(x);
	replay_rewind(&d->replay);
	if (!dispatch_try(d))
		return false;
	x->failure = (struct failure){ 0 };
	metric_add(&metric_retried, 1);
	log_debug(COMPONENT, "request sent again over another connection", LOG_STR("cfRay", x->id),
		  LOG_BYTES("because", failure.title));
	return true;
}

void dispatch_answered(struct dispatch *d)
{
	if (d->new_cookie.len)
		sticky_set(d->x, d->new_cookie);
}
