#include "connector/dial/dial.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "connector/connector_metrics.h"
#include "connector/dial/dial_internal.h"

#define COMPONENT "connector"

/* Waiting before the next dial: doubled each time up to 2^retries, at most 2^4, and cut by up to half at
 * random. A lost connection comes back within seconds however long the edge was away; 1.6 s at most is
 * no load for an edge that is up, nor a hot loop for one that is not. */
#define BACKOFF_MAX_EXPONENT 4
#define BACKOFF_BASE_MS 100
/* When the edge has refused the registration, it will do so again: be patient. */
#define REFUSED_BASE_MS 1000
/* A registration that did not last so long was none: the wait grows on, or an edge that takes us and
 * closes would be dialled ten times a second. */
#define STEADY_USEC (5 * USEC_PER_SEC)

/* Links of a connection that finish their streams; beyond it the oldest is closed. An edge that lets go of us all the
 * time, or connections that move all the time, must not gather sessions without end. */
#define RETIRING_MAX 16
/* All connectors of an edge that leaves come to the next one: not in the same moment. */
#define REPLACE_JITTER_MS 100

/* What we can do, as registration says it; the stock names first (PROTOCOL §1.10). */
static const char *const features[] = { "serialized_headers", "support_datagram_v2", FEATURES_ALL };

static void dial(struct connection *c);

const char *connection_edge(const struct connection *c)
{
	const struct connector_config *config = c->dialer->config;

	if (*c->place.name || config->edge_count == 0)
		return c->place.name;
	return config->edges[c->index % config->edge_count];
}

/* --- Ends ------------------------------------------------------------------------------------ */

static bool is_over(const struct connection *c)
{
	return !c->current && !c->next && list_is_empty(&c->retiring);
}

static void check_drained(struct dialer *d)
{
	if (!d->is_draining || d->has_drained)
		return;
	for (size_t i = 0; i < d->count; i++)
		if (!is_over(&d->connections[i]))
			return;
	d->has_drained = true;
	d->events->on_drained(d->ctx);
}

/* Dials no more. What has a session keeps it. */
static void connection_rest(struct connection *c)
{
	timer_stop(&c->retry);
	timer_stop(&c->deadline);
	if (c->next && !c->next->session)
		c->next = link_free(c->next);
	c->state = DIAL_DONE;
}

static void try_later(struct connection *c)
{
	struct dialer *d = c->dialer;
	unsigned cap = d->config->retries < BACKOFF_MAX_EXPONENT ? d->config->retries
								 : BACKOFF_MAX_EXPONENT;
	int64_t base = c->was_refused ? REFUSED_BASE_MS : BACKOFF_BASE_MS;

	/* It refuses everybody while it drains: its successor should not have to wait for us. */
	if (c->was_refused && c->current)
		cap = 0;
	timer_stop(&c->deadline);
	if (d->is_draining) {
		connection_rest(c);
		check_drained(d);
		return;
	}
	int64_t wait = base << (c->backoff < cap ? c->backoff : cap);
	wait = wait / 2 + (int64_t)random_below((uint64_t)wait / 2 + 1);
	c->failures++;
	c->backoff++;
	c->state = DIAL_WAITING;
	log_info(COMPONENT, "Retrying connection", LOG_INT("connIndex", c->index),
		 LOG_INT("inMs", wait), LOG_STR("edge", connection_edge(c)));
	timer_set(&c->retry, wait);
}

static void dial_failed(struct connection *c, const struct err *err)
{
	log_error(COMPONENT, "Unable to establish connection with the edge",
		  LOG_INT("connIndex", c->index), LOG_STR("edge", connection_edge(c)),
		  LOG_STR("error", err->text));
	connector_metrics_dial_failed(c->index, err_name(err->code));
	c->last_error = *err;
	c->was_refused = false;
	/* It may have moved. */
	edge_pool_refresh(c->dialer->pool, false);
	try_later(c);
}

