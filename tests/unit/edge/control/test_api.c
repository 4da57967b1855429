#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/mem.h"
#include "fake/control_fixture.h"
#include "wire/token.h"

#define SECRET_B64 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static int setup(void **state)
{
	struct control_fixture *f = mem_alloc(sizeof(*f));

	control_fixture_open(f, NULL);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	control_fixture_close(*state);
	mem_free(*state);
	return 0;
}

/* --- Short forms ----------------------------------------------------------------------------- */

static char target_text[1024];

static const char *account_path(struct control_fixture *f, const char *rest)
{
	snprintf(target_text, sizeof(target_text), "/client/v4/accounts/%s/%s", f->account, rest);
	return target_text;
}

static const char *zone_path(struct control_fixture *f, const char *rest)
{
	snprintf(target_text, sizeof(target_text), "/client/v4/zones/%s/%s", f->zone_id, rest);
	return target_text;
}

static json_t *result_of(const struct answer *a)
{
	return json_object_get(a->json, "result");
}

static const char *text_of(json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static void assert_success(const struct answer *a)
{
	assert_int_equal(a->answers, 1);
	assert_int_equal(a->request.status, 200);
	assert_non_null(a->json);
	assert_true(json_is_true(json_object_get(a->json, "success")));
	assert_int_equal(json_array_size(json_object_get(a->json, "errors")), 0);
	assert_true(json_is_array(json_object_get(a->json, "messages")));
	assert_non_null(result_of(a));
}

static void assert_refused(const struct answer *a, int status, int code)
{
	assert_int_equal(a->answers, 1);
	assert_int_equal(a->request.status, status);
	assert_non_null(a->json);
	assert_true(json_is_false(json_object_get(a->json, "success")));
	assert_int_equal(answer_code(a), code);
	assert_true(json_is_null(result_of(a)));
}

/* id has UUID_TEXT_SIZE bytes. */
static void create_tunnel(struct control_fixture *f, const char *name, char *id)
{
	char body[200];
	struct answer *a;

	snprintf(body, sizeof(body), "{\"name\":\"%s\",\"tunnel_secret\":\"" SECRET_B64 "\"}", name);
	a = control_fixture_api(f, "POST", account_path(f, "cfd_tunnel"), body);
	assert_success(a);
	snprintf(id, UUID_TEXT_SIZE, "%s", text_of(result_of(a), "id"));
	answer_done(a);
}

static void expect(struct control_fixture *f, const char *method, const char *target,
		   const char *body, int status, int code)
{
	struct answer *a = control_fixture_api(f, method, target, body);

	if (code)
		assert_refused(a, status, code);
	else
		assert_success(a);
	answer_done(a);
}

/* --- Envelope and authentication --------------------------------------------------------------- */

static void content_type_is_exact_and_nothing_is_cached(void **state)
{
	struct answer *a =
		control_fixture_api(*state, "GET", account_path(*state, "cfd_tunnel"), NULL);

	assert_success(a);
	assert_memory_equal(a->request.content_type.ptr, "application/json", 16);
	assert_int_equal(a->request.content_type.len, 16);
	assert_string_equal(answer_header(a, "Cache-Control"), "no-store");
	answer_done(a);
}

static void asks_for_a_token(void **state)
{
	static const char *const bad[][2] = {
		{ NULL, NULL },
		{ "Authorization: Basic eDp5", NULL },
		{ "Authorization: Bearer ", NULL },
		{ "Authorization: Bearer nonsense", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct answer *a =
			control_fixture_send(*state, "GET", account_path(*state, "cfd_tunnel"),
					     bad[i], BYTES_NONE, false);
		assert_refused(a, 401, 10000);
		assert_true(answer_contains(a, "Authentication error"));
		answer_done(a);
	}
}

static void takes_the_token_in_any_case_of_bearer(void **state)
{
	struct control_fixture *f = *state;
	char line[200];
	const char *const fields[] = { line, NULL };

	snprintf(line, sizeof(line), "authorization: bearer %s", f->token);
	struct answer *a = control_fixture_send(f, "GET", "/client/v4/user/tokens/verify", fields,
						BYTES_NONE, false);
	assert_success(a);
	assert_string_equal(text_of(result_of(a), "status"), "active");
	answer_done(a);
}

static void refuses_another_account_or_zone(void **state)
{
	struct control_fixture *f = *state;

	expect(f, "GET", "/client/v4/accounts/00000000000000000000000000000000/cfd_tunnel", NULL,
	       403, 10000);
	expect(f, "GET", "/client/v4/zones/00000000000000000000000000000000", NULL, 403, 10000);
	expect(f, "GET", "/client/v4/zones/xyz", NULL, 400, 1001);
}

static void unknown_path_and_method(void **state)
{
	struct control_fixture *f = *state;
	struct answer *a;

	expect(f, "GET", "/client/v4/nosuch", NULL, 404, 7003);
	expect(f, "GET", account_path(f, "cfd_tunnel/"), NULL, 404, 7003);
	expect(f, "GET", account_path(f, "cfd_tunnel//x"), NULL, 404, 7003);
	expect(f, "GET", "/client/v4/a/b/c/d/e/f/g/h", NULL, 404, 7003);
	a = control_fixture_api(f, "PATCH", account_path(f, "cfd_tunnel"), "{}");
	assert_refused(a, 405, 10405);
	assert_string_equal(answer_header(a, "Allow"), "GET, HEAD, POST");
	answer_done(a);
}

static void head_is_answered_like_get(void **state)
{
	struct answer *a =
		control_fixture_api(*state, "HEAD", account_path(*state, "cfd_tunnel"), NULL);

	assert_success(a);
	answer_done(a);
}

static void broken_query_is_refused(void **state)
{
	struct control_fixture *f = *state;

	expect(f, "GET", account_path(f, "cfd_tunnel?name=%zz"), NULL, 400, 1001);
	expect(f, "GET", account_path(f, "cfd_tunnel?name=a%00b"), NULL, 400, 1001);
}

static void administration_is_hidden_from_visitors(void **state)
{
	struct answer *a =
		control_fixture_send(*state, "GET", "/admin/v1/status", NULL, BYTES_NONE, false);

	assert_int_equal(a->request.status, 404);
	answer_done(a);
}

/* --- Create ------------------------------------------------------------------------------------ */

static void create_returns_the_tunnel_and_its_token(void **state)
{
	struct control_fixture *f = *state;
	struct answer *a =
		control_fixture_api(f, "POST", account_path(f, "cfd_tunnel"),
				    "{\"name\":\"home\",\"tunnel_secret\":\"" SECRET_B64 "\"}");
	json_t *r = result_of(a);
	struct token token;
	char id[UUID_TEXT_SIZE];

	assert_success(a);
	assert_string_equal(text_of(r, "name"), "home");
	assert_string_equal(text_of(r, "account_tag"), f->account);
	assert_string_equal(text_of(r, "status"), "inactive");
	assert_string_equal(text_of(r, "tun_type"), "cfd_tunnel");
	assert_true(json_is_null(json_object_get(r, "deleted_at")));
	assert_true(json_is_null(json_object_get(r, "conns_active_at")));
	assert_true(json_is_false(json_object_get(r, "remote_config")));
	assert_int_equal(json_array_size(json_object_get(r, "connections")), 0);
	assert_true(clock_parse_rfc3339(text_of(r, "created_at")) > 0);
	assert_int_equal(f->changed, 1);

	assert_int_equal(token_decode(bytes_str(text_of(r, "token")), &token, NULL), 0);
	assert_string_equal(uuid_text(&token.tunnel, id), text_of(r, "id"));
	assert_string_equal(token.account, f->account);
	assert_int_equal(token.secret.len, 32);
	assert_int_equal(token.place.edge_count, 2);
	assert_string_equal(token.place.edges[0], "adit.example.com:7844");
	assert_string_equal(token.place.api_url, "https://adit.example.com:8443/client/v4");
	assert_non_null(strstr(token.place.ca, "BEGIN CERTIFICATE"));
	token_done(&token);
	answer_done(a);
}

static void create_makes_a_secret_when_none_is_given(void **state)
{
	struct control_fixture *f = *state;
	struct answer *a =
		control_fixture_api(f, "POST", account_path(f, "cfd_tunnel"), "{\"name\":\"x\"}");
	struct token token;

	assert_success(a);
	assert_int_equal(token_decode(bytes_str(text_of(result_of(a), "token")), &token, NULL), 0);
	assert_int_equal(token.secret.len, 32);
	token_done(&token);
	answer_done(a);
}

static void duplicate_name_is_409(void **state)
{
	char id[UUID_TEXT_SIZE];

	create_tunnel(*state, "home", id);
	expect(*state, "POST", account_path(*state, "cfd_tunnel"), "{\"name\":\"home\"}", 409, 1013);
}

static void create_refuses_what_makes_no_sense(void **state)
{
	static const char *const bodies[] = {
		"",
		"[]",
		"{\"name\":1}",
		"{\"name\":null}",
		"{\"name\":\"\"}",
		"{}",
		"{\"name\":\"a\",\"name\":\"b\"}",
		"{\"name\":\"a\\u0000b\"}",
		"{\"name\":\"6ff42ae2-765d-4adf-8112-31c55c1551ef\"}",
		"{\"name\":\"a\",\"tunnel_secret\":\"c2hvcnQ=\"}",
		"{\"name\":\"a\",\"tunnel_secret\":\"!!!\"}",
		"{\"name\":\"a\",\"tunnel_secret\":5}",
		"{\"name\":\"a\"} x",
	};

	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		expect(*state, "POST", account_path(*state, "cfd_tunnel"), bodies[i], 400, 1001);
}

static void secret_over_the_limit_is_refused(void **state)
{
	uint8_t raw[TOKEN_SECRET_BYTES + 1] = { 0 };
	char *secret = base64_text(BASE64_STD, bytes_of(raw, sizeof(raw)));
	char *body = mem_printf("{\"name\":\"a\",\"tunnel_secret\":\"%s\"}", secret);

	expect(*state, "POST", account_path(*state, "cfd_tunnel"), body, 400, 1001);
	mem_free(secret);
	mem_free(body);
}

static void oversized_body_is_413(void **state)
{
	size_t size = 256 * 1024 + 1;
	char *body = mem_alloc(size + 1);

	memset(body, ' ', size);
	expect(*state, "POST", account_path(*state, "cfd_tunnel"), body, 413, 1001);
	mem_free(body);
}

static void deep_json_is_refused(void **state)
{
	char *body = mem_alloc(20001);

	memset(body, '[', 20000);
	expect(*state, "POST", account_path(*state, "cfd_tunnel"), body, 400, 1001);
	mem_free(body);
}

/* --- Get, delete, token ------------------------------------------------------------------------ */

static void get_shows_one_tunnel(void **state)
{
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE], path[200];
	struct answer *a;

	create_tunnel(f, "home", id);
	snprintf(path, sizeof(path), "cfd_tunnel/%s", id);
	a = control_fixture_api(f, "GET", account_path(f, path), NULL);
	assert_success(a);
	assert_string_equal(text_of(result_of(a), "id"), id);
	assert_null(json_object_get(result_of(a), "token"));
	answer_done(a);
	expect(f, "GET", account_path(f, "cfd_tunnel/home"), NULL, 400, 1001);
	expect(f, "GET", account_path(f, "cfd_tunnel/6ff42ae2-765d-4adf-8112-31c55c1551ef"), NULL,
	       404, 1020);
}

static void token_is_a_string(void **state)
{
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE], path[200];
	struct answer *a;
	struct token token;

	create_tunnel(f, "home", id);
	snprintf(path, sizeof(path), "cfd_tunnel/%s/token", id);
	a = control_fixture_api(f, "GET", account_path(f, path), NULL);
	assert_success(a);
	assert_true(json_is_string(result_of(a)));
	assert_int_equal(token_decode(bytes_str(json_string_value(result_of(a))), &token, NULL), 0);
	token_done(&token);
	answer_done(a);
}

