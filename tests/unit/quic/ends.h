/* A QUIC server and client over loopback sockets on one loop, with streams that carry a pattern: what the test
 * programs of this folder share. Included once per program.
 *
 * Every event checks that it does not come inside a call, notes itself and ends the loop's turn; WAIT_FOR() looks
 * at its condition in plain code.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "fake/udp_relay.h"
#include "quic/quic.h"
#include "tls/authority.h"

#define TEST_TIMEOUT_MS 60000
#define MANY_CONNS 64
#define MANY_FLOWS 4096

static struct loop *loop;
static struct timer watchdog;
static struct authority_pair ca, other_ca;
static struct tls_certificate *certificate;
static struct tls_context *server_tls, *client_tls;
static const uint8_t secret[32] = "a secret for tests, 32 bytes lon";

/* --- Waiting --------------------------------------------------------------------------------- */

static int calls; /* of the user, under way: no event may come */

#define CALL(expression)                                \
	({                                              \
		calls++;                                \
		__typeof__(expression) r_ = expression; \
		calls--;                                \
		r_;                                     \
	})
#define DO(statement)      \
	do {               \
		calls++;   \
		statement; \
		calls--;   \
	} while (0)

static inline void happened(void)
{
	assert_int_equal(calls, 0);
	loop_stop(loop);
}

static inline void on_watchdog(struct timer *t)
{
	(void)t;
	loop_stop(loop);
}

