#include "turns.h"

#include <pthread.h>
#include <time.h>

#include "base/limits.h"
#include "base/random.h"
#include "io/conn.h"

/* The user of a connection. */
struct user {
	struct byte_stream *stream;
	bool has_room; /* reads when told to */
	uint8_t in[65536];
	size_t in_len;
	bool has_end;
	struct err read_err, error;
	int readable, writable, errors;
	bool close_in_readable;
	void (*in_writable)(struct user *u);
};

static void user_on_readable(void *ctx)
{
	struct user *u = ctx;

	u->readable++;
	happened();
	if (u->close_in_readable) {
		u->stream = byte_stream_close(u->stream);
		return;
	}
	while (u->has_room && !u->has_end && u->in_len < sizeof(u->in)) {
		ssize_t n = byte_stream_read(u->stream, u->in + u->in_len,
					     sizeof(u->in) - u->in_len, &u->read_err);
		if (n == E_AGAIN)
			return;
		if (n <= 0) {
			u->has_end = true;
			return;
		}
		u->in_len += (size_t)n;
	}
}

static void user_on_writable(void *ctx)
{
	struct user *u = ctx;

	u->writable++;
	if (u->in_writable)
		u->in_writable(u);
	happened();
}

static void user_on_error(void *ctx, const struct err *err)
{
	struct user *u = ctx;

	u->errors++;
	u->error = *err;
	happened();
}

static const struct byte_stream_events user_events = {
	.on_readable = user_on_readable,
	.on_writable = user_on_writable,
	.on_error = user_on_error,
};

static struct user user;
static int peer; /* the other end, a plain blocking socket */

static int start(void **state)
{
	memset(&user, 0, sizeof(user));
	user.has_room = true;
	return make_loop(state);
}

static int stop(void **state)
{
	user.stream = byte_stream_close(user.stream);
	if (peer >= 0)
		close(peer);
	peer = -1;
	return free_loop(state);
}

static void adopt(int fd, sa_family_t family)
{
	struct address address;

	memset(&address, 0, sizeof(address));
	address.any.sa_family = family;
	set_nonblocking(fd);
	user.stream = conn_adopt(loop, fd, &address);
	byte_stream_set_events(user.stream, &user_events, &user);
}

static void connected(void)
{
	int fds[2];

	tcp_pair(fds);
	adopt(fds[0], AF_INET);
	peer = fds[1];
}

static void connected_locally(int send_buffer)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
	adopt(fds[0], AF_UNIX);
	peer = fds[1];
}

static void peer_says(const char *text)
{
	assert_int_equal(write(peer, text, strlen(text)), strlen(text));
}

static void assert_peer_hears(const char *text)
{
	char got[256];
	size_t n = 0;

	while (n < strlen(text)) {
		ssize_t r = read(peer, got + n, strlen(text) - n);
		assert_true(r > 0);
		n += (size_t)r;
	}
	assert_memory_equal(got, text, n);
}

/* --- Reading --------------------------------------------------------------------------------- */

static void bytes_then_the_end_are_read(void **state)
{
	connected();
	peer_says("hello");
	WAIT_FOR(user.in_len == 5);
	assert_memory_equal(user.in, "hello", 5);
	assert_false(user.has_end);
	peer_says(" again");
	shutdown(peer, SHUT_WR);
	WAIT_FOR(user.has_end);
	assert_int_equal(user.in_len, 11);
	assert_int_equal(user.read_err.code, 0);
	assert_int_equal(user.errors, 0);
}

static void who_does_not_read_is_not_asked_again_until_it_wants(void **state)
{
	connected();
	user.has_room = false;
	peer_says("hello");
	WAIT_FOR(user.readable == 1);
	let_it_turn();
	peer_says(" more");
	let_it_turn();
	assert_int_equal(user.readable, 1);
	user.has_room = true;
	byte_stream_want_read(user.stream);
	assert_int_equal(user.in_len, 0); /* never inside the call */
	WAIT_FOR(user.in_len == 10);
}

static void a_peer_that_sends_to_a_paused_reader_is_stopped_by_the_kernel(void **state)
{
	static const char data[65536];
	size_t sent = 0;
	ssize_t n;

	connected_locally(65536);
	user.has_room = false;
	set_nonblocking(peer);
	for (int i = 0; i < 10; i++) {
		while ((n = write(peer, data, sizeof(data))) > 0)
			sent += (size_t)n;
		assert_int_equal(errno, EAGAIN);
		let_it_turn();
	}
	assert_in_range(sent, 1, 2 << 20);
	user.has_room = true;
	byte_stream_want_read(user.stream);
	size_t received = 0;
	shutdown(peer, SHUT_WR);
	while (!user.has_end) {
		WAIT_FOR(user.in_len || user.has_end);
		received += user.in_len;
		user.in_len = 0;
		byte_stream_want_read(user.stream);
	}
	assert_int_equal(received, sent);
}

