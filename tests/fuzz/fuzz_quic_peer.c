/* What a hostile peer may send over QUIC. The first byte says who is hostile and how:
 *
 *   0  datagrams to a server, as they are: two bytes of length before each
 *   1  a client that has done its handshake, and whose packets then hold any frames at all
 *   2  the same from a server
 *
 * For the last two the plaintext is exchanged where it is encrypted, so that keys and packet numbers are right.
 * Both endpoints have a loop of their own and sockets on loopback, which deliver at once. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quic/quic_internal.h"
#include "tls/authority.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAYLOAD_MAX 1000
#define CHUNKS_MAX 40

struct side {
	struct loop *loop;
	struct quic_endpoint *endpoint;
	struct address address;
	struct quic_conn *conn;
};
static struct side server, client;
static struct tls_certificate *certificate;
static struct tls_context *client_tls;
static struct quic_limits limits;

/* --- The exchange ---------------------------------------------------------------------------- */

static struct bytes instead; /* of the next packet's frames */
static bool is_armed;

/* In place of the library's. */
int ngtcp2_crypto_encrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
			     const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plaintext,
			     size_t len, const uint8_t *nonce, size_t nonce_len, const uint8_t *aad,
			     size_t aad_len)
{
	uint8_t other[2000] = { 0 };

	if (is_armed && len <= sizeof(other)) {
		struct bytes part = bytes_first(instead, len);
		if (part.len)
			memcpy(other, part.ptr, part.len);
		instead = bytes_from(instead, part.len);
		plaintext = other;
	}
	return ngtcp2_crypto_encrypt(dest, aead, ctx, plaintext, len, nonce, nonce_len, aad,
				     aad_len) == 0
		       ? 0
		       : NGTCP2_ERR_CALLBACK_FAILURE;
}

/* --- Events ---------------------------------------------------------------------------------- */

static void on_accept(struct quic_endpoint *e, struct quic_conn *c)
{
	struct side *s = quic_endpoint_ctx(e);

	s->conn = c;
	quic_conn_set_ctx(c, s);
}

static void on_data(struct quic_stream *st, struct bytes data, bool fin)
{
	quic_stream_consume(st, data.len);
	if (data.len % 16 == 7)
		quic_stream_reset(st, 1);
	if (data.len % 16 == 8)
		quic_stream_stop(st, 2);
	quic_stream_write(st, data, fin);
}

static void on_datagram(struct quic_conn *c, struct bytes data)
{
	(void)quic_send_datagram(c, data);
}

static void on_closed(struct quic_conn *c, const struct err *why)
{
	struct side *s = quic_conn_ctx(c);

	if (why->code == 0)
		abort();
	if (s->conn == c)
		s->conn = NULL;
}

static const struct quic_events events = {
	.on_accept = on_accept,
	.on_data = on_data,
	.on_datagram = on_datagram,
	.on_closed = on_closed,
};

/* --- Both ends ------------------------------------------------------------------------------- */

static struct tls_certificate *choose(void *ctx, struct bytes name)
{
	(void)ctx;
	(void)name;
	return certificate;
}

static int open_socket(struct side *s)
{
	address_parse(BYTES_LIT("127.0.0.1:0"), &s->address, NULL);
	int fd = udp_open(&s->address, false, NULL);
	if (fd < 0)
		abort();
	s->loop = loop_new(NULL);
	return fd;
}

static void set_up(void)
{
	static const char *const names[] = { "quic.test" };
	static const char *const alpn[] = { "fuzz", NULL };
	static const uint8_t secret[32] = { 1 };
	struct authority_pair ca, leaf;
	struct tls_client_options options = { .no_verify = true, .alpn = alpn };

	if (server.loop)
		return;
	if (authority_create("CA", &ca, NULL) < 0 ||
	    authority_issue(&ca, names, 1, 30, &leaf, NULL) < 0)
		abort();
	certificate = tls_certificate_load(bytes_str(leaf.cert_pem), bytes_str(leaf.key_pem), NULL);
	authority_pair_done(&ca);
	authority_pair_done(&leaf);
	client_tls = tls_context_client(&options, NULL);
	struct quic_server_options of_server = {
		.tls = tls_context_server(choose, NULL, NULL, alpn, NULL),
		.retry_above = 4,
		.secret = bytes_of(secret, sizeof(secret)),
	};
	quic_limits_default(&limits);
	limits.peer_streams = 100;
	int fd = open_socket(&server);
	server.endpoint = quic_endpoint_new(server.loop, fd, &limits, &of_server, &events, &server);
	fd = open_socket(&client);
	client.endpoint = quic_endpoint_new(client.loop, fd, &limits, NULL, &events, &client);
}

static void stop(void *arg)
{
	loop_stop(arg);
}

/* Lets a loop read what is there, and answer. */
static void turn(struct side *s, bool is_hostile)
{
	is_armed = is_hostile;
	for (int i = 0; i < 2; i++) {
		loop_post(s->loop, stop, s->loop);
		loop_run(s->loop);
	}
	is_armed = false;
}

static void make_some_noise(struct side *s, size_t size)
{
	static const uint8_t noise[PAYLOAD_MAX];
	struct quic_stream *st = quic_open(s->conn, NULL);

	if (st)
		quic_stream_write(st, bytes_of(noise, size), true);
	else
		(void)quic_send_datagram(s->conn, bytes_of(noise, size));
}

static void hostile_frames(struct side *hostile, struct side *victim, struct bytes input)
{
	client.conn = quic_connect(client.endpoint, &server.address, client_tls,
				   BYTES_LIT("quic.test"), &client, NULL);
	for (int i = 0; i < 10 && !(server.conn && quic_conn_alpn(client.conn).len); i++) {
		turn(&client, false);
		turn(&server, false);
	}
	if (!server.conn || !client.conn)
		abort();
	if (victim->conn)
		make_some_noise(victim, 100);
	for (int i = 0; i < CHUNKS_MAX && input.len > 1 && hostile->conn && victim->conn; i++) {
		size_t size = (size_t)(input.ptr[0] | input.ptr[1] << 8) % PAYLOAD_MAX + 1;
		instead = bytes_first(bytes_from(input, 2), size);
		input = bytes_from(input, 2 + size);
		make_some_noise(hostile, size);
		turn(hostile, true);
		turn(victim, false);
	}
}

static void raw_datagrams(struct bytes input)
{
	static struct address from;

	address_from_ip(BYTES_LIT("127.0.0.1"), 9, &from);
	for (int i = 0; i < CHUNKS_MAX && input.len > 2; i++) {
		size_t size = (size_t)(input.ptr[0] | input.ptr[1] << 8) % 1500 + 1;
		struct bytes packet = bytes_first(bytes_from(input, 2), size);
		if (packet.len)
			quic_endpoint_feed(server.endpoint, &from, &server.address, 0, packet);
		input = bytes_from(input, 2 + size);
	}
	turn(&server, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	set_up();
	if (size < 2)
		return 0;
	struct bytes input = bytes_of(data + 1, size - 1);
	switch (data[0] % 3) {
	case 0:
		raw_datagrams(input);
		break;
	case 1:
		hostile_frames(&client, &server, input);
		break;
	default:
		hostile_frames(&server, &client, input);
		break;
	}
	instead = BYTES_NONE;
	for (int i = 0; i < 4; i++) {
		if (client.conn)
			quic_conn_close(client.conn, 0, NULL);
		if (server.conn)
			quic_conn_close(server.conn, 0, NULL);
		turn(&client, false);
		turn(&server, false);
	}
	return 0;
}