static void delete_refuses_an_active_tunnel_unless_cascade(void **state)
{
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE], path[200];
	struct answer *a;

	create_tunnel(f, "home", id);
	f->connection_count = 4;
	snprintf(path, sizeof(path), "cfd_tunnel/%s", id);
	expect(f, "DELETE", account_path(f, path), NULL, 400, 1022);
	assert_int_equal(f->disconnected, 0);
	snprintf(path, sizeof(path), "cfd_tunnel/%s?cascade=true", id);
	a = control_fixture_api(f, "DELETE", account_path(f, path), NULL);
	assert_success(a);
	assert_true(clock_parse_rfc3339(text_of(result_of(a), "deleted_at")) > 0);
	answer_done(a);
	assert_int_equal(f->disconnected, 1);
	assert_false(f->disconnected_one);
	assert_int_equal(f->changed, 2);
}

static void deleted_tunnel_is_shown_but_useless(void **state)
{
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE], path[200];

	create_tunnel(f, "home", id);
	snprintf(path, sizeof(path), "cfd_tunnel/%s", id);
	expect(f, "DELETE", account_path(f, path), NULL, 200, 0);
	expect(f, "GET", account_path(f, path), NULL, 200, 0);
	expect(f, "DELETE", account_path(f, path), NULL, 404, 1020);
	snprintf(path, sizeof(path), "cfd_tunnel/%s/token", id);
	expect(f, "GET", account_path(f, path), NULL, 404, 1020);
	snprintf(path, sizeof(path), "tunnels/%s/routes", id);
	expect(f, "PUT", zone_path(f, path),
	       "{\"type\":\"dns\",\"user_hostname\":\"a.example.com\"}", 404, 1020);
	/* The name is free again. */
	create_tunnel(f, "home", id);
}