void connection_redial(struct connection *c, int64_t wait_ms)
{
	if (c->next && !c->next->session)
		c->next = link_free(c->next);
	timer_stop(&c->deadline);
	c->state = DIAL_WAITING;
	timer_set(&c->retry, wait_ms);
}

bool dialer_report_health(struct dialer *d)
{
	bool is_told = true;

	for (size_t i = 0; i < d->count; i++)
		if (d->connections[i].current && !d->is_draining)
			is_told &= link_report_health(d->connections[i].current);
	return is_told;
}

/* --- What becomes of links ------------------------------------------------------------------- */

/* Did it work long enough to be a working one? */
static bool was_steady(const struct link *l)
{
	return loop_now(l->connection->dialer->loop) - l->registered_at >= STEADY_USEC;
}

/* QUIC was tried for a connection that works: it goes on working. */
static void move_failed(struct link *l, const struct err *err)
{
	struct connection *c = l->connection;
	struct dialer *d = c->dialer;
	bool was_refused = l->was_refused;

	d->moving = NULL;
	c->next = link_free(l);
	c->state = d->is_draining ? DIAL_DONE : DIAL_STEADY;
	log_debug(COMPONENT, "QUIC does not reach the edge yet", LOG_INT("connIndex", c->index),
		  LOG_STR("error", err->text));
	if (was_refused)
		protocol_refused(&d->protocol, loop_now(d->loop));
	else
		dialer_say_protocol(d, protocol_failed(&d->protocol, loop_now(d->loop), err));
	dialer_move_arm(d);
	check_drained(d);
}

void connection_link_failed(struct link *l, const struct err *err)
{
	struct connection *c = l->connection;
	struct err copy = *err;

	if (l->is_move) {
		move_failed(l, &copy);
		return;
	}
	c->next = link_free(l);
	dial_failed(c, &copy);
}

/* The edge has another one of ours now, of the same index, and sends it what comes. */
static void retire(struct link *l)
{
	struct connection *c = l->connection;
	size_t count = 0;

	l->state = LINK_RETIRING;
	list_append(&c->retiring, &l->node);
	/* An edge that leaves may have visitors who ask once more, and it ends the session itself. */
	if (!l->is_left)
		link_drain(l);
	LIST_FOR_EACH(node, &c->retiring)
		count++;
	if (count > RETIRING_MAX)
		session_close(LIST_ENTRY(c->retiring.next, struct link, node)->session, REASON_DONE);
}

void connection_link_registered(struct link *l)
{
	struct connection *c = l->connection;
	struct dialer *d = c->dialer;
	struct link *old = c->current;

	BUG_IF(c->next != l);
	c->next = NULL;
	c->current = l;
	l->is_move = false;
	c->state = DIAL_STEADY;
	c->was_refused = false;
	c->avoids_place = false;
	c->failures = 0;
	c->last_error = (struct err){ 0 };
	edge_pool_worked(d->pool, &l->place);
	if (d->moving == l)
		d->moving = NULL;
	if (l->transport == &quic_transport)
		dialer_say_protocol(d, protocol_registered(&d->protocol, loop_now(d->loop)));
	if (old)
		retire(old);
	if (d->is_draining) {
		link_drain(l);
		return;
	}
	(void)link_report_health(l);
	dialer_move_arm(d);
	if (d->has_registered)
		return;
	d->has_registered = true;
	for (size_t i = 1; i < d->count; i++)
		if (d->connections[i].state == DIAL_IDLE)
			dial(&d->connections[i]);
	d->events->on_first_registered(d->ctx);
}

/* What was a try is what the connection depends on now. */
static void need_next(struct connection *c)
{
	struct dialer *d = c->dialer;

	c->next->is_move = false;
	c->state = DIAL_DIALLING;
	if (d->moving == c->next)
		d->moving = NULL;
}

void connection_link_left(struct link *l)
{
	struct connection *c = l->connection;

	if (l != c->current || c->dialer->is_draining)
		return;
	/* Elsewhere, if there is anywhere else: this edge may be going down for good. */
	c->avoids_place = true;
	if (c->next) {
		need_next(c);
	} else if (!was_steady(l)) {
		try_later(c);
	} else {
		c->backoff = 0;
		connection_redial(c, (int64_t)random_below(REPLACE_JITTER_MS));
	}
}

