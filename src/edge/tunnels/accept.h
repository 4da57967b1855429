/* Connectors arrive here: TLS, then a session that has to register. Worker thread. */
#pragma once

#include "base/metrics.h"

struct address;
struct worker;

/* Takes a fresh socket over on the worker's loop. */
void accept_connector(struct worker *w, int fd, const struct address *peer);

extern struct metric metric_tunnel_sessions, metric_tunnel_registered, metric_tunnel_refused;
