/* What identity providers said of themselves: their configuration documents and their keys, so that not every sign-in
 * asks for them again. Bounded, in memory only. Control thread; `now` is clock_now().
 */
#pragma once

#include "edge/access/oauth.h"

struct oauth_memory;

struct oauth_memory *oauth_memory_new(void);
struct oauth_memory *oauth_memory_free(struct oauth_memory *m); /* NULL is fine */
/* Before a step: gives `o` what is known of its provider and still fresh. */
void oauth_memory_lend(struct oauth_memory *m, struct oauth *o, usec now);
/* After a step: keeps what it has found out. */
void oauth_memory_learn(struct oauth_memory *m, const struct oauth *o, usec now);
