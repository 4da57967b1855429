#include "edge/access/oauth_memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "edge/access/cache.h"

#define PROVIDERS_MAX 256
/* Keys that a provider has taken back are trusted for so long at most. */
#define FRESH (3600 * USEC_PER_SEC)
/* Tokens with unknown keys lead to one request in this time. */
#define AGAIN_AFTER (30 * USEC_PER_SEC)

struct known {
	json_t *found; /* NULL: not known */
	char *keys;    /* owned; NULL: not known */
	usec found_at, keys_at;
	usec again_at; /* when a token last was a reason to ask for keys; 0: never */
};

struct oauth_memory {
	struct cache *known; /* by hash of the provider's configuration */
};

static void drop(void *value)
{
	struct known *k = value;

	json_decref(k->found);
	mem_free(k->keys);
	mem_free(k);
}

struct oauth_memory *oauth_memory_new(void)
{
	struct oauth_memory *m = mem_alloc(sizeof(*m));

	m->known = cache_new(PROVIDERS_MAX, drop);
	return m;
}

struct oauth_memory *oauth_memory_free(struct oauth_memory *m)
{
	if (!m)
		return NULL;
	cache_free(m->known);
	return mem_free(m);
}

/* A provider that is configured differently is another one. */
static struct known *find(struct oauth_memory *m, const struct oauth *o)
{
	json_t *all = json_pack("[s, O]", o->kind, o->config);
	char *text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
	uint8_t hash[HASH_SHA256_BYTES];
	struct known *k;

	hash_sha256(bytes_str(text), hash);
	free(text); /* allowed: jansson took it from malloc */
	json_decref(all);
	k = cache_find(m->known, bytes_of(hash, sizeof(hash)));
	if (!k) {
		k = mem_alloc(sizeof(*k));
		cache_put(m->known, bytes_of(hash, sizeof(hash)), k);
	}
	return k;
}

void oauth_memory_lend(struct oauth_memory *m, struct oauth *o, usec now)
{
	const struct known *k = find(m, o);

	json_decref(o->found);
	mem_free(o->keys);
	/* Copies: another thread is going to read them. */
	o->found = k->found && now - k->found_at < FRESH ? json_deep_copy(k->found) : NULL;
	o->keys = k->keys && now - k->keys_at < FRESH ? mem_strdup(k->keys) : NULL;
	o->may_ask_again = !k->again_at || now - k->again_at >= AGAIN_AFTER;
}

void oauth_memory_learn(struct oauth_memory *m, const struct oauth *o, usec now)
{
	struct known *k = find(m, o);

	if (o->has_found && o->found) {
		json_decref(k->found);
		k->found = json_deep_copy(o->found);
		k->found_at = now;
	}
	if (o->has_keys && o->keys) {
		mem_free(k->keys);
		k->keys = mem_strdup(o->keys);
		k->keys_at = now;
	}
	if (o->has_asked_again)
		k->again_at = now;
}
