/* Two ends of a TLS connection over a socketpair in one loop, with certificates for a.test and b.test:
 * what the test programs of this folder share. Included once per program. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/conn.h"
#include "tls/authority.h"
#include "tls/tls.h"

#define TEST_TIMEOUT_MS 20000

static struct loop *loop;
static struct authority_pair ca, other_ca;
static struct tls_certificate *cert_a, *cert_b;
static struct tls_context *server_context, *client_context;

/* --- Running the loop until something is so -------------------------------------------------- */

static bool (*until)(void);
static struct timer watchdog;

static inline void progress(void)
{
	if (until && until())
		loop_stop(loop);
}

static inline void on_watchdog(struct timer *t)
{
	(void)t;
	loop_stop(loop);
}

static inline void run_until(bool (*is_so)(void))
{
	until = is_so;
	if (!is_so()) {
		timer_set(&watchdog, TEST_TIMEOUT_MS);
		loop_run(loop);
		timer_stop(&watchdog);
	}
	until = NULL;
	if (!is_so())
		fail_msg("what the test waits for did not happen");
}

/* --- One end of a connection ----------------------------------------------------------------- */

struct end {
	struct tls_handshake *handshake;
	struct byte_stream *stream; /* owned once the handshake is done */
	struct err err;             /* of the handshake, later of reading or on_error() */
	int done_count;
	int fd; /* a second descriptor of this end's socket, for foul play; -1: none */

	size_t to_send, sent;
	size_t received, first_wrong; /* first_wrong: offset + 1 of a byte that is not as sent */
	size_t max_backlog;
	size_t pause_after; /* bytes per on_readable() before it pauses for a moment; 0: never */
	int readable_count, writable_count;
	struct timer resume;
	bool has_ended, has_failed;
	bool shuts_down_when_sent, closes_when_sent;
};

static struct end client, server;

static inline uint8_t pattern(size_t offset)
{
	return (uint8_t)(offset ^ offset >> 8 ^ offset >> 16);
}

static inline void send_more(struct end *e)
{
	static const size_t sizes[] = { 1, 100, 16384, 9, 40000, 70000, 16383, 5000 };
	static uint8_t block[70000];

	while (e->stream && e->sent < e->to_send) {
		size_t size = sizes[(e->sent / 7) % ARRAY_LEN(sizes)];
		if (size > e->to_send - e->sent)
			size = e->to_send - e->sent;
		for (size_t i = 0; i < size; i++)
			block[i] = pattern(e->sent + i);
		size_t taken = byte_stream_write(e->stream, bytes_of(block, size));
		e->sent += taken;
		if (byte_stream_backlog(e->stream) > e->max_backlog)
			e->max_backlog = byte_stream_backlog(e->stream);
		if (taken < size)
			return;
	}
	if (e->stream && e->sent == e->to_send) {
		if (e->shuts_down_when_sent)
			byte_stream_shutdown(e->stream);
		if (e->closes_when_sent)
			e->stream = byte_stream_close(e->stream);
		e->shuts_down_when_sent = e->closes_when_sent = false;
	}
}

static inline void on_readable(void *ctx)
{
	struct end *e = ctx;
	uint8_t data[20000];
	size_t now = 0;

	e->readable_count++;
	while (!e->has_ended && !e->has_failed) {
		if (e->pause_after && now >= e->pause_after) {
			timer_set(&e->resume, 1);
			break;
		}
		/* Sizes below, at and above a record. */
		size_t cap = e->received % 3 == 0 ? 777 : e->received % 3 == 1 ? 16384 : 20000;
		ssize_t n = byte_stream_read(e->stream, data, cap, &e->err);
		if (n == E_AGAIN)
			break;
		if (n == 0)
			e->has_ended = true;
		if (n < 0)
			e->has_failed = true;
		for (ssize_t i = 0; i < n; i++)
			if (data[i] != pattern(e->received + (size_t)i) && !e->first_wrong)
				e->first_wrong = e->received + (size_t)i + 1;
		e->received += n > 0 ? (size_t)n : 0;
		now += n > 0 ? (size_t)n : 0;
	}
	progress();
}

static inline void on_resume(struct timer *t)
{
	struct end *e = CONTAINER_OF(t, struct end, resume);

	if (e->stream)
		byte_stream_want_read(e->stream);
}

static inline void on_writable(void *ctx)
{
	struct end *e = ctx;

	e->writable_count++;
	send_more(e);
	progress();
}

static inline void on_error(void *ctx, const struct err *err)
{
	struct end *e = ctx;

	e->err = *err;
	e->has_failed = true;
	progress();
}

static const struct byte_stream_events end_events = { on_readable, on_writable, on_error };

