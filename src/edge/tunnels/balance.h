/* Which of several replicas takes a request: the policies, as pure functions over a list of candidates.
 * The registry makes the list and knows who may be chosen at all. Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/hash.h"

enum balance_policy {
	BALANCE_LEAST,       /* fewest requests in flight, by weight */
	BALANCE_ROUND_ROBIN, /* in turn, by weight */
	BALANCE_CLIENT_HASH, /* by the visitor's address (IPv6: its /64): the same replica while it is there */
	BALANCE_COOKIE, /* as a cookie of ours says; whoever has none gets one, by BALANCE_LEAST */
};

/* "least", "round-robin", "client-hash", "cookie". */
const char *balance_policy_name(enum balance_policy policy);
bool balance_policy_parse(struct bytes name, enum balance_policy *ret);

/* Of two, the one in the lower tier. */
enum balance_tier {
	TIER_PRIMARY,
	TIER_BACKUP,
	TIER_SHAKY,       /* one of its connections has just broken off */
	TIER_TRIED,       /* this request has failed there before, but may be repeated */
	TIER_BAD_PRIMARY, /* out, or with a service that is down: when nobody else is there */
	TIER_BAD_BACKUP,
	TIER_NONE, /* not at all */
};

struct balance_candidate {
	uint32_t weight; /* 1 and more */
	uint32_t load;   /* requests in flight, of all workers */
	uint64_t identity; /* what BALANCE_CLIENT_HASH goes by: the same for the same replica at any time */
	enum balance_tier tier;
	bool has_cookie; /* the visitor's cookie names it */
	int64_t *turn;   /* state of the rotation, one per replica and chooser; starts with 0 */
};

/* An index, or `count` when no candidate may be chosen. `client` is from balance_client_key(). */
size_t balance_pick(enum balance_policy policy, const struct balance_candidate *list, size_t count,
		    const uint8_t key[HASH_KEY_BYTES], uint64_t client);

/* The same for all addresses one visitor may come from. Text that is no address counts as it is. */
uint64_t balance_client_key(const uint8_t key[HASH_KEY_BYTES], struct bytes client_ip);
