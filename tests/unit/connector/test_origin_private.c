/* Addresses of a private network: which are connected to, and the bytes both ways. */
#include "unit/connector/service.h"

static struct origin_private limits;

static const struct handler private_handlers[] = { { "network", origin_private_handle } };
static const struct handler_chain private_chain = { private_handlers, 1, &limits, NULL };

/* `yaml` is what stands behind "warp-routing:"; NULL: nothing does. */
static void use(const char *yaml)
{
	struct err err = { 0 };
	char *text = mem_printf("ingress: [{service: 'http_status:404'}]\n%s%s\n",
				yaml ? "warp-routing: " : "", yaml ? yaml : "");
	struct yaml_doc *doc = yaml_parse(bytes_str(text), "config.yml", &err);
	struct ingress *in = doc ? ingress_parse(yaml_root(doc), INGRESS_YAML, NULL, &err) : NULL;

	if (!in)
		fail_msg("%s", err.text);
	set = origin_set_unref(set);
	set = origin_set_new(loop, in, &err);
	assert_non_null(set);
	ingress_unref(in);
	yaml_free(doc);
	mem_free(text);
}

static int start_network(void **state)
{
	start(state);
	limits = (struct origin_private){ 0 };
	listener = raw_listener("127.0.0.1", 0, 100, &service_address);
	set_nonblocking(listener);
	use("{allow: [127.0.0.0/8]}");
	return 0;
}

static struct exchange *connect_to(struct visit *v, const char *destination)
{
	struct exchange *x = prepare(v, "TCP", "");

	x->route = NULL;
	x->is_tcp = x->request.is_upgrade = true;
	x->request.authority = arena_copy(&x->arena, bytes_str(destination));
	exchange_start(x, &private_chain);
	return x;
}

static const char *service_text(void)
{
	static char text[ADDRESS_TEXT_SIZE];

	return address_text(&service_address, text);
}

static void refused(const char *destination, int status, const char *detail_has)
{
	connect_to(&visit, destination);
	WAIT_FOR(visit.has_failed);
	assert_int_equal(visit.failure.hop, FAILURE_CONNECTOR);
	assert_int_equal(visit.failure.status, status);
	if (!strstr(visit.detail, detail_has))
		fail_msg("%s: \"%s\" does not speak of \"%s\"", destination, visit.detail,
			 detail_has);
	leave(&visit);
	assert_int_equal(limits.flows, 0);
}

static void open_flow(void)
{
	connect_to(&visit, service_text());
	accept_service();
	WAIT_FOR(visit.has_head);
	assert_int_equal(visit.x->response.status, 200);
	assert_int_equal(limits.flows, 1);
}

/* --- Bytes ------------------------------------------------------------------------------------ */

static void bytes_go_both_ways(void **state)
{
	open_flow();
	visit.upload = BYTES_LIT("ping");
	go_on_uploading(&visit);
	hear(service, "ping");
	say(service, "pong");
	WAIT_FOR(visit.body.len == 4);
	assert_memory_equal(visit.body.ptr, "pong", 4);
	leave(&visit);
	hear_the_end(service);
	assert_int_equal(limits.flows, 0);
}

static void what_comes_before_the_connection_waits_for_it(void **state)
{
	connect_to(&visit, service_text());
	visit.upload = BYTES_LIT("early");
	visit.upload_ends = true;
	go_on_uploading(&visit);
	accept_service();
	hear(service, "early");
	hear_the_end(service);
	say(service, "late");
	close_service();
	assert_body(&visit, "late");
	assert_int_equal(limits.flows, 0);
}

static void each_direction_ends_by_itself(void **state)
{
	open_flow();
	say(service, "bye");
	assert_int_equal(shutdown(service, SHUT_WR), 0);
	assert_body(&visit, "bye");
	visit.upload = BYTES_LIT("still here");
	go_on_uploading(&visit);
	hear(service, "still here");
	assert_int_equal(limits.flows, 1);
	visit.upload_ends = true;
	go_on_uploading(&visit);
	hear_the_end(service);
	WAIT_FOR(limits.flows == 0);
	assert_false(visit.has_failed);
}

enum { MUCH = 5 << 20 };

