/* The QUIC driver: the table that every driver passes, over loopback sockets, and what QUIC has beyond it. */
#include "transport_cases.h"

#include <fcntl.h>
#include <unistd.h>

#include "io/udp.h"
#include "tls/authority.h"
#include "transport/quic_endpoint.h"

static struct tls_certificate *certificate;
static struct tls_context *server_tls, *client_tls;
static struct tunnel_endpoint *server, *client;
static struct address client_address;
static int server_fd, client_fd; /* borrowed */
static struct session_start edge_start, connector_start;
static struct line *starting;

static struct tls_certificate *choose(void *ctx, struct bytes server_name)
{
	(void)ctx;
	(void)server_name;
	return certificate;
}

static int make_tls(void **state)
{
	static const char *const alpn[] = { "argotunnel", NULL };
	const char *names[] = { "quic.cftunnel.com" };
	struct authority_pair ca, leaf;

	(void)state;
	tls_global_init();
	assert_int_equal(authority_create("Test CA", &ca, NULL), 0);
	assert_int_equal(authority_issue(&ca, names, 1, 30, &leaf, NULL), 0);
	certificate = tls_certificate_load(bytes_str(leaf.cert_pem), bytes_str(leaf.key_pem), NULL);
	const struct tls_client_options options = { .ca_pem = bytes_str(ca.cert_pem), .alpn = alpn };
	server_tls = tls_context_server(choose, NULL, NULL, alpn, NULL);
	client_tls = tls_context_client(&options, NULL);
	assert_non_null(server_tls);
	assert_non_null(client_tls);
	authority_pair_done(&ca);
	authority_pair_done(&leaf);
	return 0;
}

static int drop_tls(void **state)
{
	(void)state;
	tls_context_unref(server_tls);
	tls_context_unref(client_tls);
	tls_certificate_unref(certificate);
	return 0;
}

/* --- A line ---------------------------------------------------------------------------------- */

static void on_accept(void *ctx, struct quic_conn *c)
{
	(void)ctx;
	edge_start.quic = c;
	starting->edge.s = quic_transport.start(starting->loop, &edge_start);
}

static void on_connected(void *ctx, struct quic_conn *c, const struct err *err)
{
	(void)ctx;
	if (!c)
		fail_msg("%s", err->text);
	connector_start.quic = c;
	starting->connector.s = quic_transport.start(starting->loop, &connector_start);
}

static int open_udp(struct address *ret)
{
	assert_int_equal(address_parse(BYTES_LIT("127.0.0.1:0"), ret, NULL), 0);
	int fd = udp_open(ret, false, NULL);
	assert_true(fd >= 0);
	return fd;
}

static const struct driver_traits traits = {
	.config_is_no_stream = true,
	.send_queue = LIMIT_QUIC_SEND_QUEUE,
};

static void make_line(struct line *line, const struct session_start *edge,
		      const struct session_start *connector)
{
	static const uint8_t secret[32] = { 7 };
	const struct quic_server_options options = { .tls = server_tls,
						     .retry_above = 1000,
						     .secret = { secret, 32 } };
	struct address at;

	edge_start = *edge;
	connector_start = *connector;
	starting = line;
	server_fd = open_udp(&at);
	client_fd = open_udp(&client_address);
	server = tunnel_endpoint_new(line->loop, server_fd, &options, on_accept, NULL);
	client = tunnel_endpoint_new(line->loop, client_fd, NULL, NULL, NULL);
	tunnel_connect(client, &at, client_tls, BYTES_LIT("quic.cftunnel.com"), on_connected, NULL);
}

/* Anything that has moved since the last look. */
static uint64_t progress(const struct line *line)
{
	uint64_t sum = line->told + line->edge.closed + line->connector.closed +
		       line->edge.draining + line->connector.draining;

	const struct end *const ends[] = { &line->edge, &line->connector };
	for (size_t e = 0; e < ARRAY_LEN(ends); e++) {
		sum += ends[e]->count;
		for (size_t i = 0; i < ends[e]->count; i++) {
			const struct side *side = ends[e]->sides[i];
			sum += side->got + side->sent + side->has_head + side->fin + side->closed;
		}
	}
	return sum;
}

static void on_tick(struct timer *t)
{
	loop_stop(t->loop);
}

/* The path has delays of its own (acknowledgements wait for 25 ms, packets are paced): over when a while has
 * brought nothing. */
