/* Networks that lose, repeat, reorder, delay, forget and change addresses; datagrams. */
#include "ends.h"

#include <errno.h>
#include <sys/syscall.h>

#include "base/limits.h"
#include "quic/quic_internal.h"

static struct udp_relay *relay;

static int tear_down_with_relay(void **state)
{
	relay = udp_relay_free(relay);
	return tear_down(state);
}

static void connect_over_relay(const struct udp_relay_options *options)
{
	if (!server.endpoint)
		start_server(NULL);
	relay = udp_relay_new(loop, &server.address, options);
	connect_over(udp_relay_address(relay));
}

/* --- A kernel whose buffers are full now and then -------------------------------------------- */

static unsigned refused_sends, sends, refuses_every;

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	if (refuses_every && ++sends % refuses_every == 0) {
		refused_sends++;
		errno = EAGAIN;
		return -1;
	}
	return syscall(SYS_sendmsg, fd, m, flags);
}

static void full_sockets_lose_nothing(void **state)
{
	enum { SIZE = 4 * 1024 * 1024 };
	struct quic_facts facts;

	connect_over(NULL);
	refused_sends = sends = 0;
	refuses_every = 3;
	server.answer = SIZE;
	struct flow *f = open_flow(at_client, SIZE, true);
	WAIT_FOR(f->is_closed);
	refuses_every = 0;
	assert_true(refused_sends > 10);
	assert_received(f, SIZE);
	assert_received(&at_server->flows[0], SIZE);
	quic_conn_facts(at_client->conn, &facts);
	assert_int_equal(facts.lost_packets, 0);
}

/* --- Bad networks ---------------------------------------------------------------------------- */

static void transfer(size_t size)
{
	server.answer = size;
	struct flow *f = open_flow(at_client, size, true);
	WAIT_FOR(f->is_closed && at_server->closed_flows == at_server->flow_count);
	assert_received(f, size);
	assert_received(&at_server->flows[at_server->flow_count - 1], size);
}

static void a_lossy_path_delivers_everything(void **state)
{
	struct quic_facts facts;

	connect_over_relay(&(struct udp_relay_options){ .loss = 500,
							.repeat = 200,
							.reorder = 500,
							.delay = 2000,
							.seed = 7 });
	transfer(3 * 1024 * 1024);
	struct udp_relay_counts counts = udp_relay_counts(relay);
	assert_true(counts.lost > 50 && counts.repeated > 20 && counts.reordered > 50);
	quic_conn_facts(at_server->conn, &facts);
	assert_true(facts.lost_packets > 0);
}

static void many_streams_survive_a_lossy_path(void **state)
{
	limits.peer_streams = 200;
	connect_over_relay(&(struct udp_relay_options){ .loss = 1000,
							.repeat = 300,
							.reorder = 1000,
							.delay = 1000,
							.seed = 99 });
	server.answer = 9000;
	for (int i = 0; i < 200; i++)
		open_flow(at_client, 4000, true);
	WAIT_FOR(at_client->closed_flows == 200 && at_server->closed_flows == 200);
	for (size_t i = 0; i < 200; i++)
		assert_received(&at_client->flows[i], 9000);
}

static void handshakes_survive_a_lossy_path(void **state)
{
	for (uint64_t seed = 1; seed <= 12; seed++) {
		connect_over_relay(&(struct udp_relay_options){ .loss = 2000,
								.repeat = 500,
								.reorder = 2000,
								.delay = 500,
								.seed = seed });
		relay = udp_relay_free(relay);
	}
}

static void a_narrow_path_delivers_everything(void **state)
{
	connect_over_relay(&(struct udp_relay_options){ .delay = 10000,
							.bytes_per_sec = 2000000,
							.queue_bytes = 40000 });
	transfer(1024 * 1024);
}

