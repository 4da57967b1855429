#include "turns.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/random.h"
#include "io/conn.h"
#include "io/stdio.h"

/* The user of the stream. */
static struct {
	struct byte_stream *stream;
	bool has_room, has_end;
	uint8_t in[1 << 20];
	size_t in_len;
	int readable, writable, errors;
	struct err error;
} user;

static void on_readable(void *ctx)
{
	user.readable++;
	happened();
	while (user.has_room && !user.has_end && user.in_len < sizeof(user.in)) {
		ssize_t n = byte_stream_read(user.stream, user.in + user.in_len,
					     sizeof(user.in) - user.in_len, NULL);
		if (n == E_AGAIN)
			return;
		if (n <= 0) {
			user.has_end = true;
			return;
		}
		user.in_len += (size_t)n;
	}
}

static void on_writable(void *ctx)
{
	user.writable++;
	happened();
}

static void on_error(void *ctx, const struct err *err)
{
	user.errors++;
	user.error = *err;
	happened();
}

static const struct byte_stream_events events = { on_readable, on_writable, on_error };

static int in[2], out[2]; /* the far ends are in[1] and out[0]; -1 once closed */

static void open_with(int in_fd, int out_fd)
{
	struct err err;

	user.stream = stdio_open(loop, in_fd, out_fd, &err);
	if (!user.stream)
		fail_msg("%s", err.text);
	byte_stream_set_events(user.stream, &events, NULL);
}

static void open_pipes(void)
{
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	open_with(in[0], out[1]);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int start(void **state)
{
	memset(&user, 0, sizeof(user));
	user.has_room = true;
	in[0] = in[1] = out[0] = out[1] = -1;
	return make_loop(state);
}

static int stop(void **state)
{
	user.stream = byte_stream_close(user.stream);
	close_fd(&in[1]);
	close_fd(&out[0]);
	free_loop(state);
	close_fd(&in[0]);
	close_fd(&out[1]);
	return 0;
}

/* What is there to read, without waiting. */
static size_t hear(int fd, uint8_t *dst, size_t cap)
{
	set_nonblocking(fd);
	ssize_t n = read(fd, dst, cap);
	return n > 0 ? (size_t)n : 0;
}

static void wait_heard(int fd, const char *want)
{
	uint8_t got[100];
	size_t len = 0;

	for (int i = 0; len < strlen(want); i++) {
		assert_true(i < 2000);
		len += hear(fd, got + len, sizeof(got) - len);
		let_it_turn();
	}
	assert_int_equal(len, strlen(want));
	assert_memory_equal(got, want, len);
}

static void bytes_pass_both_ways_through_pipes(void **state)
{
	open_pipes();
	assert_int_equal(write(in[1], "hello", 5), 5);
	WAIT_FOR(user.in_len == 5);
	assert_memory_equal(user.in, "hello", 5);
	assert_int_equal(byte_stream_write(user.stream, BYTES_LIT("world")), 5);
	wait_heard(out[0], "world");
	close_fd(&in[1]);
	WAIT_FOR(user.has_end);
	assert_int_equal(user.errors, 0);
}

static void shared_pipes_stay_blocking(void **state)
{
	open_pipes();
	let_it_turn();
	assert_false(fcntl(in[0], F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(out[1], F_GETFL) & O_NONBLOCK);
}

static void flags_of_sockets_are_put_back(void **state)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	open_with(pair[0], pair[0]);
	assert_int_equal(send(pair[1], "x", 1, 0), 1);
	WAIT_FOR(user.in_len == 1);
	assert_int_equal(byte_stream_write(user.stream, BYTES_LIT("y")), 1);
	wait_heard(pair[1], "y");
	user.stream = byte_stream_close(user.stream);
	let_it_turn();
	assert_false(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
	close(pair[0]);
	close(pair[1]);
}

static void an_end_without_a_word_is_noticed(void **state)
{
	open_pipes();
	close_fd(&in[1]);
	WAIT_FOR(user.has_end);
	assert_int_equal(user.in_len, 0);
}

static void a_named_pipe_whose_writer_has_left_ends(void **state)
{
	char folder[] = "/tmp/adit-stdio-XXXXXX", path[64];

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/fifo", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	in[0] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	in[1] = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(fcntl(in[0], F_SETFL, 0), 0);
	close_fd(&in[1]);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	open_with(in[0], out[1]);
	WAIT_FOR(user.has_end);
	unlink(path);
	rmdir(folder);
}

static void without_room_nothing_is_read(void **state)
{
	open_pipes();
	user.has_room = false;
	let_it_turn();
	assert_int_equal(write(in[1], "hello", 5), 5);
	let_it_turn();
	int told = user.readable;
	let_it_turn();
	assert_int_equal(user.readable, told);
	user.has_room = true;
	byte_stream_want_read(user.stream);
	WAIT_FOR(user.in_len == 5);
}

static void a_slow_reader_of_the_output_makes_writes_fall_short(void **state)
{
	static uint8_t data[1 << 20], got[1 << 20];
	size_t sent = 0, heard = 0;

	random_bytes(data, sizeof(data));
	open_pipes();
	while (sent < sizeof(data)) {
		size_t n = byte_stream_write(user.stream,
					     bytes_from(bytes_of(data, sizeof(data)), sent));
		sent += n;
		if (sent == sizeof(data))
			break;
		assert_true(byte_stream_backlog(user.stream) <= LIMIT_BODY_QUEUE_BYTES);
		int told = user.writable;
		while (user.writable == told) {
			heard += hear(out[0], got + heard, sizeof(got) - heard);
			let_it_turn();
		}
	}
	byte_stream_shutdown(user.stream);
	for (int i = 0; heard < sizeof(data); i++) {
		assert_true(i < 2000);
		heard += hear(out[0], got + heard, sizeof(got) - heard);
		let_it_turn();
	}
	assert_memory_equal(got, data, sizeof(data));
}

static void shutdown_ends_the_output_but_not_the_input(void **state)
{
	uint8_t c;

	open_pipes();
	assert_int_equal(byte_stream_write(user.stream, BYTES_LIT("last")), 4);
	byte_stream_shutdown(user.stream);
	wait_heard(out[0], "last");
	let_it_turn();
	assert_int_equal(read(out[0], &c, 1), 0);
	assert_int_equal(write(in[1], "still", 5), 5);
	WAIT_FOR(user.in_len == 5);
}

static void a_reader_who_goes_away_is_told_at_once(void **state)
{
	open_pipes();
	let_it_turn();
	close_fd(&out[0]);
	WAIT_FOR(user.errors);
	assert_int_equal(user.error.code, E_CLOSED);
	assert_int_equal(user.error.sys_errno, EPIPE);
	assert_int_equal(byte_stream_write(user.stream, BYTES_LIT("x")), 1);
	let_it_turn();
	assert_int_equal(user.errors, 1);
}

static void a_reader_who_goes_away_with_bytes_queued_is_told(void **state)
{
	static uint8_t data[200000];

	open_pipes();
	assert_true(byte_stream_write(user.stream, bytes_of(data, sizeof(data))) > 0);
	let_it_turn();
	close_fd(&out[0]);
	WAIT_FOR(user.errors);
	assert_int_equal(user.error.sys_errno, EPIPE);
}

static void files_are_read_and_written(void **state)
{
	static uint8_t data[300000], got[300001];
	char in_path[] = "/tmp/adit-stdio-XXXXXX", out_path[] = "/tmp/adit-stdio-XXXXXX";

	random_bytes(data, sizeof(data));
	in[0] = mkstemp(in_path);
	out[1] = mkstemp(out_path);
	assert_int_equal(write(in[0], data, sizeof(data)), sizeof(data));
	assert_int_equal(lseek(in[0], 0, SEEK_SET), 0);
	open_with(in[0], out[1]);
	WAIT_FOR(user.has_end);
	assert_int_equal(user.in_len, sizeof(data));
	assert_memory_equal(user.in, data, sizeof(data));

	struct bytes left = bytes_of(data, sizeof(data));
	while (left.len) {
		int told = user.writable;
		left = bytes_from(left, byte_stream_write(user.stream, left));
		if (left.len)
			WAIT_FOR(user.writable > told);
	}
	user.stream = byte_stream_close(user.stream);
	loop = loop_free(loop);
	assert_int_equal(pread(out[1], got, sizeof(got), 0), sizeof(data));
	assert_memory_equal(got, data, sizeof(data));
	unlink(in_path);
	unlink(out_path);
	make_loop(state);
}

static void a_full_device_is_an_error(void **state)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC),
	    null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	in[0] = null;
	out[1] = full;
	open_with(null, full);
	WAIT_FOR(user.has_end);
	byte_stream_write(user.stream, BYTES_LIT("x"));
	WAIT_FOR(user.errors);
	assert_int_equal(user.error.sys_errno, ENOSPC);
}

