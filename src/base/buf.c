#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"

void buf_init(struct buf *b, size_t max_bytes)
{
	BUG_IF(max_bytes == 0);
	*b = (struct buf){ .max = max_bytes };
}

void buf_done(struct buf *b)
{
	b->ptr = mem_free(b->ptr);
	b->len = b->cap = 0;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
}

int buf_reserve(struct buf *b, size_t size)
{
	size_t need;

	if (__builtin_add_overflow(b->len, size, &need) || need > b->max)
		return E_LIMIT;
	if (need <= b->cap)
		return 0;
	size_t cap = b->cap ? b->cap : 256;
	while (cap < need)
		cap *= 2;
	if (cap > b->max)
		cap = b->max;
	uint8_t *ptr = mem_try_resize(b->ptr, cap);
	if (!ptr)
		return E_LIMIT;
	b->ptr = ptr;
	b->cap = cap;
	return 0;
}

void buf_added(struct buf *b, size_t size)
{
	BUG_IF(size > b->cap - b->len);
	b->len += size;
}

int buf_append(struct buf *b, struct bytes data)
{
	int ret = buf_reserve(b, data.len);

	if (ret < 0)
		return ret;
	if (data.len)
		memcpy(b->ptr + b->len, data.ptr, data.len);
	b->len += data.len;
	return 0;
}

int buf_append_str(struct buf *b, const char *text)
{
	return buf_append(b, bytes_str(text));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	BUG_IF(n < 0);
	/* vsnprintf() wants room for its NUL, which does not count as content: where only the NUL does
	 * not fit, the text goes through a copy. */
	char *copy = NULL;
	if (b->max - b->len == (size_t)n)
		copy = mem_alloc((size_t)n + 1);
	else if (buf_reserve(b, (size_t)n + 1) < 0)
		return E_LIMIT;
	va_start(args, fmt);
	vsnprintf(copy ? copy : (char *)b->ptr + b->len, (size_t)n + 1, fmt, args);
	va_end(args);
	if (!copy) {
		b->len += (size_t)n;
		return 0;
	}
	int ret = buf_append(b, bytes_of(copy, (size_t)n));
	mem_free(copy);
	return ret;
}

void buf_drop(struct buf *b, size_t size)
{
	BUG_IF(size > b->len);
	if (size && size < b->len)
		memmove(b->ptr, b->ptr + size, b->len - size);
	b->len -= size;
}

char *buf_take_str(struct buf *b)
{
	char *text = mem_strndup(buf_bytes(b));

	buf_done(b);
	return text;
}
