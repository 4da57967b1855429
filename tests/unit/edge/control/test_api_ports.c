/* REST: public ports. The fixture's operator allows 2000-2999/tcp and 2053/udp; 2001 could be opened. */
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
	json_t *result = json_incref(json_object_get(a->json, "result"));
	answer_done(a);
	mem_free(target);
	return result;
}

static json_t *add(struct fixture *f, const char *members, int status, int code)
{
	char *body = mem_printf("{\"tunnel_id\": \"%s\", %s}", f->tunnel, members);
	json_t *result = ask(f, "POST", "ports", body, status, code);

	mem_free(body);
	return result;
}

static const char *text_of(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : "";
}

static void ports_are_added_shown_and_deleted(void **state)
{
	struct fixture *f = *state;
	json_t *port = add(f,
			   "\"protocol\": \"tcp\", \"port\": 2001, \"service\": \"SSH.example.com\","
			   "\"proxy_protocol\": \"v2\", \"comment\": \"the lab\"",
			   200, 0);
	const json_t *shown = json_object_get(port, "state");

	assert_string_equal(text_of(port, "service"), "ssh.example.com");
	assert_string_equal(text_of(port, "tunnel_name"), "office");
	assert_string_equal(text_of(port, "proxy_protocol"), "v2");
	assert_string_equal(text_of(shown, "status"), "open");
	assert_int_equal(json_integer_value(json_object_get(shown, "connections")), 1);
	assert_int_equal(f->c.changed, 1);

	json_decref(add(f, "\"protocol\": \"udp\", \"port\": 2053, \"service\": \"10.0.0.5:53\"",
			200, 0));
	json_t *list = ask(f, "GET", "ports", NULL, 200, 0);
	assert_int_equal(json_array_size(list), 2);
	const json_t *udp = json_array_get(list, 1);
	assert_string_equal(text_of(json_object_get(udp, "state"), "status"), "failed");
	assert_string_equal(text_of(json_object_get(udp, "state"), "error"),
			    "cannot listen: nothing here is real");
	json_decref(list);

	char *path = mem_printf("ports/%s", text_of(port, "id"));
	json_decref(ask(f, "GET", path, NULL, 200, 0));
	json_decref(ask(f, "DELETE", path, NULL, 200, 0));
	json_decref(ask(f, "DELETE", path, NULL, 404, 1020));
	json_decref(ask(f, "GET", path, NULL, 404, 1020));
	assert_int_equal(f->c.changed, 3);
	mem_free(path);
	json_decref(port);
}

static void what_the_operator_has_not_allowed_is_refused(void **state)
{
	struct fixture *f = *state;

	json_decref(add(f, "\"protocol\": \"tcp\", \"port\": 22, \"service\": \"a.example.com\"",
			403, 1107));
	json_decref(add(f, "\"protocol\": \"udp\", \"port\": 2001, \"service\": \"a.example.com\"",
			403, 1107));
	assert_int_equal(f->c.changed, 0);
}

static void a_port_is_given_once(void **state)
{
	struct fixture *f = *state;
	const char *members =
		"\"protocol\": \"tcp\", \"port\": 2001, \"service\": \"a.example.com\"";

	json_decref(add(f, members, 200, 0));
	json_decref(add(f, members, 409, 1106));
	assert_int_equal(f->c.changed, 1);
}

static void refuses_what_makes_no_sense(void **state)
{
	static const char *const bad[] = {
		"\"port\": 2001, \"service\": \"a.example.com\"",
		"\"protocol\": \"sctp\", \"port\": 2001, \"service\": \"a.example.com\"",
		"\"protocol\": \"tcp\", \"service\": \"a.example.com\"",
		"\"protocol\": \"tcp\", \"port\": \"2001\", \"service\": \"a.example.com\"",
		"\"protocol\": \"tcp\", \"port\": 67537, \"service\": \"a.example.com\"",
		"\"protocol\": \"tcp\", \"port\": -2001, \"service\": \"a.example.com\"",
		"\"protocol\": \"tcp\", \"port\": 2001",
		"\"protocol\": \"tcp\", \"port\": 2001, \"service\": \"*.example.com\"",
		"\"protocol\": \"tcp\", \"port\": 2001, \"service\": \"a.example.com:22\"",
		"\"protocol\": \"tcp\", \"port\": 2001, \"service\": \"management.argotunnel.com\"",
		"\"protocol\": \"tcp\", \"port\": 2001, \"service\": \"a.example.com\", "
		"\"proxy_protocol\": \"v1\"",
		"\"protocol\": \"tcp\", \"port\": 2001, \"service\": \"a.example.com\", \"comment\": "
		"\"a\\nb\"",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		json_decref(add(f, bad[i], 400, 1001));
	json_decref(ask(f, "POST", "ports",
			"{\"tunnel_id\": \"" NOBODY "\", \"protocol\": \"tcp\", \"port\": 2001, "
			"\"service\": \"a.example.com\"}",
			404, 1020));
	json_decref(ask(f, "POST", "ports",
			"{\"protocol\": \"tcp\", \"port\": 2001, \"service\": \"a.example.com\"}",
			400, 1001));
	json_decref(ask(f, "DELETE", "ports/zz", NULL, 400, 1001));
}

static void the_administrator_sees_all(void **state)
{
	struct fixture *f = *state;

	json_decref(add(f, "\"protocol\": \"tcp\", \"port\": 2001, \"service\": \"a.example.com\"",
			200, 0));
	struct answer *a =
		control_fixture_send(&f->c, "GET", "/admin/v1/ports", NULL, BYTES_NONE, true);
	assert_int_equal(a->request.status, 200);
	assert_int_equal(json_array_size(json_object_get(a->json, "result")), 1);
	answer_done(a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ports_are_added_shown_and_deleted),
		TEST(what_the_operator_has_not_allowed_is_refused),
		TEST(a_port_is_given_once),
		TEST(refuses_what_makes_no_sense),
		TEST(the_administrator_sees_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