static void closing_while_a_file_is_read_is_safe(void **state)
{
	in[0] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	out[1] = open("/dev/null", O_WRONLY | O_CLOEXEC);
	open_with(in[0], out[1]);
	let_it_turn();
	byte_stream_write(user.stream, BYTES_LIT("x"));
	user.stream = byte_stream_close(user.stream);
	loop = loop_free(loop);
	make_loop(state);
}

static void what_is_not_open_is_named(void **state)
{
	struct err err = { 0 };

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_null(stdio_open(loop, 999, in[1], &err));
	assert_string_equal(err.text, "standard input: Bad file descriptor");
	assert_null(stdio_open(loop, in[0], in[0], &err));
	assert_string_equal(err.text, "standard output: Bad file descriptor");
	assert_int_equal(err.code, E_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bytes_pass_both_ways_through_pipes, start, stop),
		cmocka_unit_test_setup_teardown(shared_pipes_stay_blocking, start, stop),
		cmocka_unit_test_setup_teardown(flags_of_sockets_are_put_back, start, stop),
		cmocka_unit_test_setup_teardown(an_end_without_a_word_is_noticed, start, stop),
		cmocka_unit_test_setup_teardown(a_named_pipe_whose_writer_has_left_ends, start,
						stop),
		cmocka_unit_test_setup_teardown(without_room_nothing_is_read, start, stop),
		cmocka_unit_test_setup_teardown(a_slow_reader_of_the_output_makes_writes_fall_short,
						start, stop),
		cmocka_unit_test_setup_teardown(shutdown_ends_the_output_but_not_the_input, start,
						stop),
		cmocka_unit_test_setup_teardown(a_reader_who_goes_away_is_told_at_once, start, stop),
		cmocka_unit_test_setup_teardown(a_reader_who_goes_away_with_bytes_queued_is_told,
						start, stop),
		cmocka_unit_test_setup_teardown(files_are_read_and_written, start, stop),
		cmocka_unit_test_setup_teardown(a_full_device_is_an_error, start, stop),
		cmocka_unit_test_setup_teardown(closing_while_a_file_is_read_is_safe, start, stop),
		cmocka_unit_test_setup_teardown(what_is_not_open_is_named, start, stop),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
