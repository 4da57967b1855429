/* Our server against a plain GnuTLS client on a thread of its own, which does what our client never
 * does: older versions, tickets, key updates, renegotiation, a key share that does not fit. */
#include "unit/tls/ends.h"

#include <gnutls/gnutls.h>
#include <pthread.h>

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

/* Resumes after the keys changed from `before` to `after`? */
static bool resumes_after(const char *priority, const uint8_t (*before)[TLS_TICKET_KEY_BYTES],
			  size_t before_count, const uint8_t (*after)[TLS_TICKET_KEY_BYTES],
			  size_t after_count)
{
	struct foreign f = { .priority = priority };

	tls_tickets_set_keys(before, before_count);
	talk_to_foreign(&f);
	assert_echoed(&f);
	assert_false(f.is_resumed);
	tls_tickets_set_keys(after, after_count);
	talk_to_foreign(&f);
	assert_echoed(&f);
	gnutls_free(f.ticket.data);
	return f.is_resumed;
}

static void resumes_with_an_older_key_as_long_as_it_is_there(void **state)
{
	static const uint8_t one[1][TLS_TICKET_KEY_BYTES] = { "first" };
	static const uint8_t two[2][TLS_TICKET_KEY_BYTES] = { "second", "first" };
	static const uint8_t three[3][TLS_TICKET_KEY_BYTES] = { "third", "second", "first" };
	static const uint8_t later[2][TLS_TICKET_KEY_BYTES] = { "third", "second" };
	static const char *const versions[] = { "NORMAL:-VERS-ALL:+VERS-TLS1.3",
						"NORMAL:-VERS-ALL:+VERS-TLS1.2" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		assert_true(resumes_after(versions[i], one, 1, two, 2));
		assert_true(resumes_after(versions[i], one, 1, three, 3));
		assert_false(resumes_after(versions[i], one, 1, later, 2));
	}
}

static void gives_no_tickets_without_keys(void **state)
{
	static const uint8_t one[1][TLS_TICKET_KEY_BYTES] = { "first" };

	(void)state;
	assert_false(resumes_after("NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL, 0, NULL, 0));
	assert_false(resumes_after("NORMAL:-VERS-ALL:+VERS-TLS1.2", NULL, 0, NULL, 0));
	assert_false(resumes_after("NORMAL:-VERS-ALL:+VERS-TLS1.3", one, 1, NULL, 0));
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(asks_again_for_p256_when_no_key_share_fits),
		TEST(speaks_tls12),
		TEST(refuses_older_versions),
		TEST(resumes_tls13_with_a_ticket),
		TEST(resumes_tls12_with_a_ticket),
		TEST(follows_key_updates),
		TEST(resumes_with_an_older_key_as_long_as_it_is_there),
		TEST(gives_no_tickets_without_keys),
		TEST(refuses_renegotiation),
	};

	return cmocka_run_group_tests_name("tls_foreign", tests, set_up_all, tear_down_all);
}