/* --- Lists ------------------------------------------------------------------------------------- */

static size_t list_count(struct control_fixture *f, const char *query, int *ret_total)
{
	char path[300];
	struct answer *a;
	size_t count;
	json_t *info;

	snprintf(path, sizeof(path), "cfd_tunnel?%s", query);
	a = control_fixture_api(f, "GET", account_path(f, path), NULL);
	assert_success(a);
	count = json_array_size(result_of(a));
	info = json_object_get(a->json, "result_info");
	assert_int_equal(json_integer_value(json_object_get(info, "count")), count);
	if (ret_total)
		*ret_total = (int)json_integer_value(json_object_get(info, "total_count"));
	answer_done(a);
	return count;
}

static void list_pages_and_filters(void **state)
{
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE], name[40], query[200];
	int total;

	for (int i = 0; i < 25; i++) {
		snprintf(name, sizeof(name), "%s-%02d", i < 5 ? "web" : "db", i);
		create_tunnel(f, name, id);
	}
	assert_int_equal(list_count(f, "is_deleted=false", &total), 20);
	assert_int_equal(total, 25);
	assert_int_equal(list_count(f, "is_deleted=false&page=2", &total), 5);
	assert_int_equal(list_count(f, "page=3", &total), 0);
	assert_int_equal(total, 25);
	assert_int_equal(list_count(f, "per_page=7&page=4", &total), 4);
	assert_int_equal(list_count(f, "per_page=1000", NULL), 25);
	assert_int_equal(list_count(f, "name=web-01", NULL), 1);
	assert_int_equal(list_count(f, "name=web", NULL), 0);
	assert_int_equal(list_count(f, "name_prefix=web-", NULL), 5);
	assert_int_equal(list_count(f, "exclude_prefix=db-", NULL), 5);
	assert_int_equal(list_count(f, "is_deleted=true", NULL), 0);
	snprintf(query, sizeof(query), "uuid=%s&page=1", id);
	assert_int_equal(list_count(f, query, &total), 1);
	assert_int_equal(total, 1);
	assert_int_equal(list_count(f, "existed_at=2001-01-01T00%3A00%3A00Z", NULL), 0);
	assert_int_equal(list_count(f, "existed_at=2999-01-01T00%3A00%3A00Z&per_page=50", NULL), 25);

	snprintf(query, sizeof(query), "cfd_tunnel/%s", id);
	expect(f, "DELETE", account_path(f, query), NULL, 200, 0);
	assert_int_equal(list_count(f, "is_deleted=true", NULL), 1);
	snprintf(query, sizeof(query), "uuid=%s", id);
	assert_int_equal(list_count(f, query, NULL), 1);
}

