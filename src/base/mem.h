/* The only door to the allocator.
 *
 * Policy, readable in the name: mem_alloc() and friends stop the process when memory is gone (sizes
 * our own code chose); mem_try_alloc() returns NULL and is for every size a peer had a hand in.
 * All memory from here is zeroed. Any thread.
 */
#pragma once

#include <stddef.h>

#include "base/bytes.h"
#include "base/check.h"

void *mem_alloc(size_t size) __attribute__((returns_nonnull, malloc));
void *mem_alloc_array(size_t count, size_t size) __attribute__((returns_nonnull, malloc));
/* NULL when there is no memory or count * size overflows. */
void *mem_try_alloc(size_t count, size_t size) MUST_USE;
/* New bytes past the old size are NOT zeroed; stops the process when memory is gone. */
void *mem_resize(void *ptr, size_t size) __attribute__((returns_nonnull)) MUST_USE;
/* What a library made: it gives NULL only when memory is gone, and that stops the process here, too. */
void *mem_made(void *object) __attribute__((returns_nonnull)) MUST_USE;
void *mem_try_resize(void *ptr, size_t size) MUST_USE;
/* NULL is fine; returns NULL: p = mem_free(p). */
void *mem_free(void *ptr);

char *mem_strdup(const char *text);                       /* NULL gives NULL; owned by the caller */
char *mem_strndup(struct bytes text);                     /* adds a NUL; owned by the caller */
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2); /* owned by the caller */

/* For programs that run for months, before other threads exist: blocks of this size and above always go
 * back to the system. Left alone, glibc raises its threshold to the largest block ever freed (32 MiB), and
 * one parsed configuration stays in memory for good. */
#define MEM_RETURNED_BYTES (256 * 1024)
void mem_return_large_blocks(void);

/* For CLEANUP(mem_freep). */
static inline void mem_freep(void *p)
{
	void **at = p;
	*at = mem_free(*at);
}
