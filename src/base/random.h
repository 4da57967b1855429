/* Randomness from the kernel (getrandom). Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *ptr, size_t size);
/* Uniform in [0, below); below > 0. For jitter and balancing, not for secrets. */
uint64_t random_below(uint64_t below);
