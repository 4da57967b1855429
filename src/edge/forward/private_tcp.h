/* TCP to an address of a private network, for people: a WebSocket on the control host, whose payload is the
 * stream. `adit access tcp --destination 10.0.0.5:5432` opens it.
 *
 * Who may: whoever holds an API token of the account (the one in cert.pem). Where to: an IP address and port in
 * a network that the account routes to one of its tunnels. The connector has the last word. docs/wire.md has
 * the handshake.
 */
#pragma once

#include "base/metrics.h"
#include "http/exchange.h"

struct worker;

#define PRIVATE_TCP_PATH "/cdn-cgi/adit/tcp"

/* A request for that path on the control host; x->snapshot is set. Worker thread. */
enum handled private_tcp_handle(struct exchange *x, struct worker *w);

extern struct metric metric_private_tcp, metric_private_tcp_total;
