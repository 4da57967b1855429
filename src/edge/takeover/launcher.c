#include "edge/takeover/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

/* Far more than the flags that there are, with paths. */
#define ARGUMENTS_BYTES (64 * 1024)
#define FLAG "--takeover"

extern char **environ;

struct launcher {
	char path[PATH_MAX]; /* of this program */
	char *text;          /* the arguments, as proc(5) has them */
	char **arguments;    /* into that; ends with NULL */
	int fd;
	pid_t pid;
};

/* Our own arguments as proc(5) has them: each ends with NUL. */
static int read_arguments(struct launcher *l, struct err *err)
{
	l->text = mem_alloc(ARGUMENTS_BYTES);
	FILE *file = fopen("/proc/self/cmdline", "re");
	size_t len = file ? fread(l->text, 1, ARGUMENTS_BYTES, file) : 0, count = 0;
	bool has_flag = false;

	if (file)
		(void)fclose(file);
	if (len == 0 || len == ARGUMENTS_BYTES || l->text[len - 1])
		return err_set(err, E_IO, "/proc/self/cmdline cannot be read");
	for (size_t i = 0; i < len; i++)
		count += l->text[i] == 0;
	l->arguments = mem_alloc_array(count + 2, sizeof(l->arguments[0]));
	count = 0;
	for (char *at = l->text; at < l->text + len; at += strlen(at) + 1) {
		has_flag |= strcmp(at, FLAG) == 0;
		l->arguments[count++] = at;
	}
	if (!has_flag)
		l->arguments[count] = (char *)(uintptr_t)FLAG;
	return 0;
}

/* --- In the process of its own ----------------------------------------------------------------- */

static int spawn(const struct launcher *l, pid_t *ret)
{
	posix_spawnattr_t how;
	sigset_t all, none;

	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_init(&how);
	posix_spawnattr_setsigdefault(&how, &all);
	posix_spawnattr_setsigmask(&how, &none);
	posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	int code = posix_spawn(ret, l->path, NULL, &how, l->arguments, environ);
	posix_spawnattr_destroy(&how);
	return code;
}

static void say(int fd, enum launcher_said said, int value)
{
	const struct launcher_word word = { .said = (int)said, .value = value };
	(void)!send(fd, &word, sizeof(word), MSG_NOSIGNAL); /* allowed: a process without a loop */
}

/* One successor after the other; ends when the edge has closed its end. */
static noreturn void serve(const struct launcher *l, int fd)
{
	pid_t running = 0;
	int handle = -1;

	for (;;) {
		struct pollfd wait[] = { { .fd = fd, .events = POLLIN },
					 { .fd = handle, .events = POLLIN } };
		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			_exit(1);
		if (running && wait[1].revents) {
			int status = 0;
			(void)waitpid(running, &status, 0);
			close(handle); /* allowed: a process without a loop */
			running = 0;
			handle = -1;
			say(fd, LAUNCHER_ENDED, status);
		}
		if (!wait[0].revents)
			continue;
		char word;
		ssize_t n = recv(fd, &word, 1, 0); /* allowed: a process without a loop */
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		int code = running ? EBUSY : spawn(l, &running);
		if (code == 0) {
			handle = (int)syscall(SYS_pidfd_open, running, 0);
			say(fd, LAUNCHER_STARTED, (int)running);
		} else {
			say(fd, LAUNCHER_FAILED, code);
		}
	}
}

static noreturn void begin(const struct launcher *l, int fd)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE };

	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		signal(ignored[i], SIG_IGN);
	/* Nothing but the standard ones and its own. */
	(void)dup2(fd, STDERR_FILENO + 1);
	(void)syscall(SYS_close_range, STDERR_FILENO + 2, ~0U, 0);
	(void)fcntl(STDERR_FILENO + 1, F_SETFD, FD_CLOEXEC);
	(void)prctl(PR_SET_NAME, "edge-launcher");
	serve(l, STDERR_FILENO + 1);
}

/* --- In the edge ------------------------------------------------------------------------------- */

struct launcher *launcher_start(struct err *err)
{
	struct launcher *l = mem_alloc(sizeof(*l));
	ssize_t n = readlink("/proc/self/exe", l->path, sizeof(l->path) - 1);
	int ends[2];

	l->fd = -1;
	if (n <= 0) {
		err_set_errno(err, E_IO, errno, "/proc/self/exe");
		return launcher_free(l);
	}
	if (read_arguments(l, err) < 0)
		return launcher_free(l);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		err_set_errno(err, E_IO, errno, "a pair of sockets");
		return launcher_free(l);
	}
	l->pid = fork();
	if (l->pid == 0)
		begin(l, ends[1]);
	close(ends[1]); /* allowed: it is the other process's */
	l->fd = ends[0];
	if (l->pid < 0) {
		err_set_errno(err, E_IO, errno, "a process of its own");
		return launcher_free(l);
	}
	(void)fcntl(l->fd, F_SETFL, O_NONBLOCK);
	return l;
}

int launcher_fd(const struct launcher *l)
{
	return l->fd;
}

const char *launcher_program(const struct launcher *l)
{
	return l->path;
}

int launcher_ask(struct launcher *l, struct err *err)
{
	if (send(l->fd, "s", 1, MSG_NOSIGNAL) != 1) /* allowed: a word of one byte */
		return err_set_errno(err, E_IO, errno, "the process that starts successors");
	return 0;
}

struct launcher *launcher_free(struct launcher *l)
{
	if (!l)
		return NULL;
	if (l->fd >= 0)
		close(l->fd); /* allowed: as above */
	if (l->pid > 0)
		(void)waitpid(l->pid, NULL, 0);
	mem_free(l->arguments);
	mem_free(l->text);
	return mem_free(l);
}
