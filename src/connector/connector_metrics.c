#include "connector/connector_metrics.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "transport/quic_endpoint.h"

#define MSEC(n) ((n)*USEC_PER_MSEC)

/* Bounds of the stock connector's buckets. */
static const int64_t connect_bounds[] = { MSEC(1),   MSEC(10),  MSEC(25),   MSEC(50),
					  MSEC(100), MSEC(500), MSEC(1000), MSEC(5000) };
static const int64_t rpc_bounds[] = { MSEC(50), MSEC(150), MSEC(450), MSEC(1350), MSEC(4050) };
static const int64_t head_bounds[] = { MSEC(1),    MSEC(2),    MSEC(5),     MSEC(10),   MSEC(25),
				       MSEC(50),   MSEC(100),  MSEC(250),   MSEC(500),  MSEC(1000),
				       MSEC(2500), MSEC(5000), MSEC(10000), MSEC(30000) };

#define COUNTER(its_name, its_help)                                            \
	{                                                                      \
		.name = (its_name), .help = (its_help), .type = METRIC_COUNTER \
	}
#define GAUGE(its_name, its_help)                                            \
	{                                                                    \
		.name = (its_name), .help = (its_help), .type = METRIC_GAUGE \
	}
#define HISTOGRAM(its_name, its_labels, its_help, unit, its_bounds)           \
	{                                                                     \
		.sum = { .name = (its_name),                                  \
			 .labels = (its_labels),                              \
			 .help = (its_help),                                  \
			 .type = METRIC_HISTOGRAM,                            \
			 .per_unit = (unit) },                                \
		.bounds = (its_bounds), .bound_count = ARRAY_LEN(its_bounds), \
	}

struct connector_metrics connector_metrics = {
	.total_requests = COUNTER("cloudflared_tunnel_total_requests",
				  "Amount of requests proxied through all the tunnels"),
	.concurrent_requests = GAUGE("cloudflared_tunnel_concurrent_requests_per_tunnel",
				     "Concurrent requests proxied through each tunnel"),
	.request_errors =
		COUNTER("cloudflared_tunnel_request_errors", "Count of error proxying to origin"),
	.request_bytes =
		COUNTER("adit_connector_request_bytes_total",
			"Bytes of request bodies and of upgraded and TCP streams, from visitors"),
	.response_bytes =
		COUNTER("adit_connector_response_bytes_total",
			"Bytes of response bodies and of upgraded and TCP streams, to visitors"),
	.response_head = HISTOGRAM("adit_connector_response_head_seconds", NULL,
				   "Time from the arrival of a request until its response begins",
				   USEC_PER_SEC, head_bounds),
	.tcp_active_sessions =
		GAUGE("cloudflared_tcp_active_sessions",
		      "Concurrent count of TCP sessions that are being proxied to any origin"),
	.tcp_total_sessions =
		COUNTER("cloudflared_tcp_total_sessions",
			"Total count of TCP sessions that have been proxied to any origin"),
	.udp_active_sessions =
		GAUGE("cloudflared_udp_active_sessions",
		      "Concurrent count of UDP sessions that are being proxied to any origin"),
	.udp_total_sessions =
		COUNTER("cloudflared_udp_total_sessions",
			"Total count of UDP sessions that have been proxied to any origin"),
	.connect_streams_errors =
		COUNTER("cloudflared_proxy_connect_streams_errors",
			"Total count of failure to establish and acknowledge connections"),
	.connect_latency =
		HISTOGRAM("cloudflared_proxy_connect_latency", NULL,
			  "Time it takes to establish and acknowledge connections in milliseconds",
			  USEC_PER_MSEC, connect_bounds),
	.register_latency =
		HISTOGRAM("cloudflared_rpc_client_latency_secs",
			  "handler=\"registration\",method=\"register_connection\"",
			  "Latency of rpc methods by handler requested", USEC_PER_SEC, rpc_bounds),
	.local_config_pushes = COUNTER("cloudflared_config_local_config_pushes",
				       "Number of local configuration pushes to the edge"),
	.local_config_pushes_errors =
		COUNTER("cloudflared_config_local_config_pushes_errors",
			"Number of errors occurred during local configuration pushes"),
	.ha_connections =
		GAUGE("cloudflared_tunnel_ha_connections", "Number of active ha connections"),
	.config_version = GAUGE("cloudflared_orchestration_config_version", "Configuration Version"),
	.network_changes = COUNTER("adit_connector_network_changes_total",
				   "Times that links, addresses or routes of this host changed"),
	.exchanges = GAUGE("adit_connector_exchanges",
			   "Requests that hold memory now, whoever waits for them to end"),
};

