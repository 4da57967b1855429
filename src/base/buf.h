/* A growable byte buffer that cannot exist without a maximum size.
 *
 * Appending past the maximum fails with E_LIMIT and changes nothing. One owner, one thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/check.h"

struct buf {
	uint8_t *ptr; /* owned */
	size_t len;
	size_t cap;
	size_t max;
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_done(struct buf *b);
/* Keeps the memory. */
void buf_clear(struct buf *b);
int buf_append(struct buf *b, struct bytes data) MUST_USE;
int buf_append_str(struct buf *b, const char *text) MUST_USE;
int buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_USE;
/* Room for `size` more bytes at ptr + len; buf_added() says how many were written. */
int buf_reserve(struct buf *b, size_t size) MUST_USE;
void buf_added(struct buf *b, size_t size);
/* Drops the first `size` bytes. */
void buf_drop(struct buf *b, size_t size);

static inline struct bytes buf_bytes(const struct buf *b)
{
	return bytes_of(b->ptr, b->len);
}

/* NUL-terminated copy, owned by the caller; the buffer is emptied. */
char *buf_take_str(struct buf *b);
