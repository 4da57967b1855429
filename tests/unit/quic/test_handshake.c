/* Getting a connection, or not, and how it ends. */
#include "ends.h"

#include <errno.h>

static struct udp_relay *relay;

static int tear_down_with_relay(void **state)
{
	relay = udp_relay_free(relay);
	return tear_down(state);
}

#define OVER_RELAY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down_with_relay)

static void start_relay(const struct udp_relay_options *options)
{
	if (!server.endpoint)
		start_server(NULL);
	relay = udp_relay_new(loop, &server.address, options);
}

/* --- Up -------------------------------------------------------------------------------------- */

static void both_ends_are_up_and_know_each_other(void **state)
{
	connect_over(NULL);
	assert_int_equal(at_client->ready, 1);
	assert_int_equal(at_client->available, 1);
	assert_true(bytes_eq(quic_conn_alpn(at_client->conn), BYTES_LIT("test")));
	assert_true(bytes_eq(quic_conn_alpn(at_server->conn), BYTES_LIT("test")));
	assert_true(bytes_eq(quic_conn_server_name(at_server->conn), BYTES_LIT("quic.test")));
	assert_int_equal(address_port(quic_conn_peer(at_server->conn)),
			 address_port(&client.address));
	assert_int_equal(address_port(quic_conn_peer(at_client->conn)),
			 address_port(&server.address));
	assert_int_equal(address_port(quic_conn_local(at_client->conn)),
			 address_port(&client.address));
	assert_int_equal(quic_endpoint_connection_count(server.endpoint), 1);
	assert_ptr_equal(quic_conn_endpoint(at_server->conn), server.endpoint);
	assert_true(quic_conn_last_heard(at_client->conn) > 0);
}

static void a_dual_stack_server_answers_from_the_address_that_was_asked(void **state)
{
	struct quic_server_options options = server_options();
	int fd = open_udp("[::]:0", &server.address, true);

	server.endpoint = quic_endpoint_new(loop, fd, &limits, &options, &events, &server);
	struct address to;
	address_from_ip(BYTES_LIT("127.0.0.7"), address_port(&server.address), &to);
	connect_over(&to);
	char text[ADDRESS_TEXT_SIZE];
	assert_string_equal(address_ip_text(quic_conn_local(at_server->conn), text), "127.0.0.7");
	struct flow *f = open_flow(at_client, 100000, true);
	WAIT_FOR(f->is_closed);
}

static void a_client_on_a_wildcard_socket_connects(void **state)
{
	start_server(NULL);
	int fd = open_udp("0.0.0.0:0", &client.address, false);
	client.endpoint = quic_endpoint_new(loop, fd, &limits, NULL, &events, &client);
	connect_over(NULL);
	struct flow *f = open_flow(at_client, 100000, true);
	WAIT_FOR(f->is_closed);
}

static void it_works_over_ipv6(void **state)
{
	struct quic_server_options options = server_options();
	int fd = open_udp("[::1]:0", &server.address, true);

	server.endpoint = quic_endpoint_new(loop, fd, &limits, &options, &events, &server);
	fd = open_udp("[::]:0", &client.address, false);
	client.endpoint = quic_endpoint_new(loop, fd, &limits, NULL, &events, &client);
	connect_over(NULL);
	struct flow *f = open_flow(at_client, 100000, true);
	WAIT_FOR(f->is_closed);
}

static void many_handshakes_at_once_all_succeed(void **state)
{
	start_server(NULL);
	start_client();
	for (int i = 0; i < MANY_CONNS; i++)
		connect_to(&server.address, client_tls, "quic.test");
	for (size_t i = 0; i < MANY_CONNS; i++)
		WAIT_FOR(client.ends[i].ready);
	WAIT_FOR(server.end_count == MANY_CONNS);
	assert_int_equal(quic_endpoint_connection_count(server.endpoint), MANY_CONNS);
}

/* --- Refused --------------------------------------------------------------------------------- */

static void expect_no_connection(struct tls_context *tls, const char *name, int code,
				 const char *words)
{
	if (!server.endpoint)
		start_server(NULL);
	if (!client.endpoint)
		start_client();
	struct end *e = connect_to(relay ? udp_relay_address(relay) : &server.address, tls, name);
	WAIT_FOR(e->is_closed);
	assert_int_equal(e->ready, 0);
	assert_says(&e->why, code, words);
}

