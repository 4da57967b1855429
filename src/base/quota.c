#include "base/quota.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"

/* Threads that hold or release at the same moment seldom meet. */
#define SHARDS 64
/* Looked at for the one that is forgotten. */
#define SEARCH 16
/* Of entries that remember nothing any more, so many go with each new one. */
#define SWEEP 4

struct quota {
	struct list node; /* in shard->idle while nobody holds it */
	size_t holds;     /* under the shard's lock */
	_Atomic uint32_t in_use[QUOTA_KINDS];
	_Atomic usec full_at[QUOTA_KINDS]; /* when the bucket will be full */
	uint8_t key[QUOTA_KEY_BYTES];
	size_t key_len;
};

struct shard {
	_Alignas(64) pthread_mutex_t lock;
	struct map *by_key;
	struct list idle; /* the one that was used longest ago first */
	size_t idle_count;
};

struct quota_table {
	uint8_t key[HASH_KEY_BYTES];
	size_t idle_max; /* of one shard */
	struct shard shards[SHARDS];
	struct metric *entries; /* borrowed; may be NULL */
	void *memory;           /* owned: what this was aligned in */
};

struct quota_table *quota_table_new(size_t idle_max, struct metric *entries)
{
	void *memory = mem_alloc(sizeof(struct quota_table) + _Alignof(struct quota_table));
	uintptr_t at = (uintptr_t)memory + _Alignof(struct quota_table) - 1;
	struct quota_table *t = (struct quota_table *)(at - at % _Alignof(struct quota_table));

	t->memory = memory;
	t->entries = entries;
	t->idle_max = (idle_max + SHARDS - 1) / SHARDS;
	random_bytes(t->key, sizeof(t->key));
	for (size_t i = 0; i < SHARDS; i++) {
		pthread_mutex_init(&t->shards[i].lock, NULL);
		t->shards[i].by_key = map_new();
		list_init(&t->shards[i].idle);
	}
	return t;
}

static struct bytes key_of(const struct quota *q)
{
	return bytes_of(q->key, q->key_len);
}

static struct shard *shard_of(struct quota_table *t, struct bytes key)
{
	return &t->shards[hash_keyed(t->key, key) % SHARDS];
}

/* Idle only, under the lock. */
static void forget(struct quota_table *t, struct shard *s, struct quota *q)
{
	if (t->entries)
		metric_add(t->entries, -1);
	list_remove(&q->node);
	s->idle_count--;
	(void)map_take(s->by_key, key_of(q));
	mem_free(q);
}

struct quota_table *quota_table_free(struct quota_table *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *s = &t->shards[i];
		while (!list_is_empty(&s->idle))
			forget(t, s, LIST_ENTRY(s->idle.next, struct quota, node));
		BUG_IF(map_count(s->by_key) != 0);
		map_free(s->by_key);
		pthread_mutex_destroy(&s->lock);
	}
	return mem_free(t->memory);
}

/* How long the entry is worth keeping: until both buckets are full. */
static usec memory_of(struct quota *q, usec now)
{
	usec longest = 0;

	for (int i = 0; i < QUOTA_KINDS; i++) {
		usec left = atomic_load_explicit(&q->full_at[i], memory_order_relaxed) - now;
		longest = left > longest ? left : longest;
	}
	return longest;
}

/* Those that are worth nothing any more, as far as they come first. */
static void sweep(struct quota_table *t, struct shard *s, usec now)
{
	for (int i = 0; i < SWEEP && !list_is_empty(&s->idle); i++) {
		struct quota *oldest = LIST_ENTRY(s->idle.next, struct quota, node);
		if (memory_of(oldest, now) > 0)
			return;
		forget(t, s, oldest);
	}
}

static void forget_one(struct quota_table *t, struct shard *s, usec now)
{
	struct quota *least = NULL;
	int looked_at = 0;

	LIST_FOR_EACH(node, &s->idle) {
		struct quota *q = LIST_ENTRY(node, struct quota, node);
		if (!least || memory_of(q, now) < memory_of(least, now))
			least = q;
		if (++looked_at == SEARCH)
			break;
	}
	forget(t, s, least);
}

static struct quota *quota_new(struct bytes key)
{
	struct quota *q = mem_alloc(sizeof(*q));

	BUG_IF(key.len > sizeof(q->key));
	memcpy(q->key, key.ptr, key.len);
	q->key_len = key.len;
	list_init(&q->node);
	return q;
}

struct quota *quota_hold(struct quota_table *t, struct bytes key, usec now)
{
	struct shard *s = shard_of(t, key);

	pthread_mutex_lock(&s->lock);
	struct quota *q = map_find(s->by_key, key);
	if (!q) {
		sweep(t, s, now);
		q = quota_new(key);
		map_put(s->by_key, key, q);
		if (t->entries)
			metric_add(t->entries, 1);
	} else if (q->holds == 0) {
		list_remove(&q->node);
		s->idle_count--;
	}
	q->holds++;
	pthread_mutex_unlock(&s->lock);
	return q;
}

void quota_release(struct quota_table *t, struct quota *q, usec now)
{
	struct shard *s = shard_of(t, key_of(q));

	pthread_mutex_lock(&s->lock);
	BUG_IF(q->holds == 0);
	if (--q->holds == 0) {
		list_append(&s->idle, &q->node);
		s->idle_count++;
		if (memory_of(q, now) == 0)
			forget(t, s, q);
		else if (s->idle_count > t->idle_max)
			forget_one(t, s, now);
	}
	pthread_mutex_unlock(&s->lock);
}

/* 0, or how long until there is one. */
static usec take_token(_Atomic usec *full_at, const struct quota_limit *limit, usec now)
{
	usec each = USEC_PER_SEC / limit->per_sec;
	usec most = (usec)limit->burst_sec * USEC_PER_SEC;
	usec before = atomic_load_explicit(full_at, memory_order_relaxed), after;

	do {
		after = (before > now ? before : now) + each;
		if (after - now > most)
			return after - now - most;
	} while (!atomic_compare_exchange_weak_explicit(
		full_at, &before, after, memory_order_relaxed, memory_order_relaxed));
	return 0;
}

enum quota_answer quota_take(struct quota *q, int kind, const struct quota_limit *limit, usec now,
			     usec *ret_wait)
{
	/* Up first, so that two that come at once do not both take the last place. */
	uint32_t before = atomic_fetch_add_explicit(&q->in_use[kind], 1, memory_order_relaxed);
	enum quota_answer answer = QUOTA_TAKEN;

	if (limit->at_once && before >= limit->at_once) {
		answer = QUOTA_AT_ONCE;
	} else if (limit->per_sec) {
		usec wait = take_token(&q->full_at[kind], limit, now);
		if (wait > 0) {
			answer = QUOTA_RATE;
			*ret_wait = wait;
		}
	}
	if (answer != QUOTA_TAKEN)
		quota_give(q, kind);
	return answer;
}

void quota_give(struct quota *q, int kind)
{
	uint32_t before = atomic_fetch_sub_explicit(&q->in_use[kind], 1, memory_order_relaxed);

	BUG_IF(before == 0);
}

size_t quota_count(struct quota_table *t)
{
	size_t count = 0;

	for (size_t i = 0; i < SHARDS; i++) {
		pthread_mutex_lock(&t->shards[i].lock);
		count += map_count(t->shards[i].by_key);
		pthread_mutex_unlock(&t->shards[i].lock);
	}
	return count;
}