static void packets_fit_the_path(void **state)
{
	struct quic_facts facts;

	connect_over_relay(&(struct udp_relay_options){ .mtu = 1300, .delay = 500 });
	transfer(1024 * 1024);
	quic_conn_facts(at_client->conn, &facts);
	assert_true(facts.path_mtu >= 1200 && facts.path_mtu <= 1300);
	assert_true(udp_relay_counts(relay).too_large > 0);

	relay = udp_relay_free(relay);
	connect_over_relay(&(struct udp_relay_options){ .delay = 500 });
	transfer(1024 * 1024);
	quic_conn_facts(at_client->conn, &facts);
	assert_int_equal(facts.path_mtu, 1452);
	assert_int_equal(udp_relay_counts(relay).largest, 1452);
}

static void large_packets_that_vanish_are_found_out(void **state)
{
	struct quic_facts facts;

	connect_over_relay(&(struct udp_relay_options){ .delay = 500 });
	transfer(1024 * 1024);
	quic_conn_facts(at_server->conn, &facts);
	assert_int_equal(facts.path_mtu, 1452);

	udp_relay_options(relay)->mtu = 1300;
	transfer(1024 * 1024);
	quic_conn_facts(at_server->conn, &facts);
	assert_int_equal(facts.path_mtu, 1200);
	assert_true(udp_relay_counts(relay).too_large > 0);
}

static void packets_are_marked_for_ecn(void **state)
{
	connect_over_relay(&(struct udp_relay_options){ 0 });
	transfer(100000);
	struct udp_relay_counts counts = udp_relay_counts(relay);
	assert_true(counts.marked > counts.packets / 2);
}

static void keys_change_on_the_way(void **state)
{
	connect_over(NULL);
	transfer(1000); /* the handshake is confirmed, and TLS gone */
	assert_null(at_client->conn->tls);
	assert_null(at_server->conn->tls);
	for (int i = 0; i < 4; i++) {
		struct quic_conn *c = i % 2 ? at_server->conn : at_client->conn;
		/* Not before three probe timeouts after the last one. */
		for (int tries = 0;
		     ngtcp2_conn_initiate_key_update(c->ng, quic_read_clock(c->endpoint)) != 0;
		     tries++) {
			assert_true(tries < 1000);
			let_pass(10);
		}
		transfer(300000);
	}
}

/* --- Changes of address ---------------------------------------------------------------------- */

static void a_nat_that_forgets_is_survived(void **state)
{
	connect_over_relay(&(struct udp_relay_options){ .delay = 1000 });
	uint16_t before = address_port(quic_conn_peer(at_server->conn));
	server.answer = 6 * 1024 * 1024;
	struct flow *f = open_flow(at_client, 6 * 1024 * 1024, true);
	WAIT_FOR(at_server->flow_count == 1 && at_server->flows[0].received > 500000);
	udp_relay_rebind(relay);
	WAIT_FOR(at_server->migrated == 1);
	assert_true(address_port(quic_conn_peer(at_server->conn)) != before);
	WAIT_FOR(f->is_closed);
	assert_received(f, server.answer);
	assert_received(&at_server->flows[0], 6 * 1024 * 1024);
	assert_int_equal(at_client->migrated, 0);
}

static void rebind(void)
{
	struct err err = { 0 };
	int fd = open_udp("127.0.0.1:0", &client.address, false);

	assert_int_equal(CALL(quic_endpoint_rebind(client.endpoint, fd, &err)), 0);
}

