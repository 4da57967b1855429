/* The configuration as a whole: what fits together, what is found in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/encode.h"
#include "base/mem.h"
#include "edge/access/set.h"

enum { OBJECTS_MAX = 16 };

#define AUD_1 "1111111111111111111111111111111111111111111111111111111111111111"
#define AUD_2 "2222222222222222222222222222222222222222222222222222222222222222"

static struct access_object objects[OBJECTS_MAX];
static size_t count;
static struct arena arena;

static void add(enum access_kind kind, const char *json)
{
	json_error_t why;
	json_t *body = json_loads(json, 0, &why);

	if (!body)
		fail_msg("%s: %s", why.text, json);
	assert_true(count < OBJECTS_MAX);
	objects[count++] = (struct access_object){ kind, body };
}

static int start(void **state)
{
	(void)state;
	arena_init(&arena);
	count = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	while (count > 0)
		json_decref(objects[--count].body);
	arena_done(&arena);
	return 0;
}

static struct access_set *build(void)
{
	struct err err = { 0 };
	struct access_set *s = access_set_build(objects, count, &err);

	if (!s)
		fail_msg("%s", err.text);
	return s;
}

static void refuses(int code, const char *says)
{
	struct err err = { 0 };

	assert_null(access_set_build(objects, count, &err));
	assert_int_equal(err.code, code);
	if (!strstr(err.text, says))
		fail_msg("%s", err.text);
}

static const char *app_at(const struct access_set *s, const char *host, const char *target)
{
	const struct access_app *app;

	if (!access_set_find(s, bytes_str(host), bytes_str(target), &arena, &app))
		return "ambiguous";
	return app ? app->name : "none";
}

static void add_usual(void)
{
	add(ACCESS_PROVIDER, "{\"id\":\"pin\",\"name\":\"PIN\",\"type\":\"onetimepin\"}");
	add(ACCESS_GROUPS, "{\"id\":\"g\",\"name\":\"Staff\",\"include\":[{\"everyone\":{}}]}");
	add(ACCESS_POLICY, "{\"id\":\"p\",\"name\":\"Staff\",\"decision\":\"allow\","
			   "\"include\":[{\"group\":{\"id\":\"g\"}}]}");
	add(ACCESS_POLICY, "{\"id\":\"open\",\"name\":\"Open\",\"decision\":\"bypass\","
			   "\"include\":[{\"everyone\":{}}]}");
	add(ACCESS_APP,
	    "{\"id\":\"a1\",\"name\":\"Whole\",\"aud\":\"" AUD_1
	    "\",\"domain\":\"app.example.com\",\"policies\":[\"p\"],\"allowed_idps\":[\"pin\"],"
	    "\"session_duration\":\"2h\"}");
	add(ACCESS_APP,
	    "{\"id\":\"a2\",\"name\":\"Hook\",\"aud\":\"" AUD_2
	    "\",\"domain\":\"app.example.com/hook\",\"self_hosted_domains\":"
	    "[\"app.example.com/hook\",\"*.example.com/hook\"],\"policies\":[\"open\"]}");
}

static void the_most_specific_application_is_found(void **state)
{
	struct access_set *s;

	(void)state;
	add_usual();
	s = build();
	assert_string_equal(app_at(s, "app.example.com", "/"), "Whole");
	assert_string_equal(app_at(s, "app.example.com", "/hook"), "Hook");
	assert_string_equal(app_at(s, "app.example.com", "/hook/x?y"), "Hook");
	assert_string_equal(app_at(s, "app.example.com", "/hooks"), "Whole");
	assert_string_equal(app_at(s, "other.example.com", "/"), "none");
	assert_string_equal(app_at(s, "other.example.com", "/hook"), "Hook");
	assert_string_equal(app_at(s, "a.other.example.com", "/hook"), "Hook");
	assert_true(access_set_has_host(s, BYTES_LIT("app.example.com")));
	assert_false(access_set_has_host(s, BYTES_LIT("example.com")));
	access_set_unref(s);
}

/* Else "/hook/../admin" would be let through as the hook, and served as the rest. */
static void a_path_that_may_be_read_in_two_ways_is_ambiguous(void **state)
{
	struct access_set *s;

	(void)state;
	add_usual();
	s = build();
	assert_string_equal(app_at(s, "app.example.com", "/hook/../x"), "ambiguous");
	assert_string_equal(app_at(s, "app.example.com", "/hook/%2e%2e/x"), "ambiguous");
	assert_string_equal(app_at(s, "app.example.com", "//hook"), "ambiguous");
	assert_string_equal(app_at(s, "app.example.com", "/%68ook"), "ambiguous");
	assert_string_equal(app_at(s, "app.example.com", "/x/../y"), "Whole");
	assert_string_equal(app_at(s, "app.example.com", "/HOOK"), "ambiguous");
	access_set_unref(s);
}

