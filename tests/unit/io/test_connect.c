#include "turns.h"

#include <pthread.h>
#include <stdlib.h>

#include "io/conn.h"

/* The one attempt of a test and what came of it. */
static struct conn_attempt *attempt;
static int done_count;
static struct byte_stream *connected;
static struct err done_err;
static char peer_text[ADDRESS_TEXT_SIZE];
static int done_ctx;

static char folder[64];
static int blackhole_fds[8]; /* of a listener that answers no more, and of those that filled it */

static void on_done(void *ctx, struct byte_stream *stream, const struct err *err)
{
	assert_ptr_equal(ctx, &done_ctx);
	done_count++;
	attempt = NULL;
	connected = stream;
	if (stream) {
		assert_null(err);
		address_text(stream->peer, peer_text);
	} else {
		done_err = *err;
	}
	happened();
}

static int start(void **state)
{
	attempt = NULL;
	done_count = 0;
	connected = NULL;
	peer_text[0] = 0;
	memset(&done_err, 0, sizeof(done_err));
	for (size_t i = 0; i < ARRAY_LEN(blackhole_fds); i++)
		blackhole_fds[i] = -1;
	return make_loop(state);
}

static int stop(void **state)
{
	conn_attempt_cancel(attempt);
	byte_stream_close(connected);
	for (size_t i = 0; i < ARRAY_LEN(blackhole_fds); i++)
		if (blackhole_fds[i] >= 0)
			close(blackhole_fds[i]);
	return free_loop(state);
}

