#include "edge/access/tries.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "edge/access/cache.h"

/* Each of a hundred bytes or so. */
#define OWN_MAX 65536
#define COUNTS_MAX 65536
#define HOUR (3600 * USEC_PER_SEC)

/* A bucket that fills up again. */
struct count {
	usec at; /* when `left` was right */
	int64_t left;
};

struct tries {
	struct cache *own;    /* hash of device and person -> itself */
	struct cache *counts; /* hash of what is counted -> struct count */
};

static void drop(void *value)
{
	mem_free(value);
}

struct tries *tries_new(void)
{
	struct tries *t = mem_alloc(sizeof(*t));

	t->own = cache_new(OWN_MAX, drop);
	t->counts = cache_new(COUNTS_MAX, drop);
	return t;
}

struct tries *tries_free(struct tries *t)
{
	if (!t)
		return NULL;
	cache_free(t->own);
	cache_free(t->counts);
	return mem_free(t);
}

struct key {
	uint8_t hash[HASH_SHA256_BYTES];
};

/* Of parts that may hold anything: each is hashed by itself first. */
static struct key key_of(const char *what, struct bytes a, struct bytes b)
{
	uint8_t all[3 * HASH_SHA256_BYTES];
	struct key key;

	hash_sha256(bytes_str(what), all);
	hash_sha256(a, all + HASH_SHA256_BYTES);
	hash_sha256(b, all + 2 * HASH_SHA256_BYTES);
	hash_sha256(bytes_of(all, sizeof(all)), key.hash);
	return key;
}

static struct bytes key_bytes(const struct key *key)
{
	return bytes_of(key->hash, sizeof(key->hash));
}

static bool take(struct tries *t, struct key key, int64_t most, usec pause, usec now)
{
	struct count *c = cache_find(t->counts, key_bytes(&key));
	int64_t refill;

	if (!c) {
		c = mem_alloc(sizeof(*c));
		*c = (struct count){ now, most };
		cache_put(t->counts, key_bytes(&key), c);
	}
	refill = (now - c->at) / pause;
	if (refill > 0) {
		c->left = c->left + refill < most ? c->left + refill : most;
		c->at += refill * pause;
	}
	if (c->left == 0)
		return false;
	c->left--;
	return true;
}

void tries_worked(struct tries *t, struct bytes device, struct bytes email)
{
	struct key key = key_of("own", device, email);

	if (device.len && !cache_find(t->own, key_bytes(&key)))
		cache_put(t->own, key_bytes(&key), mem_alloc(1));
}

bool tries_is_own(struct tries *t, struct bytes device, struct bytes email)
{
	struct key key = key_of("own", device, email);

	return device.len && cache_find(t->own, key_bytes(&key));
}

bool tries_password(struct tries *t, struct bytes device, struct bytes email, usec now)
{
	if (tries_is_own(t, device, email))
		return take(t, key_of("password", device, email), TRIES_OWN, HOUR / TRIES_OWN, now);
	return take(t, key_of("password", BYTES_NONE, email), TRIES_STRANGERS,
		    HOUR / TRIES_STRANGERS, now);
}

bool tries_code(struct tries *t, struct bytes device, struct bytes email, struct bytes network,
		usec now)
{
	if (tries_is_own(t, device, email))
		return take(t, key_of("code", device, email), CODES_OWN, HOUR / CODES_OWN, now);
	return take(t, key_of("code of a network", network, email), CODES_NETWORK, CODES_PAUSE, now);
}
