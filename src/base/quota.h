/* Who has how much of something: counters and token buckets by key, shared by all threads.
 *
 * A key's entry is held while anybody uses it; taking and giving then are atomics only. Holding and releasing
 * take a lock, one of many. Between uses an entry is kept as long as its buckets remember something (somebody
 * was quick a moment ago), and at most so many such entries: of those looked at first the one that remembers
 * least goes. A key that is held or that takes (even in vain) again and again is not forgotten, so nobody gets a
 * fresh bucket by making the table full.
 *
 * The buckets are GCRA: one number says when the bucket will be full again. Any thread.
 */
#pragma once

#include <stddef.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/metrics.h"

struct quota_table;
struct quota; /* a key's entry, held */

/* What of: two kinds for each key, each with its counter and bucket. */
#define QUOTA_KINDS 2

struct quota_limit {
	uint32_t at_once;   /* 0: any number */
	uint32_t per_sec;   /* 0: any number; at most 1000000 */
	uint32_t burst_sec; /* so many seconds' worth may be taken in one go; at least 1 */
};

enum quota_answer { QUOTA_TAKEN, QUOTA_AT_ONCE, QUOTA_RATE };

/* `idle_max`: entries that nobody holds; those held are extra. `entries`: a gauge that follows how many there are;
 * NULL: none. */
struct quota_table *quota_table_new(size_t idle_max, struct metric *entries);
/* When nobody holds anything. NULL is fine; returns NULL. */
struct quota_table *quota_table_free(struct quota_table *t);
/* Keys of QUOTA_KEY_BYTES at most. quota_release() follows. */
#define QUOTA_KEY_BYTES 24
struct quota *quota_hold(struct quota_table *t, struct bytes key, usec now);
void quota_release(struct quota_table *t, struct quota *q, usec now);
/* One more; quota_give() follows when it was QUOTA_TAKEN. With QUOTA_RATE *ret_wait is when to try again. */
enum quota_answer quota_take(struct quota *q, int kind, const struct quota_limit *limit, usec now,
			     usec *ret_wait);
void quota_give(struct quota *q, int kind);
/* Entries in the table: for tests. */
size_t quota_count(struct quota_table *t);
