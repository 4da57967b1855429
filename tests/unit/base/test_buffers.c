#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bufq.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"

static void assert_bytes(struct bytes got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	if (got.len)
		assert_memory_equal(got.ptr, want, got.len);
}

/* --- buf ------------------------------------------------------------------------------------- */

static void buf_holds_exactly_its_maximum(void **state)
{
	struct buf b;

	buf_init(&b, 5);
	assert_int_equal(buf_append_str(&b, "abc"), 0);
	assert_int_equal(buf_append_str(&b, "def"), E_LIMIT);
	assert_bytes(buf_bytes(&b), "abc");
	assert_int_equal(buf_append_str(&b, "de"), 0);
	assert_bytes(buf_bytes(&b), "abcde");
	assert_int_equal(buf_append(&b, BYTES_NONE), 0);
	assert_int_equal(buf_append_str(&b, "f"), E_LIMIT);
	assert_int_equal(buf_reserve(&b, SIZE_MAX), E_LIMIT);
	assert_bytes(buf_bytes(&b), "abcde");
	buf_done(&b);
}

static void buf_grows_past_any_step(void **state)
{
	struct buf b;

	buf_init(&b, 100000);
	for (int i = 0; i < 10000; i++)
		assert_int_equal(buf_append_str(&b, "0123456789"), 0);
	assert_int_equal(b.len, 100000);
	for (size_t i = 0; i < b.len; i++)
		assert_int_equal(b.ptr[i], '0' + i % 10);
	buf_done(&b);
	buf_done(&b); /* twice does no harm */
}

static void buf_printf_may_fill_it_to_the_last_byte(void **state)
{
	struct buf b;

	buf_init(&b, 5);
	assert_int_equal(buf_printf(&b, "%d", 12), 0);
	assert_int_equal(buf_printf(&b, "%s", "345"), 0);
	assert_bytes(buf_bytes(&b), "12345");
	assert_int_equal(buf_printf(&b, "%s", ""), 0);
	assert_int_equal(buf_printf(&b, "%s", "6"), E_LIMIT);
	assert_bytes(buf_bytes(&b), "12345");
	buf_done(&b);
}

static void buf_drop_keeps_the_rest(void **state)
{
	struct buf b;

	buf_init(&b, 10);
	assert_int_equal(buf_append_str(&b, "abcdef"), 0);
	buf_drop(&b, 0);
	assert_bytes(buf_bytes(&b), "abcdef");
	buf_drop(&b, 2);
	assert_bytes(buf_bytes(&b), "cdef");
	assert_int_equal(buf_append_str(&b, "ghijkl"), 0);
	assert_bytes(buf_bytes(&b), "cdefghijkl");
	buf_drop(&b, 10);
	assert_bytes(buf_bytes(&b), "");
	buf_done(&b);
}

static void buf_reserve_gives_room_to_write_into(void **state)
{
	struct buf b;

	buf_init(&b, 1000);
	assert_int_equal(buf_reserve(&b, 1000), 0);
	memset(b.ptr, 'x', 1000);
	buf_added(&b, 1000);
	assert_int_equal(b.len, 1000);
	assert_int_equal(buf_reserve(&b, 1), E_LIMIT);
	buf_clear(&b);
	assert_int_equal(b.len, 0);
	assert_int_equal(buf_reserve(&b, 1000), 0);
	buf_done(&b);
}

static void buf_take_str_hands_out_a_terminated_copy(void **state)
{
	struct buf b;

	buf_init(&b, 10);
	assert_int_equal(buf_append_str(&b, "text"), 0);
	char *text = buf_take_str(&b);
	assert_string_equal(text, "text");
	assert_int_equal(b.len, 0);
	mem_free(text);
	text = buf_take_str(&b);
	assert_string_equal(text, "");
	mem_free(text);
}

/* --- bufq ------------------------------------------------------------------------------------ */

static size_t read_out(struct bufq *q, uint8_t *dst, size_t cap)
{
	struct bytes run;
	size_t n = 0;

	while (n < cap && bufq_peek(q, &run, 1)) {
		run = bytes_first(run, cap - n);
		memcpy(dst + n, run.ptr, run.len);
		bufq_consume(q, run.len);
		n += run.len;
	}
	return n;
}

