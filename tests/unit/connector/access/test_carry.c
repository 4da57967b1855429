#include "unit/io/turns.h"

#include "base/buf.h"
#include "base/random.h"
#include "connector/access/carry.h"
#include "fake/memory_stream.h"
#include "http/websocket.h"

#define CAPACITY 30000

/* The program at the local end, and the server at the far one. */
struct side {
	struct byte_stream *stream;
	struct buf got;
	bool stalls, has_end;
};

static struct side local, far;
static struct access_carry *carry;
static int done_count;
static struct err verdict;

static void take(struct side *s)
{
	while (!s->stalls && !s->has_end && s->stream) {
		uint8_t bytes[4096];
		ssize_t n = byte_stream_read(s->stream, bytes, sizeof(bytes), NULL);
		if (n == E_AGAIN)
			return;
		if (n <= 0)
			s->has_end = true;
		else
			assert_int_equal(buf_append(&s->got, bytes_of(bytes, (size_t)n)), 0);
	}
}

static void on_readable(void *ctx)
{
	take(ctx);
	happened();
}

static const struct byte_stream_events events = { .on_readable = on_readable };

static void on_done(void *ctx, const struct err *err)
{
	done_count++;
	carry = NULL;
	verdict = err ? *err : (struct err){ 0 };
	happened();
}

static void begin(bool has_half_close, struct bytes early)
{
	struct byte_stream *ours_local, *ours_remote;

	memory_stream_pair(loop, CAPACITY, &local.stream, &ours_local);
	memory_stream_pair(loop, CAPACITY, &far.stream, &ours_remote);
	byte_stream_set_events(local.stream, &events, &local);
	byte_stream_set_events(far.stream, &events, &far);
	carry = access_carry(loop, ours_local, ours_remote, early, has_half_close, on_done, NULL);
	loop_settle(loop);
}

static int start(void **state)
{
	memset(&local, 0, sizeof(local));
	memset(&far, 0, sizeof(far));
	buf_init(&local.got, 8 << 20);
	buf_init(&far.got, 8 << 20);
	done_count = 0;
	carry = NULL;
	return make_loop(state);
}

static int stop(void **state)
{
	carry = access_carry_cancel(carry);
	byte_stream_close(local.stream);
	byte_stream_close(far.stream);
	buf_done(&local.got);
	buf_done(&far.got);
	return free_loop(state);
}

static void far_says(struct bytes b)
{
	while (b.len) {
		size_t n = byte_stream_write(far.stream, b);
		b = bytes_from(b, n);
		loop_settle(loop);
		if (n == 0)
			return;
	}
	loop_settle(loop);
}

static void far_frame(enum websocket_opcode opcode, struct bytes payload)
{
	uint8_t head[WEBSOCKET_HEAD_MAX];
	size_t len = websocket_print_head(opcode, payload.len, NULL, head);

	far_says(bytes_of(head, len));
	far_says(payload);
}

static void far_close(uint16_t code, const char *reason)
{
	uint8_t frame[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX];

	far_says(bytes_of(frame, websocket_print_close(code, reason, NULL, frame)));
}

/* What the far end has been told, frame by frame: "data:hello end pong:x close:1000". */
static const char *far_heard(void)
{
	static char text[4096];
	struct websocket_reader r;
	uint8_t *at = far.got.ptr;
	size_t left = far.got.len, used = 0;
	enum websocket_event e;

	text[0] = 0;
	websocket_reader_init(&r, WEBSOCKET_SERVER);
	while (far.got.len && (e = websocket_next(&r, &at, &left)) != WEBSOCKET_MORE) {
		if (e == WEBSOCKET_BROKEN)
			fail_msg("a broken frame after \"%s\"", text);
		if (e == WEBSOCKET_MESSAGE && !r.is_empty)
			continue;
		const char *kind = e == WEBSOCKET_DATA          ? "data"
				   : e == WEBSOCKET_MESSAGE     ? "end"
				   : r.opcode == WEBSOCKET_PING ? "ping"
				   : r.opcode == WEBSOCKET_PONG ? "pong"
								: "close";
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used ? " " : "",
					 kind);
		if (e == WEBSOCKET_CONTROL && r.opcode == WEBSOCKET_CLOSE)
			used += (size_t)snprintf(text + used, sizeof(text) - used, ":%u",
						 r.close_code);
		else if (e != WEBSOCKET_MESSAGE)
			used += (size_t)snprintf(text + used, sizeof(text) - used, ":" BYTES_FMT,
						 BYTES_ARG(r.payload));
	}
	buf_clear(&far.got);
	return text;
}

static void local_says(const char *text)
{
	assert_int_equal(byte_stream_write(local.stream, bytes_str(text)), strlen(text));
	loop_settle(loop);
}

static void local_ends(void)
{
	byte_stream_shutdown(local.stream);
	loop_settle(loop);
}

static void assert_local_got(const char *want)
{
	assert_int_equal(local.got.len, strlen(want));
	if (*want)
		assert_memory_equal(local.got.ptr, want, strlen(want));
	buf_clear(&local.got);
}

