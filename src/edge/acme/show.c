#include "edge/acme/show.h"

#include <stdatomic.h>

#include "base/log.h"
#include "base/mem.h"
#include "edge/acme/challenges.h"
#include "edge/dns/control.h"
#include "edge/dns/tell.h"
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
	struct acme_show_options options;
	struct round *round; /* borrowed: under way */
	bool is_dns;         /* what is shown is in DNS */
	bool is_elsewhere;   /* in that of another server */
	/* Who waits for records. NULL: nobody. */
	void (*shown)(void *arg, const struct err *err);
	void *arg;
	struct err err;
};

struct acme_show *acme_show_new(const struct acme_show_options *options)
{
	struct acme_show *s = mem_alloc(sizeof(*s));

	s->options = *options;
	return s;
}

static void give_up(struct acme_show *s)
{
	if (s->round)
		atomic_store(&s->round->is_over, true);
	s->round = NULL;
	s->shown = NULL;
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

/* --- On workers --------------------------------------------------------------------------------- */

static void start_round(struct acme_show *s, const struct acme_challenge *list, size_t count,
			void (*shown)(void *arg, const struct err *err), void *arg)
{
	const struct acme_show_options *o = &s->options;
	struct round *r = mem_alloc(sizeof(*r));

	r->home = o->loop;
	r->workers = o->workers;
	r->count = o->count;
	r->shown = shown;
	r->arg = arg;
	r->show = s;
	s->round = r;
	struct challenges *set = challenges_new(list, count, &r->err);
	if (r->err.code || o->spread(o->ctx, set, &r->err) < 0)
		loop_post(o->loop, on_home, r);
	else
		on_worker(r);
}

/* --- In DNS --------------------------------------------------------------------------------------- */

static void on_dns_shown(void *arg)
{
	struct acme_show *s = arg;
	void (*shown)(void *arg, const struct err *err) = TAKE(s->shown);

	/* NULL: given up meanwhile. */
	if (shown)
		shown(s->arg, &s->err);
}

static void on_told(void *arg, const struct err *err)
{
	struct acme_show *s = arg;

	if (err)
		s->err = *err;
	on_dns_shown(s);
}

/* All names, as one order has them, are of one zone. */
static bool is_elsewhere(const struct acme_show *s, const char *name)
{
	return !dns_control_serves(*s->options.dns, name) && dns_tell_serves(*s->options.tell, name);
}

/* Nothing has been posted that could come after acme_show_free(): the failure is told in a later turn, by a round
 * that visits nobody. */
static void fail_later(struct acme_show *s, void (*shown)(void *arg, const struct err *err),
		       void *arg)
{
	struct round *r = mem_alloc(sizeof(*r));

	r->home = s->options.loop;
	r->shown = shown;
	r->arg = arg;
	r->show = s;
	r->err = s->err;
	s->round = r;
	loop_post(r->home, on_home, r);
}

static void start_dns(struct acme_show *s, const struct acme_challenge *list, size_t count,
		      void (*shown)(void *arg, const struct err *err), void *arg)
{
	struct dns_challenge *records = mem_alloc_array(count, sizeof(*records));

	for (size_t i = 0; i < count; i++)
		records[i] = (struct dns_challenge){ list[i].name, list[i].text };
	s->shown = shown;
	s->arg = arg;
	s->err = (struct err){ 0 };
	s->is_elsewhere = is_elsewhere(s, list[0].name);
	if (s->is_elsewhere) {
		dns_tell_show(*s->options.tell, records, count, on_told, s);
	} else if (dns_control_show(*s->options.dns, records, count, on_dns_shown, s, &s->err) < 0) {
		s->shown = NULL;
		fail_later(s, shown, arg);
	}
	mem_free(records);
}

/* --- Either ------------------------------------------------------------------------------------- */

void acme_show_start(struct acme_show *s, const struct acme_challenge *list, size_t count,
		     void (*shown)(void *arg, const struct err *err), void *arg)
{
	give_up(s);
	s->is_dns = list[0].method == ACME_DNS_01;
	if (s->is_dns)
		start_dns(s, list, count, shown, arg);
	else
		start_round(s, list, count, shown, arg);
}

void acme_show_stop(struct acme_show *s)
{
	struct err err = { 0 };

	give_up(s);
	if (s->is_dns && s->is_elsewhere) {
		dns_tell_show(*s->options.tell, NULL, 0, NULL, NULL);
		return;
	}
	int r = s->is_dns ? dns_control_show(*s->options.dns, NULL, 0, NULL, NULL, &err)
			  : s->options.spread(s->options.ctx, NULL, &err);
	/* They may go on being shown: nobody asks for them. */
	if (r < 0)
		log_debug(COMPONENT, "challenges stay where they are", LOG_STR("error", err.text));
}