static void list_refuses_broken_filters(void **state)
{
	static const char *const queries[] = {
		"page=0",
		"page=x",
		"page=99999999999999999999",
		"per_page=1001",
		"per_page=-1",
		"is_deleted=maybe",
		"uuid=12",
		"existed_at=yesterday",
	};
	char path[100];

	for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
		snprintf(path, sizeof(path), "cfd_tunnel?%s", queries[i]);
		expect(*state, "GET", account_path(*state, path), NULL, 400, 1001);
	}
}

/* --- Connections --------------------------------------------------------------------------------- */

static const char connectors[] =
	"[{\"id\":\"11111111-1111-4111-8111-111111111111\",\"features\":[\"a\"],\"version\":\"2026.11\","
	"\"arch\":\"linux_amd64\",\"run_at\":\"2026-11-01T10:00:00Z\",\"conns\":["
	"{\"colo_name\":\"ams01\",\"id\":\"22222222-2222-4222-8222-222222222222\",\"is_pending_reconnect\":false,"
	"\"origin_ip\":\"192.0.2.1\",\"opened_at\":\"2026-11-01T10:00:02Z\"},"
	"{\"colo_name\":\"ams01\",\"id\":\"33333333-3333-4333-8333-333333333333\",\"is_pending_reconnect\":false,"
	"\"origin_ip\":\"192.0.2.1\",\"opened_at\":\"2026-11-01T10:00:01Z\"}]}]";

static void connections_are_nested_and_tunnels_flat(void **state)
{
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE], path[200];
	struct answer *a;
	json_t *r;

	create_tunnel(f, "home", id);
	f->connections = mem_strdup(connectors);
	snprintf(path, sizeof(path), "cfd_tunnel/%s/connections", id);
	a = control_fixture_api(f, "GET", account_path(f, path), NULL);
	assert_success(a);
	assert_int_equal(json_array_size(json_object_get(json_array_get(result_of(a), 0), "conns")),
			 2);
	answer_done(a);

	snprintf(path, sizeof(path), "cfd_tunnel/%s", id);
	a = control_fixture_api(f, "GET", account_path(f, path), NULL);
	r = result_of(a);
	assert_string_equal(text_of(r, "status"), "healthy");
	assert_string_equal(text_of(r, "conns_active_at"), "2026-11-01T10:00:01Z");
	assert_int_equal(json_array_size(json_object_get(r, "connections")), 2);
	r = json_array_get(json_object_get(r, "connections"), 0);
	assert_string_equal(text_of(r, "colo_name"), "ams01");
	assert_string_equal(text_of(r, "client_id"), "11111111-1111-4111-8111-111111111111");
	answer_done(a);
}

static void cleanup_closes_all_or_one(void **state)
{
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE], path[200], text[UUID_TEXT_SIZE];

	create_tunnel(f, "home", id);
	snprintf(path, sizeof(path), "cfd_tunnel/%s/connections", id);
	expect(f, "DELETE", account_path(f, path), NULL, 200, 0);
	assert_int_equal(f->disconnected, 1);
	assert_false(f->disconnected_one);
	snprintf(path, sizeof(path),
		 "cfd_tunnel/%s/connections?client_id=11111111-1111-4111-8111-111111111111", id);
	expect(f, "DELETE", account_path(f, path), NULL, 200, 0);
	assert_true(f->disconnected_one);
	assert_string_equal(uuid_text(&f->disconnected_connector, text),
			    "11111111-1111-4111-8111-111111111111");
	snprintf(path, sizeof(path), "cfd_tunnel/%s/connections?client_id=me", id);
	expect(f, "DELETE", account_path(f, path), NULL, 400, 1001);
}

/* --- Routes ---------------------------------------------------------------------------------------- */

static struct answer *route(struct control_fixture *f, const char *tunnel, const char *hostname,
			    bool overwrite)
{
	char path[100], body[600];

	snprintf(path, sizeof(path), "tunnels/%s/routes", tunnel);
	snprintf(body, sizeof(body),
		 "{\"type\":\"dns\",\"user_hostname\":\"%s\",\"overwrite_existing\":%s}", hostname,
		 overwrite ? "true" : "false");
	return control_fixture_api(f, "PUT", zone_path(f, path), body);
}

static void assert_routed(struct control_fixture *f, const char *tunnel, const char *hostname,
			  bool overwrite, const char *change, const char *name)
{
	struct answer *a = route(f, tunnel, hostname, overwrite);

	assert_success(a);
	assert_string_equal(text_of(result_of(a), "cname"), change);
	assert_string_equal(text_of(result_of(a), "name"), name);
	answer_done(a);
}

