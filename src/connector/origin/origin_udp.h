/* UDP services: a socket for each flow that the edge opens, to the service of an ingress rule (udp://host:port) or,
 * as far as `warp-routing` lets it, to an address behind the connector. One loop.
 *
 * A flow goes on with the rule it began with when the configuration changes, and ends with its session: the edge
 * opens another one elsewhere, which the service sees as another client port.
 */
#pragma once

#include "connector/origin/origin.h"
#include "transport/udp_flow.h"

struct origin_udp;

/* `private` is borrowed: what TCP and UDP to addresses have in common. */
struct origin_udp *origin_udp_new(struct loop *loop, struct origin_private *private);
/* After the last session; NULL is fine, returns NULL. */
struct origin_udp *origin_udp_free(struct origin_udp *u);
/* For session_events.on_udp: answers it, now or when the service's name is known. `index` is the connection's. */
void origin_udp_open(struct origin_udp *u, struct origin_set *set, struct udp_flow *f,
		     const struct udp_target *target, unsigned index);
size_t origin_udp_count(const struct origin_udp *u);