static void an_application_has_what_it_was_given(void **state)
{
	const struct access_app *app;
	struct access_set *s;

	(void)state;
	add_usual();
	s = build();
	app = access_set_app(s, BYTES_LIT(AUD_1));
	assert_non_null(app);
	assert_ptr_equal(app, access_set_app(s, BYTES_LIT("a1")));
	assert_int_equal(app->session, 2 * 3600 * USEC_PER_SEC);
	assert_int_equal(app->policy_count, 1);
	assert_string_equal(app->policies[0]->name, "Staff");
	assert_int_equal(app->provider_count, 1);
	assert_true(app->has_http_only);
	assert_int_equal(app->same_site, SAME_SITE_NONE);
	assert_int_equal(access_set_app(s, BYTES_LIT("a2"))->session, -1);
	assert_int_equal(access_set_app(s, BYTES_LIT("a2"))->place_count, 2);
	assert_int_equal(access_set_organization(s)->session, 24 * 3600 * USEC_PER_SEC);
	assert_null(access_set_app(s, BYTES_LIT("a3")));
	access_set_unref(s);
}

static void what_is_named_must_be_there(void **state)
{
	(void)state;
	add(ACCESS_APP, "{\"id\":\"a\",\"name\":\"A\",\"aud\":\"" AUD_1
			"\",\"domain\":\"a.example.com\",\"policies\":[\"p\"]}");
	refuses(E_NOT_FOUND, "application A: there is no policy p");
	add(ACCESS_POLICY, "{\"id\":\"p\",\"name\":\"P\",\"decision\":\"allow\","
			   "\"include\":[{\"group\":{\"id\":\"g\"}}]}");
	refuses(E_NOT_FOUND, "group g");
	add(ACCESS_GROUPS, "{\"id\":\"g\",\"name\":\"G\",\"include\":[{\"everyone\":{}}]}");
	access_set_unref(build());
	json_object_set_new(objects[0].body, "allowed_idps", json_pack("[s]", "x"));
	refuses(E_NOT_FOUND, "identity provider x");
}

static void two_applications_cannot_be_in_one_place(void **state)
{
	(void)state;
	add_usual();
	add(ACCESS_APP, "{\"id\":\"a3\",\"name\":\"Third\",\"aud\":\"" AUD_2
			"\",\"domain\":\"APP.example.com/HOOK/\"}");
	refuses(E_EXISTS, "are both on app.example.com/");
}

