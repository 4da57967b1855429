/* Which replica takes a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "edge/tunnels/balance.h"

enum { MANY = 10000, MAX = 16 };

static const uint8_t key[HASH_KEY_BYTES] = { 1, 2, 3 };
static struct balance_candidate list[MAX];
static int64_t turns[MAX];
static int hits[MAX];
static size_t count;

static int start(void **state)
{
	memset(list, 0, sizeof(list));
	memset(turns, 0, sizeof(turns));
	memset(hits, 0, sizeof(hits));
	count = 0;
	return 0;
}

static struct balance_candidate *add(uint32_t weight)
{
	struct balance_candidate *c = &list[count];

	*c = (struct balance_candidate){
		.weight = weight,
		.identity = hash_keyed(key, bytes_of(&count, sizeof(count))),
		.turn = &turns[count],
	};
	count++;
	return c;
}

static size_t pick(enum balance_policy policy)
{
	return balance_pick(policy, list, count, key, 0);
}

/* The same sequence each time. */
static uint32_t next_random(void)
{
	static uint64_t seed = 88172645463325252u;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32);
}

static uint64_t random_client(void)
{
	char ip[32];

	snprintf(ip, sizeof(ip), "%u.%u.%u.%u", next_random() % 223 + 1, next_random() % 256,
		 next_random() % 256, next_random() % 256);
	return balance_client_key(key, bytes_str(ip));
}

static void assert_share(size_t i, int percent, int tolerance)
{
	int share = hits[i] * 1000 / MANY;

	if (share < (percent - tolerance) * 10 || share > (percent + tolerance) * 10)
		fail_msg("candidate %zu has %d per mille, not %d percent", i, share, percent);
}

/* ---------------------------------------------------------------------------------------------- */

static void names_are_read_as_they_are_written(void **state)
{
	for (int i = BALANCE_LEAST; i <= BALANCE_COOKIE; i++) {
		enum balance_policy policy;
		assert_true(balance_policy_parse(
			bytes_str(balance_policy_name((enum balance_policy)i)), &policy));
		assert_int_equal(policy, i);
	}
	enum balance_policy policy;
	assert_false(balance_policy_parse(BYTES_LIT("random"), &policy));
	assert_false(balance_policy_parse(BYTES_NONE, &policy));
}

static void nobody_is_picked_from_nobody(void **state)
{
	for (int i = BALANCE_LEAST; i <= BALANCE_COOKIE; i++)
		assert_int_equal(pick((enum balance_policy)i), 0);
	add(1)->tier = TIER_NONE;
	for (int i = BALANCE_LEAST; i <= BALANCE_COOKIE; i++)
		assert_int_equal(pick((enum balance_policy)i), 1);
}

static void turns_go_by_weight_and_are_smooth(void **state)
{
	static const char wanted[] = "aabacaa";

	add(5);
	add(1);
	add(1);
	for (size_t i = 0; i < 70; i++)
		assert_int_equal(pick(BALANCE_ROUND_ROBIN), wanted[i % 7] - 'a');
}

static void turns_are_exact_over_many(void **state)
{
	add(1);
	add(3);
	add(6);
	for (int i = 0; i < MANY; i++)
		hits[pick(BALANCE_ROUND_ROBIN)]++;
	assert_int_equal(hits[0], 1000);
	assert_int_equal(hits[1], 3000);
	assert_int_equal(hits[2], 6000);
}

static void the_least_busy_for_its_weight_comes_first(void **state)
{
	add(1)->load = 3;
	add(4)->load = 8;
	add(2)->load = 5;
	assert_int_equal(pick(BALANCE_LEAST), 1);
	list[1].load = 13;
	assert_int_equal(pick(BALANCE_LEAST), 2);
	list[2].load = 7;
	assert_int_equal(pick(BALANCE_LEAST), 0);
}

static void idle_replicas_take_turns_by_weight(void **state)
{
	add(1);
	add(3);
	for (int i = 0; i < MANY; i++)
		hits[pick(BALANCE_LEAST)]++;
	assert_int_equal(hits[0], 2500);
	assert_int_equal(hits[1], 7500);
}

/* Requests of random length: each occupies its replica for a while. */
static void busy_replicas_share_by_weight(void **state)
{
	static struct {
		size_t at;
		uint32_t until;
	} running[200];

	add(1);
	add(2);
	add(7);
	for (uint32_t now = 0; now < MANY; now++) {
		for (size_t i = 0; i < 200; i++) {
			if (running[i].until && running[i].until <= now) {
				list[running[i].at].load--;
				running[i].until = 0;
			}
		}
		size_t at = pick(BALANCE_LEAST);
		hits[at]++;
		for (size_t i = 0; i < 200; i++) {
			if (running[i].until)
				continue;
			running[i].at = at;
			running[i].until = now + 1 + next_random() % 100;
			list[at].load++;
			break;
		}
	}
	assert_share(0, 10, 2);
	assert_share(1, 20, 2);
	assert_share(2, 70, 2);
}

