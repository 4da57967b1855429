/* Loads libcurl at first use; see curl_library.c for why. Inside http/ only. */
#pragma once

#include <stdbool.h>

/* False when it is not installed. Until it has returned true no curl function may be called. Any thread. */
bool curl_library_load(void);