static void assert_not_routed(struct control_fixture *f, const char *tunnel, const char *hostname,
			      int code, const char *text)
{
	struct answer *a = route(f, tunnel, hostname, true);

	assert_refused(a, 400, code);
	assert_true(answer_contains(a, text));
	answer_done(a);
}

static void route_follows_the_cname_table(void **state)
{
	struct control_fixture *f = *state;
	char one[UUID_TEXT_SIZE], two[UUID_TEXT_SIZE];
	struct answer *a;

	create_tunnel(f, "one", one);
	create_tunnel(f, "two", two);
	f->changed = 0;
	assert_routed(f, one, "app.example.com", false, "new", "app.example.com");
	assert_routed(f, one, "app.example.com", false, "unchanged", "app.example.com");
	assert_routed(f, one, "app.example.com", true, "unchanged", "app.example.com");
	assert_int_equal(f->changed, 1);
	a = route(f, two, "app.example.com", false);
	assert_refused(a, 400, 1003);
	assert_true(
		answer_contains(a, "An A, AAAA, or CNAME record with that host already exists."));
	answer_done(a);
	assert_routed(f, two, "app.example.com", true, "updated", "app.example.com");
	assert_routed(f, two, "new.example.com", true, "new", "new.example.com");
	assert_int_equal(f->changed, 3);
}

static void route_takes_wildcards_apex_case_and_short_names(void **state)
{
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE];

	create_tunnel(f, "one", id);
	assert_routed(f, id, "*.example.com", false, "new", "*.example.com");
	assert_routed(f, id, "*", false, "unchanged", "*.example.com");
	assert_routed(f, id, "*.deep.example.com", false, "new", "*.deep.example.com");
	assert_routed(f, id, "example.com", false, "new", "example.com");
	assert_routed(f, id, "App.Example.COM.", false, "new", "app.example.com");
	assert_routed(f, id, "short", false, "new", "short.example.com");
}

static void route_picks_the_zone_of_the_hostname(void **state)
{
	struct control_fixture *f = *state;
	struct store_zone other, deep;
	struct store_route *routes;
	char id[UUID_TEXT_SIZE];
	size_t count;

	assert_int_equal(store_zone_add(f->store, f->account, "other.org", &other, NULL), 0);
	assert_int_equal(store_zone_add(f->store, f->account, "lab.example.com", &deep, NULL), 0);
	create_tunnel(f, "one", id);
	assert_routed(f, id, "app.other.org", false, "new", "app.other.org");
	assert_routed(f, id, "app.lab.example.com", false, "new", "app.lab.example.com");
	assert_int_equal(store_route_list(f->store, &routes, &count, NULL), 0);
	for (size_t i = 0; i < count; i++) {
		bool is_other = !strcmp(routes[i].hostname, "app.other.org");

		assert_true(uuid_eq(&routes[i].zone, is_other ? &other.id : &deep.id));
		store_route_done(&routes[i]);
	}
	assert_int_equal(count, 2);
	mem_free(routes);
	store_zone_done(&other);
	store_zone_done(&deep);
}

static void route_refuses_bad_and_foreign_hostnames(void **state)
{
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE];

	create_tunnel(f, "one", id);
	assert_not_routed(f, id, "app.other.org", 1004,
			  "is in no zone of this account (example.com)");
	assert_not_routed(f, id, "notexample.com", 1004, "is in no zone");
	assert_not_routed(f, id, "**.example.com", 1004, "valid hostname");
	assert_not_routed(f, id, "a.*.example.com", 1004, "valid hostname");
	assert_not_routed(f, id, "-a.example.com", 1004, "valid hostname");
	assert_not_routed(f, id, "a b.example.com", 1004, "valid hostname");
	assert_not_routed(f, id, "app.example.com:443", 1004, "valid hostname");
	assert_not_routed(f, id,
			  "b\xc3\xbc"
			  "cher.example.com",
			  1004, "xn--");
	assert_not_routed(f, id, "", 1004, "empty");
}

static void route_keeps_the_edge_s_own_names(void **state)
{
	struct control_fixture *f = *state;
	struct store_zone zone;
	char id[UUID_TEXT_SIZE];

	assert_int_equal(store_zone_add(f->store, f->account, "argotunnel.com", &zone, NULL), 0);
	store_zone_done(&zone);
	create_tunnel(f, "one", id);
	assert_not_routed(f, id, "adit.example.com", 1003, "belongs to the edge");
	assert_not_routed(f, id, "ADIT.example.com", 1003, "belongs to the edge");
	assert_not_routed(f, id, "management.argotunnel.com", 1003, "belongs to the edge");
	assert_not_routed(f, id, "*.argotunnel.com", 1003, "belongs to the edge");
	assert_not_routed(f, id, "h2.cftunnel.com", 1003, "belongs to the edge");
}

