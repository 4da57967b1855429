#include "turns.h"

#include <pthread.h>
#include <signal.h>

#include "io/byte_stream.h"
#include "io/conn.h"

/* What ran, in order, as letters. */
static char ran[256];

static void note(char c)
{
	size_t n = strlen(ran);

	assert_true(n + 1 < sizeof(ran));
	ran[n] = c;
	ran[n + 1] = 0;
}

static int start(void **state)
{
	ran[0] = 0;
	return make_loop(state);
}

/* --- Deferred calls -------------------------------------------------------------------------- */

struct step {
	struct deferred deferred;
	char name;
	struct step *next_event, *next_flush; /* deferred when this one runs */
};

static void on_step(struct deferred *d)
{
	struct step *s = CONTAINER_OF(d, struct step, deferred);

	note(s->name);
	if (s->next_event)
		loop_defer(loop, &s->next_event->deferred);
	if (s->next_flush)
		loop_defer_flush(loop, &s->next_flush->deferred);
	happened();
}

static void step_init(struct step *s, char name)
{
	*s = (struct step){ .name = name };
	deferred_init(&s->deferred, on_step);
}

static void deferred_events_run_in_order_and_before_flushes(void **state)
{
	struct step a, b, c, d;

	step_init(&a, 'a');
	step_init(&b, 'b');
	step_init(&c, 'C');
	step_init(&d, 'D');
	loop_defer_flush(loop, &c.deferred);
	loop_defer(loop, &a.deferred);
	loop_defer_flush(loop, &d.deferred);
	loop_defer(loop, &b.deferred);
	loop_defer(loop, &a.deferred); /* is waiting already */
	assert_string_equal(ran, "");
	WAIT_FOR(strlen(ran) >= 4);
	let_it_turn();
	assert_string_equal(ran, "abCD");
}

static void what_a_flush_defers_runs_before_the_next_flush(void **state)
{
	struct step a, b, c, d, e;

	step_init(&a, 'A');
	step_init(&b, 'B');
	step_init(&c, 'c');
	step_init(&d, 'd');
	step_init(&e, 'E');
	loop_defer_flush(loop, &a.deferred);
	loop_defer_flush(loop, &b.deferred);
	a.next_event = &c;
	c.next_event = &d;
	c.next_flush = &e;
	WAIT_FOR(strlen(ran) == 5);
	assert_string_equal(ran, "AcdBE");
}

static void cancelled_calls_do_not_run(void **state)
{
	struct step a, b;

	step_init(&a, 'a');
	step_init(&b, 'b');
	loop_defer(loop, &a.deferred);
	loop_defer(loop, &b.deferred);
	deferred_cancel(&a.deferred);
	deferred_cancel(&a.deferred);
	WAIT_FOR(strlen(ran) > 0);
	assert_string_equal(ran, "b");
	/* A cancelled one may be deferred again. */
	loop_defer(loop, &a.deferred);
	WAIT_FOR(strlen(ran) > 1);
	assert_string_equal(ran, "ba");
}

struct endless {
	struct deferred deferred;
	bool stop;
	long count;
};

static void on_endless(struct deferred *d)
{
	struct endless *e = CONTAINER_OF(d, struct endless, deferred);

	e->count++;
	if (!e->stop)
		loop_defer(loop, d);
}

static void on_stop_endless(void *arg)
{
	struct endless *e = arg;

	e->stop = true;
	happened();
}

static void an_endless_chain_does_not_starve_posts(void **state)
{
	struct endless e = { 0 };

	deferred_init(&e.deferred, on_endless);
	loop_defer(loop, &e.deferred);
	loop_post(loop, on_stop_endless, &e);
	WAIT_FOR(e.stop);
	assert_true(e.count > 1000);
}

/* --- Timers ---------------------------------------------------------------------------------- */

struct alarm_clock {
	struct timer timer;
	char name;
	usec due;
	struct alarm_clock *to_stop;
	int again; /* how often it sets itself anew */
	int64_t again_ms;
};

