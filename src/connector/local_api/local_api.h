/* What the connector tells about itself on --metrics: GET /ready and /metrics. One loop. */
#pragma once

#include "base/uuid.h"

struct connector_config;
struct dialer;
struct local_api;
struct loop;

/* Listens on cfg->metrics_address ("localhost:0": the first free port of 20241 to 20245, else any) and
 * logs where. NULL when it cannot: the tunnel runs without. `dialer` is borrowed. */
struct local_api *local_api_new(struct loop *loop, const struct connector_config *cfg,
				const struct uuid *connector, struct dialer *dialer);
/* The memory goes with local_api_free() once the loop was freed. */
void local_api_close(struct local_api *api);
struct local_api *local_api_free(struct local_api *api);
