/* Both sides of TLS over a socketpair in one loop; where a peer must misbehave or do what our own
 * client never does, a plain GnuTLS client on a thread of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
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

static void progress(void)
{
	if (until && until())
		loop_stop(loop);
}

static void on_watchdog(struct timer *t)
{
	(void)t;
	loop_stop(loop);
}

static void run_until(bool (*is_so)(void))
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

static uint8_t pattern(size_t offset)
{
	return (uint8_t)(offset ^ offset >> 8 ^ offset >> 16);
}

static void send_more(struct end *e)
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

static void on_readable(void *ctx)
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

static void on_resume(struct timer *t)
{
	struct end *e = CONTAINER_OF(t, struct end, resume);

	if (e->stream)
		byte_stream_want_read(e->stream);
}

static void on_writable(void *ctx)
{
	struct end *e = ctx;

	e->writable_count++;
	send_more(e);
	progress();
}

static void on_error(void *ctx, const struct err *err)
{
	struct end *e = ctx;

	e->err = *err;
	e->has_failed = true;
	progress();
}

static const struct byte_stream_events end_events = { on_readable, on_writable, on_error };

static void on_done(void *ctx, struct byte_stream *stream, const struct err *err)
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

static struct byte_stream *adopt(int fd)
{
	static const struct address local = { .local = { .sun_family = AF_UNIX } };

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return conn_adopt(loop, fd, &local);
}

static void make_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void start_server(struct tls_context *c, int fd)
{
	server.fd = dup(fd);
	server.handshake = tls_accept(c, adopt(fd), 5000, on_done, &server);
}

static void start(struct tls_context *for_server, struct tls_context *for_client, const char *name)
{
	int fds[2];

	make_pair(fds);
	start_server(for_server, fds[0]);
	client.fd = dup(fds[1]);
	client.handshake =
		tls_connect(for_client, adopt(fds[1]), bytes_str(name), 5000, on_done, &client);
}

static bool both_are_done(void)
{
	return client.done_count && server.done_count;
}

static bool server_is_done(void)
{
	return server.done_count > 0;
}

static void connect_both(struct tls_context *for_server, struct tls_context *for_client,
			 const char *name)
{
	start(for_server, for_client, name);
	run_until(both_are_done);
}

static void assert_up(void)
{
	if (!client.stream)
		fail_msg("client: %s", client.err.text);
	if (!server.stream)
		fail_msg("server: %s", server.err.text);
}

static void assert_says(const struct err *err, int code, const char *words)
{
	if (err->code != code || !strstr(err->text, words))
		fail_msg("error is %d \"%s\", not %d \"%s\"", err->code, err->text, code, words);
	assert_null(strchr(err->text, '\n'));
}

/* --- Fixture --------------------------------------------------------------------------------- */

static struct tls_certificate *choose(void *ctx, struct bytes name)
{
	(void)ctx;
	if (bytes_eq(name, BYTES_LIT("b.test")))
		return cert_b;
	if (bytes_eq(name, BYTES_LIT("a.test")) || name.len == 0)
		return cert_a;
	return NULL;
}

