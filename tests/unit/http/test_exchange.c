#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/limits.h"
#include "http/exchange.h"

static struct loop *loop;

/* What was heard, in order: upper case by the producer, lower case by the answerer. */
static char heard[128];
static bool inside_a_call;

static void hear(char c)
{
	size_t n = strlen(heard);

	assert_false(inside_a_call);
	assert_true(n + 1 < sizeof(heard));
	heard[n] = c;
	heard[n + 1] = 0;
}

/* Around calls of the exchange: no event may come inside. */
#define CALL(call)                     \
	do {                           \
		inside_a_call = true;  \
		call;                  \
		inside_a_call = false; \
	} while (0)

static void assert_heard(const char *want)
{
	assert_string_equal(heard, want);
	heard[0] = 0;
}

/* What a test does inside the next event of a kind. */
static void (*in_head)(struct exchange *x);
static void (*in_failed)(struct exchange *x);
static void (*in_response_data)(struct exchange *x);
static void (*in_request_room)(struct exchange *x);
static void (*in_request_data)(struct exchange *x);
static void (*in_cancelled)(struct exchange *x);

static void act(void (**what)(struct exchange *x), struct exchange *x)
{
	void (*fn)(struct exchange * x) = *what;

	*what = NULL;
	if (fn)
		fn(x);
}

static void on_head(struct exchange *x)
{
	hear('H');
	act(&in_head, x);
}
static void on_response_data(struct exchange *x)
{
	hear('D');
	act(&in_response_data, x);
}
static void on_request_room(struct exchange *x)
{
	hear('R');
	act(&in_request_room, x);
}
static void on_failed(struct exchange *x)
{
	hear('F');
	act(&in_failed, x);
}
static const struct exchange_producer producer = {
	.name = "test",
	.on_head = on_head,
	.on_response_data = on_response_data,
	.on_request_room = on_request_room,
	.on_failed = on_failed,
};

static void on_request_data(struct exchange *x)
{
	hear('d');
	act(&in_request_data, x);
}
static void on_response_room(struct exchange *x)
{
	hear('r');
}
static void on_cancelled(struct exchange *x)
{
	hear('c');
	act(&in_cancelled, x);
	if (x->answerer)
		exchange_release_answerer(x);
}
static const struct exchange_answerer answerer = {
	.name = "test",
	.on_request_data = on_request_data,
	.on_response_room = on_response_room,
	.on_cancelled = on_cancelled,
};

static void on_turned(void *arg)
{
	loop_stop(loop);
}

/* One turn: everything deferred has run afterwards. */
static void turn(void)
{
	loop_post(loop, on_turned, NULL);
	loop_run(loop);
}

static int start(void **state)
{
	struct err err;

	heard[0] = 0;
	in_head = in_failed = in_response_data = NULL;
	in_request_room = in_request_data = in_cancelled = NULL;
	inside_a_call = false;
	loop = loop_new(&err);
	return loop && exchange_live_count() == 0 ? 0 : -1;
}

static int stop(void **state)
{
	loop = loop_free(loop);
	return exchange_live_count() == 0 ? 0 : -1;
}

/* --- Chains ---------------------------------------------------------------------------------- */

static char walked[32];

static void walk(const char *name)
{
	size_t used = strlen(walked);

	snprintf(walked + used, sizeof(walked) - used, "%s", name);
}

static enum handled next_handle(struct exchange *x, void *ctx)
{
	walk("next ");
	return HANDLED_NEXT;
}
static enum handled take_handle(struct exchange *x, void *ctx)
{
	walk("take ");
	assert_ptr_equal(ctx, walked);
	exchange_answer_by(x, &answerer, ctx);
	return HANDLED_TAKEN;
}
static enum handled fail_handle(struct exchange *x, void *ctx)
{
	walk("fail ");
	return exchange_failed(x, FAILURE_EDGE, 404, 7, "Title", "Detail of %s", "it");
}

static const struct handler to_answerer[] = { { "next", next_handle }, { "take", take_handle } };
static const struct handler to_failure[] = { { "fail", fail_handle }, { "take", take_handle } };
static const struct handler to_nobody[] = { { "next", next_handle } };

