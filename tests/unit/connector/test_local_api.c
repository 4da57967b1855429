/* The local API of a connector whose edge is a port of loopback, asked over plain sockets between turns. */
#include "unit/connector/service.h"

#include <jansson.h>

#include "connector/connector_config.h"
#include "connector/connector_metrics.h"
#include "connector/dial/dial.h"
#include "connector/local_api/local_api.h"
#include "connector/serve/serve.h"
#include "tls/tls.h"

static struct connector_config config;
static struct uuid connector;
static struct server *server;
static struct dialer *dialer;
static struct local_api *api;
static int edge_listener;
static struct address edge_address;

static void on_first_registered(void *ctx)
{
	(void)ctx;
}

static void on_drained(void *ctx)
{
	(void)ctx;
}

static const struct dialer_events events = { on_first_registered, on_drained };

static struct ingress *parse_rules(const char *json)
{
	struct err err = { 0 };
	struct yaml_doc *doc = yaml_parse(bytes_str(json), "test", &err);
	struct ingress *in = doc ? ingress_parse(yaml_root(doc), INGRESS_JSON, NULL, &err) : NULL;

	if (!in)
		fail_msg("%s", err.text);
	yaml_free(doc);
	return in;
}

/* A port of loopback that nobody listens on. */
static uint16_t closed_port(void)
{
	struct address address;
	int fd = raw_listener("127.0.0.1", 0, 1, &address);

	close(fd);
	return address_port(&address);
}

/* `rules`: the JSON of the ingress, NULL for one status. */
static void open_api(const char *rules, const char *metrics)
{
	static char *edges[2];
	static char edge_texts[2][ADDRESS_TEXT_SIZE];
	struct err err = { 0 };

	tls_global_init();
	connector_config_init(&config);
	edge_listener = raw_listener("127.0.0.1", 0, 10, &edge_address);
	address_text(&edge_address, edge_texts[0]);
	snprintf(edge_texts[1], sizeof(edge_texts[1]), "127.0.0.1:%u", closed_port());
	edges[0] = edge_texts[0];
	edges[1] = edge_texts[1];
	config.edges = edges;
	config.edge_count = 2;
	config.account_tag = (char *)"account";
	config.tunnel_name = (char *)"home";
	config.metrics_address = (char *)(metrics ? metrics : "127.0.0.1:0");
	connector = uuid_random();
	config.tunnel_id = uuid_random();
	struct ingress *in =
		rules ? parse_rules(rules) : ingress_single("http_status:204", NULL, &err);
	config.ingress = in;
	set = origin_set_new(loop, in, &err);
	server = server_new(loop, &config, &connector, set);
	dialer = dialer_new(loop, &config, &connector, server, &events, NULL, &err);
	if (!dialer)
		fail_msg("%s", err.text);
	api = local_api_new(loop, &config, &connector, dialer, server);
}

static int close_api(void **state)
{
	close(edge_listener);
	local_api_close(api);
	dialer_free(dialer);
	server_free(server);
	origin_set_unref(set);
	ingress_unref(config.ingress);
	free_loop(state);
	local_api_free(api);
	return exchange_live_count() == 0 ? 0 : -1;
}

/* --- The asker's side ------------------------------------------------------------------------ */

struct reply {
	int status;
	const char *head; /* until the next */
	char body[65536];
};

static struct reply reply;

static void read_reply(int fd, bool has_body)
{
	const char *length;

	reply.head = hear_head(fd);
	assert_int_equal(sscanf(reply.head, "HTTP/1.1 %d", &reply.status), 1);
	assert_non_null(length = strcasestr(reply.head, "\r\nContent-Length: "));
	size_t want = strtoul(length + 18, NULL, 10), got = 0;
	assert_true(want < sizeof(reply.body));
	int tries = 0;
	while (has_body && got < want) {
		ssize_t n = read(fd, reply.body + got, want - got);
		if (n > 0)
			got += (size_t)n;
		else
			patience(&tries);
	}
	reply.body[got] = 0;
	if (!has_body)
		hear_nothing(fd);
}

static int connect_to_api(void)
{
	int fd = raw_connect(local_api_address(api));

	set_nonblocking(fd);
	return fd;
}

static void ask_as(const char *method, const char *host, const char *path)
{
	char request[512];
	int fd = connect_to_api();

	snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, path, host);
	say(fd, request);
	read_reply(fd, strcmp(method, "HEAD") != 0);
	close(fd);
	let_it_turn();
}

static void ask_for(const char *path)
{
	ask_as("GET", "127.0.0.1:1", path);
}

/* The body, parsed; the caller's. */
static json_t *ask_json(const char *path)
{
	json_error_t error;

	ask_for(path);
	assert_int_equal(reply.status, 200);
	json_t *value = json_loads(reply.body, JSON_REJECT_DUPLICATES, &error);
	if (!value)
		fail_msg("%s: %s", error.text, reply.body);
	return value;
}

