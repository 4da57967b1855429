/* Private networks in the store: virtual networks, routes, and the hashes of tokens. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "store/store.h"

struct fixture {
	char *dir, *state;
	struct store *store;
	char account[33];
	struct uuid tunnel, other;
	struct uuid vnet; /* the default one */
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static struct uuid add_tunnel(struct fixture *f, const char *name)
{
	struct store_tunnel t = { 0 };

	assert_int_equal(store_tunnel_create(f->store, f->account, name,
					     BYTES_LIT("0123456789abcdef0123456789abcdef"), &t,
					     NULL),
			 0);
	struct uuid id = t.id;
	store_tunnel_done(&t);
	return id;
}

static int set_up(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct store_vnet v = { 0 };

	f->dir = mem_strdup("/tmp/adit-test-networks-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->state = mem_printf("%s/state", f->dir);
	f->store = store_open(f->state, true, NULL);
	assert_non_null(f->store);
	assert_int_equal(store_account_first(f->store, f->account, NULL), 0);
	f->tunnel = add_tunnel(f, "office");
	f->other = add_tunnel(f, "lab");
	assert_int_equal(store_vnet_default(f->store, f->account, &v, NULL), 0);
	f->vnet = v.id;
	store_vnet_done(&v);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	mem_free(f->state);
	mem_free(f->dir);
	mem_free(f);
	return 0;
}

static struct network net(const char *text)
{
	struct network n;

	assert_true(network_parse(bytes_str(text), &n));
	return n;
}

static int try_route(struct fixture *f, const char *network, const struct uuid *tunnel,
		     const struct uuid *vnet, const char *comment, struct uuid *ret)
{
	struct store_network_route r = { 0 };
	struct network n = net(network);
	int rc = store_network_route_add(f->store, f->account, &n, tunnel, vnet, comment, &r, NULL);

	if (rc == 0 && ret)
		*ret = r.id;
	store_network_route_done(&r);
	return rc;
}

static struct uuid route(struct fixture *f, const char *network, const struct uuid *tunnel)
{
	struct uuid id;

	assert_int_equal(try_route(f, network, tunnel, &f->vnet, "", &id), 0);
	return id;
}

/* "10.0.0.0/8 fd00::/8": what the filter lets through. */
static const char *listed(struct fixture *f, const struct store_network_filter *filter)
{
	static char text[1000];
	struct store_network_route *routes;
	char network[NETWORK_TEXT_SIZE];
	size_t count, total, used = 0;

	text[0] = 0;
	assert_int_equal(store_network_route_list(f->store, filter, &routes, &count, &total, NULL),
			 0);
	for (size_t i = 0; i < count; i++) {
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "",
					 network_text(&routes[i].network, network));
		store_network_route_done(&routes[i]);
	}
	assert_true(total >= count);
	mem_free(routes);
	return text;
}

/* --- Virtual networks ------------------------------------------------------------------------- */

static void an_account_has_one_default_virtual_network(void **state)
{
	struct fixture *f = *state;
	struct store_vnet v = { 0 }, made = { 0 };

	assert_int_equal(store_vnet_default(f->store, f->account, &v, NULL), 0);
	assert_true(uuid_eq(&v.id, &f->vnet));
	assert_string_equal(v.name, "default");
	assert_true(v.is_default);
	store_vnet_done(&v);
	assert_int_equal(
		store_vnet_create(f->store, f->account, "lab", "cellar", true, &made, NULL), 0);
	assert_int_equal(store_vnet_default(f->store, f->account, &v, NULL), 0);
	assert_true(uuid_eq(&v.id, &made.id));
	assert_string_equal(v.comment, "cellar");
	store_vnet_done(&v);
	assert_int_equal(store_vnet_get(f->store, f->account, &f->vnet, &v, NULL), 0);
	assert_false(v.is_default);
	store_vnet_done(&v);
	store_vnet_done(&made);
}

static void names_of_virtual_networks_are_free_again_after_deletion(void **state)
{
	struct fixture *f = *state;
	struct store_vnet v = { 0 };
	struct uuid id;

	assert_int_equal(store_vnet_create(f->store, f->account, "lab", "", false, &v, NULL), 0);
	id = v.id;
	store_vnet_done(&v);
	assert_int_equal(store_vnet_create(f->store, f->account, "lab", "", false, &v, NULL),
			 E_EXISTS);
	assert_int_equal(store_vnet_create(f->store, f->account, "", "", false, &v, NULL),
			 E_INVALID);
	assert_int_equal(store_vnet_create(f->store, f->account,
					   "f4b2f4a0-7c10-4f8e-9d8c-111111111111", "", false, &v,
					   NULL),
			 E_INVALID);
	assert_int_equal(store_vnet_delete(f->store, f->account, &id, false, NULL), 0);
	assert_int_equal(store_vnet_delete(f->store, f->account, &id, false, NULL), E_NOT_FOUND);
	assert_int_equal(store_vnet_create(f->store, f->account, "lab", "", false, &v, NULL), 0);
	store_vnet_done(&v);
}

