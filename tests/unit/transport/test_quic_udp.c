/* UDP flows through a session, both ends over loopback: each way of registering, their datagrams and ends, and
 * datagrams that nobody should send. */
#include "quic_ends.h"

#include "wire/datagram.h"

enum way { BY_RPC, BY_DATAGRAM, BY_HOSTNAME, WAYS };
static const char *const way_names[] = { "datagram v2", "datagram v3", "hostname" };

/* One end of a flow, as its user saw it. */
struct seen {
	struct udp_flow *f; /* NULL once it is over */
	unsigned opened, draining, closed;
	size_t got;
	char last[64];
	size_t last_len;
	enum reason why;
	char text[300];
	struct udp_target target;
	char hostname[256];
	uint32_t next; /* of numbered payloads */
	bool is_disordered;
};

#define FLOWS 16
static struct {
	struct session *edge, *connector;
	struct quic_conn *edge_conn, *connector_conn;
	struct tunnel_endpoint *server, *client;
	struct session_start edge_start, connector_start;
	struct seen edge_flows[FLOWS], connector_flows[FLOWS];
	size_t edge_count, connector_count, offered;
	enum reason refuse_why; /* with refuse_text; else flows are accepted */
	const char *refuse_text;
	bool keeps_waiting, echoes, registered, edge_draining;
	unsigned dropped_at_edge[UDP_DROP_COUNT], dropped_at_connector[UDP_DROP_COUNT];
	unsigned closed;
} world;

/* --- Events ---------------------------------------------------------------------------------- */

static void on_open(struct udp_flow *f)
{
	((struct seen *)f->ctx)->opened++;
	happened();
}

static void on_datagram(struct udp_flow *f, struct bytes payload)
{
	struct seen *seen = f->ctx;
	uint32_t number;

	seen->got++;
	seen->last_len = payload.len;
	memset(seen->last, 0, sizeof(seen->last));
	if (payload.len)
		memcpy(seen->last, payload.ptr, payload.len < 63 ? payload.len : 63);
	if (payload.len == sizeof(number)) {
		memcpy(&number, payload.ptr, sizeof(number));
		seen->is_disordered |= number != seen->next;
		seen->next = number + 1;
	}
	if (world.echoes && f->session->side == SESSION_CONNECTOR)
		(void)udp_flow_send(f, payload);
	happened();
}

static void on_flow_draining(struct udp_flow *f)
{
	((struct seen *)f->ctx)->draining++;
	happened();
}

static void on_flow_closed(struct udp_flow *f, enum reason why, struct bytes text)
{
	struct seen *seen = f->ctx;

	assert_int_equal(seen->closed, 0);
	seen->closed++;
	seen->f = NULL;
	seen->why = why;
	/* Whoever wants to go on does so elsewhere. */
	if (why == REASON_LOST)
		assert_false(session_can_open_udp(f->session, f->session->side) ||
			     session_can_open_udp(f->session, !f->session->side));
	snprintf(seen->text, sizeof(seen->text), BYTES_FMT, BYTES_ARG(text));
	happened();
}

static const struct udp_flow_events flow_events = {
	.on_open = on_open,
	.on_datagram = on_datagram,
	.on_draining = on_flow_draining,
	.on_closed = on_flow_closed,
};

static void on_udp(struct session *s, struct udp_flow *f, const struct udp_target *target)
{
	(void)s;
	world.offered++;
	if (world.refuse_text) {
		udp_flow_close(f, world.refuse_why, bytes_str(world.refuse_text));
		return;
	}
	assert_true(world.connector_count < FLOWS);
	struct seen *seen = &world.connector_flows[world.connector_count++];
	seen->f = f;
	seen->target = *target;
	snprintf(seen->hostname, sizeof(seen->hostname), BYTES_FMT, BYTES_ARG(target->hostname));
	f->events = &flow_events;
	f->ctx = seen;
	if (!world.keeps_waiting)
		udp_flow_accept(f);
	happened();
}

