/* The reader over messages no honest writer makes, and the parts of the format the RPC vectors do not
 * use: segments, far pointers, every list. */
#include "unit/wire/vectors.h"
#include "wire/capnp.h"

#define BYTES 4096

/* Opens a message given as words in hex, most readable form. `bytes` is the caller's. */
static void open_hex(struct buf *bytes, struct capnp_message *m, const char *hex)
{
	struct err err = { 0 };

	buf_init(bytes, BYTES);
	hex_append(bytes, hex);
	if (capnp_open(buf_bytes(bytes), m, &err) < 0)
		fail_msg("%s", err.text);
}

/* --- Framing --------------------------------------------------------------------------------- */

static int frame_size(const char *hex, size_t max, size_t *ret)
{
	struct buf bytes;

	buf_init(&bytes, BYTES);
	hex_append(&bytes, hex);
	int rc = capnp_frame_size(buf_bytes(&bytes), max, ret, NULL);
	buf_done(&bytes);
	return rc;
}

static void frame_size_waits_for_the_header_and_no_longer(void **state)
{
	size_t size = 0;

	assert_int_equal(frame_size("", 1000, &size), E_AGAIN);
	assert_int_equal(frame_size("000000", 1000, &size), E_AGAIN);
	assert_int_equal(frame_size("00000000050000", 1000, &size), E_AGAIN);
	assert_int_equal(frame_size("0000000005000000", 1000, &size), 0);
	assert_int_equal(size, 48);
	/* Two segments: 12 bytes of header, padded to 16. */
	assert_int_equal(frame_size("010000000200000003000000", 1000, &size), E_AGAIN);
	assert_int_equal(frame_size("01000000020000000300000000000000", 1000, &size), 0);
	assert_int_equal(size, 16 + 40);
}

static void frame_size_refuses_large_messages_by_their_header(void **state)
{
	size_t size = 0;

	assert_int_equal(frame_size("0000000005000000", 48, &size), 0);
	assert_int_equal(frame_size("0000000005000000", 47, &size), E_LIMIT);
	assert_int_equal(frame_size("00000000ffffffff", SIZE_MAX, &size), 0);
	assert_true(size == 8 + 8 * (size_t)0xffffffff);
	assert_int_equal(frame_size("00000000ffffffff", 1 << 20, &size), E_LIMIT);
	/* 2^32 segments must not wrap to none, 17 are one too many. */
	assert_int_equal(frame_size("ffffffff", 1000, &size), E_LIMIT);
	assert_int_equal(frame_size("10000000", 1000, &size), E_LIMIT);
	assert_int_equal(frame_size("0f000000", 1000, &size), E_AGAIN);
}

static void only_a_whole_frame_opens(void **state)
{
	struct capnp_message m;
	const uint8_t frame[24] = { 0, 0, 0, 0, 1 };

	for (size_t len = 0; len <= sizeof(frame); len++)
		assert_int_equal(capnp_open(bytes_of(frame, len), &m, NULL),
				 len == 16 ? 0 : E_PROTOCOL);
}

/* --- What is written is read ------------------------------------------------------------------- */