#define WAIT_FOR(condition)                                                   \
	do {                                                                  \
		timer_set(&watchdog, TEST_TIMEOUT_MS);                        \
		while (!(condition)) {                                        \
			loop_run(loop);                                       \
			if (!(condition) && !timer_is_set(&watchdog))         \
				fail_msg("%s did not come true", #condition); \
		}                                                             \
		timer_stop(&watchdog);                                        \
	} while (0)

static bool time_is_over;
static struct timer pause_timer;

static inline void on_pause_over(struct timer *t)
{
	(void)t;
	time_is_over = true;
	loop_stop(loop);
}

/* Lets the loop run for a while: for what must not happen. */
static inline void let_pass(int64_t msec)
{
	timer_init(&pause_timer, loop, on_pause_over);
	/* When the whole machine has waited, timers are first: then what has come in the meantime. */
	for (int64_t wait = msec; wait; wait = wait == 1 ? 0 : 1) {
		time_is_over = false;
		timer_set(&pause_timer, wait);
		WAIT_FOR(time_is_over);
	}
}

/* --- Streams with a pattern ------------------------------------------------------------------ */

struct end;

struct flow {
	struct quic_stream *stream; /* NULL once closed */
	struct end *end;
	size_t to_send, sent, received, first_wrong, held;
	bool ends, has_sent_end; /* FIN after to_send */
	bool is_stalled;         /* takes, but does not consume */
	bool has_end;            /* the peer's FIN */
	int writable;
	bool is_reset, is_stopped;
	uint64_t reset_code, stop_code;
	bool is_closed;
	uint64_t close_code;
};

struct end {
	struct quic_conn *conn; /* NULL once closed */
	struct side *side;
	int ready, available, migrated, room;
	bool is_closed, has_code;
	uint64_t code;
	struct err why;
	struct flow *flows; /* MANY_FLOWS of them */
	size_t flow_count, closed_flows, opened_by_peer;
	size_t datagrams, datagram_bytes;
	uint8_t last_datagram[2000];
	size_t last_datagram_len;
};

struct side {
	struct quic_endpoint *endpoint;
	struct address address;
	struct end ends[MANY_CONNS];
	size_t end_count;
	/* What is done with a stream of the peer. */
	size_t answer; /* bytes sent back, then the end */
	bool stalls, refuses_all, echoes_datagrams;
	bool stays_open; /* answers without an end */
};

static struct side server, client;

static inline uint8_t pattern(int64_t id, size_t offset)
{
	return (uint8_t)(offset ^ offset >> 8 ^ offset >> 16 ^ (uint64_t)id * 7);
}

static inline void flow_send(struct flow *f)
{
	static const size_t sizes[] = { 1, 100, 16384, 9, 40000, 70000, 16383, 5000 };
	static uint8_t block[70000];

	while (f->stream && !f->has_sent_end && (f->sent < f->to_send || f->ends)) {
		size_t size = sizes[(f->sent / 7) % ARRAY_LEN(sizes)];
		if (size > f->to_send - f->sent)
			size = f->to_send - f->sent;
		for (size_t i = 0; i < size; i++)
			block[i] = pattern(quic_stream_id(f->stream), f->sent + i);
		bool fin = f->ends && f->sent + size == f->to_send;
		size_t taken = CALL(quic_stream_write(f->stream, bytes_of(block, size), fin));
		f->sent += taken;
		if (taken < size)
			return;
		f->has_sent_end = fin;
	}
}

static inline struct flow *flow_new(struct end *e, struct quic_stream *st)
{
	assert_true(e->flow_count < MANY_FLOWS);
	struct flow *f = &e->flows[e->flow_count++];
	f->end = e;
	f->stream = st;
	quic_stream_set_ctx(st, f);
	return f;
}

static inline struct flow *open_flow(struct end *e, size_t to_send, bool ends)
{
	struct quic_stream *st = CALL(quic_open(e->conn, NULL));

	if (!st)
		return NULL;
	struct flow *f = flow_new(e, st);
	f->to_send = to_send;
	f->ends = ends;
	flow_send(f);
	return f;
}

static inline void flow_consume(struct flow *f)
{
	f->is_stalled = false;
	DO(quic_stream_consume(f->stream, f->held));
	f->held = 0;
}

/* --- Events ---------------------------------------------------------------------------------- */

static inline struct end *end_new(struct side *s)
{
	assert_true(s->end_count < MANY_CONNS);
	struct end *e = &s->ends[s->end_count++];
	e->side = s;
	e->flows = mem_alloc_array(MANY_FLOWS, sizeof(struct flow));
	return e;
}

static inline void on_accept(struct quic_endpoint *endpoint, struct quic_conn *c)
{
	struct side *s = quic_endpoint_ctx(endpoint);
	struct end *e = end_new(s);

	e->conn = c;
	e->ready = 1;
	quic_conn_set_ctx(c, e);
	if (s->refuses_all)
		DO(quic_conn_close(c, 77, "not you"));
	happened();
}

static inline void on_ready(struct quic_conn *c)
{
	struct end *e = quic_conn_ctx(c);

	e->ready++;
	happened();
}

static inline void on_stream(struct quic_conn *c, struct quic_stream *st)
{
	struct end *e = quic_conn_ctx(c);

	assert_int_equal(e->ready, 1);
	struct flow *f = flow_new(e, st);
	e->opened_by_peer++;
	f->is_stalled = e->side->stalls;
	happened();
}

static inline void on_data(struct quic_stream *st, struct bytes data, bool fin)
{
	struct flow *f = quic_stream_ctx(st);

	assert_false(f->has_end || f->is_closed || f->is_reset);
	for (size_t i = 0; i < data.len; i++)
		if (data.ptr[i] != pattern(quic_stream_id(st), f->received + i) && !f->first_wrong)
			f->first_wrong = f->received + i + 1;
	f->received += data.len;
	f->has_end = fin;
	if (f->is_stalled)
		f->held += data.len;
	else
		DO(quic_stream_consume(st, data.len));
	if (fin && f->end->side->answer && !f->to_send) {
		f->to_send = f->end->side->answer;
		f->ends = !f->end->side->stays_open;
		flow_send(f);
	} else if (fin && f->end->side == &server && !f->end->side->stays_open) {
		f->ends = true;
		flow_send(f);
	}
	happened();
}

static inline void on_writable(struct quic_stream *st)
{
	struct flow *f = quic_stream_ctx(st);

	f->writable++;
	flow_send(f);
	happened();
}

static inline void on_peer_reset(struct quic_stream *st, uint64_t code)
{
	struct flow *f = quic_stream_ctx(st);

	assert_false(f->is_reset);
	f->is_reset = true;
	f->reset_code = code;
	happened();
}

static inline void on_peer_stop(struct quic_stream *st, uint64_t code)
{
	struct flow *f = quic_stream_ctx(st);

	assert_false(f->is_stopped);
	f->is_stopped = true;
	f->stop_code = code;
	happened();
}

static inline void on_stream_closed(struct quic_stream *st, uint64_t code)
{
	struct flow *f = quic_stream_ctx(st);

	assert_false(f->is_closed || f->end->is_closed);
	f->is_closed = true;
	f->close_code = code;
	f->stream = NULL;
	f->end->closed_flows++;
	happened();
}

static inline void on_datagram(struct quic_conn *c, struct bytes data)
{
	struct end *e = quic_conn_ctx(c);

	e->datagrams++;
	e->datagram_bytes += data.len;
	e->last_datagram_len = data.len;
	if (data.len)
		memcpy(e->last_datagram, data.ptr, data.len);
	if (e->side->echoes_datagrams)
		(void)CALL(quic_send_datagram(c, data));
	happened();
}

static inline void on_datagram_room(struct quic_conn *c)
{
	struct end *e = quic_conn_ctx(c);

	e->room++;
	happened();
}

static inline void on_migrated(struct quic_conn *c)
{
	struct end *e = quic_conn_ctx(c);

	e->migrated++;
	happened();
}

static inline void on_streams_available(struct quic_conn *c)
{
	struct end *e = quic_conn_ctx(c);

	e->available++;
	happened();
}

static inline void on_closed(struct quic_conn *c, const struct err *why)
{
	struct end *e = quic_conn_ctx(c);

	assert_false(e->is_closed);
	assert_int_equal(quic_stream_count(c), 0);
	assert_int_equal(e->closed_flows, e->flow_count);
	e->is_closed = true;
	e->why = *why;
	e->has_code = quic_close_code(c, &e->code);
	e->conn = NULL;
	happened();
}

static const struct quic_events events = {
	.on_accept = on_accept,
	.on_ready = on_ready,
	.on_stream = on_stream,
	.on_data = on_data,
	.on_writable = on_writable,
	.on_peer_reset = on_peer_reset,
	.on_peer_stop = on_peer_stop,
	.on_stream_closed = on_stream_closed,
	.on_datagram = on_datagram,
	.on_datagram_room = on_datagram_room,
	.on_migrated = on_migrated,
	.on_streams_available = on_streams_available,
	.on_closed = on_closed,
};

/* --- Starting and stopping ------------------------------------------------------------------- */

static struct quic_limits limits;

static inline int open_udp(const char *text, struct address *ret, bool shared)
{
	struct err err = { 0 };

	assert_int_equal(address_parse(bytes_str(text), ret, NULL), 0);
	int fd = udp_open(ret, shared, &err);
	if (fd < 0)
		fail_msg("%s", err.text);
	return fd;
}

static inline struct quic_server_options server_options(void)
{
	return (struct quic_server_options){ .tls = server_tls,
					     .retry_above = 64,
					     .secret = bytes_of(secret, sizeof(secret)) };
}

static inline void start_server(const struct quic_server_options *options)
{
	struct quic_server_options usual = server_options();
	int fd = open_udp("127.0.0.1:0", &server.address, true);

	server.endpoint =
		quic_endpoint_new(loop, fd, &limits, options ? options : &usual, &events, &server);
}

static inline void start_client(void)
{
	int fd = open_udp("127.0.0.1:0", &client.address, false);

	client.endpoint = quic_endpoint_new(loop, fd, &limits, NULL, &events, &client);
}

static inline struct end *connect_to(const struct address *to, struct tls_context *tls,
				     const char *name)
{
	struct end *e = end_new(&client);
	struct err err = { 0 };

	e->conn = CALL(quic_connect(client.endpoint, to, tls, bytes_str(name), e, &err));
	if (!e->conn)
		fail_msg("%s", err.text);
	return e;
}

/* Server, client and a connection between them that is up. */
static struct end *at_client, *at_server;

static inline void connect_over(const struct address *to)
{
	if (!server.endpoint)
		start_server(NULL);
	if (!client.endpoint)
		start_client();
	size_t before = server.end_count;
	at_client = connect_to(to ? to : &server.address, client_tls, "quic.test");
	WAIT_FOR((at_client->ready || at_client->is_closed) && server.end_count > before &&
		 (at_client->available || at_client->is_closed));
	if (at_client->is_closed)
		fail_msg("%s", at_client->why.text);
	at_server = &server.ends[server.end_count - 1];
}

static inline void assert_says(const struct err *err, int code, const char *words)
{
	if (err->code != code || !strstr(err->text, words))
		fail_msg("error is %d \"%s\", not %d \"%s\"", err->code, err->text, code, words);
	assert_null(strchr(err->text, '\n'));
}

/* Everything that was sent has arrived, and right. */
static inline void assert_received(const struct flow *f, size_t size)
{
	assert_int_equal(f->received, size);
	assert_int_equal(f->first_wrong, 0);
}

static const char *const alpn[] = { "test", NULL }, *const other_alpn[] = { "other", NULL };

static inline struct tls_certificate *choose(void *ctx, struct bytes name)
{
	(void)ctx;
	return bytes_eq(name, BYTES_LIT("unknown.test")) ? NULL : certificate;
}

static inline struct tls_context *make_client_tls(const char *ca_pem, const char *const *protocols)
{
	struct tls_client_options options = { .ca_pem = bytes_str(ca_pem), .alpn = protocols };
	struct err err = { 0 };
	struct tls_context *c = tls_context_client(&options, &err);

	if (!c)
		fail_msg("%s", err.text);
	return c;
}

static inline int set_up_all(void **state)
{
	static const char *const names[] = { "quic.test", "127.0.0.1" };
	struct authority_pair leaf;

	(void)state;
	tls_global_init();
	assert_int_equal(authority_create("Test CA", &ca, NULL), 0);
	assert_int_equal(authority_create("Other CA", &other_ca, NULL), 0);
	assert_int_equal(authority_issue(&ca, names, 2, 30, &leaf, NULL), 0);
	certificate = tls_certificate_load(bytes_str(leaf.cert_pem), bytes_str(leaf.key_pem), NULL);
	assert_non_null(certificate);
	authority_pair_done(&leaf);
	server_tls = tls_context_server(choose, NULL, NULL, alpn, NULL);
	client_tls = make_client_tls(ca.cert_pem, alpn);
	return 0;
}

static inline int tear_down_all(void **state)
{
	(void)state;
	tls_context_unref(server_tls);
	tls_context_unref(client_tls);
	tls_certificate_unref(certificate);
	authority_pair_done(&ca);
	authority_pair_done(&other_ca);
	return 0;
}

static inline int set_up(void **state)
{
	(void)state;
	loop = loop_new(NULL);
	timer_init(&watchdog, loop, on_watchdog);
	calls = 0;
	memset(&server, 0, sizeof(server));
	memset(&client, 0, sizeof(client));
	quic_limits_default(&limits);
	return 0;
}

static inline void side_drop(struct side *s)
{
	s->endpoint = quic_endpoint_free(s->endpoint);
	for (size_t i = 0; i < s->end_count; i++)
		mem_free(s->ends[i].flows);
}

static inline int tear_down(void **state)
{
	(void)state;
	side_drop(&client);
	side_drop(&server);
	timer_stop(&watchdog);
	loop = loop_free(loop);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