/* A connection that worked has ended. */
static void current_closed(struct link *l, enum reason why)
{
	struct connection *c = l->connection;
	struct dialer *d = c->dialer;

	c->current = NULL;
	if (was_steady(l))
		c->backoff = 0;
	/* A host without a way to the edge says nothing about UDP. */
	if (l->transport == &quic_transport && why == REASON_TIMEOUT &&
	    host_has_route(&l->place.address, d->way.from.len ? &d->way.from : NULL))
		dialer_say_protocol(
			d, protocol_silent(&d->protocol, loop_now(d->loop), l->registered_at));
	if (c->next) {
		need_next(c);
	} else if (l->is_left && c->state == DIAL_WAITING) {
		/* The edge that refused its own connector has gone: who comes next may take it. */
		c->was_refused = false;
		c->backoff = 0;
		connection_redial(c, (int64_t)random_below(2 * REPLACE_JITTER_MS));
	}
}

static void log_lost(const struct link *l, enum reason why, const struct err *err)
{
	const struct connection *c = l->connection;

	log_warn(COMPONENT, "Connection terminated", LOG_INT("connIndex", c->index),
		 LOG_STR("edge", connection_edge(c)), LOG_STR("reason", reason_text(why)),
		 LOG_STR("error", err && err->code ? err->text : ""));
}

void connection_link_closed(struct link *l, enum reason why, const struct err *err)
{
	struct connection *c = l->connection;
	struct dialer *d = c->dialer;
	bool is_current = l == c->current, was_refused = l->was_refused;
	struct err cause;

	err_set(&cause, err && err->code ? err->code : E_CLOSED, "%s the edge: %s%s%s",
		is_current ? "lost the connection with" : "no registration at", reason_text(why),
		err && err->code ? ": " : "", err && err->code ? err->text : "");
	if (d->is_draining || l->state == LINK_RETIRING) {
		log_info(COMPONENT, "Unregistered tunnel connection",
			 LOG_INT("connIndex", c->index), LOG_INT("event", 0));
		c->current = is_current ? NULL : c->current;
		d->moving = d->moving == l ? NULL : d->moving;
		c->next = c->next == l ? NULL : c->next;
		link_free(l);
		check_drained(d);
		return;
	}
	if (l->is_move) {
		move_failed(l, &cause);
		return;
	}
	/* The edge may let go of it before its word that the next one is registered is here. */
	if (is_current && l->is_left && c->next && why == REASON_DONE)
		log_info(COMPONENT, "Unregistered tunnel connection",
			 LOG_INT("connIndex", c->index), LOG_INT("event", 0));
	else
		log_lost(l, why, err);
	if (is_current || !was_refused)
		c->last_error = cause;
	if (is_current) {
		current_closed(l, why);
	} else {
		c->next = NULL;
		if (!was_refused)
			edge_pool_failed(d->pool, &l->place);
		if (!was_refused && l->transport == &quic_transport)
			dialer_say_protocol(
				d, protocol_failed(&d->protocol, loop_now(d->loop), &cause));
	}
	link_free(l);
	edge_pool_refresh(d->pool, false);
	/* Unless the next one is under way, or its wait. */
	if (!c->next && !timer_is_set(&c->retry) && c->state != DIAL_RESOLVING)
		try_later(c);
	dialer_move_arm(d);
}

/* --- Dialling -------------------------------------------------------------------------------- */

size_t connection_pick(const struct connection *c, struct edge_place *ret, size_t max)
{
	const struct dialer *d = c->dialer;
	const struct edge_place *others[CONNECTOR_MAX_CONNECTIONS];
	struct edge_wish wish = {
		.index = c->index,
		.last = *c->place.name ? &c->place : NULL,
		.avoid_last = c->avoids_place,
		.others = others,
	};

	for (size_t i = 0; i < d->count; i++) {
		const struct connection *o = &d->connections[i];
		if (o != c && (o->current || o->next))
			others[wish.other_count++] = &o->place;
	}
	return edge_pool_pick(d->pool, &wish, ret, max);
}