static void route_refuses_other_bodies(void **state)
{
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE], path[100];
	struct answer *a;

	create_tunnel(f, "one", id);
	snprintf(path, sizeof(path), "tunnels/%s/routes", id);
	expect(f, "PUT", zone_path(f, path), "{\"type\":\"dns\"}", 400, 1001);
	expect(f, "PUT", zone_path(f, path), "{\"user_hostname\":\"a.example.com\"}", 400, 1001);
	expect(f, "PUT", zone_path(f, path), "{\"type\":\"ip\"}", 400, 1001);
	expect(f, "PUT", zone_path(f, path),
	       "{\"type\":\"dns\",\"user_hostname\":\"a.example.com\",\"overwrite_existing\":1}",
	       400, 1001);
	a = control_fixture_api(f, "PUT", zone_path(f, path),
				"{\"type\":\"lb\",\"lb_name\":\"a\",\"lb_pool\":\"b\"}");
	assert_refused(a, 400, 1101);
	assert_true(answer_contains(a, "load balancers are not supported"));
	answer_done(a);
	expect(f, "PUT", zone_path(f, "tunnels/6ff42ae2-765d-4adf-8112-31c55c1551ef/routes"), "{}",
	       404, 1020);
	expect(f, "PUT", zone_path(f, "tunnels/x/routes"), "{}", 400, 1001);
}

/* --- Small extras ---------------------------------------------------------------------------------- */

static void zones_and_accounts_are_listed(void **state)
{
	struct control_fixture *f = *state;
	struct answer *a = control_fixture_api(f, "GET", "/client/v4/zones", NULL);
	json_t *zone = json_array_get(result_of(a), 0);

	assert_success(a);
	assert_string_equal(text_of(zone, "id"), f->zone_id);
	assert_string_equal(text_of(zone, "name"), "example.com");
	answer_done(a);
	a = control_fixture_api(f, "GET", "/client/v4/zones?name=nosuch.org", NULL);
	assert_int_equal(json_array_size(result_of(a)), 0);
	answer_done(a);
	a = control_fixture_api(f, "GET", zone_path(f, "x"), NULL);
	assert_refused(a, 404, 7003);
	answer_done(a);
	a = control_fixture_api(f, "GET", "/client/v4/accounts", NULL);
	assert_success(a);
	assert_string_equal(text_of(json_array_get(result_of(a), 0), "id"), f->account);
	answer_done(a);
	a = control_fixture_send(f, "GET", "/client/v4", NULL, BYTES_NONE, false);
	assert_success(a);
	answer_done(a);
}

/* --- Administration ---------------------------------------------------------------------------------- */

static struct answer *admin(struct control_fixture *f, const char *method, const char *target,
			    const char *body)
{
	return control_fixture_send(f, method, target, NULL, bytes_str(body), true);
}

static const char *ours(struct answer *a, const char *name)
{
	const json_t *value = json_object_get(json_object_get(result_of(a), "adit"), name);

	assert_non_null(value);
	return json_is_string(value) ? json_string_value(value)
	       : json_is_true(value) ? "true"
	       : json_is_null(value) ? "null"
				     : "false";
}

static void sharing_is_set_for_tunnels_and_routes(void **state)
{
	static const char *const wrong[] = {
		"{}",
		"{\"name\":\"other\"}",
		"{\"adit\":{},\"name\":\"other\"}",
		"{\"adit\":[]}",
		"{\"adit\":{\"balance\":\"random\"}}",
		"{\"adit\":{\"balance\":1}}",
		"{\"adit\":{\"eject_on_5xx\":\"yes\"}}",
		"{\"adit\":{\"balance\":\"least\",\"weights\":{}}}",
	};
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE], tunnel[100];

	create_tunnel(f, "home", id);
	snprintf(tunnel, sizeof(tunnel), "cfd_tunnel/%s", id);
	assert_routed(f, id, "app.example.com", false, "new", "app.example.com");
	int changed = f->changed;
	struct answer *a =
		control_fixture_api(f, "PATCH", account_path(f, tunnel),
				    "{\"adit\":{\"balance\":\"cookie\",\"eject_on_5xx\":true}}");
	assert_success(a);
	assert_string_equal(ours(a, "balance"), "cookie");
	assert_string_equal(ours(a, "eject_on_5xx"), "true");
	answer_done(a);
	assert_int_equal(f->changed, changed + 1);
	/* What is not named stays. */
	expect(f, "PATCH", account_path(f, tunnel), "{\"adit\":{\"eject_on_5xx\":null}}", 200, 0);
	a = control_fixture_api(f, "GET", account_path(f, tunnel), NULL);
	assert_string_equal(ours(a, "balance"), "cookie");
	assert_string_equal(ours(a, "eject_on_5xx"), "null");
	answer_done(a);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		a = control_fixture_api(f, "PATCH", account_path(f, tunnel), wrong[i]);
		assert_int_equal(a->request.status, 400);
		answer_done(a);
	}

	a = control_fixture_api(f, "PATCH", zone_path(f, "tunnel_routes/app.example.com"),
				"{\"adit\":{\"balance\":\"client-hash\"}}");
	assert_success(a);
	assert_string_equal(ours(a, "balance"), "client-hash");
	assert_string_equal(text_of(result_of(a), "tunnel_id"), id);
	answer_done(a);
	a = control_fixture_api(f, "GET", zone_path(f, "tunnel_routes"), NULL);
	assert_success(a);
	assert_int_equal(json_array_size(result_of(a)), 1);
	answer_done(a);
	expect(f, "GET", zone_path(f, "tunnel_routes/no.example.com"), NULL, 404, 1020);

	/* The administration goes by names. */
	a = admin(f, "PATCH", "/admin/v1/tunnels/home", "{\"adit\":{\"balance\":\"least\"}}");
	assert_string_equal(ours(a, "balance"), "least");
	answer_done(a);
	a = admin(f, "GET", "/admin/v1/tunnels/nobody", NULL);
	assert_refused(a, 404, 1020);
	answer_done(a);
	a = admin(f, "PATCH", "/admin/v1/routes/app.example.com", "{\"adit\":{\"balance\":null}}");
	assert_string_equal(ours(a, "balance"), "null");
	answer_done(a);
	/* A deleted tunnel shares nothing. */
	expect(f, "DELETE", account_path(f, tunnel), NULL, 200, 0);
	expect(f, "PATCH", account_path(f, tunnel), "{\"adit\":{\"balance\":\"least\"}}", 404, 1020);
}

