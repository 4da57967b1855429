/* A bounded memory: values by key, the ones unused for longest go when it is full. One thread. */
#pragma once

#include <stddef.h>

#include "base/bytes.h"

struct cache;

/* `drop` is called for each value that goes. */
struct cache *cache_new(size_t max, void (*drop)(void *value));
struct cache *cache_free(struct cache *c); /* NULL is fine */
/* NULL when it is not there. Counts as a use. */
void *cache_find(struct cache *c, struct bytes key);
/* Replaces what was there. The key is copied, the value belongs to the cache. */
void cache_put(struct cache *c, struct bytes key, void *value);
void cache_remove(struct cache *c, struct bytes key);
void cache_clear(struct cache *c);
size_t cache_count(const struct cache *c);