static const char *text_at(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

/* --- Tests ----------------------------------------------------------------------------------- */

static void is_not_ready_without_a_connection(void **state)
{
	char id[UUID_TEXT_SIZE], want[200];

	open_api(NULL, NULL);
	ask_for("/ready");
	assert_int_equal(reply.status, 503);
	assert_non_null(strcasestr(reply.head, "\r\nContent-Type: text/plain; charset=utf-8\r\n"));
	snprintf(want, sizeof(want),
		 "{\"status\":503,\"readyConnections\":0,\"connectorId\":\"%s\"}",
		 uuid_text(&connector, id));
	assert_string_equal(reply.body, want);
}

static void is_healthy_while_it_turns(void **state)
{
	open_api(NULL, NULL);
	ask_for("/healthcheck");
	assert_int_equal(reply.status, 200);
	assert_string_equal(reply.body, "OK\n");
}

static void has_no_quick_tunnel(void **state)
{
	open_api(NULL, NULL);
	ask_for("/quicktunnel");
	assert_string_equal(reply.body, "{\"hostname\":\"\"}");
}

static void prints_metrics_under_the_stock_names(void **state)
{
	open_api(NULL, NULL);
	ask_for("/metrics?format=whatever");
	assert_int_equal(reply.status, 200);
	assert_non_null(strcasestr(reply.head, "text/plain; version=0.0.4; charset=utf-8"));
	assert_non_null(strstr(reply.body, "\ncloudflared_tunnel_ha_connections 0\n"));
	assert_non_null(strstr(reply.body, "\n# TYPE process_cpu_seconds_total counter\n"));
	assert_non_null(strstr(reply.body, "\nbuild_info{goversion=\"none\",revision=\""));
	assert_non_null(strstr(reply.body, "\nadit_connector_exchanges 0\n"));
}

static void answers_head_without_a_body(void **state)
{
	open_api(NULL, NULL);
	ask_as("HEAD", "127.0.0.1", "/healthcheck");
	assert_int_equal(reply.status, 200);
	assert_non_null(strcasestr(reply.head, "\r\nContent-Length: 3\r\n"));
}

static void can_only_be_read(void **state)
{
	open_api(NULL, NULL);
	ask_as("POST", "127.0.0.1", "/ready");
	assert_int_equal(reply.status, 405);
	assert_non_null(strcasestr(reply.head, "\r\nAllow: GET, HEAD\r\n"));
	ask_as("DELETE", "127.0.0.1", "/diag/probe");
	assert_int_equal(reply.status, 405);
}

static void lists_its_pages_for_those_who_ask_for_others(void **state)
{
	open_api(NULL, NULL);
	ask_for("/");
	assert_int_equal(reply.status, 404);
	assert_non_null(strstr(reply.body, "\n/metrics\n"));
	assert_non_null(strstr(reply.body, "\n/diag/probe\n"));
	ask_for("/metrics/");
	assert_int_equal(reply.status, 404);
	ask_for("/debug/pprof/heap");
	assert_int_equal(reply.status, 404);
}

static void refuses_names_that_a_web_page_can_have(void **state)
{
	static const char *const bad[] = { "evil.example.com", "evil.example.com:20241",
					   "127.0.0.1.nip.io", "localhost.evil.com" };
	static const char *const good[] = { "localhost",       "localhost:20241", "LOCALHOST",
					    "127.0.0.1:80",    "[::1]:20241",     "::1",
					    "app.localhost:1", "prometheus",      "10.0.0.1" };

	open_api(NULL, NULL);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ask_as("GET", bad[i], "/config");
		if (reply.status != 403)
			fail_msg("%s: %d", bad[i], reply.status);
	}
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		ask_as("GET", good[i], "/healthcheck");
		if (reply.status != 200 && reply.status != 400) /* "::1" is no authority */
			fail_msg("%s: %d", good[i], reply.status);
	}
}

static void takes_any_name_where_other_machines_may_ask(void **state)
{
	open_api(NULL, "0.0.0.0:0");
	struct address *address = (struct address *)(uintptr_t)local_api_address(api);
	address->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* to connect to */
	int fd = connect_to_api();
	address->v4.sin_addr.s_addr = 0;
	say(fd, "GET /healthcheck HTTP/1.1\r\nHost: connector.monitoring.svc\r\n\r\n");
	read_reply(fd, true);
	assert_int_equal(reply.status, 200);
	close(fd);
	let_it_turn();
}

static void listens_under_a_name(void **state)
{
	open_api(NULL, "localhost:0");
	assert_non_null(api);
	ask_for("/healthcheck");
	assert_int_equal(reply.status, 200);
}