static void an_application_protocol_must_be_agreed_on(void **state)
{
	struct tls_context *other = make_client_tls(ca.cert_pem, other_alpn);

	expect_no_connection(other, "quic.test", E_TLS, "No supported application protocol");
	assert_int_equal(server.end_count, 0);
	tls_context_unref(other);

	struct tls_context *none = make_client_tls(ca.cert_pem, NULL);
	struct err err = { 0 };
	assert_null(quic_connect(client.endpoint, &server.address, none, BYTES_LIT("quic.test"),
				 NULL, &err));
	assert_int_equal(err.code, E_INVALID);
	tls_context_unref(none);
}

static void the_servers_name_is_verified(void **state)
{
	struct tls_context *strangers = make_client_tls(other_ca.cert_pem, alpn);

	expect_no_connection(client_tls, "other.test", E_TLS, "it is for another name");
	expect_no_connection(strangers, "quic.test", E_TLS, "issuer is unknown");
	expect_no_connection(client_tls, "unknown.test", E_TLS,
			     "server name sent was not recognized");
	assert_int_equal(server.end_count, 0);
	tls_context_unref(strangers);
	/* An address is a name like any other. */
	struct end *e = connect_to(&server.address, client_tls, "127.0.0.1");
	WAIT_FOR(e->ready);
}

static void a_closed_port_refuses_at_once(void **state)
{
	struct address gone;

	close(open_udp("127.0.0.1:0", &gone, false));
	start_client();
	struct end *e = connect_to(&gone, client_tls, "quic.test");
	WAIT_FOR(e->is_closed);
	assert_int_equal(e->why.code, E_REFUSED);
	assert_int_equal(e->why.sys_errno, ECONNREFUSED);
}

static void silence_is_a_timeout(void **state)
{
	struct address silent;
	int fd = open_udp("127.0.0.1:0", &silent, false);

	limits.handshake_ms = 150;
	start_client();
	struct end *e = connect_to(&silent, client_tls, "quic.test");
	WAIT_FOR(e->is_closed);
	assert_says(&e->why, E_TIMEOUT, "150 ms");
	close(fd);
}

static void a_full_server_refuses(void **state)
{
	limits.max_connections = 1;
	connect_over(NULL);
	expect_no_connection(client_tls, "quic.test", E_REFUSED, "no connection");
	DO(quic_conn_close(at_client->conn, 0, NULL));
	WAIT_FOR(at_server->is_closed);
	connect_over(NULL);
}

static void a_server_that_leaves_takes_no_more_and_keeps_what_it_has(void **state)
{
	connect_over(NULL);
	DO(quic_endpoint_stop_accepting(server.endpoint));
	expect_no_connection(client_tls, "quic.test", E_REFUSED, "no connection");
	struct flow *f = open_flow(at_client, 5000, true);
	WAIT_FOR(f->is_closed);
}

static void the_user_may_refuse_a_connection_when_it_comes(void **state)
{
	start_server(NULL);
	server.refuses_all = true;
	start_client();
	struct end *e = connect_to(&server.address, client_tls, "quic.test");
	WAIT_FOR(e->is_closed && server.ends[0].is_closed);
	assert_says(&e->why, E_CLOSED, "not you");
	assert_true(e->has_code && e->code == 77);
}

/* --- Proof of the address -------------------------------------------------------------------- */

static void a_retry_asks_for_proof_of_the_address(void **state)
{
	struct quic_server_options options = server_options();

	options.retry_above = 0;
	start_server(&options);
	start_relay(&(struct udp_relay_options){ 0 });
	connect_over(udp_relay_address(relay));
	assert_int_equal(udp_relay_counts(relay).retries, 1);
	struct flow *f = open_flow(at_client, 5000, true);
	WAIT_FOR(f->is_closed);
}

static void few_handshakes_need_no_proof(void **state)
{
	start_relay(&(struct udp_relay_options){ 0 });
	connect_over(udp_relay_address(relay));
	assert_int_equal(udp_relay_counts(relay).retries, 0);
}

static void many_handshakes_need_proof(void **state)
{
	struct quic_server_options options = server_options();

	options.retry_above = 1;
	start_server(&options);
	start_relay(&(struct udp_relay_options){ .loses_answers = true });
	start_client();
	struct end *first = connect_to(udp_relay_address(relay), client_tls, "quic.test");
	let_pass(50);
	assert_int_equal(quic_endpoint_connection_count(server.endpoint), 1);
	udp_relay_free(relay);
	start_relay(&(struct udp_relay_options){ 0 });
	struct end *e = connect_to(udp_relay_address(relay), client_tls, "quic.test");
	WAIT_FOR(e->ready);
	assert_int_equal(udp_relay_counts(relay).retries, 1);
	assert_int_equal(first->ready, 0);
}

