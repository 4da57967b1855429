#include "edge/takeover/successor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/mem.h"

#define COMPONENT "edge/takeover"

struct successor {
	struct launcher *launcher;
	struct loop_watch *watch;
	bool is_starting;
	void (*on_failed)(void *ctx, const char *why);
	void *ctx;
};

static void on_word(struct successor *s, const struct launcher_word *word)
{
	char why[160];

	if (word->said == LAUNCHER_STARTED) {
		log_info(COMPONENT, "started a successor",
			 LOG_STR("program", launcher_program(s->launcher)),
			 LOG_INT("pid", word->value));
		return;
	}
	if (!s->is_starting)
		return;
	s->is_starting = false;
	if (word->said == LAUNCHER_FAILED && word->value == ENOENT)
		(void)snprintf(why, sizeof(why), "the program %.80s is not there",
			       launcher_program(s->launcher));
	else if (word->said == LAUNCHER_FAILED)
		(void)snprintf(why, sizeof(why), "starting %.80s: %s",
			       launcher_program(s->launcher), strerrordesc_np(word->value));
	else if (WIFSIGNALED(word->value))
		(void)snprintf(why, sizeof(why), "it was ended by signal %d", WTERMSIG(word->value));
	else
		(void)snprintf(why, sizeof(why), "it ended with status %d",
			       WEXITSTATUS(word->value));
	s->on_failed(s->ctx, why);
}

static void on_readable(void *arg, int events)
{
	struct successor *s = arg;
	struct launcher_word word;
	ssize_t n;

	(void)events;
	for (;;) {
		int fd = launcher_fd(s->launcher);
		n = recv(fd, &word, sizeof(word), 0); /* allowed: a word of eight bytes */
		if (n != (ssize_t)sizeof(word))
			break;
		on_word(s, &word);
	}
	if (n == 0)
		loop_watch_set(s->watch, 0); /* somebody has ended it */
}

struct successor *successor_new(struct loop *loop, struct launcher *l)
{
	struct successor *s = mem_alloc(sizeof(*s));

	s->launcher = l;
	s->watch = loop_watch_new(loop, launcher_fd(l), on_readable, s);
	BUG_IF(!s->watch);
	loop_watch_set(s->watch, LOOP_READABLE);
	return s;
}

int successor_start(struct successor *s, void (*on_failed)(void *ctx, const char *why), void *ctx,
		    struct err *err)
{
	if (s->is_starting)
		return err_set(err, E_BUSY, "a successor is just starting");
	s->on_failed = on_failed;
	s->ctx = ctx;
	if (launcher_ask(s->launcher, err) < 0)
		return err->code;
	s->is_starting = true;
	return 0;
}

void successor_forget(struct successor *s)
{
	s->is_starting = false;
}

struct successor *successor_free(struct successor *s)
{
	if (!s)
		return NULL;
	loop_watch_free(s->watch);
	return mem_free(s);
}
