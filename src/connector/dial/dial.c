#include "connector/dial/dial.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "connector/connector_metrics.h"
#include "connector/dial/dial_internal.h"
#include "connector/origin/health.h"
#include "connector/serve/serve.h"

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

/* What we can do, as registration says it; the stock names first (PROTOCOL §1.10). */
static const char *const features[] = { "serialized_headers", FEATURES_ALL };

static void dial(struct connection *c);

static const char *edge_text(const struct connection *c)
{
	const struct connector_config *config = c->dialer->config;

	if (*c->place.name || config->edge_count == 0)
		return c->place.name;
	return config->edges[c->index % config->edge_count];
}

/* Steps on the way, for --transport-loglevel debug. */
static void trace(const struct connection *c, const char *step)
{
	log_debug("transport/dial", step, LOG_INT("connIndex", c->index),
		  LOG_STR("edge", edge_text(c)));
}

/* --- Ends ------------------------------------------------------------------------------------ */

static void check_drained(struct dialer *d)
{
	if (!d->is_draining || d->has_drained)
		return;
	for (size_t i = 0; i < d->count; i++)
		if (d->connections[i].state != DIAL_DONE)
			return;
	d->has_drained = true;
	d->events->on_drained(d->ctx);
}

static void connection_done(struct connection *c)
{
	timer_stop(&c->retry);
	timer_stop(&c->deadline);
	c->attempt = edge_dial_cancel(c->attempt);
	c->state = DIAL_DONE;
}

static void try_later(struct connection *c)
{
	struct dialer *d = c->dialer;
	unsigned cap = d->config->retries < BACKOFF_MAX_EXPONENT ? d->config->retries
								 : BACKOFF_MAX_EXPONENT;
	int64_t base = c->was_refused ? REFUSED_BASE_MS : BACKOFF_BASE_MS;

	timer_stop(&c->deadline);
	if (d->is_draining) {
		connection_done(c);
		check_drained(d);
		return;
	}
	int64_t wait = base << (c->backoff < cap ? c->backoff : cap);
	wait = wait / 2 + (int64_t)random_below((uint64_t)wait / 2 + 1);
	c->failures++;
	c->backoff++;
	c->state = DIAL_WAITING;
	log_info(COMPONENT, "Retrying connection", LOG_INT("connIndex", c->index),
		 LOG_INT("inMs", wait), LOG_STR("edge", edge_text(c)));
	timer_set(&c->retry, wait);
}