static void a_tunnel_and_its_services_are_two_facts(void **state)
{
	static const struct {
		const char *services, *status;
	} table[] = {
		{ "", "unchecked" },
		{ "{\"state\":\"unknown\"}", "unknown" },
		{ "{\"state\":\"healthy\"},{\"state\":\"unknown\"}", "healthy" },
		{ "{\"state\":\"healthy\"},{\"state\":\"unhealthy\"}", "degraded" },
		{ "{\"state\":\"unhealthy\"}", "down" },
	};
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE], path[200];

	create_tunnel(f, "home", id);
	snprintf(path, sizeof(path), "cfd_tunnel/%s", id);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		f->connections = mem_free(f->connections);
		f->connections = mem_printf("[{\"id\":\"x\",\"conns\":[{},{}],\"adit\":{"
					    "\"services\":[%s]}}]",
					    table[i].services);
		struct answer *a = control_fixture_api(f, "GET", account_path(f, path), NULL);
		assert_string_equal(text_of(result_of(a), "status"), "healthy");
		json_t *adit = json_object_get(result_of(a), "adit");
		assert_string_equal(text_of(json_object_get(adit, "services"), "status"),
				    table[i].status);
		assert_int_equal(json_integer_value(json_object_get(adit, "replicas")), 1);
		answer_done(a);
	}
}

static void admin_keeps_zones(void **state)
{
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE];
	struct answer *a = admin(f, "POST", "/admin/v1/zones", "{\"name\":\"Home.Lan\"}");

	assert_success(a);
	assert_string_equal(text_of(result_of(a), "name"), "home.lan");
	answer_done(a);
	a = admin(f, "POST", "/admin/v1/zones", "{\"name\":\"home.lan\"}");
	assert_refused(a, 409, 1001);
	answer_done(a);
	a = admin(f, "POST", "/admin/v1/zones", "{\"name\":\"lan\"}");
	assert_refused(a, 400, 1001);
	answer_done(a);
	a = admin(f, "GET", "/admin/v1/zones", NULL);
	assert_int_equal(json_array_size(result_of(a)), 2);
	answer_done(a);
	create_tunnel(f, "one", id);
	assert_routed(f, id, "app.home.lan", false, "new", "app.home.lan");
	a = admin(f, "DELETE", "/admin/v1/zones/home.lan", NULL);
	assert_refused(a, 409, 1001);
	answer_done(a);
	a = admin(f, "DELETE", "/admin/v1/zones/nosuch.org", NULL);
	assert_refused(a, 404, 1020);
	answer_done(a);
}

static void admin_makes_login_certificates(void **state)
{
	struct control_fixture *f = *state;
	struct answer *a = admin(f, "POST", "/admin/v1/cert", "{\"zone\":\"example.com\"}");
	struct store_token token;
	struct login login;
	char *text;

	assert_success(a);
	assert_int_equal(login_decode(bytes_str(json_string_value(result_of(a))), &login, NULL), 0);
	assert_string_equal(login.zone, f->zone_id);
	assert_string_equal(login.account, f->account);
	assert_string_equal(login.place.api_url, "https://adit.example.com:8443/client/v4");
	text = mem_strndup(bytes_of(login.api_token.ptr, login.api_token.len));
	assert_int_equal(store_token_find(f->store, text, &token, NULL), 0);
	assert_true(uuid_eq(&token.zone, &f->zone.id));
	store_token_done(&token);
	mem_free(text);
	login_done(&login);
	answer_done(a);
	a = admin(f, "POST", "/admin/v1/cert", "{\"zone\":\"nosuch.org\"}");
	assert_refused(a, 404, 1020);
	answer_done(a);
	a = admin(f, "POST", "/admin/v1/cert", "{}");
	assert_refused(a, 400, 1001);
	answer_done(a);
}

