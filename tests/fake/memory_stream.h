/* Two byte streams joined in memory, on one loop: what one end writes the other reads.
 *
 * Bounded like the real thing, so that short writes, full backlogs and small reads happen on demand.
 * For tests and fuzz targets.
 */
#pragma once

#include "io/byte_stream.h"
#include "io/loop.h"

/* `capacity` bytes wait in each direction at most. */
void memory_stream_pair(struct loop *l, size_t capacity, struct byte_stream **ret_a,
			struct byte_stream **ret_b);
/* Reads of this end give at most so many bytes at once; 0: no limit. */
void memory_stream_set_read_max(struct byte_stream *s, size_t max);
/* While stalled this end gets no event, as if the network had stopped. */
void memory_stream_stall(struct byte_stream *s, bool stalled);
/* Bytes this end has ever written. */
uint64_t memory_stream_written(const struct byte_stream *s);

/* Runs everything that is due now, without waiting for anything. */
void loop_settle(struct loop *l);