/* A port where connections are never answered: the queue of its listener is full. */
static void blackhole(const char *ip, struct address *ret)
{
	blackhole_fds[0] = raw_listener(ip, 0, 0, ret);
	assert_true(blackhole_fds[0] >= 0);
	for (size_t i = 1; i < ARRAY_LEN(blackhole_fds); i++) {
		int fd = socket(ret->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		blackhole_fds[i] = fd;
		(void)connect(fd, &ret->any, ret->len);
	}
}

/* A port that nobody listens on. */
static void closed_port(const char *ip, struct address *ret)
{
	int fd = raw_listener(ip, 0, 1, ret);

	assert_true(fd >= 0);
	close(fd);
}

static bool has_ipv6(void)
{
	struct address address;
	int fd = raw_listener("::1", 0, 1, &address);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void to_address(const struct address *to, int64_t timeout_ms)
{
	int before = done_count;

	attempt = conn_connect(loop, to, timeout_ms, on_done, &done_ctx);
	assert_int_equal(done_count, before); /* never inside the call */
}

static void to_name(const char *host, uint16_t port, int64_t timeout_ms)
{
	int before = done_count;

	attempt = conn_connect_name(loop, bytes_str(host), port, timeout_ms, on_done, &done_ctx);
	assert_int_equal(done_count, before);
}

static void socket_path(const char *name, struct address *ret)
{
	char text[128];

	snprintf(text, sizeof(text), "unix:%s/%s", folder, name);
	assert_int_equal(address_parse(bytes_str(text), ret, NULL), 0);
	unlink(ret->local.sun_path);
}

static int unix_listener(const struct address *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, &address->any, address->len), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

/* --- One address ----------------------------------------------------------------------------- */

static void a_connection_knows_its_peer_and_carries_bytes(void **state)
{
	struct address address;
	char want[ADDRESS_TEXT_SIZE], got[8];
	int listener = raw_listener("127.0.0.1", 0, 5, &address);

	to_address(&address, 5000);
	WAIT_FOR(done_count == 1);
	assert_non_null(connected);
	assert_string_equal(peer_text, address_text(&address, want));
	int fd = accept(listener, NULL, NULL);
	assert_int_equal(byte_stream_write(connected, BYTES_LIT("hi")), 2);
	let_it_turn();
	assert_int_equal(read(fd, got, sizeof(got)), 2);
	close(fd);
	close(listener);
}

static void a_refusal_says_so_with_the_address(void **state)
{
	struct address address;
	char text[ADDRESS_TEXT_SIZE];

	closed_port("127.0.0.1", &address);
	to_address(&address, 5000);
	WAIT_FOR(done_count == 1);
	assert_null(connected);
	assert_int_equal(done_err.code, E_REFUSED);
	assert_int_equal(done_err.sys_errno, ECONNREFUSED);
	assert_non_null(strstr(done_err.text, address_text(&address, text)));
	let_it_turn();
	assert_int_equal(done_count, 1);
}

static void silence_is_a_timeout(void **state)
{
	struct address address;

	blackhole("127.0.0.1", &address);
	to_address(&address, 50);
	WAIT_FOR(done_count == 1);
	assert_null(connected);
	assert_int_equal(done_err.code, E_TIMEOUT);
	assert_int_equal(done_err.sys_errno, ETIMEDOUT);
}

static void an_impossible_address_fails_later_too(void **state)
{
	struct address address;

	/* A broadcast address cannot be connected to. */
	assert_true(address_from_ip(BYTES_LIT("255.255.255.255"), 80, &address));
	to_address(&address, 5000);
	WAIT_FOR(done_count == 1);
	assert_null(connected);
	assert_int_equal(done_err.code, E_IO);
	assert_int_not_equal(done_err.sys_errno, 0);
}

static void unix_sockets_connect_or_say_why_not(void **state)
{
	struct address address;

	socket_path("a.sock", &address);
	to_address(&address, 5000);
	WAIT_FOR(done_count == 1);
	assert_int_equal(done_err.code, E_IO);
	assert_int_equal(done_err.sys_errno, ENOENT);

	int listener = unix_listener(&address);
	to_address(&address, 5000);
	WAIT_FOR(done_count == 2);
	assert_non_null(connected);
	close(listener);

	/* The file is still there, the listener is not. */
	connected = byte_stream_close(connected);
	to_address(&address, 5000);
	WAIT_FOR(done_count == 3);
	assert_int_equal(done_err.code, E_REFUSED);
	assert_int_equal(done_err.sys_errno, ECONNREFUSED);
	unlink(address.local.sun_path);
}

/* --- Names ----------------------------------------------------------------------------------- */

static void ip_literals_are_no_names(void **state)
{
	struct address address;
	int listener = raw_listener("127.0.0.1", 0, 5, &address);

	to_name("127.0.0.1", address_port(&address), 5000);
	WAIT_FOR(done_count == 1);
	assert_non_null(connected);
	close(listener);
}

static void localhost_is_either_loopback_address(void **state)
{
	static const char *const ips[] = { "127.0.0.1", "::1" };

	for (size_t i = 0; i < ARRAY_LEN(ips); i++) {
		struct address address;
		int listener = raw_listener(ips[i], 0, 5, &address);
		if (listener < 0)
			continue; /* no IPv6 here */
		to_name("LocalHost", address_port(&address), 5000);
		WAIT_FOR(done_count == (int)i + 1);
		assert_non_null(connected);
		connected = byte_stream_close(connected);
		close(listener);
	}
}

static void localhost_without_a_service_is_refused(void **state)
{
	struct address address;

	closed_port("127.0.0.1", &address);
	to_name("localhost", address_port(&address), 5000);
	WAIT_FOR(done_count == 1);
	assert_null(connected);
	/* Whatever ::1 said, a lack of IPv6 included. */
	assert_int_equal(done_err.code, E_REFUSED);
	assert_int_equal(done_err.sys_errno, ECONNREFUSED);
}

static void a_silent_address_does_not_hold_up_the_next(void **state)
{
	struct address silent, speaking;

	if (!has_ipv6())
		skip();
	blackhole("::1", &silent);
	int listener = raw_listener("127.0.0.1", address_port(&silent), 5, &speaking);
	if (listener < 0)
		skip(); /* somebody has that port */
	to_name("localhost", address_port(&silent), 10000);
	WAIT_FOR(done_count == 1);
	assert_non_null(connected);
	assert_int_equal(connected->peer->any.sa_family, AF_INET);
	close(listener);
}

static void localhost_is_ipv6_where_both_answer(void **state)
{
	struct address four, six;

	if (!has_ipv6())
		skip();
	int listener4 = raw_listener("127.0.0.1", 0, 5, &four);
	int listener6 = raw_listener("::1", address_port(&four), 5, &six);
	if (listener6 < 0)
		skip(); /* somebody has that port */
	to_name("localhost", address_port(&four), 10000);
	WAIT_FOR(done_count == 1);
	assert_non_null(connected);
	assert_int_equal(connected->peer->any.sa_family, AF_INET6);
	close(listener4);
	close(listener6);
}

static void to_name_serially(const char *host, uint16_t port, int64_t timeout_ms)
{
	attempt = conn_connect_name_serial(loop, bytes_str(host), port, timeout_ms, on_done,
					   &done_ctx);
}

static void one_after_the_other_goes_on_when_one_has_refused(void **state)
{
	struct address address;
	int listener = raw_listener("127.0.0.1", 0, 5, &address);

	to_name_serially("localhost", address_port(&address), 5000);
	WAIT_FOR(done_count == 1);
	assert_non_null(connected);
	assert_int_equal(connected->peer->any.sa_family, AF_INET);
	connected = byte_stream_close(connected);
	/* The resolver's own order. */
	to_name_serially("127.1", address_port(&address), 5000);
	WAIT_FOR(done_count == 2);
	assert_non_null(connected);
	close(listener);
}

static void one_after_the_other_waits_for_the_first(void **state)
{
	struct address silent, speaking;

	if (!has_ipv6())
		skip();
	blackhole("::1", &silent);
	int listener = raw_listener("127.0.0.1", address_port(&silent), 5, &speaking);
	if (listener < 0)
		skip(); /* somebody has that port */
	set_nonblocking(listener);
	/* Twice as long as racing would wait; the first one's share is longer still. */
	to_name_serially("localhost", address_port(&silent), 500);
	WAIT_FOR(done_count == 1);
	assert_null(connected);
	assert_int_equal(done_err.code, E_TIMEOUT);
	assert_non_null(strstr(done_err.text, "[::1]"));
	assert_int_equal(accept(listener, NULL, NULL), -1);
	close(listener);
}

static int asked_count;

static bool allows_ipv4(void *ctx, const struct address *to)
{
	assert_ptr_equal(ctx, &asked_count);
	assert_int_not_equal(address_port(to), 0);
	asked_count++;
	return to->any.sa_family == AF_INET;
}

static void only_what_is_allowed_is_connected_to(void **state)
{
	static const struct {
		const char *host;
		bool is_allowed;
		int asked;
	} cases[] = {
		{ "localhost", true, 2 }, { "127.0.0.1", true, 1 },         { "::1", false, 1 },
		{ "127.1", true, 1 },     { "::ffff:127.0.0.1", false, 1 },
	};
	const struct conn_name_options options = { .allows = allows_ipv4,
						   .allows_ctx = &asked_count };
	struct address address;
	int listener = raw_listener("127.0.0.1", 0, 5, &address);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		asked_count = 0;
		attempt = conn_connect_name_with(loop, bytes_str(cases[i].host),
						 address_port(&address), 5000, &options, on_done,
						 &done_ctx);
		assert_int_equal(done_count, i);
		WAIT_FOR(done_count == (int)i + 1);
		assert_int_equal(asked_count, cases[i].asked);
		assert_int_equal(connected != NULL, cases[i].is_allowed);
		if (!connected)
			assert_int_equal(done_err.code, E_DENIED);
		connected = byte_stream_close(connected);
	}
	close(listener);
}

/* --- Several addresses ----------------------------------------------------------------------- */

static void known_addresses_are_raced_in_their_order(void **state)
{
	struct address addresses[3];
	char want[ADDRESS_TEXT_SIZE];

	closed_port("127.0.0.1", &addresses[0]);
	blackhole("127.0.0.1", &addresses[1]);
	int listener = raw_listener("127.0.0.1", 0, 5, &addresses[2]);
	attempt = conn_connect_any(loop, addresses, 3, NULL, 10000, on_done, &done_ctx);
	WAIT_FOR(done_count == 1);
	assert_non_null(connected);
	assert_string_equal(peer_text, address_text(&addresses[2], want));
	close(listener);
}

static void a_connection_comes_from_the_address_it_is_told(void **state)
{
	struct address address, from, local;
	int listener = raw_listener("127.0.0.1", 0, 5, &address);

	assert_true(address_from_ip(BYTES_LIT("127.0.0.9"), 0, &from));
	attempt = conn_connect_any(loop, &address, 1, &from, 10000, on_done, &done_ctx);
	WAIT_FOR(done_count == 1);
	assert_non_null(connected);
	conn_local_address(connected, &local);
	assert_int_equal(local.v4.sin_addr.s_addr, from.v4.sin_addr.s_addr);
	assert_true(address_port(&local) > 0);
	connected = byte_stream_close(connected);

	/* By name, too. */
	const struct conn_name_options options = { .from = &from };
	attempt = conn_connect_name_with(loop, BYTES_LIT("localhost"), address_port(&address),
					 10000, &options, on_done, &done_ctx);
	WAIT_FOR(done_count == 2);
	assert_non_null(connected);
	conn_local_address(connected, &local);
	assert_int_equal(local.v4.sin_addr.s_addr, from.v4.sin_addr.s_addr);
	close(listener);
}

static void an_address_that_is_not_ours_is_told(void **state)
{
	struct address address, from;
	int listener = raw_listener("127.0.0.1", 0, 5, &address);

	assert_true(address_from_ip(BYTES_LIT("203.0.113.9"), 0, &from));
	attempt = conn_connect_any(loop, &address, 1, &from, 10000, on_done, &done_ctx);
	WAIT_FOR(done_count == 1);
	assert_null(connected);
	assert_int_equal(done_err.sys_errno, EADDRNOTAVAIL);
	assert_non_null(strstr(done_err.text, "connect from 203.0.113.9 to 127.0.0.1:"));
	close(listener);
}

static void names_are_looked_up_off_the_loop(void **state)
{
	struct address address;
	int listener = raw_listener("127.0.0.1", 0, 5, &address);

	/* Old spellings that the resolver reads and asks nobody about. */
	to_name("127.1", address_port(&address), 5000);
	WAIT_FOR(done_count == 1);
	assert_non_null(connected);
	assert_int_equal(address_port(connected->peer), address_port(&address));
	close(listener);
}

static void an_unknown_name_is_not_found(void **state)
{
	char name[300];

	/* Too long for the DNS: refused without a question to anybody. */
	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = 0;
	to_name(name, 80, 10000);
	WAIT_FOR(done_count == 1);
	assert_null(connected);
	assert_int_equal(done_err.code, E_NOT_FOUND);
	assert_non_null(strstr(done_err.text, "lookup aaa"));
}

/* --- Cancelling and timing out, in every phase ------------------------------------------------ */

static void cancel_and_see_that_nothing_follows(void)
{
	attempt = conn_attempt_cancel(attempt);
	assert_null(attempt);
	let_it_turn();
	let_it_turn();
	assert_int_equal(done_count, 0);
}

static void cancelled_while_it_connects(void **state)
{
	struct address address;

	blackhole("127.0.0.1", &address);
	to_address(&address, 5000);
	let_it_turn();
	cancel_and_see_that_nothing_follows();
	assert_null(conn_attempt_cancel(NULL));
}

static void cancelled_when_it_has_just_connected(void **state)
{
	struct address address;
	char c;

	socket_path("b.sock", &address);
	int listener = unix_listener(&address);
	to_address(&address, 5000); /* connected inside the call, told later */
	cancel_and_see_that_nothing_follows();
	int fd = accept(listener, NULL, NULL);
	assert_int_equal(read(fd, &c, 1), 0); /* and closed */
	close(fd);
	close(listener);
	unlink(address.local.sun_path);
}

static void cancelled_when_it_has_just_failed(void **state)
{
	struct address address;

	socket_path("c.sock", &address);
	to_address(&address, 5000);
	cancel_and_see_that_nothing_follows();
}

static struct timer canceller;

static void on_canceller(struct timer *t)
{
	attempt = conn_attempt_cancel(attempt);
	happened();
}

static void cancelled_when_it_has_just_timed_out(void **state)
{
	struct address address;

	blackhole("127.0.0.1", &address);
	to_address(&address, 20);
	timer_init(&canceller, loop, on_canceller);
	timer_set(&canceller, 20); /* fires in the same turn, after the attempt's own */
	WAIT_FOR(!timer_is_set(&canceller));
	let_it_turn();
	assert_int_equal(done_count, 0);
}

/* Keeps every thread of the pool busy, so that a look-up has to wait. */
enum { POOL = 128 };
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static int jobs_done;

static void wait_at_gate(void *arg)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
}

