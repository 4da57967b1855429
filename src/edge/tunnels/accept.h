/* Connectors arrive here: TLS, then a session that has to register. Worker thread. */
#pragma once

#include "base/metrics.h"

struct address;
struct byte_stream;
struct quic_conn;
struct worker;

/* Takes a fresh socket over on the worker's loop. */
void accept_connector(struct worker *w, int fd, const struct address *peer);

/* An established TLS stream that has asked for a name of ours at the visitors' port; taken over. */
void accept_connector_stream(struct worker *w, struct byte_stream *stream);
/* A QUIC connection whose handshake is done. */
void accept_quic_connector(struct worker *w, struct quic_conn *c);

extern struct metric metric_tunnel_http2, metric_tunnel_quic; /* registered ones */
extern struct metric metric_tunnel_sessions, metric_tunnel_registered, metric_tunnel_refused;
