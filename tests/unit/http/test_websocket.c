#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/websocket.h"

static const uint8_t rfc_mask[4] = { 0x37, 0xfa, 0x21, 0x3d };

/* What the events of some input amount to, as text: "data(Hello) end ping(x) close(1000,bye) broken(1002)".
 * Neighbouring runs of payload are joined, so that every split of the input gives the same. */
struct story {
	char text[2048];
	size_t len;
	bool in_data;
};

static void tell(struct story *s, const char *word, struct bytes payload)
{
	int ret = snprintf(s->text + s->len, sizeof(s->text) - s->len, "%s" BYTES_FMT, word,
			   BYTES_ARG(payload));
	assert_in_range(ret, 0, sizeof(s->text) - s->len - 1);
	s->len += (size_t)ret;
}

static void tell_close(struct story *s, const char *word, const struct websocket_reader *r)
{
	char code[32];

	snprintf(code, sizeof(code), "%s(%u,", word, r->close_code);
	tell(s, code, bytes_from(r->payload, 2));
	tell(s, ") ", BYTES_NONE);
}

/* False when the reader is broken. */
static bool feed(struct websocket_reader *r, uint8_t *data, size_t size, struct story *s)
{
	for (;;) {
		enum websocket_event event = websocket_next(r, &data, &size);
		if (event == WEBSOCKET_DATA) {
			if (!s->in_data)
				tell(s, r->opcode == WEBSOCKET_TEXT ? "text(" : "data(", BYTES_NONE);
			s->in_data = true;
			tell(s, "", r->payload);
			continue;
		}
		if (event == WEBSOCKET_MORE) {
			assert_int_equal(size, 0);
			return true;
		}
		if (s->in_data)
			tell(s, ") ", BYTES_NONE);
		s->in_data = false;
		if (event == WEBSOCKET_MESSAGE) {
			tell(s, r->is_empty ? "empty " : "end ", BYTES_NONE);
		} else if (event == WEBSOCKET_BROKEN) {
			tell_close(s, "broken", r);
			return false;
		} else if (r->opcode == WEBSOCKET_CLOSE) {
			tell_close(s, "close", r);
		} else {
			tell(s, r->opcode == WEBSOCKET_PING ? "ping(" : "pong(", r->payload);
			tell(s, ") ", BYTES_NONE);
		}
	}
}

/* Whole, in two parts at every place, and byte by byte; each part in memory of exactly its size. */
static void expect(enum websocket_end end, struct bytes input, const char *want)
{
	for (size_t split = 0; split <= input.len + 1; split++) {
		struct websocket_reader r;
		struct story s = { 0 };
		size_t step = split ? split : 1;
		struct bytes left = input;
		websocket_reader_init(&r, end);
		for (bool alive = true; alive && left.len;) {
			struct bytes part = bytes_first(left, step);
			uint8_t *copy = mem_alloc(part.len);
			memcpy(copy, part.ptr, part.len);
			alive = feed(&r, copy, part.len, &s);
			mem_free(copy);
			left = bytes_from(left, step);
			step = split ? left.len : 1;
		}
		if (strcmp(s.text, want) != 0)
			fail_msg("split at %zu: got \"%s\", want \"%s\"", split, s.text, want);
	}
}

#define FROM_CLIENT(bytes, want) expect(WEBSOCKET_SERVER, BYTES_LIT(bytes), want)
#define FROM_SERVER(bytes, want) expect(WEBSOCKET_CLIENT, BYTES_LIT(bytes), want)

/* --- RFC 6455 §5.7 --------------------------------------------------------------------------- */