static void dial(struct connection *c)
{
	struct edge_place places[EDGE_DIAL_PLACES];
	struct dialer *d = c->dialer;
	struct err err;

	size_t count = connection_pick(c, places, EDGE_DIAL_PLACES);
	if (count == 0) {
		c->state = DIAL_RESOLVING;
		c->looked_up_at = loop_now(d->loop);
		timer_set(&c->deadline, d->config->dial_timeout / USEC_PER_MSEC);
		edge_pool_refresh(d->pool, false);
		return;
	}
	c->place = places[0];
	enum protocol_plan plan = protocol_plan(&d->protocol, places[0].is_proxied);
	if (plan == PLAN_QUIC && places[0].is_proxied) {
		err_set(&err, E_UNSUPPORTED,
			"QUIC cannot pass the proxy (%s), which takes TCP alone: --protocol auto or "
			"http2 can, and NO_PROXY may list the edge",
			d->config->edge_proxy_setting);
		dial_failed(c, &err);
		return;
	}
	c->state = DIAL_DIALLING;
	c->next = link_new(c, places, count, plan, false);
}

static void on_retry(struct timer *t)
{
	dial(CONTAINER_OF(t, struct connection, retry));
}

/* Of a look-up. */
static void on_deadline(struct timer *t)
{
	struct err err;

	err_set(&err, E_TIMEOUT, "looking up the edge: no answer in time");
	dial_failed(CONTAINER_OF(t, struct connection, deadline), &err);
}

/* A look-up has ended. */
static void on_addresses(void *ctx)
{
	struct dialer *d = ctx;

	for (size_t i = 0; i < d->count; i++) {
		struct connection *c = &d->connections[i];
		bool has_place = edge_pool_count(d->pool) > 0;

		if (c->state == DIAL_RESOLVING && has_place) {
			timer_stop(&c->deadline);
			dial(c);
		} else if (c->state == DIAL_RESOLVING) {
			dial_failed(c, edge_pool_error(d->pool));
		} else if (c->next && !c->next->is_move && c->next->state == LINK_CONNECTING &&
			   has_place && !edge_pool_has(d->pool, &c->place)) {
			/* It is not there any more. Registered connections stay: they work. */
			connection_redial(c, 0);
		}
	}
}

/* --- Life ------------------------------------------------------------------------------------ */

struct dialer *dialer_new(struct loop *loop, const struct connector_config *config,
			  const struct uuid *connector, struct server *server,
			  const struct dialer_events *events, void *ctx, struct err *err)
{
	size_t count = config->ha_connections;
	struct dialer *d = mem_alloc(sizeof(*d) + count * sizeof(d->connections[0]));

	BUG_IF(count > CONNECTOR_MAX_CONNECTIONS);
	d->loop = loop;
	d->config = config;
	d->connector = *connector;
	d->server = server;
	d->events = events;
	d->ctx = ctx;
	protocol_init(&d->protocol, config->protocol);
	dialer_move_init(d);
	if (dialer_way_init(d, on_addresses, err) < 0) {
		dialer_way_done(d);
		return mem_free(d);
	}
	buf_init(&d->local_config, LIMIT_RPC_BYTES / 2);
	if (ingress_write_json(config->ingress, &d->local_config) < 0) {
		/* So many rules that the edge would refuse the text. */
		buf_clear(&d->local_config);
		metric_add(&connector_metrics.local_config_pushes_errors, 1);
	}
	d->feature_count = ARRAY_LEN(features) + config->feature_count;
	d->features = mem_alloc_array(d->feature_count, sizeof(*d->features));
	for (size_t i = 0; i < d->feature_count; i++)
		d->features[i] = bytes_str(i < ARRAY_LEN(features)
						   ? features[i]
						   : config->features[i - ARRAY_LEN(features)]);
	d->count = count;
	for (size_t i = 0; i < count; i++) {
		struct connection *c = &d->connections[i];
		c->dialer = d;
		c->index = (unsigned)i;
		list_init(&c->retiring);
		timer_init(&c->retry, loop, on_retry);
		timer_init(&c->deadline, loop, on_deadline);
	}
	return d;
}

