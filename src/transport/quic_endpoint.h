/* QUIC sockets whose connections carry tunnel sessions: what edge and connector open them with. One loop. */
#pragma once

#include "quic/quic.h"

struct tunnel_endpoint;
struct tunnel_attempt;

/* A connector has connected. A session is started on it with session_start.quic, at once or never: one that
 * gets none stays until it closes itself or goes idle. */
typedef void tunnel_accept(void *ctx, struct quic_conn *c);

/* Takes a UDP socket over (udp_open). `server` and `accept` are NULL for a connector. `ctx` is that of accept()
 * and of server->on_foreign(). */
struct tunnel_endpoint *tunnel_endpoint_new(struct loop *l, int fd,
					    const struct quic_server_options *server,
					    tunnel_accept *accept, void *ctx);
struct quic_endpoint *tunnel_endpoint_quic(struct tunnel_endpoint *e);
/* The sessions get their on_closed before. NULL is fine; returns NULL. */
struct tunnel_endpoint *tunnel_endpoint_free(struct tunnel_endpoint *e);

/* Comes once, never inside tunnel_connect(): with a connection to start a session on, in this call, or
 * NULL and why not. */
typedef void tunnel_connected(void *ctx, struct quic_conn *c, const struct err *err);
struct tunnel_attempt *tunnel_connect(struct tunnel_endpoint *e, const struct address *to,
				      struct tls_context *tls, struct bytes server_name,
				      tunnel_connected *done, void *ctx);
/* No done() after this. NULL is fine; returns NULL. */
struct tunnel_attempt *tunnel_attempt_cancel(struct tunnel_attempt *a);