static void assert_over(int code)
{
	WAIT_FOR(done_count);
	assert_int_equal(done_count, 1);
	if (verdict.code != code)
		fail_msg("ended with %d (%s)", verdict.code, verdict.text);
}

/* --- Tests ----------------------------------------------------------------------------------- */

static void bytes_become_masked_binary_messages_and_back(void **state)
{
	begin(false, BYTES_NONE);
	local_says("hello");
	assert_string_equal(far_heard(), "data:hello");
	far_frame(WEBSOCKET_BINARY, BYTES_LIT("world"));
	far_frame(WEBSOCKET_TEXT, BYTES_LIT("!"));
	assert_local_got("world!");
}

static void every_frame_has_a_mask_of_its_own(void **state)
{
	uint8_t first[4];

	begin(false, BYTES_NONE);
	local_says("x");
	assert_int_equal(far.got.len, 7);
	memcpy(first, far.got.ptr + 2, 4);
	buf_clear(&far.got);
	local_says("x");
	/* Equal by chance once in four billion runs. */
	assert_memory_not_equal(first, far.got.ptr + 2, 4);
}

static void bytes_behind_the_handshake_are_not_lost(void **state)
{
	static const uint8_t early[] = { 0x82, 5, 'e', 'a', 'r' };

	begin(false, bytes_of(early, sizeof(early)));
	far_says(BYTES_LIT("ly"));
	assert_local_got("early");
}

static void fragments_and_pings_between_them_are_one_stream(void **state)
{
	static const uint8_t frames[] = { 0x02, 1, 'a', 0x89, 1, 'p', 0x00, 1, 'b', 0x80, 1, 'c' };

	begin(false, BYTES_NONE);
	for (size_t i = 0; i < sizeof(frames); i++)
		far_says(bytes_of(frames + i, 1));
	assert_local_got("abc");
	assert_string_equal(far_heard(), "pong:p");
}

static void with_half_close_each_direction_ends_by_itself(void **state)
{
	begin(true, BYTES_NONE);
	local_says("question");
	local_ends();
	assert_string_equal(far_heard(), "data:question end");
	far_frame(WEBSOCKET_BINARY, BYTES_LIT("answer"));
	assert_local_got("answer");
	assert_false(local.has_end);
	far_frame(WEBSOCKET_BINARY, BYTES_NONE);
	assert_true(local.has_end);
	assert_string_equal(far_heard(), "close:1000");
	far_close(1000, NULL);
	assert_over(0);
}

static void with_half_close_the_far_end_may_end_first(void **state)
{
	begin(true, BYTES_NONE);
	far_frame(WEBSOCKET_BINARY, BYTES_LIT("bye"));
	far_frame(WEBSOCKET_BINARY, BYTES_NONE);
	assert_local_got("bye");
	assert_true(local.has_end);
	local_says("still here");
	assert_string_equal(far_heard(), "data:still here");
	local_ends();
	assert_string_equal(far_heard(), "end close:1000");
	far_close(1000, NULL);
	assert_over(0);
}

static void without_half_close_an_empty_message_means_nothing(void **state)
{
	begin(false, BYTES_NONE);
	far_frame(WEBSOCKET_BINARY, BYTES_NONE);
	far_frame(WEBSOCKET_BINARY, BYTES_LIT("more"));
	assert_local_got("more");
	assert_false(local.has_end);
}

static void without_half_close_the_answer_is_waited_for_before_closing(void **state)
{
	begin(false, BYTES_NONE);
	local_says("question");
	local_ends();
	assert_string_equal(far_heard(), "data:question");
	far_frame(WEBSOCKET_BINARY, BYTES_LIT("answer"));
	assert_local_got("answer");
	WAIT_FOR(far.got.len);
	assert_string_equal(far_heard(), "close:1000");
	far_close(1000, NULL);
	assert_over(0);
}

static void a_close_frame_is_answered_and_ends_it(void **state)
{
	begin(false, BYTES_NONE);
	far_frame(WEBSOCKET_BINARY, BYTES_LIT("last"));
	far_close(1000, NULL);
	assert_local_got("last");
	assert_true(local.has_end);
	assert_over(0);
	assert_string_equal(far_heard(), "close:1000");
}

static void a_close_frame_with_an_error_is_told_with_its_reason(void **state)
{
	begin(false, BYTES_NONE);
	far_close(1011, "the service \x1b reset it");
	assert_over(E_CLOSED);
	assert_string_equal(verdict.text,
			    "the far end ended the stream: the service ? reset it (code 1011)");
}

static void the_end_of_the_connection_between_frames_is_proper_for_a_stock_connector(void **state)
{
	begin(false, BYTES_NONE);
	far_frame(WEBSOCKET_BINARY, BYTES_LIT("all"));
	far.stream = byte_stream_close(far.stream);
	assert_over(0);
	take(&local);
	assert_local_got("all");
}