static void a_proof_from_another_address_is_none(void **state)
{
	struct quic_server_options options = server_options();

	options.retry_above = 0;
	start_server(&options);
	start_relay(&(struct udp_relay_options){ .rebinds_at_retry = true });
	expect_no_connection(client_tls, "quic.test", E_PROTOCOL, "0xb");
	assert_int_equal(quic_endpoint_connection_count(server.endpoint), 0);
}

/* --- The end --------------------------------------------------------------------------------- */

static void a_close_carries_its_code_to_streams_and_peer(void **state)
{
	connect_over(NULL);
	server.stays_open = true;
	struct flow *a = open_flow(at_client, 1000, true), *b = open_flow(at_client, 1000, false);
	WAIT_FOR(at_server->flow_count == 2 && at_server->flows[1].received == 1000);
	DO(quic_conn_close(at_server->conn, 9, "bye\nbye"));
	assert_false(at_server->is_closed);
	WAIT_FOR(at_server->is_closed && at_client->is_closed);
	assert_true(at_server->has_code && at_server->code == 9);
	assert_true(at_client->has_code && at_client->code == 9);
	assert_says(&at_client->why, E_CLOSED, "code 9: bye?bye");
	assert_int_equal(at_server->why.code, E_CLOSED);
	assert_int_equal(a->close_code, 9);
	assert_int_equal(b->close_code, 9);
	assert_int_equal(at_server->flows[0].close_code, 9);
	assert_int_equal(quic_endpoint_connection_count(server.endpoint), 0);
	assert_int_equal(quic_endpoint_connection_count(client.endpoint), 0);
}

static void what_was_written_before_a_close_arrives(void **state)
{
	connect_over(NULL);
	open_flow(at_client, 8000, true);
	DO(quic_conn_close(at_client->conn, 0, NULL));
	WAIT_FOR(at_server->is_closed);
	assert_received(&at_server->flows[0], 8000);
	assert_int_equal(at_server->flows[0].close_code, 0);
	assert_int_equal(at_server->why.code, E_CLOSED);
}

static void freeing_an_endpoint_tells_the_peers(void **state)
{
	connect_over(NULL);
	struct flow *f = open_flow(at_client, 1000, false);
	WAIT_FOR(at_server->flow_count == 1);
	server.endpoint = CALL(quic_endpoint_free(server.endpoint));
	WAIT_FOR(at_client->is_closed);
	assert_true(at_client->has_code && at_client->code == 0);
	assert_int_equal(f->close_code, 0);
	assert_false(at_server->is_closed);
}

static void silence_ends_a_connection(void **state)
{
	limits.idle_ms = 1000;
	limits.keepalive_ms = 0;
	start_relay(&(struct udp_relay_options){ 0 });
	connect_over(udp_relay_address(relay));
	struct flow *f = open_flow(at_client, 1000, false);
	WAIT_FOR(at_server->flow_count == 1);
	udp_relay_options(relay)->loss = 10000;
	open_flow(at_client, 1000, false);
	WAIT_FOR(at_client->is_closed && at_server->is_closed);
	assert_int_equal(at_client->why.code, E_TIMEOUT);
	assert_int_equal(at_server->why.code, E_TIMEOUT);
	assert_false(at_client->has_code);
	assert_true(f->close_code == QUIC_CODE_LOST);
	assert_true(at_server->flows[0].close_code == QUIC_CODE_LOST);
}

static void keepalive_outlives_silence(void **state)
{
	/* Longer than a busy machine lets a thread wait. */
	limits.idle_ms = 2000;
	limits.keepalive_ms = 100;
	connect_over(NULL);
	usec heard = quic_conn_last_heard(at_client->conn);
	let_pass(2500);
	assert_false(at_client->is_closed || at_server->is_closed);
	assert_true(quic_conn_last_heard(at_client->conn) > heard);
}

static void a_server_that_has_forgotten_says_so(void **state)
{
	struct quic_server_options options = server_options();

	start_relay(&(struct udp_relay_options){ 0 });
	connect_over(udp_relay_address(relay));
	struct flow *f = open_flow(at_client, 1000, false);
	WAIT_FOR(at_server->flow_count == 1 && at_server->flows[0].received == 1000);
	let_pass(50); /* the acknowledgements are through */
	udp_relay_options(relay)->loss = 10000;
	quic_endpoint_free(server.endpoint);
	let_pass(50);
	udp_relay_options(relay)->loss = 0;
	int fd = udp_open(&server.address, true, NULL);
	assert_true(fd >= 0);
	server.endpoint = quic_endpoint_new(loop, fd, &limits, &options, &events, &server);
	open_flow(at_client, 1000, false);
	WAIT_FOR(at_client->is_closed);
	assert_says(&at_client->why, E_CLOSED, "does not know");
	assert_false(at_client->has_code);
	assert_true(f->close_code == QUIC_CODE_LOST);
}