static void on_alarm(struct timer *t)
{
	struct alarm_clock *a = CONTAINER_OF(t, struct alarm_clock, timer);

	assert_false(timer_is_set(t));
	assert_true(loop_now(loop) >= a->due);
	note(a->name);
	if (a->to_stop)
		timer_stop(&a->to_stop->timer);
	if (a->again-- > 0)
		timer_set(t, a->again_ms);
	happened();
}

static void alarm_init(struct alarm_clock *a, char name, int64_t ms)
{
	*a = (struct alarm_clock){ .name = name };
	timer_init(&a->timer, loop, on_alarm);
	assert_false(timer_is_set(&a->timer));
	if (ms >= 0) {
		timer_set(&a->timer, ms);
		a->due = loop_now(loop) + ms * USEC_PER_MSEC;
		assert_true(timer_is_set(&a->timer));
	}
}

static void timers_fire_once_in_order_and_never_early(void **state)
{
	struct alarm_clock a, b, c, d;

	alarm_init(&c, 'c', 80);
	alarm_init(&a, 'a', 0);
	alarm_init(&b, 'b', 40);
	alarm_init(&d, 'd', 160);
	WAIT_FOR(strlen(ran) == 4);
	let_it_turn();
	assert_string_equal(ran, "abcd");
	timer_stop(&a.timer); /* of one that is not set */
}

static struct loop_alarm *alarms[3];
static usec rang_at[3];
static int rang;

static void on_ring(void *arg)
{
	rang_at[(usec *)arg - rang_at] = clock_now();
	rang++;
	happened();
}

static void alarms_ring_once_in_order_and_never_early(void **state)
{
	usec start = clock_now();

	rang = 0;
	for (int i = 0; i < 3; i++)
		alarms[i] = loop_alarm_new(loop, on_ring, &rang_at[i]);
	loop_alarm_set(alarms[0], start + 7100);
	loop_alarm_set(alarms[1], start + 900000);
	loop_alarm_set(alarms[1], start + 3300); /* moved */
	loop_alarm_set(alarms[2], start + 1);
	loop_alarm_stop(alarms[2]);
	WAIT_FOR(rang == 2);
	assert_true(rang_at[1] >= start + 3300 && rang_at[0] >= start + 7100);
	assert_true(rang_at[1] <= rang_at[0]);
	loop_alarm_set(alarms[2], start); /* past */
	WAIT_FOR(rang == 3);
	loop_alarm_set(alarms[0], clock_now() + 1000); /* freed while it is set */
	for (int i = 0; i < 3; i++)
		alarms[i] = loop_alarm_free(alarms[i]);
}

static void a_timer_may_be_moved_both_ways(void **state)
{
	struct alarm_clock a, b, c;

	alarm_init(&a, 'a', 10000);
	alarm_init(&b, 'b', 10);
	alarm_init(&c, 'c', 100);
	timer_set(&a.timer, 40);
	a.due = 0;
	timer_set(&b.timer, 200);
	WAIT_FOR(strlen(ran) == 3);
	assert_string_equal(ran, "acb");
}

static void a_timer_may_stop_another_that_is_due_as_well(void **state)
{
	struct alarm_clock a, b, c;

	alarm_init(&a, 'a', 0);
	alarm_init(&b, 'b', 0);
	alarm_init(&c, 'c', 0);
	a.to_stop = &b;
	WAIT_FOR(strlen(ran) == 2);
	assert_false(timer_is_set(&b.timer));
	let_it_turn();
	assert_string_equal(ran, "ac");
}

static void a_timer_may_set_itself_again(void **state)
{
	struct alarm_clock a;

	alarm_init(&a, 'a', 0);
	a.again = 4; /* with 0 ms: still one turn each, not a loop without end */
	WAIT_FOR(strlen(ran) == 5);
	let_it_turn();
	assert_string_equal(ran, "aaaaa");
	assert_false(timer_is_set(&a.timer));
}

