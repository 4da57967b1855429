#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <unistd.h>

#include "http/exchange_log.h"

static struct loop *loop;
static struct exchange_outcome outcome;
static bool has_ended;

static void ignore(struct exchange *x)
{
	(void)x;
}

static const struct exchange_producer producer = {
	.name = "test",
	.on_head = ignore,
	.on_response_data = ignore,
	.on_request_room = ignore,
	.on_failed = ignore,
};
static void on_cancelled(struct exchange *x)
{
	exchange_release_answerer(x);
}
static const struct exchange_answerer answerer = {
	.name = "test",
	.on_request_data = ignore,
	.on_response_room = ignore,
	.on_cancelled = on_cancelled,
};

static void on_end(struct exchange *x, void *ctx)
{
	(void)ctx;
	outcome = exchange_outcome_of(x);
	has_ended = true;
}

static struct exchange *begin(void)
{
	struct exchange *x = exchange_new(loop, &producer, NULL);

	x->on_end = on_end;
	x->request.method = BYTES_LIT("GET");
	exchange_answer_by(x, &answerer, NULL);
	has_ended = false;
	return x;
}

static void stop_loop(struct deferred *d)
{
	(void)d;
	loop_stop(loop);
}

/* Whoever still holds it lets go. */
static void finish(struct exchange *x)
{
	struct deferred stop;

	exchange_release_producer(x);
	deferred_init(&stop, stop_loop);
	loop_defer_flush(loop, &stop);
	loop_run(loop);
	assert_true(has_ended);
}

static void take_all(struct body *b)
{
	body_consume(b, bufq_len(&b->queue));
}

static void a_whole_answer_is_what_was_sent(void **state)
{
	struct exchange *x = begin();

	body_write(&x->request_body, BYTES_LIT("123"));
	x->response.status = 201;
	exchange_respond(x);
	body_write(&x->response_body, BYTES_LIT("12345"));
	body_end(&x->response_body);
	exchange_release_answerer(x);
	take_all(&x->response_body);
	finish(x);
	assert_int_equal(outcome.status, 201);
	assert_int_equal(outcome.sent, 5);
	assert_int_equal(outcome.received, 3);
	assert_false(outcome.is_aborted);
	assert_true(outcome.first_byte >= 0 && outcome.total >= outcome.first_byte);
}

static void leaving_before_a_head_is_499(void **state)
{
	finish(begin());
	assert_int_equal(outcome.status, 499);
	assert_true(outcome.is_aborted);
	assert_true(outcome.first_byte == -1);
}

static void leaving_within_the_answer_counts_what_was_taken(void **state)
{
	struct exchange *x = begin();

	x->response.status = 200;
	exchange_respond(x);
	body_write(&x->response_body, BYTES_LIT("12345"));
	body_consume(&x->response_body, 2);
	finish(x);
	assert_int_equal(outcome.status, 200);
	assert_int_equal(outcome.sent, 2);
	assert_true(outcome.is_aborted);
}

static void an_upgraded_connection_may_end_anyhow(void **state)
{
	struct exchange *x = begin();

	x->response.status = 101;
	exchange_respond(x);
	finish(x);
	assert_int_equal(outcome.status, 101);
	assert_false(outcome.is_aborted);
}

static void a_failure_has_its_status(void **state)
{
	struct exchange *x = begin();

	exchange_failed(x, FAILURE_TUNNEL, 530, 1033, "Title", "detail");
	exchange_fail(x);
	finish(x);
	assert_int_equal(outcome.status, 530);
	assert_false(outcome.is_aborted);
}

static void the_path_is_as_it_was_asked_for(void **state)
{
	struct exchange *x = begin();

	x->request.path = BYTES_LIT("/b?x=1");
	assert_true(bytes_eq(exchange_path(x), BYTES_LIT("/b")));
	x->asked_path = BYTES_LIT("/a/b#c?x=1");
	assert_true(bytes_eq(exchange_path(x), BYTES_LIT("/a/b")));
	finish(x);
}

