#include <stdio.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "connector/connector_metrics.h"
#include "connector/dial/dial_internal.h"
#include "connector/origin/health.h"
#include "connector/serve/serve.h"

#define COMPONENT "connector"

/* Steps on the way, for --transport-loglevel debug. */
static void trace(const struct link *l, const char *step)
{
	const struct connection *c = l->connection;

	log_debug("transport/dial", step, LOG_INT("connIndex", c->index),
		  LOG_STR("edge", connection_edge(c)));
}

/* --- The session ----------------------------------------------------------------------------- */

bool link_report_health(const struct link *l)
{
	struct buf report;
	bool is_told = true;

	if (!session_has_feature(l->session, FEATURE_HEALTH))
		return true;
	buf_init(&report, LIMIT_HEALTH_REPORT_BYTES);
	/* Larger than an edge takes: it goes without. */
	if (health_report(server_health(l->connection->dialer->server), &report) == 0 && report.len)
		is_told = session_report(l->session, buf_bytes(&report));
	buf_done(&report);
	return is_told;
}

static void on_refused(struct link *l, const struct registered *r)
{
	struct connection *c = l->connection;

	l->was_refused = true;
	connector_metrics_refused(r->is_duplicate);
	err_set(&c->last_error, E_DENIED, "the edge refused the registration: " BYTES_FMT,
		BYTES_ARG(r->cause));
	c->was_refused = true;
	c->avoids_place = r->is_duplicate;
	log_error(COMPONENT, "Register tunnel error from server side",
		  LOG_INT("connIndex", c->index), LOG_BYTES("error", r->cause),
		  LOG_STR("edge", connection_edge(c)));
}

static void on_registered(struct session *s, const struct registered *r)
{
	struct link *l = s->ctx;
	struct connection *c = l->connection;
	struct dialer *d = c->dialer;
	char uuid[UUID_TEXT_SIZE], ip[ADDRESS_TEXT_SIZE];

	timer_stop(&l->deadline);
	histogram_observe(&connector_metrics.register_latency,
			  loop_now(d->loop) - l->registering_at);
	if (!r->ok) {
		on_refused(l, r);
		return; /* the session closes itself */
	}
	l->state = LINK_REGISTERED;
	l->registered_at = loop_now(d->loop);
	l->id = r->connection;
	(void)snprintf(l->location, sizeof(l->location), BYTES_FMT, BYTES_ARG(r->location));
	connector_metrics_registered(c->index, &d->config->tunnel_id, r->location);
	if (c->index == 0 && !r->remotely_managed && d->local_config.len) {
		metric_add(&connector_metrics.local_config_pushes, 1);
		connector_metrics_rpc("update_local_configuration");
	}
	log_info(COMPONENT, "Registered tunnel connection", LOG_INT("connIndex", c->index),
		 LOG_STR("connection", uuid_text(&r->connection, uuid)), LOG_INT("event", 0),
		 LOG_STR("ip", address_ip_text(s->peer, ip)), LOG_BYTES("location", r->location),
		 LOG_STR("protocol", s->transport->name));
	connection_link_registered(l);
}

static void on_stream(struct session *s, struct stream *st, enum stream_kind kind,
		      const struct head *head, bool fin)
{
	const struct connection *c = ((struct link *)s->ctx)->connection;

	server_on_stream(c->dialer->server, st, kind, head, fin, c->index);
}

static void on_udp(struct session *s, struct udp_flow *f, const struct udp_target *target)
{
	const struct link *l = s->ctx;

	server_on_udp(l->connection->dialer->server, f, target, l->connection->index);
}

static void on_udp_dropped(struct session *s, int why)
{
	const struct link *l = s->ctx;

	server_on_udp_dropped(l->connection->dialer->server, (enum udp_drop)why,
			      l->connection->index);
}

static void on_draining(struct session *s)
{
	struct link *l = s->ctx;

	log_info(COMPONENT, "Edge is draining the connection",
		 LOG_INT("connIndex", l->connection->index));
	l->is_left = true;
	connection_link_left(l);
}

static void on_closed(struct session *s, enum reason why, const struct err *err)
{
	struct link *l = s->ctx;

	struct quic_facts facts;

	if (l->conn) {
		quic_conn_facts(l->conn, &facts);
		connector_metrics_quic_down(l->connection->index, reason_text(why), &facts);
	}
	l->session = NULL;
	l->conn = NULL;
	if (l->state == LINK_REGISTERING && !l->was_refused)
		connector_metrics_register_lost(reason_text(why));
	connection_link_closed(l, why, err);
}

static const struct session_events session_events = {
	.on_registered = on_registered,
	.on_stream = on_stream,
	.on_udp = on_udp,
	.on_udp_dropped = on_udp_dropped,
	.on_draining = on_draining,
	.on_closed = on_closed,
};

static void on_deadline(struct timer *t)
{
	struct link *l = CONTAINER_OF(t, struct link, deadline);

	log_error(COMPONENT, "The edge did not answer the registration in time",
		  LOG_INT("connIndex", l->connection->index),
		  LOG_STR("edge", connection_edge(l->connection)));
	session_close(l->session, REASON_TIMEOUT);
}

void link_drain(struct link *l)
{
	if (l->state == LINK_REGISTERED || l->state == LINK_RETIRING)
		connector_metrics_rpc("unregister_connection");
	session_drain(l->session);
}

