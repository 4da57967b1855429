/* Which hosts a replica has failed for: passive health, learned from the answers of visitors' requests.
 *
 * After LIMIT_EJECT_FAILURES failures in a row, within LIMIT_EJECT_WINDOW_MS, a replica is out for that host
 * for LIMIT_EJECT_MS; then one request at a time may try it (a probe), and each probe that fails doubles
 * the time, up to LIMIT_EJECT_MAX_MS. A probe that succeeds makes all good.
 *
 * One per replica, for all workers: each host's state is one atomic word, so no locks. While nothing has
 * failed, looking costs one load. Hosts are known by a hash of their name. Times are clock_now().
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

/* Hosts that fail at once; of more some are not ejected. */
#define EJECTION_SLOTS 64

struct ejections {
	atomic_uint used; /* slots that say something */
	struct ejection_slot {
		_Atomic uint64_t host, word;
	} slots[EJECTION_SLOTS];
};

enum ejection { EJECTION_NONE, EJECTION_OUT, EJECTION_DUE };

/* NONE: send it requests. OUT: do not. DUE: one may try, after ejection_claim(). */
enum ejection ejection_look(struct ejections *e, uint64_t host, usec now);
/* True for the one who may send the probe. Its outcome must be told within LIMIT_EJECT_PROBE_MS, else
 * another one is sent. */
bool ejection_claim(struct ejections *e, uint64_t host, usec now);

/* A request failed. `is_probe`: it was sent although the replica was out. `may_eject`: others can take its
 * place. True when it goes out by this, or stays out for longer. */
bool ejection_failed(struct ejections *e, uint64_t host, usec now, bool is_probe, bool may_eject);
/* A request was answered. True when the replica comes back by this. */
bool ejection_answered(struct ejections *e, uint64_t host, bool is_probe);

/* Does it say anything of any host? */
static inline bool ejection_is_idle(const struct ejections *e)
{
	return atomic_load_explicit(&e->used, memory_order_relaxed) == 0;
}
