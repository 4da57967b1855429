/* One loop, and waiting for something to happen on it: what the test programs of this folder share.
 * Included once per program.
 *
 * Every callback of a test calls happened(); the loop then ends its turn, and WAIT_FOR() looks at its
 * condition in plain code.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "io/address.h"
#include "io/loop.h"

#define TEST_TIMEOUT_MS 20000

static struct loop *loop;
static struct timer watchdog;

static inline void on_watchdog(struct timer *t)
{
	(void)t;
	loop_stop(loop);
}

static inline void happened(void)
{
	loop_stop(loop);
}

#define WAIT_FOR(condition)                                                   \
	do {                                                                  \
		timer_set(&watchdog, TEST_TIMEOUT_MS);                        \
		while (!(condition)) {                                        \
			loop_run(loop);                                       \
			if (!(condition) && !timer_is_set(&watchdog))         \
				fail_msg("%s did not come true", #condition); \
		}                                                             \
		timer_stop(&watchdog);                                        \
	} while (0)

static inline int make_loop(void **state)
{
	struct err err;

	(void)state;
	loop = loop_new(&err);
	timer_init(&watchdog, loop, on_watchdog);
	return loop ? 0 : -1;
}

static inline int free_loop(void **state)
{
	(void)state;
	loop = loop_free(loop);
	return 0;
}

static bool several_turns_are_over;
static int turns_left;

static inline void on_another_turn(void *arg)
{
	(void)arg;
	if (--turns_left > 0) {
		loop_post(loop, on_another_turn, NULL);
		return;
	}
	several_turns_are_over = true;
	happened();
}

/* Lets the loop turn a few times: whatever was to happen by itself has happened then. */
static inline void let_it_turn(void)
{
	several_turns_are_over = false;
	turns_left = 5;
	loop_post(loop, on_another_turn, NULL);
	WAIT_FOR(several_turns_are_over);
}

static inline void set_nonblocking(int fd)
{
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

/* A blocking TCP listener on 127.0.0.1 (or ::1); -1 where there is no such address. */
static inline int raw_listener(const char *ip, uint16_t port, int backlog, struct address *ret)
{
	int on = 1;

	assert_true(address_from_ip(bytes_str(ip), port, ret));
	int fd = socket(ret->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &ret->any, ret->len) < 0 || listen(fd, backlog) < 0) {
		close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, &ret->any, &ret->len), 0);
	return fd;
}

static inline int raw_connect(const struct address *to)
{
	int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, &to->any, to->len), 0);
	return fd;
}

/* Two ends of a TCP connection over loopback, both blocking. */
static inline void tcp_pair(int fds[2])
{
	struct address address;
	int listener = raw_listener("127.0.0.1", 0, 1, &address);

	assert_true(listener >= 0);
	fds[0] = raw_connect(&address);
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fds[1] >= 0);
	close(listener);
}

/* Closes so that the peer gets a reset. */
static inline void reset_and_close(int fd)
{
	struct linger none = { .l_onoff = 1, .l_linger = 0 };

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)), 0);
	close(fd);
}
