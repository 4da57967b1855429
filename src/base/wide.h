/* Products of 128 bits, where the compiler has such a type and where it does not (32-bit machines). */
#pragma once

#include <stdint.h>

/* wide_multiply() where there is no such type; elsewhere for its test. */
static inline uint64_t wide_multiply_halves(uint64_t a, uint64_t b, uint64_t *ret_upper)
{
	uint64_t low = (a & UINT32_MAX) * (b & UINT32_MAX);
	uint64_t one = (a >> 32) * (b & UINT32_MAX) + (low >> 32);
	uint64_t other = (a & UINT32_MAX) * (b >> 32) + (one & UINT32_MAX);

	*ret_upper = (a >> 32) * (b >> 32) + (one >> 32) + (other >> 32);
	return other << 32 | (low & UINT32_MAX);
}

/* The lower half of a * b. */
static inline uint64_t wide_multiply(uint64_t a, uint64_t b, uint64_t *ret_upper)
{
#ifdef __SIZEOF_INT128__
	unsigned __int128 r = (unsigned __int128)a * b;

	*ret_upper = (uint64_t)(r >> 64);
	return (uint64_t)r;
#else
	return wide_multiply_halves(a, b, ret_upper);
#endif
}