static void settle(struct line *line)
{
	struct timer tick;
	uint64_t before;
	int quiet = 0;

	timer_init(&tick, line->loop, on_tick);
	do {
		before = progress(line);
		timer_set(&tick, 30);
		loop_run(line->loop);
		quiet = progress(line) == before ? quiet + 1 : 0;
	} while (quiet < 3);
}

static void drop_line(struct line *line)
{
	(void)line;
	client = tunnel_endpoint_free(client);
	server = tunnel_endpoint_free(server);
}

/* --- A registered connector that is hostile --------------------------------------------------- */

/* What a connector says on streams that nobody has asked for. */
static void unasked_streams_are_bounded(void **state)
{
	static const char *const words[] = {
		"GET / HTTP/1.1\r\n\r\n",
		"\x0a\x36\xcd\x12\xa1\x3e\x30\x31\0\0\0\0\xff\xff\xff\xff", /* data: only edges ask */
		"\x52\xbb\x82\x5c\xdb\x65\xff\xff\xff\xff\xff\xff",         /* a call of nonsense */
		"\x0a",
		"",
	};
	static const size_t lengths[] = { 18, 16, 12, 1, 0 };
	struct line *line = line_new(true);
	size_t opened = 0, held_open = 0;

	(void)state;
	for (size_t i = 0; i < 500; i++) {
		struct quic_stream *q = quic_open(connector_start.quic, NULL);
		if (q) {
			opened++;
			(void)quic_stream_write(q, bytes_of(words[i % 5], lengths[i % 5]), true);
		}
		if (i % 10 == 9)
			settle(line);
	}
	assert_true(opened >= 400);
	/* And those that say nothing, or not enough. */
	while (quic_open(connector_start.quic, NULL))
		held_open++;
	settle(line);
	assert_in_range(held_open, 1, 16);
	assert_false(line->edge.closed);
	assert_true(session_can_open(line->edge.s));
	struct side *e = open_get(line);
	settle(line);
	answer_status(newest(line), 204, true);
	settle(line);
	assert_int_equal(e->answer.head ? e->head.status : 0, 204);
	line_free(line);
}

static void a_connector_that_never_reads_holds_up_nobody_else(void **state)
{
	struct line *line = line_new(true);
	struct side *stuck[40];

	(void)state;
	line->connector.keep_credit = true;
	for (size_t i = 0; i < ARRAY_LEN(stuck); i++) {
		const struct head head = { .method = BYTES_LIT("POST"),
					   .authority = BYTES_LIT("app.example.com"),
					   .path = BYTES_LIT("/"),
					   .length = HEAD_LENGTH_UNKNOWN };
		stuck[i] = open_kind(line, STREAM_HTTP, &head, false);
		send_bytes(stuck[i], 16 * 1024 * 1024, true);
	}
	settle(line);
	size_t taken = 0;
	for (size_t i = 0; i < ARRAY_LEN(stuck); i++) {
		assert_in_range(stuck[i]->sent, 1, 16 * 1024 * 1024 - 1);
		taken += stuck[i]->sent;
	}
	assert_true(taken < 40 * (LIMIT_QUIC_STREAM_WINDOW_MAX + (size_t)LIMIT_QUIC_UNSENT));
	line->connector.keep_credit = false;
	struct side *e = open_get(line);
	settle(line);
	answer_status(newest(line), 200, true);
	settle(line);
	assert_true(e->has_head && e->fin);
	for (size_t i = 0; i < ARRAY_LEN(stuck); i++)
		stream_reset(stuck[i]->st, REASON_CANCELLED);
	settle(line);
	assert_int_equal(session_stream_count(line->edge.s), 0);
	line_free(line);
}

static void a_reset_does_not_overtake_what_was_ended(void **state)
{
	struct line *line = line_new(true);
	const struct head head = { .method = BYTES_LIT("POST"),
				   .authority = BYTES_LIT("app.example.com"),
				   .path = BYTES_LIT("/"),
				   .length = HEAD_LENGTH_UNKNOWN };
	struct side *e = open_kind(line, STREAM_HTTP, &head, false);

	(void)state;
	settle(line);
	answer_status(newest(line), 200, true);
	settle(line);
	assert_true(e->fin);
	send_bytes(e, 100000, true);
	assert_int_equal(e->sent, 100000);
	stream_reset(e->st, REASON_DONE);
	settle(line);
	assert_int_equal(newest(line)->got, 100000);
	assert_true(newest(line)->fin);
	assert_int_equal(newest(line)->why, REASON_DONE);
	assert_int_equal(session_stream_count(line->edge.s), 0);
	line_free(line);
}