static struct tls_certificate *issue(const struct authority_pair *by, const char *name1,
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

static struct tls_context *make_client(const char *ca_pem, bool no_verify, const char *const *alpn)
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

static int set_up_all(void **state)
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

static int tear_down_all(void **state)
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

static int set_up(void **state)
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

static void end_drop(struct end *e)
{
	timer_stop(&e->resume);
	e->handshake = tls_handshake_cancel(e->handshake);
	e->stream = byte_stream_close(e->stream);
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}

static int tear_down(void **state)
{
	(void)state;
	end_drop(&client);
	end_drop(&server);
	loop = loop_free(loop);
	return 0;
}

/* --- Handshakes ------------------------------------------------------------------------------ */

static void agrees_on_tls13_and_tells_the_name_in_lower_case(void **state)
{
	(void)state;
	connect_both(server_context, client_context, "A.Test.");
	assert_up();
	assert_string_equal(tls_version_text(server.stream), "TLS1.3");
	assert_string_equal(tls_version_text(client.stream), "TLS1.3");
	assert_true(bytes_eq(tls_server_name(server.stream), BYTES_LIT("a.test")));
	assert_true(bytes_eq(tls_server_name(client.stream), BYTES_LIT("a.test")));
	assert_int_equal(tls_alpn(server.stream).len, 0);
	assert_string_equal(server.stream->ops->name, "tls");
}

static void never_calls_done_inside_the_starting_call(void **state)
{
	(void)state;
	start(server_context, client_context, "a.test");
	assert_int_equal(client.done_count + server.done_count, 0);
	run_until(both_are_done);
	assert_int_equal(client.done_count, 1);
	assert_int_equal(server.done_count, 1);
}

static void chooses_the_certificate_by_name(void **state)
{
	(void)state;
	/* The client would refuse a.test's. */
	connect_both(server_context, client_context, "b.test");
	assert_up();
}

static void refuses_an_unknown_name_with_unrecognized_name(void **state)
{
	(void)state;
	connect_both(server_context, client_context, "c.test");
	assert_null(server.stream);
	assert_null(client.stream);
	assert_says(&server.err, E_TLS, "no certificate for \"c.test\"");
	assert_says(&client.err, E_TLS, "alert 112");
}

static void count_drop(void *ctx)
{
	++*(int *)ctx;
}

static void context_outlives_its_sessions_and_drops_its_choice(void **state)
{
	int drops = 0;
	struct tls_context *c = tls_context_server(choose, &drops, count_drop, NULL, NULL);

	(void)state;
	start(c, client_context, "a.test");
	tls_context_unref(c);
	run_until(both_are_done);
	assert_up();
	assert_int_equal(drops, 0);
	server.stream = byte_stream_close(server.stream);
	assert_int_equal(drops, 1);
}

static const char *const h2_and_h1[] = { "h2", "http/1.1", NULL };
static const char *const h1_and_h2[] = { "http/1.1", "h2", NULL };
static const char *const only_h3[] = { "h3", NULL };

static void alpn_follows_the_servers_preference(void **state)
{
	struct tls_context *s = tls_context_server(choose, NULL, NULL, h2_and_h1, NULL);
	struct tls_context *c = make_client(ca.cert_pem, false, h1_and_h2);

	(void)state;
	connect_both(s, c, "a.test");
	assert_up();
	assert_true(bytes_eq(tls_alpn(server.stream), BYTES_LIT("h2")));
	assert_true(bytes_eq(tls_alpn(client.stream), BYTES_LIT("h2")));
	tls_context_unref(s);
	tls_context_unref(c);
}

static void alpn_without_a_match_is_refused(void **state)
{
	struct tls_context *s = tls_context_server(choose, NULL, NULL, h2_and_h1, NULL);
	struct tls_context *c = make_client(ca.cert_pem, false, only_h3);

	(void)state;
	connect_both(s, c, "a.test");
	assert_says(&server.err, E_TLS, "ALPN");
	assert_says(&client.err, E_TLS, "alert 120");
	tls_context_unref(s);
	tls_context_unref(c);
}

static void alpn_is_optional_for_either_side(void **state)
{
	struct tls_context *s = tls_context_server(choose, NULL, NULL, h2_and_h1, NULL);
	struct tls_context *c = make_client(ca.cert_pem, false, only_h3);

	(void)state;
	connect_both(s, client_context, "a.test");
	assert_up();
	assert_int_equal(tls_alpn(server.stream).len, 0);
	end_drop(&client);
	end_drop(&server);
	client.done_count = server.done_count = 0;
	connect_both(server_context, c, "a.test");
	assert_up();
	assert_int_equal(tls_alpn(client.stream).len, 0);
	tls_context_unref(s);
	tls_context_unref(c);
}

static void alpn_names_have_a_limit(void **state)
{
	static const char *const long_name[] = { "0123456789012345678901234567890123456789", NULL };
	struct err err = { 0 };

	(void)state;
	assert_null(tls_context_server(choose, NULL, NULL, long_name, &err));
	assert_int_equal(err.code, E_INVALID);
}

/* --- Which servers a client believes --------------------------------------------------------- */

static struct tls_certificate *chosen;

static struct tls_certificate *choose_chosen(void *ctx, struct bytes name)
{
	(void)ctx;
	(void)name;
	return chosen;
}

static void connect_to(struct tls_certificate *certificate, struct tls_context *c, const char *name)
{
	struct tls_context *s = tls_context_server(choose_chosen, NULL, NULL, NULL, NULL);

	chosen = certificate;
	connect_both(s, c, name);
	tls_context_unref(s);
}

static void verifies_ip_addresses(void **state)
{
	(void)state;
	connect_to(cert_a, client_context, "127.0.0.1");
	assert_up();
	assert_int_equal(tls_server_name(server.stream).len, 0); /* no SNI for addresses */
}

static void refuses_another_ip_address(void **state)
{
	(void)state;
	connect_to(cert_a, client_context, "127.0.0.2");
	assert_says(&client.err, E_TLS, "it is for another name");
}

static void refuses_a_certificate_of_another_name(void **state)
{
	(void)state;
	connect_to(cert_b, client_context, "a.test");
	assert_says(&client.err, E_TLS,
		    "certificate of \"a.test\" refused: it is for another name (b.test)");
	assert_says(&server.err, E_TLS, "the peer refused: Certificate is bad");
}

static void refuses_an_unknown_issuer(void **state)
{
	struct tls_context *c = make_client(other_ca.cert_pem, false, NULL);

	(void)state;
	connect_to(cert_a, c, "a.test");
	assert_says(&client.err, E_TLS, "its issuer is unknown (CN=Test CA)");
	assert_says(&server.err, E_TLS, "alert 48");
	tls_context_unref(c);
}

static void system_roots_alone_do_not_know_our_ca(void **state)
{
	struct tls_context *c = make_client(NULL, false, NULL);

	(void)state;
	connect_to(cert_a, c, "a.test");
	assert_says(&client.err, E_TLS, "its issuer is unknown");
	tls_context_unref(c);
}

/* A certificate that ended yesterday, which the authority does not make. */
static struct tls_certificate *make_expired(void)
{
	gnutls_datum_t ca_cert = { (void *)ca.cert_pem, (unsigned)strlen(ca.cert_pem) };
	gnutls_datum_t ca_key = { (void *)ca.key_pem, (unsigned)strlen(ca.key_pem) };
	gnutls_datum_t cert_pem, key_pem;
	gnutls_x509_crt_t issuer, cert;
	gnutls_x509_privkey_t issuer_key, key;
	time_t now = time(NULL);

	gnutls_x509_crt_init(&issuer);
	gnutls_x509_crt_import(issuer, &ca_cert, GNUTLS_X509_FMT_PEM);
	gnutls_x509_privkey_init(&issuer_key);
	gnutls_x509_privkey_import(issuer_key, &ca_key, GNUTLS_X509_FMT_PEM);
	gnutls_x509_privkey_init(&key);
	gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
				     GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	gnutls_x509_crt_init(&cert);
	gnutls_x509_crt_set_version(cert, 3);
	gnutls_x509_crt_set_serial(cert, "\x01", 1);
	gnutls_x509_crt_set_key(cert, key);
	gnutls_x509_crt_set_activation_time(cert, now - 3 * 86400);
	gnutls_x509_crt_set_expiration_time(cert, now - 86400);
	gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, "a.test", 6, GNUTLS_FSAN_SET);
	assert_int_equal(gnutls_x509_crt_sign2(cert, issuer, issuer_key, GNUTLS_DIG_SHA256, 0), 0);
	gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &cert_pem);
	gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_pem);
	struct tls_certificate *c = tls_certificate_load(
		bytes_of(cert_pem.data, cert_pem.size), bytes_of(key_pem.data, key_pem.size), NULL);
	assert_non_null(c);
	gnutls_free(cert_pem.data);
	gnutls_free(key_pem.data);
	gnutls_x509_crt_deinit(cert);
	gnutls_x509_crt_deinit(issuer);
	gnutls_x509_privkey_deinit(key);
	gnutls_x509_privkey_deinit(issuer_key);
	return c;
}

