/* Requests that come in on one worker and go out on another: scripted with both on one loop, then at
 * random on two threads. */
#include "unit/edge/forward/journey_cases.h"

#include <pthread.h>

#include "base/metrics.h"
#include "edge/forward/dispatch.h"

enum { LARGE = 2 << 20 };

/* The only session is on the second worker; visitors come to the first. */
static void line_up_there(void)
{
	line_up(&lines[0], &workers[1], 1, 0);
	assert_null(choose_session(&workers[0], &tunnel.id));
}

static void line_up_for_case(void)
{
	line_up_there();
}

/* --- There and back -------------------------------------------------------------------------- */

static void a_request_crosses_and_its_answer_comes_back(void **state)
{
	line_up_there();
	visit_get(&visit);
	struct call *c = next_call();
	assert_true(c->has_fin);
	assert_string_equal(c->path, "/a?b");
	assert_non_null(strstr(c->fields, "cf-connecting-ip: 192.0.2.7\n"));
	assert_non_null(strstr(c->fields, "cf-ray: 0123456789abcdef-ATTIC\n"));
	answer_whole(c, 201, "hello");
	assert_got(&visit, 201, "hello");
	assert_non_null(strstr(visit.fields, "X-Service: yes\n"));
	WAIT_FOR(visit.x->answerer_is_gone && !c->stream);
	assert_int_equal(c->why, REASON_DONE);
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
}

static void an_answer_without_a_body_crosses(void **state)
{
	line_up_there();
	visit_get(&visit);
	answer(next_call(), 304, true);
	assert_got(&visit, 304, "");
}

static void trailers_cross(void **state)
{
	struct field field = { BYTES_LIT("grpc-status"), BYTES_LIT("0"), HEAD_OTHER };
	const struct fields trailers = { &field, 1, 1 };

	line_up_there();
	visit_get(&visit);
	struct call *c = next_call();
	answer(c, 200, false);
	stream_finish(c->stream, &trailers);
	assert_got(&visit, 200, "");
	assert_string_equal(visit.trailers, "grpc-status: 0\n");
}

static void a_large_upload_crosses_as_fast_as_it_is_taken(void **state)
{
	uint8_t *data = pattern(LARGE);

	line_up_there();
	new_calls_stall = true;
	visit_post(&visit, bytes_of(data, LARGE));
	struct call *c = next_call();
	for (int i = 0; i < 100; i++)
		let_it_turn();
	assert_true(c->body.len <= FAKE_WINDOW);
	/* Two bodies and the pipe between them. */
	assert_true(visit.upload.len >= LARGE - FAKE_WINDOW - 3 * LIMIT_BODY_QUEUE_BYTES);
	c->stalls = false;
	if (c->owed)
		stream_consume(c->stream, c->owed);
	WAIT_FOR(c->has_fin);
	assert_int_equal(c->body.len, LARGE);
	assert_memory_equal(c->body.ptr, data, LARGE);
	answer_whole(c, 200, "ok");
	assert_got(&visit, 200, "ok");
	mem_free(data);
}

static void a_stalled_visitor_stops_the_connector_across(void **state)
{
	uint8_t *data = pattern(LARGE);

	line_up_there();
	visit_get(&visit);
	visit.stalls = true;
	struct call *c = next_call();
	answer(c, 200, false);
	c->reply = bytes_of(data, LARGE);
	c->reply_ends = true;
	call_go_on(c);
	for (int i = 0; i < 100; i++)
		let_it_turn();
	assert_true(bufq_len(&visit.x->response_body.queue) <= LIMIT_BODY_QUEUE_BYTES);
	assert_true(c->reply.len >= LARGE - FAKE_WINDOW - 3 * LIMIT_BODY_QUEUE_BYTES);
	visit.stalls = false;
	visit_take(&visit);
	WAIT_FOR(visit.has_end);
	assert_int_equal(visit.body.len, LARGE);
	assert_memory_equal(visit.body.ptr, data, LARGE);
	mem_free(data);
}

