/* UDP services: which rule, which address, the datagrams both ways, and what is refused. The tunnel is a table of
 * functions that take notes. */
#include "unit/io/turns.h"

#include <poll.h>

#include "config/yaml.h"
#include "connector/connector_metrics.h"
#include "connector/origin/origin_udp.h"
#include "connector/origin/proxy_header.h"

static struct origin_private private;
static struct origin_udp *udp;
static struct origin_set *set;
static int service; /* a bound UDP socket */
static struct address service_address;

/* --- A tunnel -------------------------------------------------------------------------------- */

struct tunnel_flow {
	struct udp_flow base;
	bool is_accepted, is_refused;
	enum reason why;
	char text[300];
	int64_t idle_ms;
	size_t got, last_len;
	uint8_t last[2048];
};

static size_t max_payload;

static struct tunnel_flow *of(struct udp_flow *f)
{
	return CONTAINER_OF(f, struct tunnel_flow, base);
}

static void accept_flow(struct udp_flow *f)
{
	assert_false(of(f)->is_accepted || of(f)->is_refused);
	of(f)->is_accepted = f->is_open = true;
	happened();
}

static void limit_idle(struct udp_flow *f, int64_t ms)
{
	of(f)->idle_ms = ms;
}

static bool send_payload(struct udp_flow *f, struct bytes payload)
{
	struct tunnel_flow *t = of(f);

	assert_true(t->is_accepted && payload.len <= sizeof(t->last));
	t->got++;
	t->last_len = payload.len;
	if (payload.len)
		memcpy(t->last, payload.ptr, payload.len);
	happened();
	return true;
}

static size_t get_max_payload(const struct udp_flow *f)
{
	(void)f;
	return max_payload;
}

static void close_flow(struct udp_flow *f, enum reason why, struct bytes text)
{
	struct tunnel_flow *t = of(f);

	assert_false(t->is_refused);
	t->is_refused = true;
	t->why = why;
	snprintf(t->text, sizeof(t->text), BYTES_FMT, BYTES_ARG(text));
	happened();
}

static const struct transport notes = {
	.name = "notes",
	.udp_accept = accept_flow,
	.udp_limit_idle = limit_idle,
	.udp_send = send_payload,
	.udp_max_payload = get_max_payload,
	.udp_close = close_flow,
};
static struct session session = { .transport = &notes, .side = SESSION_CONNECTOR };

/* --- The world ------------------------------------------------------------------------------- */

static int bind_udp(const char *at, struct address *ret)
{
	assert_int_equal(address_parse(bytes_str(at), ret, NULL), 0);
	int fd = socket(ret->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, &ret->any, ret->len), 0);
	ret->len = sizeof(ret->v6);
	assert_int_equal(getsockname(fd, &ret->any, &ret->len), 0);
	return fd;
}

static int start(void **state)
{
	make_loop(state);
	private = (struct origin_private){ 0 };
	max_payload = 1280;
	session.loop = loop;
	udp = origin_udp_new(loop, &private);
	service = bind_udp("127.0.0.1:0", &service_address);
	return 0;
}

static int stop(void **state)
{
	assert_int_equal(origin_udp_count(udp), 0);
	assert_int_equal(private.flows, 0);
	assert_int_equal(metric_get(&connector_metrics.udp_active_sessions), 0);
	udp = origin_udp_free(udp);
	set = origin_set_unref(set);
	close(service);
	return free_loop(state);
}