static void refuses_an_expired_certificate(void **state)
{
	struct tls_certificate *expired = make_expired();

	(void)state;
	connect_to(expired, client_context, "a.test");
	assert_says(&client.err, E_TLS, "it expired on 20");
	assert_says(&server.err, E_TLS, "alert 45");
	tls_certificate_unref(expired);
}

static void accepts_anything_when_told_not_to_verify(void **state)
{
	struct tls_context *c = make_client(NULL, true, NULL);
	struct tls_certificate *expired = make_expired();

	(void)state;
	connect_to(expired, c, "whatever.test");
	assert_up();
	tls_certificate_unref(expired);
	tls_context_unref(c);
}

static void refuses_to_verify_without_a_name(void **state)
{
	(void)state;
	connect_both(server_context, client_context, "");
	assert_says(&client.err, E_TLS, "no server name");
}

static void refuses_a_name_that_is_none(void **state)
{
	char name[400];

	(void)state;
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	connect_both(server_context, client_context, name);
	assert_says(&client.err, E_INVALID, "name");
	assert_says(&server.err, E_CLOSED, "during the TLS handshake");
}

static void names_the_ca_file_that_cannot_be_used(void **state)
{
	struct tls_client_options options = { .ca_file = "tests/data/no-such-file.pem" };
	struct err err = { 0 };

	(void)state;
	assert_null(tls_context_client(&options, &err));
	assert_says(&err, E_NOT_FOUND, "no-such-file.pem");
	options.ca_file = "/dev/null";
	assert_null(tls_context_client(&options, &err));
	assert_says(&err, E_TLS, "/dev/null");
}