static void an_upgrade_crosses(void **state)
{
	line_up_there();
	struct exchange *x = prepare(&visit, &workers[0], "GET", HEAD_LENGTH_NONE);
	x->request.is_upgrade = true;
	begin(&visit);
	struct call *c = next_call();
	assert_int_equal(c->kind, STREAM_WEBSOCKET);
	answer(c, 101, false);
	WAIT_FOR(visit.has_head);
	assert_true(x->response.is_upgrade);
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("ping")), 4);
	WAIT_FOR(c->body.len == 4);
	assert_int_equal(stream_write(c->stream, BYTES_LIT("pong"), false), 4);
	WAIT_FOR(visit.body.len == 4);
	body_end(&x->request_body);
	WAIT_FOR(c->has_fin);
	assert_int_equal(stream_write(c->stream, BYTES_LIT("bye"), true), 3);
	assert_got(&visit, 101, "pongbye");
}

static void an_early_response_gives_the_upload_up_across(void **state)
{
	uint8_t *data = pattern(LARGE);

	line_up_there();
	new_calls_stall = true;
	visit_post(&visit, bytes_of(data, LARGE));
	struct call *c = next_call();
	answer_whole(c, 413, "too large");
	assert_got(&visit, 413, "too large");
	WAIT_FOR(visit.x->answerer_is_gone && !c->stream);
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
	mem_free(data);
}

/* --- Failures -------------------------------------------------------------------------------- */

static void a_session_that_has_just_gone_is_530(void **state)
{
	line_up_there();
	visit_get(&visit);
	line_cut(&lines[0]); /* before the request has crossed */
	WAIT_FOR(visit.has_failed);
	assert_int_equal(visit.failure.hop, FAILURE_TUNNEL);
	assert_true(visit.failure.status == 530 || visit.failure.status == 502);
	assert_non_null(strstr(visit.detail, "connector"));
}

static void the_reason_of_a_failure_crosses(void **state)
{
	const struct head head = { .status = 502 };
	const struct answer failed = {
		.head = &head,
		.from_connector = true,
		.failure_json = BYTES_LIT(
			"{\"hop\":\"origin\",\"status\":504,\"title\":\"Service timed out\","
			"\"detail\":\"It did.\",\"origin\":\"http://localhost:3000\","
			"\"rule\":\"1: app\",\"errno\":\"ETIMEDOUT\"}"),
	};

	line_up_there();
	visit_post(&visit, BYTES_LIT("body"));
	stream_answer(next_call()->stream, &failed, true);
	assert_failed(&visit, FAILURE_ORIGIN, 504);
	assert_string_equal(visit.title, "Service timed out");
	assert_string_equal(visit.detail, "It did.");
	assert_string_equal(visit.origin, "http://localhost:3000");
	assert_string_equal(visit.rule, "1: app");
	assert_string_equal(visit.errno_name, "ETIMEDOUT");
	leave(&visit);
	assert_int_equal(exchange_live_count(), 0);
}

static void a_response_that_breaks_off_breaks_off_across(void **state)
{
	for (int i = 0; i < 2; i++) {
		line_up_there();
		visit_get(&visit);
		struct call *c = next_call();
		answer(c, 200, false);
		assert_int_equal(stream_write(c->stream, BYTES_LIT("part"), false), 4);
		if (i)
			WAIT_FOR(visit.body.len == 4);
		fake_transport_cut(lines[0].connector);
		assert_failed(&visit, FAILURE_TUNNEL, 502);
		assert_false(visit.has_end);
		leave(&visit);
		line_cut(&lines[0]);
		assert_int_equal(exchange_live_count(), 0);
	}
}

static void what_is_refused_over_there_is_sent_again(void **state)
{
	line_up(&lines[0], &workers[1], 1, 0);
	line_up(&lines[1], &workers[1], 1, 1);
	visit_get(&visit);
	stream_reset(next_call()->stream, REASON_REFUSED);
	answer_whole(next_call(), 200, "ok");
	assert_got(&visit, 200, "ok");
}

static void what_is_lost_over_there_is_not(void **state)
{
	line_up(&lines[0], &workers[1], 1, 0);
	line_up(&lines[1], &workers[1], 1, 1);
	visit_get(&visit);
	fake_transport_cut(next_call()->line->edge);
	assert_failed(&visit, FAILURE_TUNNEL, 502);
	assert_true(visit.failure.was_sent);
	assert_int_equal(call_count, 1);
}

