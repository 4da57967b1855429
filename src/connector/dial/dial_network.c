/* The host's network has changed: a link that is back is used at once, and a connection whose way may have gone is
 * asked whether it lives instead of being believed until a timeout. */
#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"
#include "connector/connector_metrics.h"
#include "connector/dial/dial_internal.h"

#define COMPONENT "connector/dial"

/* Many connectors may get their network back with the same switch. */
#define JITTER_MS 200
/* A link that flaps must not make us dial without end. */
#define HURRY_MIN_MS 1000
/* Exponent of waits after that: 0.2 to 0.4 s. */
#define SHORT_BACKOFF 2
/* A dial that has just begun is as good as a new one. */
#define FRESH_USEC (300 * USEC_PER_MSEC)

static void check(struct connection *c)
{
	if (c->local.len && !host_has_address(&c->local)) {
		/* No answer can come to an address that we do not have any more. */
		char text[ADDRESS_TEXT_SIZE];
		log_warn(COMPONENT, "The local address of a connection is gone",
			 LOG_INT("connIndex", c->index),
			 LOG_STR("address", address_ip_text(&c->local, text)));
		session_close(c->session, REASON_LOST);
		return;
	}
	session_check(c->session, LIMIT_TUNNEL_CHECK_MS);
}

/* What could not be reached may be now. */
static void hurry(struct dialer *d)
{
	usec now = loop_now(d->loop);
	usec earliest = d->hurried_at ? d->hurried_at + HURRY_MIN_MS * USEC_PER_MSEC : now;
	int64_t least_ms = earliest > now ? (earliest - now) / USEC_PER_MSEC : 0;
	bool did = false;

	for (size_t i = 0; i < d->count; i++) {
		struct connection *c = &d->connections[i];
		int64_t wait_ms = least_ms + (int64_t)random_below(JITTER_MS);
		bool is_late =
			c->state == DIAL_WAITING && c->retry.at > now + wait_ms * USEC_PER_MSEC;
		bool is_stuck = (c->state == DIAL_CONNECTING || c->state == DIAL_RESOLVING) &&
				now - c->dialled_at > FRESH_USEC;
		/* The edge was reached and said no: the network has no part in that. */
		if (c->was_refused || !(is_late || is_stuck))
			continue;
		/* The first try may still be too early: a few short waits follow. */
		if (c->backoff > SHORT_BACKOFF)
			c->backoff = SHORT_BACKOFF;
		connection_redial(c, wait_ms);
		did = true;
	}
	if (did) {
		d->hurried_at = now + least_ms * USEC_PER_MSEC;
		edge_pool_refresh(d->pool, true);
	}
}

static void on_network(void *ctx, int changes)
{
	struct dialer *d = ctx;

	if (d->is_draining)
		return;
	connector_metrics_network_changed();
	log_debug(COMPONENT, "The network of this host has changed",
		  LOG_BOOL("gained", (changes & NETWORK_GAINED) != 0),
		  LOG_BOOL("lost", (changes & NETWORK_LOST) != 0));
	/* Something new may also have taken the place of what was: both are reasons to ask. */
	for (size_t i = 0; i < d->count; i++)
		if (d->connections[i].state == DIAL_REGISTERED)
			check(&d->connections[i]);
	if (changes & NETWORK_GAINED)
		hurry(d);
}

void dialer_network_init(struct dialer *d)
{
	d->network = host_watch_new(d->loop, on_network, d);
}
