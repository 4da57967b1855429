/* How visitors are served, and answers by OCSP, in the store. */
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
	struct uuid zone;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int set_up(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct store_zone zone;
	char account[33];

	snprintf(f->dir, sizeof(f->dir), "/tmp/adit-test-sites-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->store = store_open(f->dir, true, NULL);
	assert_non_null(f->store);
	assert_int_equal(store_account_first(f->store, account, NULL), 0);
	assert_int_equal(store_zone_add(f->store, account, "example.com", &zone, NULL), 0);
	f->zone = zone.id;
	store_zone_done(&zone);
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

static size_t count_sites(struct fixture *f)
{
	struct store_site *list;
	size_t count;

	assert_int_equal(store_site_list(f->store, &list, &count, NULL), 0);
	for (size_t i = 0; i < count; i++)
		store_site_done(&list[i]);
	mem_free(list);
	return count;
}

static void what_is_not_set_is_null(void **state)
{
	struct fixture *f = *state;
	struct store_site site = { .zone = f->zone, .hostname = "a.example.com", .hsts = "" }, got;

	assert_int_equal(store_site_get(f->store, &f->zone, "", &got, NULL), E_NOT_FOUND);
	assert_int_equal(store_site_put(f->store, &site, NULL), 0);
	site.min_tls = "1.3";
	assert_int_equal(store_site_put(f->store, &site, NULL), 0);
	assert_int_equal(store_site_get(f->store, &f->zone, "a.example.com", &got, NULL), 0);
	assert_string_equal(got.hsts, "");
	assert_string_equal(got.min_tls, "1.3");
	assert_null(got.client_auth);
	assert_null(got.client_ca);
	store_site_done(&got);
	assert_int_equal(count_sites(f), 1);
}

static void a_site_with_nothing_set_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct store_site site = { .zone = f->zone, .hostname = "", .client_auth = "off" };

	assert_int_equal(store_site_put(f->store, &site, NULL), 0);
	site.client_auth = NULL;
	assert_int_equal(store_site_put(f->store, &site, NULL), 0);
	assert_int_equal(count_sites(f), 0);
}

static void sites_go_with_their_zone(void **state)
{
	struct fixture *f = *state;
	struct store_site site = { .zone = f->zone, .hostname = "a.example.com", .hsts = "" };

	assert_int_equal(store_site_put(f->store, &site, NULL), 0);
	assert_int_equal(store_zone_remove(f->store, "example.com", NULL), 0);
	assert_int_equal(count_sites(f), 0);
}

static void put_ocsp(struct fixture *f, char *name, const char *text, usec fresh_for)
{
	struct store_ocsp o = {
		.certificate = name,
		.response = (uint8_t *)(uintptr_t)text,
		.response_len = strlen(text),
		.fresh_until = clock_wall_now() + fresh_for,
	};

	assert_int_equal(store_ocsp_put(f->store, &o, NULL), 0);
}

static void answers_by_ocsp_are_kept_as_long_as_they_are_fresh(void **state)
{
	struct fixture *f = *state;
	struct store_ocsp *list;
	size_t count;

	put_ocsp(f, "old", "x", -USEC_PER_SEC);
	put_ocsp(f, "new", "one", 3600 * USEC_PER_SEC);
	put_ocsp(f, "new", "second", 3600 * USEC_PER_SEC);
	assert_int_equal(store_ocsp_list(f->store, &list, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_string_equal(list[0].certificate, "new");
	assert_int_equal(list[0].response_len, 6);
	assert_memory_equal(list[0].response, "second", 6);
	store_ocsp_done(&list[0]);
	mem_free(list);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void a_hostnames_own_settings_say_whether_tls_passes_then_the_longest_wildcards(void **state)
{
	static const struct store_site sites[] = {
		{ .hostname = (char *)"", .passthrough = (char *)"on" }, /* a zone's do not */
		{ .hostname = (char *)"*.example.com", .passthrough = (char *)"on" },
		{ .hostname = (char *)"*.b.example.com" },
		{ .hostname = (char *)"off.example.com", .passthrough = (char *)"off" },
		{ .hostname = (char *)"on.b.example.com", .passthrough = (char *)"on" },
	};
	static const struct {
		const char *hostname;
		bool passes;
	} table[] = {
		{ "a.example.com", true },    { "x.a.example.com", true },
		{ "*.example.com", true },    { "example.com", false },
		{ "aexample.com", false },    { "off.example.com", false },
		{ "a.b.example.com", false }, { "on.b.example.com", true },
		{ "example.org", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		assert_int_equal(store_site_passes(sites, ARRAY_LEN(sites), table[i].hostname),
				 table[i].passes);
	assert_false(store_site_passes(NULL, 0, "a.example.com"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_not_set_is_null),
		TEST(a_site_with_nothing_set_is_forgotten),
		TEST(sites_go_with_their_zone),
		TEST(a_hostnames_own_settings_say_whether_tls_passes_then_the_longest_wildcards),
		TEST(answers_by_ocsp_are_kept_as_long_as_they_are_fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
