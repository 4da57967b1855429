/* Keeps certificates of an ACME authority: orders what edge/acme/wanted.h wants, one after the other, proves the names,
 * stores what comes, and renews it. Who has none yet is served by the built-in CA meanwhile, and a certificate stays in
 * use until the next one is there.
 *
 * Control thread; all that waits for the network or makes keys runs on the loop's pool. How it stands with each name is
 * in the store (store_acme_name); an order that a stop or a crash cuts short is begun anew.
 */
#pragma once

#include <jansson.h>

#include "acme/acme.h"
#include "base/metrics.h"
#include "edge/edge_config.h"

struct acme_manager;
struct acme_show;
struct loop;
struct store;

struct acme_manager_hooks {
	void *ctx;
	/* Does our name server answer for the zone? NULL: for none. */
	bool (*is_authoritative)(void *ctx, const char *zone);
	/* A certificate has come or gone: make it known to the workers. */
	void (*changed)(void *ctx);
};

/* All borrowed for life. NULL when no directory is configured. */
struct acme_manager *acme_manager_new(struct store *store, struct loop *loop,
				      const struct edge_config *config, struct acme_show *show,
				      const struct acme_manager_hooks *hooks);
/* Before loop_free(), which waits for what runs on the pool: a second or so. */
struct acme_manager *acme_manager_free(struct acme_manager *m);
/* All calls below take NULL for "none is configured". */

/* Zones, routes or certificates have changed: looks at the store again, soon. Also starts it. */
void acme_manager_update(struct acme_manager *m);
/* Nothing is begun, what runs is given up, nothing is written; and back. */
void acme_manager_pause(struct acme_manager *m, bool is_paused);
/* Somebody asks for a routed name that has no certificate of an authority: acme-on-demand. Workers call these two, as
 * long as their threads run; may_ask() says at little cost whether there is a point in it. */
bool acme_manager_may_ask(const struct acme_manager *m);
void acme_manager_ask(struct acme_manager *m, struct bytes hostname);
/* Orders at once whatever has the name (in full, or as "tls list" shows it; NULL: all). Returns how many; E_NOT_FOUND,
 * E_UNSUPPORTED: no directory is configured. */
int acme_manager_renew(struct acme_manager *m, const char *name, struct err *err);

/* For `adit-edge status`: an object. `m` is the manager. */
json_t *acme_manager_status(void *m);
/* How it stands with each that is wanted: [{name, names, state, error, failures, renew_at, tried_at, again_at}], times
 * that are known only. state: ordering, queued, ready, failed, not ordered. */
json_t *acme_manager_list(const struct acme_manager *m);

extern struct metric metric_acme_orders[2]; /* done, failed */
extern struct metric metric_acme_failing;