static void on_udp_dropped(struct session *s, int why)
{
	unsigned *counts =
		s->side == SESSION_EDGE ? world.dropped_at_edge : world.dropped_at_connector;

	counts[why]++;
	happened();
}

static void on_register(struct session *s, const struct registration *r)
{
	(void)r;
	session_reply(s, &(struct registered){ .ok = true,
					       .connection = { { 42 } },
					       .location = BYTES_LIT("here") });
}

static void on_registered(struct session *s, const struct registered *r)
{
	(void)s;
	assert_true(r->ok);
	world.registered = true;
	happened();
}

static void on_draining(struct session *s)
{
	world.edge_draining |= s->side == SESSION_EDGE;
	happened();
}

static void on_session_closed(struct session *s, enum reason why, const struct err *err)
{
	(void)why;
	(void)err;
	if (s == world.edge)
		world.edge = NULL;
	else
		world.connector = NULL;
	world.closed++;
	happened();
}

static const struct session_events session_events = {
	.on_register = on_register,
	.on_registered = on_registered,
	.on_udp = on_udp,
	.on_udp_dropped = on_udp_dropped,
	.on_draining = on_draining,
	.on_closed = on_session_closed,
};

static void on_accept(void *ctx, struct quic_conn *c)
{
	(void)ctx;
	world.edge_start.quic = world.edge_conn = c;
	world.edge = quic_transport.start(loop, &world.edge_start);
}

static void on_connected(void *ctx, struct quic_conn *c, const struct err *err)
{
	(void)ctx;
	if (!c)
		fail_msg("%s", err->text);
	world.connector_start.quic = world.connector_conn = c;
	world.connector = quic_transport.start(loop, &world.connector_start);
}

/* --- Two sessions ---------------------------------------------------------------------------- */

static void start(const struct bytes *features, size_t count)
{
	struct registration registration = registration_with(features, count);
	struct address at, from;

	memset(&world, 0, sizeof(world));
	world.edge_start = (struct session_start){ .side = SESSION_EDGE, .events = &session_events };
	world.connector_start = (struct session_start){ .side = SESSION_CONNECTOR,
							.events = &session_events,
							.registration = &registration };
	world.server = tunnel_endpoint_new(loop, open_udp(&at), server_options(), on_accept, NULL);
	world.client = tunnel_endpoint_new(loop, open_udp(&from), NULL, NULL, NULL);
	tunnel_connect(world.client, &at, client_tls, BYTES_LIT("quic.cftunnel.com"), on_connected,
		       NULL);
	WAIT_FOR(world.registered);
}

static void start_way(enum way way)
{
	static const struct bytes v2[] = { BYTES_LIT("support_datagram_v2"),
					   BYTES_LIT(FEATURE_UDP) };
	static const struct bytes v3[] = { BYTES_LIT("support_datagram_v2"),
					   BYTES_LIT("support_datagram_v3_2") };

	if (way == BY_DATAGRAM)
		start(v3, 2);
	else
		start(v2, 2);
}

static void stop(void)
{
	if (world.edge)
		session_close(world.edge, REASON_DONE);
	WAIT_FOR(world.closed == 2);
	for (size_t i = 0; i < world.edge_count; i++)
		assert_null(world.edge_flows[i].f);
	for (size_t i = 0; i < world.connector_count; i++)
		assert_null(world.connector_flows[i].f);
	tunnel_endpoint_free(world.client);
	tunnel_endpoint_free(world.server);
}

static struct seen *open_flow_idle(enum way way, int64_t idle_ms)
{
	struct udp_target target = { .client = address_at("192.0.2.7:5353") };
	struct seen *seen = &world.edge_flows[world.edge_count++];

