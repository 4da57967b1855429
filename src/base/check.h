/* Our own mistakes stop the process here; a peer's mistake never does.
 *
 * BUG_IF() guards what only our code can break. Long-lived structs start with a magic number which
 * CHECK() verifies at every entry point and callback, so a use after free stops on the first touch.
 */
#pragma once

#include <stdint.h>
#include <stdnoreturn.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
/* A large buffer on a hot path that is written before it is read: hardened builds do not clear it. */
#define UNINITIALIZED __attribute__((uninitialized))
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* From a member back to the struct that embeds it. */
#define CONTAINER_OF(ptr, type, member) \
	((type *)((char *)(uintptr_t)(ptr) - __builtin_offsetof(type, member)))

/* Moves a pointer out of a variable and leaves NULL behind. */
#define TAKE(p)                         \
	({                              \
		__typeof__(p) t_ = (p); \
		(p) = NULL;             \
		t_;                     \
	})

noreturn void check_failed(const char *file, int line, const char *what);

#define BUG_IF(condition)                                             \
	do {                                                          \
		if (__builtin_expect(!!(condition), 0))               \
			check_failed(__FILE__, __LINE__, #condition); \
	} while (0)

/* `MAGIC_X` is a constant of the struct's own file. */
#define CHECK(ptr, value) BUG_IF((ptr) == NULL || (ptr)->magic != (value))
