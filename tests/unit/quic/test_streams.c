/* Streams of one connection: bytes both ways, windows, ends and resets. */
#include "ends.h"

#include "base/limits.h"

static void large_bodies_arrive_both_ways(void **state)
{
	enum { SIZE = 8 * 1024 * 1024 };

	connect_over(NULL);
	server.answer = SIZE + 12345;
	struct flow *f = open_flow(at_client, SIZE, true);
	WAIT_FOR(f->is_closed && at_server->closed_flows == 1);
	assert_received(f, SIZE + 12345);
	assert_received(&at_server->flows[0], SIZE);
	assert_true(f->has_end && at_server->flows[0].has_end);
	assert_true(f->writable > 0);
	assert_int_equal(f->close_code, 0);
	assert_int_equal(at_server->flows[0].close_code, 0);
	assert_int_equal(quic_stream_count(at_client->conn), 0);
	struct quic_facts facts;
	quic_conn_facts(at_client->conn, &facts);
	assert_true(facts.sent_bytes > SIZE && facts.received_bytes > SIZE);
	assert_true(facts.sent_packets > 0 && facts.received_packets > 0);
	assert_true(facts.smoothed_rtt > 0 && facts.congestion_window > 0);
	assert_int_equal(facts.path_mtu, 1452);
}

static void ends_without_bytes_arrive(void **state)
{
	connect_over(NULL);
	struct flow *f = open_flow(at_client, 0, true);
	WAIT_FOR(f->is_closed);
	assert_received(&at_server->flows[0], 0);
	assert_true(at_server->flows[0].has_end && f->has_end);
	/* Bytes first, the end later. */
	f = open_flow(at_client, 10, false);
	WAIT_FOR(at_server->flow_count == 2 && at_server->flows[1].received == 10);
	assert_false(at_server->flows[1].has_end);
	f->ends = true;
	flow_send(f);
	WAIT_FOR(f->is_closed);
	assert_received(&at_server->flows[1], 10);
}

static void after_the_end_writes_go_nowhere(void **state)
{
	connect_over(NULL);
	server.stays_open = true;
	struct flow *f = open_flow(at_client, 5, true);
	assert_int_equal(CALL(quic_stream_write(f->stream, BYTES_LIT("more"), false)), 4);
	assert_int_equal(CALL(quic_stream_write(f->stream, BYTES_LIT("more"), true)), 4);
	WAIT_FOR(at_server->flow_count == 1 && at_server->flows[0].has_end);
	let_pass(20);
	assert_received(&at_server->flows[0], 5);
}

/* --- Windows --------------------------------------------------------------------------------- */

static void a_stalled_reader_bounds_memory(void **state)
{
	enum { SIZE = 40 * 1024 * 1024 };

	connect_over(NULL);
	server.stalls = true;
	struct flow *f = open_flow(at_client, SIZE, true);
	WAIT_FOR(at_server->flow_count == 1 &&
		 at_server->flows[0].received == LIMIT_QUIC_STREAM_WINDOW);
	let_pass(50);
	struct flow *g = &at_server->flows[0];
	assert_int_equal(g->received, LIMIT_QUIC_STREAM_WINDOW);
	assert_true(f->sent <= LIMIT_QUIC_STREAM_WINDOW + LIMIT_QUIC_UNSENT);
	/* A part of it is a part of the window. */
	size_t before = g->received;
	DO(quic_stream_consume(g->stream, 400000));
	g->held -= 400000;
	WAIT_FOR(g->received == before + 400000);
	let_pass(20);
	assert_int_equal(g->received, before + 400000);
	flow_consume(g);
	WAIT_FOR(f->is_closed);
	assert_received(g, SIZE);
}

static void stalled_streams_do_not_stop_the_others(void **state)
{
	connect_over(NULL);
	server.stalls = true;
	for (int i = 0; i < 16; i++)
		open_flow(at_client, 4 * 1024 * 1024, true);
	for (size_t i = 0; i < 16; i++)
		WAIT_FOR(at_server->flow_count > i &&
			 at_server->flows[i].received == LIMIT_QUIC_STREAM_WINDOW);
	server.stalls = false;
	struct flow *f = open_flow(at_client, 3 * 1024 * 1024, true);
	WAIT_FOR(f->is_closed);
	assert_received(&at_server->flows[16], 3 * 1024 * 1024);
	for (size_t i = 0; i < 16; i++)
		flow_consume(&at_server->flows[i]);
	WAIT_FOR(at_client->closed_flows == 17);
	for (size_t i = 0; i < 16; i++)
		assert_received(&at_server->flows[i], 4 * 1024 * 1024);
}

