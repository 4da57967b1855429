/* A connection to a public TCP port, carried to the service behind the tunnel. Worker thread.
 *
 * To an address it is a raw stream. To a hostname it is a WebSocket that the connector answers, whose binary
 * messages are the bytes (docs/wire.md): what `cloudflared access tcp` speaks, so that stock connectors serve
 * it. Nothing of the visitor's is read before the connector has answered: until then the connection may go to
 * another replica.
 */
#pragma once

#include "base/bytes.h"
#include "base/metrics.h"
#include "edge/ports/port.h"

struct allowance;
struct byte_stream;
struct snapshot_route;
struct worker;

/* Takes the descriptor over. */
void port_tcp_accept(struct worker *w, struct port *port, int fd, const struct address *peer);
/* TLS that is passed through: the visitor's bytes go to the hostname's service as those of a port that leads there.
 * Takes the stream of io/conn.h over, and the allowance. */
void port_tcp_pass(struct worker *w, struct byte_stream *stream, struct allowance *allowance,
		   const struct snapshot_route *route, struct bytes hostname);
void port_tcp_close_all(struct worker *w);

extern struct metric metric_port_connections, metric_port_connections_total,
	metric_port_connections_refused, metric_port_bytes_in, metric_port_bytes_out;
