/* REST: routes of private networks and virtual networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fake/control_fixture.h"

#define NOBODY "f4b2f4a0-7c10-4f8e-9d8c-111111111111"

struct fixture {
	struct control_fixture c;
	char tunnel[UUID_TEXT_SIZE];
};

static int setup(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct store_tunnel t = { 0 };

	control_fixture_open(&f->c, NULL);
	assert_int_equal(store_tunnel_create(f->c.store, f->c.account, "office",
					     BYTES_LIT("0123456789abcdef0123456789abcdef"), &t,
					     NULL),
			 0);
	uuid_text(&t.id, f->tunnel);
	store_tunnel_done(&t);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	control_fixture_close(&f->c);
	mem_free(f);
	return 0;
}

/* The result, owned; the status and code are as expected (code 0: success). */
static json_t *ask(struct fixture *f, const char *method, const char *path, const char *body,
		   int status, int code)
{
	char *target = mem_printf("/client/v4/accounts/%s/%s", f->c.account, path);
	struct answer *a = control_fixture_api(&f->c, method, target, body);

	assert_int_equal(a->request.status, status);
	assert_non_null(a->json);
	assert_int_equal(answer_code(a), code);
	assert_int_equal(json_is_true(json_object_get(a->json, "success")), code == 0);
	json_t *result = json_incref(json_object_get(a->json, "result"));
	answer_done(a);
	mem_free(target);
	return result;
}

static void expect(struct fixture *f, const char *method, const char *path, const char *body,
		   int status, int code)
{
	json_decref(ask(f, method, path, body, status, code));
}

static const char *text_of(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : "";
}

static json_t *add(struct fixture *f, const char *network, int status, int code)
{
	char *body = mem_printf("{\"network\":\"%s\",\"tunnel_id\":\"%s\",\"comment\":\"c\"}",
				network, f->tunnel);
	json_t *result = ask(f, "POST", "teamnet/routes", body, status, code);

	mem_free(body);
	return result;
}

/* --- Routes ------------------------------------------------------------------------------------ */

static void a_route_is_added_found_and_deleted(void **state)
{
	struct fixture *f = *state;
	json_t *r = add(f, "10.0.0.9/8", 200, 0);
	char path[200], id[UUID_TEXT_SIZE];

	assert_string_equal(text_of(r, "network"), "10.0.0.0/8");
	assert_string_equal(text_of(r, "tunnel_id"), f->tunnel);
	assert_string_equal(text_of(r, "tunnel_name"), "office");
	assert_string_equal(text_of(r, "comment"), "c");
	assert_true(json_is_null(json_object_get(r, "deleted_at")));
	assert_int_equal(strlen(text_of(r, "virtual_network_id")), 36);
	assert_int_equal(f->c.changed, 1);
	snprintf(id, sizeof(id), "%s", text_of(r, "id"));
	json_decref(r);

	r = ask(f, "GET", "teamnet/routes/ip/10.200.1.1", NULL, 200, 0);
	assert_string_equal(text_of(r, "id"), id);
	json_decref(r);
	r = ask(f, "GET", "teamnet/routes/ip/192.0.2.1", NULL, 200, 0);
	assert_int_equal(json_object_size(r), 0);
	json_decref(r);
	r = ask(f, "GET", "teamnet/routes/ip/fd00%3A%3A1", NULL, 200, 0);
	assert_int_equal(json_object_size(r), 0);
	json_decref(r);

	json_decref(add(f, "10.0.0.0/8", 409, 1014));
	snprintf(path, sizeof(path), "teamnet/routes/%s", id);
	r = ask(f, "DELETE", path, NULL, 200, 0);
	assert_true(json_is_string(json_object_get(r, "deleted_at")));
	json_decref(r);
	assert_int_equal(f->c.changed, 2);
	expect(f, "DELETE", path, NULL, 404, 1020);
	json_decref(add(f, "10.0.0.0/8", 200, 0));
}

