#include "edge/access/cache.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

struct entry {
	struct list node; /* of by_use, the latest first */
	void *value;
	size_t key_len;
	uint8_t key[];
};

struct cache {
	struct map *entries;
	struct list by_use;
	size_t max;
	void (*drop)(void *value);
};

struct cache *cache_new(size_t max, void (*drop)(void *value))
{
	struct cache *c = mem_alloc(sizeof(*c));

	c->entries = map_new();
	list_init(&c->by_use);
	c->max = max;
	c->drop = drop;
	return c;
}

static void drop_entry(struct cache *c, struct entry *e)
{
	map_take(c->entries, bytes_of(e->key, e->key_len));
	list_remove(&e->node);
	c->drop(e->value);
	mem_free(e);
}

void cache_clear(struct cache *c)
{
	while (!list_is_empty(&c->by_use))
		drop_entry(c, LIST_ENTRY(c->by_use.next, struct entry, node));
}

struct cache *cache_free(struct cache *c)
{
	if (!c)
		return NULL;
	cache_clear(c);
	map_free(c->entries);
	return mem_free(c);
}

void *cache_find(struct cache *c, struct bytes key)
{
	struct entry *e = map_find(c->entries, key);

	if (!e)
		return NULL;
	list_remove(&e->node);
	list_prepend(&c->by_use, &e->node);
	return e->value;
}

void cache_put(struct cache *c, struct bytes key, void *value)
{
	struct entry *e;

	cache_remove(c, key);
	if (map_count(c->entries) >= c->max)
		drop_entry(c, LIST_ENTRY(c->by_use.prev, struct entry, node));
	e = mem_alloc(sizeof(*e) + key.len);
	e->value = value;
	e->key_len = key.len;
	memcpy(e->key, key.ptr, key.len);
	list_init(&e->node);
	list_prepend(&c->by_use, &e->node);
	map_put(c->entries, key, e);
}

void cache_remove(struct cache *c, struct bytes key)
{
	struct entry *e = map_find(c->entries, key);

	if (e)
		drop_entry(c, e);
}

size_t cache_count(const struct cache *c)
{
	return map_count(c->entries);
}
