/* SIGUSR2: the running edge starts its own successor, the program that is at its path now, with its own arguments and
 * --takeover. Control thread. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "io/loop.h"

struct successor;

/* Remembers where this program lies; before anything may replace it. */
struct successor *successor_new(struct loop *loop);
/* E_BUSY while one is starting; E_NOT_FOUND when the program is not there any more; others. When it ends
 * before it has taken over, `on_failed` comes with what is known of it. */
int successor_start(struct successor *s, void (*on_failed)(void *ctx, const char *why), void *ctx,
		    struct err *err);
/* It has taken over, or somebody else has: its end is no business of ours any more. */
void successor_forget(struct successor *s);
struct successor *successor_free(struct successor *s);
