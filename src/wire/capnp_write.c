/* Writer half of capnp.h. */
#include "wire/capnp.h"

#define WORD 8u
#define FRAME_HEADER 8u /* one segment: count - 1, size */
/* Far below the format's 2^29 words, far above any limit of ours: offsets never overflow. */
#define MAX_WORDS (1u << 26)

static void store(uint8_t *at, uint64_t v, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

static uint8_t *word_ptr(struct capnp_writer *w, uint32_t word)
{
	return w->out->ptr + w->start + FRAME_HEADER + (size_t)word * WORD;
}

/* `words` zeroed words at the end; 0 after a failure (word 0 is the root pointer, nobody's object). */
static uint32_t append(struct capnp_writer *w, uint64_t words)
{
	if (w->failed)
		return 0;
	size_t at = (w->out->len - w->start - FRAME_HEADER) / WORD;
	if (words > MAX_WORDS - at) {
		w->failed = E_LIMIT;
		return 0;
	}
	int rc = buf_reserve(w->out, (size_t)words * WORD);
	if (rc < 0) {
		w->failed = rc;
		return 0;
	}
	if (words)
		memset(w->out->ptr + w->out->len, 0, (size_t)words * WORD);
	buf_added(w->out, (size_t)words * WORD);
	return (uint32_t)at;
}

static void set_pointer(struct capnp_writer *w, uint32_t from, uint32_t to, uint32_t kind,
			uint32_t high)
{
	uint32_t offset = (to - from - 1) << 2;

	store(word_ptr(w, from), (uint64_t)high << 32 | offset | kind, WORD);
}

static uint32_t struct_shape(uint32_t data_words, uint32_t pointer_count)
{
	BUG_IF(data_words > 0xffff || pointer_count > 0xffff);
	return data_words | pointer_count << 16;
}

static struct capnp_ref put_struct(struct capnp_writer *w, uint32_t from, uint32_t data_words,
				   uint32_t pointer_count)
{
	uint32_t at = append(w, (uint64_t)data_words + pointer_count);

	/* An empty struct must not look like null: the format lets it point at its own pointer. */
	if (data_words + pointer_count == 0)
		at = from;
	if (!w->failed)
		set_pointer(w, from, at, 0, struct_shape(data_words, pointer_count));
	return (struct capnp_ref){ at, data_words, pointer_count };
}

struct capnp_ref capnp_begin(struct capnp_writer *w, struct buf *out, uint32_t data_words,
			     uint32_t pointer_count)
{
	*w = (struct capnp_writer){ .out = out, .start = out->len };
	int rc = buf_reserve(out, FRAME_HEADER);
	if (rc < 0)
		w->failed = rc;
	else
		buf_added(out, FRAME_HEADER);
	append(w, 1);
	return put_struct(w, 0, data_words, pointer_count);
}

int capnp_end(struct capnp_writer *w)
{
	if (w->failed) {
		w->out->len = w->start;
		return w->failed;
	}
	uint8_t *header = w->out->ptr + w->start;
	store(header, 0, 4);
	store(header + 4, (w->out->len - w->start - FRAME_HEADER) / WORD, 4);
	return 0;
}

static void put_field(struct capnp_writer *w, struct capnp_ref s, uint32_t at, uint64_t v,
		      uint32_t bytes)
{
	BUG_IF(at + bytes > s.data_words * WORD);
	if (!w->failed)
		store(word_ptr(w, s.word) + at, v, bytes);
}

void capnp_put_u64(struct capnp_writer *w, struct capnp_ref s, uint32_t at, uint64_t v)
{
	put_field(w, s, at, v, 8);
}

void capnp_put_u32(struct capnp_writer *w, struct capnp_ref s, uint32_t at, uint32_t v)
{
	put_field(w, s, at, v, 4);
}

void capnp_put_u16(struct capnp_writer *w, struct capnp_ref s, uint32_t at, uint16_t v)
{
	put_field(w, s, at, v, 2);
}

void capnp_put_u8(struct capnp_writer *w, struct capnp_ref s, uint32_t at, uint8_t v)
{
	put_field(w, s, at, v, 1);
}

void capnp_put_bool(struct capnp_writer *w, struct capnp_ref s, uint32_t bit, bool v)
{
	BUG_IF(bit / 8 >= s.data_words * WORD);
	if (w->failed)
		return;
	uint8_t *at = word_ptr(w, s.word) + bit / 8;
	uint8_t mask = (uint8_t)(1u << bit % 8);
	*at = (uint8_t)(v ? *at | mask : *at & ~mask);
}

static uint32_t pointer_word(struct capnp_ref s, uint32_t index)
{
	BUG_IF(index >= s.pointer_count);
	return s.word + s.data_words + index;
}

struct capnp_ref capnp_put_struct(struct capnp_writer *w, struct capnp_ref s, uint32_t index,
				  uint32_t data_words, uint32_t pointer_count)
{
	return put_struct(w, pointer_word(s, index), data_words, pointer_count);
}

struct capnp_ref capnp_put_pointer_list(struct capnp_writer *w, struct capnp_ref s, uint32_t index,
					uint32_t count)
{
	uint32_t from = pointer_word(s, index);
	uint32_t at = append(w, count);

	if (!w->failed)
		set_pointer(w, from, at, 1, count << 3 | CAPNP_POINTER);
	return (struct capnp_ref){ at, 0, count };
}

struct capnp_ref capnp_put_struct_list(struct capnp_writer *w, struct capnp_ref s, uint32_t index,
				       uint32_t count, uint32_t data_words, uint32_t pointer_count)
{
	uint32_t from = pointer_word(s, index);
	uint64_t words = (uint64_t)count * (data_words + pointer_count);
	uint32_t at = append(w, words + 1);

	if (!w->failed) {
		set_pointer(w, from, at, 1, (uint32_t)words << 3 | CAPNP_COMPOSITE);
		store(word_ptr(w, at),
		      (uint64_t)struct_shape(data_words, pointer_count) << 32 | count << 2, WORD);
	}
	return (struct capnp_ref){ at + 1, data_words, pointer_count };
}

struct capnp_ref capnp_element(struct capnp_ref first, uint32_t i)
{
	first.word += i * (first.data_words + first.pointer_count);
	return first;
}

/* A list of bytes: both parts, then `extra` zeroes. */
static void put_bytes(struct capnp_writer *w, uint32_t from, struct bytes first,
		      struct bytes second, size_t extra)
{
	uint64_t size;

	if (__builtin_add_overflow((uint64_t)first.len, (uint64_t)second.len + extra, &size) ||
	    size > MAX_WORDS * (uint64_t)WORD)
		size = MAX_WORDS * (uint64_t)WORD; /* append() fails */
	uint32_t at = append(w, (size + WORD - 1) / WORD);
	if (w->failed)
		return;
	if (first.len)
		memcpy(word_ptr(w, at), first.ptr, first.len);
	if (second.len)
		memcpy(word_ptr(w, at) + first.len, second.ptr, second.len);
	set_pointer(w, from, at, 1, (uint32_t)size << 3 | CAPNP_1BYTE);
}

void capnp_put_data(struct capnp_writer *w, struct capnp_ref s, uint32_t index, struct bytes data)
{
	uint32_t from = pointer_word(s, index);

	if (data.len)
		put_bytes(w, from, data, BYTES_NONE, 0);
}

void capnp_put_text(struct capnp_writer *w, struct capnp_ref s, uint32_t index, struct bytes text)
{
	uint32_t from = pointer_word(s, index);

	if (text.len)
		put_bytes(w, from, text, BYTES_NONE, 1);
}

void capnp_put_text_parts(struct capnp_writer *w, struct capnp_ref s, uint32_t index,
			  struct bytes first, struct bytes second)
{
	uint32_t from = pointer_word(s, index);

	if (first.len || second.len)
		put_bytes(w, from, first, second, 1);
}

void capnp_put_capability(struct capnp_writer *w, struct capnp_ref s, uint32_t index, uint32_t cap)
{
	uint32_t from = pointer_word(s, index);

	if (!w->failed)
		store(word_ptr(w, from), (uint64_t)cap << 32 | 3, WORD);
}
