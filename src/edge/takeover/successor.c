#include "edge/takeover/successor.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define COMPONENT "edge/takeover"
/* Far more than the flags that there are, with paths. */
#define ARGUMENTS_BYTES (64 * 1024)
#define FLAG "--takeover"

extern char **environ;

struct successor {
	char path[PATH_MAX]; /* of this program; "" when it is not known */
	struct loop_signal *child;
	pid_t pid; /* 0: none is starting */
	void (*on_failed)(void *ctx, const char *why);
	void *ctx;
};

static void on_child(void *arg, int signum)
{
	struct successor *s = arg;
	char why[64];
	int status;

	(void)signum;
	if (s->pid == 0 || waitpid(s->pid, &status, WNOHANG) != s->pid)
		return;
	s->pid = 0;
	if (WIFSIGNALED(status))
		(void)snprintf(why, sizeof(why), "it was ended by signal %d", WTERMSIG(status));
	else
		(void)snprintf(why, sizeof(why), "it ended with status %d", WEXITSTATUS(status));
	s->on_failed(s->ctx, why);
}

struct successor *successor_new(struct loop *loop)
{
	struct successor *s = mem_alloc(sizeof(*s));
	ssize_t n = readlink("/proc/self/exe", s->path, sizeof(s->path) - 1);

	s->path[n > 0 ? n : 0] = 0;
	s->child = loop_signal_new(loop, SIGCHLD, on_child, s);
	return s;
}

/* Our own arguments as proc(5) has them: each ends with NUL. Owned, and so is the text they point into. */
static char **read_arguments(char **ret_text, struct err *err)
{
	char *text = mem_alloc(ARGUMENTS_BYTES);
	FILE *file = fopen("/proc/self/cmdline", "re");
	size_t len = file ? fread(text, 1, ARGUMENTS_BYTES, file) : 0, count = 0;
	bool has_flag = false;

	if (file)
		(void)fclose(file);
	if (len == 0 || len == ARGUMENTS_BYTES || text[len - 1]) {
		mem_free(text);
		err_set(err, E_IO, "/proc/self/cmdline cannot be read");
		return NULL;
	}
	for (size_t i = 0; i < len; i++)
		count += text[i] == 0;
	char **list = mem_alloc_array(count + 2, sizeof(list[0]));
	count = 0;
	for (char *at = text; at < text + len; at += strlen(at) + 1) {
		has_flag |= strcmp(at, FLAG) == 0;
		list[count++] = at;
	}
	if (!has_flag)
		list[count] = (char *)(uintptr_t)FLAG;
	*ret_text = text;
	return list;
}

int successor_start(struct successor *s, void (*on_failed)(void *ctx, const char *why), void *ctx,
		    struct err *err)
{
	char *text = NULL;

	if (s->pid)
		return err_set(err, E_BUSY, "a successor is just starting (process %d)",
			       (int)s->pid);
	if (s->path[0] == 0 || access(s->path, X_OK) < 0)
		return err_set_errno(err, E_NOT_FOUND, s->path[0] ? errno : 0,
				     "the program %s is not there", s->path);
	char **arguments = read_arguments(&text, err);
	if (!arguments)
		return err->code;
	s->on_failed = on_failed;
	s->ctx = ctx;
	/* Every descriptor but the three standard ones is close-on-exec. */
	int failed = posix_spawn(&s->pid, s->path, NULL, NULL, arguments, environ);
	mem_free(arguments);
	mem_free(text);
	if (failed) {
		s->pid = 0;
		return err_set_errno(err, E_IO, failed, "starting %s", s->path);
	}
	log_info(COMPONENT, "started a successor", LOG_STR("program", s->path),
		 LOG_INT("pid", s->pid));
	return 0;
}

void successor_forget(struct successor *s)
{
	s->pid = 0;
}

struct successor *successor_free(struct successor *s)
{
	if (!s)
		return NULL;
	loop_signal_free(s->child);
	return mem_free(s);
}
