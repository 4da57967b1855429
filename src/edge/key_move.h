/* Private keys of a database from before, or that a command has made while the edge did not run, become the key
 * process's (tls/key_box.h). */
#pragma once

#include "base/err.h"

struct store;

/* All there are. Returns how many moved. Whoever has read them before has them as they were until they are read anew.
 * Control thread. Without a key process nothing happens. */
int key_move_all(struct store *store, struct err *err);