static void on_alarm_free(struct timer *t)
{
	mem_free(CONTAINER_OF(t, struct alarm_clock, timer));
	note('f');
	happened();
}

static void a_timer_may_be_freed_in_its_own_callback(void **state)
{
	struct alarm_clock *a = mem_alloc(sizeof(*a));

	timer_init(&a->timer, loop, on_alarm_free);
	timer_set(&a->timer, 0);
	WAIT_FOR(ran[0]);
}

static void a_far_timer_in_the_slot_of_a_near_one_waits_its_rounds(void **state)
{
	struct alarm_clock near, far[4], later;

	alarm_init(&near, 'n', 32);
	/* One turn of the wheel is 1024 ticks of 16 ms. */
	for (int i = 0; i < 4; i++)
		alarm_init(&far[i], 'f', 32 + (i + 1) * 16384L * (i == 3 ? 100000 : 1));
	alarm_init(&later, 'l', 64);
	WAIT_FOR(strlen(ran) == 2);
	let_it_turn();
	assert_string_equal(ran, "nl");
	for (int i = 0; i < 4; i++) {
		assert_true(timer_is_set(&far[i].timer));
		timer_stop(&far[i].timer);
	}
	/* The wheel turns for new ones all the same. */
	alarm_init(&near, 'm', 1);
	WAIT_FOR(strlen(ran) == 3);
}

static usec latest_due;
static int fired;

static void on_ordered_alarm(struct timer *t)
{
	const struct alarm_clock *a = CONTAINER_OF(t, struct alarm_clock, timer);

	assert_true(loop_now(loop) >= a->due);
	/* They may change places within a tick of 16 ms, or two: what is due in the tick that runs
	 * already goes with the next. */
	assert_true(a->due > latest_due - 32 * USEC_PER_MSEC);
	if (a->due > latest_due)
		latest_due = a->due;
	fired++;
	happened();
}

static void many_timers_fire_in_the_order_of_their_ticks(void **state)
{
	enum { COUNT = 2000 };
	struct alarm_clock *all = mem_alloc_array(COUNT, sizeof(*all));

	fired = 0;
	latest_due = 0;
	for (int i = 0; i < COUNT; i++) {
		int64_t ms = i * 7919 % 200;
		timer_init(&all[i].timer, loop, on_ordered_alarm);
		timer_set(&all[i].timer, ms);
		all[i].due = loop_now(loop) + ms * USEC_PER_MSEC;
	}
	WAIT_FOR(fired == COUNT);
	mem_free(all);
}

/* --- Posts ----------------------------------------------------------------------------------- */

static int posted_order;

static void on_post(void *arg)
{
	assert_int_equal((intptr_t)arg, posted_order);
	posted_order++;
	happened();
}

static void posts_run_later_and_in_order(void **state)
{
	posted_order = 0;
	for (intptr_t i = 0; i < 100; i++)
		loop_post(loop, on_post, (void *)i);
	assert_int_equal(posted_order, 0);
	WAIT_FOR(posted_order == 100);
}

enum { POSTERS = 4, POSTS = 5000 };

struct poster {
	pthread_t thread;
	int sent, seen;
	struct note_of_poster {
		struct poster *from;
		int number;
	} notes[POSTS];
};
static pthread_t loop_thread;
static long seen_total;

static void on_thread_post(void *arg)
{
	struct note_of_poster *n = arg;

	assert_true(pthread_equal(pthread_self(), loop_thread));
	assert_int_equal(n->number, n->from->seen);
	n->from->seen++;
	if (++seen_total == (long)POSTERS * POSTS)
		happened();
}

static void *poster_main(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < POSTS; i++) {
		p->notes[i] = (struct note_of_poster){ p, i };
		loop_post(loop, on_thread_post, &p->notes[i]);
	}
	return NULL;
}

static void posts_of_other_threads_arrive_all_and_in_order(void **state)
{
	static struct poster posters[POSTERS];

	loop_thread = pthread_self();
	seen_total = 0;
	for (int i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_create(&posters[i].thread, NULL, poster_main, &posters[i]),
				 0);
	WAIT_FOR(seen_total == (long)POSTERS * POSTS);
	for (int i = 0; i < POSTERS; i++)
		pthread_join(posters[i].thread, NULL);
}

