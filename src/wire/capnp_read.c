/* Reader half of capnp.h. All offsets are size_t byte offsets into one segment and every one is checked
 * against the segment's length before it is used; sizes in messages are at most 2^32 words, so that
 * uint64_t sums of them cannot overflow. */
#include "wire/capnp.h"

#include <endian.h>

#define WORD 8u

static uint64_t load(struct bytes segment, size_t at, uint32_t bytes)
{
	uint64_t v = 0;

	memcpy(&v, segment.ptr + at, bytes);
	return le64toh(v);
}

/* --- Framing --------------------------------------------------------------------------------- */

int capnp_frame_size(struct bytes front, size_t max_bytes, size_t *ret_size, struct err *err)
{
	if (front.len < 4)
		return E_AGAIN;
	uint64_t count = load(front, 0, 4) + 1;
	if (count > LIMIT_CAPNP_SEGMENTS)
		return err_set(err, E_LIMIT, "message of %llu segments", (unsigned long long)count);
	/* count and sizes, 4 bytes each, padded to a word */
	size_t header = (size_t)(4 + 4 * count + WORD - 1) / WORD * WORD;
	if (front.len < header)
		return E_AGAIN;
	uint64_t size = header;
	for (size_t i = 0; i < count; i++)
		size += load(front, 4 + 4 * i, 4) * WORD;
	if (size > max_bytes)
		return err_set(err, E_LIMIT, "message of %llu bytes, at most %zu are allowed",
			       (unsigned long long)size, max_bytes);
	*ret_size = (size_t)size;
	return 0;
}

int capnp_open(struct bytes frame, struct capnp_message *ret, struct err *err)
{
	size_t size = 0;
	int rc = capnp_frame_size(frame, frame.len, &size, err);

	if (rc == 0 && size == frame.len) {
		size_t count = (size_t)load(frame, 0, 4) + 1;
		size_t at = (4 + 4 * count + WORD - 1) / WORD * WORD;

		*ret = (struct capnp_message){
			.segment_count = (uint32_t)count,
			.words_left = (uint64_t)frame.len / WORD * LIMIT_CAPNP_TRAVERSAL_FACTOR,
		};
		for (size_t i = 0; i < count; i++) {
			size_t bytes = (size_t)load(frame, 4 + 4 * i, 4) * WORD;
			ret->segments[i] = bytes_of(frame.ptr + at, bytes);
			at += bytes;
		}
		return 0;
	}
	return err_set(err, E_PROTOCOL, "incomplete message");
}

int capnp_check(const struct capnp_message *m, struct err *err)
{
	return m->why ? err_set(err, E_PROTOCOL, "malformed message: %s", m->why) : 0;
}

void capnp_fail(struct capnp_message *m, const char *why)
{
	if (m && !m->why)
		m->why = why;
}

/* --- Pointers -------------------------------------------------------------------------------- */

/* Where a pointer led to, far pointers followed. */
struct target {
	struct capnp_message *message; /* NULL: null pointer or error */
	uint32_t segment;
	uint64_t word; /* the pointer that describes the object */
	uint64_t at;   /* the object, in words of the segment; may be out of range */
};

static bool charge(struct capnp_message *m, uint64_t words)
{
	/* Following a pointer is work even when there is nothing behind it. */
	if (words == 0)
		words = 1;
	if (words > m->words_left) {
		capnp_fail(m, "more is pointed at than the message holds");
		return false;
	}
	m->words_left -= words;
	return true;
}

/* True when `words` words at word `at` are inside the segment. */
static bool in_segment(const struct capnp_message *m, uint32_t segment, uint64_t at, uint64_t words)
{
	uint64_t have = m->segments[segment].len / WORD;

	return at <= have && words <= have - at;
}

static uint64_t word_at(const struct capnp_message *m, uint32_t segment, uint64_t word)
{
	return load(m->segments[segment], (size_t)word * WORD, WORD);
}

/* Objects before the segment's start become huge and fail in_segment(). */
static uint64_t object_after(uint64_t word, uint64_t pointer)
{
	int32_t offset = (int32_t)(uint32_t)pointer >> 2;

	return word + 1 + (uint64_t)(int64_t)offset;
}

