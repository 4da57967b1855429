/* SIGUSR2: the running edge has its own successor started, the program that is at its path now, with its own arguments and
 * --takeover. Control thread. */
#pragma once

#include "base/err.h"
#include "edge/takeover/launcher.h"
#include "io/loop.h"

struct successor;

/* `l` is borrowed. */
struct successor *successor_new(struct loop *loop, struct launcher *l);
/* E_BUSY while one is starting; others. When it cannot be started, or ends before it has taken over, `on_failed` comes with
 * what is known of it. */
int successor_start(struct successor *s, void (*on_failed)(void *ctx, const char *why), void *ctx,
		    struct err *err);
/* It has taken over, or somebody else has: its end is no business of ours any more. */
void successor_forget(struct successor *s);
struct successor *successor_free(struct successor *s);