/* --- Bytes ----------------------------------------------------------------------------------- */

static bool all_arrived(void)
{
	return client.received == server.to_send && server.received == client.to_send;
}

static void assert_intact(const struct end *e)
{
	assert_int_equal(e->first_wrong, 0);
	assert_false(e->has_failed);
}

static void carries_megabytes_both_ways_past_slow_readers(void **state)
{
	(void)state;
	client.to_send = 6 * 1024 * 1024 + 11;
	server.to_send = 8 * 1024 * 1024 + 3;
	client.pause_after = 300000;
	server.pause_after = 50000;
	start(server_context, client_context, "a.test");
	run_until(all_arrived);
	assert_intact(&client);
	assert_intact(&server);
	/* Both have waited for room, and never held more than the backlog and two records. */
	assert_true(client.writable_count > 0 && server.writable_count > 0);
	assert_true(client.max_backlog <= LIMIT_WRITE_BACKLOG_BYTES + 2 * 17000);
	assert_true(server.max_backlog <= LIMIT_WRITE_BACKLOG_BYTES + 2 * 17000);
	assert_int_equal(byte_stream_backlog(client.stream), 0);
}

static bool server_has_ended(void)
{
	return server.has_ended || server.has_failed;
}

static bool client_has_ended(void)
{
	return client.has_ended || client.has_failed;
}

static bool both_have_ended(void)
{
	return server_has_ended() && client_has_ended();
}

static bool server_has_a_thousand(void)
{
	return server.received == 1000;
}

static uint8_t peeked[5];
static ssize_t peeked_size;

/* Looks at the header of the record that has arrived, without taking it. */
static void on_peek(void *ctx)
{
	(void)ctx;
	peeked_size = recv(server.fd, peeked, sizeof(peeked), MSG_PEEK);
	progress();
}

static bool has_peeked(void)
{
	return peeked_size == sizeof(peeked);
}

static void small_writes_of_a_turn_leave_as_one_record(void **state)
{
	static const struct byte_stream_events peek_events = { .on_readable = on_peek };

	(void)state;
	peeked_size = 0;
	connect_both(server_context, client_context, "a.test");
	assert_up();
	/* The tickets go from server to client: this direction is quiet. */
	byte_stream_set_events(server.stream, &peek_events, &server);
	byte_stream_want_read(server.stream);
	for (int i = 0; i < 100; i++)
		assert_int_equal(byte_stream_write(client.stream, BYTES_LIT("x")), 1);
	assert_int_equal(byte_stream_backlog(client.stream), 100);
	run_until(has_peeked);
	assert_int_equal(peeked[0], 23);
	/* The hundred, the inner content type and the tag. */
	assert_int_equal(peeked[3] << 8 | peeked[4], 100 + 1 + 16);
}

static void closing_sends_what_was_taken_and_says_goodbye(void **state)
{
	static size_t taken;

	(void)state;
	connect_both(server_context, client_context, "a.test");
	assert_up();
	/* More than the sockets, the backlog and the records in between can hold. */
	client.to_send = 4 * 1024 * 1024;
	server.pause_after = 100000;
	send_more(&client);
	assert_true(client.sent < client.to_send);
	taken = client.sent;
	client.stream = byte_stream_close(client.stream);
	run_until(server_has_ended);
	assert_intact(&server);
	assert_true(server.has_ended);
	assert_int_equal(server.received, taken);
}

