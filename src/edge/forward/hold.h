/* Requests that wait for a connector: right after a takeover the new process has none yet, they are on their way
 * over. Bounded in number and time. Worker thread. */
#pragma once

#include "base/list.h"
#include "base/metrics.h"
#include "io/loop.h"

struct dispatch;
struct worker;

/* A worker's. */
struct hold {
	struct list waiting; /* struct held */
	size_t count;
	usec until; /* 0: nothing waits here */
	struct timer timer;
	struct deferred wake;
};

void hold_init(struct worker *w, usec until);
/* Keeps a request that nobody can take now. False: too many wait, or it is too late for waiting. */
bool hold_take(struct worker *w, struct dispatch *d);
/* A connection has come, here or on another worker: who waits tries again, later in this turn. */
void hold_wake(struct worker *w);
/* Whoever still waits is told that there is no connector. */
void hold_end(struct worker *w);

extern struct metric metric_held;