static void queue_takes_what_fits_and_no_more(void **state)
{
	struct bufq q;
	struct bytes run;

	bufq_init(&q, 5);
	assert_int_equal(bufq_write(&q, BYTES_LIT("abc")), 3);
	assert_int_equal(bufq_room(&q), 2);
	assert_int_equal(bufq_write(&q, BYTES_LIT("defg")), 2);
	assert_int_equal(bufq_room(&q), 0);
	assert_int_equal(bufq_write(&q, BYTES_LIT("h")), 0);
	size_t room;
	assert_null(bufq_reserve(&q, &room));
	assert_int_equal(bufq_peek(&q, &run, 1), 1);
	assert_bytes(run, "abcde");
	bufq_consume(&q, 1);
	assert_int_equal(bufq_write(&q, BYTES_LIT("hi")), 1);
	assert_int_equal(bufq_peek(&q, &run, 1), 1);
	assert_bytes(run, "bcdeh");
	bufq_done(&q);
	assert_int_equal(bufq_len(&q), 0);
}

static void queue_write_all_may_exceed_the_capacity(void **state)
{
	struct bufq q;

	bufq_init(&q, 4);
	bufq_write_all(&q, BYTES_LIT("abcdefgh"));
	assert_int_equal(bufq_len(&q), 8);
	assert_int_equal(bufq_room(&q), 0);
	bufq_consume(&q, 5);
	assert_int_equal(bufq_room(&q), 1);
	bufq_done(&q);
}

static void empty_queue_holds_no_memory(void **state)
{
	struct bufq q;
	size_t room;

	bufq_init(&q, 1 << 20);
	assert_non_null(bufq_reserve(&q, &room));
	bufq_commit(&q, 0);
	assert_null(q.head);
	assert_int_equal(bufq_write(&q, BYTES_NONE), 0);
	assert_null(q.head);
	uint8_t *at = bufq_reserve(&q, &room);
	memcpy(at, "xyz", 3);
	bufq_commit(&q, 3);
	bufq_consume(&q, 3);
	assert_null(q.head);
	assert_null(q.tail);
}

static void reserved_space_never_exceeds_the_room(void **state)
{
	struct bufq q;
	size_t room = 0;

	bufq_init(&q, BUFQ_CHUNK_BYTES + 10);
	assert_non_null(bufq_reserve(&q, &room));
	assert_int_equal(room, BUFQ_CHUNK_BYTES);
	bufq_commit(&q, room - 1);
	assert_non_null(bufq_reserve(&q, &room));
	assert_int_equal(room, 1);
	bufq_commit(&q, 1);
	assert_non_null(bufq_reserve(&q, &room));
	assert_int_equal(room, 10);
	bufq_commit(&q, 10);
	assert_null(bufq_reserve(&q, &room));
	/* An abandoned reservation is invisible to readers. */
	bufq_consume(&q, 5);
	assert_non_null(bufq_reserve(&q, &room));
	bufq_consume(&q, bufq_len(&q));
	struct bytes run;
	assert_int_equal(bufq_peek(&q, &run, 1), 0);
	assert_int_equal(bufq_write(&q, BYTES_LIT("next")), 4);
	assert_int_equal(bufq_peek(&q, &run, 1), 1);
	assert_bytes(run, "next");
	bufq_done(&q);
}

static void peek_shows_several_runs_in_order(void **state)
{
	struct bufq q;
	struct bytes runs[4];
	uint8_t data[BUFQ_CHUNK_BYTES];

	bufq_init(&q, 1 << 20);
	for (int i = 0; i < 3; i++) {
		memset(data, 'a' + i, sizeof(data));
		assert_int_equal(bufq_write(&q, bytes_of(data, sizeof(data))), sizeof(data));
	}
	assert_int_equal(bufq_peek(&q, runs, 4), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(runs[i].len, BUFQ_CHUNK_BYTES);
		assert_int_equal(runs[i].ptr[0], 'a' + i);
	}
	assert_int_equal(bufq_peek(&q, runs, 2), 2);
	assert_int_equal(bufq_peek(&q, runs, 0), 0);
	bufq_consume(&q, BUFQ_CHUNK_BYTES + 1);
	assert_int_equal(bufq_peek(&q, runs, 4), 2);
	assert_int_equal(runs[0].len, BUFQ_CHUNK_BYTES - 1);
	bufq_done(&q);
}

