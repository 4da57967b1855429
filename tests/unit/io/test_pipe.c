#include "turns.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/random.h"
#include "io/pipe.h"

enum { CAPACITY = 1000 };

static struct pipe_writer *writer;
static struct pipe_reader *reader;
static int data_events, room_events;

static void on_data(void *ctx)
{
	assert_ptr_equal(ctx, &reader);
	data_events++;
	happened();
}

static void on_room(void *ctx)
{
	assert_ptr_equal(ctx, &writer);
	room_events++;
	happened();
}

static const struct pipe_events events = { .on_data = on_data, .on_room = on_room };

/* Both ends on one loop: what each call brings about is seen turn by turn. */
static int start(void **state)
{
	make_loop(state);
	data_events = room_events = 0;
	pipe_new(CAPACITY, loop, loop, &writer, &reader);
	pipe_writer_set_events(writer, &events, &writer);
	pipe_reader_set_events(reader, &events, &reader);
	return 0;
}

static int stop(void **state)
{
	if (writer)
		pipe_writer_close(writer, false);
	if (reader)
		pipe_reader_close(reader);
	return free_loop(state);
}

static void assert_reads(const char *want)
{
	uint8_t got[64];
	size_t n = pipe_read(reader, got, sizeof(got));

	assert_int_equal(n, strlen(want));
	assert_memory_equal(got, want, n);
}

static void bytes_are_announced_later_and_once(void **state)
{
	bool aborted;

	assert_int_equal(pipe_write(writer, BYTES_LIT("hello ")), 6);
	assert_int_equal(pipe_write(writer, BYTES_LIT("there")), 5);
	assert_int_equal(data_events, 0);
	WAIT_FOR(data_events);
	let_it_turn();
	assert_int_equal(data_events, 1);
	assert_reads("hello there");
	assert_reads("");
	assert_false(pipe_at_end(reader, &aborted));
	assert_int_equal(pipe_write(writer, BYTES_NONE), 0);
	let_it_turn();
	assert_int_equal(data_events, 1);
	assert_int_equal(room_events, 0);
}

static void a_full_pipe_takes_a_part_and_tells_of_room_when_half_empty(void **state)
{
	uint8_t data[CAPACITY + 100] = { 0 }, got[CAPACITY];

	assert_int_equal(pipe_write(writer, bytes_of(data, sizeof(data))), CAPACITY);
	assert_int_equal(pipe_write(writer, BYTES_LIT("x")), 0);
	assert_int_equal(pipe_read(reader, got, CAPACITY / 2 - 1), CAPACITY / 2 - 1);
	let_it_turn();
	assert_int_equal(room_events, 0);
	assert_int_equal(pipe_read(reader, got, 1), 1);
	assert_int_equal(room_events, 0); /* never inside the call */
	WAIT_FOR(room_events);
	assert_int_equal(pipe_read(reader, got, CAPACITY), CAPACITY / 2);
	let_it_turn();
	assert_int_equal(room_events, 1);
	/* Who was never cut short is told nothing. */
	assert_int_equal(pipe_write(writer, BYTES_LIT("y")), 1);
	assert_int_equal(pipe_read(reader, got, CAPACITY), 1);
	let_it_turn();
	assert_int_equal(room_events, 1);
}

static void the_end_comes_after_the_last_byte(void **state)
{
	bool aborted = true;

	assert_int_equal(pipe_write(writer, BYTES_LIT("last")), 4);
	pipe_writer_close(writer, false);
	writer = NULL;
	WAIT_FOR(data_events);
	assert_false(pipe_at_end(reader, &aborted));
	assert_reads("last");
	assert_true(pipe_at_end(reader, &aborted));
	assert_false(aborted);
}

static void an_empty_pipe_announces_its_end(void **state)
{
	bool aborted;

	pipe_writer_close(writer, false);
	writer = NULL;
	WAIT_FOR(data_events);
	assert_true(pipe_at_end(reader, &aborted));
	assert_false(aborted);
}

static void an_abort_is_told_apart_from_an_end(void **state)
{
	bool aborted = false;

	assert_int_equal(pipe_write(writer, BYTES_LIT("part")), 4);
	pipe_writer_close(writer, true);
	writer = NULL;
	WAIT_FOR(data_events);
	assert_reads("part");
	assert_true(pipe_at_end(reader, &aborted));
	assert_true(aborted);
}

