#include "host/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

#define BLOCK_BYTES 16384

extern char **environ;

static int spawn(const char *const *argv, int out, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_adddup2(&actions, out, 2);
	/* posix_spawnp() does not write to argv; its type is older than const. */
	int code = posix_spawnp(ret_pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv,
				environ);
	posix_spawn_file_actions_destroy(&actions);
	return code;
}

/* Until the other end is closed. */
static int take_output(int fd, usec deadline, struct buf *out, const char *name, struct err *err)
{
	for (;;) {
		struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
		usec left = deadline - clock_now();
		int ready = left > 0 ? poll(&poll_fd, 1, (int)(left / USEC_PER_MSEC) + 1) : 0;
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return err_set(err, E_TIMEOUT, "%s did not end in time", name);
		if (buf_reserve(out, BLOCK_BYTES) < 0)
			return err_set(err, E_LIMIT, "%s prints more than is taken", name);
		/* allowed: a pipe of this command line, no loop exists */
		ssize_t n = read(fd, out->ptr + out->len, BLOCK_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(err, E_IO, errno, "%s", name);
		if (n == 0)
			return 0;
		buf_added(out, (size_t)n);
	}
}

int child_run(const char *const *argv, usec timeout, struct buf *out, struct err *err)
{
	int fds[2], status = 0;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set_errno(err, E_IO, errno, "pipe");
	int code = spawn(argv, fds[1], &pid);
	close(fds[1]); /* allowed: a pipe of this command line */
	if (code != 0) {
		close(fds[0]); /* allowed: a pipe of this command line */
		return code == ENOENT ? err_set(err, E_NOT_FOUND, "%s is not installed", argv[0])
				      : err_set_errno(err, E_IO, code, "%s", argv[0]);
	}
	code = take_output(fds[0], clock_now() + timeout, out, argv[0], err);
	close(fds[0]); /* allowed: a pipe of this command line */
	if (code < 0)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (code < 0)
		return code;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
