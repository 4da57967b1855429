/* The files of src/host/service, as they are in the binary: what init systems read, with @NAME@ and the
 * like where this installation's words go. cmake/embed.cmake generates the array, sorted by name. */
#pragma once

#include <stddef.h>

struct service_file {
	const char *name; /* "edge.service" */
	const char *text;
};

extern const struct service_file service_files[];
extern const size_t service_file_count;
