/* The short calls of an edge, byte for byte as the stock edge and connector exchange them (tests/data/vectors.json): a
 * raw QUIC server says one half, our connector must say the other. */
#include "quic_ends.h"

#include "transport/control.h"
#include "unit/wire/vectors.h"

static struct {
	struct quic_endpoint *server;
	struct tunnel_endpoint *client;
	struct session_start start;
	struct session *connector;
	struct quic_conn *conn; /* the server's */
	struct control *control;
	struct quic_stream *control_stream;
	bool registered, closed, call_ended;
	struct buf heard; /* what the connector said on a call's stream */
	struct udp_target target;
	int64_t calls; /* of the connector's own, for the edge */
	struct udp_flow *flow;
	unsigned offered, ended;
	const char *refusal;
} world;

static json_t *vectors;

/* --- The raw edge ---------------------------------------------------------------------------- */

static void on_register(void *ctx, const struct registration *r)
{
	(void)r;
	(void)ctx;
	assert_true(control_reply(world.control,
				  &(struct registered){ .ok = true,
							.connection = { { 42 } },
							.location = BYTES_LIT("here") }));
}

static const struct control_events control_events = { .on_register = on_register };

static void on_accept(struct quic_endpoint *e, struct quic_conn *c)
{
	(void)e;
	world.conn = c;
	world.control = control_new(SESSION_EDGE, &control_events, NULL, NULL);
}

static void on_stream(struct quic_conn *c, struct quic_stream *st)
{
	(void)c;
	if (quic_stream_id(st) == 0)
		world.control_stream = st;
	else
		world.calls++;
}

static void on_data(struct quic_stream *st, struct bytes data, bool fin)
{
	struct bytes out;

	quic_stream_consume(st, data.len);
	if (st == world.control_stream) {
		assert_int_equal(control_feed(world.control, data, NULL), 0);
		while ((out = control_output(world.control)).len)
			control_sent(world.control, quic_stream_write(st, out, false));
		return;
	}
	assert_int_equal(buf_append(&world.heard, data), 0);
	world.call_ended |= fin;
	happened();
}

static void on_stream_closed(struct quic_stream *st, uint64_t code)
{
	(void)code;
	if (st == world.control_stream)
		world.control_stream = NULL;
}

static void on_conn_closed(struct quic_conn *c, const struct err *why)
{
	(void)c;
	(void)why;
	world.conn = NULL;
	world.control = control_free(world.control);
	happened();
}

static const struct quic_events raw_events = {
	.on_accept = on_accept,
	.on_stream = on_stream,
	.on_data = on_data,
	.on_stream_closed = on_stream_closed,
	.on_closed = on_conn_closed,
};

/* --- Our connector --------------------------------------------------------------------------- */

static void on_flow_closed(struct udp_flow *f, enum reason why, struct bytes text)
{
	assert_ptr_equal(f, world.flow);
	(void)text;
	assert_int_equal(why, world.conn ? REASON_DONE : REASON_LOST);
	world.flow = NULL;
	world.ended++;
	happened();
}

static const struct udp_flow_events flow_events = { .on_closed = on_flow_closed };

static void on_udp(struct session *s, struct udp_flow *f, const struct udp_target *target)
{
	(void)s;
	world.offered++;
	world.target = *target;
	if (world.refusal) {
		udp_flow_close(f, REASON_REFUSED, bytes_str(world.refusal));
		return;
	}
	world.flow = f;
	f->events = &flow_events;
	udp_flow_accept(f);
}

static void on_registered(struct session *s, const struct registered *r)
{
	(void)s;
	world.registered = r->ok;
	happened();
}

static void on_closed(struct session *s, enum reason why, const struct err *err)
{
	(void)s;
	(void)why;
	(void)err;
	world.closed = true;
	happened();
}

static const struct session_events session_events = {
	.on_registered = on_registered,
	.on_udp = on_udp,
	.on_closed = on_closed,
};

static void on_connected(void *ctx, struct quic_conn *c, const struct err *err)
{
	(void)ctx;
	if (!c)
		fail_msg("%s", err->text);
	world.start.quic = c;
	world.connector = quic_transport.start(loop, &world.start);
}

static void begin(const char *feature)
{
	const struct bytes features[] = { bytes_str(feature) };
	struct registration registration = registration_with(features, 1);
	struct quic_limits limits;
	struct address at, from;

	registration.index = 1; /* no configuration is sent */
	memset(&world, 0, sizeof(world));
	buf_init(&world.heard, 65536);
	world.start = (struct session_start){ .side = SESSION_CONNECTOR,
					      .events = &session_events,
					      .registration = &registration };
	quic_limits_default(&limits);
	world.server = quic_endpoint_new(loop, open_udp(&at), &limits, server_options(),
					 &raw_events, NULL);
	world.client = tunnel_endpoint_new(loop, open_udp(&from), NULL, NULL, NULL);
	tunnel_connect(world.client, &at, client_tls, BYTES_LIT("quic.cftunnel.com"), on_connected,
		       NULL);
	WAIT_FOR(world.registered);
}

static void finish(void)
{
	quic_conn_close(world.conn, 0, "");
	WAIT_FOR(world.closed && !world.conn);
	tunnel_endpoint_free(world.client);
	quic_endpoint_free(world.server);
	buf_done(&world.heard);
}

