#include "connector/cli/apart.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

static void put_all(int fd, const void *ptr, size_t size)
{
	const char *at = ptr;

	while (size) {
		/* allowed: a pipe of this command line, no loop exists */
		ssize_t n = write(fd, at, size);
		if (n <= 0)
			_exit(1);
		at += n;
		size -= (size_t)n;
	}
}

static bool get_all(int fd, void *ptr, size_t size)
{
	char *at = ptr;

	while (size) {
		/* allowed: a pipe of this command line, no loop exists */
		ssize_t n = read(fd, at, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		size -= (size_t)n;
	}
	return true;
}

int apart_run(int (*work)(void *arg, void *result, struct err *err), void *arg, void *result,
	      size_t size, struct err *err)
{
	int fds[2], code = E_IO, status;
	struct err child_err = { 0 };

	if (pipe(fds) < 0)
		return err_set_errno(err, E_IO, errno, "pipe");
	pid_t pid = fork();
	if (pid < 0) {
		int sys_errno = errno;
		close(fds[0]); /* allowed: a pipe of this command line */
		close(fds[1]); /* allowed: a pipe of this command line */
		return err_set_errno(err, E_IO, sys_errno, "fork");
	}
	if (pid == 0) {
		code = work(arg, result, &child_err);
		put_all(fds[1], &code, sizeof(code));
		put_all(fds[1], &child_err, sizeof(child_err));
		put_all(fds[1], result, size);
		_exit(0);
	}
	close(fds[1]); /* allowed: a pipe of this command line */
	void *copy = mem_alloc(size);
	bool complete = get_all(fds[0], &code, sizeof(code)) &&
			get_all(fds[0], &child_err, sizeof(child_err)) &&
			get_all(fds[0], copy, size);
	close(fds[0]); /* allowed: a pipe of this command line */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (!complete) {
		code = err_set(err, E_IO, "a helper process ended early");
	} else if (code < 0) {
		if (err)
			*err = child_err;
	} else {
		memcpy(result, copy, size);
	}
	mem_free(copy);
	return code;
}
