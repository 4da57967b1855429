/* Hash map from bytes to a pointer. Keyed hash (random per process), so a peer that chooses keys
 * cannot make it slow. Keys are copied in, values are borrowed. One thread, or read-only. */
#pragma once

#include <stddef.h>

#include "base/bytes.h"

struct map;

struct map *map_new(void);
struct map *map_free(struct map *m); /* NULL is fine; returns NULL */
size_t map_count(const struct map *m);
/* Replaces; returns the old value or NULL. `value` is not NULL. */
void *map_put(struct map *m, struct bytes key, void *value);
void *map_find(const struct map *m, struct bytes key);
/* Returns the value taken out, or NULL. */
void *map_take(struct map *m, struct bytes key);
/* Iteration in no order: start with *cursor = 0, ends with false. The map must not change meanwhile. */
bool map_next(const struct map *m, size_t *cursor, struct bytes *ret_key, void **ret_value);
