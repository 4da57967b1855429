/* The last step of a visitor's request: down a tunnel session and back. Worker thread. */
#pragma once

#include "base/uuid.h"
#include "http/exchange.h"

struct worker;

/* Handler: x->route is a struct snapshot_route. Rewrites the headers, chooses a session (this worker's,
 * else another worker's), opens a stream and pumps both bodies with backpressure. */
enum handled forward_handle(struct exchange *x, void *worker);

/* The part behind the choice of worker: only this worker's sessions, headers already rewritten. Fills
 * x->failure and returns HANDLED_FAILED when there is none. Used by the crossing's far side. */
enum handled forward_here(struct worker *w, struct exchange *x, const struct uuid *tunnel);
/* 530 with code 1033. */
enum handled forward_no_connector(struct exchange *x);