static struct target follow_far(struct capnp_message *m, uint64_t pointer)
{
	static const struct target none = { 0 };
	uint64_t pad = (uint32_t)pointer >> 3;
	uint64_t segment = pointer >> 32;
	bool is_double = pointer >> 2 & 1;

	if (segment >= m->segment_count ||
	    !in_segment(m, (uint32_t)segment, pad, is_double ? 2 : 1)) {
		capnp_fail(m, "far pointer out of range");
		return none;
	}
	if (!charge(m, is_double ? 2 : 1))
		return none;
	uint64_t word = word_at(m, (uint32_t)segment, pad);
	if (!is_double) {
		if ((word & 3) == 2) {
			capnp_fail(m, "far pointer to a far pointer");
			return none;
		}
		if (word == 0)
			return none;
		return (struct target){ m, (uint32_t)segment, word, object_after(pad, word) };
	}
	/* The landing pad is a plain far pointer to the object and a tag that describes it. */
	uint64_t tag = word_at(m, (uint32_t)segment, pad + 1);
	if ((word & 7) != 2 || word >> 32 >= m->segment_count || (tag & 3) > 1 ||
	    ((uint32_t)tag & ~3u) != 0) {
		capnp_fail(m, "malformed landing pad");
		return none;
	}
	return (struct target){ m, (uint32_t)(word >> 32), tag, (uint32_t)word >> 3 };
}

/* The pointer at a byte offset that is known to be inside the segment. */
static struct target follow(struct capnp_message *m, uint32_t segment, size_t offset)
{
	static const struct target none = { 0 };

	if (m->why)
		return none;
	uint64_t word = load(m->segments[segment], offset, WORD);
	if (word == 0)
		return none;
	if ((word & 3) == 2)
		return follow_far(m, word);
	return (struct target){ m, segment, word, object_after(offset / WORD, word) };
}

static struct capnp_struct struct_of(struct target t, uint32_t depth)
{
	static const struct capnp_struct none = { 0 };

	if (!t.message)
		return none;
	uint32_t data_words = t.word >> 32 & 0xffff;
	uint32_t pointers = (uint32_t)(t.word >> 48);
	if ((t.word & 3) != 0) {
		capnp_fail(t.message, "not a struct");
		return none;
	}
	if (depth > LIMIT_CAPNP_DEPTH) {
		capnp_fail(t.message, "nested too deep");
		return none;
	}
	/* An empty struct points at itself or anywhere: nothing is read from it. */
	if (data_words + pointers == 0)
		t.at = 0;
	if (!in_segment(t.message, t.segment, t.at, data_words + pointers)) {
		capnp_fail(t.message, "struct out of range");
		return none;
	}
	if (!charge(t.message, data_words + pointers))
		return none;
	return (struct capnp_struct){
		.message = t.message,
		.segment = t.segment,
		.depth = depth,
		.data = (size_t)t.at * WORD,
		.data_bytes = data_words * WORD,
		.pointers = (size_t)(t.at + data_words) * WORD,
		.pointer_count = pointers,
	};
}

static struct capnp_list list_of(struct target t, uint32_t depth)
{
	static const struct capnp_list none = { 0 };
	static const uint8_t bits[] = { 0, 1, 8, 16, 32, 64, 64, 64 };