static void the_end_of_the_connection_within_a_frame_is_a_cut(void **state)
{
	static const uint8_t half[] = { 0x82, 5, 'h', 'a' };

	begin(false, BYTES_NONE);
	far_says(bytes_of(half, sizeof(half)));
	far.stream = byte_stream_close(far.stream);
	assert_over(E_CLOSED);
	take(&local);
	assert_local_got("ha");
}

static void with_half_close_an_end_that_was_not_said_is_a_cut(void **state)
{
	begin(true, BYTES_NONE);
	far_frame(WEBSOCKET_BINARY, BYTES_LIT("part"));
	far.stream = byte_stream_close(far.stream);
	assert_over(E_CLOSED);
	take(&local);
	assert_local_got("part");
}

static void what_is_no_frame_ends_it(void **state)
{
	begin(false, BYTES_NONE);
	far_says(BYTES_LIT("\xff\xff\xff"));
	assert_over(E_PROTOCOL);
	assert_string_equal(far_heard(), "close:1002");
}

static void a_masked_frame_from_a_server_is_refused(void **state)
{
	begin(false, BYTES_NONE);
	far_says(BYTES_LIT("\x82\x81mask?"));
	assert_over(E_PROTOCOL);
}

static void cancelling_tells_the_far_end(void **state)
{
	begin(false, BYTES_NONE);
	carry = access_carry_cancel(carry);
	loop_settle(loop);
	assert_string_equal(far_heard(), "close:1001");
	assert_int_equal(done_count, 0);
}

static void a_local_reader_who_stalls_stops_the_far_end(void **state)
{
	static uint8_t block[10000];
	size_t taken = 0;

	begin(false, BYTES_NONE);
	local.stalls = true;
	memory_stream_stall(local.stream, true);
	for (int i = 0; i < 100; i++) {
		uint8_t head[WEBSOCKET_HEAD_MAX];
		size_t len = websocket_print_head(WEBSOCKET_BINARY, sizeof(block), NULL, head);
		if (byte_stream_write(far.stream, bytes_of(head, len)) < len)
			break;
		size_t n = byte_stream_write(far.stream, bytes_of(block, sizeof(block)));
		taken += n;
		loop_settle(loop);
		if (n < sizeof(block))
			break;
	}
	/* Both memory streams, and the carry's one buffer. */
	assert_true(taken < 2 * CAPACITY + 3 * 16384);
	local.stalls = false;
	memory_stream_stall(local.stream, false);
	take(&local);
	for (int i = 0; i < 100 && local.got.len < taken; i++) {
		loop_settle(loop);
		take(&local);
	}
	assert_int_equal(local.got.len, taken);
}

static void a_slow_local_reader_still_gets_everything_after_the_close(void **state)
{
	static uint8_t block[20000];

	random_bytes(block, sizeof(block));
	begin(false, BYTES_NONE);
	local.stalls = true;
	memory_stream_stall(local.stream, true);
	far_frame(WEBSOCKET_BINARY, bytes_of(block, sizeof(block)));
	far_frame(WEBSOCKET_BINARY, bytes_of(block, sizeof(block)));
	far_close(1000, NULL);
	local.stalls = false;
	memory_stream_stall(local.stream, false);
	take(&local);
	assert_over(0);
	take(&local);
	assert_int_equal(local.got.len, 2 * sizeof(block));
	assert_memory_equal(local.got.ptr + sizeof(block), block, sizeof(block));
}

static void a_far_end_that_does_not_read_stops_the_local_one(void **state)
{
	static uint8_t block[4000];
	size_t taken = 0;

	begin(false, BYTES_NONE);
	far.stalls = true;
	memory_stream_stall(far.stream, true);
	for (int i = 0; i < 200; i++) {
		size_t n = byte_stream_write(local.stream, bytes_of(block, sizeof(block)));
		taken += n;
		loop_settle(loop);
		if (n == 0)
			break;
	}
	assert_true(taken < 2 * CAPACITY + 3 * 16384);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bytes_become_masked_binary_messages_and_back),
		TEST(every_frame_has_a_mask_of_its_own),
		TEST(bytes_behind_the_handshake_are_not_lost),
		TEST(fragments_and_pings_between_them_are_one_stream),
		TEST(with_half_close_each_direction_ends_by_itself),
		TEST(with_half_close_the_far_end_may_end_first),
		TEST(without_half_close_an_empty_message_means_nothing),
		TEST(without_half_close_the_answer_is_waited_for_before_closing),
		TEST(a_close_frame_is_answered_and_ends_it),
		TEST(a_close_frame_with_an_error_is_told_with_its_reason),
		TEST(the_end_of_the_connection_between_frames_is_proper_for_a_stock_connector),
		TEST(the_end_of_the_connection_within_a_frame_is_a_cut),
		TEST(with_half_close_an_end_that_was_not_said_is_a_cut),
		TEST(what_is_no_frame_ends_it),
		TEST(a_masked_frame_from_a_server_is_refused),
		TEST(cancelling_tells_the_far_end),
		TEST(a_local_reader_who_stalls_stops_the_far_end),
		TEST(a_slow_local_reader_still_gets_everything_after_the_close),
		TEST(a_far_end_that_does_not_read_stops_the_local_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
