#include "edge/forward/hold.h"

#include "base/limits.h"
#include "edge/forward/dispatch.h"
#include "edge/forward/forward.h"
#include "edge/worker.h"

struct metric metric_held = {
	.name = "adit_edge_requests_held_total",
	.help = "Requests that waited for a connector to come over after a takeover",
};

/* In the exchange's arena. */
struct held {
	struct list node;
	struct worker *worker;
	struct dispatch *dispatch;
};

static void take_out(struct held *h)
{
	list_remove(&h->node);
	h->worker->hold.count--;
}

static void on_request_data(struct exchange *x)
{
	(void)x; /* it waits in the body's queue */
}

static void on_response_room(struct exchange *x)
{
	(void)x;
}

static void on_cancelled(struct exchange *x)
{
	take_out(x->answerer_ctx);
	exchange_release_answerer(x);
}

static const struct exchange_answerer answerer = {
	.name = "hold",
	.on_request_data = on_request_data,
	.on_response_room = on_response_room,
	.on_cancelled = on_cancelled,
};

static void fail_all(struct hold *hold)
{
	for (struct list *node; (node = list_pop(&hold->waiting));) {
		struct exchange *x = LIST_ENTRY(node, struct held, node)->dispatch->x;
		hold->count--;
		(void)forward_no_connector(x);
		exchange_fail(x);
	}
}

static void on_over(struct timer *t)
{
	fail_all(CONTAINER_OF(t, struct hold, timer));
}

static void on_wake(struct deferred *d)
{
	struct hold *hold = CONTAINER_OF(d, struct hold, wake);
	struct list again;

	list_init(&again);
	list_take_all(&again, &hold->waiting);
	for (struct list *node; (node = list_pop(&again));) {
		struct held *h = LIST_ENTRY(node, struct held, node);
		struct exchange *x = h->dispatch->x;

		exchange_release_answerer(x);
		if (dispatch_try(h->dispatch)) {
			hold->count--;
			continue;
		}
		exchange_answer_by(x, &answerer, h);
		list_append(&hold->waiting, &h->node);
	}
}

void hold_init(struct worker *w, usec until)
{
	list_init(&w->hold.waiting);
	w->hold.until = until;
	timer_init(&w->hold.timer, w->loop, on_over);
	deferred_init(&w->hold.wake, on_wake);
}

bool hold_take(struct worker *w, struct dispatch *d)
{
	struct hold *hold = &w->hold;
	usec now = loop_now(w->loop);

	if (now >= hold->until || hold->count >= LIMIT_HOLD_REQUESTS)
		return false;
	struct held *h = arena_alloc(&d->x->arena, sizeof(*h));
	h->worker = w;
	h->dispatch = d;
	list_append(&hold->waiting, &h->node);
	hold->count++;
	metric_add(&metric_held, 1);
	if (!timer_is_set(&hold->timer))
		timer_set(&hold->timer, (hold->until - now) / USEC_PER_MSEC + 1);
	exchange_answer_by(d->x, &answerer, h);
	return true;
}

void hold_wake(struct worker *w)
{
	if (w->hold.count)
		loop_defer(w->loop, &w->hold.wake);
}

void hold_end(struct worker *w)
{
	w->hold.until = 0;
	timer_stop(&w->hold.timer);
	deferred_cancel(&w->hold.wake);
	fail_all(&w->hold);
}
