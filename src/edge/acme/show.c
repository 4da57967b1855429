#include "edge/acme/show.h"

#include <stdatomic.h>

#include "base/log.h"
#include "base/mem.h"
#include "edge/acme/challenges.h"
#include "edge/worker.h"
#include "io/loop.h"

#define COMPONENT "edge/acme"

/* Goes from worker to worker, behind the set, and then home. Owned by whichever loop it is on. */
struct round {
	struct loop *home;
	struct worker *const *workers;
	size_t count, at;
	atomic_bool is_over; /* nobody waits for it any more, and home may be gone */
	struct err err;
	void (*shown)(void *arg, const struct err *err);
	void *arg;
	struct acme_show *show;
};

struct acme_show {
	struct loop *loop;
	struct worker *const *workers;
	size_t count;
	int (*spread)(void *ctx, struct challenges *set, struct err *err);
	void *ctx;
	struct round *round; /* borrowed: under way */
};

struct acme_show *acme_show_new(struct loop *loop, struct worker *const *workers, size_t count,
				int (*spread)(void *ctx, struct challenges *set, struct err *err),
				void *ctx)
{
	struct acme_show *s = mem_alloc(sizeof(*s));

	*s = (struct acme_show){ loop, workers, count, spread, ctx, NULL };
	return s;
}

static void give_up(struct acme_show *s)
{
	if (s->round)
		atomic_store(&s->round->is_over, true);
	s->round = NULL;
}

struct acme_show *acme_show_free(struct acme_show *s)
{
	if (!s)
		return NULL;
	give_up(s);
	return mem_free(s);
}

static void on_home(void *arg)
{
	struct round *r = arg;

	if (!atomic_load(&r->is_over)) {
		r->show->round = NULL;
		r->shown(r->arg, &r->err);
	}
	mem_free(r);
}

static void on_worker(void *arg)
{
	struct round *r = arg;

	if (r->at < r->count)
		loop_post(r->workers[r->at++]->loop, on_worker, r);
	else if (!atomic_load(&r->is_over))
		loop_post(r->home, on_home, r);
	else
		mem_free(r);
}

void acme_show_start(struct acme_show *s, const struct acme_challenge *list, size_t count,
		     void (*shown)(void *arg, const struct err *err), void *arg)
{
	struct round *r = mem_alloc(sizeof(*r));

	give_up(s);
	r->home = s->loop;
	r->workers = s->workers;
	r->count = s->count;
	r->shown = shown;
	r->arg = arg;
	r->show = s;
	s->round = r;
	struct challenges *set = challenges_new(list, count, &r->err);
	if (r->err.code || s->spread(s->ctx, set, &r->err) < 0)
		loop_post(s->loop, on_home, r);
	else
		on_worker(r);
}

void acme_show_stop(struct acme_show *s)
{
	struct err err = { 0 };

	give_up(s);
	/* It may go on being shown: a certificate and a page that nobody asks for. */
	if (s->spread(s->ctx, NULL, &err) < 0)
		log_warn(COMPONENT, "challenges stay where they are", LOG_STR("error", err.text));
}
