/* Active health checks: the connector itself asks the services whose rules say so (healthCheck), every few
 * seconds, over the same connections as visitors' requests. What it finds is logged when it changes, counted
 * (adit_connector_service_up), shown at /diag/tunnel, and reported to an edge that asks for it (docs/wire.md,
 * adit_health), which then prefers replicas whose service is up.
 *
 * Belongs to one set of origins. Its loop.
 */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "connector/origin/origin.h"

struct health;

enum health_state { HEALTH_UNKNOWN, HEALTH_UP, HEALTH_DOWN };

struct health_events {
	/* A state has changed, or the rules have: health_report() says something new. Never inside a call.
	 * False: it could not be told, and this comes again in a second. */
	bool (*on_changed)(void *ctx);
};

/* Checks begin at once. Rules that were checked in the same way `before` (NULL: none were) keep their state.
 * Holds a reference of the set. */
struct health *health_new(struct loop *loop, struct origin_set *set, const struct health *before,
			  const struct health_events *events, void *ctx);
/* NULL is fine; returns NULL. */
struct health *health_free(struct health *h);

/* The report for the edge. Each has a higher sequence than all before it in this process. Nothing is appended
 * when nothing was ever checked. 0, or E_LIMIT. */
int health_report(struct health *h, struct buf *out) MUST_USE;
/* The checked services as an array for people; owned by the caller. */
json_t *health_json(const struct health *h);

/* For tests and the like. */
size_t health_count(const struct health *h);
enum health_state health_state_of(const struct health *h, size_t index);