/* Of a long body too much is under way for a second try from the first worker. */
static void an_upload_whose_replica_leaves_on_the_way_goes_to_another_one(void **state)
{
	uint8_t *data = pattern(LARGE);
	struct registry_choice choice;

	line_up(&lines[0], &workers[1], 1, 0);
	line_up(&lines[1], &workers[1], 2, 0);
	route.balance.policy = BALANCE_ROUND_ROBIN;
	visit_post(&visit, bytes_of(data, LARGE));
	visit_post(&second, bytes_of(data, LARGE));
	assert_int_equal(call_count, 0);
	do
		assert_true(choose_on(&workers[1], &tunnel.id, &choice));
	while (choice.replica->connector.b[0] != 1);
	registry_leave(choice.session);
	for (int i = 0; i < 2; i++) {
		struct call *c = next_call();
		assert_ptr_equal(c->line, &lines[1]);
		WAIT_FOR(c->has_fin);
		assert_int_equal(c->body.len, LARGE);
		answer_whole(c, 200, "ok");
	}
	assert_got(&visit, 200, "ok");
	assert_got(&second, 200, "ok");
	mem_free(data);
}

/* --- Leaving --------------------------------------------------------------------------------- */

static void a_visitor_who_leaves_resets_the_stream_across(void **state)
{
	line_up_there();
	for (int phase = 0; phase < 4; phase++) {
		prepare(&visit, &workers[0], "POST", HEAD_LENGTH_UNKNOWN);
		begin(&visit);
		struct call *c = NULL;
		if (phase > 0)
			c = next_call();
		if (phase > 1) {
			answer(c, 200, false);
			WAIT_FOR(visit.has_head);
		}
		if (phase > 2) {
			assert_int_equal(stream_write(c->stream, BYTES_LIT("part"), false), 4);
			visit.stalls = true;
		}
		leave(&visit);
		let_it_turn();
		assert_int_equal(exchange_live_count(), 0);
		if (!c && call_count > calls_taken)
			c = next_call();
		if (c)
			WAIT_FOR(!c->stream);
	}
	WAIT_FOR(session_stream_count(lines[0].edge) == 0);
}

static void cut_line(void *arg)
{
	struct line *l = arg;

	fake_transport_cut(l->edge);
}

/* The far side hears of both in one turn, the loss first: it must not look at a request that is gone. */
static void visitor_and_session_may_leave_together(void **state)
{
	line_up(&lines[0], &workers[1], 1, 0);
	line_up(&lines[1], &workers[1], 1, 1);
	visit_get(&visit);
	struct call *c = next_call();
	loop_post(loop, cut_line, c->line);
	leave(&visit);
	let_it_turn();
	assert_int_equal(exchange_live_count(), 0);
	assert_int_equal(call_count, 1);
}

/* --- At random, on two threads --------------------------------------------------------------- */

/* The second worker's loop runs on a thread of its own, with a connector that answers by itself: what it
 * does with a request is written in its path. */
static struct loop *far_loop;
static pthread_t far_thread;
static struct line far_line;
static struct timer far_cutter;

struct responder {
	struct stream *stream;
	char what;
	struct buf echo; /* received and not yet sent */
	bool has_fin, has_answered, is_done;
};

static void respond_more(struct responder *r)
{
	static uint8_t page[100000];

	if (!r->has_answered || r->is_done)
		return;
	if (r->what == 'p') { /* a page */
		r->is_done = true;
		for (size_t sent = 0; sent < sizeof(page);) {
			size_t n = stream_write(r->stream,
						bytes_of(page + sent, sizeof(page) - sent), true);
			sent += n;
			if (sent < sizeof(page) && n == 0) {
				/* Enough for this test: the rest is never sent. */
				stream_reset(r->stream, REASON_FAILED);
				return;
			}
		}
		return;
	}
	while (r->echo.len) {
		size_t n = stream_write(r->stream, buf_bytes(&r->echo), false);
		buf_drop(&r->echo, n);
		if (n)
			stream_consume(r->stream, n); /* as much as has gone back */
		if (r->echo.len)
			return;
	}
	if (r->has_fin) {
		r->is_done = true;
		(void)stream_write(r->stream, BYTES_NONE, true);
	}
}

static void responder_on_data(struct stream *st, struct bytes data, bool fin)
{
	struct responder *r = st->ctx;

	assert_int_equal(buf_append(&r->echo, data), 0);
	r->has_fin |= fin;
	respond_more(r);
}

static void responder_on_writable(struct stream *st)
{
	respond_more(st->ctx);
}

static void responder_on_closed(struct stream *st, enum reason why)
{
	struct responder *r = st->ctx;

	buf_done(&r->echo);
	mem_free(r);
}