static const struct handler_chain answer_chain = { to_answerer, 2, walked, NULL };
static const struct handler_chain fail_chain = { to_failure, 2, walked, NULL };
static const struct handler_chain nobody_chain = { to_nobody, 1, walked, NULL };

static struct exchange *begin(const struct handler_chain *chain)
{
	struct exchange *x = exchange_new(loop, &producer, &loop);

	assert_int_equal(exchange_live_count(), 1);
	assert_ptr_equal(x->producer_ctx, &loop);
	x->request.method = BYTES_LIT("GET");
	walked[0] = 0;
	CALL(exchange_start(x, chain));
	return x;
}

static void release_producer(struct exchange *x)
{
	CALL(exchange_release_producer(x));
}

static void release_both(struct exchange *x)
{
	if (x->answerer)
		CALL(exchange_release_answerer(x));
	release_producer(x);
	turn();
	assert_int_equal(exchange_live_count(), 0);
}

static void handlers_are_asked_in_turn_until_one_takes_it(void **state)
{
	struct exchange *x = begin(&answer_chain);

	assert_string_equal(walked, "next take ");
	assert_ptr_equal(x->answerer, &answerer);
	release_both(x);
}

static void a_handler_that_fails_ends_the_walk(void **state)
{
	struct exchange *x = begin(&fail_chain);

	assert_string_equal(walked, "fail ");
	assert_true(x->has_failed);
	assert_false(x->has_head);
	turn();
	assert_heard("F");
	assert_int_equal(x->failure.status, 404);
	assert_int_equal(x->failure.code, 7);
	assert_true(bytes_eq(x->failure.title, BYTES_LIT("Title")));
	assert_true(bytes_eq(x->failure.detail, BYTES_LIT("Detail of it")));
	release_both(x);
}

static void a_parked_exchange_goes_on_behind_who_parked_it(void **state)
{
	static const struct handler handlers[] = { { "next", next_handle },
						   { "park", take_handle },
						   { "next", next_handle },
						   { "take", take_handle } };
	static const struct handler_chain chain = { handlers, 4, walked, NULL };
	struct exchange *x = begin(&chain);

	assert_string_equal(walked, "next take ");
	body_write_all(&x->request_body, BYTES_LIT("early"));
	turn();
	assert_heard("d");
	CALL(exchange_resume(x));
	assert_string_equal(walked, "next take next take ");
	assert_false(x->answerer_is_gone);
	/* The new answerer hears of what came meanwhile. */
	turn();
	assert_heard("dR");
	release_both(x);
}

static void a_parked_exchange_may_fail_further_on(void **state)
{
	static const struct handler handlers[] = { { "park", take_handle },
						   { "fail", fail_handle } };
	static const struct handler_chain chain = { handlers, 2, walked, NULL };
	struct exchange *x = begin(&chain);

	CALL(exchange_resume(x));
	assert_string_equal(walked, "take fail ");
	assert_null(x->answerer);
	turn();
	assert_heard("FR");
	release_both(x);
}

static void nobodys_request_is_an_internal_error(void **state)
{
	struct exchange *x = begin(&nobody_chain);

	turn();
	assert_heard("F");
	assert_int_equal(x->failure.status, 500);
	release_both(x);
}

static void answer_with_page(struct exchange *x, void *ctx)
{
	walk("page ");
	assert_ptr_equal(ctx, walked);
	exchange_answer_whole(x, x->failure.status, BYTES_LIT("text/plain"), BYTES_LIT("sorry"));
}

static void a_chain_may_answer_failures_itself(void **state)
{
	static const struct handler_chain chain = { to_failure, 2, walked, answer_with_page };
	struct exchange *x = begin(&chain);

	assert_string_equal(walked, "fail page ");
	turn();
	assert_heard("HDR");
	assert_int_equal(x->response.status, 404);
	assert_true(body_peek(&x->response_body, &(struct bytes){ 0 }, 1) == 1);
	release_both(x);
}

static void a_page_cannot_replace_a_head_that_is_out(void **state)
{
	static const struct handler_chain chain = { to_answerer, 2, walked, answer_with_page };
	struct exchange *x = begin(&chain);

	x->response.status = 200;
	CALL(exchange_respond(x));
	exchange_failed(x, FAILURE_ORIGIN, 502, 0, "t", "d");
	CALL(exchange_fail(x));
	turn();
	assert_heard("HFR");
	assert_string_equal(walked, "next take ");
	assert_int_equal(x->response.status, 200);
	release_both(x);
}

