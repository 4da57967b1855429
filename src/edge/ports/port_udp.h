/* A public UDP port on one worker: one socket, and a flow through a tunnel session for each client. Worker
 * thread.
 *
 * A flow ends after LIMIT_PORT_FLOW_IDLE_MS of silence. UDP goes over QUIC alone: where a tunnel has none, datagrams
 * are dropped, and the port, the log and a metric say so.
 */
#pragma once

#include "base/metrics.h"
#include "edge/ports/port.h"

struct port_udp;
struct worker;

/* Takes the descriptor over; `port` is borrowed. */
struct port_udp *port_udp_new(struct worker *w, struct port *port, int fd);
struct port_udp *port_udp_free(struct port_udp *u); /* NULL is fine; returns NULL */

enum port_drop {
	PORT_DROP_NO_ROUTE,
	PORT_DROP_NO_TUNNEL,
	PORT_DROP_NO_QUIC,
	PORT_DROP_LIMIT,   /* of flows */
	PORT_DROP_REFUSED, /* by every connector: no such service, or it failed */
	PORT_DROP_TOO_LARGE,
	PORT_DROP_TUNNEL_FULL, /* or too large for it */
	PORT_DROP_SOCKET_FULL,
	PORT_DROP_COUNT,
};

extern struct metric metric_port_flows, metric_port_flows_total, metric_port_datagrams_in,
	metric_port_datagrams_out, metric_port_dropped[PORT_DROP_COUNT];