static void *stopper_main(void *arg)
{
	loop_stop(loop);
	return NULL;
}

static void a_stop_may_come_first_and_from_elsewhere(void **state)
{
	pthread_t thread;

	loop_stop(loop);
	loop_run(loop); /* returns */
	pthread_create(&thread, NULL, stopper_main, NULL);
	loop_run(loop);
	pthread_join(thread, NULL);
	/* Two stops are one, and the next run is not stopped by the last. */
	loop_stop(loop);
	loop_stop(loop);
	loop_run(loop);
	let_it_turn();
}

static int chain_left;

static void on_chain(void *arg)
{
	if (--chain_left > 0)
		loop_post(loop, on_chain, NULL);
	loop_stop(loop);
}

static void freeing_runs_posts_of_posts(void **state)
{
	chain_left = 5;
	loop_post(loop, on_chain, NULL);
	loop = loop_free(loop);
	assert_int_equal(chain_left, 0);
	assert_null(loop_free(NULL));
}

/* --- Descriptors, signals, work -------------------------------------------------------------- */

static int last_events;

static void on_events(void *arg, int events)
{
	struct loop_watch **w = arg;

	last_events = events;
	loop_watch_set(*w, 0);
	happened();
}

static void a_watch_tells_what_was_asked_for_only(void **state)
{
	int fds[2];
	struct loop_watch *w;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	w = loop_watch_new(loop, fds[0], on_events, &w);
	assert_non_null(w);
	last_events = 0;
	assert_int_equal(write(fds[1], "x", 1), 1);
	let_it_turn();
	assert_int_equal(last_events, 0);
	loop_watch_set(w, LOOP_WRITABLE);
	WAIT_FOR(last_events);
	assert_int_equal(last_events, LOOP_WRITABLE);
	last_events = 0;
	loop_watch_set(w, LOOP_READABLE);
	WAIT_FOR(last_events);
	assert_int_equal(last_events, LOOP_READABLE);
	last_events = 0;
	loop_watch_set(w, LOOP_READABLE | LOOP_WRITABLE);
	WAIT_FOR(last_events);
	assert_int_equal(last_events, LOOP_READABLE | LOOP_WRITABLE);
	last_events = 0;
	loop_watch_set(w, LOOP_HANGUP);
	let_it_turn();
	assert_int_equal(last_events, 0);
	shutdown(fds[1], SHUT_WR);
	WAIT_FOR(last_events);
	assert_int_equal(last_events, LOOP_HANGUP);
	assert_null(loop_watch_free(w));
	assert_null(loop_watch_free(NULL));
	close(fds[0]);
	close(fds[1]);
}

static void a_reset_is_told_whatever_was_asked_for(void **state)
{
	static const int interests[] = { LOOP_READABLE, LOOP_WRITABLE, LOOP_HANGUP };

	for (size_t i = 0; i < ARRAY_LEN(interests); i++) {
		int fds[2];
		struct loop_watch *w;
		tcp_pair(fds);
		set_nonblocking(fds[0]);
		w = loop_watch_new(loop, fds[0], on_events, &w);
		reset_and_close(fds[1]);
		last_events = 0;
		loop_watch_set(w, interests[i]);
		WAIT_FOR(last_events);
		assert_int_equal(last_events, LOOP_READABLE | LOOP_WRITABLE);
		loop_watch_free(w);
		close(fds[0]);
	}
}

static int signals_seen;

static void on_signal(void *arg, int signum)
{
	assert_int_equal(signum, SIGUSR1);
	signals_seen++;
	happened();
}

static void signals_arrive_on_the_loop(void **state)
{
	struct loop_signal *s = loop_signal_new(loop, SIGUSR1, on_signal, NULL);

	signals_seen = 0;
	assert_int_equal(raise(SIGUSR1), 0);
	WAIT_FOR(signals_seen == 1);
	assert_null(loop_signal_free(s));
	assert_null(loop_signal_free(NULL));
}

