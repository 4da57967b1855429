/* Time. `usec` is monotonic unless a name says wall. Loop code uses loop_now() instead. */
#pragma once

#include <stdint.h>

typedef int64_t usec;

#define USEC_PER_MSEC ((usec)1000)
#define USEC_PER_SEC ((usec)1000000)

usec clock_now(void);
/* Microseconds since 1970-01-01 UTC. */
usec clock_wall_now(void);
/* "2026-01-02T03:04:05.123456Z"; `size` at least 32. Returns buf. */
char *clock_rfc3339(usec wall, char *buf, unsigned size);
/* Parses RFC 3339 with optional fraction and offset; -1 when it is not one. */
usec clock_parse_rfc3339(const char *text);
