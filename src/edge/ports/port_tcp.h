/* A connection to a public TCP port, carried to the service behind the tunnel. Worker thread.
 *
 * To an address it is a raw stream. To a hostname it is a WebSocket that the connector answers, whose binary
 * messages are the bytes (docs/wire.md): what `cloudflared access tcp` speaks, so that stock connectors serve
 * it. Nothing of the visitor's is read before the connector has answered: until then the connection may go to
 * another replica.
 */
#pragma once

#include "base/metrics.h"
#include "edge/ports/port.h"

struct worker;

/* Takes the descriptor over. */
void port_tcp_accept(struct worker *w, struct port *port, int fd, const struct address *peer);
void port_tcp_close_all(struct worker *w);

extern struct metric metric_port_connections, metric_port_connections_total,
	metric_port_connections_refused, metric_port_bytes_in, metric_port_bytes_out;