/* Rules; "PORT" in them is the service's. */
static void use(const char *yaml)
{
	struct err err = { 0 };
	const char *at = strstr(yaml, "PORT");
	char *text = at ? mem_printf("%.*s%u%s", (int)(at - yaml), yaml,
				     address_port(&service_address), at + 4)
			: mem_strdup(yaml);
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

static void open_target(struct tunnel_flow *t, const struct udp_target *target)
{
	*t = (struct tunnel_flow){ .base = { .session = &session } };
	origin_udp_open(udp, set, &t->base, target, 0);
}

static void open_host(struct tunnel_flow *t, const char *hostname)
{
	open_target(t, &(struct udp_target){ .hostname = bytes_str(hostname) });
}

static void open_ip(struct tunnel_flow *t, const struct address *ip)
{
	open_target(t, &(struct udp_target){ .ip = *ip });
}

static void edge_says(struct tunnel_flow *t, const char *text)
{
	t->base.events->on_datagram(&t->base, bytes_str(text));
}

static void edge_ends(struct tunnel_flow *t)
{
	t->base.events->on_closed(&t->base, REASON_DONE, BYTES_NONE);
}

static struct address service_hears(int fd, const void *want, size_t len)
{
	struct address from = { .len = sizeof(from.v6) };
	uint8_t got[2048];

	ssize_t n = recvfrom(fd, got, sizeof(got), 0, &from.any, &from.len);
	assert_int_equal(n, len);
	assert_memory_equal(got, want, len);
	return from;
}

static void service_says(int fd, const struct address *to, size_t len)
{
	static const uint8_t zeroes[4096];

	assert_int_equal(sendto(fd, zeroes, len, 0, &to->any, to->len), len);
}

/* --- Rules ----------------------------------------------------------------------------------- */

static void a_rule_carries_datagrams_both_ways(void **state)
{
	struct tunnel_flow t;

	use("ingress: [{hostname: dns.example.com, service: 'udp://127.0.0.1:PORT'},\n"
	    "  {service: 'http_status:404'}]\n");
	open_host(&t, "DNS.example.com");
	assert_true(t.is_accepted);
	assert_int_equal(metric_get(&connector_metrics.udp_active_sessions), 1);
	edge_says(&t, "question");
	struct address from = service_hears(service, "question", 8);
	service_says(service, &from, 100);
	WAIT_FOR(t.got == 1);
	assert_int_equal(t.last_len, 100);
	edge_says(&t, "");
	service_hears(service, "", 0);
	service_says(service, &from, 0);
	WAIT_FOR(t.got == 2);
	/* The rules change under it. */
	use("ingress: [{service: 'http_status:404'}]\n");
	edge_says(&t, "more");
	service_hears(service, "more", 4);
	edge_ends(&t);
}

static void each_flow_has_a_port_of_its_own(void **state)
{
	struct tunnel_flow a, b;

	use("ingress: [{service: 'udp://127.0.0.1:PORT'}]\n");
	open_host(&a, "any.example.com");
	open_host(&b, "other.example.com");
	edge_says(&a, "a");
	struct address from_a = service_hears(service, "a", 1);
	edge_says(&b, "b");
	struct address from_b = service_hears(service, "b", 1);
	assert_int_not_equal(address_port(&from_a), address_port(&from_b));
	service_says(service, &from_b, 7);
	WAIT_FOR(b.got == 1);
	assert_int_equal(a.got, 0);
	edge_ends(&a);
	edge_ends(&b);
}

static void a_rule_for_http_does_not_hide_the_one_for_udp(void **state)
{
	struct tunnel_flow t;

	use("ingress: [{hostname: a.example.com, service: 'http://localhost:1'},\n"
	    "  {hostname: a.example.com, service: 'udp://127.0.0.1:PORT'},\n"
	    "  {service: 'http_status:404'}]\n");
	open_host(&t, "a.example.com");
	assert_true(t.is_accepted);
	edge_ends(&t);
}

static void a_name_without_a_udp_rule_is_refused(void **state)
{
	struct tunnel_flow t;

	use("ingress: [{hostname: a.example.com, service: 'tcp://localhost:1'},\n"
	    "  {hostname: b.example.com, service: 'udp://127.0.0.1:PORT'},\n"
	    "  {service: 'http_status:404'}]\n");
	open_host(&t, "a.example.com");
	assert_true(t.is_refused);
	assert_int_equal(t.why, REASON_REFUSED);
	assert_non_null(strstr(t.text, "udp://host:port"));
}

static void a_name_that_means_nothing_fails(void **state)
{
	struct tunnel_flow t;

	use("ingress: [{service: 'udp://a..b:53'}]\n");
	open_host(&t, "x.example.com");
	WAIT_FOR(t.is_refused);
	assert_int_equal(t.why, REASON_FAILED);
	assert_true(t.text[0] != 0);
}

static void a_flow_may_end_while_its_name_is_looked_up(void **state)
{
	struct tunnel_flow t;

	use("ingress: [{service: 'udp://localhost:PORT'}]\n");
	open_host(&t, "x.example.com");
	assert_false(t.is_accepted);
	edge_ends(&t);
	struct tunnel_flow again;
	open_host(&again, "x.example.com");
	WAIT_FOR(again.is_accepted);
	edge_ends(&again);
	assert_false(t.is_accepted);
}

/* ::1 is tried first, and ICMP says that nobody is there. */
static void localhost_is_found_in_either_family(void **state)
{
	struct tunnel_flow t;
	struct pollfd readable = { .fd = service, .events = POLLIN };

	use("ingress: [{service: 'udp://localhost:PORT'}]\n");
	open_host(&t, "x.example.com");
	WAIT_FOR(t.is_accepted);
	edge_says(&t, "hello");
	for (int i = 0; i < 1000 && poll(&readable, 1, 10) == 0; i++)
		let_it_turn();
	struct address from = service_hears(service, "hello", 5);
	service_says(service, &from, 3);
	WAIT_FOR(t.got == 1);
	edge_ends(&t);
}

static void the_rule_s_idle_timeout_counts(void **state)
{
	struct tunnel_flow t;

	use("ingress:\n- service: 'udp://127.0.0.1:PORT'\n  originRequest: {idleTimeout: 9s}\n");
	open_host(&t, "x.example.com");
	assert_int_equal(t.idle_ms, 9000);
	edge_ends(&t);
}

static void what_is_too_large_for_the_tunnel_is_dropped(void **state)
{
	struct tunnel_flow t;

	use("ingress: [{service: 'udp://127.0.0.1:PORT'}]\n");
	max_payload = 100;
	struct metric *dropped = connector_metrics_udp_dropped(0, "read_too_large");
	int64_t before = metric_get(dropped);
	open_host(&t, "x.example.com");
	edge_says(&t, "q");
	struct address from = service_hears(service, "q", 1);
	service_says(service, &from, 101);
	service_says(service, &from, 4000);
	service_says(service, &from, 100);
	WAIT_FOR(t.got == 1);
	assert_int_equal(t.last_len, 100);
	assert_int_equal(metric_get(dropped) - before, 2);
	edge_ends(&t);
}

static void each_datagram_says_who_sent_it(void **state)
{
	static const uint8_t known[] = "\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xc0\0\2\7\x7f\0\0\1";
	static const uint8_t unknown[] = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0hi";
	struct udp_target target = { .hostname = BYTES_LIT("x.example.com") };
	struct tunnel_flow t;
	uint8_t want[64];

	use("ingress:\n- service: 'udp://127.0.0.1:PORT'\n  originRequest: {proxyProtocol: v2}\n");
	address_parse(BYTES_LIT("192.0.2.7:5353"), &target.client, NULL);
	open_target(&t, &target);
	uint16_t port = address_port(&service_address);
	memcpy(want, known, 24);
	memcpy(want + 24, (uint8_t[]){ 5353 >> 8, 5353 & 255, (uint8_t)(port >> 8), (uint8_t)port },
	       4);
	memcpy(want + 28, "hi", 2);
	for (int i = 0; i < 2; i++) {
		edge_says(&t, "hi");
		service_hears(service, want, 30);
	}
	edge_ends(&t);
	open_host(&t, "x.example.com");
	edge_says(&t, "hi");
	service_hears(service, unknown, 18);
	edge_ends(&t);
}

/* --- Addresses ------------------------------------------------------------------------------- */

static void addresses_are_reached_as_far_as_warp_routing_lets(void **state)
{
	struct tunnel_flow t;
	struct address elsewhere;

	use("ingress: [{service: 'http_status:404'}]\n");
	open_ip(&t, &service_address);
	assert_int_equal(t.why, REASON_REFUSED);
	assert_non_null(strstr(t.text, "warp-routing"));
	use("ingress: [{service: 'http_status:404'}]\n"
	    "warp-routing: {allow: [127.0.0.1/32], maxActiveFlows: 1}\n");
	address_parse(BYTES_LIT("127.0.0.2:53"), &elsewhere, NULL);
	open_ip(&t, &elsewhere);
	assert_int_equal(t.why, REASON_REFUSED);
	address_parse(BYTES_LIT("127.0.0.1:0"), &elsewhere, NULL);
	open_ip(&t, &elsewhere);
	assert_int_equal(t.why, REASON_REFUSED);
	open_ip(&t, &service_address);
	assert_true(t.is_accepted);
	assert_int_equal(private.flows, 1);
	struct tunnel_flow another;
	open_ip(&another, &service_address);
	assert_int_equal(another.why, REASON_FLOOD);
	edge_says(&t, "x");
	struct address from = service_hears(service, "x", 1);
	service_says(service, &from, 1);
	WAIT_FOR(t.got == 1);
	edge_ends(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
		TEST(a_rule_carries_datagrams_both_ways),
		TEST(each_flow_has_a_port_of_its_own),
		TEST(a_rule_for_http_does_not_hide_the_one_for_udp),
		TEST(a_name_without_a_udp_rule_is_refused),
		TEST(a_name_that_means_nothing_fails),
		TEST(a_flow_may_end_while_its_name_is_looked_up),
		TEST(localhost_is_found_in_either_family),
		TEST(the_rule_s_idle_timeout_counts),
		TEST(what_is_too_large_for_the_tunnel_is_dropped),
		TEST(each_datagram_says_who_sent_it),
		TEST(addresses_are_reached_as_far_as_warp_routing_lets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