static void answer_own_words(struct exchange *x)
{
	exchange_answer_whole(x, 502, BYTES_NONE, BYTES_LIT("own words"));
}

static void the_head_of_an_answered_failure_comes_before_its_body(void **state)
{
	struct exchange *x = begin(&fail_chain);

	in_failed = answer_own_words;
	turn();
	turn();
	assert_int_equal(heard[0], 'F');
	char *head = strchr(heard, 'H'), *data = strchr(heard, 'D');
	assert_true(head && data && head < data);
	heard[0] = 0;
	release_both(x);
}

/* --- Events ---------------------------------------------------------------------------------- */

static void events_come_later_and_in_their_order(void **state)
{
	struct exchange *x = begin(&answer_chain);
	struct bytes run;

	x->response_body.queue.capacity = x->request_body.queue.capacity = 4;
	/* Everything at once, in another order. */
	CALL(assert_int_equal(body_write(&x->request_body, BYTES_LIT("123456")), 4));
	CALL(body_consume(&x->request_body, 4));
	CALL(assert_int_equal(body_write(&x->request_body, BYTES_LIT("5")), 1));
	CALL(assert_int_equal(body_write(&x->response_body, BYTES_LIT("abcdef")), 4));
	CALL(body_consume(&x->response_body, 3));
	CALL(exchange_respond(x));
	assert_heard("");
	turn();
	assert_heard("HDdrR");
	assert_int_equal(body_peek(&x->response_body, &run, 1), 1);
	assert_int_equal(run.len, 1);
	turn();
	assert_heard("");
	release_both(x);
}

static void several_notes_of_a_kind_are_one_event(void **state)
{
	struct exchange *x = begin(&answer_chain);

	CALL(exchange_respond(x));
	for (int i = 0; i < 5; i++)
		CALL(assert_int_equal(body_write(&x->response_body, BYTES_LIT("x")), 1));
	CALL(body_end(&x->response_body));
	CALL(body_end(&x->response_body));
	turn();
	assert_heard("HD");
	release_both(x);
}

static void respond_now(struct exchange *x)
{
	exchange_respond(x);
}

static void a_body_waits_for_its_head(void **state)
{
	struct exchange *x = begin(&answer_chain);

	CALL(assert_int_equal(body_write(&x->response_body, BYTES_LIT("early")), 5));
	turn();
	assert_heard("");
	in_request_data = respond_now;
	CALL(body_end(&x->request_body));
	turn();
	turn();
	assert_heard("dHD");
	release_both(x);
}

static void a_request_body_that_came_first_is_told_to_the_answerer(void **state)
{
	struct exchange *x = exchange_new(loop, &producer, NULL);

	CALL(assert_int_equal(body_write(&x->request_body, BYTES_LIT("body")), 4));
	turn();
	assert_heard("");
	CALL(exchange_start(x, &answer_chain));
	turn();
	assert_heard("d");
	release_both(x);
}

/* --- Bodies ---------------------------------------------------------------------------------- */

static void room_is_told_when_half_of_it_is_there(void **state)
{
	struct exchange *x = begin(&answer_chain);
	struct body *b = &x->response_body;
	uint8_t data[LIMIT_BODY_QUEUE_BYTES + 1] = { 0 };

	CALL(exchange_respond(x));
	assert_int_equal(body_room(b), LIMIT_BODY_QUEUE_BYTES);
	CALL(assert_int_equal(body_write(b, bytes_of(data, sizeof(data))), LIMIT_BODY_QUEUE_BYTES));
	assert_int_equal(body_room(b), 0);
	size_t size;
	assert_null(body_reserve(b, &size));
	turn();
	assert_heard("HD");
	CALL(body_consume(b, LIMIT_BODY_QUEUE_BYTES / 2 - 1));
	turn();
	assert_heard("");
	CALL(body_consume(b, 1));
	turn();
	assert_heard("r");
	/* Nobody asked again. */
	CALL(body_consume(b, LIMIT_BODY_QUEUE_BYTES / 2));
	turn();
	assert_heard("");
	assert_int_equal(b->total, LIMIT_BODY_QUEUE_BYTES);
	release_both(x);
}