static void a_stalled_visitor_stops_the_far_end(void **state)
{
	uint8_t *data = mem_alloc(MUCH);
	size_t sent = 0;

	open_flow();
	visit.reads = false;
	for (int idle = 0; idle < 100;) {
		ssize_t n = send(service, data + sent, MUCH - sent, MSG_NOSIGNAL);
		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? (size_t)n : 0;
		let_it_turn();
	}
	assert_true(bufq_len(&visit.x->response_body.queue) <= LIMIT_BODY_QUEUE_BYTES);
	visit.reads = true;
	take_response(&visit);
	for (int tries = 0; sent < MUCH;) {
		ssize_t n = send(service, data + sent, MUCH - sent, MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		patience(&tries);
	}
	close_service();
	WAIT_FOR(visit.has_end);
	assert_int_equal(visit.body.len, MUCH);
	mem_free(data);
}

static void a_stalled_far_end_stops_the_visitor(void **state)
{
	uint8_t *data = mem_alloc(MUCH), got[65536];
	size_t total = 0;

	open_flow();
	visit.upload = bytes_of(data, MUCH);
	visit.upload_ends = true;
	go_on_uploading(&visit);
	for (int i = 0; i < 100; i++)
		let_it_turn();
	assert_true(visit.upload.len > 0);
	for (int tries = 0; total < MUCH;) {
		ssize_t n = read(service, got, sizeof(got));
		total += n > 0 ? (size_t)n : 0;
		if (n <= 0)
			patience(&tries);
	}
	hear_the_end(service);
	mem_free(data);
}

static void a_broken_connection_fails_the_stream(void **state)
{
	const struct linger now = { .l_onoff = 1 };

	open_flow();
	setsockopt(service, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close_service();
	WAIT_FOR(visit.has_failed);
	assert_int_equal(visit.failure.hop, FAILURE_ORIGIN);
	assert_string_equal(visit.errno_name, "ECONNRESET");
	leave(&visit);
	assert_int_equal(limits.flows, 0);
}

static void a_visitor_who_leaves_while_connecting_costs_nothing(void **state)
{
	connect_to(&visit, service_text());
	assert_int_equal(limits.flows, 1);
	leave(&visit);
	assert_int_equal(limits.flows, 0);
}

/* --- Who may be reached ----------------------------------------------------------------------- */

static void nobody_is_there(void **state)
{
	close(listener);
	listener = -1;
	connect_to(&visit, service_text());
	WAIT_FOR(visit.has_failed);
	assert_int_equal(visit.failure.hop, FAILURE_ORIGIN);
	assert_int_equal(visit.failure.status, 502);
	assert_string_equal(visit.errno_name, "ECONNREFUSED");
}

static void without_warp_routing_nothing_is_reached(void **state)
{
	use(NULL);
	refused("10.0.0.1:80", 403, "warp-routing: {enabled: true}");
	refused(service_text(), 403, "warp-routing: {enabled: true}");
	use("{enabled: false}");
	refused("10.0.0.1:80", 403, "warp-routing: {enabled: true}");
	assert_nobody_connects();
}

static void the_host_itself_is_not_the_network_behind_it(void **state)
{
	static const char *const forms[] = { "{}", "{enabled: true}" };

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		use(forms[i]);
		refused(service_text(), 403, "loopback");
		refused("[::1]:80", 403, "loopback");
		refused("[::ffff:127.0.0.1]:80", 403, "loopback");
		refused("169.254.169.254:80", 403, "link-local");
		refused("[fe80::1]:80", 403, "link-local");
	}
	assert_nobody_connects();
}

static void what_is_no_host_is_never_reached(void **state)
{
	static const char *const bad[] = { "0.0.0.0:80",   "0.1.2.3:80",         "[::]:80",
					   "224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80" };

	use("{allow: [0.0.0.0/0, '::/0']}");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refused(bad[i], 403, "one host");
}

static void a_list_says_exactly_who_is_reached(void **state)
{
	use("{allow: [10.0.0.0/8, 127.0.0.1/32]}");
	refused("192.168.0.1:80", 403, "warp-routing.allow");
	refused("127.0.0.2:80", 403, "warp-routing.allow");
	refused("[fd00::1]:80", 403, "warp-routing.allow");
	open_flow();
	leave(&visit);
	use("{allow: []}");
	refused("10.0.0.1:80", 403, "warp-routing.allow");
}

static void names_are_not_addresses(void **state)
{
	static const char *const bad[] = { "localhost:80",
					   "example.com:80",
					   "127.0.0.1",
					   "127.0.0.1:0",
					   "127.0.0.1:99999",
					   "::1:80",
					   "",
					   ":80",
					   "127.1:80",
					   "127.0.0.1:80 ",
					   "[127.0.0.1:80" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refused(bad[i], 400, "IP address and a port");
	assert_nobody_connects();
}

static void the_connectors_own_api_is_not_reached(void **state)
{
	limits.own_api = service_address;
	refused(service_text(), 403, "its own API");
	/* Listening everywhere, at whatever address of this host. */
	assert_int_equal(address_parse(BYTES_LIT("0.0.0.0:1"), &limits.own_api, NULL), 0);
	limits.own_api.v4.sin_port = service_address.v4.sin_port;
	refused(service_text(), 403, "its own API");
	assert_int_equal(address_parse(BYTES_LIT("[::]:1"), &limits.own_api, NULL), 0);
	limits.own_api.v6.sin6_port = service_address.v4.sin_port;
	refused(service_text(), 403, "its own API");
	assert_nobody_connects();
	/* Another port is another service. */
	limits.own_api.v6.sin6_port = 1;
	open_flow();
}

static void more_flows_than_allowed_are_refused(void **state)
{
	use("{allow: [127.0.0.0/8], maxActiveFlows: 1}");
	open_flow();
	connect_to(&second, service_text());
	WAIT_FOR(second.has_failed);
	assert_int_equal(second.failure.status, 429);
	assert_true(second.failure.is_rate_limited);
	leave(&second);
	leave(&visit);
	close_service();
	open_flow(); /* there is room again */
	leave(&visit);
	close_service();
	/* The command line's word counts more. */
	limits.has_max = true;
	open_flow();
	connect_to(&second, service_text());
	WAIT_FOR(second.has_head);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start_network, stop)
	const struct CMUnitTest tests[] = {
		TEST(bytes_go_both_ways),
		TEST(what_comes_before_the_connection_waits_for_it),
		TEST(each_direction_ends_by_itself),
		TEST(a_stalled_visitor_stops_the_far_end),
		TEST(a_stalled_far_end_stops_the_visitor),
		TEST(a_broken_connection_fails_the_stream),
		TEST(a_visitor_who_leaves_while_connecting_costs_nothing),
		TEST(nobody_is_there),
		TEST(without_warp_routing_nothing_is_reached),
		TEST(the_host_itself_is_not_the_network_behind_it),
		TEST(what_is_no_host_is_never_reached),
		TEST(a_list_says_exactly_who_is_reached),
		TEST(names_are_not_addresses),
		TEST(the_connectors_own_api_is_not_reached),
		TEST(more_flows_than_allowed_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
