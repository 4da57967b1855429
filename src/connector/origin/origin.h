/* The services behind the rules: a keep-alive pool per rule, and the handler that asks them. One loop.
 *
 * A set belongs to one ingress; it is counted, so that exchanges finish on the rules they began with.
 */
#pragma once

#include "connector/ingress/ingress.h"
#include "http/exchange.h"
#include "io/address.h"

struct loop;
struct origin_set;

/* Reads the caPool files: errors name the rule. Starts with one reference. */
struct origin_set *origin_set_new(struct loop *loop, struct ingress *ingress, struct err *err);
struct origin_set *origin_set_ref(struct origin_set *set);
/* The last reference closes the idle connections. */
struct origin_set *origin_set_unref(struct origin_set *set);
struct ingress *origin_set_ingress(struct origin_set *set); /* borrowed */

/* Handler: x->route is the struct ingress_rule, x->snapshot its origin_set. */
enum handled origin_handle(struct exchange *x, void *ctx);

/* --- Addresses instead of rules (origin_private.c) ------------------------------------------- */

/* What outlives sets of rules. */
struct origin_private {
	struct address own_api; /* where the connector's own API listens; len 0: nowhere */
	size_t flows;           /* connections now */
	bool has_max;           /* the command line's word on how many there may be */
	uint32_t max;
};

/* Handler, x->is_tcp: connects to the address that x->request.authority is, if the `warp-routing` of
 * x->snapshot, an origin_set, lets it. Its context is a struct origin_private. */
enum handled origin_private_handle(struct exchange *x, void *ctx);

/* Fills x->failure with hop, origin and rule. */
enum handled origin_failed(struct exchange *x, const struct ingress_rule *rule,
			   const struct err *err, const char *title, bool was_sent);

/* --- Reaching a service without a request (origin_probe.c) ----------------------------------- */

/* Is there something to connect to? Not for statuses, the built-in pages, and where the visitor chooses. */
bool origin_can_probe(const struct ingress_rule *rule);

struct origin_probe;
/* Comes once, never inside origin_probe(): `err` is NULL when the service was reached, TLS included; `in_tls`:
 * it was reached, but for that. `peer` is where, borrowed, with success only. */
typedef void origin_probe_done(void *ctx, const struct address *peer, const struct err *err,
			       bool in_tls);
/* Connects to the service of a rule as a request would, and hangs up. The set must live until then. */
struct origin_probe *origin_probe(struct origin_set *set, size_t rule, origin_probe_done *done,
				  void *ctx);
/* No done() after this. NULL is fine; returns NULL. */
struct origin_probe *origin_probe_cancel(struct origin_probe *p);