static void bytes_leave_as_they_came_whatever_the_sizes(void **state)
{
	enum { CAPACITY = 5 * BUFQ_CHUNK_BYTES / 2, TOTAL = 4 << 20 };
	struct bufq q;
	uint8_t *scratch = mem_alloc(CAPACITY);
	uint32_t written = 0, read = 0;

	bufq_init(&q, CAPACITY);
	while (read < TOTAL) {
		size_t room, want = 1 + random_below(CAPACITY);
		if (random_below(2)) {
			for (size_t i = 0; i < want; i++)
				scratch[i] = (uint8_t)((written + i) * 2654435761u >> 24);
			written += (uint32_t)bufq_write(&q, bytes_of(scratch, want));
		} else {
			uint8_t *at = bufq_reserve(&q, &room);
			if (at) {
				size_t n = random_below(room + 1);
				for (size_t i = 0; i < n; i++)
					at[i] = (uint8_t)((written + i) * 2654435761u >> 24);
				bufq_commit(&q, n);
				written += (uint32_t)n;
			}
		}
		assert_true(bufq_len(&q) <= CAPACITY);
		size_t n = read_out(&q, scratch, random_below(CAPACITY));
		for (size_t i = 0; i < n; i++)
			if (scratch[i] != (uint8_t)((read + i) * 2654435761u >> 24))
				fail_msg("byte %zu differs", read + i);
		read += (uint32_t)n;
		assert_int_equal(bufq_len(&q), written - read);
	}
	bufq_done(&q);
	mem_free(scratch);
}

static void move_appends_everything(void **state)
{
	struct bufq a, b;
	uint8_t got[16];

	bufq_init(&a, 4);
	bufq_init(&b, 100);
	bufq_move(&a, &b);
	assert_int_equal(bufq_len(&a), 0);
	bufq_write_all(&b, BYTES_LIT("first "));
	bufq_move(&a, &b);
	assert_int_equal(bufq_len(&b), 0);
	bufq_write_all(&b, BYTES_LIT("second"));
	bufq_move(&a, &b);
	bufq_write_all(&a, BYTES_LIT("!"));
	assert_int_equal(bufq_len(&a), 13);
	assert_int_equal(read_out(&a, got, sizeof(got)), 13);
	assert_memory_equal(got, "first second!", 13);
	bufq_write_all(&b, BYTES_LIT("still works"));
	assert_int_equal(read_out(&b, got, sizeof(got)), 11);
}

static void loose_chunks_are_whole_and_their_own(void **state)
{
	uint8_t *a = bufq_chunk_take(), *b = bufq_chunk_take();

	memset(a, 1, BUFQ_CHUNK_BYTES);
	memset(b, 2, BUFQ_CHUNK_BYTES);
	assert_int_equal(a[0] + a[BUFQ_CHUNK_BYTES - 1], 2);
	bufq_chunk_return(a);
	bufq_chunk_return(b);
	bufq_chunk_return(NULL);
	/* A returned chunk serves a queue, starting empty. */
	struct bufq q;
	struct bytes run;
	bufq_init(&q, 10);
	bufq_write_all(&q, BYTES_LIT("ok"));
	assert_int_equal(bufq_peek(&q, &run, 1), 1);
	assert_bytes(run, "ok");
	bufq_done(&q);
}

/* --- Arena ----------------------------------------------------------------------------------- */

static void arena_memory_is_zero_and_aligned(void **state)
{
	struct arena a;

	for (int round = 0; round < 3; round++) { /* later rounds get used chunks */
		arena_init(&a);
		for (size_t size = 0; size < 300; size += 7) {
			memset(arena_alloc_bytes(&a, 3), 0xff, 3);
			uint8_t *p = arena_alloc(&a, size);
			assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
			for (size_t i = 0; i < size; i++)
				assert_int_equal(p[i], 0);
			if (size)
				memset(p, 0xff, size);
		}
		arena_done(&a);
	}
	arena_done(&a);
}

static void arena_pieces_do_not_overlap(void **state)
{
	enum { PIECES = 2000 };
	struct arena a;
	uint8_t *pieces[PIECES];
	size_t sizes[PIECES];

	arena_init(&a);
	for (int i = 0; i < PIECES; i++) {
		/* Some larger than a chunk. */
		sizes[i] = random_below(20) ? random_below(200) : random_below(20000);
		pieces[i] = random_below(2) ? arena_alloc(&a, sizes[i])
					    : arena_alloc_bytes(&a, sizes[i]);
		memset(pieces[i], i & 0xff, sizes[i]);
	}
	for (int i = 0; i < PIECES; i++)
		for (size_t j = 0; j < sizes[i]; j++)
			if (pieces[i][j] != (i & 0xff))
				fail_msg("piece %d was overwritten", i);
	arena_done(&a);
}

static void arena_copies_are_apart_from_the_original(void **state)
{
	struct arena a;
	char text[] = "abc";

	arena_init(&a);
	struct bytes copy = arena_copy(&a, bytes_str(text));
	char *terminated = arena_strdup(&a, bytes_of(text, 2));
	text[0] = 'x';
	assert_bytes(copy, "abc");
	assert_string_equal(terminated, "ab");
	assert_string_equal(arena_strdup(&a, BYTES_NONE), "");
	assert_bytes(arena_copy(&a, BYTES_NONE), "");
	arena_done(&a);
}