static void the_examples_of_the_rfc_are_read(void **state)
{
	FROM_SERVER("\x81\x05Hello", "text(Hello) end ");
	FROM_CLIENT("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "text(Hello) end ");
	FROM_SERVER("\x01\x03Hel\x80\x02lo", "text(Hello) end ");
	FROM_SERVER("\x89\x05Hello", "ping(Hello) ");
	FROM_CLIENT("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "pong(Hello) ");
}

static void the_examples_of_the_rfc_are_written(void **state)
{
	uint8_t out[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX];
	size_t len = websocket_print_control(WEBSOCKET_PONG, BYTES_LIT("Hello"), rfc_mask, out);

	assert_int_equal(len, 11);
	assert_memory_equal(out, "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
	assert_int_equal(websocket_print_head(WEBSOCKET_BINARY, 256, NULL, out), 4);
	assert_memory_equal(out, "\x82\x7e\x01\x00", 4);
	assert_int_equal(websocket_print_head(WEBSOCKET_BINARY, 65536, NULL, out), 10);
	assert_memory_equal(out, "\x82\x7f\0\0\0\0\0\1\0\0", 10);
}

static void lengths_have_their_shortest_form(void **state)
{
	static const struct {
		uint64_t len;
		size_t size;
	} cases[] = { { 0, 2 },     { 125, 2 },    { 126, 4 },
		      { 65535, 4 }, { 65536, 10 }, { UINT64_MAX >> 1, 10 } };
	uint8_t out[WEBSOCKET_HEAD_MAX];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(websocket_print_head(WEBSOCKET_TEXT, cases[i].len, NULL, out),
				 cases[i].size);
		assert_int_equal(websocket_print_head(WEBSOCKET_TEXT, cases[i].len, rfc_mask, out),
				 cases[i].size + 4);
		assert_memory_equal(out + cases[i].size, rfc_mask, 4);
		assert_int_equal(out[0], 0x81);
	}
}

/* --- Messages -------------------------------------------------------------------------------- */

static void frames_of_every_length_form_are_read(void **state)
{
	static const size_t lengths[] = { 0, 1, 125, 126, 127, 65535, 65536, 70000 };

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		size_t len = lengths[i], got = 0;
		uint8_t *frame = mem_alloc(WEBSOCKET_HEAD_MAX + len);
		size_t head = websocket_print_head(WEBSOCKET_BINARY, len, rfc_mask, frame);
		for (size_t k = 0; k < len; k++)
			frame[head + k] = (uint8_t)(k * 7);
		websocket_mask(frame + head, len, rfc_mask, 0);

		struct websocket_reader r;
		websocket_reader_init(&r, WEBSOCKET_SERVER);
		uint8_t *at = frame;
		size_t size = head + len;
		while (websocket_next(&r, &at, &size) == WEBSOCKET_DATA)
			for (size_t k = 0; k < r.payload.len; k++, got++)
				assert_int_equal(r.payload.ptr[k], (uint8_t)(got * 7));
		assert_int_equal(got, len);
		assert_int_equal(r.is_empty, len == 0);
		assert_int_equal(websocket_next(&r, &at, &size), WEBSOCKET_MORE);
		mem_free(frame);
	}
}

static void control_frames_may_stand_between_fragments(void **state)
{
	FROM_SERVER("\x02\x01"
		    "a\x89\x02hi\x00\x01"
		    "b\x8a\x00\x80\x00",
		    "data(a) ping(hi) data(b) pong() end ");
}

static void an_empty_message_is_told_from_one_with_bytes(void **state)
{
	FROM_SERVER("\x82\x00\x82\x01x", "empty data(x) end ");
	FROM_SERVER("\x02\x00\x00\x00\x80\x00", "empty ");
	FROM_SERVER("\x02\x00\x00\x01x\x80\x00", "data(x) end ");
	FROM_CLIENT("\x82\x80\x01\x02\x03\x04", "empty ");
}

static void a_length_in_a_longer_form_is_read(void **state)
{
	FROM_SERVER("\x82\x7e\x00\x02hi", "data(hi) end ");
	FROM_SERVER("\x82\x7f\0\0\0\0\0\0\0\x02hi", "data(hi) end ");
}

static void each_frame_has_a_mask_of_its_own(void **state)
{
	FROM_CLIENT("\x02\x81\x01\x01\x01\x01"
		    "a\x80\x83\x02\x03\x04\x05"
		    "cbf",
		    "data(`aab) end ");
}

/* --- Violations ------------------------------------------------------------------------------ */

static void reserved_bits_break_it(void **state)
{
	FROM_SERVER("\xc1\x00", "broken(1002,) ");
	FROM_SERVER("\xa2\x00", "broken(1002,) ");
	FROM_SERVER("\x99\x00", "broken(1002,) ");
}

static void reserved_opcodes_break_it(void **state)
{
	for (int opcode = 0; opcode < 16; opcode++) {
		uint8_t frame[2] = { (uint8_t)(0x80 | opcode), 0 };
		if ((opcode >= 3 && opcode <= 7) || opcode >= 11)
			expect(WEBSOCKET_CLIENT, bytes_of(frame, 2), "broken(1002,) ");
	}
}

static void a_mask_where_none_belongs_breaks_it(void **state)
{
	FROM_CLIENT("\x81\x05Hello", "broken(1002,) ");
	FROM_CLIENT("\x89\x00", "broken(1002,) ");
	FROM_SERVER("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "broken(1002,) ");
}

static void large_or_fragmented_control_frames_break_it(void **state)
{
	FROM_SERVER("\x89\x7e\x00\x7e", "broken(1002,) ");
	FROM_SERVER("\x8a\x7f", "broken(1002,) ");
	FROM_SERVER("\x88\x7e", "broken(1002,) ");
	FROM_SERVER("\x09\x00", "broken(1002,) ");
	FROM_SERVER("\x08\x00", "broken(1002,) ");
}

static void a_length_of_more_than_63_bits_breaks_it(void **state)
{
	FROM_SERVER("\x82\x7f\x80\0\0\0\0\0\0\0", "broken(1002,) ");
	FROM_SERVER("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "broken(1002,) ");
	FROM_SERVER("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"
		    "ab",
		    "data(ab");
}

static void fragments_out_of_order_break_it(void **state)
{
	FROM_SERVER("\x80\x00", "broken(1002,) ");
	FROM_SERVER("\x00\x01x", "broken(1002,) ");
	FROM_SERVER("\x01\x01x\x81\x01y", "text(x) broken(1002,) ");
	FROM_SERVER("\x81\x01x\x80\x01y", "text(x) end broken(1002,) ");
}

static void a_broken_reader_stays_broken(void **state)
{
	struct websocket_reader r;
	uint8_t data[] = { 0xff, 0xff, 0x81, 0x00 }, *at = data;
	size_t size = sizeof(data);

	websocket_reader_init(&r, WEBSOCKET_CLIENT);
	assert_int_equal(websocket_next(&r, &at, &size), WEBSOCKET_BROKEN);
	assert_int_equal(websocket_next(&r, &at, &size), WEBSOCKET_BROKEN);
	assert_int_equal(r.close_code, 1002);
}

/* --- Close ----------------------------------------------------------------------------------- */

static void a_close_has_a_code_or_none(void **state)
{
	FROM_SERVER("\x88\x00", "close(1005,) ");
	FROM_SERVER("\x88\x02\x03\xe8", "close(1000,) ");
	FROM_SERVER("\x88\x05\x03\xe9"
		    "bye",
		    "close(1001,bye) ");
	FROM_CLIENT("\x88\x82\x01\x02\x03\x04\x02\xea", "close(1000,) ");
}

static void a_close_with_half_a_code_breaks_it(void **state)
{
	FROM_SERVER("\x88\x01\x03", "broken(1002,) ");
}

static void only_codes_that_may_be_sent_are_accepted(void **state)
{
	static const uint16_t good[] = { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
					 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999 };
	static const uint16_t bad[] = { 0,    1,    999,  1004, 1005, 1006,
					1015, 1016, 2000, 2999, 5000, 65535 };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		uint8_t frame[4] = { 0x88, 2, (uint8_t)(good[i] >> 8), (uint8_t)good[i] };
		char want[32];
		snprintf(want, sizeof(want), "close(%u,) ", good[i]);
		expect(WEBSOCKET_CLIENT, bytes_of(frame, 4), want);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint8_t frame[4] = { 0x88, 2, (uint8_t)(bad[i] >> 8), (uint8_t)bad[i] };
		expect(WEBSOCKET_CLIENT, bytes_of(frame, 4), "broken(1002,) ");
	}
}

static void a_close_is_written_with_code_and_reason(void **state)
{
	uint8_t out[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX];
	char reason[200];

	assert_int_equal(websocket_print_close(1000, NULL, NULL, out), 4);
	assert_memory_equal(out, "\x88\x02\x03\xe8", 4);
	assert_int_equal(websocket_print_close(1011, "no", NULL, out), 6);
	assert_memory_equal(out, "\x88\x04\x03\xf3no", 6);
	assert_int_equal(websocket_print_close(1005, "never", NULL, out), 2);
	assert_memory_equal(out, "\x88\x00", 2);
	memset(reason, 'r', sizeof(reason) - 1);
	reason[sizeof(reason) - 1] = '\0';
	assert_int_equal(websocket_print_close(1000, reason, rfc_mask, out), 6 + 125);
	assert_int_equal(out[1], 0x80 | 125);
}

static void a_long_control_payload_is_cut(void **state)
{
	uint8_t out[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX], payload[300] = { 0 };

	assert_int_equal(websocket_print_control(WEBSOCKET_PONG, bytes_of(payload, sizeof(payload)),
						 NULL, out),
			 2 + 125);
}

/* --- Mask and handshake ---------------------------------------------------------------------- */

static void masking_is_the_same_in_any_pieces(void **state)
{
	for (size_t len = 0; len < 40; len++) {
		for (size_t split = 0; split <= len; split++) {
			uint8_t *data = mem_alloc(len + 1);
			websocket_mask(data, split, rfc_mask, 0);
			websocket_mask(data + split, len - split, rfc_mask, split);
			for (size_t i = 0; i < len; i++)
				assert_int_equal(data[i], rfc_mask[i % 4]);
			assert_int_equal(data[len], 0);
			mem_free(data);
		}
	}
	uint8_t one = 0;
	websocket_mask(&one, 1, rfc_mask, UINT64_MAX - 1);
	assert_int_equal(one, rfc_mask[2]);
}

static void a_key_is_accepted_as_in_the_rfc(void **state)
{
	char accept[WEBSOCKET_ACCEPT_SIZE];

	websocket_accept(BYTES_LIT("dGhlIHNhbXBsZSBub25jZQ=="), accept);
	assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sizeof(accept));
	websocket_accept(BYTES_NONE, accept);
	assert_memory_equal(accept, "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=", sizeof(accept));
}

static void keys_differ(void **state)
{
	char first[WEBSOCKET_KEY_SIZE], second[WEBSOCKET_KEY_SIZE];

	websocket_key(first);
	websocket_key(second);
	assert_memory_not_equal(first, second, sizeof(first));
	assert_memory_equal(first + 22, "==", 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_of_the_rfc_are_read),
		cmocka_unit_test(the_examples_of_the_rfc_are_written),
		cmocka_unit_test(lengths_have_their_shortest_form),
		cmocka_unit_test(frames_of_every_length_form_are_read),
		cmocka_unit_test(control_frames_may_stand_between_fragments),
		cmocka_unit_test(an_empty_message_is_told_from_one_with_bytes),
		cmocka_unit_test(a_length_in_a_longer_form_is_read),
		cmocka_unit_test(each_frame_has_a_mask_of_its_own),
		cmocka_unit_test(reserved_bits_break_it),
		cmocka_unit_test(reserved_opcodes_break_it),
		cmocka_unit_test(a_mask_where_none_belongs_breaks_it),
		cmocka_unit_test(large_or_fragmented_control_frames_break_it),
		cmocka_unit_test(a_length_of_more_than_63_bits_breaks_it),
		cmocka_unit_test(fragments_out_of_order_break_it),
		cmocka_unit_test(a_broken_reader_stays_broken),
		cmocka_unit_test(a_close_has_a_code_or_none),
		cmocka_unit_test(a_close_with_half_a_code_breaks_it),
		cmocka_unit_test(only_codes_that_may_be_sent_are_accepted),
		cmocka_unit_test(a_close_is_written_with_code_and_reason),
		cmocka_unit_test(a_long_control_payload_is_cut),
		cmocka_unit_test(masking_is_the_same_in_any_pieces),
		cmocka_unit_test(a_key_is_accepted_as_in_the_rfc),
		cmocka_unit_test(keys_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
