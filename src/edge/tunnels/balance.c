#include "edge/tunnels/balance.h"

#include <math.h>

#include "base/check.h"
#include "io/address.h"

static const char *const names[] = {
	[BALANCE_LEAST] = "least",
	[BALANCE_ROUND_ROBIN] = "round-robin",
	[BALANCE_CLIENT_HASH] = "client-hash",
	[BALANCE_COOKIE] = "cookie",
};

const char *balance_policy_name(enum balance_policy policy)
{
	return names[policy];
}

bool balance_policy_parse(struct bytes name, enum balance_policy *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (bytes_eq(name, bytes_str(names[i]))) {
			*ret = (enum balance_policy)i;
			return true;
		}
	}
	return false;
}

/* What a policy chooses among. */
struct choosing {
	const struct balance_candidate *list;
	size_t count;
	enum balance_tier tier; /* the lowest that somebody is in */
	bool only_cookie;
	const struct balance_candidate *like; /* NULL, or only those as busy as this one */
};

/* load / weight, compared without a division. */
static bool is_busier(const struct balance_candidate *a, const struct balance_candidate *b)
{
	return (uint64_t)a->load * b->weight > (uint64_t)b->load * a->weight;
}

static bool is_in(const struct choosing *c, const struct balance_candidate *it)
{
	/* A cookie holds wherever the replica is of any use. */
	bool is_asked =
		c->only_cookie ? it->has_cookie && it->tier <= TIER_BACKUP : it->tier == c->tier;

	if (!is_asked)
		return false;
	return !c->like || (!is_busier(it, c->like) && !is_busier(c->like, it));
}

/* Smooth weighted rotation: each gains its weight, the richest pays for all. 5:1:1 gives a a b a c a a. */
static size_t rotate(const struct choosing *c)
{
	size_t best = c->count;
	int64_t total = 0;

	for (size_t i = 0; i < c->count; i++) {
		const struct balance_candidate *it = &c->list[i];
		if (!is_in(c, it))
			continue;
		total += it->weight;
		*it->turn += it->weight;
		if (best == c->count || *it->turn > *c->list[best].turn)
			best = i;
	}
	if (best < c->count)
		*c->list[best].turn -= total;
	return best;
}

static size_t pick_least(struct choosing *c)
{
	const struct balance_candidate *least = NULL;

	for (size_t i = 0; i < c->count; i++)
		if (is_in(c, &c->list[i]) && (!least || is_busier(least, &c->list[i])))
			least = &c->list[i];
	c->like = least;
	return rotate(c); /* equals take turns, by weight */
}

/* Rendezvous: everybody draws a number from the client and itself, the highest wins. Whoever leaves gives
 * its clients to all others, and takes nobody else's along. -log(u)/weight is what makes weights exact. */
static double draw(const struct balance_candidate *it, const uint8_t key[HASH_KEY_BYTES],
		   uint64_t client)
{
	const uint64_t both[2] = { client, it->identity };
	uint64_t h = hash_keyed(key, bytes_of(both, sizeof(both)));
	double u = ((double)(h >> 11) + 0.5) / (double)(UINT64_C(1) << 53);

	return -log(u) / it->weight;
}

static size_t pick_by_hash(const struct choosing *c, const uint8_t key[HASH_KEY_BYTES],
			   uint64_t client)
{
	size_t best = c->count;
	double lowest = 0;

	for (size_t i = 0; i < c->count; i++) {
		if (!is_in(c, &c->list[i]))
			continue;
		double drawn = draw(&c->list[i], key, client);
		if (best == c->count || drawn < lowest) {
			best = i;
			lowest = drawn;
		}
	}
	return best;
}

size_t balance_pick(enum balance_policy policy, const struct balance_candidate *list, size_t count,
		    const uint8_t key[HASH_KEY_BYTES], uint64_t client)
{
	struct choosing c = { .list = list, .count = count, .tier = TIER_NONE };

	for (size_t i = 0; i < count; i++) {
		if (list[i].tier < c.tier)
			c.tier = list[i].tier;
		c.only_cookie |= policy == BALANCE_COOKIE && list[i].has_cookie &&
				 list[i].tier <= TIER_BACKUP;
	}
	if (c.tier == TIER_NONE)
		return count;
	switch (policy) {
	case BALANCE_ROUND_ROBIN:
		return rotate(&c);
	case BALANCE_CLIENT_HASH:
		return pick_by_hash(&c, key, client);
	case BALANCE_LEAST:
	case BALANCE_COOKIE:
		break;
	}
	return pick_least(&c);
}

uint64_t balance_client_key(const uint8_t key[HASH_KEY_BYTES], struct bytes client_ip)
{
	struct address a;

	if (!address_from_ip(client_ip, 0, &a))
		return hash_keyed(key, client_ip);
	if (a.any.sa_family == AF_INET)
		return hash_keyed(key, bytes_of(&a.v4.sin_addr, sizeof(a.v4.sin_addr)));
	/* Who has one address of an IPv6 network may have them all, and changes them daily (RFC 8981). */
	return hash_keyed(key, bytes_of(&a.v6.sin6_addr, 8));
}
