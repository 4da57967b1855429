#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/reader.h"
#include "base/writer.h"

static void assert_bytes(struct bytes got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	if (got.len)
		assert_memory_equal(got.ptr, want, got.len);
}

/* --- Runs ------------------------------------------------------------------------------------ */

static void equality_needs_length_and_content(void **state)
{
	assert_true(bytes_eq(BYTES_LIT("abc"), BYTES_LIT("abc")));
	assert_false(bytes_eq(BYTES_LIT("abc"), BYTES_LIT("abC")));
	assert_false(bytes_eq(BYTES_LIT("abc"), BYTES_LIT("abcd")));
	assert_true(bytes_eq(BYTES_NONE, BYTES_LIT("")));
	assert_true(bytes_eq(bytes_str(NULL), BYTES_NONE));
	assert_true(bytes_eq(BYTES_LIT("a\0b"), BYTES_LIT("a\0b")));
	assert_false(bytes_eq(BYTES_LIT("a\0b"), BYTES_LIT("a\0c")));
}

static void case_is_ignored_for_ascii_letters_only(void **state)
{
	assert_true(bytes_eq_nocase(BYTES_LIT("X-AZaz"), BYTES_LIT("x-azAZ")));
	assert_false(bytes_eq_nocase(BYTES_LIT("["), BYTES_LIT("{")));
	assert_false(bytes_eq_nocase(BYTES_LIT("@"), BYTES_LIT("`")));
	assert_false(bytes_eq_nocase(BYTES_LIT("\xc3\x84"), BYTES_LIT("\xc3\xa4")));
	assert_false(bytes_eq_nocase(BYTES_LIT("ab"), BYTES_LIT("abc")));
	assert_true(bytes_eq_nocase(BYTES_NONE, BYTES_NONE));
}

static void parts_never_leave_the_run(void **state)
{
	struct bytes b = BYTES_LIT("hello");

	assert_bytes(bytes_from(b, 0), "hello");
	assert_bytes(bytes_from(b, 4), "o");
	assert_bytes(bytes_from(b, 5), "");
	assert_bytes(bytes_from(b, SIZE_MAX), "");
	assert_bytes(bytes_first(b, 0), "");
	assert_bytes(bytes_first(b, 2), "he");
	assert_bytes(bytes_first(b, SIZE_MAX), "hello");
	assert_bytes(bytes_from(BYTES_NONE, 0), "");
	assert_bytes(bytes_first(BYTES_NONE, 3), "");
}

static void prefix_and_suffix_are_found(void **state)
{
	struct bytes b = BYTES_LIT("unix:/path");

	assert_true(bytes_starts_with(b, BYTES_LIT("unix:")));
	assert_true(bytes_starts_with(b, b));
	assert_true(bytes_starts_with(b, BYTES_NONE));
	assert_false(bytes_starts_with(BYTES_LIT("uni"), BYTES_LIT("unix:")));
	assert_true(bytes_ends_with(b, BYTES_LIT("/path")));
	assert_true(bytes_ends_with(b, b));
	assert_true(bytes_ends_with(b, BYTES_NONE));
	assert_true(bytes_ends_with(BYTES_NONE, BYTES_NONE));
	assert_false(bytes_ends_with(b, BYTES_LIT("/pat")));
	assert_false(bytes_ends_with(BYTES_LIT("th"), BYTES_LIT("path")));
}

static void index_of_an_absent_byte_is_the_length(void **state)
{
	assert_int_equal(bytes_index(BYTES_LIT("a,b,c"), ','), 1);
	assert_int_equal(bytes_index(BYTES_LIT("abc"), ','), 3);
	assert_int_equal(bytes_index(BYTES_NONE, ','), 0);
	assert_int_equal(bytes_index(BYTES_LIT("ab\0c"), 0), 2);
}

static void trim_takes_blanks_and_tabs_off_both_ends_only(void **state)
{
	assert_bytes(bytes_trim(BYTES_LIT(" \t a b \t")), "a b");
	assert_bytes(bytes_trim(BYTES_LIT("\t  \t")), "");
	assert_bytes(bytes_trim(BYTES_LIT("\r\na")), "\r\na");
	assert_bytes(bytes_trim(BYTES_NONE), "");
}

static void split_yields_every_part_but_an_empty_last_one(void **state)
{
	struct bytes rest = BYTES_LIT("a,,bc,"), part;

	assert_true(bytes_split(&rest, ',', &part));
	assert_bytes(part, "a");
	assert_true(bytes_split(&rest, ',', &part));
	assert_bytes(part, "");
	assert_true(bytes_split(&rest, ',', &part));
	assert_bytes(part, "bc");
	assert_false(bytes_split(&rest, ',', &part));

	rest = BYTES_LIT("whole");
	assert_true(bytes_split(&rest, ',', &part));
	assert_bytes(part, "whole");
	assert_false(bytes_split(&rest, ',', &part));

	rest = BYTES_NONE;
	assert_false(bytes_split(&rest, ',', &part));
}

