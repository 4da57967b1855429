/* A bounded cursor over untrusted bytes with a sticky error: read all fields, then check once.
 * After the first short read every read yields 0 or empty and reader_ok() is false. */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

struct reader {
	struct bytes left;
	bool failed;
};

static inline struct reader reader_of(struct bytes b)
{
	return (struct reader){ b, false };
}

static inline bool reader_ok(const struct reader *r)
{
	return !r->failed;
}

static inline struct bytes reader_take(struct reader *r, size_t size)
{
	if (r->failed || size > r->left.len) {
		r->failed = true;
		return BYTES_NONE;
	}
	struct bytes b = bytes_first(r->left, size);
	r->left = bytes_from(r->left, size);
	return b;
}

static inline uint64_t reader_uint_(struct reader *r, size_t size, bool little)
{
	struct bytes b = reader_take(r, size);
	uint64_t v = 0;

	for (size_t i = 0; i < b.len; i++)
		v = v << 8 | b.ptr[little ? b.len - 1 - i : i];
	return v;
}

static inline uint8_t reader_u8(struct reader *r)
{
	return (uint8_t)reader_uint_(r, 1, true);
}
static inline uint16_t reader_u16le(struct reader *r)
{
	return (uint16_t)reader_uint_(r, 2, true);
}
static inline uint32_t reader_u32le(struct reader *r)
{
	return (uint32_t)reader_uint_(r, 4, true);
}
static inline uint64_t reader_u64le(struct reader *r)
{
	return reader_uint_(r, 8, true);
}
static inline uint16_t reader_u16be(struct reader *r)
{
	return (uint16_t)reader_uint_(r, 2, false);
}
static inline uint32_t reader_u32be(struct reader *r)
{
	return (uint32_t)reader_uint_(r, 4, false);
}
