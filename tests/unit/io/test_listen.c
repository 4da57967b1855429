#include "turns.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "io/conn.h"

enum { MANY = 300 };

static struct listener *listener;
static int accepted[MANY], accepted_count;
static int in_this_turn, most_in_a_turn;
static struct deferred end_of_turn;
static struct address last_peer;
static char folder[64];

static void on_end_of_turn(struct deferred *d)
{
	if (in_this_turn > most_in_a_turn)
		most_in_a_turn = in_this_turn;
	in_this_turn = 0;
}

static void on_accept(void *ctx, int fd, const struct address *peer)
{
	assert_ptr_equal(ctx, accepted);
	assert_true(accepted_count < MANY);
	accepted[accepted_count++] = fd;
	last_peer = *peer;
	in_this_turn++;
	loop_defer_flush(loop, &end_of_turn);
	happened();
}

static int start(void **state)
{
	listener = NULL;
	accepted_count = in_this_turn = most_in_a_turn = 0;
	deferred_init(&end_of_turn, on_end_of_turn);
	return make_loop(state);
}

static int stop(void **state)
{
	listener = listener_free(listener);
	for (int i = 0; i < accepted_count; i++)
		close(accepted[i]);
	return free_loop(state);
}

static int open_on(const char *text, bool shared, struct address *ret)
{
	struct err err = { 0 };

	assert_int_equal(address_parse(bytes_str(text), ret, NULL), 0);
	int fd = listen_open(ret, shared, &err);
	if (fd < 0) {
		assert_int_equal(fd, err.code);
		assert_non_null(strstr(err.text, "listen on "));
		return -err.sys_errno;
	}
	return fd;
}