static void on_gate_passed(void *arg)
{
	jobs_done++;
	happened();
}

static void fill_the_pool(void)
{
	jobs_done = 0;
	pthread_mutex_lock(&gate);
	for (int i = 0; i < POOL; i++)
		loop_work(loop, wait_at_gate, on_gate_passed, NULL);
}

static void cancelled_while_the_name_is_looked_up(void **state)
{
	fill_the_pool();
	to_name("127.1", 1, 5000);
	let_it_turn();
	cancel_and_see_that_nothing_follows();
	pthread_mutex_unlock(&gate);
	WAIT_FOR(jobs_done == POOL);
	let_it_turn();
	assert_int_equal(done_count, 0);
}

static void a_slow_look_up_is_a_timeout(void **state)
{
	fill_the_pool();
	to_name("127.1", 1, 20);
	WAIT_FOR(done_count == 1);
	assert_null(connected);
	assert_int_equal(done_err.code, E_TIMEOUT);
	assert_non_null(strstr(done_err.text, "127.1"));
	pthread_mutex_unlock(&gate);
	WAIT_FOR(jobs_done == POOL);
	let_it_turn();
	assert_int_equal(done_count, 1);
}

static void a_look_up_may_outlive_its_attempt_and_the_loop_waits(void **state)
{
	to_name("127.1", 1, 5000);
	attempt = conn_attempt_cancel(attempt);
	loop = loop_free(loop);
	assert_int_equal(done_count, 0);
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(a_connection_knows_its_peer_and_carries_bytes),
		ON_LOOP(a_refusal_says_so_with_the_address),
		ON_LOOP(silence_is_a_timeout),
		ON_LOOP(an_impossible_address_fails_later_too),
		ON_LOOP(unix_sockets_connect_or_say_why_not),
		ON_LOOP(ip_literals_are_no_names),
		ON_LOOP(localhost_is_either_loopback_address),
		ON_LOOP(localhost_without_a_service_is_refused),
		ON_LOOP(a_silent_address_does_not_hold_up_the_next),
		ON_LOOP(localhost_is_ipv6_where_both_answer),
		ON_LOOP(one_after_the_other_goes_on_when_one_has_refused),
		ON_LOOP(one_after_the_other_waits_for_the_first),
		ON_LOOP(only_what_is_allowed_is_connected_to),
		ON_LOOP(known_addresses_are_raced_in_their_order),
		ON_LOOP(a_connection_comes_from_the_address_it_is_told),
		ON_LOOP(an_address_that_is_not_ours_is_told),
		ON_LOOP(names_are_looked_up_off_the_loop),
		ON_LOOP(an_unknown_name_is_not_found),
		ON_LOOP(cancelled_while_it_connects),
		ON_LOOP(cancelled_when_it_has_just_connected),
		ON_LOOP(cancelled_when_it_has_just_failed),
		ON_LOOP(cancelled_when_it_has_just_timed_out),
		ON_LOOP(cancelled_while_the_name_is_looked_up),
		ON_LOOP(a_slow_look_up_is_a_timeout),
		ON_LOOP(a_look_up_may_outlive_its_attempt_and_the_loop_waits),
	};

	snprintf(folder, sizeof(folder), "/tmp/test_connect.XXXXXX");
	if (!mkdtemp(folder))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