static inline void on_done(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct end *e = ctx;

	e->done_count++;
	e->handshake = NULL;
	e->stream = stream;
	if (err)
		e->err = *err;
	if (stream) {
		byte_stream_set_events(stream, &end_events, e);
		send_more(e);
	}
	progress();
}

static inline struct byte_stream *adopt(int fd)
{
	static const struct address local = { .local = { .sun_family = AF_UNIX } };

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return conn_adopt(loop, fd, &local);
}

static inline void make_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static inline void start_server(struct tls_context *c, int fd)
{
	server.fd = dup(fd);
	server.handshake = tls_accept(c, adopt(fd), 5000, on_done, &server);
}

static inline void start(struct tls_context *for_server, struct tls_context *for_client,
			 const char *name)
{
	int fds[2];

	make_pair(fds);
	start_server(for_server, fds[0]);
	client.fd = dup(fds[1]);
	client.handshake =
		tls_connect(for_client, adopt(fds[1]), bytes_str(name), 5000, on_done, &client);
}

static inline bool both_are_done(void)
{
	return client.done_count && server.done_count;
}

static inline bool server_has_ended(void)
{
	return server.has_ended || server.has_failed;
}

static inline bool server_is_done(void)
{
	return server.done_count > 0;
}

static inline void connect_both(struct tls_context *for_server, struct tls_context *for_client,
				const char *name)
{
	start(for_server, for_client, name);
	run_until(both_are_done);
}

static inline void assert_up(void)
{
	if (!client.stream)
		fail_msg("client: %s", client.err.text);
	if (!server.stream)
		fail_msg("server: %s", server.err.text);
}

static inline void assert_says(const struct err *err, int code, const char *words)
{
	if (err->code != code || !strstr(err->text, words))
		fail_msg("error is %d \"%s\", not %d \"%s\"", err->code, err->text, code, words);
	assert_null(strchr(err->text, '\n'));
}

/* --- Fixture --------------------------------------------------------------------------------- */

static inline struct tls_certificate *choose(void *ctx, struct bytes name)
{
	(void)ctx;
	if (bytes_eq(name, BYTES_LIT("b.test")))
		return cert_b;
	if (bytes_eq(name, BYTES_LIT("a.test")) || name.len == 0)
		return cert_a;
	return NULL;
}

static inline struct tls_certificate *issue(const struct authority_pair *by, const char *name1,
					    const char *name2)
{
	const char *names[] = { name1, name2 };
	struct authority_pair leaf;

	assert_int_equal(authority_issue(by, names, name2 ? 2 : 1, 30, &leaf, NULL), 0);
	struct tls_certificate *c =
		tls_certificate_load(bytes_str(leaf.cert_pem), bytes_str(leaf.key_pem), NULL);
	assert_non_null(c);
	authority_pair_done(&leaf);
	return c;
}

static inline struct tls_context *make_client(const char *ca_pem, bool no_verify,
					      const char *const *alpn)
{
	struct tls_client_options options = {
		.ca_pem = bytes_str(ca_pem),
		.no_verify = no_verify,
		.alpn = alpn,
	};
	struct err err = { 0 };
	struct tls_context *c = tls_context_client(&options, &err);

	if (!c)
		fail_msg("%s", err.text);
	return c;
}

static inline int set_up_all(void **state)
{
	(void)state;
	tls_global_init();
	assert_int_equal(authority_create("Test CA", &ca, NULL), 0);
	assert_int_equal(authority_create("Other CA", &other_ca, NULL), 0);
	cert_a = issue(&ca, "a.test", "127.0.0.1");
	cert_b = issue(&ca, "b.test", NULL);
	server_context = tls_context_server(choose, NULL, NULL, NULL, NULL);
	client_context = make_client(ca.cert_pem, false, NULL);
	return 0;
}

static inline int tear_down_all(void **state)
{
	(void)state;
	tls_context_unref(server_context);
	tls_context_unref(client_context);
	tls_certificate_unref(cert_a);
	tls_certificate_unref(cert_b);
	authority_pair_done(&ca);
	authority_pair_done(&other_ca);
	return 0;
}

static inline int set_up(void **state)
{
	(void)state;
	loop = loop_new(NULL);
	timer_init(&watchdog, loop, on_watchdog);
	memset(&client, 0, sizeof(client));
	memset(&server, 0, sizeof(server));
	client.fd = server.fd = -1;
	timer_init(&client.resume, loop, on_resume);
	timer_init(&server.resume, loop, on_resume);
	return 0;
}

static inline void end_drop(struct end *e)
{
	timer_stop(&e->resume);
	e->handshake = tls_handshake_cancel(e->handshake);
	e->stream = byte_stream_close(e->stream);
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}

static inline int tear_down(void **state)
{
	(void)state;
	end_drop(&client);
	end_drop(&server);
	loop = loop_free(loop);
	return 0;
}
