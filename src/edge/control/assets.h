/* Pages and style sheet, embedded from assets/ by CMake (cmake/embed.cmake). */
#pragma once

#include <stddef.h>

struct asset {
	const char *name;          /* the file's name: "home.html" */
	const unsigned char *data; /* a NUL follows, which len does not count */
	size_t len;
};

extern const struct asset control_assets[];
extern const size_t control_asset_count;
