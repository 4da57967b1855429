/* Workers on threads of their own: how they leave together. */
#include "unit/edge/line.h"

#include <pthread.h>

static struct worker *made[WORKERS];
static pthread_t threads[WORKERS];
static struct line far_line;
static atomic_int ended_count;
static atomic_bool is_up;

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	loop_run(w->loop);
	atomic_fetch_add(&ended_count, 1);
	return NULL;
}

/* --- The far worker's thread: a session, and a connector that answers when told -------------- */

static void on_far_edge_closed(struct session *s, enum reason why, const struct err *err)
{
	struct line *l = s->ctx;
	struct worker *w = l->worker;

	registry_remove(l->ts, why == REASON_LOST);
	l->ts = mem_free(l->ts);
	l->edge = NULL;
	w->session_count--;
	worker_check_drained(w);
}

static void on_far_registered(struct session *s, const struct registered *r)
{
	atomic_store(&is_up, true);
}

static void on_far_call(struct stream *st, struct bytes data, bool fin)
{
}
static void on_far_call_closed(struct stream *st, enum reason why)
{
	*(struct stream **)st->ctx = NULL;
}
static const struct stream_events far_call_events = { .on_data = on_far_call,
						      .on_closed = on_far_call_closed };

static struct stream *far_stream;
static atomic_bool has_arrived;

static void on_far_stream(struct session *s, struct stream *st, enum stream_kind kind,
			  const struct head *head, bool fin)
{
	st->events = &far_call_events;
	st->ctx = &far_stream;
	far_stream = st;
	atomic_store(&has_arrived, true);
}

static void on_far_connector_closed(struct session *s, enum reason why, const struct err *err)
{
}

static const struct session_events far_edge_events = { .on_register = line_on_register,
						       .on_closed = on_far_edge_closed };
static const struct session_events far_connector_events = {
	.on_registered = on_far_registered,
	.on_stream = on_far_stream,
	.on_closed = on_far_connector_closed,
};

static void far_dial(void *arg)
{
	struct worker *w = arg;
	const struct registration registration = { .tunnel = tunnel.id, .connector = { { 1 } } };
	const struct session_start at_edge = { .side = SESSION_EDGE,
					       .events = &far_edge_events,
					       .ctx = &far_line };
	const struct session_start at_connector = { .side = SESSION_CONNECTOR,
						    .events = &far_connector_events,
						    .ctx = &far_line,
						    .registration = &registration };

	far_line.worker = w;
	far_line.tunnel = tunnel.id;
	w->session_count++;
	fake_transport_pair(w->loop, &at_edge, &at_connector, &far_line.edge, &far_line.connector);
}

static void far_answer(void *arg)
{
	const struct head head = { .status = 200, .length = HEAD_LENGTH_UNKNOWN };

	if (!far_stream)
		return; /* it was cut */
	stream_answer(far_stream, &(struct answer){ .head = &head }, false);
	(void)stream_write(far_stream, BYTES_LIT("ok"), true);
}

/* --- The near worker's thread: a visitor ------------------------------------------------------ */

static struct visit guest;
static atomic_bool guest_has_end, guest_has_failed, has_come;

static void guest_leaves(void)
{
	struct worker *w = made[0];

	exchange_release_producer(TAKE(guest.x));
	w->visitor_count--;
	worker_check_drained(w);
}

static void guest_on_head(struct exchange *x)
{
}
static void guest_on_data(struct exchange *x)
{
	struct bytes run;

	while (body_peek(&x->response_body, &run, 1))
		body_consume(&x->response_body, run.len);
	if (body_is_done(&x->response_body)) {
		atomic_store(&guest_has_end, true);
		guest_leaves();
	}
}
static void guest_on_room(struct exchange *x)
{
}
static void guest_on_failed(struct exchange *x)
{
	atomic_store(&guest_has_failed, true);
	guest_leaves();
}
static const struct exchange_producer guest_producer = {
	.name = "guest",
	.on_head = guest_on_head,
	.on_response_data = guest_on_data,
	.on_request_room = guest_on_room,
	.on_failed = guest_on_failed,
};

static struct handler_chain near_chain = { forwarding, 1, NULL, NULL };

