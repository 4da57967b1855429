/* The QUIC driver: the table that every driver passes, over loopback sockets, and what QUIC has beyond it. */
#include "transport_cases.h"

#include "io/udp.h"
#include "tls/authority.h"
#include "transport/quic_endpoint.h"

static struct tls_certificate *certificate;
static struct tls_context *server_tls, *client_tls;
static struct tunnel_endpoint *server, *client;
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
	struct address at, from;

	edge_start = *edge;
	connector_start = *connector;
	starting = line;
	server = tunnel_endpoint_new(line->loop, open_udp(&at), &options, on_accept, NULL);
	client = tunnel_endpoint_new(line->loop, open_udp(&from), NULL, NULL, NULL);
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

int main(void)
{
	const struct CMUnitTest tests[] = { TRANSPORT_CASES };

	return cmocka_run_group_tests(tests, make_tls, drop_tls);
}