static void a_reader_that_leaves_is_announced_and_swallows(void **state)
{
	uint8_t data[3 * CAPACITY] = { 0 };

	assert_false(pipe_reader_is_gone(writer));
	pipe_reader_close(reader);
	reader = NULL;
	assert_true(pipe_reader_is_gone(writer));
	WAIT_FOR(room_events);
	assert_int_equal(pipe_write(writer, bytes_of(data, sizeof(data))), sizeof(data));
	let_it_turn();
	assert_int_equal(room_events, 1);
}

static void a_waiting_writer_is_told_when_the_reader_leaves(void **state)
{
	uint8_t data[CAPACITY + 1] = { 0 };

	assert_int_equal(pipe_write(writer, bytes_of(data, sizeof(data))), CAPACITY);
	pipe_reader_close(reader);
	reader = NULL;
	WAIT_FOR(room_events);
	assert_int_equal(pipe_write(writer, BYTES_LIT("x")), 1);
}

static void a_closed_end_hears_nothing_more(void **state)
{
	uint8_t data[CAPACITY + 1] = { 0 };

	/* Notices for both are under way when both close. */
	assert_int_equal(pipe_write(writer, bytes_of(data, sizeof(data))), CAPACITY);
	assert_int_equal(pipe_read(reader, data, CAPACITY), CAPACITY);
	pipe_writer_close(writer, false);
	pipe_reader_close(reader);
	writer = NULL;
	reader = NULL;
	let_it_turn();
	assert_int_equal(data_events, 0);
	assert_int_equal(room_events, 0);
}

static void notices_under_way_when_the_loop_is_freed_do_no_harm(void **state)
{
	assert_int_equal(pipe_write(writer, BYTES_LIT("x")), 1);
	pipe_writer_close(writer, true);
	pipe_reader_close(reader);
	writer = NULL;
	reader = NULL;
	loop = loop_free(loop);
	assert_int_equal(data_events, 0);
}

static void ends_without_events_do_no_harm(void **state)
{
	struct pipe_writer *w;
	struct pipe_reader *r;
	uint8_t got[4];

	pipe_new(4, loop, loop, &w, &r);
	assert_int_equal(pipe_write(w, BYTES_LIT("abcdef")), 4);
	let_it_turn();
	assert_int_equal(pipe_read(r, got, 4), 4);
	let_it_turn();
	pipe_reader_close(r);
	pipe_writer_close(w, false);
	let_it_turn();
}

/* --- Two threads ----------------------------------------------------------------------------- */

/* One transfer: the near end writes on the test's thread, the far end reads on its own. */
struct transfer {
	size_t total; /* bytes to write */
	size_t capacity;
	size_t stop_after; /* the reader leaves then; SIZE_MAX: never */
	bool abort_at_end;

	struct loop *far_loop;
	pthread_t far_thread;

	/* near */
	struct pipe_writer *writer;
	size_t written;
	bool saw_reader_go;

	/* far */
	struct pipe_reader *reader;
	size_t read;
	bool differs, at_end, aborted;
	atomic_bool far_is_done;
};

static uint8_t pattern_at(size_t i)
{
	return (uint8_t)(i * 2654435761u >> 24);
}

static void near_go_on(void *ctx)
{
	struct transfer *t = ctx;
	uint8_t data[5000];

	happened();
	if (!t->writer)
		return;
	if (pipe_reader_is_gone(t->writer))
		t->saw_reader_go = true;
	while (!t->saw_reader_go && t->written < t->total) {
		size_t n = 1 + random_below(sizeof(data));
		if (n > t->total - t->written)
			n = t->total - t->written;
		for (size_t i = 0; i < n; i++)
			data[i] = pattern_at(t->written + i);
		size_t taken = pipe_write(t->writer, bytes_of(data, n));
		t->written += taken;
		if (taken < n)
			return;
		t->saw_reader_go = pipe_reader_is_gone(t->writer);
	}
	pipe_writer_close(t->writer, t->abort_at_end);
	t->writer = NULL;
}