/* --- Calls ----------------------------------------------------------------------------------- */

/* All messages of one side, in their order. */
static void append_said(struct buf *out, const char *group, const char *direction)
{
	size_t i;
	json_t *v;

	json_array_foreach(vectors, i, v)
	{
		if (strcmp(vector_text(v, "group"), group) == 0 &&
		    strcmp(vector_text(v, "direction"), direction) == 0)
			vector_bytes(v, out);
	}
	assert_true(out->len > 0);
}

/* One byte at a time, or all at once. */
static void call(const char *group, bool in_pieces)
{
	struct buf out;

	buf_init(&out, 65536);
	append_said(&out, group, "edge->connector");
	world.heard.len = 0;
	world.call_ended = false;
	struct quic_stream *st = quic_open(world.conn, NULL);
	assert_non_null(st);
	for (size_t i = 0; in_pieces && i + 1 < out.len; i++) {
		assert_int_equal(quic_stream_write(st, bytes_of(out.ptr + i, 1), false), 1);
		if (i % 16 == 0)
			let_it_turn();
	}
	struct bytes rest = in_pieces ? bytes_of(out.ptr + out.len - 1, 1) : buf_bytes(&out);
	assert_int_equal(quic_stream_write(st, rest, true), rest.len);
	buf_done(&out);
	WAIT_FOR(world.call_ended);
}

static void assert_answered_as(const char *group)
{
	struct buf want;

	buf_init(&want, 65536);
	append_said(&want, group, "connector->edge");
	assert_bytes_equal(buf_bytes(&world.heard), buf_bytes(&want));
	buf_done(&want);
}

static void registrations_are_answered_as_the_stock_connector_does(void **state)
{
	char text[ADDRESS_TEXT_SIZE];

	(void)state;
	for (int in_pieces = 0; in_pieces <= 1; in_pieces++) {
		begin("support_datagram_v2");
		call("quic-registerUdpSession-ok", in_pieces);
		assert_answered_as("quic-registerUdpSession-ok");
		assert_int_equal(world.offered, 1);
		assert_string_equal(address_text(&world.target.ip, text), "10.1.2.3:5353");
		/* Once more is one too many. */
		call("quic-registerUdpSession-ok", in_pieces);
		assert_int_equal(world.offered, 1);
		call("quic-unregisterUdpSession-ok", in_pieces);
		assert_answered_as("quic-unregisterUdpSession-ok");
		assert_int_equal(world.ended, 1);
		call("quic-registerUdpSession-traced-ipv6", in_pieces);
		assert_answered_as("quic-registerUdpSession-traced-ipv6");
		assert_int_equal(world.target.ip.any.sa_family, AF_INET6);
		finish();
		assert_int_equal(world.ended, 2);
	}
}

static void version_3_knows_no_such_calls(void **state)
{
	(void)state;
	begin("support_datagram_v3_2");
	call("quic-registerUdpSession-err", false);
	assert_answered_as("quic-registerUdpSession-err");
	call("quic-unregisterUdpSession-exception", false);
	assert_answered_as("quic-unregisterUdpSession-exception");
	assert_int_equal(world.offered, 0);
	finish();
}

static void a_refusal_is_an_answer(void **state)
{
	(void)state;
	begin("support_datagram_v2");
	world.refusal = "not here";
	call("quic-registerUdpSession-ok", false);
	assert_non_null(memmem(world.heard.ptr, world.heard.len, "not here", 9));
	finish();
}

static void a_configuration_is_refused_in_words(void **state)
{
	(void)state;
	begin("support_datagram_v2");
	call("quic-updateConfiguration-ok", false);
	assert_non_null(memmem(world.heard.ptr, world.heard.len, "its own file", 12));
	finish();
}

static void the_connector_calls_when_a_session_ends(void **state)
{
	struct buf want;

	(void)state;
	begin("support_datagram_v2");
	call("quic-registerUdpSession-ok", false);
	world.heard.len = 0;
	udp_flow_close(world.flow, REASON_TIMEOUT, BYTES_LIT("session idle for 2s"));
	world.flow = NULL;
	buf_init(&want, 65536);
	append_said(&want, "quic-connector-unregisterUdpSession", "connector->edge");
	/* The signature and the bootstrap: ids and text are the vector's own. */
	WAIT_FOR(world.heard.len > 0 &&
		 memmem(world.heard.ptr, world.heard.len, "session idle for 2s", 20));
	assert_int_equal(world.calls, 1);
	assert_memory_equal(world.heard.ptr, want.ptr, 6 + 48);
	buf_done(&want);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registrations_are_answered_as_the_stock_connector_does),
		cmocka_unit_test(version_3_knows_no_such_calls),
		cmocka_unit_test(a_refusal_is_an_answer),
		cmocka_unit_test(a_configuration_is_refused_in_words),
		cmocka_unit_test(the_connector_calls_when_a_session_ends),
	};
	make_tls(NULL);
	vectors = vectors_load();
	int failed = cmocka_run_group_tests(tests, make_loop, free_loop);
	json_decref(vectors);
	drop_tls(NULL);
	return failed;
}
