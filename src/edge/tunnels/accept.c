#include "edge/tunnels/accept.h"

#include "base/log.h"
#include "base/mem.h"
#include "edge/listen/announced.h"
#include "edge/listen/arrival.h"
#include "edge/tunnels/registry.h"
#include "edge/tunnels/service_report.h"
#include "edge/worker.h"
#include "io/address.h"

#define COMPONENT "edge/tunnels"

struct metric metric_tunnel_sessions = {
	.name = "adit_edge_tunnel_connections",
	.help = "Registered tunnel connections now",
	.type = METRIC_GAUGE,
};
#define BY_PROTOCOL(protocol_)                                                                  \
	{                                                                                       \
		.name = "adit_edge_tunnel_connections_by_protocol",                             \
		.labels = "protocol=\"" protocol_ "\"",                                         \
		.help = "Registered tunnel connections now, by protocol", .type = METRIC_GAUGE, \
	}
struct metric metric_tunnel_http2 = BY_PROTOCOL("http2");
struct metric metric_tunnel_quic = BY_PROTOCOL("quic");
struct metric metric_tunnel_registered = {
	.name = "adit_edge_tunnel_registrations_total",
	.labels = "result=\"ok\"",
	.help = "Registrations of tunnel connections",
};
struct metric metric_tunnel_refused = {
	.name = "adit_edge_tunnel_registrations_total",
	.labels = "result=\"refused\"",
	.help = "Registrations of tunnel connections",
};

static void on_register(struct session *s, const struct registration *r);
static void on_local_config(struct session *s, struct bytes json);
static void on_draining(struct session *s);
static void on_doubt(struct session *s, bool is_over);
static void on_closed(struct session *s, enum reason why, const struct err *err);

static const struct session_events events = {
	.on_register = on_register,
	.on_local_config = on_local_config,
	.on_draining = on_draining,
	.on_doubt = on_doubt,
	.on_closed = on_closed,
};

static void count_session(const struct session *s, int n)
{
	metric_add(&metric_tunnel_sessions, n);
	metric_add(s->transport == &quic_transport ? &metric_tunnel_quic : &metric_tunnel_http2, n);
}

static void start_session(struct worker *w, const struct transport *transport,
			  struct session_start *how)
{
	struct tunnel_session *ts = mem_alloc(sizeof(*ts));

	list_init(&ts->node);
	ts->worker = w;
	how->side = SESSION_EDGE;
	how->events = &events;
	how->ctx = ts;
	w->session_count++;
	ts->session = transport->start(w->loop, how);
}

void accept_connector_stream(struct worker *w, struct byte_stream *stream)
{
	start_session(w, &h2_transport, &(struct session_start){ .stream = stream });
}

static void on_tls(struct worker *w, struct byte_stream *stream, struct allowance *allowance,
		   const struct err *err)
{
	if (!stream) {
		log_debug(COMPONENT, "connection without a TLS handshake",
			  LOG_STR("error", err->text));
		return;
	}
	accept_connector_stream(w, stream);
}

static void on_announced(struct worker *w, struct byte_stream *stream)
{
	arrival_start_stream(w, stream, w->tunnel_tls, NULL, on_tls);
}

void accept_connector(struct worker *w, int fd, const struct address *peer)
{
	if (announced_is_due(w, peer))
		announced_start(w, fd, peer, on_announced);
	else
		arrival_start(w, fd, peer, w->tunnel_tls, NULL, on_tls);
}

void accept_quic_connector(struct worker *w, struct quic_conn *c)
{
	/* Stock connectors first try out whether QUIC gets through, and close it without a word. They get a
	 * session, too: its deadline is theirs. */
	start_session(w, &quic_transport, &(struct session_start){ .quic = c });
}

/* Stock connectors go on trying when the text says "Unauthorized", and exit on any other refusal: the
 * operator may still be creating the tunnel or restoring a backup, so every refusal says it. */
static void refuse(struct session *s, const struct registration *r, const char *cause)
{
	char tunnel[UUID_TEXT_SIZE], peer[ADDRESS_TEXT_SIZE];
	const struct registered answer = { .ok = false, .cause = bytes_str(cause) };

	metric_add(&metric_tunnel_refused, 1);
	log_warn(COMPONENT, "connector refused", LOG_STR("tunnel", uuid_text(&r->tunnel, tunnel)),
		 LOG_STR("peer", address_text(s->peer, peer)), LOG_STR("reason", cause));
	session_reply(s, &answer);
}