static const struct stream_events responder_events = {
	.on_data = responder_on_data,
	.on_writable = responder_on_writable,
	.on_closed = responder_on_closed,
};

static void far_on_stream(struct session *s, struct stream *st, enum stream_kind kind,
			  const struct head *head, bool fin)
{
	struct responder *r = mem_alloc(sizeof(*r));
	const struct head good = { .status = kind == STREAM_WEBSOCKET ? 101 : 200,
				   .length = HEAD_LENGTH_UNKNOWN };
	const struct head bad = { .status = 502 };

	r->stream = st;
	r->what = (char)head->path.ptr[1];
	r->has_fin = fin;
	buf_init(&r->echo, 4 * FAKE_WINDOW);
	st->events = &responder_events;
	st->ctx = r;
	switch (r->what) {
	case 'r':
		stream_reset(st, REASON_REFUSED);
		return;
	case 'f':
		stream_answer(
			st,
			&(struct answer){
				.head = &bad,
				.from_connector = true,
				.failure_json = BYTES_LIT(
					"{\"title\":\"t\",\"hop\":\"origin\",\"sent\":false}") },
			true);
		return;
	case 'n':
		return; /* never */
	default:
		stream_answer(st, &(struct answer){ .head = &good }, false);
		r->has_answered = true;
		respond_more(r);
	}
}

static void far_on_registered(struct session *s, const struct registered *r)
{
	struct line *l = s->ctx;

	l->is_up = r->ok;
}

static void far_on_connector_closed(struct session *s, enum reason why, const struct err *err)
{
	((struct line *)s->ctx)->connector = NULL;
}

static const struct session_events far_connector_events = {
	.on_registered = far_on_registered,
	.on_stream = far_on_stream,
	.on_closed = far_on_connector_closed,
};

static bool far_is_leaving;
static atomic_int far_registrations;

static void far_dial(void);

static void far_on_register(struct session *s, const struct registration *r)
{
	line_on_register(s, r);
	atomic_fetch_add(&far_registrations, 1);
}

static void far_on_edge_closed(struct session *s, enum reason why, const struct err *err)
{
	struct line *l = s->ctx;

	registry_remove(l->ts, why == REASON_LOST);
	l->ts = mem_free(l->ts);
	l->edge = NULL;
	if (far_is_leaving)
		loop_stop(far_loop);
	else
		far_dial();
}

static const struct session_events far_edge_events = { .on_register = far_on_register,
						       .on_closed = far_on_edge_closed };

static void far_dial(void)
{
	struct line *l = &far_line;
	const struct registration registration = {
		.tunnel = tunnel.id,
		.connector = { { 1 } },
		.features = our_features,
		.feature_count = ARRAY_LEN(our_features),
	};
	const struct session_start at_edge = { .side = SESSION_EDGE,
					       .events = &far_edge_events,
					       .ctx = l };
	const struct session_start at_connector = { .side = SESSION_CONNECTOR,
						    .events = &far_connector_events,
						    .ctx = l,
						    .registration = &registration };

	l->worker = &workers[1];
	l->tunnel = tunnel.id;
	fake_transport_pair(far_loop, &at_edge, &at_connector, &l->edge, &l->connector);
}

/* The line dies now and then, and comes back. */
static void on_far_cutter(struct timer *t)
{
	if (far_line.edge)
		fake_transport_cut(far_line.edge);
	timer_set(t, 40);
}

static void far_begin(void *arg)
{
	bool cuts = arg != NULL;

	timer_init(&far_cutter, far_loop, on_far_cutter);
	if (cuts)
		timer_set(&far_cutter, 40);
	far_dial();
}

static void far_leave(void *arg)
{
	far_is_leaving = true;
	timer_stop(&far_cutter);
	fake_transport_cut(far_line.edge);
}

static void *far_main(void *arg)
{
	loop_run(far_loop);
	return NULL;
}

enum { GUESTS = 16, MAX_UPLOAD = 60000 };

/* A visitor that comes again and again. */
struct guest {
	struct exchange *x;
	size_t size, uploaded, received;
	char what;
	bool differs, has_head, has_end, has_failed, is_counted;
	struct timer impatience;
};

static struct guest guests[GUESTS];
static int visits_left, visits_open, good, failed, left;

/* So many have come, and some of each kind: chance decides what becomes of whom. */
static bool all_was_seen(void)
{
	return visits_left <= 0 && good > 0 && failed > 0 && left > 0;
}

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 2654435761u >> 24);
}

