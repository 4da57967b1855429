#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "connector/cli/rest.h"

#define ID "11111111-2222-4333-8444-555555555555"

/* Answers one request after the other, each on its own connection, and keeps what was asked. */
struct mock {
	int fd;
	pthread_t thread;
	const char *const *answers; /* bodies, NULL-terminated; "409 {…}" has another status */
	const char *content_type;
	char requests[16384];
	struct cli cli;
	struct rest api;
	struct arena arena;
};

static void answer(int fd, const struct mock *m, const char *text)
{
	int status = text[0] >= '1' && text[0] <= '9' ? (int)strtol(text, NULL, 10) : 200;
	const char *body = status == 200 ? text : text + 4;
	char *whole = mem_printf("HTTP/1.1 %d X\r\nContent-Type: %s\r\nConnection: close\r\n"
				 "Content-Length: %zu\r\n\r\n%s",
				 status, m->content_type, strlen(body), body);

	(void)!send(fd, whole, strlen(whole), MSG_NOSIGNAL);
	mem_free(whole);
}

static void *serve(void *arg)
{
	struct mock *m = arg;

	for (size_t i = 0; m->answers[i]; i++) {
		char text[4096];
		size_t used = 0;
		int fd = accept(m->fd, NULL, NULL);

		while (fd >= 0 && used < sizeof(text) - 1) {
			ssize_t got = recv(fd, text + used, sizeof(text) - 1 - used, 0);
			if (got <= 0)
				break;
			used += (size_t)got;
			text[used] = 0;
			const char *end = strstr(text, "\r\n\r\n");
			const char *length = strcasestr(text, "content-length: ");
			if (end && strlen(end + 4) >= (length ? strtoul(length + 16, NULL, 10) : 0))
				break;
		}
		text[used] = 0;
		size_t at = strlen(m->requests);
		snprintf(m->requests + at, sizeof(m->requests) - at, "%s\n", text);
		answer(fd, m, m->answers[i]);
		close(fd);
	}
	return NULL;
}

