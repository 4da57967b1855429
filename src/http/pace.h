/* Whether a visitor keeps its pace while it is the one who is waited for: looked at now and then, it may be slow
 * PACE_LOOKS times in a row and no more. A look finds it slow when it was waited for at this look and at the one
 * before, and less than `least` bytes have moved between the two. A silence in which nobody waits for it (an SSE
 * stream, a long poll) is no slowness.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PACE_LOOKS 4

struct pace {
	uint64_t before; /* bytes at the last look */
	bool was_waiting;
	unsigned slow; /* looks in a row */
};

/* `total` never falls. True: it has been too slow for too long. */
static inline bool pace_is_lost(struct pace *p, bool waits, uint64_t total, uint64_t least)
{
	bool is_slow = waits && p->was_waiting && total - p->before < least;

	p->slow = is_slow ? p->slow + 1 : 0;
	p->before = total;
	p->was_waiting = waits;
	return p->slow >= PACE_LOOKS;
}