static void shutdown_ends_one_direction_only(void **state)
{
	(void)state;
	client.to_send = 100000;
	client.shuts_down_when_sent = true;
	connect_both(server_context, client_context, "a.test");
	run_until(server_has_ended);
	assert_true(server.has_ended);
	assert_int_equal(server.received, 100000);
	/* A write after shutdown() goes nowhere. */
	assert_int_equal(byte_stream_write(client.stream, BYTES_LIT("late")), 4);
	server.to_send = 500000;
	server.closes_when_sent = true;
	send_more(&server);
	run_until(client_has_ended);
	assert_true(client.has_ended);
	assert_int_equal(client.received, 500000);
	assert_intact(&client);
	assert_int_equal(server.received, 100000);
}

static void reports_an_end_without_close_notify(void **state)
{
	(void)state;
	client.to_send = 1000;
	connect_both(server_context, client_context, "a.test");
	run_until(server_has_a_thousand);
	assert_int_equal(shutdown(client.fd, SHUT_WR), 0);
	run_until(server_has_ended);
	assert_true(server.has_failed);
	assert_says(&server.err, E_CLOSED, "connection ended without close_notify");
	/* And says so again. */
	uint8_t byte;
	struct err err = { 0 };
	assert_int_equal(byte_stream_read(server.stream, &byte, 1, &err), E_CLOSED);
	assert_says(&err, E_CLOSED, "close_notify");
}

static void reports_a_record_that_is_cut_off(void **state)
{
	(void)state;
	connect_both(server_context, client_context, "a.test");
	assert_int_equal(send(client.fd, "\x17\x03\x03\x01\x00half", 9, 0), 9);
	assert_int_equal(shutdown(client.fd, SHUT_WR), 0);
	run_until(server_has_ended);
	assert_says(&server.err, E_CLOSED, "connection ended without close_notify");
}

static void reports_damaged_records(void **state)
{
	char junk[30] = "\x17\x03\x03\x00\x19not what was encrypted!!";

	(void)state;
	connect_both(server_context, client_context, "a.test");
	assert_int_equal(send(client.fd, junk, sizeof(junk), 0), sizeof(junk));
	run_until(both_have_ended);
	assert_true(server.has_failed);
	assert_int_equal(server.err.code, E_TLS);
	/* The peer is told: bad_record_mac. */
	assert_says(&client.err, E_TLS, "alert 20");
}

static void refuses_garbage_instead_of_a_hello(void **state)
{
	int fds[2];

	(void)state;
	make_pair(fds);
	start_server(server_context, fds[0]);
	assert_int_equal(send(fds[1], "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	run_until(server_is_done);
	assert_null(server.stream);
	assert_int_equal(server.err.code, E_TLS);
	close(fds[1]);
}

static void reports_a_peer_that_leaves_during_the_handshake(void **state)
{
	int fds[2];

	(void)state;
	make_pair(fds);
	start_server(server_context, fds[0]);
	close(fds[1]);
	run_until(server_is_done);
	assert_says(&server.err, E_CLOSED, "closed the connection during the TLS handshake");
}

static void gives_a_silent_peer_up_at_the_deadline(void **state)
{
	int fds[2];

	(void)state;
	make_pair(fds);
	server.handshake = tls_accept(server_context, adopt(fds[0]), 30, on_done, &server);
	run_until(server_is_done);
	assert_says(&server.err, E_TIMEOUT, "30 ms");
	close(fds[1]);
}

static void cancelled_handshakes_are_silent(void **state)
{
	(void)state;
	start(server_context, client_context, "a.test");
	client.handshake = tls_handshake_cancel(client.handshake);
	run_until(server_is_done);
	assert_int_equal(client.done_count, 0);
	assert_null(server.stream);
}

/* --- A client of another make ---------------------------------------------------------------- */

struct foreign {
	int fd;
	const char *priority;
	gnutls_datum_t ticket; /* in: resume with it; out: the one we got */
	bool does_key_update, renegotiates;
	int result; /* GnuTLS's, of whatever failed first */
	bool is_resumed;
	gnutls_group_t group;
	gnutls_protocol_t version;
	char echo[6];
};

static int foreign_talk(gnutls_session_t session, struct foreign *f)
{
	int ret;

	do
		ret = gnutls_handshake(session);
	while (ret < 0 && !gnutls_error_is_fatal(ret));
	if (ret < 0)
		return ret;
	f->is_resumed = gnutls_session_is_resumed(session);
	f->group = gnutls_group_get(session);
	f->version = gnutls_protocol_get_version(session);
	if (f->does_key_update && (ret = gnutls_session_key_update(session, GNUTLS_KU_PEER)) < 0)
		return ret;
	if (f->renegotiates) {
		do
			ret = gnutls_handshake(session);
		while (ret < 0 && !gnutls_error_is_fatal(ret));
		return ret;
	}
	if ((ret = (int)gnutls_record_send(session, "hello", 5)) < 0)
		return ret;
	size_t got = 0;
	while (got < 5) {
		ret = (int)gnutls_record_recv(session, f->echo + got, 5 - got);
		if (ret == GNUTLS_E_AGAIN || ret == GNUTLS_E_INTERRUPTED)
			continue;
		if (ret <= 0)
			return ret ? ret : GNUTLS_E_PREMATURE_TERMINATION;
		got += (size_t)ret;
	}
	gnutls_free(f->ticket.data);
	f->ticket = (gnutls_datum_t){ 0 };
	if ((ret = gnutls_session_get_data2(session, &f->ticket)) < 0)
		return ret;
	return gnutls_bye(session, GNUTLS_SHUT_WR);
}

static void *foreign_main(void *arg)
{
	struct foreign *f = arg;
	gnutls_certificate_credentials_t trust;
	gnutls_session_t session;

	gnutls_certificate_allocate_credentials(&trust);
	gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_KEY_SHARE_TOP);
	f->result = gnutls_priority_set_direct(session, f->priority, NULL);
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, trust);
	gnutls_server_name_set(session, GNUTLS_NAME_DNS, "a.test", 6);
	if (f->ticket.data)
		gnutls_session_set_data(session, f->ticket.data, f->ticket.size);
	gnutls_transport_set_int(session, f->fd);
	if (f->result == 0)
		f->result = foreign_talk(session, f);
	gnutls_deinit(session);
	gnutls_certificate_free_credentials(trust);
	close(f->fd);
	return NULL;
}