	if (!t.message)
		return none;
	struct capnp_message *m = t.message;
	if ((t.word & 3) != 1) {
		capnp_fail(m, "not a list");
		return none;
	}
	if (depth > LIMIT_CAPNP_DEPTH) {
		capnp_fail(m, "nested too deep");
		return none;
	}
	enum capnp_size size = (enum capnp_size)(t.word >> 32 & 7);
	uint64_t count = t.word >> 35;
	/* For composite, the count is of words and does not include the tag. */
	uint64_t words = (count * bits[size] + 63) / 64 + (size == CAPNP_COMPOSITE);
	if (!in_segment(m, t.segment, t.at, words)) {
		capnp_fail(m, "list out of range");
		return none;
	}
	struct capnp_list l = {
		.message = m,
		.segment = t.segment,
		.depth = depth,
		.size = size,
		.count = (uint32_t)count,
		.at = (size_t)t.at * WORD,
	};
	if (size == CAPNP_COMPOSITE) {
		uint64_t tag = word_at(m, t.segment, t.at);
		uint64_t elements = (uint32_t)tag >> 2;
		uint32_t data_words = tag >> 32 & 0xffff;
		uint32_t pointers = (uint32_t)(tag >> 48);

		if ((tag & 3) != 0 || elements * (data_words + pointers) > count) {
			capnp_fail(m, "malformed list of structs");
			return none;
		}
		l.count = (uint32_t)elements;
		l.at += WORD;
		l.data_bytes = data_words * WORD;
		l.pointer_count = pointers;
		/* Empty elements cost no bytes, but whoever walks the list works for each. */
		if (data_words + pointers == 0)
			words += elements;
	} else if (size == CAPNP_VOID) {
		words = count;
	}
	return charge(m, words) ? l : none;
}

static struct bytes data_of(struct target t, uint32_t depth)
{
	struct capnp_list l = list_of(t, depth);

	if (!l.message)
		return BYTES_NONE;
	if (l.size != CAPNP_1BYTE) {
		capnp_fail(l.message, "not a list of bytes");
		return BYTES_NONE;
	}
	return bytes_of(l.message->segments[l.segment].ptr + l.at, l.count);
}

static struct bytes text_of(struct target t, uint32_t depth)
{
	struct bytes b = data_of(t, depth);

	if (b.len == 0)
		return BYTES_NONE;
	if (b.ptr[b.len - 1] != 0) {
		capnp_fail(t.message, "text without its NUL");
		return BYTES_NONE;
	}
	return bytes_first(b, b.len - 1);
}

struct capnp_struct capnp_root(struct capnp_message *m)
{
	if (!in_segment(m, 0, 0, 1)) {
		capnp_fail(m, "empty");
		return (struct capnp_struct){ 0 };
	}
	return struct_of(follow(m, 0, 0), 1);
}

/* --- Structs --------------------------------------------------------------------------------- */

static uint64_t field(struct capnp_struct s, uint32_t at, uint32_t bytes)
{
	/* data_bytes is below 2^19 and `at` a constant of ours: no overflow. */
	if (!s.message || s.message->why || at + bytes > s.data_bytes)
		return 0;
	return load(s.message->segments[s.segment], s.data + at, bytes);
}

uint64_t capnp_u64(struct capnp_struct s, uint32_t at)
{
	return field(s, at, 8);
}

uint32_t capnp_u32(struct capnp_struct s, uint32_t at)
{
	return (uint32_t)field(s, at, 4);
}

uint16_t capnp_u16(struct capnp_struct s, uint32_t at)
{
	return (uint16_t)field(s, at, 2);
}

uint8_t capnp_u8(struct capnp_struct s, uint32_t at)
{
	return (uint8_t)field(s, at, 1);
}

bool capnp_bool(struct capnp_struct s, uint32_t bit)
{
	return field(s, bit / 8, 1) >> bit % 8 & 1;
}

static struct target pointer(struct capnp_struct s, uint32_t index)
{
	if (!s.message || index >= s.pointer_count)
		return (struct target){ 0 };
	return follow(s.message, s.segment, s.pointers + (size_t)index * WORD);
}

/* 3 is "other": capability when the rest of the low half is 0. */
static bool is_capability(uint64_t word)
{
	return (uint32_t)word == 3;
}

enum capnp_kind capnp_kind_of(struct capnp_struct s, uint32_t index)
{
	struct target t = pointer(s, index);

	if (!t.message)
		return CAPNP_NULL;
	if ((t.word & 3) == 0)
		return CAPNP_STRUCT;
	if ((t.word & 3) == 1)
		return CAPNP_LIST;
	if (is_capability(t.word))
		return CAPNP_CAPABILITY;
	capnp_fail(t.message, "unknown pointer");
	return CAPNP_NULL;
}

