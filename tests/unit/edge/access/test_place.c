/* Which application a request is in. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "edge/access/place.h"

static struct arena arena;

static int start(void **state)
{
	(void)state;
	arena_init(&arena);
	return 0;
}

static int end(void **state)
{
	(void)state;
	arena_done(&arena);
	return 0;
}

static struct access_place place(const char *text)
{
	struct access_place p;
	struct err err = { 0 };

	if (access_place_parse(bytes_str(text), &arena, &p, &err) < 0)
		fail_msg("%s", err.text);
	return p;
}

static bool holds(const char *text, const char *host, const char *target, bool resolved)
{
	struct access_place p = place(text);
	struct access_paths paths = access_paths_of(bytes_str(target), &arena);

	for (size_t i = 0; resolved && i < paths.count; i++)
		if (access_place_holds(&p, bytes_str(host), paths.resolved[i], true))
			return true;
	return !resolved && access_place_holds(&p, bytes_str(host), paths.as_sent, false);
}

static void hosts_match_label_by_label(void **state)
{
	(void)state;
	assert_true(holds("app.example.com", "app.example.com", "/", false));
	assert_true(holds("App.Example.COM", "app.example.com", "/", false));
	assert_false(holds("app.example.com", "xapp.example.com", "/", false));
	assert_false(holds("app.example.com", "app.example.com.evil.test", "/", false));
	assert_false(holds("app.example.com", "example.com", "/", false));
	assert_true(holds("*.example.com", "a.example.com", "/", false));
	assert_false(holds("*.example.com", "example.com", "/", false));
	assert_true(holds("*.*.example.com", "a.b.example.com", "/", false));
	assert_true(holds("dev-*.example.com", "dev-7.example.com", "/", false));
	assert_true(holds("dev-*.example.com", "dev-.example.com", "/", false));
	assert_false(holds("dev-*.example.com", "prod-7.example.com", "/", false));
	assert_true(holds("a*z.example.com", "abcz.example.com", "/", false));
	assert_false(holds("ab*ba.example.com", "aba.example.com", "/", false));
}

/* A route of the same name lets all of these through. */
static void a_star_at_the_front_holds_what_a_wildcard_route_lets_through(void **state)
{
	(void)state;
	assert_true(holds("*.example.com", "a.b.example.com", "/", false));
	assert_true(holds("*.example.com", "a.b.c.example.com", "/", false));
	assert_true(holds("*.example.com", "a..example.com", "/", false));
	assert_true(holds("*.b.example.com", "x.a.b.example.com", "/", false));
	assert_false(holds("*.b.example.com", "b.example.com", "/", false));
	assert_false(holds("*.example.com", "com", "/", false));
	assert_false(holds("*.example.com", "a.b.example.com.evil.test", "/", false));
	assert_false(holds("dev-*.example.com", "dev-a.b.example.com", "/", false));
	assert_false(holds("*.*.example.com", "a.example.com", "/", false));
	assert_true(holds("*.*.example.com", "a.b.c.example.com", "/", false));
}

static void a_path_covers_what_is_below_it(void **state)
{
	(void)state;
	assert_true(holds("a.test/admin", "a.test", "/admin", false));
	assert_true(holds("a.test/admin", "a.test", "/admin/", false));
	assert_true(holds("a.test/admin/", "a.test", "/admin/x/y?z=1", false));
	assert_false(holds("a.test/admin", "a.test", "/administrator", false));
	assert_false(holds("a.test/admin", "a.test", "/", false));
	assert_false(holds("a.test/admin", "a.test", "*", false));
	assert_false(holds("a.test/admin", "a.test", "/x?/admin", false));
	assert_false(holds("a.test/admin", "a.test", "/Admin", false));
	assert_true(holds("a.test/admin*", "a.test", "/administrator", false));
	assert_true(holds("a.test/*/edit", "a.test", "/7/edit/now", false));
	assert_false(holds("a.test/*/edit", "a.test", "/edit", false));
	assert_true(holds("a.test", "a.test", "/anything", false));
}

static void a_path_is_resolved_as_generously_as_any_service_does(void **state)
{
	static const char *const same[] = {
		"/admin",
		"/%61dmin",
		"//admin",
		"/./admin",
		"/x/../admin",
		"/x/%2e%2e/admin",
		"/x/..%2fadmin",
		"/ADMIN",
		"/admin;v=1",
		"/\\admin",
		"/../admin",
		"/x/..\\admin",
		"/%2fadmin",
		"/.;/admin",
		"/x/..;/admin",
		"/admin/x/..",
		"/%5cadmin",
		"/admin.",
		"/admin%20",
		"/admin%00.png",
		"/%2561dmin",
		"/x/%252e%252e/admin",
		"/%25252fadmin",
		/* Twice, not three times. */
		"/adm%2569n/%25252e%25252e/open",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		if (!holds("a.test/admin", "a.test", same[i], true))
			fail_msg("%s", same[i]);
	assert_false(holds("a.test/admin", "a.test", "/admin/../x", true));
	assert_false(holds("a.test/admin", "a.test", "/%zzadmin", true));
	assert_false(holds("a.test/admin", "a.test", "/%6", true));
}

static void who_escapes_again_and_again_is_found_out(void **state)
{
	struct access_paths paths = access_paths_of(BYTES_LIT("/%2525252561dmin"), &arena);

	(void)state;
	assert_true(paths.is_endless);
	paths = access_paths_of(BYTES_LIT("/100%25/a%20b%zz"), &arena);
	assert_false(paths.is_endless);
	paths = access_paths_of(BYTES_LIT("%"), &arena);
	assert_int_equal(paths.count, 1);
	paths = access_paths_of(BYTES_LIT(""), &arena);
	assert_int_equal(paths.count, 1);
}

static void the_more_specific_comes_first(void **state)
{
	static const char *const order[] = {
		"app.example.com/admin/users",
		"app.example.com/admin",
		"app.example.com/admi*",
		"app.example.com",
		"*.*.example.com",
		"dev-*.example.com/admin",
		"dev-*.example.com",
		"*.example.com/admin",
		"*.example.com/*",
		"*.example.com",
	};

	(void)state;
	for (size_t i = 0; i + 1 < ARRAY_LEN(order); i++) {
		struct access_place a = place(order[i]), b = place(order[i + 1]);

		if (access_place_compare(&a, &b) >= 0 || access_place_compare(&b, &a) <= 0)
			fail_msg("%s and %s", order[i], order[i + 1]);
	}
}

static void what_is_no_place_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"example",
		"https://example.com",
		"example.com:443",
		"a..example.com",
		"**.example.com",
		"example.com/a?b",
		"example.com/**",
		"example.com/a/../b",
		"example.com/a b",
		"example.com/%61",
		"example.com//a//b",
		".example.com",
		"ex ample.com",
		"example.com/a#b",
		"/admin",
	};
	struct access_place p;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (access_place_parse(bytes_str(bad[i]), &arena, &p, &err) != E_PARSE)
			fail_msg("%s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_match_label_by_label),
		cmocka_unit_test(a_star_at_the_front_holds_what_a_wildcard_route_lets_through),
		cmocka_unit_test(who_escapes_again_and_again_is_found_out),
		cmocka_unit_test(a_path_covers_what_is_below_it),
		cmocka_unit_test(a_path_is_resolved_as_generously_as_any_service_does),
		cmocka_unit_test(the_more_specific_comes_first),
		cmocka_unit_test(what_is_no_place_is_refused),
	};

	return cmocka_run_group_tests(tests, start, end);
}