	if (way == BY_HOSTNAME)
		target.hostname = BYTES_LIT("dns.example.com");
	else
		target.ip = address_at("10.0.0.5:53");
	assert_true(session_can_open_udp(world.edge, way == BY_HOSTNAME));
	seen->f = session_open_udp(world.edge, &target, idle_ms, &flow_events, seen);
	assert_non_null(seen->f);
	return seen;
}

static struct seen *open_flow(enum way way)
{
	return open_flow_idle(way, 0);
}

static void send_text(struct seen *seen, const char *text)
{
	assert_true(udp_flow_send(seen->f, bytes_str(text)));
}

static void end_flow(struct seen *seen)
{
	udp_flow_close(seen->f, REASON_DONE, BYTES_NONE);
	seen->f = NULL;
}

/* Datagrams of a flow that is gone are dropped on either side: which says that the other has heard of it. */
static bool is_over(const struct seen *seen)
{
	return seen->f == NULL;
}

#define FOR_EACH_WAY(way) \
	for (enum way way = BY_RPC; way < WAYS && (print_message("%s\n", way_names[way]), 1); way++)

/* --- Flows ----------------------------------------------------------------------------------- */

static void carries_datagrams_both_ways(void **state)
{
	char text[ADDRESS_TEXT_SIZE];

	(void)state;
	FOR_EACH_WAY(way)
	{
		start_way(way);
		world.echoes = true;
		struct seen *edge = open_flow(way), *connector = &world.connector_flows[0];
		send_text(edge, "early");
		WAIT_FOR(edge->got == 1);
		assert_string_equal(edge->last, "early");
		assert_int_equal(edge->opened, 1);
		assert_int_equal(world.connector_count, 1);
		if (way == BY_HOSTNAME) {
			assert_string_equal(connector->hostname, "dns.example.com");
			assert_string_equal(address_text(&connector->target.client, text),
					    "192.0.2.7:5353");
		} else {
			assert_int_equal(connector->target.hostname.len, 0);
			assert_string_equal(address_text(&connector->target.ip, text),
					    "10.0.0.5:53");
		}
		send_text(edge, "late");
		WAIT_FOR(edge->got == 2);
		assert_string_equal(edge->last, "late");
		assert_true(udp_flow_send(edge->f, BYTES_NONE));
		WAIT_FOR(edge->got == 3);
		assert_int_equal(edge->last_len, 0);
		assert_int_equal(edge->f->sent, 3);
		assert_int_equal(edge->f->received, 3);
		end_flow(edge);
		if (way != BY_DATAGRAM)
			WAIT_FOR(is_over(connector));
		stop();
	}
}

static void ipv6_targets_travel(void **state)
{
	char text[ADDRESS_TEXT_SIZE];

	(void)state;
	for (enum way way = BY_RPC; way <= BY_DATAGRAM; way++) {
		start_way(way);
		struct udp_target target = { .ip = address_at("[fd00::5]:5353") };
		struct seen *seen = &world.edge_flows[world.edge_count++];
		seen->f = session_open_udp(world.edge, &target, 0, &flow_events, seen);
		WAIT_FOR(seen->opened == 1);
		assert_string_equal(address_text(&world.connector_flows[0].target.ip, text),
				    "[fd00::5]:5353");
		stop();
	}
}

static void early_datagrams_are_bounded_and_keep_their_order(void **state)
{
	(void)state;
	FOR_EACH_WAY(way)
	{
		start_way(way);
		struct seen *edge = open_flow(way);
		for (uint32_t i = 0; i < LIMIT_UDP_FLOW_EARLY; i++)
			assert_true(udp_flow_send(edge->f, bytes_of(&i, sizeof(i))));
		assert_false(udp_flow_send(edge->f, BYTES_LIT("one too many")));
		assert_int_equal(edge->f->no_room, 1);
		WAIT_FOR(world.connector_flows[0].got == LIMIT_UDP_FLOW_EARLY);
		assert_false(world.connector_flows[0].is_disordered);
		stop();
	}
}

