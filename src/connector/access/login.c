#include "connector/access/login.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/secret.h"
#include "io/loop.h"

/* People take longer to log in than this. */
#define LOOK_MSEC 50

extern char **environ;

struct login_child {
	pid_t pid; /* 0: it has ended */
	int out;   /* what it prints fits into a pipe */
	struct timer look;
	login_child_done *done;
	void *ctx;
};

static int spawn(const char *const *argv, int out, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	/* posix_spawnp() does not write to argv; its type is older than const. */
	int code = posix_spawnp(ret_pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv,
				environ);
	posix_spawn_file_actions_destroy(&actions);
	return code;
}

static size_t take_output(const struct login_child *c, uint8_t *text, size_t size)
{
	size_t len = 0;
	ssize_t n = 1;

	while (n > 0 && len < size) {
		/* allowed: a pipe whose writer has ended */
		n = read(c->out, text + len, size - len);
		len += n > 0 ? (size_t)n : 0;
	}
	return len;
}

static void on_look(struct timer *t)
{
	struct login_child *c = CONTAINER_OF(t, struct login_child, look);
	uint8_t text[LIMIT_JWT_BYTES];
	size_t len = 0;
	int status;
	pid_t pid = waitpid(c->pid, &status, WNOHANG);

	if (pid == 0 || (pid < 0 && errno == EINTR)) {
		timer_set(&c->look, LOOK_MSEC);
		return;
	}
	c->pid = 0;
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		len = take_output(c, text, sizeof(text));
	c->done(c->ctx, bytes_trim(bytes_of(text, len)));
	secret_wipe(text, len);
}

struct login_child *login_child_start(struct loop *loop, const char *const *argv,
				      login_child_done *done, void *ctx, struct err *err)
{
	struct login_child *c;
	int fds[2], code;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		err_set_errno(err, E_IO, errno, "pipe");
		return NULL;
	}
	code = spawn(argv, fds[1], &pid);
	close(fds[1]); /* allowed: a pipe of this command line */
	if (code != 0) {
		close(fds[0]); /* allowed: a pipe of this command line */
		err_set_errno(err, E_IO, code, "%s", argv[0]);
		return NULL;
	}
	c = mem_alloc(sizeof(*c));
	c->pid = pid;
	c->out = fds[0];
	c->done = done;
	c->ctx = ctx;
	timer_init(&c->look, loop, on_look);
	timer_set(&c->look, LOOK_MSEC);
	return c;
}

struct login_child *login_child_free(struct login_child *c)
{
	if (!c)
		return NULL;
	timer_stop(&c->look);
	if (c->pid) {
		(void)kill(c->pid, SIGTERM);
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(c->out); /* allowed: a pipe of this command line */
	return mem_free(c);
}