static void bytes_may_be_read_straight_into_a_body(void **state)
{
	struct exchange *x = begin(&answer_chain);
	struct body *b = &x->request_body;
	struct bytes run;
	size_t size;

	uint8_t *at = body_reserve(b, &size);
	assert_non_null(at);
	assert_true(size >= 3);
	memcpy(at, "abc", 3);
	CALL(body_commit(b, 3));
	at = body_reserve(b, &size);
	assert_non_null(at);
	CALL(body_commit(b, 0));
	turn();
	assert_heard("d");
	assert_int_equal(body_peek(b, &run, 1), 1);
	assert_true(bytes_eq(run, BYTES_LIT("abc")));
	assert_int_equal(b->total, 3);
	release_both(x);
}

static void a_window_may_exceed_the_queue(void **state)
{
	struct exchange *x = begin(&answer_chain);
	struct body *b = &x->request_body;

	b->queue.capacity = 2;
	CALL(body_write_all(b, BYTES_LIT("12345")));
	CALL(body_write_all(b, BYTES_NONE));
	assert_int_equal(b->total, 5);
	b->wants_room = true;
	CALL(body_consume(b, 3));
	turn();
	assert_heard("d");
	CALL(body_consume(b, 1));
	turn();
	assert_heard("R");
	release_both(x);
}

static void a_body_is_done_when_it_has_ended_and_is_empty(void **state)
{
	struct exchange *x = begin(&answer_chain);
	struct body *b = &x->request_body;

	assert_false(body_is_done(b));
	CALL(assert_int_equal(body_write(b, BYTES_LIT("x")), 1));
	CALL(body_end(b));
	assert_false(body_is_done(b));
	CALL(body_consume(b, 1));
	assert_true(body_is_done(b));
	turn();
	assert_heard("d");
	release_both(x);
}

/* --- Whole answers --------------------------------------------------------------------------- */

static enum handled whole_handle(struct exchange *x, void *ctx)
{
	exchange_answer_whole(x, *(int *)ctx, BYTES_LIT("text/plain"), BYTES_LIT("12345"));
	return HANDLED_TAKEN;
}

static const struct handler whole[] = { { "whole", whole_handle } };

static struct exchange *answered_whole(int status, const char *method)
{
	static int given;
	static struct handler_chain chain = { whole, 1, &given, NULL };
	struct exchange *x = exchange_new(loop, &producer, NULL);

	given = status;
	x->request.method = bytes_str(method);
	CALL(exchange_start(x, &chain));
	turn();
	assert_heard("HDR"); /* R: the request's body is wanted no more */
	assert_true(x->answerer_is_gone);
	assert_true(x->response_body.has_ended);
	assert_int_equal(x->response.status, status);
	return x;
}

static const char *field(struct exchange *x, enum head_name token)
{
	const struct field *f = fields_find(&x->response.fields, token);

	return f ? arena_strdup(&x->arena, f->value) : "none";
}

static void a_whole_answer_has_type_length_and_body(void **state)
{
	struct exchange *x = answered_whole(200, "GET");
	struct bytes run;

	assert_string_equal(field(x, HEAD_CONTENT_TYPE), "text/plain");
	assert_string_equal(field(x, HEAD_CONTENT_LENGTH), "5");
	assert_int_equal(x->response.length, HEAD_LENGTH_KNOWN);
	assert_int_equal(x->response.content_length, 5);
	assert_int_equal(body_peek(&x->response_body, &run, 1), 1);
	assert_true(bytes_eq(run, BYTES_LIT("12345")));
	release_both(x);
}

static void a_whole_answer_to_head_has_the_length_and_no_body(void **state)
{
	struct exchange *x = answered_whole(404, "HEAD");

	assert_string_equal(field(x, HEAD_CONTENT_LENGTH), "5");
	assert_int_equal(x->response.length, HEAD_LENGTH_NONE);
	assert_true(body_is_done(&x->response_body));
	release_both(x);
}

static void a_whole_answer_without_content_says_nothing_of_one(void **state)
{
	static const int statuses[] = { 204, 304 };

	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		struct exchange *x = answered_whole(statuses[i], "GET");
		assert_string_equal(field(x, HEAD_CONTENT_TYPE), "none");
		assert_string_equal(field(x, HEAD_CONTENT_LENGTH), "none");
		assert_int_equal(x->response.length, HEAD_LENGTH_NONE);
		assert_true(body_is_done(&x->response_body));
		release_both(x);
	}
}