static size_t received_by(const struct end *e)
{
	size_t total = 0;

	for (size_t i = 0; i < e->flow_count; i++)
		total += e->flows[i].received;
	return total;
}

static void all_streams_together_are_bounded_too(void **state)
{
	limits.held_max = 1024 * 1024;
	limits.conn_window = limits.conn_window_max = 512 * 1024;
	connect_over(NULL);
	server.stalls = true;
	for (int i = 0; i < 16; i++)
		open_flow(at_client, 400000, true);
	WAIT_FOR(received_by(at_server) >= 1024 * 1024);
	let_pass(50);
	assert_true(received_by(at_server) <= (1024 + 512) * 1024);
	server.stalls = false;
	size_t next = 0;
	while (at_client->closed_flows < 16) {
		for (; next < at_server->flow_count; next++)
			if (at_server->flows[next].stream)
				flow_consume(&at_server->flows[next]);
		loop_run(loop);
	}
	for (size_t i = 0; i < 16; i++)
		assert_received(&at_server->flows[i], 400000);
}

static void a_stream_that_closes_gives_its_window_back(void **state)
{
	limits.held_max = 0;
	limits.conn_window = limits.conn_window_max = 64 * 1024;
	connect_over(NULL);
	server.stalls = true; /* never consumes */
	for (int i = 0; i < 50; i++) {
		struct flow *f = open_flow(at_client, 50000, true);
		WAIT_FOR(f->is_closed);
	}
	WAIT_FOR(at_server->closed_flows == 50);
}

static void windows_grow_with_the_path(void **state)
{
	struct udp_relay_options slow = { .delay = 10000 };

	start_server(NULL);
	struct udp_relay *relay = udp_relay_new(loop, &server.address, &slow);
	connect_over(udp_relay_address(relay));
	struct flow *f = open_flow(at_client, 24 * 1024 * 1024, true);
	struct quic_facts facts;
	uint64_t most = 0;
	while (!f->is_closed) {
		loop_run(loop);
		quic_conn_facts(at_client->conn, &facts);
		if (facts.bytes_in_flight > most)
			most = facts.bytes_in_flight;
	}
	assert_received(&at_server->flows[0], 24 * 1024 * 1024);
	/* More under way than the stream's first window would let through. */
	assert_true(most > LIMIT_QUIC_STREAM_WINDOW);
	udp_relay_free(relay);
}

/* --- Many ------------------------------------------------------------------------------------ */

static void many_streams_at_once_all_get_theirs(void **state)
{
	enum { COUNT = 1000 };

	limits.peer_streams = COUNT;
	connect_over(NULL);
	server.answer = 20000;
	for (int i = 0; i < COUNT; i++)
		assert_non_null(open_flow(at_client, 3000 + (size_t)i, true));
	WAIT_FOR(at_client->closed_flows == COUNT && at_server->closed_flows == COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		assert_received(&at_client->flows[i], 20000);
		assert_int_equal(at_server->flows[i].first_wrong, 0);
	}
}

static void the_peer_says_how_many_streams_there_may_be(void **state)
{
	limits.peer_streams = 4;
	connect_over(NULL);
	server.answer = 100;
	size_t opened = 0;
	int available = at_client->available, waited = 0;
	while (opened < 40) {
		if (open_flow(at_client, 100, true)) {
			opened++;
			continue;
		}
		/* Four, and such as the peer has done with and we have not. */
		assert_true(quic_stream_count(at_client->conn) <= 8);
		WAIT_FOR(at_client->available > available);
		available = at_client->available;
		waited++;
	}
	assert_true(waited >= 4);
	WAIT_FOR(at_client->closed_flows == 40);
}

static void both_sides_open_streams(void **state)
{
	connect_over(NULL);
	WAIT_FOR(at_server->available == 1);
	struct flow *mine = open_flow(at_client, 70000, true);
	struct flow *theirs = open_flow(at_server, 90000, false);
	WAIT_FOR(mine->is_closed && at_client->flow_count == 2 &&
		 at_client->flows[1].received == 90000);
	struct flow *g = &at_client->flows[1];
	assert_int_equal(g->first_wrong, 0);
	assert_int_equal(quic_stream_id(g->stream) & 3, 1);
	assert_ptr_equal(quic_stream_conn(g->stream), at_client->conn);
	theirs->ends = g->ends = true;
	flow_send(g);
	flow_send(theirs);
	WAIT_FOR(theirs->is_closed);
}

