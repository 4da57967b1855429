/* The cookie that keeps a visitor with a replica: a name only the edge can make (struct replica_facts), for one
 * hostname, until the browser ends. */
#pragma once

#include "http/exchange.h"

/* Of the request; empty when it has none. Borrowed. */
struct bytes sticky_find(const struct fields *request);
/* Adds it to the response. */
void sticky_set(struct exchange *x, struct bytes tag);