static void far_go_on(void *ctx)
{
	struct transfer *t = ctx;
	uint8_t got[5000];
	size_t n;

	while ((n = pipe_read(t->reader, got, 1 + random_below(sizeof(got)))))
		for (size_t i = 0; i < n; i++)
			t->differs |= got[i] != pattern_at(t->read++);
	t->at_end = pipe_at_end(t->reader, &t->aborted);
	if (!t->at_end && t->read < t->stop_after)
		return;
	pipe_reader_close(t->reader);
	t->reader = NULL;
	loop_stop(t->far_loop);
}

static const struct pipe_events near_events = { .on_room = near_go_on };
static const struct pipe_events far_events = { .on_data = far_go_on };

static void *far_main(void *arg)
{
	struct transfer *t = arg;

	loop_run(t->far_loop);
	atomic_store(&t->far_is_done, true);
	loop_post(loop, near_go_on, t);
	return NULL;
}

static void far_begin(void *arg)
{
	struct transfer *t = arg;

	pipe_reader_set_events(t->reader, &far_events, t);
	far_go_on(t);
}

static void run_transfer(struct transfer *t)
{
	struct err err;

	t->far_loop = loop_new(&err);
	pipe_new(t->capacity, loop, t->far_loop, &t->writer, &t->reader);
	pipe_writer_set_events(t->writer, &near_events, t);
	/* As a crossing does it: the far end learns of its pipe by a post. */
	loop_post(t->far_loop, far_begin, t);
	pthread_create(&t->far_thread, NULL, far_main, t);
	near_go_on(t);
	WAIT_FOR(!t->writer && atomic_load(&t->far_is_done));
	pthread_join(t->far_thread, NULL);
	let_it_turn(); /* the far thread's last word */
	t->far_loop = loop_free(t->far_loop);
}

static void megabytes_cross_threads_as_they_are(void **state)
{
	static const size_t capacities[] = { 1, 7, 1000, 65536, 1 << 20 };

	for (size_t i = 0; i < ARRAY_LEN(capacities); i++) {
		struct transfer t = {
			.total = capacities[i] < 1000 ? 20000 : 16 << 20,
			.capacity = capacities[i],
			.stop_after = SIZE_MAX,
		};
		run_transfer(&t);
		assert_int_equal(t.written, t.total);
		assert_int_equal(t.read, t.total);
		assert_false(t.differs);
		assert_true(t.at_end);
		assert_false(t.aborted);
	}
}

static void an_abort_crosses_threads(void **state)
{
	for (int i = 0; i < 50; i++) {
		struct transfer t = {
			.total = random_below(100000),
			.capacity = 4096,
			.stop_after = SIZE_MAX,
			.abort_at_end = true,
		};
		run_transfer(&t);
		assert_int_equal(t.read, t.total);
		assert_true(t.at_end);
		assert_true(t.aborted);
	}
}

static void a_reader_may_leave_from_its_thread_at_any_time(void **state)
{
	for (int i = 0; i < 50; i++) {
		struct transfer t = {
			.total = SIZE_MAX,
			.capacity = 4096,
			.stop_after = random_below(200000),
		};
		run_transfer(&t);
		assert_true(t.saw_reader_go);
		assert_false(t.at_end);
		assert_false(t.differs);
		assert_true(t.written >= t.read);
	}
}

#define ON_PIPE(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_PIPE(bytes_are_announced_later_and_once),
		ON_PIPE(a_full_pipe_takes_a_part_and_tells_of_room_when_half_empty),
		ON_PIPE(the_end_comes_after_the_last_byte),
		ON_PIPE(an_empty_pipe_announces_its_end),
		ON_PIPE(an_abort_is_told_apart_from_an_end),
		ON_PIPE(a_reader_that_leaves_is_announced_and_swallows),
		ON_PIPE(a_waiting_writer_is_told_when_the_reader_leaves),
		ON_PIPE(a_closed_end_hears_nothing_more),
		ON_PIPE(notices_under_way_when_the_loop_is_freed_do_no_harm),
		ON_PIPE(ends_without_events_do_no_harm),
		cmocka_unit_test_setup_teardown(megabytes_cross_threads_as_they_are, make_loop,
						free_loop),
		cmocka_unit_test_setup_teardown(an_abort_crosses_threads, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(a_reader_may_leave_from_its_thread_at_any_time,
						make_loop, free_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