static void port_0_picks_one_and_tells(void **state)
{
	struct address address;
	char text[ADDRESS_TEXT_SIZE], peer[ADDRESS_TEXT_SIZE];
	int fd = open_on("127.0.0.1:0", false, &address);

	assert_true(fd >= 0);
	assert_int_not_equal(address_port(&address), 0);
	listener = listener_new(loop, fd, on_accept, accepted);
	let_it_turn();
	assert_int_equal(accepted_count, 0);
	int visitor = raw_connect(&address);
	WAIT_FOR(accepted_count == 1);
	assert_true(fcntl(accepted[0], F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(accepted[0], F_GETFD) & FD_CLOEXEC);
	/* The peer is whoever connected. */
	struct address own = { .len = sizeof(own.v6) };
	assert_int_equal(getsockname(visitor, &own.any, &own.len), 0);
	assert_string_equal(address_text(&last_peer, peer), address_text(&own, text));
	close(visitor);
}

static void any_address_takes_both_families(void **state)
{
	struct address address, v4, v6;
	char text[ADDRESS_TEXT_SIZE];
	int fd = open_on(":0", false, &address);

	if (fd == -EAFNOSUPPORT)
		skip();
	assert_true(fd >= 0);
	listener = listener_new(loop, fd, on_accept, accepted);
	assert_true(address_from_ip(BYTES_LIT("127.0.0.1"), address_port(&address), &v4));
	int visitor = raw_connect(&v4);
	WAIT_FOR(accepted_count == 1);
	assert_string_equal(address_ip_text(&last_peer, text), "127.0.0.1");
	close(visitor);
	assert_true(address_from_ip(BYTES_LIT("::1"), address_port(&address), &v6));
	visitor = raw_connect(&v6);
	WAIT_FOR(accepted_count == 2);
	assert_string_equal(address_ip_text(&last_peer, text), "::1");
	close(visitor);
}

static void a_taken_port_is_refused_unless_shared(void **state)
{
	struct address address, again;
	int first = open_on("127.0.0.1:0", true, &address);
	char text[ADDRESS_TEXT_SIZE];

	address_text(&address, text);
	assert_int_equal(open_on(text, false, &again), -EADDRINUSE);
	int second = open_on(text, true, &again);
	assert_true(second >= 0);
	assert_int_equal(address_port(&again), address_port(&address));
	close(first);
	close(second);
}

static void a_burst_is_taken_in_portions(void **state)
{
	static int visitors[MANY];
	struct address address;
	int fd = open_on("127.0.0.1:0", false, &address);

	for (int i = 0; i < MANY; i++)
		visitors[i] = raw_connect(&address);
	listener = listener_new(loop, fd, on_accept, accepted);
	WAIT_FOR(accepted_count == MANY);
	let_it_turn();
	assert_in_range(most_in_a_turn, 1, LIMIT_ACCEPTS_PER_TURN);
	for (int i = 0; i < MANY; i++)
		close(visitors[i]);
}

static void a_freed_listener_accepts_no_more(void **state)
{
	struct address address;
	int fd = open_on("127.0.0.1:0", false, &address);

	listener = listener_new(loop, fd, on_accept, accepted);
	let_it_turn();
	listener = listener_free(listener);
	int visitor = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(visitor, &address.any, address.len), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(visitor);
	let_it_turn();
	assert_int_equal(accepted_count, 0);
	assert_null(listener_free(NULL));
}

static int exhausted_errno, exhausted_count;

static void on_exhausted(void *ctx, int sys_errno)
{
	assert_ptr_equal(ctx, accepted);
	exhausted_errno = sys_errno;
	exhausted_count++;
}

static void out_of_descriptors_it_pauses_and_goes_on(void **state)
{
	struct address address;
	struct rlimit limit, tight;
	int fd = open_on("127.0.0.1:0", false, &address);

	listener = listener_new(loop, fd, on_accept, accepted);
	listener_set_exhausted(listener, on_exhausted);
	let_it_turn(); /* the loop has all the descriptors it needs */
	int visitor = raw_connect(&address);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	int next = dup(visitor); /* the lowest that is free */
	close(next);
	tight = limit;
	tight.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	let_it_turn();
	let_it_turn();
	assert_int_equal(accepted_count, 0);
	/* It asks no more in between, and somebody can say so. */
	assert_int_equal(exhausted_count, 1);
	assert_int_equal(exhausted_errno, EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	WAIT_FOR(accepted_count == 1);
	close(visitor);
}

/* --- Unix sockets ---------------------------------------------------------------------------- */

static void unix_text(const char *name, char text[128])
{
	snprintf(text, 128, "unix:%s/%s", folder, name);
}

static void a_unix_socket_is_for_its_owner_only(void **state)
{
	struct address address;
	struct stat st;
	char text[128];

	mode_t before = umask(0);
	unix_text("a.sock", text);
	int fd = open_on(text, false, &address);
	assert_int_equal(umask(before), 0); /* as it was */
	assert_true(fd >= 0);
	assert_int_equal(stat(text + 5, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	listener = listener_new(loop, fd, on_accept, accepted);
	int visitor = raw_connect(&address);
	WAIT_FOR(accepted_count == 1);
	assert_int_equal(last_peer.any.sa_family, AF_UNIX);
	close(visitor);
	unlink(text + 5);
}

static void a_stale_socket_file_is_replaced_a_live_one_is_not(void **state)
{
	struct address address;
	char text[128];

	unix_text("b.sock", text);
	int fd = open_on(text, false, &address);
	assert_true(fd >= 0);
	assert_int_equal(open_on(text, false, &address), -EADDRINUSE);
	close(fd); /* the file stays */
	fd = open_on(text, false, &address);
	assert_true(fd >= 0);
	close(fd);
	unlink(text + 5);
}

static void a_file_that_is_no_socket_stays(void **state)
{
	struct address address;
	struct stat st;
	char text[128];

	unix_text("c.sock", text);
	int file = open(text + 5, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(file, "precious", 8), 8);
	close(file);
	assert_int_equal(open_on(text, false, &address), -EADDRINUSE);
	assert_int_equal(stat(text + 5, &st), 0);
	assert_int_equal(st.st_size, 8);
	unlink(text + 5);

	snprintf(text, sizeof(text), "unix:%s/missing/d.sock", folder);
	assert_int_equal(open_on(text, false, &address), -ENOENT);
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(port_0_picks_one_and_tells),
		ON_LOOP(any_address_takes_both_families),
		ON_LOOP(a_taken_port_is_refused_unless_shared),
		ON_LOOP(a_burst_is_taken_in_portions),
		ON_LOOP(a_freed_listener_accepts_no_more),
		ON_LOOP(out_of_descriptors_it_pauses_and_goes_on),
		ON_LOOP(a_unix_socket_is_for_its_owner_only),
		ON_LOOP(a_stale_socket_file_is_replaced_a_live_one_is_not),
		ON_LOOP(a_file_that_is_no_socket_stays),
	};

	snprintf(folder, sizeof(folder), "/tmp/test_listen.XXXXXX");
	if (!mkdtemp(folder))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
