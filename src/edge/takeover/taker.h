/* The successor's side of a takeover: asks the edge that runs on this data directory for its sockets.
 * Before the successor serves anything: it blocks. Control thread. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "edge/listen/sockets.h"

struct taker;

/* Puts what the running edge listens on into `sockets`, unclaimed, and appends its state (JSON) to `state`. From now
 * on it writes nothing, and waits. *ret is NULL with 0 when no edge runs there. E_DENIED: it refused; others. */
int taker_begin(const char *data_dir, struct sockets *sockets, struct buf *state,
		struct taker **ret, struct err *err);
/* The generation that the successor is: the first edge is 1. */
int64_t taker_generation(const struct taker *t);
/* Everything is there: the running edge stops accepting. 0: it is ours now. */
int taker_finish(struct taker *t, struct err *err);
/* Hangs up; before taker_finish() the running edge goes on, and logs `why` (may be NULL). */
struct taker *taker_free(struct taker *t, const struct err *why);
