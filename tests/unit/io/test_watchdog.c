#include "turns.h"

#include <stdlib.h>
#include <sys/un.h>

#include "io/watchdog.h"

/* Long enough for several words at the interval below. */
#define LONG_ENOUGH_MS 200

static struct {
	int fd; /* the service manager's end */
	struct loop *other;
	bool is_over;
} t;

static int start(void **state)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(name.sun_family);
	char path[32];

	memset(&t, 0, sizeof(t));
	t.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(t.fd, (struct sockaddr *)&name, len), 0); /* the kernel names it */
	len = sizeof(name);
	assert_int_equal(getsockname(t.fd, (struct sockaddr *)&name, &len), 0);
	(void)snprintf(path, sizeof(path), "@%.*s",
		       (int)(len - offsetof(struct sockaddr_un, sun_path) - 1), name.sun_path + 1);
	setenv("NOTIFY_SOCKET", path, 1);
	setenv("WATCHDOG_USEC", "60000", 1);
	t.other = loop_new(NULL);
	return make_loop(state);
}

static int end(void **state)
{
	int r = free_loop(state);

	t.other = loop_free(t.other);
	close(t.fd);
	return r;
}

static bool word_came(void)
{
	char word[64];
	ssize_t n = recv(t.fd, word, sizeof(word) - 1, 0);

	if (n < 0)
		return false;
	word[n] = 0;
	assert_string_equal(word, "WATCHDOG=1");
	return true;
}

static void on_over(struct timer *timer)
{
	(void)timer;
	t.is_over = true;
	happened();
}

static void let_time_pass(void)
{
	struct timer timer;

	t.is_over = false;
	timer_init(&timer, loop, on_over);
	timer_set(&timer, LONG_ENOUGH_MS);
	WAIT_FOR(t.is_over);
}

static void stop_other(void *arg)
{
	(void)arg;
	loop_stop(t.other);
}

static void let_other_turn_once(void)
{
	/* What is posted runs in order: it stops behind what waited. */
	loop_post(t.other, stop_other, NULL);
	loop_run(t.other);
}

static void a_loop_that_turns_is_told_of(void **state)
{
	struct watchdog *w = watchdog_new(loop, NULL, 0);

	let_time_pass();
	assert_true(word_came());
	assert_null(watchdog_free(w));
}

static void nothing_is_said_while_another_loop_hangs(void **state)
{
	struct watchdog *w = watchdog_new(loop, &t.other, 1);

	let_time_pass();
	assert_false(word_came());
	let_other_turn_once();
	let_it_turn();
	assert_true(word_came());
	assert_false(word_came());
	assert_null(watchdog_free(w));
}

static void an_answer_may_come_after_the_end(void **state)
{
	struct watchdog *w = watchdog_new(loop, &t.other, 1);

	let_time_pass();
	assert_null(watchdog_free(w));
	let_other_turn_once();
	let_it_turn();
	assert_false(word_came());
}

static void nobody_asked(void **state)
{
	unsetenv("WATCHDOG_USEC");
	assert_null(watchdog_new(loop, NULL, 0));
	setenv("WATCHDOG_USEC", "nonsense", 1);
	assert_null(watchdog_new(loop, NULL, 0));
	assert_null(watchdog_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_loop_that_turns_is_told_of, start, end),
		cmocka_unit_test_setup_teardown(nothing_is_said_while_another_loop_hangs, start,
						end),
		cmocka_unit_test_setup_teardown(an_answer_may_come_after_the_end, start, end),
		cmocka_unit_test_setup_teardown(nobody_asked, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