static void an_edge_that_leaves_says_so_once(void **state)
{
	struct line *line = line_new(true);
	struct side *e = open_get(line);

	(void)state;
	settle(line);
	session_drain(line->edge.s);
	session_drain(line->edge.s);
	settle(line);
	assert_true(line->connector.draining);
	assert_int_equal(line->connector.count, 1); /* its word is nobody's request */
	assert_int_equal(session_stream_count(line->connector.s), 1);
	answer_status(newest(line), 204, true);
	settle(line);
	assert_true(e->closed && line->edge.closed && line->connector.closed);
	line_free(line);
}

/* --- Closed ports ---------------------------------------------------------------------------- */

/* Its program is gone without a word, as after kill -9. */
static void kill_socket(int fd)
{
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_true(nothing >= 0);
	assert_true(dup2(nothing, fd) == fd);
	close(nothing);
}

static void turn(struct line *line)
{
	struct timer tick;

	timer_init(&tick, line->loop, on_tick);
	timer_set(&tick, 10);
	loop_run(line->loop);
	timer_stop(&tick);
}

static void a_dead_connector_is_noticed_by_its_closed_port(void **state)
{
	struct line *line = line_new(true);

	(void)state;
	settle(line);
	kill_socket(client_fd);
	struct side *e = open_get(line);
	while (!line->edge.closed)
		turn(line);
	assert_int_equal(line->edge.doubts, 1);
	assert_int_equal(line->edge.doubts_over, 0);
	assert_int_equal(line->edge.why, REASON_TIMEOUT);
	assert_true(e->closed);
	line_free(line);
}

static void a_dead_edge_is_noticed_by_its_closed_port(void **state)
{
	struct line *line = line_new(true);

	(void)state;
	settle(line);
	kill_socket(server_fd);
	while (!line->connector.closed)
		turn(line);
	assert_int_equal(line->connector.doubts, 1);
	assert_int_equal(line->connector.doubts_over, 0);
	assert_int_equal(line->connector.why, REASON_TIMEOUT);
	line_free(line);
}

static void a_forged_word_of_a_closed_port_costs_nothing(void **state)
{
	struct line *line = line_new(true);
	struct side *e = open_get(line);

	(void)state;
	settle(line);
	for (int i = 0; i < 3; i++) {
		/* Many of them are one. */
		size_t before = line->edge.doubts;
		for (int k = 0; k < 50; k++)
			quic_endpoint_unreachable(tunnel_endpoint_quic(server), &client_address);
		while (line->edge.doubts_over == before)
			turn(line);
		assert_int_equal(line->edge.doubts, before + 1);
		/* Nor is it asked again at once. */
		quic_endpoint_unreachable(tunnel_endpoint_quic(server), &client_address);
		assert_int_equal(line->edge.doubts, before + 1);
		for (int k = 0; k < 2 * LIMIT_QUIC_DOUBT_REST_MS / 10; k++)
			turn(line);
	}
	assert_false(line->edge.closed || line->connector.closed);
	answer_status(newest(line), 204, true);
	settle(line);
	assert_int_equal(e->answer.head ? e->head.status : 0, 204);
	line_free(line);
}

static void words_about_others_are_nobodys(void **state)
{
	struct line *line = line_new(true);
	struct address other = client_address;

	(void)state;
	settle(line);
	other.v4.sin_port ^= htons(1);
	quic_endpoint_unreachable(tunnel_endpoint_quic(server), &other);
	settle(line);
	assert_int_equal(line->edge.doubts, 0);
	line_free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TRANSPORT_CASES,
		cmocka_unit_test(unasked_streams_are_bounded),
		cmocka_unit_test(a_connector_that_never_reads_holds_up_nobody_else),
		cmocka_unit_test(a_reset_does_not_overtake_what_was_ended),
		cmocka_unit_test(an_edge_that_leaves_says_so_once),
		cmocka_unit_test(a_dead_connector_is_noticed_by_its_closed_port),
		cmocka_unit_test(a_dead_edge_is_noticed_by_its_closed_port),
		cmocka_unit_test(a_forged_word_of_a_closed_port_costs_nothing),
		cmocka_unit_test(words_about_others_are_nobodys),
	};

	return cmocka_run_group_tests(tests, make_tls, drop_tls);
}
