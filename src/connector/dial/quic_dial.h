/* One attempt to reach an edge over QUIC: handshakes raced over a few addresses (RFC 8305), each from a UDP socket
 * of its own, as the edge's workers share connections out by the connector's address. One loop.
 */
#pragma once

#include "connector/dial/edge_dial.h"
#include "transport/quic_endpoint.h"

struct quic_dial;

struct quic_dial_end {
	/* NULL: failed. A session is started on it in this call or never. */
	struct quic_conn *conn;
	/* The endpoint it lives on: the callee's, to be freed after the connection has ended, or with it. */
	struct tunnel_endpoint *endpoint;
	int place; /* which one it was, of those given; of a failure: -1 */
	struct err err;
};

/* Comes once, never inside quic_dial(). Borrowed until return. */
typedef void quic_dial_done(void *ctx, const struct quic_dial_end *end);

/* `places` are copied; all have addresses, none is behind a proxy. Of several failures the first one is told.
 * Ends within LIMIT_QUIC_HANDSHAKE_MS of the last one's start. */
struct quic_dial *quic_dial(const struct edge_way *way, const struct edge_place *places,
			    size_t count, quic_dial_done *done, void *ctx);
/* No done() after this. NULL is fine; returns NULL. */
struct quic_dial *quic_dial_cancel(struct quic_dial *d);

/* A socket for QUIC towards `to`, bound as the way says; also for quic_endpoint_rebind(). */
int quic_dial_socket(const struct edge_way *way, const struct address *to, struct err *err);
