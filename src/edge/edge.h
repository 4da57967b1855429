/* The running edge: workers, the control thread, and the doors between them. */
#pragma once

#include "edge/edge_config.h"
#include "edge/tunnels/directory.h"

struct edge;
struct snapshot;

/* `adit-edge run`: serves until SIGTERM or SIGINT, then drains. Returns the exit code. */
int edge_run(const struct edge_config *cfg);

/* --- For workers; any thread --- */

/* Round robin over the workers, for connections that may live anywhere. */
struct worker *edge_next_worker(struct edge *e);
/* A tunnel session came or went: posted to the control thread. `record` is copied. */
void edge_session_up(struct edge *e, const struct directory_record *record);
void edge_session_down(struct edge *e, const struct uuid *connection);
/* A visitor's handshake names a host: with acme-on-demand it gets a certificate if it is routed and has none. */
void edge_name_asked(struct edge *e, const struct snapshot *s, struct bytes server_name);
/* What a connector says of its services; takes a reference of its own. */
void edge_connector_services(struct edge *e, const struct uuid *connector,
			     struct service_report *report);