static void everything_written_is_read_back(void **state)
{
	struct buf out;
	struct capnp_writer w;
	struct capnp_message m;

	buf_init(&out, BYTES);
	struct capnp_ref s = capnp_begin(&w, &out, 3, 6);
	capnp_put_u64(&w, s, 0, 0x1122334455667788);
	capnp_put_u32(&w, s, 8, 0x99aabbcc);
	capnp_put_u16(&w, s, 12, 0xddee);
	capnp_put_u8(&w, s, 14, 0xff);
	capnp_put_bool(&w, s, 8 * 16 + 3, true);
	capnp_put_bool(&w, s, 8 * 16 + 4, true);
	capnp_put_bool(&w, s, 8 * 16 + 4, false);
	capnp_put_text(&w, s, 0, BYTES_LIT("hello"));
	capnp_put_data(&w, s, 1, BYTES_LIT("\0\1\2"));
	struct capnp_ref list = capnp_put_struct_list(&w, s, 2, 3, 1, 1);
	for (uint32_t i = 0; i < 3; i++) {
		capnp_put_u32(&w, capnp_element(list, i), 0, i + 100);
		capnp_put_text(&w, capnp_element(list, i), 0, BYTES_LIT("element"));
	}
	struct capnp_ref texts = capnp_put_pointer_list(&w, s, 3, 2);
	capnp_put_text(&w, texts, 1, BYTES_LIT("second"));
	capnp_put_capability(&w, s, 4, 77);
	capnp_put_text(&w, s, 5, BYTES_NONE);
	assert_int_equal(capnp_end(&w), 0);

	size_t size = 0;
	assert_int_equal(capnp_frame_size(buf_bytes(&out), BYTES, &size, NULL), 0);
	assert_int_equal(size, out.len);
	assert_int_equal(capnp_open(buf_bytes(&out), &m, NULL), 0);
	struct capnp_struct r = capnp_root(&m);
	assert_true(capnp_u64(r, 0) == 0x1122334455667788);
	assert_true(capnp_u32(r, 8) == 0x99aabbcc);
	assert_int_equal(capnp_u16(r, 12), 0xddee);
	assert_int_equal(capnp_u8(r, 14), 0xff);
	assert_true(capnp_bool(r, 8 * 16 + 3));
	assert_false(capnp_bool(r, 8 * 16 + 4));
	assert_text(capnp_text(r, 0), "hello");
	assert_bytes_equal(capnp_data(r, 1), BYTES_LIT("\0\1\2"));
	struct capnp_list l = capnp_list_at(r, 2);
	assert_int_equal(l.count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(capnp_u32(capnp_list_struct(l, i), 0), i + 100);
		assert_text(capnp_text(capnp_list_struct(l, i), 0), "element");
		/* A list of structs may be read as the list of its first texts, or numbers. */
		assert_text(capnp_list_text(l, i), "element");
		assert_int_equal(capnp_list_uint(l, i, 4), i + 100);
	}
	assert_null(capnp_list_struct(l, 3).message);
	l = capnp_list_at(r, 3);
	assert_int_equal(l.count, 2);
	assert_int_equal(capnp_list_text(l, 0).len, 0);
	assert_text(capnp_list_text(l, 1), "second");
	assert_text(capnp_text(capnp_list_struct(l, 1), 0), "second");
	uint32_t cap = 0;
	assert_true(capnp_capability(r, 4, &cap));
	assert_int_equal(cap, 77);
	assert_int_equal(capnp_kind_of(r, 0), CAPNP_LIST);
	assert_int_equal(capnp_kind_of(r, 4), CAPNP_CAPABILITY);
	assert_int_equal(capnp_kind_of(r, 5), CAPNP_NULL);
	assert_int_equal(capnp_kind_of(r, 99), CAPNP_NULL);
	/* Beyond the struct everything has its default. */
	assert_int_equal(capnp_u64(r, 24), 0);
	assert_int_equal(capnp_u32(r, 22), 0);
	assert_false(capnp_bool(r, 8 * 24));
	assert_int_equal(capnp_text(r, 6).len, 0);
	assert_false(capnp_capability(r, 6, &cap));
	assert_true(capnp_ok(&m));
	buf_done(&out);
}

static void a_failed_write_takes_everything_back(void **state)
{
	for (size_t max = 1; max < 80; max++) {
		struct buf out;
		struct capnp_writer w;

		buf_init(&out, max);
		assert_int_equal(buf_append_str(&out, "x"), 0);
		struct capnp_ref s = capnp_begin(&w, &out, 1, 3);
		capnp_put_u64(&w, s, 0, 1);
		capnp_put_text(&w, s, 0, BYTES_LIT("0123456789"));
		struct capnp_ref list = capnp_put_struct_list(&w, s, 1, 1, 1, 0);
		capnp_put_u64(&w, list, 0, 2);
		capnp_put_capability(&w, s, 2, 1);
		assert_int_equal(capnp_end(&w), E_LIMIT);
		assert_text(buf_bytes(&out), "x");
		buf_done(&out);
	}
}

/* --- Segments -------------------------------------------------------------------------------- */

