/* Errands: what a request has to ask somebody on the web, on a thread that may block, while it waits. */
#include "base/mem.h"
#include "edge/access/desk.h"
#include "io/loop.h"

/* Under way at a time; each takes a moment, or 15 s where nobody answers. */
#define ERRANDS_MAX 64

struct errand {
	struct list node; /* of control->errands */
	struct ask ask;   /* control is NULL: it has gone, and the request is answered */
	const struct desk_errand *kind;
	void *ctx;
	bool is_running; /* else it waits for others of its kind */
};

/* Threads that ask are few, and others need them, too: somebody who does not answer must not hold them all. */
static bool is_busy(const struct control *c, const struct desk_errand *kind)
{
	size_t count = 0, alike = 0;

	for (const struct list *it = c->errands.next; it != &c->errands; it = it->next) {
		const struct errand *e = LIST_ENTRY(it, struct errand, node);

		count++;
		alike += e->kind == kind;
	}
	return count >= ERRANDS_MAX || alike >= kind->max;
}

/* Without having been done. */
static void errand_free(struct errand *e)
{
	e->kind->drop(e->ctx);
	mem_free(e);
}

static void work(void *arg)
{
	struct errand *e = arg;

	e->kind->work(e->ctx);
}

static void on_done(void *arg);

static void run(struct errand *e)
{
	e->is_running = true;
	loop_work(e->ask.control->loop, work, on_done, e);
}

/* The first that waits, if there is a thread for it. */
static void run_next(struct control *c, const struct desk_errand *kind)
{
	struct errand *first = NULL;
	size_t running = 0;

	LIST_FOR_EACH(it, &c->errands) {
		struct errand *e = LIST_ENTRY(it, struct errand, node);

		if (e->kind != kind)
			continue;
		running += e->is_running;
		if (!e->is_running && !first)
			first = e;
	}
	if (first && (!kind->at_once || running < kind->at_once))
		run(first);
}

static void on_done(void *arg)
{
	struct errand *e = arg;

	list_remove(&e->node);
	if (!e->ask.control) {
		errand_free(e);
		return;
	}
	run_next(e->ask.control, e->kind);
	if (e->kind->done(&e->ask, e->ctx) == ASK_ANSWERED)
		e->ask.request->answered(e->ask.request);
	mem_free(e);
}

bool desk_errand_start(struct ask *a, const struct desk_errand *kind, void *ctx)
{
	struct errand *e;

	if (is_busy(a->control, kind))
		return false;
	e = mem_alloc(sizeof(*e));
	e->ask = *a;
	e->kind = kind;
	e->ctx = ctx;
	list_init(&e->node);
	list_append(&a->control->errands, &e->node);
	run_next(a->control, kind);
	return true;
}

void desk_errands_end(struct control *c)
{
	for (struct list *node = list_pop(&c->errands); node; node = list_pop(&c->errands)) {
		struct errand *e = LIST_ENTRY(node, struct errand, node);

		(void)answer_text(e->ask.request, 503, "This edge is stopping; ask again\n");
		e->ask.request->answered(e->ask.request);
		e->ask.control = NULL;
		if (!e->is_running)
			errand_free(e);
	}
}
