/* Both sides of TLS, ours, over a socketpair in one loop. */
#include "unit/tls/ends.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <time.h>

#include "base/limits.h"

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

static const char *const only_acme[] = { TLS_CHALLENGE_ALPN, NULL };

/* Of a.test only, and that of b.test, so that it can be told apart. */
static struct tls_certificate *choose_challenge(void *ctx, struct bytes name)
{
	(void)ctx;
	return bytes_eq(name, BYTES_LIT("a.test")) ? cert_b : NULL;
}

static struct tls_context *make_challenged(void)
{
	struct tls_context *s = tls_context_server(choose, NULL, NULL, h2_and_h1, NULL);

	tls_context_set_challenges(s, choose_challenge);
	return s;
}

static void a_challenge_is_shown_to_who_looks_for_it_only(void **state)
{
	struct tls_context *s = make_challenged();
	struct tls_context *authority = make_client(ca.cert_pem, false, only_acme);
	struct tls_context *browser = make_client(ca.cert_pem, false, h1_and_h2);

	(void)state;
	connect_both(s, authority, "a.test");
	assert_says(&client.err, E_TLS, "it is for another name (b.test)");
	end_drop(&client);
	end_drop(&server);
	client.done_count = server.done_count = 0;
	connect_both(s, browser, "a.test");
	assert_up();
	assert_true(bytes_eq(tls_alpn(server.stream), BYTES_LIT("h2")));
	tls_context_unref(s);
	tls_context_unref(authority);
	tls_context_unref(browser);
}

static void a_challenge_that_is_not_there_is_refused(void **state)
{
	struct tls_context *s = make_challenged();
	struct tls_context *c = make_client(ca.cert_pem, false, only_acme);

	(void)state;
	connect_both(s, c, "b.test");
	assert_null(server.stream);
	assert_says(&client.err, E_TLS, "alert 112");
	tls_context_unref(s);
	tls_context_unref(c);
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

/* For a.test, but as the authority makes none: over since yesterday, or with no SAN. */
static struct tls_certificate *make_odd(bool is_expired, bool has_san)
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
	gnutls_x509_crt_set_expiration_time(cert, is_expired ? now - 86400 : now + 86400);
	gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, "a.test", 6);
	if (has_san)
		gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, "a.test", 6,
						     GNUTLS_FSAN_SET);
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
	struct tls_certificate *expired = make_odd(true, true);

	(void)state;
	connect_to(expired, client_context, "a.test");
	assert_says(&client.err, E_TLS, "it expired on 20");
	assert_says(&server.err, E_TLS, "alert 45");
	tls_certificate_unref(expired);
}

static void refuses_a_common_name_without_san(void **state)
{
	struct tls_certificate *old = make_odd(false, false);

	(void)state;
	connect_to(old, client_context, "a.test");
	assert_says(&client.err, E_TLS, "it names no host");
	tls_certificate_unref(old);
}

static void accepts_anything_when_told_not_to_verify(void **state)
{
	struct tls_context *c = make_client(NULL, true, NULL);
	struct tls_certificate *expired = make_odd(true, true);

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
		TEST(a_challenge_is_shown_to_who_looks_for_it_only),
		TEST(a_challenge_that_is_not_there_is_refused),
		TEST(verifies_ip_addresses),
		TEST(refuses_another_ip_address),
		TEST(refuses_a_certificate_of_another_name),
		TEST(refuses_an_unknown_issuer),
		TEST(system_roots_alone_do_not_know_our_ca),
		TEST(refuses_an_expired_certificate),
		TEST(refuses_a_common_name_without_san),
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
	};

	return cmocka_run_group_tests_name("tls", tests, set_up_all, tear_down_all);
}
