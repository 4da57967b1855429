/* What a connector counts, under the names of the stock one (CONTROL §7), so that dashboards go on working,
 * and what is ours, under adit_connector_. Changed from the connector's loop. */
#pragma once

#include "base/metrics.h"
#include "base/uuid.h"

struct quic_facts;

struct connector_metrics {
	/* Requests; serve/. */
	struct metric total_requests, concurrent_requests, request_errors;
	struct metric request_bytes, response_bytes;
	struct histogram response_head; /* usec from a stream's start to the response's head */
	/* TCP; origin/. */
	struct metric tcp_active_sessions, tcp_total_sessions, connect_streams_errors;
	struct histogram connect_latency; /* usec */
	/* UDP flows; origin/. */
	struct metric udp_active_sessions, udp_total_sessions;
	/* Connections to the edge; dial/. */
	struct histogram register_latency; /* usec from the question to the edge's word */
	struct metric local_config_pushes, local_config_pushes_errors;
	/* Set when somebody looks; local_api/. */
	struct metric ha_connections, config_version, exchanges, network_changes;
};

extern struct connector_metrics connector_metrics;

/* Once; further calls do nothing. Before anything is counted. */
void connector_metrics_register(void);

/* A response with this status went to the edge. */
void connector_metrics_response(int status);
/* An exchange failed at `hop` ("origin", "connector"); `errno_name` may be empty. */
void connector_metrics_failure(const char *hop, struct bytes errno_name);
/* Counters of one rule, by its label; keep the first. */
struct metric *connector_metrics_rule_requests(const char *rule);
struct metric *connector_metrics_rule_errors(const char *rule);

/* 1: the checked service is up, 0: it is down, -1: not known, or not checked any more. */
struct metric *connector_metrics_service_up(const char *rule, const char *service);

/* A datagram of connection `index` was dropped; `why` as the stock connector spells it, or udp_drop_name(). Keep
 * nothing: the index changes. */
struct metric *connector_metrics_udp_dropped(unsigned index, const char *why);
/* A UDP flow of connection `index` was refused, or its service could not be reached. */
void connector_metrics_udp_failed(unsigned index);

/* The configuration file was read again. */
void connector_metrics_reloaded(bool is_refused);

/* Connection `index` could not reach the edge; `why` is err_name(). */
void connector_metrics_dial_failed(unsigned index, const char *why);
/* The edge's word on a registration of connection `index`. */
void connector_metrics_registered(unsigned index, const struct uuid *tunnel, struct bytes location);
void connector_metrics_refused(bool is_duplicate);
/* The connection ended before its word came; `why` is reason_text(). */
void connector_metrics_register_lost(const char *why);
/* Links, addresses or routes of this host have changed. */
void connector_metrics_network_changed(void);
/* A connection over QUIC has reached the edge; it has ended (`why` is reason_text()), with its last figures. */
void connector_metrics_quic_up(unsigned index);
void connector_metrics_quic_down(unsigned index, const char *why, const struct quic_facts *facts);
/* Figures of the path of connection `index` now; NULL: it is not over QUIC. */
void connector_metrics_path(unsigned index, const struct quic_facts *facts);
/* Registered connections by protocol. */
void connector_metrics_connections(size_t quic, size_t http2);
/* Connections use another protocol from now on. */
void connector_metrics_protocol_changed(const char *to);
/* A question of ours to the edge: "update_local_configuration", "unregister_connection". */
void connector_metrics_rpc(const char *method);