struct capnp_struct capnp_struct_at(struct capnp_struct s, uint32_t index)
{
	return struct_of(pointer(s, index), s.depth + 1);
}

struct capnp_list capnp_list_at(struct capnp_struct s, uint32_t index)
{
	return list_of(pointer(s, index), s.depth + 1);
}

struct bytes capnp_data(struct capnp_struct s, uint32_t index)
{
	return data_of(pointer(s, index), s.depth + 1);
}

struct bytes capnp_text(struct capnp_struct s, uint32_t index)
{
	return text_of(pointer(s, index), s.depth + 1);
}

bool capnp_capability(struct capnp_struct s, uint32_t index, uint32_t *ret_index)
{
	struct target t = pointer(s, index);

	if (!t.message)
		return false;
	if (!is_capability(t.word)) {
		capnp_fail(t.message, "not a capability");
		return false;
	}
	*ret_index = (uint32_t)(t.word >> 32);
	return true;
}

/* --- Lists ----------------------------------------------------------------------------------- */

struct capnp_struct capnp_list_struct(struct capnp_list l, uint32_t i)
{
	static const uint8_t sizes[] = { 0, 0, 1, 2, 4, 8, 0, 0 };
	struct capnp_struct s = { .message = l.message, .segment = l.segment, .depth = l.depth };

	if (!l.message || l.message->why || i >= l.count)
		return (struct capnp_struct){ 0 };
	switch (l.size) {
	case CAPNP_COMPOSITE:
		s.data_bytes = l.data_bytes;
		s.pointer_count = l.pointer_count;
		s.data = l.at + (size_t)i * (l.data_bytes + (size_t)l.pointer_count * WORD);
		s.pointers = s.data + l.data_bytes;
		return s;
	case CAPNP_POINTER:
		s.pointer_count = 1;
		s.pointers = l.at + (size_t)i * WORD;
		return s;
	case CAPNP_BIT: /* the one upgrade the format forbids */
		capnp_fail(l.message, "bits instead of structs");
		return (struct capnp_struct){ 0 };
	default:
		s.data_bytes = sizes[l.size];
		s.data = l.at + (size_t)i * sizes[l.size];
		return s;
	}
}

/* Element i as a pointer: itself, or the first pointer of a struct. */
static struct target element(struct capnp_list l, uint32_t i)
{
	if (!l.message || i >= l.count)
		return (struct target){ 0 };
	if (l.size != CAPNP_POINTER && l.size != CAPNP_COMPOSITE) {
		capnp_fail(l.message, "not a list of pointers");
		return (struct target){ 0 };
	}
	return pointer(capnp_list_struct(l, i), 0);
}

struct capnp_list capnp_list_list(struct capnp_list l, uint32_t i)
{
	return list_of(element(l, i), l.depth + 1);
}

struct bytes capnp_list_data(struct capnp_list l, uint32_t i)
{
	return data_of(element(l, i), l.depth + 1);
}

struct bytes capnp_list_text(struct capnp_list l, uint32_t i)
{
	return text_of(element(l, i), l.depth + 1);
}

uint64_t capnp_list_uint(struct capnp_list l, uint32_t i, uint32_t bytes)
{
	if (!l.message || i >= l.count || l.message->why)
		return 0;
	if (l.size == CAPNP_VOID || l.size == CAPNP_BIT || l.size == CAPNP_POINTER) {
		capnp_fail(l.message, "not a list of numbers");
		return 0;
	}
	struct capnp_struct s = capnp_list_struct(l, i);
	if (bytes > s.data_bytes) {
		capnp_fail(l.message, "numbers too narrow");
		return 0;
	}
	return field(s, 0, bytes);
}

bool capnp_list_bool(struct capnp_list l, uint32_t i)
{
	if (!l.message || i >= l.count || l.message->why)
		return false;
	if (l.size != CAPNP_BIT) {
		capnp_fail(l.message, "not a list of bits");
		return false;
	}
	return load(l.message->segments[l.segment], l.at + i / 8, 1) >> i % 8 & 1;
}
