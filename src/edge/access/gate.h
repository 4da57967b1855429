/* The gate: a handler between route and forward that lets a request on only when Access says so.
 *
 * It is asked for every request to a routed hostname. What guards the request is looked up in the snapshot; who
 * asks is read from a token that was signed by this edge, and from the session it names, which is asked of the
 * control thread once and remembered for half a minute. No request of a guarded application gets past it without
 * a verdict (edge/access/policy.h). Worker thread.
 */
#pragma once

#include "http/exchange.h"

struct gate;
struct worker;

struct gate *gate_new(struct worker *w);
/* Exchanges that wait in it must be gone. NULL is fine. */
struct gate *gate_free(struct gate *g);
/* The worker has another snapshot: sessions and tokens are looked at anew. */
void gate_forget(struct gate *g);

/* Handler. Sets x->identity_token and x->identity_email, and takes secrets of Access out of the request. */
enum handled gate_handle(struct exchange *x, void *worker);
