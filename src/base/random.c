#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/wide.h"

void random_bytes(void *ptr, size_t size)
{
	uint8_t *at = ptr;

	while (size) {
		ssize_t n = getrandom(at, size, 0);
		if (n < 0) {
			BUG_IF(errno != EINTR);
			continue;
		}
		at += n;
		size -= (size_t)n;
	}
}

/* xorshift64*, seeded once per thread from the kernel: no system call per use. */
uint64_t random_below(uint64_t below)
{
	static _Thread_local uint64_t state;
	uint64_t upper;

	BUG_IF(below == 0);
	while (state == 0)
		random_bytes(&state, sizeof(state));
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	(void)wide_multiply(state * 0x2545F4914F6CDD1DULL, below, &upper);
	return upper;
}
