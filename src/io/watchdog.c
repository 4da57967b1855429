#include "io/watchdog.h"

#include <stdlib.h>

#include "base/mem.h"
#include "io/notify.h"

#define MAGIC 0x77646f67u /* "wdog" */
/* Words per interval: one may be late. */
#define PER_INTERVAL 3

struct watchdog {
	uint32_t magic;
	struct loop *loop; /* borrowed */
	struct timer timer;
	int64_t pause_ms;
	size_t pending; /* questions that are on their way */
	bool is_closed;
	size_t count;
	struct watched {
		struct watchdog *watchdog;
		struct loop *loop; /* borrowed */
	} others[];
};

static void end_if_idle(struct watchdog *w)
{
	if (!w->is_closed || w->pending)
		return;
	w->magic = 0;
	mem_free(w);
}

static void on_answer(void *arg)
{
	struct watchdog *w = arg;

	CHECK(w, MAGIC);
	w->pending--;
	if (w->is_closed)
		end_if_idle(w);
	else if (w->pending == 0)
		notify_service_manager("WATCHDOG=1");
}

/* On the loop that is watched. */
static void on_question(void *arg)
{
	const struct watched *watched = arg;

	loop_post(watched->watchdog->loop, on_answer, watched->watchdog);
}

static void on_timer(struct timer *t)
{
	struct watchdog *w = CONTAINER_OF(t, struct watchdog, timer);

	CHECK(w, MAGIC);
	timer_set(&w->timer, w->pause_ms);
	/* Whoever has not answered the last time is not asked again, and nothing is said until it does. */
	if (w->pending)
		return;
	if (w->count == 0)
		notify_service_manager("WATCHDOG=1");
	w->pending = w->count;
	for (size_t i = 0; i < w->count; i++)
		loop_post(w->others[i].loop, on_question, &w->others[i]);
}

struct watchdog *watchdog_new(struct loop *l, struct loop *const *others, size_t count)
{
	/* $WATCHDOG_PID is not looked at: a successor inherits it, and is the main process then. */
	const char *text = getenv("WATCHDOG_USEC");
	long long interval = text ? strtoll(text, NULL, 10) : 0;

	if (interval < PER_INTERVAL * USEC_PER_MSEC)
		return NULL;
	struct watchdog *w = mem_alloc(sizeof(*w) + count * sizeof(w->others[0]));
	w->magic = MAGIC;
	w->loop = l;
	w->pause_ms = interval / PER_INTERVAL / USEC_PER_MSEC;
	w->count = count;
	for (size_t i = 0; i < count; i++)
		w->others[i] = (struct watched){ w, others[i] };
	timer_init(&w->timer, l, on_timer);
	timer_set(&w->timer, w->pause_ms);
	return w;
}

struct watchdog *watchdog_free(struct watchdog *w)
{
	if (!w)
		return NULL;
	CHECK(w, MAGIC);
	timer_stop(&w->timer);
	w->is_closed = true;
	end_if_idle(w);
	return NULL;
}
