#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ONE_MALLOC_EACH 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ONE_MALLOC_EACH 1
#endif
#endif

/* A request head of a browser is 1 to 2 KiB; one chunk holds it with our additions. */
#define ARENA_CHUNK_BYTES 4096
/* Chunks kept per thread so that a steady load allocates nothing. */
#define ARENA_CACHED_CHUNKS 256

struct arena_chunk {
	struct arena_chunk *next;
	size_t size; /* of data */
	_Alignas(max_align_t) uint8_t data[];
};

#ifndef ARENA_ONE_MALLOC_EACH
static _Thread_local struct arena_chunk *cached;
static _Thread_local size_t cached_count;
#endif

static struct arena_chunk *chunk_new(size_t size)
{
#ifndef ARENA_ONE_MALLOC_EACH
	size_t plain = ARENA_CHUNK_BYTES - sizeof(struct arena_chunk);

	if (size <= plain && cached) {
		struct arena_chunk *chunk = cached;
		cached = chunk->next;
		cached_count--;
		return chunk;
	}
	if (size < plain)
		size = plain;
#endif
	struct arena_chunk *chunk = mem_resize(NULL, sizeof(*chunk) + size);
	chunk->size = size;
	return chunk;
}

static void chunk_free(struct arena_chunk *chunk)
{
#ifndef ARENA_ONE_MALLOC_EACH
	if (chunk->size == ARENA_CHUNK_BYTES - sizeof(*chunk) && cached_count < ARENA_CACHED_CHUNKS) {
		chunk->next = cached;
		cached = chunk;
		cached_count++;
		return;
	}
#endif
	mem_free(chunk);
}

void arena_init(struct arena *a)
{
	*a = (struct arena){ 0 };
}

void arena_done(struct arena *a)
{
	while (a->chunks) {
		struct arena_chunk *chunk = a->chunks;
		a->chunks = chunk->next;
		chunk_free(chunk);
	}
	a->next = NULL;
	a->left = 0;
}

static uint8_t *take(struct arena *a, size_t size, size_t align)
{
	size_t pad = (size_t)(-(uintptr_t)a->next & (align - 1));

	BUG_IF(size > SIZE_MAX / 2);
#ifndef ARENA_ONE_MALLOC_EACH
	if (a->left >= pad && a->left - pad >= size && a->next) {
		uint8_t *ptr = a->next + pad;
		a->next = ptr + size;
		a->left -= pad + size;
		return ptr;
	}
#else
	(void)pad;
#endif
	struct arena_chunk *chunk = chunk_new(size);
	chunk->next = a->chunks;
	a->chunks = chunk;
	/* A large piece gets a chunk of its own; the rest of the old one stays in use. */
	if (chunk->size - size > a->left) {
		a->next = chunk->data + size;
		a->left = chunk->size - size;
	}
	return chunk->data;
}

void *arena_alloc(struct arena *a, size_t size)
{
	void *ptr = take(a, size, _Alignof(max_align_t));

	memset(ptr, 0, size);
	return ptr;
}

uint8_t *arena_alloc_bytes(struct arena *a, size_t size)
{
	return take(a, size, 1);
}

struct bytes arena_copy(struct arena *a, struct bytes b)
{
	if (b.len == 0)
		return BYTES_NONE;
	uint8_t *copy = arena_alloc_bytes(a, b.len);
	memcpy(copy, b.ptr, b.len);
	return bytes_of(copy, b.len);
}

char *arena_strdup(struct arena *a, struct bytes b)
{
	uint8_t *copy = arena_alloc_bytes(a, b.len + 1);

	if (b.len)
		memcpy(copy, b.ptr, b.len);
	copy[b.len] = 0;
	return (char *)copy;
}

struct bytes arena_printf(struct arena *a, const char *fmt, ...)
{
	char small[256];
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(small, sizeof(small), fmt, args);
	va_end(args);
	BUG_IF(n < 0);
	if ((size_t)n < sizeof(small))
		return arena_copy(a, bytes_of(small, (size_t)n));

	uint8_t *large = arena_alloc_bytes(a, (size_t)n + 1);
	va_start(args, fmt);
	vsnprintf((char *)large, (size_t)n + 1, fmt, args);
	va_end(args);
	return bytes_of(large, (size_t)n);
}