static void the_connector_refuses_with_a_reason(void **state)
{
	static const enum reason whys[] = { REASON_REFUSED, REASON_FLOOD, REASON_FAILED };

	(void)state;
	FOR_EACH_WAY(way)
	{
		start_way(way);
		world.refuse_text = "no such thing";
		for (size_t i = 0; i < ARRAY_LEN(whys); i++) {
			world.refuse_why = whys[i];
			struct seen *edge = open_flow(way);
			WAIT_FOR(edge->closed);
			assert_int_equal(edge->opened, 0);
			assert_string_equal(edge->text, "no such thing");
			if (way == BY_HOSTNAME)
				assert_int_equal(edge->why, whys[i]);
			else if (way == BY_DATAGRAM && whys[i] == REASON_FLOOD)
				assert_int_equal(edge->why, REASON_FLOOD);
			else
				assert_int_equal(edge->why, REASON_REFUSED);
		}
		assert_int_equal(world.offered, 3);
		stop();
	}
}

static void the_connector_may_answer_later(void **state)
{
	(void)state;
	FOR_EACH_WAY(way)
	{
		start_way(way);
		world.keeps_waiting = true;
		struct seen *edge = open_flow(way), *connector = &world.connector_flows[0];
		send_text(edge, "early");
		WAIT_FOR(world.connector_count == 1);
		assert_false(udp_flow_send(connector->f, BYTES_LIT("too soon")));
		udp_flow_accept(connector->f);
		WAIT_FOR(connector->got == 1);
		assert_int_equal(edge->opened, 1);
		stop();
	}
}

static void a_connector_that_never_answers_is_given_up(void **state)
{
	(void)state;
	FOR_EACH_WAY(way)
	{
		start_way(way);
		world.keeps_waiting = true;
		struct seen *edge = open_flow(way), *connector = &world.connector_flows[0];
		WAIT_FOR(edge->closed);
		assert_int_equal(edge->why, REASON_TIMEOUT);
		if (way != BY_DATAGRAM)
			WAIT_FOR(connector->closed);
		stop();
	}
}

static void the_end_at_the_connector_reaches_the_edge(void **state)
{
	(void)state;
	FOR_EACH_WAY(way)
	{
		if (way == BY_DATAGRAM)
			continue; /* there is no word for it */
		start_way(way);
		struct seen *edge = open_flow(way), *connector = &world.connector_flows[0];
		WAIT_FOR(edge->opened);
		udp_flow_close(connector->f, REASON_FAILED, BYTES_LIT("socket closed"));
		connector->f = NULL;
		WAIT_FOR(edge->closed);
		assert_int_equal(edge->why, way == BY_HOSTNAME ? REASON_FAILED : REASON_DONE);
		assert_string_equal(edge->text, "socket closed");
		stop();
	}
}

static void flows_end_when_they_are_idle(void **state)
{
	(void)state;
	FOR_EACH_WAY(way)
	{
		start_way(way);
		struct seen *edge = open_flow_idle(way, 100), *connector = &world.connector_flows[0];
		WAIT_FOR(edge->closed);
		assert_int_equal(edge->opened, 1);
		assert_int_equal(edge->why, REASON_TIMEOUT);
		if (way != BY_DATAGRAM) {
			WAIT_FOR(connector->closed);
			assert_int_equal(connector->why, REASON_DONE);
		}
		/* And when the connector wants it sooner. */
		edge = open_flow(way);
		WAIT_FOR(edge->opened);
		connector = &world.connector_flows[1];
		udp_flow_limit_idle(connector->f, 50);
		WAIT_FOR(connector->closed);
		assert_int_equal(connector->why, REASON_TIMEOUT);
		if (way == BY_DATAGRAM) {
			end_flow(edge);
		} else {
			WAIT_FOR(edge->closed);
			assert_int_equal(edge->why,
					 way == BY_HOSTNAME ? REASON_TIMEOUT : REASON_DONE);
		}
		stop();
	}
}