static void dial_failed(struct connection *c, const struct err *err)
{
	log_error(COMPONENT, "Unable to establish connection with the edge",
		  LOG_INT("connIndex", c->index), LOG_STR("edge", edge_text(c)),
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
	c->attempt = edge_dial_cancel(c->attempt);
	timer_stop(&c->deadline);
	c->state = DIAL_WAITING;
	timer_set(&c->retry, wait_ms);
}

static void drain(struct connection *c)
{
	if (c->state == DIAL_REGISTERED)
		connector_metrics_rpc("unregister_connection");
	session_drain(c->session);
}

/* --- The session ----------------------------------------------------------------------------- */

/* True when there is nothing that this edge should hear and has not heard. */
static bool report_health(const struct connection *c)
{
	struct buf report;
	bool is_told = true;

	if (!session_has_feature(c->session, FEATURE_HEALTH))
		return true;
	buf_init(&report, LIMIT_HEALTH_REPORT_BYTES);
	/* Larger than an edge takes: it goes without. */
	if (health_report(server_health(c->dialer->server), &report) == 0 && report.len)
		is_told = session_report(c->session, buf_bytes(&report));
	buf_done(&report);
	return is_told;
}

bool dialer_report_health(struct dialer *d)
{
	bool is_told = true;

	for (size_t i = 0; i < d->count; i++)
		if (d->connections[i].state == DIAL_REGISTERED && !d->is_draining)
			is_told &= report_health(&d->connections[i]);
	return is_told;
}

static void on_registered(struct session *s, const struct registered *r)
{
	struct connection *c = s->ctx;
	struct dialer *d = c->dialer;
	char uuid[UUID_TEXT_SIZE], ip[ADDRESS_TEXT_SIZE];

	timer_stop(&c->deadline);
	histogram_observe(&connector_metrics.register_latency,
			  loop_now(d->loop) - c->registering_at);
	if (!r->ok) {
		connector_metrics_refused(r->is_duplicate);
		err_set(&c->last_error, E_DENIED, "the edge refused the registration: " BYTES_FMT,
			BYTES_ARG(r->cause));
		c->was_refused = true;
		c->avoids_place = r->is_duplicate;
		log_error(COMPONENT, "Register tunnel error from server side",
			  LOG_INT("connIndex", c->index), LOG_BYTES("error", r->cause),
			  LOG_STR("edge", edge_text(c)));
		return; /* the session closes itself */
	}
	c->was_refused = false;
	c->avoids_place = false;
	c->failures = 0;
	c->registered_at = loop_now(d->loop);
	c->state = DIAL_REGISTERED;
	edge_pool_worked(d->pool, &c->place);
	c->last_error = (struct err){ 0 };
	c->id = r->connection;
	(void)snprintf(c->location, sizeof(c->location), BYTES_FMT, BYTES_ARG(r->location));
	connector_metrics_registered(c->index, &d->config->tunnel_id, r->location);
	if (c->index == 0 && !r->remotely_managed && d->local_config.len) {
		metric_add(&connector_metrics.local_config_pushes, 1);
		connector_metrics_rpc("update_local_configuration");
	}
	log_info(COMPONENT, "Registered tunnel connection", LOG_INT("connIndex", c->index),
		 LOG_STR("connection", uuid_text(&r->connection, uuid)), LOG_INT("event", 0),
		 LOG_STR("ip", address_ip_text(s->peer, ip)), LOG_BYTES("location", r->location),
		 LOG_STR("protocol", s->transport->name));
	if (d->is_draining) {
		drain(c);
		return;
	}
	(void)report_health(c);
	if (d->has_registered)
		return;
	d->has_registered = true;
	for (size_t i = 1; i < d->count; i++)
		if (d->connections[i].state == DIAL_IDLE)
			dial(&d->connections[i]);
	d->events->on_first_registered(d->ctx);
}

static void on_stream(struct session *s, struct stream *st, enum stream_kind kind,
		      const struct head *head, bool fin)
{
	struct connection *c = s->ctx;

	server_on_stream(c->dialer->server, st, kind, head, fin, c->index);
}

static void on_draining(struct session *s)
{
	struct connection *c = s->ctx;

	log_info(COMPONENT, "Edge is draining the connection", LOG_INT("connIndex", c->index));
}

static void on_session_closed(struct session *s, enum reason why, const struct err *err)
{
	struct connection *c = s->ctx;

	c->session = NULL;
	if (c->dialer->is_draining) {
		log_info(COMPONENT, "Unregistered tunnel connection",
			 LOG_INT("connIndex", c->index), LOG_INT("event", 0));
		connection_done(c);
		check_drained(c->dialer);
		return;
	}
	if (c->state == DIAL_REGISTERING && !c->was_refused)
		connector_metrics_register_lost(reason_text(why));
	if (c->state == DIAL_REGISTERED || !c->was_refused)
		err_set(&c->last_error, err && err->code ? err->code : E_CLOSED,
			"%s the edge: %s%s%s",
			c->state == DIAL_REGISTERED ? "lost the connection with"
						    : "no registration at",
			reason_text(why), err && err->code ? ": " : "",
			err && err->code ? err->text : "");
	log_warn(COMPONENT, "Lost connection with the edge", LOG_INT("connIndex", c->index),
		 LOG_STR("edge", edge_text(c)), LOG_STR("reason", reason_text(why)),
		 LOG_STR("error", err && err->code ? err->text : ""));
	if (c->state == DIAL_REGISTERED &&
	    loop_now(c->dialer->loop) - c->registered_at >= STEADY_USEC)
		c->backoff = 0;
	if (c->state == DIAL_REGISTERING && !c->was_refused)
		edge_pool_failed(c->dialer->pool, &c->place);
	edge_pool_refresh(c->dialer->pool, false);
	try_later(c);
}

static const struct session_events session_events = {
	.on_registered = on_registered,
	.on_stream = on_stream,
	.on_draining = on_draining,
	.on_closed = on_session_closed,
};

/* Of a look-up, or of a registration. */
static void on_deadline(struct timer *t)
{
	struct connection *c = CONTAINER_OF(t, struct connection, deadline);
	struct err err;

	if (c->state == DIAL_RESOLVING) {
		err_set(&err, E_TIMEOUT, "looking up the edge: no answer in time");
		dial_failed(c, &err);
		return;
	}
	log_error(COMPONENT, "The edge did not answer the registration in time",
		  LOG_INT("connIndex", c->index), LOG_STR("edge", edge_text(c)));
	if (c->session)
		session_close(c->session, REASON_TIMEOUT);
}

/* --- An attempt ------------------------------------------------------------------------------ */

static void register_at(struct connection *c, struct byte_stream *stream)
{
	struct dialer *d = c->dialer;
	const struct connector_config *config = d->config;
	const struct registration registration = {
		.account = bytes_str(config->account_tag),
		.secret = bytes_of(config->tunnel_secret.ptr, config->tunnel_secret.len),
		.tunnel = config->tunnel_id,
		.index = (uint8_t)c->index,
		.connector = d->connector,
		.version = BYTES_LIT(ADIT_VERSION),
#if defined(__x86_64__)
		.arch = BYTES_LIT("linux_amd64"),
#elif defined(__aarch64__)
		.arch = BYTES_LIT("linux_arm64"),
#else
		.arch = BYTES_LIT("linux"),
#endif
		.features = d->features,
		.feature_count = d->feature_count,
		.attempts = (uint8_t)(c->failures < 255 ? c->failures : 255),
	};
	const struct session_start start = {
		.side = SESSION_CONNECTOR,
		.stream = stream,
		.events = &session_events,
		.ctx = c,
		.registration = &registration,
		.local_config = buf_bytes(&d->local_config),
	};

	c->state = DIAL_REGISTERING;
	trace(c, "TLS handshake done, registering");
	c->registering_at = loop_now(d->loop);
	timer_set(&c->deadline, config->rpc_timeout / USEC_PER_MSEC);
	c->session = h2_transport.start(d->loop, &start);
}

static void on_dialled(void *ctx, const struct edge_dial_end *end)
{
	struct connection *c = ctx;
	struct dialer *d = c->dialer;

	c->attempt = NULL;
	if (end->place >= 0)
		c->place = c->tried[end->place];
	if (end->stream) {
		c->local = end->local;
		register_at(c, end->stream);
		return;
	}
	for (size_t i = 0; i < c->tried_count; i++)
		if (end->place < 0 || end->place == (int)i)
			edge_pool_failed(d->pool, &c->tried[i]);
	dial_failed(c, &end->err);
}

/* The best places for it, the others' considered. */
static size_t pick(struct connection *c)
{
	struct dialer *d = c->dialer;
	const struct edge_place *others[CONNECTOR_MAX_CONNECTIONS];
	struct edge_wish wish = {
		.index = c->index,
		.last = *c->place.name ? &c->place : NULL,
		.avoid_last = c->avoids_place,
		.others = others,
	};

	for (size_t i = 0; i < d->count; i++) {
		const struct connection *o = &d->connections[i];
		if (o != c && (o->state == DIAL_CONNECTING || o->state == DIAL_REGISTERING ||
			       o->state == DIAL_REGISTERED))
			others[wish.other_count++] = &o->place;
	}
	return edge_pool_pick(d->pool, &wish, c->tried, EDGE_DIAL_PLACES);
}

static void dial(struct connection *c)
{
	struct dialer *d = c->dialer;
	int64_t timeout_ms = d->config->dial_timeout / USEC_PER_MSEC;

	c->dialled_at = loop_now(d->loop);
	c->local = (struct address){ 0 };
	c->tried_count = pick(c);
	if (c->tried_count == 0) {
		c->state = DIAL_RESOLVING;
		trace(c, "No address is known, looking up");
		timer_set(&c->deadline, timeout_ms);
		edge_pool_refresh(d->pool, false);
		return;
	}
	c->place = c->tried[0];
	c->state = DIAL_CONNECTING;
	trace(c, "Dialling");
	c->attempt = edge_dial(&d->way, c->tried, c->tried_count, timeout_ms, on_dialled, c);
}

static void on_retry(struct timer *t)
{
	dial(CONTAINER_OF(t, struct connection, retry));
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
		} else if (c->state == DIAL_CONNECTING && has_place &&
			   !edge_pool_has(d->pool, &c->place)) {
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
		connection_done(&d->connections[i]);
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
	for (size_t i = 0; i < d->count; i++) {
		struct connection *c = &d->connections[i];
		if (c->session)
			drain(c);
		else
			connection_done(c);
	}
	check_drained(d);
}

void dialer_abort(struct dialer *d)
{
	for (size_t i = 0; i < d->count; i++)
		if (d->connections[i].session)
			session_close(d->connections[i].session, REASON_DONE);
}

size_t dialer_registered_count(const struct dialer *d)
{
	size_t count = 0;

	for (size_t i = 0; i < d->count; i++)
		count += d->connections[i].state == DIAL_REGISTERED;
	return count;
}

/* --- What the local API asks ----------------------------------------------------------------- */

size_t dialer_connection_count(const struct dialer *d)
{
	return d->count;
}

void dialer_connection(const struct dialer *d, size_t index, struct dialer_connection *ret)
{
	static const char *const states[] = {
		[DIAL_IDLE] = "idle",
		[DIAL_RESOLVING] = "resolving",
		[DIAL_CONNECTING] = "connecting",
		[DIAL_REGISTERING] = "registering",
		[DIAL_REGISTERED] = "registered",
		[DIAL_WAITING] = "waiting",
		[DIAL_DONE] = "done",
	};
	const struct connection *c = &d->connections[index];

	BUG_IF(index >= d->count);
	*ret = (struct dialer_connection){
		.state = states[c->state],
		.is_registered = c->state == DIAL_REGISTERED,
		.edge = edge_text(c),
		.protocol = h2_transport.name,
		.failures = c->failures,
		.last_error = c->last_error,
	};
	if (c->state != DIAL_REGISTERED)
		return;
	if (c->session->peer)
		ret->peer = *c->session->peer;
	ret->id = c->id;
	memcpy(ret->location, c->location, sizeof(ret->location));
}
