/* A replica: one connector process of a tunnel, as all workers know it.
 *
 * Found by tunnel and connector id, counted; the workers that know of a session of it hold references. What
 * it announced about itself never changes; how busy it is and for which hosts it is out are atomics. */
#pragma once

#include "base/hash.h"
#include "base/limits.h"
#include "base/shared.h"
#include "base/uuid.h"
#include "edge/tunnels/ejection.h"

/* Base64url of HASH_MAC_BYTES. */
#define REPLICA_TAG_LEN 22

/* What a connector says about itself, and what is made of it. */
struct replica_facts {
	char label[LIMIT_REPLICA_LABEL_BYTES + 1]; /* "" when it has none */
	uint32_t weight;                           /* 0: not said, 1 */
	bool is_backup;
	char tag[REPLICA_TAG_LEN + 1]; /* what a cookie calls it */
};

/* Reads the features adit_label=NAME, adit_weight=N and adit_backup; what is not as it should be was not
 * said. The tag is made from the tunnel's secret, so that nobody else can name a replica, and from the label
 * if there is one: a connector that comes back under its name has its visitors again. */
void replica_facts_read(struct replica_facts *f, const struct bytes *features, size_t count,
			const struct uuid *connector, struct bytes secret);

/* Requests in flight of one worker's visitors, from the moment the replica is chosen; only that worker writes. 64 bytes apart: workers do not
 * share cache lines. */
struct replica_load {
	atomic_uint count;
	char apart[64 - sizeof(atomic_uint)];
};

struct replica {
	struct shared shared;
	struct uuid tunnel, connector;
	struct replica_facts facts;
	uint64_t identity; /* for balance_candidate */
	struct ejections ejections;
	size_t worker_count;
	struct replica_load *load; /* owned; per worker */
};

/* With a reference; `facts` and `worker_count` count when it is made. */
struct replica *replica_get(const struct uuid *tunnel, const struct uuid *connector,
			    const struct replica_facts *facts, size_t worker_count);
struct replica *replica_ref(struct replica *r);
struct replica *replica_unref(struct replica *r); /* NULL is fine; returns NULL */

/* On worker `at`. */
static inline void replica_load_add(struct replica *r, size_t at, int n)
{
	atomic_uint *count = &r->load[at].count;

	/* One writer: no read-modify-write is needed. */
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + (unsigned)n,
			      memory_order_relaxed);
}
/* Over all workers. */
static inline uint32_t replica_load_get(const struct replica *r)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < r->worker_count; i++)
		sum += atomic_load_explicit(&r->load[i].count, memory_order_relaxed);
	return sum;
}
