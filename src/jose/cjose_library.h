/* Loads libcjose at first use; see cjose_library.c for why. Inside jose/ only. */
#pragma once

#include <stdbool.h>

/* False when it is not installed. Until it has returned true no cjose function may be called. Any thread. */
bool cjose_library_load(void);