static void guest_comes(void *arg)
{
	struct worker *w = arg;
	struct exchange *x = exchange_new(w->loop, &guest_producer, &guest);

	w->visitor_count++;
	guest.x = x;
	near_chain.ctx = w;
	memcpy(x->id, "0123456789abcdef", 17);
	x->client_ip = BYTES_LIT("192.0.2.7");
	x->host = BYTES_LIT("app.test");
	x->route = (void *)(uintptr_t)&route;
	x->request.method = BYTES_LIT("GET");
	x->request.scheme = BYTES_LIT("https");
	x->request.authority = BYTES_LIT("app.test");
	x->request.path = BYTES_LIT("/");
	body_end(&x->request_body);
	exchange_start(x, &near_chain);
	atomic_store(&has_come, true);
}

/* --- The fixture ------------------------------------------------------------------------------ */

static void on_passed(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
}

static void until(atomic_bool *what)
{
	int tries = 0;

	while (!atomic_load(what)) {
		if (++tries > 100000)
			fail_msg("it did not happen");
		let_it_turn();
	}
}

/* Until everything posted to the worker before has run. */
static void pass_by(struct worker *w)
{
	static atomic_bool has_passed;

	atomic_store(&has_passed, false);
	loop_post(w->loop, on_passed, &has_passed);
	until(&has_passed);
}

static int start_workers(void **state)
{
	log_setup(LOG_FATAL, LOG_CONSOLE);
	make_loop(state);
	memset(&far_line, 0, sizeof(far_line));
	memset(&guest, 0, sizeof(guest));
	far_stream = NULL;
	atomic_store(&ended_count, 0);
	atomic_store(&is_up, false);
	atomic_store(&has_arrived, false);
	atomic_store(&guest_has_end, false);
	atomic_store(&guest_has_failed, false);
	atomic_store(&has_come, false);
	for (size_t i = 0; i < WORKERS; i++) {
		const struct worker_start how = { .index = i, .location = "ATTIC" };
		made[i] = worker_new(&how, NULL);
		assert_non_null(made[i]);
	}
	for (size_t i = 0; i < WORKERS; i++) {
		made[i]->peers = made;
		made[i]->peer_count = WORKERS;
	}
	for (size_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, worker_main, made[i]), 0);
	loop_post(made[1]->loop, far_dial, made[1]);
	until(&is_up);
	pass_by(made[0]); /* it has been told of the session */
	return 0;
}

static int stop_workers(void **state)
{
	for (size_t i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < WORKERS; i++)
		made[i] = worker_free(made[i]);
	free_loop(state);
	assert_int_equal(exchange_live_count(), 0);
	assert_int_equal(atomic_load(&sessions_told), 0);
	return 0;
}

static void drain_both(void)
{
	for (size_t i = 0; i < WORKERS; i++)
		worker_post_drain(made[i]);
}

/* --- Tests ------------------------------------------------------------------------------------ */

static void workers_without_visitors_leave_at_once(void **state)
{
	drain_both();
}

static void a_worker_keeps_its_sessions_while_another_has_visitors(void **state)
{
	loop_post(made[0]->loop, guest_comes, made[0]);
	until(&has_arrived);
	drain_both();
	pass_by(made[0]);
	pass_by(made[1]);
	pass_by(made[1]);
	assert_int_equal(atomic_load(&ended_count), 0);
	loop_post(made[1]->loop, far_answer, NULL);
	while (!atomic_load(&guest_has_end) && !atomic_load(&guest_has_failed))
		let_it_turn();
	assert_true(atomic_load(&guest_has_end));
}

static void a_request_on_its_way_across_is_served_while_draining(void **state)
{
	/* The far worker hears of the drain first. */
	worker_post_drain(made[1]);
	loop_post(made[0]->loop, guest_comes, made[0]);
	worker_post_drain(made[0]);
	until(&has_come);
	while (!atomic_load(&has_arrived) && !atomic_load(&guest_has_failed))
		let_it_turn();
	assert_false(atomic_load(&guest_has_failed));
	loop_post(made[1]->loop, far_answer, NULL);
	until(&guest_has_end);
}

static void aborted_workers_wait_for_nobody(void **state)
{
	loop_post(made[0]->loop, guest_comes, made[0]);
	until(&has_arrived);
	drain_both();
	pass_by(made[1]);
	/* The visitor's answer never comes; the far worker is told to go all the same. */
	worker_post_abort(made[1]);
	until(&guest_has_failed);
}

#define ON_WORKERS(test) cmocka_unit_test_setup_teardown(test, start_workers, stop_workers)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_WORKERS(workers_without_visitors_leave_at_once),
		ON_WORKERS(a_worker_keeps_its_sessions_while_another_has_visitors),
		ON_WORKERS(a_request_on_its_way_across_is_served_while_draining),
		ON_WORKERS(aborted_workers_wait_for_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
