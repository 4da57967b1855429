/* Tells the service manager that we are alive (systemd's WatchdogSec=, sd_watchdog_enabled(3)): not that some
 * thread is, but that every loop that carries traffic takes its turns. A loop that hangs keeps the word from
 * being sent, and the service manager starts us anew.
 */
#pragma once

#include "io/loop.h"

struct watchdog;

/* On `l`, which is watched itself, as are `others`: borrowed until watchdog_free(), they may run on other threads.
 * NULL when nobody asked ($WATCHDOG_USEC); watchdog_free() takes NULL. */
struct watchdog *watchdog_new(struct loop *l, struct loop *const *others, size_t count);
/* On `l`, before any of the others is freed. Returns NULL. */
struct watchdog *watchdog_free(struct watchdog *w);