/* Of a line that was begun. */
static bool has_field(const struct exchange_line *l, const char *key)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->fields[i].key, key) == 0)
			return true;
	return false;
}

static void lines_hold_what_there_is_to_say(void **state)
{
	struct exchange *x = begin();
	struct exchange_line l = { .count = 0 };
	struct exchange_outcome o = { .status = 200, .first_byte = -1 };

	exchange_line_outcome(&l, &o);
	exchange_line_failure(&l, x, &o);
	exchange_line_text(&l, "empty", BYTES_NONE);
	assert_true(has_field(&l, "status") && has_field(&l, "totalMs"));
	assert_false(has_field(&l, "ttfbMs") || has_field(&l, "hop") || has_field(&l, "aborted") ||
		     has_field(&l, "empty"));
	exchange_failed(x, FAILURE_ORIGIN, 502, 0, "Title", "detail");
	o.is_aborted = true;
	exchange_line_failure(&l, x, &o);
	assert_true(has_field(&l, "hop") && has_field(&l, "error") && has_field(&l, "aborted"));
	assert_false(has_field(&l, "errno"));
	for (int i = 0; i < 100; i++)
		exchange_line_add(&l, LOG_INT("more", i));
	assert_int_equal(l.count, EXCHANGE_LOG_FIELDS);
	for (int hop = FAILURE_EDGE; hop <= FAILURE_VISITOR; hop++)
		assert_non_null(exchange_hop_name((enum failure_hop)hop));
	finish(x);
}

static void heads_are_shown_without_their_secrets(void **state)
{
	static char text[20000], longer[980];
	char path[] = "/tmp/test_exchange_log.XXXXXX";
	int fd = mkstemp(path), saved = dup(STDERR_FILENO);
	struct exchange *x = begin();
	struct fields *f = &x->request.fields;

	memset(longer, 'l', sizeof(longer) - 1);
	const struct {
		const char *name, *value;
	} fields[] = {
		{ "Accept", "*/*" },
		{ "Cookie", "hush" },
		{ "Authorization", "hush" },
		{ "X-Long", longer },
		{ "Referer", "https://a.example/b?hush" },
		{ "Cf-Access-Jwt-Assertion", "hush" },
		{ "X-Last", "seen\033[2J" },
	};
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		assert_int_equal(fields_add(f, &x->arena, bytes_str(fields[i].name),
					    bytes_str(fields[i].value)),
				 0);
	dup2(fd, STDERR_FILENO);
	log_setup(LOG_INFO, LOG_CONSOLE);
	exchange_log_head("test", "request head", x, &x->request);
	log_setup(LOG_DEBUG, LOG_CONSOLE);
	exchange_log_head("test", "request head", x, &x->request);
	dup2(saved, STDERR_FILENO);
	close(saved);
	log_setup(LOG_ERROR, LOG_CONSOLE);
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	close(fd);
	unlink(path);
	assert_null(strstr(text, "hush"));
	assert_null(strchr(text, '\033'));
	assert_non_null(strstr(text, "Accept: */*; Cookie: *****; Authorization: *****\""));
	assert_non_null(strstr(text, "Referer: https://a.example/b?*****"));
	assert_non_null(strstr(text, "X-Last: seen\\u001b"));
	/* Too much for one line. */
	assert_non_null(strchr(strchr(text, '\n') + 1, '\n'));
	finish(x);
}

static int setup(void **state)
{
	struct err err;

	loop = loop_new(&err);
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	loop_free(loop);
	return exchange_live_count() == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_answer_is_what_was_sent),
		cmocka_unit_test(leaving_before_a_head_is_499),
		cmocka_unit_test(leaving_within_the_answer_counts_what_was_taken),
		cmocka_unit_test(an_upgraded_connection_may_end_anyhow),
		cmocka_unit_test(a_failure_has_its_status),
		cmocka_unit_test(the_path_is_as_it_was_asked_for),
		cmocka_unit_test(lines_hold_what_there_is_to_say),
		cmocka_unit_test(heads_are_shown_without_their_secrets),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