static void after_the_peers_end_we_may_still_speak(void **state)
{
	connected();
	shutdown(peer, SHUT_WR);
	WAIT_FOR(user.has_end);
	assert_int_equal(byte_stream_write(user.stream, BYTES_LIT("answer")), 6);
	byte_stream_shutdown(user.stream);
	let_it_turn();
	assert_peer_hears("answer");
	char c;
	assert_int_equal(read(peer, &c, 1), 0);
}

static void after_our_end_the_peer_may_still_speak(void **state)
{
	char c;

	connected();
	assert_int_equal(byte_stream_write(user.stream, BYTES_LIT("request")), 7);
	byte_stream_shutdown(user.stream);
	assert_int_equal(byte_stream_write(user.stream, BYTES_LIT("too late")), 8);
	let_it_turn();
	assert_peer_hears("request");
	assert_int_equal(read(peer, &c, 1), 0);
	peer_says("response");
	WAIT_FOR(user.in_len == 8);
	assert_false(user.has_end);
}

/* --- Writing --------------------------------------------------------------------------------- */

static void what_one_turn_writes_leaves_at_its_end(void **state)
{
	char got[16];

	connected();
	assert_int_equal(byte_stream_write(user.stream, BYTES_LIT("a")), 1);
	assert_int_equal(byte_stream_write(user.stream, BYTES_LIT("bc")), 2);
	assert_int_equal(byte_stream_backlog(user.stream), 3);
	set_nonblocking(peer);
	assert_int_equal(read(peer, got, sizeof(got)), -1);
	let_it_turn();
	assert_int_equal(byte_stream_backlog(user.stream), 0);
	assert_int_equal(read(peer, got, sizeof(got)), 3);
	assert_int_equal(byte_stream_write(user.stream, BYTES_NONE), 0);
	let_it_turn();
	assert_int_equal(user.writable, 0);
}

static uint8_t pattern_at(size_t i)
{
	return (uint8_t)(i * 2654435761u >> 24);
}

enum { STREAM_BYTES = 6 << 20 };
static size_t written;

static void write_more(struct user *u)
{
	static uint8_t data[100000];

	while (written < STREAM_BYTES) {
		size_t n = 1 + random_below(sizeof(data));
		if (n > STREAM_BYTES - written)
			n = STREAM_BYTES - written;
		for (size_t i = 0; i < n; i++)
			data[i] = pattern_at(written + i);
		size_t taken = byte_stream_write(u->stream, bytes_of(data, n));
		assert_true(taken <= n);
		written += taken;
		assert_true(byte_stream_backlog(u->stream) <= LIMIT_WRITE_BACKLOG_BYTES);
		if (taken < n)
			return;
	}
	byte_stream_shutdown(u->stream);
}