static void a_client_goes_on_from_another_socket(void **state)
{
	connect_over(NULL);
	let_pass(50); /* the handshake is confirmed */
	server.answer = 3 * 1024 * 1024;
	for (int i = 1; i <= 3; i++) {
		struct flow *f = open_flow(at_client, 3 * 1024 * 1024, true);
		WAIT_FOR(f->received > 100000 || f->is_closed);
		rebind();
		WAIT_FOR(at_server->migrated == i);
		assert_int_equal(address_port(quic_conn_peer(at_server->conn)),
				 address_port(&client.address));
		assert_int_equal(address_port(quic_conn_local(at_client->conn)),
				 address_port(&client.address));
		WAIT_FOR(f->is_closed);
		assert_received(f, server.answer);
	}
	/* The old sockets are closed after a while. */
	int64_t wait = LIMIT_QUIC_OLD_SOCKET_MS + 1500;
	let_pass(wait);
	struct address old = client.address;
	rebind();
	rebind();
	let_pass(wait);
	int fd = udp_open(&old, false, NULL);
	assert_true(fd >= 0);
	close(fd);
	struct flow *f = open_flow(at_client, 1000, true);
	WAIT_FOR(f->is_closed);
}

static void a_lost_address_costs_no_connection(void **state)
{
	/* The old way is dead at once: nothing arrives that was under way. */
	connect_over_relay(&(struct udp_relay_options){ .delay = 500 });
	let_pass(50);
	struct flow *f = open_flow(at_client, 2 * 1024 * 1024, true);
	WAIT_FOR(at_server->flow_count == 1 && at_server->flows[0].received > 10000);
	udp_relay_options(relay)->loss = 10000;
	let_pass(20);
	udp_relay_options(relay)->loss = 0;
	udp_relay_rebind(relay);
	rebind();
	WAIT_FOR(f->is_closed);
	assert_received(&at_server->flows[0], 2 * 1024 * 1024);
}

static void a_server_does_not_change_its_address(void **state)
{
	struct address address;
	struct err err = { 0 };

	connect_over(NULL);
	int fd = open_udp("127.0.0.1:0", &address, false);
	assert_int_equal(CALL(quic_endpoint_rebind(server.endpoint, fd, &err)), E_INVALID);
	close(fd);
}

/* --- Two endpoints of a server on one port --------------------------------------------------- */

static struct quic_endpoint *workers[2];
static size_t handed_over;

static bool on_foreign(void *ctx, unsigned index, const struct address *from,
		       const struct address *to, uint8_t ecn, struct bytes packet)
{
	assert_ptr_equal(ctx, &server);
	if (index > 1)
		return false;
	handed_over++;
	DO(quic_endpoint_feed(workers[index], from, to, ecn, packet));
	return true;
}

static void packets_find_their_endpoint(void **state)
{
	struct quic_server_options options = server_options();

	handed_over = 0;
	options.on_foreign = on_foreign;
	address_parse(BYTES_LIT("127.0.0.1:0"), &server.address, NULL);
	for (unsigned i = 0; i < 2; i++) {
		int fd = udp_open(&server.address, true, NULL);
		assert_true(fd >= 0);
		options.index = i;
		workers[i] = quic_endpoint_new(loop, fd, &limits, &options, &events, &server);
	}
	server.endpoint = workers[0];
	connect_over_relay(&(struct udp_relay_options){ .delay = 300 });
	/* Behind another port the kernel chooses anew, sooner or later the other socket. */
	for (int i = 0; i < 40 && handed_over < 20; i++) {
		transfer(50000);
		udp_relay_rebind(relay);
	}
	transfer(500000);
	assert_true(handed_over >= 20);
	workers[1] = quic_endpoint_free(workers[1]);
}

/* --- Datagrams ------------------------------------------------------------------------------- */

static void datagrams_go_both_ways(void **state)
{
	uint8_t data[1452];

	connect_over(NULL);
	server.echoes_datagrams = true;
	assert_true(quic_conn_takes_datagrams(at_client->conn));
	for (size_t i = 0; i < 100; i++) {
		memset(data, (int)i, sizeof(data));
		assert_true(CALL(quic_send_datagram(at_client->conn, bytes_of(data, i * 10))));
		WAIT_FOR(at_client->datagrams == i + 1);
		assert_int_equal(at_client->last_datagram_len, i * 10);
		assert_memory_equal(at_client->last_datagram, data, i * 10);
	}
}