/* --- Resets and stops ------------------------------------------------------------------------ */

static void a_reset_ends_one_side_with_its_code(void **state)
{
	connect_over(NULL);
	server.stays_open = true;
	struct flow *f = open_flow(at_client, 1000000, false);
	WAIT_FOR(at_server->flow_count == 1 && at_server->flows[0].received > 0);
	DO(quic_stream_reset(f->stream, 41));
	struct flow *g = &at_server->flows[0];
	WAIT_FOR(g->is_reset);
	assert_int_equal(g->reset_code, 41);
	assert_false(g->is_closed || f->is_closed || g->has_end);
	/* The other direction lives on. */
	g->to_send = 30000;
	g->ends = true;
	flow_send(g);
	WAIT_FOR(f->is_closed && g->is_closed);
	assert_received(f, 30000);
	assert_true(f->has_end);
	assert_int_equal(f->close_code, 41);
	assert_int_equal(g->close_code, 41);
}

static void last_words_leave_before_a_reset(void **state)
{
	connect_over(NULL);
	struct flow *f = open_flow(at_client, 100, false);
	WAIT_FOR(at_server->flow_count == 1 && at_server->flows[0].received == 100);
	f->to_send = 5000;
	DO(flow_send(f); quic_stream_stop(f->stream, 7); quic_stream_reset(f->stream, 7));
	WAIT_FOR(at_server->flows[0].is_reset);
	assert_int_equal(at_server->flows[0].received, 5000);
}

static void after_a_reset_writes_go_nowhere(void **state)
{
	connect_over(NULL);
	struct flow *f = open_flow(at_client, 100, false);
	WAIT_FOR(at_server->flow_count == 1);
	DO(quic_stream_reset(f->stream, 1));
	static uint8_t much[1000000];
	assert_int_equal(CALL(quic_stream_write(f->stream, bytes_of(much, sizeof(much)), true)),
			 sizeof(much));
	DO(quic_stream_reset(f->stream, 2)); /* too late to say something else */
	WAIT_FOR(at_server->flows[0].is_reset);
	assert_int_equal(at_server->flows[0].reset_code, 1);
	assert_int_equal(at_server->flows[0].received, 100);
}

static void a_stop_is_told_and_mutes_the_sender(void **state)
{
	connect_over(NULL);
	server.answer = 20 * 1024 * 1024;
	struct flow *f = open_flow(at_client, 10, true);
	WAIT_FOR(f->received > 100000);
	DO(quic_stream_stop(f->stream, 55));
	size_t received = f->received;
	struct flow *g = &at_server->flows[0];
	WAIT_FOR(g->is_stopped);
	assert_int_equal(g->stop_code, 55);
	assert_int_equal(f->received, received);
	static uint8_t much[3000000];
	if (g->stream)
		assert_int_equal(
			CALL(quic_stream_write(g->stream, bytes_of(much, sizeof(much)), false)),
			sizeof(much));
	WAIT_FOR(f->is_closed && g->is_closed);
	assert_int_equal(f->close_code, 55);
	assert_int_equal(g->close_code, 55);
	assert_int_equal(f->received, received);
	/* The connection's window was given back. */
	struct flow *next = open_flow(at_client, 10, true);
	WAIT_FOR(next->is_closed);
	assert_received(next, server.answer);
}

/* A request without a body whose visitor leaves before there is an answer. */
static void a_stop_reaches_who_has_nothing_to_send_yet(void **state)
{
	connect_over(NULL);
	server.stays_open = true;
	struct flow *f = open_flow(at_client, 10, true);
	WAIT_FOR(at_server->flow_count == 1 && at_server->flows[0].has_end);
	let_pass(40); /* the end is acknowledged */
	DO(quic_stream_reset(f->stream, 8));
	DO(quic_stream_stop(f->stream, 8));
	struct flow *g = &at_server->flows[0];
	WAIT_FOR(g->is_stopped);
	assert_int_equal(g->stop_code, 8);
	assert_false(g->is_reset);
	WAIT_FOR(f->is_closed && g->is_closed);
	assert_int_equal(f->close_code, 8);
}

