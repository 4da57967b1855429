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

/* No answer can come to an address that we do not have any more. */
static void check_tcp(struct link *l)
{
	char text[ADDRESS_TEXT_SIZE];

	if (!l->local.len || host_has_address(&l->local)) {
		session_check(l->session, LIMIT_TUNNEL_CHECK_MS);
		return;
	}
	log_warn(COMPONENT, "The local address of a connection is gone",
		 LOG_INT("connIndex", l->connection->index),
		 LOG_STR("address", address_ip_text(&l->local, text)));
	session_close(l->session, REASON_LOST);
}

/* Over QUIC a connection goes on from whatever address leads to the edge now (RFC 9000 §9). While none does it is
 * neither moved nor asked: the cable may be back before anybody's patience is over. */
static void check_quic(struct link *l)
{
	const struct edge_way *way = &l->connection->dialer->way;
	char was[ADDRESS_TEXT_SIZE], is[ADDRESS_TEXT_SIZE];
	struct address source;
	struct err err = { 0 };

	if (!host_source_of(l->session->peer, way->from.len ? &way->from : NULL, &source))
		return;
	if (source.len != l->local.len || memcmp(&source.any, &l->local.any, source.len) != 0) {
		int fd = quic_dial_socket(way, l->session->peer, &err);
		int r = fd < 0 ? fd
			       : quic_endpoint_rebind(tunnel_endpoint_quic(l->endpoint), fd, &err);
		log_info(COMPONENT,
			 r < 0 ? "A connection cannot move to the new local address"
			       : "A connection moves to another local address",
			 LOG_INT("connIndex", l->connection->index),
			 LOG_STR("from", l->local.len ? address_ip_text(&l->local, was) : ""),
			 LOG_STR("to", address_ip_text(&source, is)), LOG_STR("error", err.text));
		l->local = source;
	}
	session_check(l->session, LIMIT_TUNNEL_CHECK_MS);
}

static void check(struct link *l)
{
	if (l->transport == &quic_transport)
		check_quic(l);
	else
		check_tcp(l);
}

/* Since when it has been at it, as far as that may be done anew; 0: it may not. */
static usec dialling_since(const struct connection *c)
{
	if (c->state == DIAL_RESOLVING)
		return c->looked_up_at;
	if (c->state == DIAL_DIALLING && c->next->state == LINK_CONNECTING)
		return c->next->dialled_at;
	return 0;
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
		usec since = dialling_since(c);
		bool is_stuck = since && now - since > FRESH_USEC;
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
	for (size_t i = 0; i < d->count; i++) {
		struct connection *c = &d->connections[i];
		if (c->current)
			check(c->current);
		LIST_FOR_EACH(node, &c->retiring)
			check(LIST_ENTRY(node, struct link, node));
	}
	if (!(changes & NETWORK_GAINED))
		return;
	protocol_network_changed(&d->protocol, loop_now(d->loop));
	dialer_move_arm(d);
	hurry(d);
}

void dialer_network_init(struct dialer *d)
{
	d->network = host_watch_new(d->loop, on_network, d);
}
