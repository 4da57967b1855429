/* A bounded byte queue between two loops: the only way for a body to cross threads.
 *
 * One end writes, the other reads; each end is used from its own loop only. Full means that the
 * writer gets fewer bytes taken and on_room() later. Events arrive on the end's own loop.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

struct loop;
struct pipe;
struct pipe_writer;
struct pipe_reader;

struct pipe_events {
	void (*on_data)(void *ctx); /* reader: bytes, the end or the abort may be waiting */
	void (*on_room)(void *ctx); /* writer: there is room again, or the reader has gone */
};

/* Both ends may be made on any thread before they are used. */
void pipe_new(size_t capacity_bytes, struct loop *writer_loop, struct loop *reader_loop,
	      struct pipe_writer **ret_writer, struct pipe_reader **ret_reader);

void pipe_writer_set_events(struct pipe_writer *w, const struct pipe_events *events, void *ctx);
size_t pipe_write(struct pipe_writer *w, struct bytes data);
bool pipe_reader_is_gone(struct pipe_writer *w);
/* No more bytes; `aborted` tells the reader that the rest is missing. Frees the end. */
void pipe_writer_close(struct pipe_writer *w, bool aborted);

void pipe_reader_set_events(struct pipe_reader *r, const struct pipe_events *events, void *ctx);
/* Copies out up to cap bytes. */
size_t pipe_read(struct pipe_reader *r, uint8_t *dst, size_t cap);
/* True once the writer has closed and every byte was read. */
bool pipe_at_end(struct pipe_reader *r, bool *ret_aborted);
void pipe_reader_close(struct pipe_reader *r);
