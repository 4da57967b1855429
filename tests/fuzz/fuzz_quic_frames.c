/* Any bytes as the frames of a packet. */
#include <stdlib.h>

#include "quic/quic_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void found(void *ctx, int64_t id, uint64_t code)
{
	size_t *count = ctx;

	if (id < 0 || code >> 62)
		abort(); /* no varint is so large */
	++*count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t count = 0;

	quic_frames_find_stops(bytes_of(data, size), found, &count);
	if (count > size / 3)
		abort();
	return 0;
}