static void a_whole_answer_may_be_larger_than_the_queue(void **state)
{
	static uint8_t data[3 * LIMIT_BODY_QUEUE_BYTES];
	struct exchange *x = begin(&answer_chain);

	CALL(exchange_answer_whole(x, 200, BYTES_NONE, bytes_of(data, sizeof(data))));
	assert_null(x->answerer);
	turn();
	assert_heard("HDR");
	assert_string_equal(field(x, HEAD_CONTENT_TYPE), "none");
	assert_int_equal(bufq_len(&x->response_body.queue), sizeof(data));
	release_both(x);
}

/* --- Leaving --------------------------------------------------------------------------------- */

static void a_producer_that_leaves_cancels_the_answerer(void **state)
{
	struct exchange *x = begin(&answer_chain);

	release_producer(x);
	assert_int_equal(exchange_live_count(), 1);
	turn();
	assert_heard("c");
	assert_int_equal(exchange_live_count(), 0);
}

static void nothing_but_the_cancel_follows_for_either_side(void **state)
{
	struct exchange *x = begin(&answer_chain);

	CALL(exchange_respond(x));
	CALL(assert_int_equal(body_write(&x->response_body, BYTES_LIT("x")), 1));
	CALL(assert_int_equal(body_write(&x->request_body, BYTES_LIT("x")), 1));
	release_producer(x);
	turn();
	assert_heard("c");
	assert_int_equal(exchange_live_count(), 0);
}

static void an_answerer_may_leave_first(void **state)
{
	struct exchange *x = begin(&answer_chain);

	CALL(exchange_respond(x));
	CALL(body_end(&x->response_body));
	CALL(exchange_release_answerer(x));
	assert_true(x->answerer_is_gone);
	turn();
	assert_heard("HDR");
	assert_int_equal(exchange_live_count(), 1);
	release_producer(x);
	turn();
	assert_heard("");
	assert_int_equal(exchange_live_count(), 0);
}

static void release_in_event(struct exchange *x)
{
	exchange_release_producer(x);
}

static void a_producer_may_leave_inside_any_event(void **state)
{
	void (**const where[])(struct exchange * x) = { &in_head, &in_response_data,
							&in_request_room, &in_failed };
	static const char *const events[] = { "Hc", "HDc", "HDRc", "HF" };

	for (size_t i = 0; i < ARRAY_LEN(where); i++) {
		struct exchange *x = begin(&answer_chain);
		x->request_body.queue.capacity = 1;
		assert_int_equal(body_write(&x->request_body, BYTES_LIT("12")), 1);
		turn();
		assert_heard("d");
		*where[i] = release_in_event;
		CALL(exchange_respond(x));
		CALL(body_write_all(&x->response_body, BYTES_LIT("x")));
		CALL(body_consume(&x->request_body, 1));
		if (i == 3)
			CALL(exchange_fail(x));
		turn();
		turn();
		assert_heard(events[i]);
		assert_int_equal(exchange_live_count(), 0);
	}
}

static void fail_in_event(struct exchange *x)
{
	exchange_failed(x, FAILURE_ORIGIN, 502, 0, "t", "d");
	exchange_fail(x);
}

static void an_answerer_may_fail_when_it_is_cancelled(void **state)
{
	struct exchange *x = begin(&answer_chain);

	in_cancelled = fail_in_event;
	release_producer(x);
	turn();
	turn();
	assert_heard("c");
	assert_int_equal(exchange_live_count(), 0);
}

static void a_failure_cuts_off_what_was_under_way(void **state)
{
	struct exchange *x = begin(&answer_chain);

	CALL(exchange_respond(x));
	turn();
	assert_heard("H");
	CALL(body_write_all(&x->response_body, BYTES_LIT("part")));
	exchange_failed(x, FAILURE_ORIGIN, 502, 0, "t", "d");
	CALL(exchange_fail(x));
	assert_null(x->answerer);
	turn();
	assert_heard("FR");
	release_both(x);
}