static void arena_prints_texts_of_any_length(void **state)
{
	struct arena a;
	char want[1000];

	arena_init(&a);
	assert_bytes(arena_printf(&a, "%s", ""), "");
	for (int len = 250; len < 262; len++) {
		memset(want, 'y', sizeof(want));
		want[len] = 0;
		assert_bytes(arena_printf(&a, "%s", want), want);
	}
	want[261] = 'y';
	want[999] = 0;
	assert_bytes(arena_printf(&a, "%s", want), want);
	arena_done(&a);
}

/* --- Memory and secrets ---------------------------------------------------------------------- */

static void impossible_sizes_give_null_where_a_peer_has_a_hand_in(void **state)
{
	/* Through a volatile, so that the compiler does not complain about the size. */
	volatile size_t huge = SIZE_MAX / 2;

	assert_null(mem_try_alloc(huge, 4));
	void *none = mem_try_alloc(0, 0);
	assert_non_null(none);
	assert_null(mem_free(none));
	assert_null(mem_free(NULL));
	assert_null(mem_strdup(NULL));
	char *text = mem_printf("%d-%s", 7, "x");
	assert_string_equal(text, "7-x");
	mem_freep(&text);
	assert_null(text);
}

static void secrets_compare_by_content_and_length(void **state)
{
	struct secret s = { 0 };

	assert_true(secret_eq(&s, BYTES_NONE));
	assert_false(secret_eq(&s, BYTES_LIT("a")));
	secret_set(&s, BYTES_LIT("swordfish"));
	assert_true(secret_eq(&s, BYTES_LIT("swordfish")));
	assert_false(secret_eq(&s, BYTES_LIT("swordfisH")));
	assert_false(secret_eq(&s, BYTES_LIT("Swordfish")));
	assert_false(secret_eq(&s, BYTES_LIT("swordfis")));
	assert_false(secret_eq(&s, BYTES_LIT("swordfish\0")));
	assert_false(secret_eq(&s, BYTES_NONE));
	secret_set(&s, BYTES_LIT("other"));
	assert_true(secret_eq(&s, BYTES_LIT("other")));
	secret_done(&s);
	assert_null(s.ptr);
	secret_done(&s);
	char stack[] = "key";
	secret_wipe(stack, sizeof(stack));
	assert_memory_equal(stack, "\0\0\0", 4);
	secret_wipe(NULL, 0);
}

static void random_numbers_stay_below_their_bound(void **state)
{
	static const uint64_t bounds[] = { 1, 2, 3, 10, 1000, UINT64_MAX };
	size_t hits[3] = { 0 };

	for (size_t b = 0; b < ARRAY_LEN(bounds); b++)
		for (int i = 0; i < 1000; i++)
			assert_true(random_below(bounds[b]) < bounds[b]);
	for (int i = 0; i < 3000; i++)
		hits[random_below(3)]++;
	/* Twenty standard deviations away from even. */
	for (int i = 0; i < 3; i++)
		assert_in_range(hits[i], 500, 1500);
	uint8_t a[32] = { 0 }, b[32] = { 0 };
	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	random_bytes(NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf_holds_exactly_its_maximum),
		cmocka_unit_test(buf_grows_past_any_step),
		cmocka_unit_test(buf_printf_may_fill_it_to_the_last_byte),
		cmocka_unit_test(buf_drop_keeps_the_rest),
		cmocka_unit_test(buf_reserve_gives_room_to_write_into),
		cmocka_unit_test(buf_take_str_hands_out_a_terminated_copy),
		cmocka_unit_test(queue_takes_what_fits_and_no_more),
		cmocka_unit_test(queue_write_all_may_exceed_the_capacity),
		cmocka_unit_test(empty_queue_holds_no_memory),
		cmocka_unit_test(reserved_space_never_exceeds_the_room),
		cmocka_unit_test(peek_shows_several_runs_in_order),
		cmocka_unit_test(bytes_leave_as_they_came_whatever_the_sizes),
		cmocka_unit_test(move_appends_everything),
		cmocka_unit_test(loose_chunks_are_whole_and_their_own),
		cmocka_unit_test(arena_memory_is_zero_and_aligned),
		cmocka_unit_test(arena_pieces_do_not_overlap),
		cmocka_unit_test(arena_copies_are_apart_from_the_original),
		cmocka_unit_test(arena_prints_texts_of_any_length),
		cmocka_unit_test(impossible_sizes_give_null_where_a_peer_has_a_hand_in),
		cmocka_unit_test(secrets_compare_by_content_and_length),
		cmocka_unit_test(random_numbers_stay_below_their_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
