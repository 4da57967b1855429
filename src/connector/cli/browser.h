/* A page in the browser of whoever is at this machine. */
#pragma once

#include <stdbool.h>

/* True when a browser was told. Blocks until it has taken the address. */
bool browser_open(const char *url);
