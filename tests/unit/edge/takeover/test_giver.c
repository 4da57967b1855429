/* Both sides of a takeover in one process: the running edge's on a loop in a thread, the successor's here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "edge/takeover/giver.h"
#include "edge/takeover/message.h"
#include "edge/takeover/taker.h"
#include "io/loop.h"

static char folder[] = "/tmp/adit-takeover-XXXXXX";
static struct sockets *old;
static struct loop *loop;
static struct giver *giver;
static pthread_t thread;
static atomic_int frozen, handed_over, failures;
static char reason[256];
static size_t state_bytes;

static void set_frozen(void *ctx, bool is_frozen)
{
	atomic_store(&frozen, is_frozen);
}

static char *make_state(void *ctx)
{
	char *text = mem_alloc(state_bytes + 1);

	memset(text, 's', state_bytes);
	return text;
}

static void on_handed_over(void *ctx, pid_t successor)
{
	assert_int_equal(successor, getpid());
	atomic_store(&handed_over, 1);
}

static void on_failed(void *ctx, const char *why)
{
	snprintf(reason, sizeof(reason), "%s", why);
	atomic_fetch_add(&failures, 1);
}

static const struct giver_events events = { set_frozen, make_state, on_handed_over, on_failed };

static void *run(void *arg)
{
	loop_run(loop);
	return NULL;
}

static int setup(void **state)
{
	struct address address;

	memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
	assert_non_null(mkdtemp(folder));
	old = sockets_new();
	loop = loop_new(NULL);
	state_bytes = 3 * TAKEOVER_PIECE_BYTES + 5;
	frozen = handed_over = failures = 0;
	/* More than one message takes. */
	assert_non_null(sockets_listen(old, "https", "127.0.0.1:0", true, LOCAL_CHANNEL_FDS + 3,
				       &address, NULL));
	assert_non_null(sockets_listen(old, "metrics", "127.0.0.1:0", false, 1, &address, NULL));
	giver = giver_new(loop, folder, old, 4, 0, &events, NULL, NULL);
	assert_non_null(giver);
	pthread_create(&thread, NULL, run, NULL);
	return 0;
}

static int teardown(void **state)
{
	loop_stop(loop);
	pthread_join(thread, NULL);
	giver_free(giver);
	loop_free(loop);
	sockets_free(old);
	char *path = giver_path(folder);
	unlink(path);
	mem_free(path);
	rmdir(folder);
	return 0;
}

/* Posted to the loop and answered: what it had to do before is done. */
static void on_turn(void *arg)
{
	atomic_store((atomic_int *)arg, 1);
}

static void wait_for(atomic_int *flag)
{
	while (!atomic_load(flag)) {
		atomic_int turn = 0;
		loop_post(loop, on_turn, &turn);
		while (!atomic_load(&turn))
			sched_yield();
	}
}

static void a_successor_gets_everything(void **state)
{
	struct sockets *mine = sockets_new();
	struct taker *taker;
	struct address address;
	struct err err = { 0 };
	struct buf text;

	buf_init(&text, LIMIT_TAKEOVER_STATE_BYTES);
	assert_int_equal(taker_begin(folder, mine, &text, &taker, &err), 0);
	assert_non_null(taker);
	assert_int_equal(taker_generation(taker), 5);
	assert_int_equal(text.len, state_bytes);
	wait_for(&frozen);
	struct socket_group *g =
		sockets_listen(mine, "https", "127.0.0.1:0", true, 2, &address, &err);
	assert_int_equal(g->count, LOCAL_CHANNEL_FDS + 3);
	assert_true(address_port(&address) > 0);
	assert_null(sockets_claim(mine, "https", "127.0.0.1:0", SOCKET_STREAM));
	assert_null(sockets_claim(mine, "metrics", "127.0.0.1:1", SOCKET_STREAM));
	assert_non_null(sockets_claim(mine, "metrics", "127.0.0.1:0", SOCKET_STREAM));
	assert_int_equal(taker_finish(taker, &err), 0);
	taker_free(taker, NULL);
	wait_for(&handed_over);
	assert_int_equal(failures, 0);
	buf_done(&text);
	sockets_free(mine);
}

static void a_successor_that_goes_changes_nothing(void **state)
{
	const struct err why = { .code = E_IO, .text = "no luck" };
	struct sockets *mine = sockets_new();
	struct taker *taker;
	struct err err = { 0 };
	struct buf text;

	buf_init(&text, LIMIT_TAKEOVER_STATE_BYTES);
	assert_int_equal(taker_begin(folder, mine, &text, &taker, &err), 0);
	taker_free(taker, &why);
	wait_for(&failures);
	assert_string_equal(reason, "no luck");
	assert_int_equal(frozen, 0);
	sockets_close_all(mine);
	buf_clear(&text);
	assert_int_equal(taker_begin(folder, mine, &text, &taker, &err), 0);
	assert_int_equal(taker_finish(taker, &err), 0);
	taker_free(taker, NULL);
	buf_done(&text);
	sockets_free(mine);
}

static void one_successor_at_a_time(void **state)
{
	struct sockets *mine = sockets_new(), *other = sockets_new();
	struct taker *taker, *second;
	struct err err = { 0 };
	struct buf text;

	buf_init(&text, LIMIT_TAKEOVER_STATE_BYTES);
	assert_int_equal(taker_begin(folder, mine, &text, &taker, &err), 0);
	assert_int_equal(taker_begin(folder, other, &text, &second, &err), E_DENIED);
	assert_non_null(strstr(err.text, "just starting"));
	taker_free(taker, NULL);
	buf_done(&text);
	sockets_free(mine);
	sockets_free(other);
}

static void without_an_edge_there_is_nothing_to_take(void **state)
{
	struct sockets *mine = sockets_new();
	struct taker *taker = (struct taker *)mine;
	struct err err = { 0 };
	struct buf text;

	buf_init(&text, LIMIT_TAKEOVER_STATE_BYTES);
	assert_int_equal(taker_begin("/nonexistent", mine, &text, &taker, &err), 0);
	assert_null(taker);
	buf_done(&text);
	sockets_free(mine);
}

static void what_is_no_such_socket_is_not_inherited(void **state)
{
	struct sockets *mine = sockets_new();
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(sockets_inherit(mine, "https", ":443", SOCKET_STREAM, true, fds[0], NULL),
			 E_INVALID); /* it does not listen */
	assert_int_equal(sockets_inherit(mine, "x", "y", SOCKET_DATAGRAM, true, fds[1], NULL),
			 E_INVALID);
	assert_null(sockets_next(mine, NULL));
	sockets_free(mine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_successor_gets_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(a_successor_that_goes_changes_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(one_successor_at_a_time, setup, teardown),
		cmocka_unit_test(without_an_edge_there_is_nothing_to_take),
		cmocka_unit_test(what_is_no_such_socket_is_not_inherited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