static void numbers_are_plain_digits_within_64_bits(void **state)
{
	static const char *const wrong[] = { "",
					     "+1",
					     "-1",
					     " 1",
					     "1 ",
					     "0x1",
					     "1e3",
					     "1_0",
					     "18446744073709551616",
					     "99999999999999999999",
					     "184467440737095516150" };
	uint64_t value = 7;

	assert_true(bytes_to_u64(BYTES_LIT("0"), &value));
	assert_int_equal(value, 0);
	assert_true(bytes_to_u64(BYTES_LIT("0000000000000000000000000000042"), &value));
	assert_int_equal(value, 42);
	assert_true(bytes_to_u64(BYTES_LIT("18446744073709551615"), &value));
	assert_true(value == UINT64_MAX);
	value = 7;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		assert_false(bytes_to_u64(bytes_str(wrong[i]), &value));
		assert_int_equal(value, 7);
	}
}

/* --- Cursors --------------------------------------------------------------------------------- */

static void reader_reads_both_byte_orders(void **state)
{
	struct reader r = reader_of(BYTES_LIT("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c"
					      "\x0d\x11\x22\x33\x44\x55\x66\x77\x88"));

	assert_int_equal(reader_u8(&r), 0x01);
	assert_int_equal(reader_u16le(&r), 0x0302);
	assert_int_equal(reader_u16be(&r), 0x0405);
	assert_int_equal(reader_u32le(&r), 0x09080706);
	assert_int_equal(reader_u32be(&r), 0x0a0b0c0d);
	assert_true(reader_u64le(&r) == 0x8877665544332211ULL);
	assert_true(reader_ok(&r));
	assert_int_equal(r.left.len, 0);
}

static void reader_stays_failed_after_a_short_read(void **state)
{
	struct reader r = reader_of(BYTES_LIT("abcd"));

	assert_bytes(reader_take(&r, 2), "ab");
	assert_int_equal(reader_u32be(&r), 0);
	assert_false(reader_ok(&r));
	/* Two bytes are left, but nobody gets them any more. */
	assert_int_equal(reader_u8(&r), 0);
	assert_bytes(reader_take(&r, 0), "");
	assert_false(reader_ok(&r));
}

static void reader_takes_nothing_from_nothing(void **state)
{
	struct reader r = reader_of(BYTES_NONE);

	assert_bytes(reader_take(&r, 0), "");
	assert_true(reader_ok(&r));
	assert_bytes(reader_take(&r, SIZE_MAX), "");
	assert_false(reader_ok(&r));
}

static void writer_writes_what_a_reader_reads(void **state)
{
	uint8_t memory[21];
	struct writer w = writer_of(memory, sizeof(memory));

	writer_u8(&w, 0xfe);
	writer_u16le(&w, 0x1234);
	writer_u16be(&w, 0x1234);
	writer_u32le(&w, 0x89abcdef);
	writer_u32be(&w, 0x89abcdef);
	writer_u64le(&w, 0x0123456789abcdefULL);
	assert_true(writer_ok(&w));
	assert_int_equal(writer_bytes(&w).len, sizeof(memory));

	struct reader r = reader_of(writer_bytes(&w));
	assert_int_equal(reader_u8(&r), 0xfe);
	assert_int_equal(reader_u16le(&r), 0x1234);
	assert_int_equal(reader_u16be(&r), 0x1234);
	assert_int_equal(reader_u32le(&r), 0x89abcdef);
	assert_int_equal(reader_u32be(&r), 0x89abcdef);
	assert_true(reader_u64le(&r) == 0x0123456789abcdefULL);
	assert_true(reader_ok(&r));
}

static void writer_stays_failed_and_writes_no_part_of_a_field(void **state)
{
	uint8_t memory[4] = { 0, 0, 9, 9 };
	struct writer w = writer_of(memory, 3);

	writer_u16be(&w, 0x0102);
	writer_u16be(&w, 0x0304);
	assert_false(writer_ok(&w));
	writer_u8(&w, 5); /* it would fit */
	assert_false(writer_ok(&w));
	assert_int_equal(writer_bytes(&w).len, 2);
	assert_int_equal(memory[2], 9);
	assert_int_equal(memory[3], 9);

	w = writer_of(NULL, 0);
	writer_put(&w, BYTES_NONE);
	assert_true(writer_ok(&w));
	writer_put(&w, BYTES_LIT("x"));
	assert_false(writer_ok(&w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equality_needs_length_and_content),
		cmocka_unit_test(case_is_ignored_for_ascii_letters_only),
		cmocka_unit_test(parts_never_leave_the_run),
		cmocka_unit_test(prefix_and_suffix_are_found),
		cmocka_unit_test(index_of_an_absent_byte_is_the_length),
		cmocka_unit_test(trim_takes_blanks_and_tabs_off_both_ends_only),
		cmocka_unit_test(split_yields_every_part_but_an_empty_last_one),
		cmocka_unit_test(numbers_are_plain_digits_within_64_bits),
		cmocka_unit_test(reader_reads_both_byte_orders),
		cmocka_unit_test(reader_stays_failed_after_a_short_read),
		cmocka_unit_test(reader_takes_nothing_from_nothing),
		cmocka_unit_test(writer_writes_what_a_reader_reads),
		cmocka_unit_test(writer_stays_failed_and_writes_no_part_of_a_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