static void runs_without_when_it_cannot_listen(void **state)
{
	open_api(NULL, "no-such-host.invalid:1");
	assert_null(api);
}

static void shows_the_rules_that_run(void **state)
{
	struct err err = { 0 };

	open_api("{\"ingress\":[{\"hostname\":\"app.example.com\",\"service\":\"http://localhost:3000\"},"
		 "{\"service\":\"http_status:404\"}]}",
		 NULL);
	json_t *root = ask_json("/config");
	json_t *rules = json_object_get(json_object_get(root, "config"), "ingress");
	assert_int_equal(json_integer_value(json_object_get(root, "version")), -1);
	assert_int_equal(json_array_size(rules), 2);
	assert_string_equal(text_at(json_array_get(rules, 0), "service"), "http://localhost:3000");
	json_decref(root);

	struct ingress *in = ingress_single("http_status:418", NULL, &err);
	struct origin_set *later = origin_set_new(loop, in, &err);
	server_set_origins(server, later);
	root = ask_json("/config");
	rules = json_object_get(json_object_get(root, "config"), "ingress");
	assert_string_equal(text_at(json_array_get(rules, 0), "service"), "http_status:418");
	json_decref(root);
	origin_set_unref(later);
	ingress_unref(in);
}

static void tells_of_each_connection(void **state)
{
	char id[UUID_TEXT_SIZE];

	open_api(NULL, NULL);
	json_t *root = ask_json("/diag/tunnel");
	assert_string_equal(text_at(root, "tunnelID"), uuid_text(&config.tunnel_id, id));
	assert_string_equal(text_at(root, "connectorID"), uuid_text(&connector, id));
	assert_null(json_object_get(root, "connections")); /* none is registered */
	json_t *ours = json_object_get(root, "adit");
	assert_int_equal(json_array_size(json_object_get(ours, "edges")), 2);
	assert_int_equal(json_array_size(json_object_get(ours, "connections")), 4);
	assert_string_equal(
		text_at(json_array_get(json_object_get(ours, "connections"), 0), "state"), "idle");
	json_decref(root);
}

