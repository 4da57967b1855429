/* "Did you mean": which known name a person may have meant. Pure; any thread. */
#pragma once

#include <stddef.h>

/* The one of `names` that fewest changed, added, dropped or swapped letters make of `word` (one in words of up to four
 * letters, two up to six, three in others; ASCII case counts nothing); the first of several. NULL when none is near. Words longer than
 * 32 bytes are near to nothing. */
const char *nearest_name(const char *word, const char *const *names, size_t count);