static void on_echo_readable(void *ctx)
{
	uint8_t data[100];

	(void)ctx;
	while (!server.has_ended && !server.has_failed) {
		ssize_t n = byte_stream_read(server.stream, data, sizeof(data), &server.err);
		if (n == E_AGAIN)
			break;
		if (n > 0)
			byte_stream_write(server.stream, bytes_of(data, (size_t)n));
		server.has_ended = n == 0;
		server.has_failed = n < 0;
	}
	progress();
}

static void on_echo_done(void *ctx, struct byte_stream *stream, const struct err *err)
{
	static const struct byte_stream_events events = { .on_readable = on_echo_readable };

	server.handshake = NULL;
	server.stream = stream;
	server.has_failed = stream == NULL;
	if (err)
		server.err = *err;
	if (stream)
		byte_stream_set_events(stream, &events, ctx);
	progress();
}

/* One foreign connection to an echoing server of ours. */
static void talk_to_foreign(struct foreign *f)
{
	pthread_t thread;
	int fds[2];

	make_pair(fds);
	f->fd = fds[1];
	server.has_ended = server.has_failed = false;
	server.handshake = tls_accept(server_context, adopt(fds[0]), 10000, on_echo_done, &server);
	assert_int_equal(pthread_create(&thread, NULL, foreign_main, f), 0);
	run_until(server_has_ended);
	server.stream = byte_stream_close(server.stream);
	/* Our side is gone, so the thread's calls return. */
	loop = loop_free(loop);
	pthread_join(thread, NULL);
	loop = loop_new(NULL);
	timer_init(&watchdog, loop, on_watchdog);
	timer_init(&server.resume, loop, on_resume);
	timer_init(&client.resume, loop, on_resume);
}

static void assert_echoed(const struct foreign *f)
{
	if (f->result < 0)
		fail_msg("foreign client: %s; server: %s", gnutls_strerror(f->result),
			 server.err.text);
	assert_string_equal(f->echo, "hello");
	assert_true(server.has_ended);
}

static void asks_again_for_p256_when_no_key_share_fits(void **state)
{
	/* As stock connectors do it: a share for a group we lack, P-256 on offer. */
	struct foreign f = {
		.priority = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-SECP521R1:"
			    "+GROUP-SECP256R1",
	};

	(void)state;
	talk_to_foreign(&f);
	assert_echoed(&f);
	assert_int_equal(f.group, GNUTLS_GROUP_SECP256R1);
	gnutls_free(f.ticket.data);
}

