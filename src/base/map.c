#include "base/map.h"

#include "base/mem.h"
#include "base/random.h"
#include "base/wide.h"

struct slot {
	uint64_t hash;
	uint8_t *key; /* owned; NULL: never used */
	size_t key_len;
	void *value; /* borrowed; NULL: taken out, the slot still bridges probes */
};

struct map {
	struct slot *slots; /* owned */
	size_t cap;         /* power of two */
	size_t used;        /* slots with a key, dead ones too */
	size_t count;
	uint64_t seed[2];
};

/* A short keyed mix (after wyhash's public-domain idea): not for secrets, only against chosen keys. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t upper, lower = wide_multiply(a, b, &upper);

	return lower ^ upper;
}

static uint64_t hash_of(const struct map *m, struct bytes key)
{
	uint64_t h = m->seed[0] ^ key.len;

	for (size_t i = 0; i < key.len; i += 8) {
		uint64_t word = 0;
		memcpy(&word, key.ptr + i, key.len - i < 8 ? key.len - i : 8);
		h = mix(h ^ word, m->seed[1] | 1);
	}
	return mix(h ^ m->seed[1], m->seed[0] | 1);
}

struct map *map_new(void)
{
	struct map *m = mem_alloc(sizeof(*m));

	m->cap = 16;
	m->slots = mem_alloc_array(m->cap, sizeof(*m->slots));
	random_bytes(m->seed, sizeof(m->seed));
	return m;
}

struct map *map_free(struct map *m)
{
	if (!m)
		return NULL;
	for (size_t i = 0; i < m->cap; i++)
		mem_free(m->slots[i].key);
	mem_free(m->slots);
	return mem_free(m);
}

size_t map_count(const struct map *m)
{
	return m->count;
}

/* The slot of the key, or the free one where it would go. */
static struct slot *probe(const struct map *m, uint64_t hash, struct bytes key)
{
	for (size_t i = (size_t)hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct slot *s = &m->slots[i];
		if (!s->key)
			return s;
		if (s->hash == hash && bytes_eq(bytes_of(s->key, s->key_len), key))
			return s;
	}
}

static void grow(struct map *m)
{
	struct slot *old = m->slots;
	size_t old_cap = m->cap;

	while (m->count * 4 >= m->cap)
		m->cap *= 2;
	m->slots = mem_alloc_array(m->cap, sizeof(*m->slots));
	m->used = 0;
	for (size_t i = 0; i < old_cap; i++) {
		if (!old[i].key)
			continue;
		if (!old[i].value) {
			mem_free(old[i].key);
			continue;
		}
		*probe(m, old[i].hash, bytes_of(old[i].key, old[i].key_len)) = old[i];
		m->used++;
	}
	mem_free(old);
}

void *map_put(struct map *m, struct bytes key, void *value)
{
	BUG_IF(value == NULL);
	if ((m->used + 1) * 4 > m->cap * 3)
		grow(m);
	uint64_t hash = hash_of(m, key);
	struct slot *s = probe(m, hash, key);
	void *before = s->value;

	if (!s->key) {
		s->key = (uint8_t *)mem_strndup(key);
		s->key_len = key.len;
		s->hash = hash;
		m->used++;
	}
	s->value = value;
	m->count += before == NULL;
	return before;
}

void *map_find(const struct map *m, struct bytes key)
{
	return probe(m, hash_of(m, key), key)->value;
}

void *map_take(struct map *m, struct bytes key)
{
	struct slot *s = probe(m, hash_of(m, key), key);
	void *value = s->value;

	s->value = NULL;
	m->count -= value != NULL;
	return value;
}

bool map_next(const struct map *m, size_t *cursor, struct bytes *ret_key, void **ret_value)
{
	for (; *cursor < m->cap; (*cursor)++) {
		struct slot *s = &m->slots[*cursor];
		if (!s->value)
			continue;
		if (ret_key)
			*ret_key = bytes_of(s->key, s->key_len);
		if (ret_value)
			*ret_value = s->value;
		(*cursor)++;
		return true;
	}
	return false;
}
