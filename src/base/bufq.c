#include "base/bufq.h"

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"

/* 64 chunks = 1 MiB kept per thread: a busy worker allocates none, an idle one is small. */
#define CACHED_CHUNKS 64

static _Atomic int64_t memory;

int64_t bufq_memory(void)
{
	return atomic_load_explicit(&memory, memory_order_relaxed);
}

struct bufq_chunk {
	struct bufq_chunk *next;
	size_t start, end; /* the filled part of data */
	uint8_t data[BUFQ_CHUNK_BYTES];
};

#if defined(__SANITIZE_ADDRESS__)
#define NO_CACHE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NO_CACHE 1
#endif
#endif

static void count(int64_t bytes)
{
	atomic_fetch_add_explicit(&memory, bytes, memory_order_relaxed);
}

#ifdef NO_CACHE
static struct bufq_chunk *chunk_new(void)
{
	count(sizeof(struct bufq_chunk));
	return mem_alloc(sizeof(struct bufq_chunk));
}

static void chunk_free(struct bufq_chunk *chunk)
{
	count(-(int64_t)sizeof(*chunk));
	mem_free(chunk);
}
#else
static _Thread_local struct bufq_chunk *cached;
static _Thread_local size_t cached_count;

static struct bufq_chunk *chunk_new(void)
{
	struct bufq_chunk *chunk = cached;

	if (chunk) {
		cached = chunk->next;
		cached_count--;
	} else {
		chunk = mem_resize(NULL, sizeof(*chunk));
		count(sizeof(*chunk));
	}
	chunk->next = NULL;
	chunk->start = chunk->end = 0;
	return chunk;
}

static void chunk_free(struct bufq_chunk *chunk)
{
	if (cached_count >= CACHED_CHUNKS) {
		count(-(int64_t)sizeof(*chunk));
		mem_free(chunk);
		return;
	}
	chunk->next = cached;
	cached = chunk;
	cached_count++;
}
#endif

void bufq_init(struct bufq *q, size_t capacity_bytes)
{
	*q = (struct bufq){ .capacity = capacity_bytes };
}

void bufq_done(struct bufq *q)
{
	while (q->head) {
		struct bufq_chunk *chunk = q->head;
		q->head = chunk->next;
		chunk_free(chunk);
	}
	q->tail = NULL;
	q->len = 0;
}

static struct bufq_chunk *tail_with_room(struct bufq *q)
{
	if (q->tail && q->tail->end < BUFQ_CHUNK_BYTES)
		return q->tail;
	struct bufq_chunk *chunk = chunk_new();
	if (q->tail)
		q->tail->next = chunk;
	else
		q->head = chunk;
	q->tail = chunk;
	return chunk;
}

void bufq_write_all(struct bufq *q, struct bytes data)
{
	while (data.len) {
		struct bufq_chunk *chunk = tail_with_room(q);
		size_t n = BUFQ_CHUNK_BYTES - chunk->end;
		if (n > data.len)
			n = data.len;
		memcpy(chunk->data + chunk->end, data.ptr, n);
		chunk->end += n;
		q->len += n;
		data = bytes_from(data, n);
	}
}

size_t bufq_write(struct bufq *q, struct bytes data)
{
	data = bytes_first(data, bufq_room(q));
	bufq_write_all(q, data);
	return data.len;
}

uint8_t *bufq_reserve(struct bufq *q, size_t *ret_size)
{
	size_t room = bufq_room(q);

	if (room == 0)
		return NULL;
	struct bufq_chunk *chunk = tail_with_room(q);
	size_t n = BUFQ_CHUNK_BYTES - chunk->end;
	*ret_size = n < room ? n : room;
	return chunk->data + chunk->end;
}

void bufq_commit(struct bufq *q, size_t size)
{
	BUG_IF(!q->tail || size > BUFQ_CHUNK_BYTES - q->tail->end);
	q->tail->end += size;
	q->len += size;
	if (q->len == 0)
		bufq_done(q); /* nothing came: do not hold the chunk */
}

int bufq_peek(const struct bufq *q, struct bytes *runs, int max)
{
	int n = 0;

	for (struct bufq_chunk *chunk = q->head; chunk && n < max; chunk = chunk->next)
		if (chunk->end > chunk->start)
			runs[n++] = bytes_of(chunk->data + chunk->start, chunk->end - chunk->start);
	return n;
}

void bufq_consume(struct bufq *q, size_t size)
{
	BUG_IF(size > q->len);
	q->len -= size;
	while (size) {
		struct bufq_chunk *chunk = q->head;
		size_t n = chunk->end - chunk->start;
		if (n > size) {
			chunk->start += size;
			return;
		}
		size -= n;
		q->head = chunk->next;
		if (!q->head)
			q->tail = NULL;
		chunk_free(chunk);
	}
}

void bufq_move(struct bufq *to, struct bufq *from)
{
	if (!from->head)
		return;
	if (to->tail)
		to->tail->next = from->head;
	else
		to->head = from->head;
	to->tail = from->tail;
	to->len += from->len;
	from->head = from->tail = NULL;
	from->len = 0;
}

void *bufq_chunk_take(void)
{
	return chunk_new()->data;
}

void bufq_chunk_return(void *chunk)
{
	if (chunk)
		chunk_free(
			CONTAINER_OF((uint8_t(*)[BUFQ_CHUNK_BYTES])chunk, struct bufq_chunk, data));
}
