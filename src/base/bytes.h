/* A borrowed run of bytes: text or binary, no NUL assumed, never owned.
 *
 * Everything that reads input passes this instead of `char *`. The memory belongs to whoever
 * filled it; the comment at each field that keeps one says until when it may be used.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	const uint8_t *ptr;
	size_t len;
};

#define BYTES_NONE ((struct bytes){ NULL, 0 })
#define BYTES_LIT(literal) ((struct bytes){ (const uint8_t *)("" literal), sizeof(literal) - 1 })
/* For printf: printf(BYTES_FMT, BYTES_ARG(b)). */
#define BYTES_FMT "%.*s"
#define BYTES_ARG(b)                                  \
	(int)((b).len > 1 << 20 ? 1 << 20 : (b).len), \
		(const char *)((b).ptr ? (b).ptr : (const uint8_t *)"")

static inline struct bytes bytes_of(const void *ptr, size_t len)
{
	return (struct bytes){ ptr, len };
}

static inline struct bytes bytes_str(const char *text)
{
	return (struct bytes){ (const uint8_t *)text, text ? strlen(text) : 0 };
}

static inline bool bytes_eq(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline uint8_t bytes_lower(uint8_t c)
{
	return (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* ASCII case is ignored, as for header names and host names. */
static inline bool bytes_eq_nocase(struct bytes a, struct bytes b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (bytes_lower(a.ptr[i]) != bytes_lower(b.ptr[i]))
			return false;
	return true;
}

/* Clipped to what is there: never out of range. */
static inline struct bytes bytes_from(struct bytes b, size_t offset)
{
	if (offset >= b.len)
		return BYTES_NONE;
	return (struct bytes){ b.ptr + offset, b.len - offset };
}

static inline struct bytes bytes_first(struct bytes b, size_t len)
{
	return (struct bytes){ b.ptr, len < b.len ? len : b.len };
}

static inline bool bytes_starts_with(struct bytes b, struct bytes prefix)
{
	return b.len >= prefix.len && bytes_eq(bytes_first(b, prefix.len), prefix);
}

static inline bool bytes_ends_with(struct bytes b, struct bytes suffix)
{
	return b.len >= suffix.len && bytes_eq(bytes_from(b, b.len - suffix.len), suffix);
}

/* Index of the first `c`, or b.len when there is none. */
static inline size_t bytes_index(struct bytes b, uint8_t c)
{
	const uint8_t *at = b.len ? memchr(b.ptr, c, b.len) : NULL;
	return at ? (size_t)(at - b.ptr) : b.len;
}

/* Without blanks (space and tab) at either end. */
static inline struct bytes bytes_trim(struct bytes b)
{
	while (b.len && (b.ptr[0] == ' ' || b.ptr[0] == '\t')) {
		b.ptr++;
		b.len--;
	}
	while (b.len && (b.ptr[b.len - 1] == ' ' || b.ptr[b.len - 1] == '\t'))
		b.len--;
	return b;
}

/* Cuts the part before the next `sep` off the front of *rest. False when *rest is empty.
 * "a,b" yields "a" then "b"; a trailing separator yields no empty last part. */
static inline bool bytes_split(struct bytes *rest, uint8_t sep, struct bytes *ret_part)
{
	if (rest->len == 0)
		return false;
	size_t at = bytes_index(*rest, sep);
	*ret_part = bytes_first(*rest, at);
	*rest = bytes_from(*rest, at + 1);
	return true;
}

/* Decimal, no sign, no blanks, at least one digit; false on anything else or overflow. */
bool bytes_to_u64(struct bytes b, uint64_t *ret_value);