static void what_is_too_large_is_dropped_and_counted(void **state)
{
	static const uint8_t zeroes[4096];

	(void)state;
	FOR_EACH_WAY(way)
	{
		start_way(way);
		struct seen *edge = open_flow(way), *connector = &world.connector_flows[0];
		WAIT_FOR(edge->opened);
		size_t max = udp_flow_max_payload(edge->f);
		print_message("  at most %zu bytes\n", max);
		assert_true(max >= 1100);
		if (way != BY_HOSTNAME)
			assert_true(max <= DATAGRAM_PAYLOAD_BYTES);
		assert_true(udp_flow_send(edge->f, bytes_of(zeroes, max)));
		WAIT_FOR(connector->got == 1);
		assert_int_equal(connector->last_len, max);
		assert_false(udp_flow_send(edge->f, bytes_of(zeroes, sizeof(zeroes))));
		assert_false(udp_flow_send(connector->f, bytes_of(zeroes, sizeof(zeroes))));
		assert_int_equal(edge->f->too_large, 1);
		assert_int_equal(connector->f->too_large, 1);
		stop();
	}
}

/* Paced by what has come back, as on a path that is not full. */
static void loses_nothing_on_a_path_that_loses_nothing(void **state)
{
	enum { ALL = 10000, AHEAD = 100 };

	(void)state;
	FOR_EACH_WAY(way)
	{
		start_way(way);
		world.echoes = true;
		struct seen *edge = open_flow(way);
		WAIT_FOR(edge->opened);
		for (uint32_t i = 0; i < ALL; i++) {
			assert_true(udp_flow_send(edge->f, bytes_of(&i, sizeof(i))));
			if (i >= AHEAD)
				WAIT_FOR(edge->got >= i - AHEAD);
		}
		WAIT_FOR(edge->got == ALL);
		assert_int_equal(world.connector_flows[0].got, ALL);
		assert_false(edge->is_disordered);
		assert_false(world.connector_flows[0].is_disordered);
		stop();
	}
}

static void the_end_of_the_session_ends_its_flows(void **state)
{
	(void)state;
	FOR_EACH_WAY(way)
	{
		start_way(way);
		struct seen *open = open_flow(way);
		WAIT_FOR(open->opened);
		world.keeps_waiting = true;
		struct seen *waiting = open_flow(way);
		WAIT_FOR(world.connector_count == 2);
		session_close(world.edge, REASON_FAILED);
		WAIT_FOR(world.closed == 2);
		assert_int_equal(open->why, REASON_LOST);
		assert_int_equal(waiting->why, REASON_LOST);
		for (size_t i = 0; i < 2; i++)
			assert_int_equal(world.connector_flows[i].why, REASON_LOST);
		stop();
	}
}

static void a_leaving_connector_waits_until_its_flows_have_moved(void **state)
{
	(void)state;
	FOR_EACH_WAY(way)
	{
		start_way(way);
		struct seen *edge = open_flow(way), *other = open_flow(way);
		WAIT_FOR(edge->opened && other->opened);
		session_drain(world.connector);
		if (way == BY_DATAGRAM) {
			/* Nobody would ever tell it. */
			WAIT_FOR(world.closed == 2);
			stop();
			continue;
		}
		WAIT_FOR(edge->draining == 1 && other->draining == 1);
		assert_false(session_can_open_udp(world.edge, way == BY_HOSTNAME));
		send_text(edge, "still here");
		WAIT_FOR(world.connector_flows[0].got == 1);
		end_flow(edge);
		end_flow(other);
		WAIT_FOR(world.closed == 2);
		stop();
	}
}

