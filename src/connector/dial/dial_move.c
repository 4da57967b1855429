/* From HTTP/2 to QUIC, without a gap: while connections run over HTTP/2 because QUIC did not get through, one of them
 * tries QUIC from time to time; once it has registered over it, the others follow, one after the other. */
#include "base/log.h"
#include "base/random.h"
#include "connector/connector_metrics.h"
#include "connector/dial/dial_internal.h"

#define COMPONENT "connector"
/* Between two of them, and so that connectors that were cut off together do not come together. */
#define JITTER_MS 200

void dialer_say_protocol(const struct dialer *d, bool has_changed)
{
	const struct protocol *p = &d->protocol;

	if (!has_changed)
		return;
	connector_metrics_protocol_changed(p->avoids_quic ? h2_transport.name : quic_transport.name);
	if (p->avoids_quic)
		log_warn(COMPONENT,
			 "QUIC does not get through to the edge, connections run over HTTP/2",
			 LOG_STR("error", p->why.text),
			 LOG_INT("nextTryInMs", (p->probe_at - loop_now(d->loop)) / USEC_PER_MSEC));
	else
		log_info(COMPONENT, "QUIC gets through to the edge, connections move over to it");
}

static bool may_move(const struct connection *c)
{
	return c->state == DIAL_STEADY && c->current && !c->current->is_left && !c->next &&
	       c->current->transport == &h2_transport && !c->current->place.is_proxied;
}

static struct connection *first_to_move(struct dialer *d)
{
	for (size_t i = 0; i < d->count; i++)
		if (may_move(&d->connections[i]))
			return &d->connections[i];
	return NULL;
}

void dialer_move_arm(struct dialer *d)
{
	usec now = loop_now(d->loop);
	usec at = protocol_probe_at(&d->protocol, now);

	timer_stop(&d->move);
	if (d->is_draining || d->moving || at == 0 || !first_to_move(d))
		return;
	int64_t wait_ms = at > now ? (at - now) / USEC_PER_MSEC : 0;
	timer_set(&d->move, wait_ms + (int64_t)random_below(JITTER_MS));
}

static void on_move(struct timer *t)
{
	struct dialer *d = CONTAINER_OF(t, struct dialer, move);
	struct connection *c = first_to_move(d);
	struct edge_place places[EDGE_DIAL_PLACES];

	if (!c || d->moving || d->is_draining)
		return;
	size_t count = connection_pick(c, places, EDGE_DIAL_PLACES);
	if (count == 0 || places[0].is_proxied) {
		protocol_refused(&d->protocol, loop_now(d->loop));
		dialer_move_arm(d);
		return;
	}
	log_debug(COMPONENT, "Trying QUIC for a connection over HTTP/2",
		  LOG_INT("connIndex", c->index));
	c->next = d->moving = link_new(c, places, count, PLAN_QUIC, true);
}

void dialer_move_init(struct dialer *d)
{
	timer_init(&d->move, d->loop, on_move);
}