static void a_virtual_network_is_changed(void **state)
{
	struct fixture *f = *state;
	struct store_vnet_change change = { .name = "main", .comment = "all" };
	struct store_vnet v = { 0 };
	struct uuid lab;

	assert_int_equal(store_vnet_create(f->store, f->account, "lab", "", false, &v, NULL), 0);
	lab = v.id;
	store_vnet_done(&v);
	assert_int_equal(store_vnet_update(f->store, f->account, &lab, &change, NULL), 0);
	assert_int_equal(store_vnet_get(f->store, f->account, &lab, &v, NULL), 0);
	assert_string_equal(v.name, "main");
	assert_string_equal(v.comment, "all");
	assert_false(v.is_default);
	store_vnet_done(&v);
	/* To its own name is fine, to another's is not. */
	assert_int_equal(store_vnet_update(f->store, f->account, &lab, &change, NULL), 0);
	change.name = "default";
	assert_int_equal(store_vnet_update(f->store, f->account, &lab, &change, NULL), E_EXISTS);
	change = (struct store_vnet_change){ .make_default = true };
	assert_int_equal(store_vnet_update(f->store, f->account, &lab, &change, NULL), 0);
	assert_int_equal(store_vnet_default(f->store, f->account, &v, NULL), 0);
	assert_string_equal(v.name, "main");
	assert_string_equal(v.comment, "all");
	store_vnet_done(&v);
}

static void a_virtual_network_with_routes_goes_only_with_them(void **state)
{
	struct fixture *f = *state;
	struct store_vnet v = { 0 };
	struct err err = { 0 };

	assert_int_equal(store_vnet_create(f->store, f->account, "lab", "", false, &v, NULL), 0);
	assert_int_equal(try_route(f, "10.0.0.0/8", &f->tunnel, &v.id, "", NULL), 0);
	assert_int_equal(store_vnet_delete(f->store, f->account, &v.id, false, &err), E_BUSY);
	assert_non_null(strstr(err.text, "1 route"));
	assert_int_equal(store_vnet_delete(f->store, f->account, &v.id, true, NULL), 0);
	assert_string_equal(listed(f, &(struct store_network_filter){ 0 }), "");
	assert_string_equal(listed(f, &(struct store_network_filter){ .is_deleted = 1 }),
			    "10.0.0.0/8");
	assert_int_equal(try_route(f, "10.0.0.0/8", &f->tunnel, &v.id, "", NULL), E_NOT_FOUND);
	assert_int_equal(store_vnet_delete(f->store, f->account, &f->vnet, true, NULL), E_INVALID);
	store_vnet_done(&v);
}

/* --- Routes ------------------------------------------------------------------------------------ */

static void the_same_network_is_routed_once_in_each_virtual_network(void **state)
{
	struct fixture *f = *state;
	struct store_vnet v = { 0 };
	struct uuid first = route(f, "10.0.0.0/8", &f->tunnel);

	assert_int_equal(try_route(f, "10.0.0.0/8", &f->other, &f->vnet, "", NULL), E_EXISTS);
	assert_int_equal(store_vnet_create(f->store, f->account, "lab", "", false, &v, NULL), 0);
	assert_int_equal(try_route(f, "10.0.0.0/8", &f->other, &v.id, "", NULL), 0);
	store_vnet_done(&v);
	route(f, "10.0.0.0/16", &f->other);
	assert_int_equal(store_network_route_delete(f->store, f->account, &first, NULL), 0);
	assert_int_equal(store_network_route_delete(f->store, f->account, &first, NULL),
			 E_NOT_FOUND);
	route(f, "10.0.0.0/8", &f->other);
}

static void an_address_takes_the_longest_prefix(void **state)
{
	struct fixture *f = *state;
	static const char *const networks[] = { "0.0.0.0/0",   "10.0.0.0/8", "10.1.0.0/16",
						"10.1.2.3/32", "fd00::/8",   "::/0" };
	static const char *const cases[][2] = {
		{ "10.1.2.3/32", "10.1.2.3/32" }, { "10.1.2.4/32", "10.1.0.0/16" },
		{ "10.2.0.0/32", "10.0.0.0/8" },  { "192.0.2.1/32", "0.0.0.0/0" },
		{ "fd00::1/128", "fd00::/8" },    { "2001:db8::1/128", "::/0" },
	};
	struct store_network_route r = { 0 };
	char text[NETWORK_TEXT_SIZE];

	for (size_t i = 0; i < ARRAY_LEN(networks); i++)
		route(f, networks[i], &f->tunnel);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct network ip = net(cases[i][0]);
		assert_int_equal(
			store_network_route_find(f->store, f->account, &f->vnet, &ip, &r, NULL), 0);
		assert_string_equal(network_text(&r.network, text), cases[i][1]);
		assert_string_equal(r.tunnel_name, "office");
		store_network_route_done(&r);
	}
	struct uuid nowhere = uuid_random();
	struct network ip = net("10.1.2.3/32");
	assert_int_equal(store_network_route_find(f->store, f->account, &nowhere, &ip, &r, NULL),
			 E_NOT_FOUND);
}

