/* What the connector tells about itself on --metrics (CONTROL §7): GET and HEAD of
 *
 *	/metrics             Prometheus' text
 *	/ready               200 with a registered connection, else 503
 *	/healthcheck         OK, as long as the loop turns
 *	/config              the rules that run now
 *	/quicktunnel         {"hostname":""}: there are no quick tunnels
 *	/diag/tunnel         the connections to the edge, each with its state and last error
 *	/diag/configuration  the flags that are set, but for secrets
 *	/diag/system         the machine and this process
 *	/diag/probe          which hop is broken: tries edge and services (probe.h), takes up to 12 s
 *
 * Nothing of it is secret, but names of services are nobody else's business: on a loopback address it
 * answers only under a name that no web page can make its own (DNS rebinding). One loop.
 */
#pragma once

#include "base/uuid.h"

struct address;
struct connector_config;
struct dialer;
struct local_api;
struct loop;
struct server;

/* Listens on cfg->metrics_address ("localhost:0": the first free port of 20241 to 20245, else any) and
 * logs where. NULL when it cannot: the tunnel runs without. All is borrowed for life, `dialer` and `server`
 * until local_api_close(). */
struct local_api *local_api_new(struct loop *loop, const struct connector_config *cfg,
				const struct uuid *connector, struct dialer *dialer,
				struct server *server);
/* Where it listens. Borrowed. */
const struct address *local_api_address(const struct local_api *api);
/* The memory goes with local_api_free() once the loop was freed. NULL is fine. */
void local_api_close(struct local_api *api);
struct local_api *local_api_free(struct local_api *api);
