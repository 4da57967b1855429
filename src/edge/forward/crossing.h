/* A request that came in on one worker and goes out on another: the heads travel by loop post, the
 * bodies by pipe. On the visitor's worker it is an answerer, on the session's worker a producer. */
#pragma once

#include "base/uuid.h"
#include "http/exchange.h"

struct worker;

enum handled crossing_start(struct worker *here, struct worker *there, struct exchange *x,
			    const struct uuid *tunnel);
