/* A body that is sent, and perhaps once more. */
#include "unit/io/turns.h"

#include "base/limits.h"
#include "edge/forward/replay.h"

static const struct exchange_producer producer = { .name = "test" };
static struct exchange *x;
static struct replay r;
static char sent[3 * LIMIT_REPLAY_BYTES];
static size_t sent_len;

static int start(void **state)
{
	make_loop(state);
	x = exchange_new(loop, &producer, NULL);
	x->request_body.queue.capacity = sizeof(sent);
	sent_len = 0;
	return 0;
}

static int stop(void **state)
{
	exchange_release_producer(x);
	let_it_turn();
	free_loop(state);
	assert_int_equal(exchange_live_count(), 0);
	return 0;
}

static void write_body(const char *text)
{
	assert_int_equal(body_write(&x->request_body, bytes_str(text)), strlen(text));
}

/* At most so many bytes at a time, until there are none; the last run as replay_is_last() sees it. */
static bool send_all(size_t at_most)
{
	struct bytes run;
	bool is_last = false;

	while (replay_peek(&r, &run)) {
		assert_false(is_last);
		is_last = replay_is_last(&r, run);
		if (run.len > at_most)
			is_last = false;
		run = bytes_first(run, at_most);
		memcpy(sent + sent_len, run.ptr, run.len);
		sent_len += run.len;
		replay_consume(&r, run.len);
	}
	return is_last;
}

static void assert_sent(const char *text)
{
	assert_int_equal(sent_len, strlen(text));
	assert_memory_equal(sent, text, sent_len);
	sent_len = 0;
}

static void a_body_goes_as_it_comes(void **state)
{
	replay_init(&r, x, LIMIT_REPLAY_BYTES);
	assert_false(send_all(10));
	assert_false(replay_is_done(&r));
	write_body("hello ");
	assert_false(send_all(4));
	write_body("world");
	body_end(&x->request_body);
	assert_true(send_all(100));
	assert_true(replay_is_done(&r));
	assert_sent("hello world");
}

static void it_goes_again_from_its_first_byte(void **state)
{
	replay_init(&r, x, LIMIT_REPLAY_BYTES);
	write_body("one two");
	send_all(3);
	assert_sent("one two");
	write_body(" three");
	for (int i = 0; i < 3; i++) {
		assert_true(replay_can_rewind(&r));
		replay_rewind(&r);
		send_all(5);
		assert_sent("one two three");
	}
	replay_rewind(&r);
	body_end(&x->request_body);
	assert_false(replay_is_done(&r));
	assert_true(send_all(100));
	assert_sent("one two three");
	assert_true(replay_is_done(&r));
}

static void the_second_time_may_end_in_the_middle_too(void **state)
{
	struct bytes run;

	replay_init(&r, x, LIMIT_REPLAY_BYTES);
	write_body("abcdef");
	send_all(100);
	sent_len = 0;
	replay_rewind(&r);
	assert_true(replay_peek(&r, &run));
	replay_consume(&r, 2);
	replay_rewind(&r);
	write_body("ghi");
	body_end(&x->request_body);
	assert_true(send_all(100));
	assert_sent("abcdefghi");
}

static void what_nobody_may_need_is_not_kept(void **state)
{
	replay_init(&r, x, 0);
	body_end(&x->request_body);
	assert_true(replay_can_rewind(&r));
	replay_init(&r, x, 0);
	x->request_body.has_ended = false;
	write_body("x");
	assert_true(replay_can_rewind(&r));
	send_all(1);
	assert_false(replay_can_rewind(&r));
	assert_null(r.kept);
}

static void a_long_body_is_not_kept(void **state)
{
	uint8_t block[1000] = { 'x' };

	replay_init(&r, x, LIMIT_REPLAY_BYTES);
	for (size_t i = 0; i < LIMIT_REPLAY_BYTES / sizeof(block); i++) {
		body_write(&x->request_body, bytes_of(block, sizeof(block)));
		send_all(700);
		assert_true(replay_can_rewind(&r));
	}
	body_write(&x->request_body, bytes_of(block, sizeof(block)));
	send_all(700);
	assert_false(replay_can_rewind(&r));
	assert_true(r.kept_cap <= LIMIT_REPLAY_BYTES);
	/* It arrives whole all the same. */
	body_write(&x->request_body, bytes_of(block, sizeof(block)));
	body_end(&x->request_body);
	assert_true(send_all(10000));
	assert_int_equal(sent_len, (LIMIT_REPLAY_BYTES / 1000 + 2) * 1000);
}

#define KEPT(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KEPT(a_body_goes_as_it_comes),
		KEPT(it_goes_again_from_its_first_byte),
		KEPT(the_second_time_may_end_in_the_middle_too),
		KEPT(what_nobody_may_need_is_not_kept),
		KEPT(a_long_body_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
