/* What a request and its answer may do on their way, whether they cross to another worker or not.
 *
 * A test program defines line_up_for_case(), includes this file and runs JOURNEY_CASES. */
#pragma once

#include "unit/edge/line.h"

static void line_up_for_case(void);

static void interim_heads_go_along(void **state)
{
	struct field field = { BYTES_LIT("link"), BYTES_LIT("</x>"), HEAD_OTHER };
	const struct head hints = { .status = 103, .fields = { &field, 1, 1 } },
			  processing = { .status = 102 };

	line_up_for_case();
	visit_get(&visit);
	struct call *c = next_call();
	stream_interim(c->stream, &processing);
	stream_interim(c->stream, &hints);
	WAIT_FOR(strlen(visit.interims) > 6);
	answer_whole(c, 200, "ok");
	assert_got(&visit, 200, "ok");
	assert_string_equal(visit.interims, "102 \n103 link: </x>\n\n");
}

static void an_expectation_goes_along_to_the_connector(void **state)
{
	const struct head go_on = { .status = 100 };

	line_up_for_case();
	prepare(&visit, &workers[0], "POST", HEAD_LENGTH_UNKNOWN)->expects_continue = true;
	begin(&visit);
	assert_true(visit.x->relays_continue);
	struct call *c = next_call();
	assert_non_null(strstr(c->fields, "expect: 100-continue\n"));
	assert_string_equal(visit.interims, "");
	stream_interim(c->stream, &go_on);
	WAIT_FOR(visit.interims[0]);
	assert_string_equal(visit.interims, "100 \n");
}

static void trailers_of_a_request_go_along(void **state)
{
	struct field field = { BYTES_LIT("x-checksum"), BYTES_LIT("1"), HEAD_OTHER };

	line_up_for_case();
	struct exchange *x = prepare(&visit, &workers[0], "POST", HEAD_LENGTH_UNKNOWN);
	begin(&visit);
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("body")), 4);
	x->request_body.trailers = (struct fields){ &field, 1, 1 };
	body_end(&x->request_body);
	struct call *c = next_call();
	WAIT_FOR(c->has_fin);
	assert_string_equal(c->trailers, "x-checksum: 1\n");
	answer_whole(c, 200, "ok");
	assert_got(&visit, 200, "ok");
}

/* The service has said all and still listens. */
static void the_answers_side_of_an_upgrade_may_end_first(void **state)
{
	line_up_for_case();
	struct exchange *x = prepare(&visit, &workers[0], "GET", HEAD_LENGTH_NONE);
	x->request.is_upgrade = true;
	begin(&visit);
	struct call *c = next_call();
	answer(c, 101, false);
	assert_int_equal(stream_write(c->stream, BYTES_LIT("bye"), true), 3);
	assert_got(&visit, 101, "bye");
	assert_false(x->answerer_is_gone);
	assert_int_equal(body_write(&x->request_body, BYTES_LIT("more")), 4);
	WAIT_FOR(c->body.len == 4);
	body_end(&x->request_body);
	WAIT_FOR(c->has_fin && !c->stream && x->answerer_is_gone);
	assert_int_equal(c->why, REASON_DONE);
}

#define JOURNEY_CASES                                                                           \
	ON_LINES(interim_heads_go_along), ON_LINES(an_expectation_goes_along_to_the_connector), \
		ON_LINES(trailers_of_a_request_go_along),                                       \
		ON_LINES(the_answers_side_of_an_upgrade_may_end_first)