static void far_pointers_cross_segments(void **state)
{
	struct buf bytes;
	struct capnp_message m;

	/* Segment 0: far pointer to word 0 of segment 1. Segment 1: landing pad, struct 1,1, text "hi". */
	open_hex(&bytes, &m,
		 "0100000001000000"
		 "0400000000000000"
		 "0200000001000000"
		 "0000000001000100"
		 "2a00000000000000"
		 "010000001a000000"
		 "6869000000000000");
	struct capnp_struct r = capnp_root(&m);
	assert_int_equal(capnp_u8(r, 0), 42);
	assert_text(capnp_text(r, 0), "hi");
	assert_int_equal(capnp_check(&m, NULL), 0);
	buf_done(&bytes);
}

static void double_far_pointers_cross_segments(void **state)
{
	struct buf bytes;
	struct capnp_message m;

	/* Segment 0: double far to segment 1 word 0. Segment 1: far to segment 2 word 1, tag struct 1,0.
	 * Segment 2: a word to skip, then the struct. */
	open_hex(&bytes, &m,
		 "0200000001000000"
		 "0200000002000000"
		 "0600000001000000"
		 "0a00000002000000"
		 "0000000001000000"
		 "ffffffffffffffff"
		 "2a00000000000000");
	assert_int_equal(capnp_u8(capnp_root(&m), 0), 42);
	assert_true(capnp_ok(&m));
	buf_done(&bytes);

	/* The same for a list: tag says 2 bytes. */
	open_hex(&bytes, &m,
		 "0200000003000000"
		 "0200000002000000"
		 "0000000000000100"
		 "0600000001000000"
		 "0000000000000000"
		 "0a00000002000000"
		 "0100000012000000"
		 "ffffffffffffffff"
		 "6869000000000000");
	assert_text(capnp_data(capnp_root(&m), 0), "hi");
	assert_true(capnp_ok(&m));
	buf_done(&bytes);
}

/* Reads all a stranger could ask of the root, and expects the message to be broken. */
static void assert_broken(const char *hex, const char *why)
{
	struct buf bytes;
	struct capnp_message m;
	struct err err = { 0 };

	open_hex(&bytes, &m, hex);
	struct capnp_struct r = capnp_root(&m);
	struct capnp_struct s = capnp_struct_at(r, 0);
	assert_int_equal(capnp_check(&m, &err), E_PROTOCOL);
	assert_non_null(strstr(err.text, why));
	/* Sticky: nothing is read any more. */
	assert_int_equal(capnp_u64(r, 0), 0);
	assert_int_equal(capnp_u64(s, 0), 0);
	assert_int_equal(capnp_data(r, 1).len, 0);
	buf_done(&bytes);
}

static void malformed_pointers_are_errors(void **state)
{
	/* An empty segment has no root. */
	assert_broken("0000000000000000", "empty");
	/* Root struct of 1 word where none is left; before the start; far behind the end. */
	assert_broken("0000000001000000"
		      "0000000001000000",
		      "struct out of range");
	assert_broken("0000000001000000"
		      "f8ffffff01000000",
		      "struct out of range");
	assert_broken("0000000001000000"
		      "fcffff7f01000000",
		      "struct out of range");
	assert_broken("0000000001000000"
		      "00000080ffffffff",
		      "struct out of range");
	/* A list, a capability, an unknown kind where a struct is expected. */
	assert_broken("0000000001000000"
		      "0100000002000000",
		      "not a struct");
	assert_broken("0000000001000000"
		      "0300000000000000",
		      "not a struct");
	/* Far pointers: no such segment, no such word, to another far pointer. */
	assert_broken("0000000001000000"
		      "0200000001000000",
		      "far pointer out of range");
	assert_broken("0000000001000000"
		      "02000000ffffffff",
		      "far pointer out of range");
	assert_broken("0000000001000000"
		      "0a00000000000000",
		      "far pointer out of range");
	assert_broken("0000000001000000"
		      "0200000000000000",
		      "far pointer to a far pointer");
	assert_broken("0000000001000000"
		      "0600000000000000",
		      "far pointer out of range");
	/* A double far whose pad is no far pointer, or has a tag that is none. */
	assert_broken("0000000003000000"
		      "0e00000000000000"
		      "0000000000000000"
		      "0000000000000000",
		      "malformed landing pad");
	assert_broken("0000000003000000"
		      "0e00000000000000"
		      "0200000000000000"
		      "0200000000000000",
		      "malformed landing pad");
	assert_broken("0000000003000000"
		      "0e00000000000000"
		      "0200000009000000"
		      "0000000000000000",
		      "malformed landing pad");
}