static void sessions_say_what_they_can(void **state)
{
	static const struct bytes none[] = { BYTES_LIT("allow_remote_config") };
	static const struct bytes stock[] = { BYTES_LIT("support_datagram_v2") };
	const struct udp_target by_name = { .hostname = BYTES_LIT("a.example") };
	const struct udp_target by_ip = { .ip = address_at("10.0.0.1:1") };

	(void)state;
	start(none, 1);
	assert_false(session_can_open_udp(world.edge, true));
	assert_false(session_can_open_udp(world.edge, false));
	assert_null(session_open_udp(world.edge, &by_ip, 0, &flow_events, NULL));
	assert_false(session_can_open_udp(world.connector, false));
	stop();
	start(stock, 1);
	assert_false(session_can_open_udp(world.edge, true));
	assert_true(session_can_open_udp(world.edge, false));
	assert_null(session_open_udp(world.edge, &by_name, 0, &flow_events, NULL));
	stop();
}

/* --- Hostile peers --------------------------------------------------------------------------- */

static void send_raw(struct quic_conn *from, struct bytes datagram)
{
	assert_true(quic_send_datagram(from, datagram));
}

static void datagrams_of_nobody_are_dropped_and_counted(void **state)
{
	static const uint8_t v2_unknown[] = {
		'x', 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 0
	};
	static const uint8_t v2_icmp[] = { 0x45, 0, 0, 1 }, v2_bad[] = { 1, 2, 9 },
			     v2_short[] = { 0 };
	static const uint8_t v3_unknown[] = {
		1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 'x'
	};
	static const uint8_t v3_icmp[] = { 2, 0x45, 0, 0 }, v3_bad[] = { 9, 2, 9 };
	/* A registration cut short by one byte, which would end a stock connector. */
	static const uint8_t v3_short[25] = { 0 };

	(void)state;
	for (enum way way = BY_RPC; way <= BY_DATAGRAM; way++) {
		start_way(way);
		bool is_v3 = way == BY_DATAGRAM;
		struct quic_conn *const ends[] = { world.edge_conn, world.connector_conn };
		for (size_t i = 0; i < 2; i++) {
			send_raw(ends[i], is_v3 ? bytes_of(v3_unknown, sizeof(v3_unknown))
						: bytes_of(v2_unknown, sizeof(v2_unknown)));
			send_raw(ends[i], is_v3 ? bytes_of(v3_icmp, sizeof(v3_icmp))
						: bytes_of(v2_icmp, sizeof(v2_icmp) - 0));
			send_raw(ends[i], is_v3 ? bytes_of(v3_bad, sizeof(v3_bad))
						: bytes_of(v2_bad, sizeof(v2_bad)));
			send_raw(ends[i], is_v3 ? bytes_of(v3_short, sizeof(v3_short))
						: bytes_of(v2_short, sizeof(v2_short)));
			send_raw(ends[i], BYTES_NONE);
			unsigned *counts =
				i == 0 ? world.dropped_at_connector : world.dropped_at_edge;
			WAIT_FOR(counts[UDP_DROP_UNKNOWN_FLOW] == 1 && counts[UDP_DROP_ICMP] == 1 &&
				 counts[UDP_DROP_MALFORMED] == 3);
		}
		assert_int_equal(world.offered, 0);
		stop();
	}
}