static void guest_comes(struct guest *g);

static void guest_goes(struct guest *g)
{
	timer_stop(&g->impatience);
	if (g->x)
		exchange_release_producer(TAKE(g->x));
	visits_open--;
	if (g->has_end)
		good++;
	else if (g->has_failed)
		failed++;
	else
		left++;
	happened();
	if (!all_was_seen())
		guest_comes(g);
}

static void guest_uploads(struct guest *g)
{
	uint8_t data[4000];

	while (g->uploaded < g->size) {
		size_t n = 1 + random_below(sizeof(data));
		if (n > g->size - g->uploaded)
			n = g->size - g->uploaded;
		for (size_t i = 0; i < n; i++)
			data[i] = byte_at(g->uploaded + i);
		size_t taken = body_write(&g->x->request_body, bytes_of(data, n));
		g->uploaded += taken;
		if (taken < n)
			return;
	}
	body_end(&g->x->request_body);
}

static void guest_on_head(struct exchange *x)
{
	((struct guest *)x->producer_ctx)->has_head = true;
}

static void guest_on_data(struct exchange *x)
{
	struct guest *g = x->producer_ctx;
	struct bytes run;

	while (body_peek(&x->response_body, &run, 1)) {
		for (size_t i = 0; g->what == 'e' && i < run.len; i++)
			g->differs |= run.ptr[i] != byte_at(g->received + i);
		g->received += run.len;
		body_consume(&x->response_body, run.len);
	}
	if (!body_is_done(&x->response_body))
		return;
	g->has_end = true;
	if (g->what == 'e' && g->received != g->size)
		g->differs = true;
	guest_goes(g);
}

static void guest_on_room(struct exchange *x)
{
	if (!x->answerer_is_gone)
		guest_uploads(x->producer_ctx);
}

static void guest_on_failed(struct exchange *x)
{
	struct guest *g = x->producer_ctx;

	assert_true(x->failure.status >= 500);
	assert_true(x->failure.title.len > 0);
	g->has_failed = true;
	guest_goes(g);
}

static const struct exchange_producer guest_producer = {
	.name = "guest",
	.on_head = guest_on_head,
	.on_response_data = guest_on_data,
	.on_request_room = guest_on_room,
	.on_failed = guest_on_failed,
};

static void on_impatience(struct timer *t)
{
	guest_goes(CONTAINER_OF(t, struct guest, impatience));
}

static void guest_comes(struct guest *g)
{
	static const char kinds[] = "eeeeeeppprfn";
	struct exchange *x = exchange_new(loop, &guest_producer, g);

	visits_left--;
	visits_open++;
	assert_false(g->differs);
	g->x = x;
	g->what = kinds[random_below(sizeof(kinds) - 1)];
	g->size = random_below(3) ? random_below(MAX_UPLOAD) : 0;
	g->uploaded = g->received = 0;
	g->has_head = g->has_end = g->has_failed = false;
	memcpy(x->id, "0123456789abcdef", 17);
	x->client_ip = BYTES_LIT("192.0.2.7");
	x->host = BYTES_LIT("app.test");
	x->route = (void *)(uintptr_t)&route;
	x->request.method = g->what == 'e' && g->size ? BYTES_LIT("POST") : BYTES_LIT("GET");
	x->request.scheme = BYTES_LIT("https");
	x->request.authority = BYTES_LIT("app.test");
	x->request.path = arena_printf(&x->arena, "/%c", g->what);
	x->request.length = g->size ? HEAD_LENGTH_UNKNOWN : HEAD_LENGTH_NONE;
	x->request.is_upgrade = g->what == 'e' && random_below(3) == 0;
	/* One in four does not wait for the end; nobody waits for what never comes. */
	timer_set(&g->impatience, g->what == 'n'         ? 30
				  : random_below(4) == 0 ? (int64_t)random_below(30)
							 : 60000);
	exchange_start(x, &chain);
	if (g->x == x)
		guest_uploads(g);
}

/* Another replica, on the visitors' worker, with the same connector behind it. */
static struct line near_line;