struct dialer *dialer_free(struct dialer *d)
{
	if (!d)
		return NULL;
	for (size_t i = 0; i < d->count; i++)
		connection_rest(&d->connections[i]);
	timer_stop(&d->move);
	host_watch_free(d->network);
	dialer_way_done(d);
	buf_done(&d->local_config);
	mem_free(d->features);
	return mem_free(d);
}

void dialer_start(struct dialer *d)
{
	dialer_network_init(d);
	dial(&d->connections[0]);
}

void dialer_drain(struct dialer *d)
{
	if (d->is_draining)
		return;
	d->is_draining = true;
	timer_stop(&d->move);
	d->moving = NULL;
	for (size_t i = 0; i < d->count; i++) {
		struct connection *c = &d->connections[i];
		connection_rest(c);
		if (c->current)
			link_drain(c->current);
		if (c->next)
			link_drain(c->next);
		LIST_FOR_EACH(node, &c->retiring)
			link_drain(LIST_ENTRY(node, struct link, node));
	}
	check_drained(d);
}

void dialer_abort(struct dialer *d)
{
	for (size_t i = 0; i < d->count; i++) {
		struct connection *c = &d->connections[i];
		if (c->current)
			session_close(c->current->session, REASON_DONE);
		if (c->next && c->next->session)
			session_close(c->next->session, REASON_DONE);
		LIST_FOR_EACH(node, &c->retiring)
			session_close(LIST_ENTRY(node, struct link, node)->session, REASON_DONE);
	}
}

size_t dialer_registered_count(const struct dialer *d)
{
	size_t count = 0;

	for (size_t i = 0; i < d->count; i++)
		count += d->connections[i].current && !d->connections[i].current->is_left;
	return count;
}

/* --- What the local API asks ----------------------------------------------------------------- */

size_t dialer_connection_count(const struct dialer *d)
{
	return d->count;
}

static const char *state_text(const struct connection *c)
{
	if (c->current)
		return c->current->is_left ? "draining" : "registered";
	switch (c->state) {
	case DIAL_IDLE:
		return "idle";
	case DIAL_RESOLVING:
		return "resolving";
	case DIAL_DIALLING:
		return c->next->state == LINK_CONNECTING ? "connecting" : "registering";
	case DIAL_WAITING:
		return "waiting";
	default:
		return "done";
	}
}

void dialer_connection(const struct dialer *d, size_t index, struct dialer_connection *ret)
{
	const struct connection *c = &d->connections[index];
	const struct link *l = c->current ? c->current : c->next;

	BUG_IF(index >= d->count);
	*ret = (struct dialer_connection){
		.state = state_text(c),
		.is_registered = c->current != NULL,
		.edge = connection_edge(c),
		.failures = c->failures,
		.last_error = c->last_error,
	};
	if (l)
		ret->protocol = l->transport->name;
	else
		ret->protocol = protocol_plan(&d->protocol, c->place.is_proxied) == PLAN_HTTP2
					? h2_transport.name
					: quic_transport.name;
	if (!c->current)
		return;
	if (l->session->peer)
		ret->peer = *l->session->peer;
	ret->id = l->id;
	memcpy(ret->location, l->location, sizeof(ret->location));
}

bool dialer_path(const struct dialer *d, size_t index, struct quic_facts *ret)
{
	const struct connection *c = &d->connections[index];

	BUG_IF(index >= d->count);
	if (!c->current || !c->current->conn)
		return false;
	quic_conn_facts(c->current->conn, ret);
	return true;
}

const struct protocol *dialer_protocol(const struct dialer *d)
{
	return &d->protocol;
}
