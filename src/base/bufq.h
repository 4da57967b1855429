/* A queue of bytes in fixed chunks with a capacity: how streams wait for their far side.
 *
 * Full means "stop reading", never "grow". Chunks come from a small per-thread cache, an empty queue
 * holds none. One owner, one thread (the cache makes moving a whole queue between threads legal as
 * long as only one touches it at a time).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/check.h"

/* One TLS record of plaintext; the unit everything moves in. */
#define BUFQ_CHUNK_BYTES 16384

struct bufq_chunk;

struct bufq {
	struct bufq_chunk *head, *tail; /* owned */
	size_t len;
	size_t capacity; /* bytes; bufq_room() is 0 from here on */
};

void bufq_init(struct bufq *q, size_t capacity_bytes);
void bufq_done(struct bufq *q);

static inline size_t bufq_len(const struct bufq *q)
{
	return q->len;
}

static inline size_t bufq_room(const struct bufq *q)
{
	return q->len < q->capacity ? q->capacity - q->len : 0;
}

/* Copies what fits; returns how many bytes were taken. */
size_t bufq_write(struct bufq *q, struct bytes data);
/* Copies everything, past the capacity if need be: only for bytes whose amount is bounded elsewhere
 * (a flow-control window, one TLS record). */
void bufq_write_all(struct bufq *q, struct bytes data);
/* Space to read into directly: at least 1 byte, at most the room; NULL when full. */
uint8_t *bufq_reserve(struct bufq *q, size_t *ret_size);
void bufq_commit(struct bufq *q, size_t size);
/* Up to `max` runs of the queued bytes from the front; returns how many. Borrowed until the next
 * write, consume or done. */
int bufq_peek(const struct bufq *q, struct bytes *runs, int max);
void bufq_consume(struct bufq *q, size_t size);
/* Moves everything; `to` may exceed its capacity. */
void bufq_move(struct bufq *to, struct bufq *from);

/* A loose chunk of BUFQ_CHUNK_BYTES from the same cache, for scratch space. */
void *bufq_chunk_take(void) __attribute__((returns_nonnull));
void bufq_chunk_return(void *chunk);

/* Bytes that all chunks of this process have now, those that threads keep for the next ones included. Any thread. */
int64_t bufq_memory(void);