static void a_lost_close_is_repeated_to_who_still_sends(void **state)
{
	start_relay(&(struct udp_relay_options){ 0 });
	connect_over(udp_relay_address(relay));
	udp_relay_options(relay)->loss = 10000;
	DO(quic_conn_close(at_server->conn, 5, "gone"));
	WAIT_FOR(at_server->is_closed);
	let_pass(20);
	udp_relay_options(relay)->loss = 0;
	open_flow(at_client, 1000, false);
	WAIT_FOR(at_client->is_closed);
	assert_true(at_client->has_code && at_client->code == 5);
}

static bool frees_client;

static void free_in_event(struct quic_conn *c)
{
	if (frees_client)
		client.endpoint = quic_endpoint_free(client.endpoint);
	loop_stop(loop);
}

static void free_on_data(struct quic_stream *st, struct bytes data, bool fin)
{
	free_in_event(quic_stream_conn(st));
}

static void an_endpoint_may_be_freed_in_any_event(void **state)
{
	static struct quic_events ready = { .on_ready = free_in_event };
	static struct quic_events data = { .on_data = free_on_data };
	const struct quic_events *all[] = { &ready, &data };

	start_server(NULL);
	server.answer = 50000;
	frees_client = true;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		int fd = open_udp("127.0.0.1:0", &client.address, false);
		client.endpoint = quic_endpoint_new(loop, fd, &limits, NULL, all[i], &client);
		struct quic_conn *c = quic_connect(client.endpoint, &server.address, client_tls,
						   BYTES_LIT("quic.test"), NULL, NULL);
		struct quic_stream *st = NULL;
		while (client.endpoint) {
			if (!st && (st = quic_open(c, NULL)))
				quic_stream_write(st, BYTES_LIT("x"), true);
			loop_run(loop);
		}
		/* Unannounced, or closed. */
		for (int tries = 0; quic_endpoint_connection_count(server.endpoint); tries++) {
			assert_true(tries < 1000);
			let_pass(5);
		}
	}
}

/* --- Not QUIC, or not ours ------------------------------------------------------------------- */

static struct udp_socket *raw;
static uint8_t heard[2000];
static size_t heard_len;

static void on_raw(void *ctx, const struct udp_packet *packets, size_t count)
{
	heard_len = packets[0].data.len;
	memcpy(heard, packets[0].data.ptr, heard_len);
	loop_stop(loop);
}

static void on_raw_writable(void *ctx)
{
}

static const struct udp_events raw_events = { .on_packets = on_raw, .on_writable = on_raw_writable };

static void send_raw(const uint8_t *data, size_t len)
{
	(void)udp_send(raw, NULL, &server.address, 0, bytes_of(data, len), len, NULL);
}

static void other_versions_are_offered_ours(void **state)
{
	static uint8_t packet[1200] = { 0xc0, 0xff, 0, 0, 0x42, 8, 1, 2, 3, 4, 5, 6, 7, 8, 2, 9, 9 };
	struct address address;

	start_server(NULL);
	raw = udp_new(loop, open_udp("127.0.0.1:0", &address, false), &raw_events, NULL);
	heard_len = 0;
	assert_int_equal(udp_send_empty(raw, NULL, &server.address, NULL), 0); /* nobody's */
	send_raw(packet, 300); /* could be an attack on somebody else */
	let_pass(50);
	assert_int_equal(heard_len, 0);
	send_raw(packet, sizeof(packet));
	WAIT_FOR(heard_len > 0);
	assert_int_equal(heard[0] & 0x80, 0x80);
	assert_memory_equal(heard + 1, "\0\0\0\0", 4);
	assert_memory_equal(heard + 5, "\2\11\11\10\1\2\3\4\5\6\7\10", 12);
	bool has_v1 = false;
	for (size_t at = 17; at + 4 <= heard_len; at += 4)
		has_v1 |= memcmp(heard + at, "\0\0\0\1", 4) == 0;
	assert_true(has_v1);
	raw = udp_free(raw);
}