static void the_largest_datagram_fits_and_no_larger_one(void **state)
{
	static uint8_t data[2000];

	connect_over(NULL);
	transfer(200000); /* the path is known */
	size_t max = quic_max_datagram(at_client->conn);
	assert_true(max > 1400 && max <= 1452);
	assert_false(CALL(quic_send_datagram(at_client->conn, bytes_of(data, max + 1))));
	assert_true(CALL(quic_send_datagram(at_client->conn, bytes_of(data, max))));
	WAIT_FOR(at_server->datagrams == 1);
	assert_int_equal(at_server->last_datagram_len, max);
	assert_true(CALL(quic_send_datagram(at_client->conn, BYTES_NONE)));
	WAIT_FOR(at_server->datagrams == 2);
}

static void datagrams_that_wait_are_bounded(void **state)
{
	static uint8_t data[1000];
	size_t taken = 0;

	connect_over_relay(&(struct udp_relay_options){ .delay = 20000 });
	while (taken < 100000 &&
	       CALL(quic_send_datagram(at_client->conn, bytes_of(data, sizeof(data)))))
		taken++;
	assert_int_equal(taken, LIMIT_QUIC_DATAGRAMS);
	WAIT_FOR(at_client->room == 1);
	assert_true(CALL(quic_send_datagram(at_client->conn, bytes_of(data, sizeof(data)))));
	WAIT_FOR(at_server->datagrams == taken + 1);
}

static void datagrams_and_streams_share_a_lossy_path(void **state)
{
	static uint8_t data[200];
	size_t sent = 0;

	connect_over_relay(&(struct udp_relay_options){ .loss = 300, .delay = 1000, .seed = 3 });
	server.answer = 2000000;
	struct flow *f = open_flow(at_client, 2000000, true);
	while (sent < 500 || !f->is_closed) {
		for (int i = 0; i < 10 && sent < 500; i++)
			sent += CALL(quic_send_datagram(at_client->conn, bytes_of(data, 200)));
		let_pass(2);
	}
	assert_received(f, 2000000);
	/* No more than sent, and not many fewer than the path lost. */
	assert_true(at_server->datagrams <= sent && at_server->datagrams > sent * 8 / 10);
}

static void without_an_offer_there_are_no_datagrams(void **state)
{
	limits.max_datagram = 0;
	start_server(NULL);
	quic_limits_default(&limits);
	connect_over(NULL);
	assert_false(quic_conn_takes_datagrams(at_client->conn));
	assert_int_equal(quic_max_datagram(at_client->conn), 0);
	assert_false(CALL(quic_send_datagram(at_client->conn, BYTES_LIT("x"))));
	assert_true(quic_conn_takes_datagrams(at_server->conn));
}

int main(void)
{
#define OVER_RELAY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down_with_relay)
	const struct CMUnitTest tests[] = {
		TEST(full_sockets_lose_nothing),
		OVER_RELAY(a_lossy_path_delivers_everything),
		OVER_RELAY(many_streams_survive_a_lossy_path),
		OVER_RELAY(handshakes_survive_a_lossy_path),
		OVER_RELAY(a_narrow_path_delivers_everything),
		OVER_RELAY(packets_fit_the_path),
		OVER_RELAY(large_packets_that_vanish_are_found_out),
		OVER_RELAY(packets_are_marked_for_ecn),
		TEST(keys_change_on_the_way),
		OVER_RELAY(a_nat_that_forgets_is_survived),
		TEST(a_client_goes_on_from_another_socket),
		OVER_RELAY(a_lost_address_costs_no_connection),
		TEST(a_server_does_not_change_its_address),
		OVER_RELAY(packets_find_their_endpoint),
		TEST(datagrams_go_both_ways),
		TEST(the_largest_datagram_fits_and_no_larger_one),
		OVER_RELAY(datagrams_that_wait_are_bounded),
		OVER_RELAY(datagrams_and_streams_share_a_lossy_path),
		TEST(without_an_offer_there_are_no_datagrams),
	};
	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