static void register_at(struct link *l, const struct transport *transport,
			struct byte_stream *stream, struct quic_conn *conn)
{
	struct connection *c = l->connection;
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
		.quic = conn,
		.events = &session_events,
		.ctx = l,
		.registration = &registration,
		.local_config = buf_bytes(&d->local_config),
	};

	l->state = LINK_REGISTERING;
	l->transport = transport;
	l->conn = conn;
	trace(l, "TLS handshake done, registering");
	l->registering_at = loop_now(d->loop);
	timer_set(&l->deadline, config->rpc_timeout / USEC_PER_MSEC);
	l->session = transport->start(d->loop, &start);
}

/* --- The attempt ----------------------------------------------------------------------------- */

static void attempt_stop(struct link *l)
{
	timer_stop(&l->head_start);
	l->tcp = edge_dial_cancel(l->tcp);
	l->quic = quic_dial_cancel(l->quic);
}

/* Neither way led anywhere. HTTP/2's word counts where both were tried: it is the one that every edge has. */
static void attempt_failed(struct link *l)
{
	struct dialer *d = l->connection->dialer;
	struct err err = l->has_tcp_failed ? l->tcp_end.err : l->quic_err;
	int place = l->has_tcp_failed ? l->tcp_end.place : -1;

	for (size_t i = 0; i < l->tried_count && !l->is_move; i++)
		if (place < 0 || place == (int)i)
			edge_pool_failed(d->pool, &l->tried[i]);
	if (l->plan == PLAN_HTTP2)
		protocol_http2_failed(&d->protocol);
	connection_link_failed(l, &err);
}

static void on_tcp(void *ctx, const struct edge_dial_end *end)
{
	struct link *l = ctx;
	struct dialer *d = l->connection->dialer;

	l->tcp = NULL;
	if (end->place >= 0)
		l->place = l->connection->place = l->tried[end->place];
	if (!end->stream) {
		l->has_tcp_failed = true;
		l->tcp_end = *end;
		if (!l->quic)
			attempt_failed(l);
		return;
	}
	l->local = end->local;
	attempt_stop(l);
	register_at(l, &h2_transport, end->stream, NULL);
	if (l->plan == PLAN_RACE)
		dialer_say_protocol(d, protocol_beaten(&d->protocol, loop_now(d->loop),
						       l->has_quic_failed ? &l->quic_err : NULL));
}

static void start_tcp(struct link *l)
{
	struct dialer *d = l->connection->dialer;

	timer_stop(&l->head_start);
	l->tcp = edge_dial(&d->way, l->tried, l->tried_count,
			   d->config->dial_timeout / USEC_PER_MSEC, on_tcp, l);
}

static void on_head_start(struct timer *t)
{
	start_tcp(CONTAINER_OF(t, struct link, head_start));
}

static void on_quic(void *ctx, const struct quic_dial_end *end)
{
	struct link *l = ctx;
	const struct dialer *d = l->connection->dialer;

	l->quic = NULL;
	if (!end->conn) {
		l->has_quic_failed = true;
		l->quic_err = end->err;
		if (l->quic_err.code == E_TIMEOUT)
			err_wrap(&l->quic_err, "no answer over UDP, which may be blocked");
		if (timer_is_set(&l->head_start))
			start_tcp(l);
		else if (!l->tcp)
			attempt_failed(l);
		return;
	}
	connector_metrics_quic_up(l->connection->index);
	l->endpoint = end->endpoint;
	l->place = l->connection->place = l->tried[end->place];
	attempt_stop(l);
	if (!host_source_of(&l->place.address, d->way.from.len ? &d->way.from : NULL, &l->local))
		l->local.len = 0;
	register_at(l, &quic_transport, NULL, end->conn);
}

/* --- Life ------------------------------------------------------------------------------------ */

struct link *link_new(struct connection *c, const struct edge_place *tried, size_t count,
		      enum protocol_plan plan, bool is_move)
{
	struct dialer *d = c->dialer;
	struct link *l = mem_alloc(sizeof(*l));

	list_init(&l->node);
	l->connection = c;
	l->is_move = is_move;
	memcpy(l->tried, tried, count * sizeof(tried[0]));
	l->tried_count = count;
	l->place = tried[0];
	l->plan = plan;
	l->dialled_at = loop_now(d->loop);
	l->transport = plan == PLAN_HTTP2 ? &h2_transport : &quic_transport;
	timer_init(&l->head_start, d->loop, on_head_start);
	timer_init(&l->deadline, d->loop, on_deadline);
	trace(l, plan == PLAN_HTTP2  ? "Dialling over HTTP/2"
		 : plan == PLAN_QUIC ? "Dialling over QUIC"
				     : "Dialling over QUIC, and over HTTP/2 in a moment");
	if (plan != PLAN_HTTP2)
		l->quic = quic_dial(&d->way, l->tried, l->tried_count, on_quic, l);
	if (plan == PLAN_RACE)
		timer_set(&l->head_start, PROTOCOL_HEAD_START_MS);
	else if (plan == PLAN_HTTP2)
		start_tcp(l);
	return l;
}

struct link *link_free(struct link *l)
{
	if (!l)
		return NULL;
	BUG_IF(l->session);
	attempt_stop(l);
	timer_stop(&l->deadline);
	list_remove(&l->node);
	tunnel_endpoint_free(l->endpoint);
	return mem_free(l);
}