static void tells_why_a_connection_was_lost(void **state)
{
	open_api(NULL, NULL);
	dialer_start(dialer);
	int tries = 0, fd;
	set_nonblocking(edge_listener);
	while ((fd = accept4(edge_listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		patience(&tries);
	close(fd); /* no TLS */
	struct dialer_connection c;
	do {
		patience(&tries);
		dialer_connection(dialer, 0, &c);
	} while (!c.last_error.code);
	json_t *root = ask_json("/diag/tunnel");
	json_t *first =
		json_array_get(json_object_get(json_object_get(root, "adit"), "connections"), 0);
	assert_true(strlen(text_at(first, "lastError")) > 0);
	assert_true(json_integer_value(json_object_get(first, "failures")) > 0);
	json_decref(root);
	ask_for("/metrics");
	assert_non_null(
		strstr(reply.body, "adit_connector_edge_dial_failures_total{connection_id=\"0\","));
	dialer_drain(dialer);
}

static void shows_flags_and_who_runs_it(void **state)
{
	static struct connector_flag flags[] = { { "url", (char *)"http://localhost:99" },
						 { "label", (char *)"\xff" } };
	char uid[16];

	open_api(NULL, NULL);
	config.flags = flags;
	config.flag_count = 2;
	json_t *root = ask_json("/diag/configuration");
	snprintf(uid, sizeof(uid), "%u", getuid());
	assert_string_equal(text_at(root, "url"), "http://localhost:99");
	assert_string_equal(text_at(root, "label"), "(not UTF-8)");
	assert_string_equal(text_at(root, "uid"), uid);
	json_decref(root);
}

static void describes_the_machine(void **state)
{
	open_api(NULL, NULL);
	json_t *root = ask_json("/diag/system");
	json_t *info = json_object_get(root, "info"), *process = json_object_get(root, "process");
	assert_true(json_integer_value(json_object_get(info, "memoryMaximum")) > 0);
	assert_string_equal(text_at(info, "osSystem"), "Linux");
	assert_true(json_is_array(json_object_get(info, "disk")));
	assert_int_equal(json_integer_value(json_object_get(process, "pid")), getpid());
	assert_true(json_integer_value(json_object_get(process, "openDescriptors")) > 2);
	json_decref(root);
}

/* --- Probing --------------------------------------------------------------------------------- */

/* The edge's listener accepts and hangs up: TLS fails. */
static int accept_edge(void)
{
	int tries = 0, fd;

	set_nonblocking(edge_listener);
	while ((fd = accept4(edge_listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		patience(&tries);
	return fd;
}

static void names_the_hop_that_is_broken(void **state)
{
	char rules[1024], text[ADDRESS_TEXT_SIZE];
	struct address address;
	int up = raw_listener("127.0.0.1", 0, 10, &address);
	int asker;

	snprintf(rules, sizeof(rules),
		 "{\"ingress\":[{\"hostname\":\"up.example.com\",\"service\":\"http://%s\"},"
		 "{\"hostname\":\"down.example.com\",\"service\":\"http://127.0.0.1:%u\"},"
		 "{\"hostname\":\"gone.example.com\",\"service\":\"unix:/nonexistent/socket\"},"
		 "{\"hostname\":\"ssh.example.com\",\"service\":\"ssh://127.0.0.1:%u\"},"
		 "{\"service\":\"http_status:404\"}]}",
		 address_text(&address, text), closed_port(), closed_port());
	open_api(rules, NULL);
	asker = connect_to_api();
	say(asker, "GET /diag/probe HTTP/1.1\r\nHost: x\r\n\r\n");
	close(accept_edge());
	read_reply(asker, true);
	close(asker);
	json_t *root = json_loads(reply.body, 0, NULL);
	json_t *edges = json_object_get(root, "edges"), *found = json_object_get(root, "rules");
	assert_int_equal(json_array_size(edges), 2);
	assert_string_equal(text_at(json_array_get(edges, 0), "step"), "tls");
	assert_string_equal(text_at(json_array_get(edges, 1), "errno"), "ECONNREFUSED");
	assert_int_equal(json_array_size(found), 5);
	assert_true(json_is_true(json_object_get(json_array_get(found, 0), "ok")));
	assert_string_equal(text_at(json_array_get(found, 0), "peer"), text);
	assert_string_equal(text_at(json_array_get(found, 1), "errno"), "ECONNREFUSED");
	assert_string_equal(text_at(json_array_get(found, 1), "label"), "down.example.com");
	assert_string_equal(text_at(json_array_get(found, 2), "errno"), "ENOENT");
	assert_true(json_is_false(json_object_get(json_array_get(found, 3), "ok")));
	assert_string_equal(text_at(json_array_get(found, 4), "skipped"),
			    "there is nothing to connect to");
	json_decref(root);
	close(up);
	let_it_turn();
}

static void shares_one_run_among_those_who_ask(void **state)
{
	int first, second_asker, edge;

	open_api(NULL, NULL);
	first = connect_to_api();
	second_asker = connect_to_api();
	say(first, "GET /diag/probe HTTP/1.1\r\nHost: x\r\n\r\n");
	edge = accept_edge();
	say(second_asker, "GET /diag/probe HTTP/1.1\r\nHost: x\r\n\r\n");
	let_it_turn();
	close(edge);
	read_reply(first, true);
	read_reply(second_asker, true);
	let_it_turn();
	assert_int_equal(accept4(edge_listener, NULL, NULL, SOCK_CLOEXEC), -1);
	close(first);
	close(second_asker);
	let_it_turn();
}

static void lets_those_who_ask_leave(void **state)
{
	int asker, edge;

	open_api(NULL, NULL);
	asker = connect_to_api();
	say(asker, "GET /diag/probe HTTP/1.1\r\nHost: x\r\n\r\n");
	edge = accept_edge();
	close(asker);
	let_it_turn();
	close(edge);
	ask_for("/healthcheck");
	assert_int_equal(reply.status, 200);
}

static void closes_while_somebody_waits(void **state)
{
	int asker, edge;

	open_api(NULL, NULL);
	asker = connect_to_api();
	say(asker, "GET /diag/probe HTTP/1.1\r\nHost: x\r\n\r\nGET /diag/system HTTP/1.1\r\n"
		   "Host: x\r\n\r\n");
	edge = accept_edge();
	/* the teardown closes under it */
	close(edge);
	close(asker);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_loop, close_api)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(is_not_ready_without_a_connection),
		TEST(is_healthy_while_it_turns),
		TEST(has_no_quick_tunnel),
		TEST(prints_metrics_under_the_stock_names),
		TEST(answers_head_without_a_body),
		TEST(can_only_be_read),
		TEST(lists_its_pages_for_those_who_ask_for_others),
		TEST(refuses_names_that_a_web_page_can_have),
		TEST(takes_any_name_where_other_machines_may_ask),
		TEST(listens_under_a_name),
		TEST(runs_without_when_it_cannot_listen),
		TEST(shows_the_rules_that_run),
		TEST(tells_of_each_connection),
		TEST(tells_why_a_connection_was_lost),
		TEST(shows_flags_and_who_runs_it),
		TEST(describes_the_machine),
		TEST(names_the_hop_that_is_broken),
		TEST(shares_one_run_among_those_who_ask),
		TEST(lets_those_who_ask_leave),
		TEST(closes_while_somebody_waits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