static void routes_are_filtered(void **state)
{
	struct fixture *f = *state;
	struct network ten = net("10.0.0.0/8"), small = net("10.1.0.0/16"), all6 = net("::/0");
	const struct store_network_filter by_tunnel = { .tunnel = &f->other };
	const struct store_network_filter inside = { .within = &small }, around = { .over = &small };
	const struct store_network_filter exact = { .within = &ten, .over = &ten };
	const struct store_network_filter v6 = { .within = &all6 },
					  second = { .offset = 1, .limit = 1 };
	const struct store_network_filter with_comment = { .comment = "x" };

	route(f, "10.1.2.0/24", &f->tunnel);
	route(f, "fd00::/8", &f->other);
	route(f, "10.0.0.0/8", &f->tunnel);
	assert_int_equal(try_route(f, "10.1.0.0/16", &f->other, &f->vnet, "x", NULL), 0);
	assert_string_equal(listed(f, &(struct store_network_filter){ 0 }),
			    "10.0.0.0/8 10.1.0.0/16 10.1.2.0/24 fd00::/8");
	assert_string_equal(listed(f, &by_tunnel), "10.1.0.0/16 fd00::/8");
	assert_string_equal(listed(f, &inside), "10.1.0.0/16 10.1.2.0/24");
	assert_string_equal(listed(f, &around), "10.0.0.0/8 10.1.0.0/16");
	assert_string_equal(listed(f, &exact), "10.0.0.0/8");
	assert_string_equal(listed(f, &v6), "fd00::/8");
	assert_string_equal(listed(f, &second), "10.1.0.0/16");
	assert_string_equal(listed(f, &with_comment), "10.1.0.0/16");
}

static void a_deleted_tunnel_takes_its_routes_along(void **state)
{
	struct fixture *f = *state;

	route(f, "10.0.0.0/8", &f->tunnel);
	route(f, "10.1.0.0/16", &f->other);
	assert_int_equal(store_tunnel_delete(f->store, f->account, &f->tunnel, NULL), 0);
	assert_string_equal(listed(f, &(struct store_network_filter){ 0 }), "10.1.0.0/16");
	assert_int_equal(try_route(f, "10.0.0.0/8", &f->tunnel, &f->vnet, "", NULL), E_NOT_FOUND);
}

static void other_accounts_see_none_of_it(void **state)
{
	struct fixture *f = *state;
	static const char stranger[] = "00000000000000000000000000000000";
	struct uuid id = route(f, "10.0.0.0/8", &f->tunnel);
	struct network ten = net("10.0.0.0/8");
	struct store_network_route r = { 0 };

	assert_int_equal(store_network_route_get(f->store, stranger, &id, &r, NULL), E_NOT_FOUND);
	assert_int_equal(store_network_route_delete(f->store, stranger, &id, NULL), E_NOT_FOUND);
	assert_int_equal(store_vnet_delete(f->store, stranger, &f->vnet, true, NULL), E_NOT_FOUND);
	assert_int_equal(store_network_route_add(f->store, stranger, &ten, &f->tunnel, &f->vnet, "",
						 &r, NULL),
			 E_NOT_FOUND);
}

static void hashes_of_tokens_are_listed(void **state)
{
	struct fixture *f = *state;
	struct store_token_hash *hashes;
	uint8_t hash[STORE_TOKEN_HASH_BYTES];
	struct store_zone zone = { 0 };
	size_t count;

	assert_int_equal(store_zone_add(f->store, f->account, "example.com", &zone, NULL), 0);
	char *token = store_token_create(f->store, f->account, &zone.id, "x", NULL);
	assert_non_null(token);
	assert_int_equal(store_token_hashes(f->store, &hashes, &count, NULL), 0);
	assert_int_equal(count, 1);
	store_token_hash(bytes_str(token), hash);
	assert_memory_equal(hashes[0].hash, hash, sizeof(hash));
	assert_string_equal(hashes[0].account, f->account);
	mem_free(hashes);
	mem_free(token);
	store_zone_done(&zone);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(an_account_has_one_default_virtual_network),
		TEST(names_of_virtual_networks_are_free_again_after_deletion),
		TEST(a_virtual_network_is_changed),
		TEST(a_virtual_network_with_routes_goes_only_with_them),
		TEST(the_same_network_is_routed_once_in_each_virtual_network),
		TEST(an_address_takes_the_longest_prefix),
		TEST(routes_are_filtered),
		TEST(a_deleted_tunnel_takes_its_routes_along),
		TEST(other_accounts_see_none_of_it),
		TEST(hashes_of_tokens_are_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