static void failing_after_the_producer_left_just_ends_it(void **state)
{
	struct exchange *x = begin(&answer_chain);

	release_producer(x);
	CALL(exchange_fail(x)); /* before the cancel was delivered */
	turn();
	assert_heard("");
	assert_int_equal(exchange_live_count(), 0);
}

static void another_answerer_may_take_over(void **state)
{
	struct exchange *x = begin(&answer_chain);

	CALL(exchange_release_answerer(x));
	CALL(exchange_answer_by(x, &answerer, NULL));
	assert_false(x->answerer_is_gone);
	turn();
	heard[0] = 0; /* the first one's leaving may or may not be told */
	release_producer(x);
	/* Taken over after the producer has gone: cancelled as well. */
	CALL(exchange_release_answerer(x));
	CALL(exchange_answer_by(x, &answerer, NULL));
	turn();
	assert_heard("c");
	assert_int_equal(exchange_live_count(), 0);
}

static int ends, drops;
static void count_end(struct exchange *x, void *ctx)
{
	assert_ptr_equal(ctx, walked);
	assert_true(bytes_eq(x->request.method, BYTES_LIT("GET"))); /* all is still there */
	assert_int_equal(drops, ends);
	ends++;
}
static void count_drop(void *snapshot)
{
	assert_ptr_equal(snapshot, heard);
	drops++;
}

static void the_end_is_told_once_and_the_snapshot_dropped_after(void **state)
{
	struct exchange *x = begin(&answer_chain);

	ends = drops = 0;
	x->on_end = count_end;
	x->snapshot = heard;
	x->drop_snapshot = count_drop;
	CALL(exchange_release_answerer(x));
	turn();
	assert_int_equal(ends, 0);
	release_producer(x);
	turn();
	assert_int_equal(ends, 1);
	assert_int_equal(drops, 1);
}

static void exchanges_under_way_end_with_the_loop(void **state)
{
	struct exchange *x = begin(&answer_chain);

	release_producer(x);
	loop = loop_free(loop); /* delivers what was noted */
	assert_heard("c");
	assert_int_equal(exchange_live_count(), 0);
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(handlers_are_asked_in_turn_until_one_takes_it),
		ON_LOOP(a_handler_that_fails_ends_the_walk),
		ON_LOOP(a_parked_exchange_goes_on_behind_who_parked_it),
		ON_LOOP(a_parked_exchange_may_fail_further_on),
		ON_LOOP(nobodys_request_is_an_internal_error),
		ON_LOOP(a_chain_may_answer_failures_itself),
		ON_LOOP(a_page_cannot_replace_a_head_that_is_out),
		ON_LOOP(the_head_of_an_answered_failure_comes_before_its_body),
		ON_LOOP(events_come_later_and_in_their_order),
		ON_LOOP(several_notes_of_a_kind_are_one_event),
		ON_LOOP(a_body_waits_for_its_head),
		ON_LOOP(a_request_body_that_came_first_is_told_to_the_answerer),
		ON_LOOP(room_is_told_when_half_of_it_is_there),
		ON_LOOP(bytes_may_be_read_straight_into_a_body),
		ON_LOOP(a_window_may_exceed_the_queue),
		ON_LOOP(a_body_is_done_when_it_has_ended_and_is_empty),
		ON_LOOP(a_whole_answer_has_type_length_and_body),
		ON_LOOP(a_whole_answer_to_head_has_the_length_and_no_body),
		ON_LOOP(a_whole_answer_without_content_says_nothing_of_one),
		ON_LOOP(a_whole_answer_may_be_larger_than_the_queue),
		ON_LOOP(a_producer_that_leaves_cancels_the_answerer),
		ON_LOOP(nothing_but_the_cancel_follows_for_either_side),
		ON_LOOP(an_answerer_may_leave_first),
		ON_LOOP(a_producer_may_leave_inside_any_event),
		ON_LOOP(an_answerer_may_fail_when_it_is_cancelled),
		ON_LOOP(a_failure_cuts_off_what_was_under_way),
		ON_LOOP(failing_after_the_producer_left_just_ends_it),
		ON_LOOP(another_answerer_may_take_over),
		ON_LOOP(the_end_is_told_once_and_the_snapshot_dropped_after),
		ON_LOOP(exchanges_under_way_end_with_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