static void objects_that_make_no_sense_are_refused(void **state)
{
	static const struct {
		enum access_kind kind;
		const char *json;
		int code;
	} bad[] = {
		{ ACCESS_APP, "{}", E_PARSE },
		{ ACCESS_APP, "{\"id\":\"a\",\"name\":\"A\",\"aud\":\"12\",\"domain\":\"a.b\"}",
		  E_PARSE },
		{ ACCESS_APP, "{\"id\":\"a\",\"name\":\"A\",\"aud\":\"" AUD_1 "\"}", E_PARSE },
		{ ACCESS_APP,
		  "{\"id\":\"a\",\"name\":\"A\",\"aud\":\"" AUD_1 "\",\"domain\":\"https://a.b\"}",
		  E_PARSE },
		{ ACCESS_APP,
		  "{\"id\":\"a\",\"name\":\"A\",\"aud\":\"" AUD_1
		  "\",\"domain\":\"a.b\",\"session_duration\":5}",
		  E_PARSE },
		{ ACCESS_APP,
		  "{\"id\":\"a\",\"name\":\"A\",\"aud\":\"" AUD_1
		  "\",\"domain\":\"a.b\",\"same_site_cookie_attribute\":\"some\"}",
		  E_PARSE },
		{ ACCESS_APP,
		  "{\"id\":\"a\",\"name\":\"A\",\"aud\":\"" AUD_1
		  "\",\"domain\":\"a.b\",\"enable_binding_cookie\":\"yes\"}",
		  E_PARSE },
		{ ACCESS_PROVIDER, "{\"id\":\"i\",\"name\":\"I\",\"type\":\"magic\"}",
		  E_UNSUPPORTED },
		{ ACCESS_PROVIDER, "{\"id\":\"i\",\"name\":\"I\"}", E_PARSE },
		{ ACCESS_TOKEN, "{\"id\":\"t\",\"name\":\"T\",\"client_id\":\"c\"}", E_PARSE },
		{ ACCESS_TOKEN,
		  "{\"id\":\"t\",\"name\":\"T\",\"client_id\":\"c\",\"secret_sha256\":\"" AUD_1
		  "\",\"expires_at\":\"soon\"}",
		  E_PARSE },
		{ ACCESS_ORGANIZATION, "{\"session_duration\":\"x\"}", E_PARSE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };

		add(bad[i].kind, bad[i].json);
		if (access_set_build(objects, count, &err) || err.code != bad[i].code)
			fail_msg("%s: %s", bad[i].json, err.text);
		json_decref(objects[--count].body);
	}
}

static bool is_good(const struct access_set *s, const char *id, const char *secret, usec now)
{
	return access_set_service_token(s, bytes_str(id), bytes_str(secret), now) != NULL;
}

static void add_token(const char *id, const char *secret, const char *previous)
{
	uint8_t hash[HASH_SHA256_BYTES];
	char *first, *second;
	json_t *body;

	hash_sha256(bytes_str(secret), hash);
	first = hex_text(bytes_of(hash, sizeof(hash)));
	hash_sha256(bytes_str(previous), hash);
	second = hex_text(bytes_of(hash, sizeof(hash)));
	body = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "id", id, "name", id, "client_id",
			 id, "secret_sha256", first, "previous_sha256", second, "previous_until",
			 "2026-01-02T00:00:00Z", "expires_at", "2026-02-01T00:00:00Z");
	objects[count++] = (struct access_object){ ACCESS_TOKEN, body };
	mem_free(first);
	mem_free(second);
}

static void a_service_token_is_good_until_it_ends(void **state)
{
	usec first = clock_parse_rfc3339("2026-01-01T00:00:00Z");
	usec later = clock_parse_rfc3339("2026-01-15T00:00:00Z");
	usec after = clock_parse_rfc3339("2026-02-01T00:00:00Z");
	struct access_set *s;

	(void)state;
	add_token("one.access", "new", "old");
	add_token("two.access", "other", "x");
	json_object_set_new(objects[1].body, "enabled", json_false());
	s = build();
	assert_true(is_good(s, "one.access", "new", first));
	assert_true(is_good(s, "one.access", "old", first));
	assert_true(is_good(s, "one.access", "new", later));
	assert_false(is_good(s, "one.access", "old", later));
	assert_false(is_good(s, "one.access", "new", after));
	assert_false(is_good(s, "one.access", "", first));
	assert_false(is_good(s, "one.access", "other", first));
	assert_false(is_good(s, "two.access", "other", first));
	assert_false(is_good(s, "", "", first));
	assert_false(is_good(s, "three.access", "new", first));
	access_set_unref(s);
	add_token("one.access", "again", "x");
	refuses(E_EXISTS, "client id one.access");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_most_specific_application_is_found, start, end),
		cmocka_unit_test_setup_teardown(a_path_that_may_be_read_in_two_ways_is_ambiguous,
						start, end),
		cmocka_unit_test_setup_teardown(an_application_has_what_it_was_given, start, end),
		cmocka_unit_test_setup_teardown(what_is_named_must_be_there, start, end),
		cmocka_unit_test_setup_teardown(two_applications_cannot_be_in_one_place, start, end),
		cmocka_unit_test_setup_teardown(objects_that_make_no_sense_are_refused, start, end),
		cmocka_unit_test_setup_teardown(a_service_token_is_good_until_it_ends, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
