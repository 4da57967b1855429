/* A request that came in on one worker and goes out on another: the heads travel by loop post, the
 * bodies by pipe. On the visitor's worker it is an answerer, on the session's worker a producer. */
#pragma once

#include "http/exchange.h"

struct forward_how;
struct worker;

/* To the replica that `how` names, which has a session there. `how` is copied; its dispatch and replay are
 * used on the visitor's worker only. */
void crossing_start(struct worker *here, struct worker *there, struct exchange *x,
		    const struct forward_how *how);