static size_t listed(struct fixture *f, const char *query)
{
	char *path = mem_printf("teamnet/routes?tun_types=cfd_tunnel&%s", query);
	json_t *list = ask(f, "GET", path, NULL, 200, 0);
	size_t count = json_array_size(list);

	json_decref(list);
	mem_free(path);
	return count;
}

static void routes_are_listed_by_filter_and_page(void **state)
{
	static const char *const networks[] = { "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24",
						"fd00::/8" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(networks); i++)
		json_decref(add(f, networks[i], 200, 0));
	assert_int_equal(listed(f, ""), 4);
	assert_int_equal(listed(f, "is_deleted=true"), 0);
	assert_int_equal(listed(f, "network_subset=10.1.0.0/16"), 2);
	assert_int_equal(listed(f, "network_superset=10.1.0.0/16"), 2);
	assert_int_equal(listed(f, "network_subset=10.1.0.0/16&network_superset=10.1.0.0/16"), 1);
	assert_int_equal(listed(f, "network_subset=::/0"), 1);
	assert_int_equal(listed(f, "comment=c"), 4);
	assert_int_equal(listed(f, "comment=d"), 0);
	assert_int_equal(listed(f, "tunnel_id=" NOBODY), 0);
	assert_int_equal(listed(f, "virtual_network_id=" NOBODY), 0);
	assert_int_equal(listed(f, "per_page=3"), 3);
	assert_int_equal(listed(f, "per_page=3&page=2"), 1);
	assert_int_equal(listed(f, "existed_at=2020-01-01T00:00:00Z"), 0);
}

static void what_makes_no_sense_is_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {
		"{}",
		"{\"network\":\"10.0.0.0/8\"}",
		"{\"network\":\"10.0.0.0\",\"tunnel_id\":\"" NOBODY "\"}",
		"{\"network\":7,\"tunnel_id\":\"" NOBODY "\"}",
		"{\"network\":\"10.0.0.0/8\",\"tunnel_id\":\"x\"}",
		"{\"network\":\"10.0.0.0/8\",\"tunnel_id\":\"" NOBODY
		"\",\"virtual_network_id\":\"\"}",
		"[]",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		expect(f, "POST", "teamnet/routes", bad[i], 400, 1001);
	expect(f, "POST", "teamnet/routes",
	       "{\"network\":\"10.0.0.0/8\",\"tunnel_id\":\"" NOBODY "\"}", 404, 1020);
	expect(f, "GET", "teamnet/routes?network_subset=10", NULL, 400, 1001);
	expect(f, "GET", "teamnet/routes?tunnel_id=x", NULL, 400, 1001);
	expect(f, "GET", "teamnet/routes?is_deleted=perhaps", NULL, 400, 1001);
	expect(f, "GET", "teamnet/routes/ip/office", NULL, 400, 1001);
	expect(f, "GET", "teamnet/routes/ip/10.0.0.1?virtual_network_id=x", NULL, 400, 1001);
	expect(f, "DELETE", "teamnet/routes/x", NULL, 400, 1001);
	assert_int_equal(f->c.changed, 0);
}

static void a_tunnel_with_routes_needs_cascade(void **state)
{
	struct fixture *f = *state;
	char path[200];

	json_decref(add(f, "10.0.0.0/8", 200, 0));
	snprintf(path, sizeof(path), "cfd_tunnel/%s", f->tunnel);
	expect(f, "DELETE", path, NULL, 400, 1105);
	snprintf(path, sizeof(path), "cfd_tunnel/%s?cascade=true", f->tunnel);
	expect(f, "DELETE", path, NULL, 200, 0);
	assert_int_equal(listed(f, "is_deleted=false"), 0);
	assert_int_equal(listed(f, "is_deleted=true"), 1);
}

/* --- Virtual networks -------------------------------------------------------------------------- */