static void reset_and_stop_together_end_a_stream(void **state)
{
	connect_over(NULL);
	server.stays_open = true;
	for (int i = 0; i < 100; i++)
		open_flow(at_client, 50000, false);
	WAIT_FOR(at_server->flow_count > 90);
	for (size_t i = 0; i < 100; i++) {
		DO(quic_stream_reset(at_client->flows[i].stream, 100 + i));
		DO(quic_stream_stop(at_client->flows[i].stream, 100 + i));
	}
	WAIT_FOR(at_client->closed_flows == 100 && at_server->closed_flows == 100);
	assert_int_equal(quic_stream_count(at_server->conn), 0);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(at_client->flows[i].close_code, 100 + i);
	for (size_t i = 0; i < 100; i++)
		assert_true(at_server->flows[i].is_stopped);
	struct flow *f = open_flow(at_client, 1000, false);
	WAIT_FOR(at_server->opened_by_peer == 101);
	assert_non_null(f->stream);
}

static void a_stop_before_any_byte_opens_the_stream_at_the_peer(void **state)
{
	connect_over(NULL);
	server.stays_open = true;
	struct flow *f = open_flow(at_client, 0, false);
	DO(quic_stream_stop(f->stream, 3));
	WAIT_FOR(at_server->flow_count == 1 && at_server->flows[0].is_stopped);
	assert_int_equal(at_server->flows[0].stop_code, 3);
	f->ends = true;
	flow_send(f);
	WAIT_FOR(f->is_closed && at_server->flows[0].is_closed);
}

/* --- Calls in events ------------------------------------------------------------------------- */

static size_t nested;

static void open_another(struct quic_stream *st, struct bytes data, bool fin)
{
	struct quic_conn *c = quic_stream_conn(st);

	quic_stream_consume(st, data.len);
	if (!fin)
		return;
	nested++;
	if (nested < 20) {
		struct quic_stream *next = quic_open(c, NULL);
		if (next)
			quic_stream_write(next, BYTES_LIT("again"), true);
	} else if (nested == 20) {
		quic_stream_reset(st, 5);
		quic_stream_stop(st, 5);
		quic_conn_close(c, 6, "enough");
	}
}

static void nested_ready(struct quic_conn *c)
{
	struct quic_stream *st = quic_open(c, NULL);

	assert_non_null(st);
	quic_stream_write(st, BYTES_LIT("first"), true);
}

static void nested_closed(struct quic_conn *c, const struct err *why)
{
	uint64_t code = 0;

	assert_true(quic_close_code(c, &code) && code == 6);
	nested = 1000;
	loop_stop(loop);
}

static void every_call_may_be_made_in_an_event(void **state)
{
	static const struct quic_events events_of_client = {
		.on_ready = nested_ready,
		.on_data = open_another,
		.on_closed = nested_closed,
	};

	start_server(NULL);
	server.answer = 3000;
	nested = 0;
	int fd = open_udp("127.0.0.1:0", &client.address, false);
	client.endpoint = quic_endpoint_new(loop, fd, &limits, NULL, &events_of_client, &client);
	quic_connect(client.endpoint, &server.address, client_tls, BYTES_LIT("quic.test"), NULL,
		     NULL);
	WAIT_FOR(nested == 1000);
	WAIT_FOR(server.ends[0].is_closed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(large_bodies_arrive_both_ways),
		TEST(ends_without_bytes_arrive),
		TEST(after_the_end_writes_go_nowhere),
		TEST(a_stalled_reader_bounds_memory),
		TEST(stalled_streams_do_not_stop_the_others),
		TEST(all_streams_together_are_bounded_too),
		TEST(a_stream_that_closes_gives_its_window_back),
		TEST(windows_grow_with_the_path),
		TEST(many_streams_at_once_all_get_theirs),
		TEST(the_peer_says_how_many_streams_there_may_be),
		TEST(both_sides_open_streams),
		TEST(a_reset_ends_one_side_with_its_code),
		TEST(last_words_leave_before_a_reset),
		TEST(after_a_reset_writes_go_nowhere),
		TEST(a_stop_is_told_and_mutes_the_sender),
		TEST(a_stop_reaches_who_has_nothing_to_send_yet),
		TEST(reset_and_stop_together_end_a_stream),
		TEST(a_stop_before_any_byte_opens_the_stream_at_the_peer),
		TEST(every_call_may_be_made_in_an_event),
	};
	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
