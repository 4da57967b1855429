/* The driver that tests of other modules stand on keeps to the interface like a real one. */
#include "transport_cases.h"

#include "fake/fake_transport.h"

static const struct driver_traits traits = { 0 };

static void make_line(struct line *line, const struct session_start *edge,
		      const struct session_start *connector)
{
	fake_transport_pair(line->loop, edge, connector, &line->edge.s, &line->connector.s);
}

static void drop_line(struct line *line)
{
	(void)line;
}

static void settle(struct line *line)
{
	for (int i = 0; i < 3; i++) {
		loop_stop(line->loop);
		loop_run(line->loop);
	}
}

static void cut_line_is_lost_for_both(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct side *e = open_get(line);

	settle(line);
	fake_transport_cut(line->edge.s);
	settle(line);
	assert_int_equal(line->edge.why, REASON_LOST);
	assert_int_equal(line->connector.why, REASON_LOST);
	assert_int_equal(e->why, REASON_LOST);
	line_free(line);
}

static void write_takes_a_part(void **state)
{
	(void)state;
	struct line *line = line_new(true);
	struct head head = request_head("POST");
	static const uint8_t data[FAKE_WRITE_MAX + 1];

	head.length = HEAD_LENGTH_UNKNOWN;
	struct side *e = open_kind(line, STREAM_HTTP, &head, false);
	assert_int_equal(stream_write(e->st, bytes_of(data, sizeof(data)), false), FAKE_WRITE_MAX);
	stream_reset(e->st, REASON_CANCELLED);
	settle(line);
	line_free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TRANSPORT_CASES,
		cmocka_unit_test(cut_line_is_lost_for_both),
		cmocka_unit_test(write_takes_a_part),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