static void *checking_reader(void *arg)
{
	uint8_t got[7000];
	size_t total = 0;
	ssize_t n;

	while ((n = read(peer, got, 1 + random_below(sizeof(got)))) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (got[i] != pattern_at(total++))
				return (void *)1;
	return n == 0 && total == STREAM_BYTES ? NULL : (void *)2;
}

static void a_short_write_is_followed_by_writable_until_all_is_through(void **state)
{
	pthread_t thread;
	void *result;

	connected_locally(16384);
	written = 0;
	user.in_writable = write_more;
	write_more(&user);
	assert_true(written < STREAM_BYTES);
	size_t before = written;
	let_it_turn();
	assert_int_equal(user.writable, 0); /* nobody reads yet */
	assert_int_equal(written, before);
	pthread_create(&thread, NULL, checking_reader, NULL);
	WAIT_FOR(written == STREAM_BYTES);
	assert_true(user.writable > 1);
	while (byte_stream_backlog(user.stream))
		let_it_turn();
	pthread_join(thread, &result);
	assert_null(result);
}

/* --- Failures -------------------------------------------------------------------------------- */

static void a_reset_is_reported_to_the_reader(void **state)
{
	connected();
	let_it_turn();
	reset_and_close(peer);
	peer = -1;
	WAIT_FOR(user.has_end);
	assert_int_equal(user.read_err.code, E_CLOSED);
	assert_int_equal(user.read_err.sys_errno, ECONNRESET);
}

static void a_reset_right_behind_data_is_seen_after_the_data(void **state)
{
	connected();
	let_it_turn();
	peer_says("part"); /* both are there before the loop looks */
	reset_and_close(peer);
	peer = -1;
	WAIT_FOR(user.has_end || user.errors);
	assert_int_equal(user.in_len, 4);
	const struct err *err = user.has_end ? &user.read_err : &user.error;
	assert_int_equal(err->code, E_CLOSED);
	assert_int_equal(err->sys_errno, ECONNRESET);
}

static void a_reset_is_noticed_while_nobody_reads_nor_writes(void **state)
{
	connected();
	user.has_room = false;
	peer_says("unread");
	WAIT_FOR(user.readable == 1);
	let_it_turn();
	reset_and_close(peer);
	peer = -1;
	WAIT_FOR(user.errors);
	assert_int_equal(user.error.code, E_CLOSED);
	assert_int_equal(user.error.sys_errno, ECONNRESET);
	let_it_turn();
	assert_int_equal(user.errors, 1);
}

static void an_end_is_no_error_while_nobody_reads(void **state)
{
	connected();
	user.has_room = false;
	peer_says("unread");
	WAIT_FOR(user.readable == 1);
	shutdown(peer, SHUT_WR);
	let_it_turn();
	let_it_turn();
	assert_int_equal(user.errors, 0);
	assert_int_equal(user.readable, 1);
	user.has_room = true;
	byte_stream_want_read(user.stream);
	WAIT_FOR(user.has_end);
	assert_int_equal(user.in_len, 6);
	assert_int_equal(user.read_err.code, 0);
}

static void a_reset_is_noticed_with_a_backlog_and_a_paused_reader(void **state)
{
	static const uint8_t data[4 << 20];

	connected();
	user.has_room = false;
	peer_says("unread");
	WAIT_FOR(user.readable == 1);
	do { /* the kernel's buffers grow for a while */
		while (byte_stream_write(user.stream, bytes_of(data, sizeof(data))) == sizeof(data))
			;
		let_it_turn();
		let_it_turn();
	} while (byte_stream_backlog(user.stream) == 0);
	reset_and_close(peer);
	peer = -1;
	WAIT_FOR(user.errors);
	assert_int_equal(user.error.sys_errno, ECONNRESET);
}

/* The kernel hands the reset to whoever calls first. */
static void write_meets_the_reset(size_t size)
{
	static const uint8_t data[20000];

	connected();
	user.has_room = false;
	peer_says("part of a body");
	WAIT_FOR(user.readable == 1);
	reset_and_close(peer);
	peer = -1;
	/* Not a turn in between: the write is the first to meet it. */
	assert_int_equal(byte_stream_write(user.stream, bytes_of(data, size)), size);
	user.has_room = true;
	WAIT_FOR(user.has_end || user.errors);
	const struct err *err = user.has_end ? &user.read_err : &user.error;
	assert_int_equal(err->code, E_CLOSED);
	assert_int_equal(err->sys_errno, ECONNRESET);
}

static void a_reset_met_by_a_flush_is_no_proper_end_to_the_reader(void **state)
{
	write_meets_the_reset(1);
}

static void a_reset_met_by_a_direct_write_is_no_proper_end_to_the_reader(void **state)
{
	write_meets_the_reset(20000);
}

static void a_paused_reader_learns_that_its_write_has_failed(void **state)
{
	connected();
	user.has_room = false;
	peer_says("unread");
	WAIT_FOR(user.readable == 1);
	reset_and_close(peer);
	peer = -1;
	assert_int_equal(byte_stream_write(user.stream, BYTES_LIT("x")), 1);
	WAIT_FOR(user.errors);
	assert_int_equal(user.error.sys_errno, ECONNRESET);
}

static void a_writer_that_waits_is_told_when_the_peer_goes(void **state)
{
	static const uint8_t data[1 << 20];

	connected_locally(16384);
	assert_true(byte_stream_write(user.stream, bytes_of(data, sizeof(data))) < sizeof(data));
	close(peer);
	peer = -1;
	WAIT_FOR(user.writable && (user.has_end || user.errors));
	/* What is written now goes nowhere, and is taken. */
	assert_int_equal(byte_stream_write(user.stream, bytes_of(data, sizeof(data))), sizeof(data));
}

/* --- Closing --------------------------------------------------------------------------------- */

static void last_words_reach_a_peer_whose_input_we_left_unread(void **state)
{
	static const uint8_t data[200000];
	char got[200001];
	size_t total = 0;
	ssize_t n;

	connected();
	user.has_room = false;
	for (int i = 0; i < 10; i++)
		peer_says("a request body that nobody reads");
	WAIT_FOR(user.readable == 1);
	assert_int_equal(byte_stream_write(user.stream, bytes_of(data, sizeof(data))), sizeof(data));
	user.stream = byte_stream_close(user.stream);
	set_nonblocking(peer);
	do {
		let_it_turn();
		while ((n = read(peer, got, sizeof(got))) > 0)
			total += (size_t)n;
		assert_true(n == 0 || errno == EAGAIN); /* ECONNRESET would have destroyed them */
	} while (n != 0);
	assert_int_equal(total, sizeof(data));
	peer_says("more of it");
	let_it_turn();
	close(peer);
	peer = -1;
}

static void nothing_is_heard_after_close(void **state)
{
	connected();
	let_it_turn();
	user.close_in_readable = true;
	peer_says("hello");
	WAIT_FOR(user.readable);
	peer_says("more");
	let_it_turn();
	reset_and_close(peer);
	peer = -1;
	let_it_turn();
	assert_int_equal(user.readable, 1);
	assert_int_equal(user.writable, 0);
	assert_int_equal(user.errors, 0);
	assert_null(byte_stream_close(NULL));
}

static void close_in_writable(struct user *u)
{
	u->stream = byte_stream_close(u->stream);
}

static void a_user_may_close_inside_writable(void **state)
{
	static const uint8_t data[1 << 20];
	static uint8_t scrap[1 << 20];

	connected_locally(16384);
	user.in_writable = close_in_writable;
	assert_true(byte_stream_write(user.stream, bytes_of(data, sizeof(data))) < sizeof(data));
	set_nonblocking(peer);
	while (!user.writable) {
		let_it_turn();
		while (read(peer, scrap, sizeof(scrap)) > 0)
			;
	}
	assert_null(user.stream);
	close(peer);
	peer = -1;
	let_it_turn();
	assert_int_equal(user.writable, 1);
}

static int64_t cpu_msec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A peer that sends and does not read must not keep us busy while we linger. */
static void lingering_with_a_backlog_does_not_spin(void **state)
{
	static const uint8_t data[1 << 20];
	struct timer limit;

	connected_locally(16384);
	(void)byte_stream_write(user.stream, bytes_of(data, sizeof(data)));
	peer_says("never read");
	user.stream = byte_stream_close(user.stream);
	let_it_turn();
	timer_init(&limit, loop, on_watchdog);
	timer_set(&limit, 200);
	int64_t before = cpu_msec();
	while (timer_is_set(&limit))
		loop_run(loop);
	/* Work, not time: a busy machine makes it less. */
	assert_true(cpu_msec() - before < 100);
	close(peer);
	peer = -1;
}

static void a_dead_descriptor_shows_at_the_first_read(void **state)
{
	int fds[2];

	tcp_pair(fds);
	shutdown(fds[0], SHUT_RDWR);
	adopt(fds[0], AF_INET);
	peer = fds[1];
	WAIT_FOR(user.has_end);
	assert_int_equal(byte_stream_write(user.stream, BYTES_LIT("x")), 1);
	let_it_turn();
}

#define ON_CONN(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_CONN(bytes_then_the_end_are_read),
		ON_CONN(who_does_not_read_is_not_asked_again_until_it_wants),
		ON_CONN(a_peer_that_sends_to_a_paused_reader_is_stopped_by_the_kernel),
		ON_CONN(after_the_peers_end_we_may_still_speak),
		ON_CONN(after_our_end_the_peer_may_still_speak),
		ON_CONN(what_one_turn_writes_leaves_at_its_end),
		ON_CONN(a_short_write_is_followed_by_writable_until_all_is_through),
		ON_CONN(a_reset_is_reported_to_the_reader),
		ON_CONN(a_reset_right_behind_data_is_seen_after_the_data),
		ON_CONN(a_reset_is_noticed_while_nobody_reads_nor_writes),
		ON_CONN(an_end_is_no_error_while_nobody_reads),
		ON_CONN(a_reset_is_noticed_with_a_backlog_and_a_paused_reader),
		ON_CONN(a_reset_met_by_a_flush_is_no_proper_end_to_the_reader),
		ON_CONN(a_reset_met_by_a_direct_write_is_no_proper_end_to_the_reader),
		ON_CONN(a_paused_reader_learns_that_its_write_has_failed),
		ON_CONN(a_writer_that_waits_is_told_when_the_peer_goes),
		ON_CONN(last_words_reach_a_peer_whose_input_we_left_unread),
		ON_CONN(nothing_is_heard_after_close),
		ON_CONN(a_user_may_close_inside_writable),
		ON_CONN(lingering_with_a_backlog_does_not_spin),
		ON_CONN(a_dead_descriptor_shows_at_the_first_read),
	};

	peer = -1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
