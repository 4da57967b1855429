/* Public ports in the store. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "store/store.h"

struct fixture {
	char dir[64];
	struct store *store;
	char account[33];
	struct uuid tunnel;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int set_up(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct store_tunnel t = { 0 };

	snprintf(f->dir, sizeof(f->dir), "/tmp/adit-test-ports-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->store = store_open(f->dir, true, NULL);
	assert_non_null(f->store);
	assert_int_equal(store_account_first(f->store, f->account, NULL), 0);
	assert_int_equal(store_tunnel_create(f->store, f->account, "office",
					     BYTES_LIT("0123456789abcdef0123456789abcdef"), &t,
					     NULL),
			 0);
	f->tunnel = t.id;
	store_tunnel_done(&t);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	mem_free(f);
	return 0;
}

static int add(struct fixture *f, bool is_udp, uint16_t number, const char *comment,
	       struct store_port *ret, struct err *err)
{
	char service[] = "ssh.example.com";
	struct store_port p = {
		.is_udp = is_udp,
		.port = number,
		.tunnel = f->tunnel,
		.service = service,
		.has_proxy_header = is_udp,
		.comment = (char *)(uintptr_t)comment,
	};

	memcpy(p.account, f->account, sizeof(p.account));
	return store_port_add(f->store, &p, ret, err);
}

static void a_port_is_kept_as_it_was_given(void **state)
{
	struct fixture *f = *state;
	struct store_port added = { 0 }, got = { 0 };

	assert_int_equal(add(f, true, 53, "names", &added, NULL), 0);
	assert_int_equal(store_port_get(f->store, f->account, &added.id, &got, NULL), 0);
	assert_true(got.is_udp && got.port == 53 && got.has_proxy_header && got.created_at > 0);
	assert_string_equal(got.service, "ssh.example.com");
	assert_string_equal(got.comment, "names");
	assert_string_equal(got.tunnel_name, "office");
	assert_true(uuid_eq(&got.tunnel, &f->tunnel));
	store_port_done(&added);
	store_port_done(&got);
}

static void a_port_has_one_owner_for_each_protocol(void **state)
{
	struct fixture *f = *state;
	struct store_port p = { 0 };
	struct err err;

	assert_int_equal(add(f, false, 2222, "", &p, NULL), 0);
	store_port_done(&p);
	assert_int_equal(add(f, true, 2222, "", &p, NULL), 0);
	store_port_done(&p);
	assert_int_equal(add(f, false, 2222, "", &p, &err), E_EXISTS);
}

static void a_port_that_is_deleted_is_free_again(void **state)
{
	struct fixture *f = *state;
	struct store_port p = { 0 };
	struct uuid id;

	assert_int_equal(add(f, false, 2222, "", &p, NULL), 0);
	id = p.id;
	store_port_done(&p);
	/* Nobody else's. */
	assert_int_equal(store_port_delete(f->store, "ffffffffffffffffffffffffffffffff", &id, NULL),
			 E_NOT_FOUND);
	assert_int_equal(store_port_get(f->store, "ffffffffffffffffffffffffffffffff", &id, &p, NULL),
			 E_NOT_FOUND);
	assert_int_equal(store_port_delete(f->store, f->account, &id, NULL), 0);
	assert_int_equal(store_port_delete(f->store, f->account, &id, NULL), E_NOT_FOUND);
	assert_int_equal(add(f, false, 2222, "", &p, NULL), 0);
	store_port_done(&p);
}

static void ports_go_with_their_tunnel(void **state)
{
	struct fixture *f = *state;
	struct store_port p = { 0 }, *list;
	size_t count;

	assert_int_equal(add(f, false, 2222, "", &p, NULL), 0);
	store_port_done(&p);
	assert_int_equal(add(f, true, 53, "", &p, NULL), 0);
	store_port_done(&p);
	assert_int_equal(store_port_list(f->store, f->account, &list, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_true(list[0].port == 2222 && list[1].port == 53); /* by protocol */
	store_port_done(&list[0]);
	store_port_done(&list[1]);
	mem_free(list);
	assert_int_equal(store_tunnel_delete(f->store, f->account, &f->tunnel, NULL), 0);
	assert_int_equal(store_port_list(f->store, NULL, &list, &count, NULL), 0);
	assert_int_equal(count, 0);
	mem_free(list);
	assert_int_equal(add(f, false, 2222, "", &p, NULL), E_NOT_FOUND);
}

static void refuses_nonsense(void **state)
{
	struct fixture *f = *state;
	struct store_port p = { 0 };

	assert_int_equal(add(f, false, 0, "", &p, NULL), E_INVALID);
	assert_int_equal(add(f, false, 1, "a\nb", &p, NULL), E_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_port_is_kept_as_it_was_given),
		TEST(a_port_has_one_owner_for_each_protocol),
		TEST(a_port_that_is_deleted_is_free_again),
		TEST(ports_go_with_their_tunnel),
		TEST(refuses_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
