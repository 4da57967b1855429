/* A bounded cursor that writes, with a sticky error: write all fields, then check once. The memory is
 * the caller's and never grows. */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

struct writer {
	uint8_t *ptr; /* borrowed */
	size_t len;
	size_t cap;
	bool failed;
};

static inline struct writer writer_of(void *ptr, size_t cap)
{
	return (struct writer){ ptr, 0, cap, false };
}

static inline bool writer_ok(const struct writer *w)
{
	return !w->failed;
}

static inline struct bytes writer_bytes(const struct writer *w)
{
	return bytes_of(w->ptr, w->len);
}

static inline void writer_put(struct writer *w, struct bytes b)
{
	if (w->failed || b.len > w->cap - w->len) {
		w->failed = true;
		return;
	}
	if (b.len)
		memcpy(w->ptr + w->len, b.ptr, b.len);
	w->len += b.len;
}

static inline void writer_uint_(struct writer *w, uint64_t v, size_t size, bool little)
{
	uint8_t b[8];

	for (size_t i = 0; i < size; i++)
		b[little ? i : size - 1 - i] = (uint8_t)(v >> (8 * i));
	writer_put(w, bytes_of(b, size));
}

static inline void writer_u8(struct writer *w, uint8_t v)
{
	writer_uint_(w, v, 1, true);
}
static inline void writer_u16le(struct writer *w, uint16_t v)
{
	writer_uint_(w, v, 2, true);
}
static inline void writer_u32le(struct writer *w, uint32_t v)
{
	writer_uint_(w, v, 4, true);
}
static inline void writer_u64le(struct writer *w, uint64_t v)
{
	writer_uint_(w, v, 8, true);
}
static inline void writer_u16be(struct writer *w, uint16_t v)
{
	writer_uint_(w, v, 2, false);
}
static inline void writer_u32be(struct writer *w, uint32_t v)
{
	writer_uint_(w, v, 4, false);
}