static void stock_flows_take_no_more_than_the_stock_wire_allows(void **state)
{
	struct datagram_v3 registration = { .type = DATAGRAM_V3_REGISTER,
					    .flow = { 5 },
					    .address = BYTES_LIT("\x0a\x00\x00\x01"),
					    .port = 53 };
	uint8_t large[DATAGRAM_PAYLOAD_BYTES + 1 + DATAGRAM_OVERHEAD] = { DATAGRAM_V3_PAYLOAD, 5 };
	struct buf out;

	(void)state;
	start_way(BY_DATAGRAM);
	buf_init(&out, 100);
	assert_int_equal(datagram_v3_encode(&out, &registration), 0);
	send_raw(world.edge_conn, buf_bytes(&out));
	WAIT_FOR(world.connector_count == 1);
	WAIT_FOR(world.dropped_at_edge[UDP_DROP_UNKNOWN_FLOW] == 1); /* the answer */
	send_raw(world.edge_conn, bytes_of(large, sizeof(large)));
	WAIT_FOR(world.dropped_at_connector[UDP_DROP_TOO_LARGE] == 1);
	send_raw(world.edge_conn, bytes_of(large, sizeof(large) - 1));
	WAIT_FOR(world.connector_flows[0].got == 1);
	/* Again: its answer may have been lost. Nobody is asked twice. */
	send_raw(world.edge_conn, buf_bytes(&out));
	WAIT_FOR(world.dropped_at_edge[UDP_DROP_UNKNOWN_FLOW] == 2);
	assert_int_equal(world.offered, 1);
	buf_done(&out);
	stop();
}

static struct udp_flow *held[LIMIT_UDP_FLOWS + 1];
static size_t held_count;

static void on_held_datagram(struct udp_flow *f, struct bytes payload)
{
	(void)f;
	(void)payload;
}

static const struct udp_flow_events held_events = { .on_datagram = on_held_datagram };

static void on_udp_held(struct session *s, struct udp_flow *f, const struct udp_target *target)
{
	(void)s;
	(void)target;
	f->events = &held_events;
	held[held_count++] = f;
	happened();
}

static void a_flood_of_registrations_is_bounded(void **state)
{
	static struct session_events events;
	struct datagram_v3 registration = { .type = DATAGRAM_V3_REGISTER,
					    .address = BYTES_LIT("\x0a\x00\x00\x01"),
					    .port = 53 };

	(void)state;
	start_way(BY_DATAGRAM);
	events = session_events;
	events.on_udp = on_udp_held;
	world.connector->events = &events;
	held_count = 0;
	for (uint32_t i = 0; i < LIMIT_UDP_FLOWS + 10; i++) {
		struct buf out;
		buf_init(&out, 100);
		memcpy(registration.flow, &i, sizeof(i));
		assert_int_equal(datagram_v3_encode(&out, &registration), 0);
		send_raw(world.edge_conn, buf_bytes(&out));
		buf_done(&out);
		if (i % 100 == 99 && i < LIMIT_UDP_FLOWS)
			WAIT_FOR(held_count == i + 1);
	}
	/* The others are told so, and the edge does not know what about. */
	WAIT_FOR(world.dropped_at_edge[UDP_DROP_UNKNOWN_FLOW] == 10);
	assert_int_equal(held_count, LIMIT_UDP_FLOWS);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(carries_datagrams_both_ways),
		cmocka_unit_test(ipv6_targets_travel),
		cmocka_unit_test(early_datagrams_are_bounded_and_keep_their_order),
		cmocka_unit_test(the_connector_refuses_with_a_reason),
		cmocka_unit_test(the_connector_may_answer_later),
		cmocka_unit_test(a_connector_that_never_answers_is_given_up),
		cmocka_unit_test(the_end_at_the_connector_reaches_the_edge),
		cmocka_unit_test(flows_end_when_they_are_idle),
		cmocka_unit_test(what_is_too_large_is_dropped_and_counted),
		cmocka_unit_test(loses_nothing_on_a_path_that_loses_nothing),
		cmocka_unit_test(the_end_of_the_session_ends_its_flows),
		cmocka_unit_test(a_leaving_connector_waits_until_its_flows_have_moved),
		cmocka_unit_test(sessions_say_what_they_can),
		cmocka_unit_test(datagrams_of_nobody_are_dropped_and_counted),
		cmocka_unit_test(stock_flows_take_no_more_than_the_stock_wire_allows),
		cmocka_unit_test(a_flood_of_registrations_is_bounded),
	};
	make_tls(NULL);
	int failed = cmocka_run_group_tests(tests, make_loop, free_loop);
	drop_tls(NULL);
	return failed;
}
