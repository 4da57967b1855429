#include "edge/tunnels/moving.h"

#include "base/limits.h"
#include "edge/tunnels/registry.h"
#include "edge/worker.h"

/* How often a connection that has left is looked at, whether it still carries something. */
#define LOOK_MS 200
/* The first connection of a stock connector ends though streams run over it, if they do not end before this:
 * with long-lived ones on each of its connections it would never come over. */
#define FIRST_PATIENCE_USEC (5 * USEC_PER_SEC)

struct round {
	usec elapsed;
};

static void ask(struct tunnel_session *ts, void *arg)
{
	(void)arg;
	ts->moves_by_itself = session_ask_to_move(ts->session);
}

static void look(struct tunnel_session *ts, void *arg)
{
	const struct round *round = arg;
	usec turn = (usec)ts->index * LIMIT_MOVE_STEP_MS * USEC_PER_MSEC;

	if (ts->moves_by_itself)
		return;
	if (!ts->has_left && round->elapsed >= turn && (ts->index == 0 || !registry_is_last(ts)))
		registry_leave(ts);
	bool is_first_late = ts->index == 0 && round->elapsed >= FIRST_PATIENCE_USEC;
	if (ts->has_left && (session_stream_count(ts->session) == 0 || is_first_late))
		session_close(ts->session, REASON_DONE);
}

static void on_timer(struct timer *t)
{
	struct worker *w = CONTAINER_OF(t, struct worker, moving.timer);
	struct round round = { loop_now(w->loop) - w->moving.started_at };

	registry_for_each(w, look, &round);
	timer_set(t, LOOK_MS);
	worker_check_drained(w);
}

void moving_init(struct worker *w)
{
	timer_init(&w->moving.timer, w->loop, on_timer);
}

void moving_start(struct worker *w, bool is_patient)
{
	if (w->moving.started_at)
		return;
	registry_for_each(w, ask, NULL);
	if (!is_patient)
		return;
	w->moving.started_at = loop_now(w->loop);
	timer_set(&w->moving.timer, 0);
}

void moving_stop(struct worker *w)
{
	timer_stop(&w->moving.timer);
}

bool moving_is_over(const struct worker *w)
{
	return !w->moving.started_at ||
	       loop_now(w->loop) - w->moving.started_at >= LIMIT_MOVE_MS * USEC_PER_MSEC;
}
