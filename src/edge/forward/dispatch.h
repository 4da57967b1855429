/* Who takes a visitor's request: a replica is chosen by the route's policy, the request is sent down a session
 * of it here or crosses to a worker that has one, and when nobody there has acted on it, it goes to another
 * one. On the visitor's worker; in the exchange's arena. */
#pragma once

#include "edge/forward/replay.h"
#include "edge/tunnels/registry.h"

struct snapshot_route;
struct worker;

struct dispatch {
	struct exchange *x;
	struct worker *worker;
	struct uuid tunnel;
	struct registry_ask ask;
	bool eject_on_5xx; /* the service's own 502, 503 and 504 are failures of the replica */
	struct replay replay;
	struct bytes new_cookie; /* a replica's tag that the visitor is to be told; empty: none */
};

/* False when there is nobody. */
bool dispatch_start(struct worker *w, struct exchange *x, const struct snapshot_route *route);
/* Once more with somebody who has not been tried: hold.c. */
bool dispatch_try(struct dispatch *d);
/* x->failure says why there is no answer from who was asked. True: somebody else is. */
bool dispatch_again(struct dispatch *d);
/* x->response has come and will be passed on. */
void dispatch_answered(struct dispatch *d);

extern struct metric metric_retried;
