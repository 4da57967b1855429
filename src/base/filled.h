/* For MemorySanitizer, which does not see into libraries: this memory has been filled by one. Nothing in other builds. */
#pragma once

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
void __msan_unpoison(const volatile void *ptr, size_t size); /* of the compiler's runtime */
#define FILLED(ptr, size) __msan_unpoison(ptr, size)
#endif
#endif
#ifndef FILLED
#define FILLED(ptr, size) ((void)(ptr), (void)(size))
#endif