static void mock_start(struct mock *m, const char *const *answers)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);

	*m = (struct mock){ .answers = answers, .content_type = "application/json" };
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	m->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(m->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(m->fd, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(listen(m->fd, 4), 0);
	m->cli.program = "adit";
	m->api.cli = &m->cli;
	m->api.base = mem_printf("http://127.0.0.1:%d/client/v4", ntohs(a.sin_port));
	m->api.login.account = mem_strdup("acc");
	m->api.login.zone = mem_strdup("zon");
	secret_set(&m->api.login.api_token, BYTES_LIT("tok"));
	arena_init(&m->arena);
}

static void mock_go(struct mock *m)
{
	assert_int_equal(pthread_create(&m->thread, NULL, serve, m), 0);
}

static void mock_stop(struct mock *m)
{
	pthread_join(m->thread, NULL);
	close(m->fd);
	rest_done(&m->api);
	arena_done(&m->arena);
}

#define OK(result) "{\"success\":true,\"errors\":[],\"messages\":[],\"result\":" result "}"
#define TUNNEL                                                                         \
	"{\"id\":\"" ID "\",\"name\":\"t\",\"created_at\":\"2026-11-01T10:00:00.5Z\"," \
	"\"deleted_at\":null,\"connections\":[{\"colo_name\":\"b\",\"id\":\"x\"},"     \
	"{\"colo_name\":\"a\",\"is_pending_reconnect\":true},{\"colo_name\":\"b\"}],\"more\":1}"

static void creates_a_tunnel_as_the_stock_client_asks(void **state)
{
	static const char *const answers[] = {
		OK("{\"id\":\"" ID "\",\"name\":\"t\",\"token\":\"abc\"}"), NULL
	};
	struct mock m;
	struct rest_tunnel t;
	struct err err = { 0 };

	mock_start(&m, answers);
	mock_go(&m);
	int r = rest_tunnel_create(&m.api, &m.arena, "t", BYTES_LIT("0123456789"), &t, &err);
	assert_int_equal(r, 0);
	assert_string_equal(t.token, "abc");
	assert_string_equal(t.created_at.text, "0001-01-01T00:00:00Z");
	assert_non_null(strstr(m.requests, "POST /client/v4/accounts/acc/cfd_tunnel HTTP/1.1\r\n"));
	assert_non_null(strstr(m.requests, "Authorization: Bearer tok\r\n"));
	assert_non_null(strstr(m.requests, "Accept: application/json;version=1\r\n"));
	assert_non_null(strstr(m.requests, "Content-Type: application/json\r\n"));
	assert_non_null(
		strstr(m.requests, "{\"name\":\"t\",\"tunnel_secret\":\"MDEyMzQ1Njc4OQ==\"}"));
	mock_stop(&m);
}

static void errors_read_as_the_stock_clients(void **state)
{
	static const struct {
		const char *answer, *content_type, *text;
	} cases[] = {
		{ "409 {}", "application/json", "tunnel with name already exists" },
		{ "400 {\"errors\":[{\"code\":1003,\"message\":\"no\"}]}", "application/json",
		  "Failed to create tunnel: code: 1003, reason: no" },
		{ "400 {\"errors\":[{\"code\":1,\"message\":\"a\"},{\"code\":2,\"message\":\"b\"}]}",
		  "application/json",
		  "Failed to create tunnel: API errors: code: 1, reason: a; code: 2, reason: b; " },
		{ "400 {\"errors\":[{\"code\":1003,\"message\":\"no\"}]}",
		  "application/json; charset=utf-8", "incorrect request parameters" },
		{ "401 {}", "application/json", "unauthorized" },
		{ "403 x", "text/plain", "unauthorized" },
		{ "404 {}", "application/json", "not found" },
		{ "500 {}", "application/json",
		  "API call to create tunnel failed with status 500: Internal Server Error" },
		{ "201 " OK("{}"), "application/json",
		  "API call to create tunnel failed with status 201: Created" },
		{ "{\"success\":true,\"errors\":[{\"code\":1,\"message\":\"a\"}]}",
		  "application/json", "code: 1, reason: a" },
		{ "{\"success\":false,\"result\":{}}", "application/json", "API call failed" },
		{ "{\"success\":true}", "application/json",
		  "the Cloudflare API response was an unexpected type: unexpected end of JSON input" },
		{ OK("{\"id\":\"\",\"name\":\"t\"}"), "application/json",
		  "the Cloudflare API response was an unexpected type: an id is not a UUID" },
		{ OK("{\"id\":\"" ID "\",\"created_at\":\"yesterday\"}"), "application/json",
		  "the Cloudflare API response was an unexpected type: created_at" },
		{ OK("[]"), "application/json",
		  "the Cloudflare API response was an unexpected type: a tunnel is not an object" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *const answers[] = { cases[i].answer, NULL };
		struct mock m;
		struct rest_tunnel t;
		struct err err = { 0 };

		mock_start(&m, answers);
		m.content_type = cases[i].content_type;
		mock_go(&m);
		assert_true(rest_tunnel_create(&m.api, &m.arena, "t", BYTES_LIT("s"), &t, &err) < 0);
		assert_string_equal(err.text, cases[i].text);
		mock_stop(&m);
	}
}

static void an_answer_that_is_no_json_is_refused(void **state)
{
	static const char *const answers[] = { "<html>", NULL };
	struct mock m;
	struct rest_tunnel t;
	struct err err = { 0 };
	struct uuid id = { 0 };

	mock_start(&m, answers);
	mock_go(&m);
	assert_int_equal(rest_tunnel_get(&m.api, &m.arena, &id, &t, &err), E_PARSE);
	assert_non_null(strstr(err.text, "failed to decode response"));
	mock_stop(&m);
}

static void names_that_are_uuids_never_reach_the_api(void **state)
{
	static const char *const none[] = { NULL };
	struct mock m;
	struct rest_tunnel t;
	struct err err = { 0 };

	mock_start(&m, none);
	mock_go(&m);
	assert_true(rest_tunnel_create(&m.api, &m.arena, ID, BYTES_LIT("s"), &t, &err) < 0);
	assert_string_equal(err.text, "you cannot use UUIDs as tunnel names");
	mock_stop(&m);
}

static void lists_page_by_page_with_filters(void **state)
{
	static const char *const answers[] = {
		"{\"success\":true,\"result\":[" TUNNEL "," TUNNEL "],\"result_info\":{\"count\":2,"
		"\"per_page\":2,\"total_count\":3}}",
		"{\"success\":true,\"result\":[" TUNNEL
		"],\"result_info\":{\"count\":1,\"per_page\":2,"
		"\"total_count\":3}}",
		NULL,
	};
	const struct rest_filter filter = { .name = "a b", .existed_at = "2026-01-02T03:04:05Z" };
	struct mock m;
	struct rest_tunnel *all;
	struct err err = { 0 };
	size_t count;

	mock_start(&m, answers);
	mock_go(&m);
	int r = rest_tunnel_list(&m.api, &m.arena, &filter, &all, &count, &err);
	assert_int_equal(r, 0);
	assert_int_equal(count, 3);
	assert_non_null(strstr(m.requests,
			       "GET /client/v4/accounts/acc/cfd_tunnel?existed_at="
			       "2026-01-02T03%3A04%3A05Z&is_deleted=false&name=a%20b&page=1 "));
	assert_non_null(strstr(m.requests, "&page=2 "));
	assert_string_equal(rest_time_seconds(&m.arena, &all[0].created_at), "2026-11-01T10:00:00Z");
	assert_string_equal(rest_connections_text(&m.arena, all[0].connections, 3, false), "2xb");
	assert_string_equal(rest_connections_text(&m.arena, all[0].connections, 3, true),
			    "1xa, 2xb");
	mock_stop(&m);
}

static void a_refused_page_says_which(void **state)
{
	static const char *const answers[] = { "401 {}", NULL };
	const struct rest_filter filter = { 0 };
	struct mock m;
	struct rest_tunnel *all;
	struct err err = { 0 };
	size_t count;

	mock_start(&m, answers);
	mock_go(&m);
	assert_true(rest_tunnel_list(&m.api, &m.arena, &filter, &all, &count, &err) < 0);
	assert_string_equal(err.text, "Error Parsing page 1: REST request failed: unauthorized");
	mock_stop(&m);
}

static void routes_below_the_zone(void **state)
{
	static const char *const answers[] = {
		OK("{\"cname\":\"new\",\"name\":\"a.example.com\"}"),
		"400 {\"errors\":[{\"code\":1003,\"message\":\"exists\"}]}", NULL
	};
	const char *change, *name;
	struct mock m;
	struct err err = { 0 };
	struct uuid id;

	assert_true(uuid_parse(BYTES_LIT(ID), &id));
	mock_start(&m, answers);
	mock_go(&m);
	assert_int_equal(rest_route_dns(&m.api, &m.arena, &id, "a.example.com", true, NULL, &change,
					&name, &err),
			 0);
	assert_string_equal(change, "new");
	assert_string_equal(name, "a.example.com");
	assert_true(rest_route_dns(&m.api, &m.arena, &id, "a", false, NULL, &change, &name, &err) <
		    0);
	assert_string_equal(err.text, "Failed to add route: code: 1003, reason: exists");
	assert_non_null(
		strstr(m.requests, "PUT /client/v4/zones/zon/tunnels/" ID "/routes HTTP/1.1\r\n"));
	assert_non_null(strstr(m.requests, "{\"type\":\"dns\",\"user_hostname\":\"a.example.com\","
					   "\"overwrite_existing\":true}"));
	mock_stop(&m);
}

static void deletes_and_cleans_up_by_status_alone(void **state)
{
	static const char *const answers[] = { "not even json", "{}", "404 {}", NULL };
	struct mock m;
	struct err err = { 0 };
	struct uuid id;

	assert_true(uuid_parse(BYTES_LIT(ID), &id));
	mock_start(&m, answers);
	mock_go(&m);
	assert_int_equal(rest_tunnel_delete(&m.api, &id, true, &err), 0);
	assert_int_equal(rest_tunnel_cleanup(&m.api, &id, &id, &err), 0);
	assert_int_equal(rest_tunnel_delete(&m.api, &id, false, &err), E_NOT_FOUND);
	assert_non_null(strstr(m.requests,
			       "DELETE /client/v4/accounts/acc/cfd_tunnel/" ID "?cascade=true "));
	assert_non_null(strstr(m.requests, "/connections?client_id=" ID " "));
	mock_stop(&m);
}

static void a_token_is_a_string(void **state)
{
	static const char *const answers[] = { OK("\"abc\""), OK("{}"), NULL };
	struct mock m;
	struct err err = { 0 };
	struct uuid id = { 0 };
	char *token;

	mock_start(&m, answers);
	mock_go(&m);
	assert_int_equal(rest_tunnel_token(&m.api, &id, &token, &err), 0);
	assert_string_equal(token, "abc");
	mem_free(token);
	assert_int_equal(rest_tunnel_token(&m.api, &id, &token, &err), E_PARSE);
	mock_stop(&m);
}

static void what_the_api_says_cannot_steer_a_terminal(void **state)
{
	static const char *const answers[] = {
		OK("{\"id\":\"" ID "\",\"name\":\"a\\u001b[2Jb\"}"),
		"400 {\"errors\":[{\"code\":1,\"message\":\"x\\u001b]0;y\"}]}", NULL
	};
	struct mock m;
	struct rest_tunnel t;
	struct err err = { 0 };
	struct uuid id = { 0 };

	mock_start(&m, answers);
	mock_go(&m);
	assert_int_equal(rest_tunnel_get(&m.api, &m.arena, &id, &t, &err), 0);
	assert_string_equal(t.name, "a?[2Jb");
	assert_true(rest_tunnel_get(&m.api, &m.arena, &id, &t, &err) < 0);
	assert_null(strchr(err.text, 0x1b));
	mock_stop(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creates_a_tunnel_as_the_stock_client_asks),
		cmocka_unit_test(errors_read_as_the_stock_clients),
		cmocka_unit_test(an_answer_that_is_no_json_is_refused),
		cmocka_unit_test(names_that_are_uuids_never_reach_the_api),
		cmocka_unit_test(lists_page_by_page_with_filters),
		cmocka_unit_test(a_refused_page_says_which),
		cmocka_unit_test(routes_below_the_zone),
		cmocka_unit_test(deletes_and_cleans_up_by_status_alone),
		cmocka_unit_test(a_token_is_a_string),
		cmocka_unit_test(what_the_api_says_cannot_steer_a_terminal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