static void speaks_tls12(void **state)
{
	struct foreign f = { .priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2" };

	(void)state;
	talk_to_foreign(&f);
	assert_echoed(&f);
	assert_int_equal(f.version, GNUTLS_TLS1_2);
	gnutls_free(f.ticket.data);
}

static void refuses_older_versions(void **state)
{
	struct foreign f = { .priority =
				     "NORMAL:-VERS-ALL:+VERS-TLS1.1:%VERIFY_ALLOW_SIGN_WITH_SHA1" };

	(void)state;
	talk_to_foreign(&f);
	assert_true(f.result < 0);
	assert_int_equal(server.err.code, E_TLS);
}

static void resume_with(const char *priority)
{
	struct foreign f = { .priority = priority };

	talk_to_foreign(&f);
	assert_echoed(&f);
	assert_false(f.is_resumed);
	talk_to_foreign(&f);
	assert_echoed(&f);
	assert_true(f.is_resumed);
	gnutls_free(f.ticket.data);
}

static void resumes_tls13_with_a_ticket(void **state)
{
	(void)state;
	resume_with("NORMAL:-VERS-ALL:+VERS-TLS1.3");
}

static void resumes_tls12_with_a_ticket(void **state)
{
	(void)state;
	resume_with("NORMAL:-VERS-ALL:+VERS-TLS1.2");
}

static void follows_key_updates(void **state)
{
	struct foreign f = {
		.priority = "NORMAL:-VERS-ALL:+VERS-TLS1.3",
		.does_key_update = true,
	};

	(void)state;
	talk_to_foreign(&f);
	assert_echoed(&f);
	gnutls_free(f.ticket.data);
}

static void refuses_renegotiation(void **state)
{
	struct foreign f = {
		.priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2",
		.renegotiates = true,
	};

	(void)state;
	talk_to_foreign(&f);
	assert_true(server.has_failed);
	assert_says(&server.err, E_TLS, "renegotiation");
	assert_true(f.result < 0);
}

static void names_its_library(void **state)
{
	(void)state;
	assert_memory_equal(tls_library_version(), "GnuTLS 3.", 9);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names_its_library),
		TEST(agrees_on_tls13_and_tells_the_name_in_lower_case),
		TEST(never_calls_done_inside_the_starting_call),
		TEST(chooses_the_certificate_by_name),
		TEST(refuses_an_unknown_name_with_unrecognized_name),
		TEST(context_outlives_its_sessions_and_drops_its_choice),
		TEST(alpn_follows_the_servers_preference),
		TEST(alpn_without_a_match_is_refused),
		TEST(alpn_is_optional_for_either_side),
		TEST(alpn_names_have_a_limit),
		TEST(verifies_ip_addresses),
		TEST(refuses_another_ip_address),
		TEST(refuses_a_certificate_of_another_name),
		TEST(refuses_an_unknown_issuer),
		TEST(system_roots_alone_do_not_know_our_ca),
		TEST(refuses_an_expired_certificate),
		TEST(accepts_anything_when_told_not_to_verify),
		TEST(refuses_to_verify_without_a_name),
		TEST(refuses_a_name_that_is_none),
		TEST(names_the_ca_file_that_cannot_be_used),
		TEST(carries_megabytes_both_ways_past_slow_readers),
		TEST(small_writes_of_a_turn_leave_as_one_record),
		TEST(closing_sends_what_was_taken_and_says_goodbye),
		TEST(shutdown_ends_one_direction_only),
		TEST(reports_an_end_without_close_notify),
		TEST(reports_a_record_that_is_cut_off),
		TEST(reports_damaged_records),
		TEST(refuses_garbage_instead_of_a_hello),
		TEST(reports_a_peer_that_leaves_during_the_handshake),
		TEST(gives_a_silent_peer_up_at_the_deadline),
		TEST(cancelled_handshakes_are_silent),
		TEST(asks_again_for_p256_when_no_key_share_fits),
		TEST(speaks_tls12),
		TEST(refuses_older_versions),
		TEST(resumes_tls13_with_a_ticket),
		TEST(resumes_tls12_with_a_ticket),
		TEST(follows_key_updates),
		TEST(refuses_renegotiation),
	};

	return cmocka_run_group_tests_name("tls", tests, set_up_all, tear_down_all);
}