static void there_is_a_default_from_the_first_look(void **state)
{
	struct fixture *f = *state;
	json_t *list = ask(f, "GET", "teamnet/virtual_networks?is_default=true", NULL, 200, 0);

	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(text_of(json_array_get(list, 0), "name"), "default");
	assert_true(json_is_true(json_object_get(json_array_get(list, 0), "is_default_network")));
	json_decref(list);
	expect(f, "GET", "teamnet/virtual_networks?id=x", NULL, 400, 1001);
}

static void a_virtual_network_lives_and_dies(void **state)
{
	struct fixture *f = *state;
	json_t *v = ask(f, "POST", "teamnet/virtual_networks",
			"{\"name\":\"lab\",\"comment\":\"c\",\"is_default_network\":false}", 200, 0);
	char path[200], body[300], id[UUID_TEXT_SIZE];

	snprintf(id, sizeof(id), "%s", text_of(v, "id"));
	json_decref(v);
	snprintf(path, sizeof(path), "teamnet/virtual_networks/%s", id);
	expect(f, "POST", "teamnet/virtual_networks", "{\"name\":\"lab\"}", 409, 1102);
	expect(f, "POST", "teamnet/virtual_networks", "{\"comment\":\"c\"}", 400, 1001);
	expect(f, "POST", "teamnet/virtual_networks", "{\"name\":\"x\",\"is_default_network\":1}",
	       400, 1001);
	snprintf(body, sizeof(body),
		 "{\"network\":\"10.0.0.0/8\",\"tunnel_id\":\"%s\",\"virtual_network_id\":\"%s\"}",
		 f->tunnel, id);
	expect(f, "POST", "teamnet/routes", body, 200, 0);
	json_t *r = ask(f, "GET", "teamnet/routes/ip/10.0.0.1", NULL, 200, 0);
	assert_int_equal(json_object_size(r), 0); /* not in the default one */
	json_decref(r);

	v = ask(f, "PATCH", path, "{\"name\":\"attic\"}", 200, 0);
	assert_string_equal(text_of(v, "name"), "attic");
	assert_string_equal(text_of(v, "comment"), "c");
	json_decref(v);
	expect(f, "PATCH", path, "{\"name\":\"default\"}", 409, 1102);
	expect(f, "PATCH", path, "{\"is_default_network\":false}", 200, 0);
	expect(f, "PATCH", "teamnet/virtual_networks/" NOBODY, "{\"name\":\"x\"}", 404, 1020);
	expect(f, "DELETE", path, NULL, 400, 1103);
	snprintf(body, sizeof(body), "%s?force=true", path);
	v = ask(f, "DELETE", body, NULL, 200, 0);
	assert_true(json_is_string(json_object_get(v, "deleted_at")));
	json_decref(v);
	assert_int_equal(listed(f, "is_deleted=false"), 0);
}

static void the_default_one_stays_until_another_is(void **state)
{
	struct fixture *f = *state;
	json_t *list = ask(f, "GET", "teamnet/virtual_networks", NULL, 200, 0);
	char path[200];

	snprintf(path, sizeof(path), "teamnet/virtual_networks/%s",
		 text_of(json_array_get(list, 0), "id"));
	json_decref(list);
	expect(f, "DELETE", path, NULL, 400, 1104);
	expect(f, "PATCH", path, "{\"is_default_network\":false}", 400, 1104);
	expect(f, "POST", "teamnet/virtual_networks",
	       "{\"name\":\"x\",\"is_default_network\":true}", 200, 0);
	expect(f, "DELETE", path, NULL, 200, 0);
	json_t *v = ask(f, "GET", path, NULL, 200, 0);
	assert_true(json_is_string(json_object_get(v, "deleted_at")));
	json_decref(v);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_route_is_added_found_and_deleted),
		TEST(routes_are_listed_by_filter_and_page),
		TEST(what_makes_no_sense_is_refused),
		TEST(a_tunnel_with_routes_needs_cascade),
		TEST(there_is_a_default_from_the_first_look),
		TEST(a_virtual_network_lives_and_dies),
		TEST(the_default_one_stays_until_another_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