static void admin_keeps_users(void **state)
{
	struct control_fixture *f = *state;
	struct answer *a = admin(f, "POST", "/admin/v1/users", "{\"email\":\"ada@example.com\"}");

	assert_success(a);
	answer_done(a);
	a = admin(f, "POST", "/admin/v1/users", "{\"email\":\"ada@example.com\"}");
	assert_refused(a, 409, 1001);
	answer_done(a);
	a = admin(f, "POST", "/admin/v1/users/ada%40example.com/password",
		  "{\"password\":\"correct horse\"}");
	assert_success(a);
	answer_done(a);
	assert_int_equal(store_user_check(f->store, "ada@example.com", "correct horse", NULL), 0);
	a = admin(f, "GET", "/admin/v1/users", NULL);
	assert_success(a);
	assert_true(json_is_true(json_object_get(json_array_get(result_of(a), 0), "has_password")));
	answer_done(a);
	a = admin(f, "POST", "/admin/v1/users/ada@example.com/link", NULL);
	assert_success(a);
	assert_non_null(strstr(text_of(result_of(a), "url"),
			       "https://adit.example.com:8443/login/link?token="));
	answer_done(a);
	a = admin(f, "POST", "/admin/v1/users/eve@example.com/link", NULL);
	assert_refused(a, 404, 1020);
	answer_done(a);
}

static void admin_says_how_things_are(void **state)
{
	struct control_fixture *f = *state;
	char id[UUID_TEXT_SIZE];
	struct answer *a;
	json_t *r;

	create_tunnel(f, "one", id);
	assert_routed(f, id, "app.example.com", false, "new", "app.example.com");
	a = admin(f, "GET", "/admin/v1/status", NULL);
	r = result_of(a);
	assert_success(a);
	assert_true(json_is_true(json_object_get(r, "running")));
	assert_int_equal(json_integer_value(json_object_get(r, "zones")), 1);
	assert_int_equal(json_integer_value(json_object_get(r, "tunnels")), 1);
	assert_int_equal(json_integer_value(json_object_get(r, "routes")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(r, "edge"), "workers")),
			 2);
	answer_done(a);
	a = admin(f, "GET", "/admin/v1/tunnels", NULL);
	assert_int_equal(json_array_size(result_of(a)), 1);
	answer_done(a);
	a = admin(f, "GET", "/admin/v1/nosuch", NULL);
	assert_refused(a, 404, 7003);
	answer_done(a);
	a = admin(f, "PUT", "/admin/v1/status", NULL);
	assert_refused(a, 405, 10405);
	answer_done(a);
}

static void admin_writes_backups(void **state)
{
	struct control_fixture *f = *state;
	char body[200], path[100];
	struct answer *a = admin(f, "POST", "/admin/v1/backup", "{\"path\":\"here.db\"}");

	assert_refused(a, 400, 1001);
	answer_done(a);
	snprintf(path, sizeof(path), "%s/backup.db", f->dir);
	snprintf(body, sizeof(body), "{\"path\":\"%s\"}", path);
	a = admin(f, "POST", "/admin/v1/backup", body);
	assert_success(a);
	answer_done(a);
	assert_int_equal(access(path, R_OK), 0);
	a = admin(f, "POST", "/admin/v1/backup", body);
	assert_refused(a, 409, 1001);
	answer_done(a);
}

static void admin_may_use_the_api_without_a_token(void **state)
{
	struct answer *a = admin(*state, "GET", account_path(*state, "cfd_tunnel"), NULL);

	assert_success(a);
	answer_done(a);
	a = admin(*state, "GET", "/client/v4/zones", NULL);
	assert_success(a);
	answer_done(a);
	a = admin(*state, "GET", "/client/v4/accounts/short/cfd_tunnel", NULL);
	assert_refused(a, 404, 1020);
	answer_done(a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(content_type_is_exact_and_nothing_is_cached),
		TEST(asks_for_a_token),
		TEST(takes_the_token_in_any_case_of_bearer),
		TEST(refuses_another_account_or_zone),
		TEST(unknown_path_and_method),
		TEST(head_is_answered_like_get),
		TEST(broken_query_is_refused),
		TEST(administration_is_hidden_from_visitors),
		TEST(create_returns_the_tunnel_and_its_token),
		TEST(create_makes_a_secret_when_none_is_given),
		TEST(duplicate_name_is_409),
		TEST(create_refuses_what_makes_no_sense),
		TEST(secret_over_the_limit_is_refused),
		TEST(oversized_body_is_413),
		TEST(deep_json_is_refused),
		TEST(get_shows_one_tunnel),
		TEST(token_is_a_string),
		TEST(delete_refuses_an_active_tunnel_unless_cascade),
		TEST(deleted_tunnel_is_shown_but_useless),
		TEST(list_pages_and_filters),
		TEST(list_refuses_broken_filters),
		TEST(connections_are_nested_and_tunnels_flat),
		TEST(cleanup_closes_all_or_one),
		TEST(route_follows_the_cname_table),
		TEST(route_takes_wildcards_apex_case_and_short_names),
		TEST(route_picks_the_zone_of_the_hostname),
		TEST(route_refuses_bad_and_foreign_hostnames),
		TEST(route_keeps_the_edge_s_own_names),
		TEST(route_refuses_other_bodies),
		TEST(zones_and_accounts_are_listed),
		TEST(admin_keeps_zones),
		TEST(admin_makes_login_certificates),
		TEST(admin_keeps_users),
		TEST(admin_says_how_things_are),
		TEST(admin_writes_backups),
		TEST(admin_may_use_the_api_without_a_token),
		TEST(sharing_is_set_for_tunnels_and_routes),
		TEST(a_tunnel_and_its_services_are_two_facts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
