/* How often things happen, over the last minute: what `adit-edge status` shows beside totals. A counter that is
 * watched is read every five seconds on the control thread; nobody who counts knows of it.
 */
#pragma once

#include "base/clock.h"

struct json_t;
struct loop;
struct rates;

struct rates *rates_new(struct loop *loop);
struct rates *rates_free(struct rates *r); /* NULL is fine; returns NULL */
/* `name` (a literal) becomes the member "NAME_per_second" of rates_json(); `total` gives a number that never falls. */
void rates_watch(struct rates *r, const char *name, int64_t (*total)(void *ctx), void *ctx);
/* For control_status_add(); a new reference. */
struct json_t *rates_json(void *rates);
/* The rate of one of them at `now`; -1 when nobody watches that name. For tests. */
double rates_of(const struct rates *r, const char *name, usec now);
/* Reads all counters as of `now`; the timer does it. For tests. */
void rates_read(struct rates *r, usec now);
