/* How it stands with ACME certificates, in the store. */
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

static char dir[64];
static struct store *store;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int set_up(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/adit-test-acme-XXXXXX");
	assert_non_null(mkdtemp(dir));
	store = store_open(dir, true, NULL);
	assert_non_null(store);
	return 0;
}

static int tear_down(void **state)
{
	store_close(store);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

#define TEXT(t) ((char *)(uintptr_t)(t))

static void put(const char *name, int64_t failures, const struct store_certificate *c)
{
	const struct store_acme_name n = {
		.name = TEXT(name),
		.directory = TEXT(c ? "https://ca/directory" : ""),
		.renewal_id = TEXT("a.b"),
		.error = TEXT("said no"),
		.started_at = 1,
		.renew_at = 2,
		.ask_at = 3,
		.next_at = 4,
		.tried_at = 5,
		.failures = failures,
		.is_on_demand = true,
	};

	assert_int_equal(store_acme_put(store, &n, c, NULL), 0);
}

static size_t count_certificates(void)
{
	struct store_certificate *list;
	size_t count;

	assert_int_equal(store_certificate_list(store, &list, &count, NULL), 0);
	for (size_t i = 0; i < count; i++)
		store_certificate_done(&list[i]);
	mem_free(list);
	return count;
}

static void keeps_what_it_is_told_and_the_last_of_it(void **state)
{
	struct store_acme_name *list;
	size_t count;

	put("host a.example.com", 1, NULL);
	put("host a.example.com", 2, NULL);
	assert_int_equal(store_acme_list(store, &list, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_string_equal(list[0].name, "host a.example.com");
	assert_string_equal(list[0].error, "said no");
	assert_string_equal(list[0].renewal_id, "a.b");
	assert_int_equal(list[0].failures, 2);
	assert_int_equal(list[0].started_at + list[0].renew_at + list[0].ask_at + list[0].next_at +
				 list[0].tried_at,
			 15);
	assert_true(list[0].is_on_demand);
	store_acme_name_done(&list[0]);
	mem_free(list);
}

static void a_certificate_comes_and_goes_with_it(void **state)
{
	struct store_certificate c = { .name = TEXT("acme host a.example.com"),
				       .hostnames = TEXT("a.example.com"),
				       .issuer = TEXT("CA"),
				       .expires_at = 9,
				       .cert_pem = TEXT("PEM") };
	struct store_certificate found;

	secret_set(&c.key_pem, BYTES_LIT("KEY"));
	put("host a.example.com", 0, &c);
	assert_int_equal(store_certificate_get(store, c.name, &found, NULL), 0);
	assert_true(secret_eq(&found.key_pem, BYTES_LIT("KEY")));
	store_certificate_done(&found);
	assert_int_equal(store_acme_drop(store, "host a.example.com", NULL), 0);
	assert_int_equal(count_certificates(), 0);
	assert_int_equal(store_acme_drop(store, "host a.example.com", NULL), 0);
	secret_done(&c.key_pem);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(keeps_what_it_is_told_and_the_last_of_it),
		TEST(a_certificate_comes_and_goes_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