static void unknown_ids_get_a_reset_smaller_than_what_they_sent(void **state)
{
	static uint8_t packet[100] = { 0x40, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	struct address address;

	start_server(NULL);
	raw = udp_new(loop, open_udp("127.0.0.1:0", &address, false), &raw_events, NULL);
	heard_len = 0;
	send_raw(packet, sizeof(packet));
	WAIT_FOR(heard_len > 0);
	assert_true(heard_len >= 21 && heard_len < sizeof(packet));
	assert_int_equal(heard[0] & 0xc0, 0x40);
	heard_len = 0;
	send_raw(packet, 21);
	let_pass(50);
	assert_int_equal(heard_len, 0);
	raw = udp_free(raw);
}

static void stateless_answers_are_counted(void **state)
{
	static uint8_t packet[100] = { 0x40, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	struct address address;

	start_server(NULL);
	raw = udp_new(loop, open_udp("127.0.0.1:0", &address, false), &raw_events, NULL);
	for (int i = 0; i < 3000; i++) {
		send_raw(packet, sizeof(packet));
		if (i % 100 == 0)
			let_pass(1);
	}
	let_pass(50);
	raw = udp_free(raw);
	connect_over(NULL); /* and real ones still get in */
}

static void garbage_is_ignored(void **state)
{
	static uint8_t packet[1500];
	struct address address;
	uint64_t random = 12345;

	connect_over(NULL);
	raw = udp_new(loop, open_udp("127.0.0.1:0", &address, false), &raw_events, NULL);
	for (int i = 0; i < 500; i++) {
		for (size_t at = 0; at < sizeof(packet); at++) {
			random = random * 6364136223846793005ULL + 1442695040888963407ULL;
			packet[at] = (uint8_t)(random >> 33);
		}
		/* Initial packets of version 1 among them. */
		if (i % 3 == 0)
			memcpy(packet, "\xc3\0\0\0\1\10", 6);
		send_raw(packet, i % 2 ? 1200 : (size_t)(random >> 33) % 1400 + 1);
		if (i % 50 == 0)
			let_pass(1);
	}
	let_pass(50);
	raw = udp_free(raw);
	assert_int_equal(quic_endpoint_connection_count(server.endpoint), 1);
	struct flow *f = open_flow(at_client, 5000, true);
	WAIT_FOR(f->is_closed);
}

/* ngtcp2 lets them pass when there is a token. */
static void first_packets_with_short_ids_begin_nothing(void **state)
{
	static uint8_t packet[1200] = { 0xc3, 0, 0, 0, 1 };
	struct address address;

	connect_over(NULL);
	raw = udp_new(loop, open_udp("127.0.0.1:0", &address, false), &raw_events, NULL);
	for (uint8_t len = 0; len < 8; len++) {
		/* id, source id, token, length */
		uint8_t *at = packet + 5;
		*at++ = len;
		memset(at, 7, len);
		at += len;
		memcpy(at, "\1\11\4abcd\x44\x40", 9);
		for (int i = 0; i < 3; i++) {
			send_raw(packet, sizeof(packet));
			let_pass(10);
		}
	}
	raw = udp_free(raw);
	assert_int_equal(quic_endpoint_connection_count(server.endpoint), 1);
	struct flow *f = open_flow(at_client, 5000, true);
	WAIT_FOR(f->is_closed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_ends_are_up_and_know_each_other),
		TEST(a_dual_stack_server_answers_from_the_address_that_was_asked),
		TEST(a_client_on_a_wildcard_socket_connects),
		TEST(it_works_over_ipv6),
		TEST(many_handshakes_at_once_all_succeed),
		TEST(an_application_protocol_must_be_agreed_on),
		TEST(the_servers_name_is_verified),
		TEST(a_closed_port_refuses_at_once),
		TEST(silence_is_a_timeout),
		TEST(a_full_server_refuses),
		TEST(a_server_that_leaves_takes_no_more_and_keeps_what_it_has),
		TEST(the_user_may_refuse_a_connection_when_it_comes),
		OVER_RELAY(a_retry_asks_for_proof_of_the_address),
		OVER_RELAY(few_handshakes_need_no_proof),
		OVER_RELAY(many_handshakes_need_proof),
		OVER_RELAY(a_proof_from_another_address_is_none),
		TEST(a_close_carries_its_code_to_streams_and_peer),
		TEST(what_was_written_before_a_close_arrives),
		TEST(freeing_an_endpoint_tells_the_peers),
		OVER_RELAY(silence_ends_a_connection),
		TEST(keepalive_outlives_silence),
		OVER_RELAY(a_server_that_has_forgotten_says_so),
		OVER_RELAY(a_lost_close_is_repeated_to_who_still_sends),
		TEST(an_endpoint_may_be_freed_in_any_event),
		TEST(other_versions_are_offered_ours),
		TEST(unknown_ids_get_a_reset_smaller_than_what_they_sent),
		TEST(stateless_answers_are_counted),
		TEST(garbage_is_ignored),
		TEST(first_packets_with_short_ids_begin_nothing),
	};
	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