static void malformed_lists_are_errors(void **state)
{
	static const struct {
		const char *pointer, *why;
	} cases[] = {
		{ "01000000ffffffff", "list out of range" },  /* 2^29 words of structs */
		{ "01000000fdffffff", "list out of range" },  /* 2^29 numbers of 8 bytes */
		{ "01000000faffffff", "list out of range" },  /* 2^29 bytes */
		{ "01000000f9ffffff", "list out of range" },  /* 2^29 bits */
		{ "01000000f8ffffff", "more is pointed at" }, /* 2^29 times nothing */
		{ "0500000007000000", "list out of range" },  /* the tag is behind the end */
		{ "f1ffffff02000000", "list out of range" },  /* before the start */
		{ "0000000001000000", "not a list" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char hex[256];
		struct buf bytes;
		struct capnp_message m;
		struct err err = { 0 };

		snprintf(hex, sizeof(hex), "00000000030000000000000000000100%s%s", cases[i].pointer,
			 "0000000000000000");
		open_hex(&bytes, &m, hex);
		assert_null(capnp_list_at(capnp_root(&m), 0).message);
		assert_int_equal(capnp_check(&m, &err), E_PROTOCOL);
		assert_non_null(strstr(err.text, cases[i].why));
		buf_done(&bytes);
	}
}

static void composite_tags_must_fit_their_list(void **state)
{
	static const struct {
		const char *tag;
		bool is_ok;
	} cases[] = {
		{ "0800000001000000", true },  /* 2 of 1 word in 2 words */
		{ "0c00000001000000", false }, /* 3 */
		{ "0400000002000100", false }, /* 1 of 3 */
		{ "fcffffffffffffff", false }, /* 2^30 of 2^17 */
		{ "0500000001000000", false }, /* a list as tag */
		{ "0000000001000000", true },  /* none */
		{ "fcffffff00000000", false }, /* 2^30 of nothing: work without bytes */
		{ "1000000000000000", true },  /* 4 of nothing */
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char hex[256];
		struct buf bytes;
		struct capnp_message m;

		snprintf(hex, sizeof(hex),
			 "00000000050000000000000000000100"
			 "0100000017000000"
			 "%s"
			 "01000000000000000200000000000000",
			 cases[i].tag);
		open_hex(&bytes, &m, hex);
		struct capnp_list l = capnp_list_at(capnp_root(&m), 0);
		assert_int_equal(capnp_ok(&m), cases[i].is_ok);
		assert_int_equal(l.message != NULL, cases[i].is_ok);
		buf_done(&bytes);
	}
}

static void lists_of_every_size_are_read(void **state)
{
	static const struct {
		const char *pointer;
		uint32_t bytes, count;
	} cases[] = {
		{ "0100000042000000", 1, 8 },
		{ "0100000023000000", 2, 4 },
		{ "0100000014000000", 4, 2 },
		{ "010000000d000000", 8, 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char hex[256];
		struct buf bytes;
		struct capnp_message m;

		snprintf(hex, sizeof(hex), "00000000030000000000000000000100%s%s", cases[i].pointer,
			 "0123456789abcdef");
		open_hex(&bytes, &m, hex);
		struct capnp_list l = capnp_list_at(capnp_root(&m), 0);
		assert_int_equal(l.count, cases[i].count);
		uint64_t all = 0;
		for (uint32_t k = l.count; k-- > 0;)
			all = (cases[i].bytes < 8 ? all << (8 * cases[i].bytes) : 0) |
			      capnp_list_uint(l, k, cases[i].bytes);
		assert_true(all == 0xefcdab8967452301);
		/* Past the end: the default. As structs: the number is the first field. */
		assert_int_equal(capnp_list_uint(l, l.count, cases[i].bytes), 0);
		assert_int_equal(capnp_u8(capnp_list_struct(l, 0), 0), 1);
		assert_true(capnp_ok(&m));
		/* A wider type than there is room for. */
		if (cases[i].bytes < 8) {
			(void)capnp_list_uint(l, 0, 8);
			assert_false(capnp_ok(&m));
		}
		buf_done(&bytes);
	}

	struct buf bytes;
	struct capnp_message m;
	open_hex(&bytes, &m,
		 "00000000030000000000000000000100"
		 "0100000051000000"
		 "0502000000000000");
	struct capnp_list l = capnp_list_at(capnp_root(&m), 0);
	assert_int_equal(l.count, 10);
	assert_true(capnp_list_bool(l, 0));
	assert_false(capnp_list_bool(l, 1));
	assert_true(capnp_list_bool(l, 2));
	assert_true(capnp_list_bool(l, 9));
	assert_false(capnp_list_bool(l, 10));
	assert_true(capnp_ok(&m));
	(void)capnp_list_struct(l, 0);
	assert_false(capnp_ok(&m));
	buf_done(&bytes);
}

static void lists_of_lists_are_read(void **state)
{
	struct buf out;
	struct capnp_writer w;
	struct capnp_message m;

	buf_init(&out, BYTES);
	struct capnp_ref s = capnp_begin(&w, &out, 0, 1);
	struct capnp_ref outer = capnp_put_pointer_list(&w, s, 0, 2);
	struct capnp_ref inner = capnp_put_pointer_list(&w, outer, 1, 1);
	capnp_put_data(&w, inner, 0, BYTES_LIT("deep"));
	assert_int_equal(capnp_end(&w), 0);
	assert_int_equal(capnp_open(buf_bytes(&out), &m, NULL), 0);
	struct capnp_list l = capnp_list_at(capnp_root(&m), 0);
	assert_int_equal(capnp_list_list(l, 0).count, 0);
	assert_text(capnp_list_data(capnp_list_list(l, 1), 0), "deep");
	assert_true(capnp_ok(&m));
	buf_done(&out);
}

static void text_needs_its_nul(void **state)
{
	struct buf bytes;
	struct capnp_message m;

	open_hex(&bytes, &m,
		 "00000000030000000000000000000100"
		 "0100000012000000"
		 "6869000000000000");
	assert_text(capnp_data(capnp_root(&m), 0), "hi");
	assert_int_equal(capnp_text(capnp_root(&m), 0).len, 0);
	assert_string_equal(m.why, "text without its NUL");
	buf_done(&bytes);
}

/* --- Hostile --------------------------------------------------------------------------------- */

static void a_message_that_points_at_itself_ends(void **state)
{
	struct buf bytes;
	struct capnp_message m;

	/* Root: a struct of one pointer, which points at itself: offset -1. */
	open_hex(&bytes, &m,
		 "0000000002000000"
		 "0000000000000100"
		 "fcffffff00000100");
	struct capnp_struct s = capnp_root(&m);
	int steps = 0;
	for (; s.message && steps < 1000; steps++)
		s = capnp_struct_at(s, 0);
	assert_true(steps < 1000);
	assert_int_equal(capnp_check(&m, NULL), E_PROTOCOL);
	buf_done(&bytes);
}

static void work_is_bounded_by_the_size_of_the_message(void **state)
{
	struct buf out;
	struct capnp_writer w;
	struct capnp_message m;
	struct bytes text;

	/* One text of 64 words, asked for again and again. */
	static const uint8_t blob[512];
	buf_init(&out, BYTES);
	struct capnp_ref s = capnp_begin(&w, &out, 0, 1);
	capnp_put_data(&w, s, 0, bytes_of(blob, sizeof(blob)));
	assert_int_equal(capnp_end(&w), 0);
	assert_int_equal(capnp_open(buf_bytes(&out), &m, NULL), 0);
	struct capnp_struct r = capnp_root(&m);
	int times = 0;
	while ((text = capnp_data(r, 0)).len)
		times++;
	assert_true(times >= 4 && times <= LIMIT_CAPNP_TRAVERSAL_FACTOR + 1);
	assert_non_null(strstr(m.why, "more is pointed at"));
	buf_done(&out);
}

static void depth_is_bounded(void **state)
{
	for (int depth = LIMIT_CAPNP_DEPTH - 1; depth <= LIMIT_CAPNP_DEPTH + 1; depth++) {
		struct buf out;
		struct capnp_writer w;
		struct capnp_message m;

		buf_init(&out, BYTES);
		struct capnp_ref ref = capnp_begin(&w, &out, 0, 1);
		for (int i = 1; i < depth; i++)
			ref = capnp_put_struct(&w, ref, 0, 0, 1);
		assert_int_equal(capnp_end(&w), 0);
		assert_int_equal(capnp_open(buf_bytes(&out), &m, NULL), 0);
		struct capnp_struct s = capnp_root(&m);
		for (int i = 1; i < depth; i++)
			s = capnp_struct_at(s, 0);
		assert_int_equal(capnp_ok(&m), depth <= LIMIT_CAPNP_DEPTH);
		buf_done(&out);
	}
}

/* Every message of the vectors, with each byte replaced in turn: no crash, bounded work. */
static void walk(struct capnp_struct s, unsigned *steps)
{
	for (uint32_t i = 0; i < s.pointer_count && i < 16 && ++*steps < 20000; i++) {
		uint32_t cap;

		switch (capnp_kind_of(s, i)) {
		case CAPNP_STRUCT:
			walk(capnp_struct_at(s, i), steps);
			break;
		case CAPNP_LIST: {
			struct capnp_list l = capnp_list_at(s, i);
			for (uint32_t k = 0; k < l.count && k < 64 && ++*steps < 20000; k++)
				if (l.size == CAPNP_COMPOSITE || l.size == CAPNP_POINTER)
					walk(capnp_list_struct(l, k), steps);
			break;
		}
		case CAPNP_CAPABILITY:
			assert_true(capnp_capability(s, i, &cap));
			break;
		case CAPNP_NULL:
			break;
		}
	}
}

static void damaged_messages_do_no_harm(void **state)
{
	static const uint8_t values[] = { 0x00, 0x01, 0x07, 0x7f, 0x80, 0xfc, 0xff };
	json_t *vectors = vectors_load();
	json_t *v = vector_find(
		vectors, "register-ok-localconfig-unregister-close/03-call-registerConnection");
	struct buf bytes;

	buf_init(&bytes, BYTES);
	vector_bytes(v, &bytes);
	for (size_t i = 0; i < bytes.len; i++) {
		uint8_t old = bytes.ptr[i];

		for (size_t k = 0; k < ARRAY_LEN(values); k++) {
			struct capnp_message m;
			unsigned steps = 0;

			bytes.ptr[i] = values[k];
			if (capnp_open(buf_bytes(&bytes), &m, NULL) == 0)
				walk(capnp_root(&m), &steps);
			assert_true(steps < 20000);
		}
		bytes.ptr[i] = old;
	}
	buf_done(&bytes);
	json_decref(vectors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame_size_waits_for_the_header_and_no_longer),
		cmocka_unit_test(frame_size_refuses_large_messages_by_their_header),
		cmocka_unit_test(only_a_whole_frame_opens),
		cmocka_unit_test(everything_written_is_read_back),
		cmocka_unit_test(a_failed_write_takes_everything_back),
		cmocka_unit_test(far_pointers_cross_segments),
		cmocka_unit_test(double_far_pointers_cross_segments),
		cmocka_unit_test(malformed_pointers_are_errors),
		cmocka_unit_test(malformed_lists_are_errors),
		cmocka_unit_test(composite_tags_must_fit_their_list),
		cmocka_unit_test(lists_of_every_size_are_read),
		cmocka_unit_test(lists_of_lists_are_read),
		cmocka_unit_test(text_needs_its_nul),
		cmocka_unit_test(a_message_that_points_at_itself_ends),
		cmocka_unit_test(work_is_bounded_by_the_size_of_the_message),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(damaged_messages_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