static void near_dial(void)
{
	const struct registration registration = {
		.tunnel = tunnel.id,
		.connector = { { 2 } },
		.features = our_features,
		.feature_count = ARRAY_LEN(our_features),
	};
	const struct session_start at_edge = { .side = SESSION_EDGE,
					       .events = &edge_events,
					       .ctx = &near_line };
	const struct session_start at_connector = { .side = SESSION_CONNECTOR,
						    .events = &far_connector_events,
						    .ctx = &near_line,
						    .registration = &registration };

	memset(&near_line, 0, sizeof(near_line));
	near_line.worker = &workers[0];
	near_line.tunnel = tunnel.id;
	fake_transport_pair(loop, &at_edge, &at_connector, &near_line.edge, &near_line.connector);
	while (!near_line.is_up) /* its events wake nobody */
		let_it_turn();
}

static void run_guests(int visits, bool cuts, bool has_replica)
{
	struct err err;

	far_loop = loop_new(&err);
	far_is_leaving = false;
	atomic_store(&far_registrations, 0);
	visits_left = visits;
	visits_open = good = failed = left = 0;
	worker_begin(&workers[0], loop);
	worker_begin(&workers[1], far_loop);
	loop_post(far_loop, far_begin, cuts ? &far_loop : NULL);
	pthread_create(&far_thread, NULL, far_main, NULL);
	while (!choose_other(&workers[0], &tunnel.id))
		let_it_turn();
	if (has_replica)
		near_dial();
	for (int i = 0; i < GUESTS; i++) {
		timer_init(&guests[i].impatience, loop, on_impatience);
		guest_comes(&guests[i]);
	}
	WAIT_FOR(all_was_seen() && visits_open == 0);
	for (int i = 0; i < GUESTS; i++)
		assert_false(guests[i].differs);
	/* What still runs over there ends with the line. */
	loop_post(far_loop, far_leave, NULL);
	pthread_join(far_thread, NULL);
	if (has_replica)
		line_cut(&near_line);
	let_it_turn();
	far_loop = loop_free(far_loop);
	let_it_turn();
	registry_free(&workers[0]);
	registry_free(&workers[1]);
}

static int start_threads(void **state)
{
	log_setup(LOG_FATAL, LOG_CONSOLE);
	memset(guests, 0, sizeof(guests));
	return make_loop(state);
}

static int stop_threads(void **state)
{
	free_loop(state);
	assert_int_equal(exchange_live_count(), 0);
	assert_int_equal(atomic_load(&sessions_told), 0);
	return 0;
}

static void many_visits_cross_two_threads(void **state)
{
	run_guests(1500, false, false);
}

static void visits_cross_while_the_line_comes_and_goes(void **state)
{
	run_guests(1500, true, false);
	assert_true(atomic_load(&far_registrations) > 1);
}

/* Here, there, refused here and sent again there, with bodies that have left already. */
static void visits_are_shared_by_replicas_on_two_threads(void **state)
{
	for (int i = BALANCE_LEAST; i <= BALANCE_COOKIE; i++) {
		int64_t retried = metric_get(&metric_retried);
		route.balance.policy = (enum balance_policy)i;
		run_guests(500, i % 2, true);
		assert_true(metric_get(&metric_retried) > retried);
	}
	route.balance.policy = BALANCE_LEAST;
}

#define ON_THREADS(test) cmocka_unit_test_setup_teardown(test, start_threads, stop_threads)

int main(void)
{
	const struct CMUnitTest tests[] = {
		JOURNEY_CASES,
		ON_LINES(a_request_crosses_and_its_answer_comes_back),
		ON_LINES(an_answer_without_a_body_crosses),
		ON_LINES(trailers_cross),
		ON_LINES(a_large_upload_crosses_as_fast_as_it_is_taken),
		ON_LINES(a_stalled_visitor_stops_the_connector_across),
		ON_LINES(an_upgrade_crosses),
		ON_LINES(an_early_response_gives_the_upload_up_across),
		ON_LINES(a_session_that_has_just_gone_is_530),
		ON_LINES(the_reason_of_a_failure_crosses),
		ON_LINES(a_response_that_breaks_off_breaks_off_across),
		ON_LINES(what_is_refused_over_there_is_sent_again),
		ON_LINES(what_is_lost_over_there_is_not),
		ON_LINES(an_upload_whose_replica_leaves_on_the_way_goes_to_another_one),
		ON_LINES(a_visitor_who_leaves_resets_the_stream_across),
		ON_LINES(visitor_and_session_may_leave_together),
		ON_THREADS(many_visits_cross_two_threads),
		ON_THREADS(visits_cross_while_the_line_comes_and_goes),
		ON_THREADS(visits_are_shared_by_replicas_on_two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
