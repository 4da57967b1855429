/* Loads libcurl at first use; see curl_library.c for why. Inside http/ only. */
#pragma once

#include <stdbool.h>

/* False when it is not installed. Until it has returned true no curl function may be called. Any thread. */
bool curl_library_load(void);
/* The file of the system's trusted roots (SSL_CERT_FILE, else the library's); NULL when it cannot be read: the
 * library's default then. After curl_library_load(). */
const char *curl_system_roots(void);