static void on_register(struct session *s, const struct registration *r)
{
	struct tunnel_session *ts = s->ctx;
	struct worker *w = ts->worker;
	const struct snapshot_tunnel *tunnel = snapshot_tunnel(w->snapshot, &r->tunnel);
	char id[UUID_TEXT_SIZE], connection[UUID_TEXT_SIZE], connector[UUID_TEXT_SIZE],
		ip[ADDRESS_TEXT_SIZE];
	struct err err = { 0 };

	/* At once: who is refused waits longer before it comes back, and then meets the successor. */
	if (w->is_taken_over) {
		session_close(s, REASON_DONE);
		return;
	}
	if (w->is_draining) {
		refuse(s, r, "Unauthorized: this edge is shutting down");
		return;
	}
	if (!tunnel) {
		refuse(s, r, "Unauthorized: Tunnel not found");
		return;
	}
	/* Both are compared in full, whatever the first one gave. */
	bool account_ok = secret_bytes_eq(bytes_str(tunnel->account), r->account);
	bool secret_ok = secret_eq(&tunnel->secret, r->secret);
	if (!account_ok || !secret_ok) {
		refuse(s, r, "Unauthorized: Invalid tunnel secret");
		return;
	}

	ts->tunnel = r->tunnel;
	ts->connector = r->connector;
	ts->index = r->index;
	ts->connection = uuid_random();
	struct arena arena;
	arena_init(&arena);
	const char **features = arena_alloc(&arena, (r->feature_count + 1) * sizeof(*features));
	for (size_t i = 0; i < r->feature_count; i++)
		features[i] = arena_strdup(&arena, r->features[i]);
	struct directory_record record = {
		.tunnel = ts->tunnel,
		.connector = ts->connector,
		.connection = ts->connection,
		.index = ts->index,
		.version = arena_strdup(&arena, r->version),
		.arch = arena_strdup(&arena, r->arch),
		.origin_ip = address_ip_text(s->peer, ip),
		.location = w->location,
		.features = features,
		.feature_count = r->feature_count,
		.opened_at = clock_wall_now(),
	};
	replica_facts_read(&record.replica, r->features, r->feature_count, &r->connector,
			   bytes_of(tunnel->secret.ptr, tunnel->secret.len));
	int code = registry_add(ts, &record, &err);
	arena_done(&arena);
	if (code < 0) {
		refuse(s, r, err.text);
		return;
	}
	metric_add(&metric_tunnel_registered, 1);
	count_session(s, 1);
	log_info(COMPONENT, "connector registered", LOG_STR("tunnel", tunnel->name),
		 LOG_STR("tunnelID", uuid_text(&ts->tunnel, id)),
		 LOG_STR("connector", uuid_text(&ts->connector, connector)),
		 LOG_INT("connIndex", ts->index),
		 LOG_STR("connection", uuid_text(&ts->connection, connection)), LOG_STR("peer", ip),
		 LOG_BYTES("version", r->version), LOG_STR("protocol", s->transport->name),
		 LOG_INT("worker", w->index));
	const struct registered answer = {
		.ok = true,
		.connection = ts->connection,
		.location = bytes_str(w->location),
	};
	session_reply(s, &answer);
}

/* Rules of connectors are their own business; what they say of their services is not. */
static void on_local_config(struct session *s, struct bytes json)
{
	struct tunnel_session *ts = s->ctx;
	struct service_report *report = service_report_parse(json);

	if (report)
		registry_set_services(ts, report);
}

static void on_draining(struct session *s)
{
	struct tunnel_session *ts = s->ctx;
	char connection[UUID_TEXT_SIZE];

	registry_leave(ts);
	log_info(COMPONENT, "connector is leaving",
		 LOG_STR("connection", uuid_text(&ts->connection, connection)),
		 LOG_INT("connIndex", ts->index));
}

static void on_doubt(struct session *s, bool is_over)
{
	struct tunnel_session *ts = s->ctx;
	char connection[UUID_TEXT_SIZE];

	if (!list_is_linked(&ts->node))
		return;
	registry_doubt(ts, is_over);
	log_debug(COMPONENT,
		  is_over ? "a connector is there after all"
			  : "a connector's port is said to be closed, asking it",
		  LOG_STR("connection", uuid_text(&ts->connection, connection)),
		  LOG_INT("connIndex", ts->index));
}

static void on_closed(struct session *s, enum reason why, const struct err *err)
{
	struct tunnel_session *ts = s->ctx;
	char connection[UUID_TEXT_SIZE], peer[ADDRESS_TEXT_SIZE];

	if (list_is_linked(&ts->node)) {
		registry_remove(ts, why == REASON_LOST || why == REASON_TIMEOUT);
		count_session(s, -1);
		log_info(COMPONENT, "connector disconnected",
			 LOG_STR("connection", uuid_text(&ts->connection, connection)),
			 LOG_INT("connIndex", ts->index), LOG_STR("reason", reason_text(why)),
			 LOG_STR("error", err && err->code ? err->text : ""));
	} else {
		log_debug(COMPONENT, "connection ended unregistered",
			  LOG_STR("peer", address_text(s->peer, peer)),
			  LOG_STR("reason", reason_text(why)),
			  LOG_STR("error", err && err->code ? err->text : ""));
	}
	struct worker *w = ts->worker;
	mem_free(ts);
	w->session_count--;
	worker_check_drained(w);
}