static void backups_wait_until_no_primary_is_well(void **state)
{
	add(1)->tier = TIER_BACKUP;
	add(1);
	add(1)->tier = TIER_TRIED;
	for (int i = BALANCE_LEAST; i <= BALANCE_COOKIE; i++)
		assert_int_equal(pick((enum balance_policy)i), 1);
	list[1].tier = TIER_BAD_PRIMARY;
	for (int i = BALANCE_LEAST; i <= BALANCE_COOKIE; i++)
		assert_int_equal(pick((enum balance_policy)i), 0);
	/* Rather where it has failed before than where everything fails. */
	list[0].tier = TIER_BAD_BACKUP;
	assert_int_equal(pick(BALANCE_LEAST), 2);
	/* And there rather than nowhere. */
	list[2].tier = TIER_NONE;
	assert_int_equal(pick(BALANCE_LEAST), 1);
	list[1].tier = TIER_NONE;
	assert_int_equal(pick(BALANCE_LEAST), 0);
}

static void clients_are_spread_by_weight(void **state)
{
	add(10);
	add(20);
	add(70);
	for (int i = 0; i < MANY; i++)
		hits[balance_pick(BALANCE_CLIENT_HASH, list, count, key, random_client())]++;
	assert_share(0, 10, 1);
	assert_share(1, 20, 1);
	assert_share(2, 70, 2);
}

/* Only who was there moves, and to all others alike. */
static void a_replica_that_leaves_takes_no_other_clients_along(void **state)
{
	int moved = 0;

	for (int i = 0; i < 5; i++)
		add(1);
	for (int i = 0; i < MANY; i++) {
		uint64_t client = random_client();
		list[2].tier = TIER_PRIMARY;
		size_t before = balance_pick(BALANCE_CLIENT_HASH, list, count, key, client);
		list[2].tier = TIER_NONE;
		size_t after = balance_pick(BALANCE_CLIENT_HASH, list, count, key, client);
		if (before != 2) {
			assert_int_equal(after, before);
			continue;
		}
		moved++;
		hits[after]++;
	}
	assert_in_range(moved, MANY / 5 - 200, MANY / 5 + 200);
	for (int i = 0; i < 5; i++)
		if (i != 2)
			assert_in_range(hits[i], moved / 4 - 100, moved / 4 + 100);
}

static void the_order_of_candidates_does_not_matter_to_a_client(void **state)
{
	for (int i = 0; i < 7; i++)
		add(1 + (uint32_t)i);
	for (int i = 0; i < 1000; i++) {
		uint64_t client = random_client();
		uint64_t chosen =
			list[balance_pick(BALANCE_CLIENT_HASH, list, count, key, client)].identity;
		struct balance_candidate first = list[0];
		memmove(list, list + 1, 6 * sizeof(list[0]));
		list[6] = first;
		assert_true(
			list[balance_pick(BALANCE_CLIENT_HASH, list, count, key, client)].identity ==
			chosen);
	}
}

static void a_client_is_its_address_or_its_ipv6_network(void **state)
{
	uint64_t v4 = balance_client_key(key, BYTES_LIT("192.0.2.1"));
	uint64_t v6 = balance_client_key(key, BYTES_LIT("2001:db8:1:2:3:4:5:6"));

	assert_true(v4 == balance_client_key(key, BYTES_LIT("192.0.2.1")));
	assert_true(v4 != balance_client_key(key, BYTES_LIT("192.0.2.2")));
	assert_true(v6 == balance_client_key(key, BYTES_LIT("2001:db8:1:2::1")));
	assert_true(v6 != balance_client_key(key, BYTES_LIT("2001:db8:1:3::1")));
	(void)balance_client_key(key, BYTES_LIT("not an address"));
	(void)balance_client_key(key, BYTES_NONE);
}

static void a_cookie_holds_while_its_replica_is_of_use(void **state)
{
	add(1);
	add(1)->load = 100;
	list[1].has_cookie = true;
	add(1)->tier = TIER_BACKUP;
	assert_int_equal(pick(BALANCE_COOKIE), 1);
	assert_int_equal(pick(BALANCE_LEAST), 0);
	/* Even with a backup, while the others are back: it has the visitor's state. */
	list[1].has_cookie = false;
	list[2].has_cookie = true;
	assert_int_equal(pick(BALANCE_COOKIE), 2);
	list[2].tier = TIER_BAD_BACKUP;
	assert_int_equal(pick(BALANCE_COOKIE), 0);
}

static void among_several_of_one_name_the_least_busy_is_picked(void **state)
{
	add(1);
	add(1)->has_cookie = true;
	add(1)->has_cookie = true;
	list[1].load = 2;
	list[2].load = 1;
	assert_int_equal(pick(BALANCE_COOKIE), 2);
}

#define PICKING(test) cmocka_unit_test_setup(test, start)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PICKING(names_are_read_as_they_are_written),
		PICKING(nobody_is_picked_from_nobody),
		PICKING(turns_go_by_weight_and_are_smooth),
		PICKING(turns_are_exact_over_many),
		PICKING(the_least_busy_for_its_weight_comes_first),
		PICKING(idle_replicas_take_turns_by_weight),
		PICKING(busy_replicas_share_by_weight),
		PICKING(backups_wait_until_no_primary_is_well),
		PICKING(clients_are_spread_by_weight),
		PICKING(a_replica_that_leaves_takes_no_other_clients_along),
		PICKING(the_order_of_candidates_does_not_matter_to_a_client),
		PICKING(a_client_is_its_address_or_its_ipv6_network),
		PICKING(a_cookie_holds_while_its_replica_is_of_use),
		PICKING(among_several_of_one_name_the_least_busy_is_picked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