/* Not the Go runtime's version, as in the stock connector, but what this one was compiled with. */
static struct metric build_info = {
	.value = 1,
	.name = "build_info",
	.labels = "goversion=\"none\",revision=\"" ADIT_BUILD_TIME
		  "\",type=\"\",version=\"" ADIT_VERSION "\"",
	.help = "Build and version information",
	.type = METRIC_GAUGE,
};

/* --- Sets; each with room for whatever is usual ---------------------------------------------- */

#define SET(its_name, its_help, its_type, its_max, ...)                     \
	{                                                                   \
		.name = (its_name), .help = (its_help), .type = (its_type), \
		.label_names = { __VA_ARGS__ }, .max = (its_max)            \
	}

static struct metric_set response_by_code =
	SET("cloudflared_tunnel_response_by_code", "Count of responses by HTTP status code",
	    METRIC_COUNTER, 100, "status_code");
static struct metric_set server_locations = SET(
	"cloudflared_tunnel_server_locations",
	"Where each tunnel is connected to. 1 means current location, 0 means previous locations.",
	METRIC_GAUGE, 128, "connection_id", "edge_location");
static struct metric_set register_success =
	SET("cloudflared_tunnel_tunnel_register_success",
	    "Count of successful tunnel registrations", METRIC_COUNTER, 1, "rpcName");
static struct metric_set register_fail =
	SET("cloudflared_tunnel_tunnel_register_fail",
	    "Count of tunnel registration errors by type", METRIC_COUNTER, 4, "error", "rpcName");
static struct metric_set rpc_fail =
	SET("cloudflared_tunnel_tunnel_rpc_fail", "Count of RPC connection errors by type",
	    METRIC_COUNTER, 16, "error", "rpcName");
static struct metric_set tunnel_ids = SET(
	"tunnel_ids",
	"The ID of all tunnels (and their corresponding HA connection ID) running in this instance.",
	METRIC_GAUGE, 32, "tunnel_id", "ha_conn_id");
static struct metric_set rpc_operations =
	SET("cloudflared_rpc_client_operations", "Number of rpc methods by handler requested",
	    METRIC_COUNTER, 8, "handler", "method");
static struct metric_set rpc_failures =
	SET("cloudflared_rpc_client_failures", "Number of rpc method failures by handler requested",
	    METRIC_COUNTER, 8, "handler", "method");
static struct metric_set failures = SET("adit_connector_failures_total",
					"Requests that failed, by the hop that did and its errno",
					METRIC_COUNTER, 64, "hop", "errno");
/* A few hundred rules are a large file; whatever has more is made by a program. */
static struct metric_set rule_requests =
	SET("adit_connector_rule_requests_total", "Requests by the ingress rule they matched",
	    METRIC_COUNTER, 500, "rule");
static struct metric_set rule_errors =
	SET("adit_connector_rule_errors_total", "Requests that failed, by ingress rule",
	    METRIC_COUNTER, 500, "rule");
static struct metric_set service_up =
	SET("adit_connector_service_up",
	    "Health checks: 1 the service is up, 0 it is down, -1 not known", METRIC_GAUGE, 500,
	    "rule", "service");
static struct metric_set udp_dropped =
	SET("cloudflared_udp_dropped_datagrams", "Datagrams that were dropped", METRIC_COUNTER, 512,
	    "conn_index", "reason");
static struct metric_set udp_failed =
	SET("cloudflared_udp_failed_flows", "UDP flows that failed to be created", METRIC_COUNTER,
	    64, "conn_index");
static struct metric_set reloads =
	SET("adit_connector_reloads_total", "Times that the configuration file was read again",
	    METRIC_COUNTER, 2, "result");
static struct metric_set dial_failures =
	SET("adit_connector_edge_dial_failures_total",
	    "Attempts to reach the edge that failed before registration", METRIC_COUNTER, 128,
	    "connection_id", "error");

static struct metric_set connections =
	SET("adit_connector_connections", "Connections registered at the edge, by protocol",
	    METRIC_GAUGE, 2, "protocol");
static struct metric_set protocol_changes =
	SET("adit_connector_protocol_changes_total",
	    "Times that --protocol auto went over to HTTP/2, and back to QUIC", METRIC_COUNTER, 2,
	    "to");
/* More connections than this do not exist (CONNECTOR_MAX_CONNECTIONS). */
#define MAX_CONNECTIONS 32

#define QUIC_SET(its_name, its_help, its_type) \
	SET("quic_client_" its_name, its_help, its_type, MAX_CONNECTIONS, "conn_index")
static struct metric quic_connections =
	COUNTER("quic_client_total_connections", "Number of connections initiated");
static struct metric_set quic_closed =
	SET("quic_client_closed_connections", "Number of connections that has been closed",
	    METRIC_COUNTER, 16, "error");