struct job {
	pthread_t worked_on, done_on;
	bool is_worked, is_done;
};

static void do_job(void *arg)
{
	struct job *j = arg;

	j->worked_on = pthread_self();
	j->is_worked = true;
}

static void on_job_done(void *arg)
{
	struct job *j = arg;

	j->done_on = pthread_self();
	assert_true(j->is_worked);
	j->is_done = true;
	happened();
}

static void work_runs_elsewhere_and_ends_on_the_loop(void **state)
{
	struct job j = { 0 };

	loop_work(loop, do_job, on_job_done, &j);
	assert_false(j.is_done);
	WAIT_FOR(j.is_done);
	assert_true(pthread_equal(j.done_on, pthread_self()));
	assert_false(pthread_equal(j.worked_on, pthread_self()));
}

static void freeing_waits_for_work(void **state)
{
	struct job j = { 0 };

	loop_work(loop, do_job, on_job_done, &j);
	loop = loop_free(loop);
	assert_true(j.is_done);
}

/* --- Freeing waits for connections that linger ----------------------------------------------- */

enum { LAST_WORDS = 200 * 1024 };

static void *slow_reader(void *arg)
{
	int fd = *(int *)arg;
	char scrap[4096];
	size_t total = 0;
	ssize_t n;

	while ((n = read(fd, scrap, sizeof(scrap))) > 0)
		total += (size_t)n;
	close(fd);
	return (void *)total;
}

static void freeing_waits_until_the_last_words_have_left(void **state)
{
	static char words[LAST_WORDS];
	int fds[2], size = 8192;
	pthread_t thread;
	void *total;
	struct address none = { .len = 0 };

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	set_nonblocking(fds[0]);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	none.any.sa_family = AF_UNIX;
	struct byte_stream *s = conn_adopt(loop, fds[0], &none);
	assert_int_equal(byte_stream_write(s, bytes_of(words, sizeof(words))), sizeof(words));
	assert_true(byte_stream_backlog(s) > 0);
	byte_stream_close(s);
	pthread_create(&thread, NULL, slow_reader, &fds[1]);
	loop = loop_free(loop);
	pthread_join(thread, &total);
	assert_int_equal((size_t)total, sizeof(words));
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, start, free_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(deferred_events_run_in_order_and_before_flushes),
		ON_LOOP(what_a_flush_defers_runs_before_the_next_flush),
		ON_LOOP(cancelled_calls_do_not_run),
		ON_LOOP(an_endless_chain_does_not_starve_posts),
		ON_LOOP(timers_fire_once_in_order_and_never_early),
		ON_LOOP(alarms_ring_once_in_order_and_never_early),
		ON_LOOP(a_timer_may_be_moved_both_ways),
		ON_LOOP(a_timer_may_stop_another_that_is_due_as_well),
		ON_LOOP(a_timer_may_set_itself_again),
		ON_LOOP(a_timer_may_be_freed_in_its_own_callback),
		ON_LOOP(a_far_timer_in_the_slot_of_a_near_one_waits_its_rounds),
		ON_LOOP(many_timers_fire_in_the_order_of_their_ticks),
		ON_LOOP(posts_run_later_and_in_order),
		ON_LOOP(posts_of_other_threads_arrive_all_and_in_order),
		ON_LOOP(a_stop_may_come_first_and_from_elsewhere),
		ON_LOOP(freeing_runs_posts_of_posts),
		ON_LOOP(a_watch_tells_what_was_asked_for_only),
		ON_LOOP(a_reset_is_told_whatever_was_asked_for),
		ON_LOOP(signals_arrive_on_the_loop),
		ON_LOOP(work_runs_elsewhere_and_ends_on_the_loop),
		ON_LOOP(freeing_waits_for_work),
		ON_LOOP(freeing_waits_until_the_last_words_have_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
