/* Memory that lives as long as one request and is freed in one go.
 *
 * Nothing from an arena is freed singly and nothing outside may keep a pointer into it after
 * arena_done(). Allocation stops the process when memory is gone, so callers bound their sizes
 * (base/limits.h) before asking. Under ASan each allocation is a malloc of its own, so overruns
 * inside an arena are caught. One thread.
 */
#pragma once

#include <stddef.h>

#include "base/bytes.h"
#include "base/check.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks; /* owned, newest first */
	uint8_t *next;              /* borrowed from the newest chunk */
	size_t left;
};

void arena_init(struct arena *a);
void arena_done(struct arena *a);

/* Zeroed, aligned for any type. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
/* Not zeroed, no alignment: for bytes. */
uint8_t *arena_alloc_bytes(struct arena *a, size_t size) __attribute__((returns_nonnull));
struct bytes arena_copy(struct arena *a, struct bytes b);
char *arena_strdup(struct arena *a, struct bytes b); /* with a NUL */
struct bytes arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