static struct metric_set quic_min_rtt =
	QUIC_SET("min_rtt", "Lowest RTT measured on a connection in millisec", METRIC_GAUGE);
static struct metric_set quic_latest_rtt =
	QUIC_SET("latest_rtt", "Latest RTT measured on a connection", METRIC_GAUGE);
static struct metric_set quic_smoothed_rtt =
	QUIC_SET("smoothed_rtt", "Calculated smoothed RTT measured on a connection in millisec",
		 METRIC_GAUGE);
static struct metric_set quic_mtu =
	QUIC_SET("mtu", "Current maximum transmission unit (MTU) of a connection", METRIC_GAUGE);
static struct metric_set quic_window =
	QUIC_SET("congestion_window", "Current congestion window size", METRIC_GAUGE);
static struct metric_set quic_sent_bytes = QUIC_SET(
	"sent_bytes", "Number of bytes that have been sent through a connection", METRIC_COUNTER);
static struct metric_set quic_received_bytes =
	QUIC_SET("receive_bytes", "Number of bytes that have been received through a connection",
		 METRIC_COUNTER);
static struct metric_set quic_lost_packets =
	SET("quic_client_lost_packets", "Number of packets that have been lost from a connection",
	    METRIC_COUNTER, MAX_CONNECTIONS, "conn_index", "reason");

/* ------------------------------------------------------------------------------------------ */

void connector_metrics_register(void)
{
	struct connector_metrics *m = &connector_metrics;
	struct metric *const plain[] = {
		&build_info,
		&m->local_config_pushes,
		&m->local_config_pushes_errors,
		&m->config_version,
		&m->connect_streams_errors,
		&m->tcp_active_sessions,
		&m->tcp_total_sessions,
		&m->udp_active_sessions,
		&m->udp_total_sessions,
		&m->total_requests,
		&m->concurrent_requests,
		&m->request_errors,
		&m->ha_connections,
		&m->exchanges,
		&m->network_changes,
		&quic_connections,
		&m->request_bytes,
		&m->response_bytes,
		&metric_log_dropped,
	};
	static bool is_registered;

	if (is_registered)
		return;
	is_registered = true;
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		metric_register(plain[i]);
	histogram_register(&m->connect_latency);
	histogram_register(&m->register_latency);
	histogram_register(&m->response_head);
}

void connector_metrics_response(int status)
{
	/* Statuses have three digits; what was counted once is found without a search. */
	static struct metric *known[1000];
	size_t i = status >= 0 && status < 1000 ? (size_t)status : 0;
	char text[12];

	if (!known[i]) {
		(void)snprintf(text, sizeof(text), "%zu", i);
		known[i] = metric_of(&response_by_code, bytes_str(text), BYTES_NONE);
	}
	metric_add(known[i], 1);
}

void connector_metrics_failure(const char *hop, struct bytes errno_name)
{
	metric_add(metric_of(&failures, bytes_str(hop), errno_name), 1);
}

struct metric *connector_metrics_rule_requests(const char *rule)
{
	return metric_of(&rule_requests, bytes_str(rule), BYTES_NONE);
}

struct metric *connector_metrics_service_up(const char *rule, const char *service)
{
	return metric_of(&service_up, bytes_str(rule), bytes_str(service));
}

struct metric *connector_metrics_rule_errors(const char *rule)
{
	return metric_of(&rule_errors, bytes_str(rule), BYTES_NONE);
}

void connector_metrics_reloaded(bool is_refused)
{
	metric_add(metric_of(&reloads, is_refused ? BYTES_LIT("refused") : BYTES_LIT("ok"),
			     BYTES_NONE),
		   1);
}

/* --- The edge -------------------------------------------------------------------------------- */

static struct bytes index_text(unsigned index, char text[12])
{
	(void)snprintf(text, 12, "%u", index);
	return bytes_str(text);
}

struct metric *connector_metrics_udp_dropped(unsigned index, const char *why)
{
	char text[12];

	return metric_of(&udp_dropped, index_text(index, text), bytes_str(why));
}

void connector_metrics_udp_failed(unsigned index)
{
	char text[12];

	metric_add(metric_of(&udp_failed, index_text(index, text), BYTES_NONE), 1);
}

void connector_metrics_dial_failed(unsigned index, const char *why)
{
	char text[12];

	metric_add(metric_of(&dial_failures, index_text(index, text), bytes_str(why)), 1);
}

void connector_metrics_rpc(const char *method)
{
	metric_add(metric_of(&rpc_operations, BYTES_LIT("registration"), bytes_str(method)), 1);
}

static void count_registration(bool has_failed)
{
	struct bytes handler = BYTES_LIT("registration"), method = BYTES_LIT("register_connection");

	metric_add(metric_of(&rpc_operations, handler, method), 1);
	if (has_failed)
		metric_add(metric_of(&rpc_failures, handler, method), 1);
}

void connector_metrics_registered(unsigned index, const struct uuid *tunnel, struct bytes location)
{
	static struct metric *current[MAX_CONNECTIONS];
	char id[UUID_TEXT_SIZE], text[12];
	struct bytes connection = index_text(index, text);

	count_registration(false);
	metric_add(metric_of(&register_success, BYTES_LIT("registerConnection"), BYTES_NONE), 1);
	metric_set(metric_of(&tunnel_ids, bytes_str(uuid_text(tunnel, id)), connection), 1);
	if (index >= MAX_CONNECTIONS)
		return;
	if (current[index])
		metric_set(current[index], 0);
	current[index] = metric_of(&server_locations, connection, location);
	metric_set(current[index], 1);
}

void connector_metrics_refused(bool is_duplicate)
{
	count_registration(true);
	metric_add(metric_of(&register_fail,
			     is_duplicate ? BYTES_LIT("dup_edge_conn") : BYTES_LIT("server_error"),
			     BYTES_LIT("registerConnection")),
		   1);
}

void connector_metrics_register_lost(const char *why)
{
	count_registration(true);
	metric_add(metric_of(&rpc_fail, bytes_str(why), BYTES_LIT("registerConnection")), 1);
}

void connector_metrics_network_changed(void)
{
	metric_add(&connector_metrics.network_changes, 1);
}

/* --- QUIC ------------------------------------------------------------------------------------ */

/* What the counters have of the connection that is there. */
static struct counted {
	uint64_t sent_bytes, received_bytes, lost_packets;
} counted[MAX_CONNECTIONS];

static void set_msec(struct metric_set *set, struct bytes index, usec value)
{
	struct metric *m = metric_of(set, index, BYTES_NONE);

	m->per_unit = USEC_PER_MSEC;
	metric_set(m, value);
}

/* Connections that replace each other share the counters of their index: each adds what it has more. */
static void count_more(struct metric *m, uint64_t now, uint64_t *before)
{
	metric_add(m, now > *before ? (int64_t)(now - *before) : 0);
	*before = now;
}

static void count_path(unsigned index, const struct quic_facts *f)
{
	struct counted *c = &counted[index];
	char text[12];
	struct bytes i = index_text(index, text);

	count_more(metric_of(&quic_sent_bytes, i, BYTES_NONE), f->sent_bytes, &c->sent_bytes);
	count_more(metric_of(&quic_received_bytes, i, BYTES_NONE), f->received_bytes,
		   &c->received_bytes);
	count_more(metric_of(&quic_lost_packets, i, BYTES_LIT("lost")), f->lost_packets,
		   &c->lost_packets);
}

void connector_metrics_path(unsigned index, const struct quic_facts *facts)
{
	static bool was_quic[MAX_CONNECTIONS];
	const struct quic_facts none = { 0 };
	const struct quic_facts *f = facts ? facts : &none;
	char text[12];
	struct bytes i = index_text(index, text);

	if (index >= MAX_CONNECTIONS || (!facts && !was_quic[index]))
		return;
	was_quic[index] = facts != NULL;
	if (facts)
		count_path(index, facts);
	set_msec(&quic_min_rtt, i, f->min_rtt);
	set_msec(&quic_latest_rtt, i, f->latest_rtt);
	set_msec(&quic_smoothed_rtt, i, f->smoothed_rtt);
	metric_set(metric_of(&quic_mtu, i, BYTES_NONE), (int64_t)f->path_mtu);
	metric_set(metric_of(&quic_window, i, BYTES_NONE), (int64_t)f->congestion_window);
}

void connector_metrics_quic_up(unsigned index)
{
	metric_add(&quic_connections, 1);
	if (index < MAX_CONNECTIONS)
		counted[index] = (struct counted){ 0 };
}

void connector_metrics_quic_down(unsigned index, const char *why, const struct quic_facts *facts)
{
	metric_add(metric_of(&quic_closed, bytes_str(why), BYTES_NONE), 1);
	if (index < MAX_CONNECTIONS)
		count_path(index, facts);
}

void connector_metrics_connections(size_t quic, size_t http2)
{
	metric_set(metric_of(&connections, BYTES_LIT("quic"), BYTES_NONE), (int64_t)quic);
	metric_set(metric_of(&connections, BYTES_LIT("http2"), BYTES_NONE), (int64_t)http2);
}

void connector_metrics_protocol_changed(const char *to)
{
	metric_add(metric_of(&protocol_changes, bytes_str(to), BYTES_NONE), 1);
}
