/* The numbered SQL files of this folder, in order; the build embeds them (cmake/embed.cmake).
 *
 * Step i brings a database from version i to version i + 1. A released step is never edited: a change
 * of the schema is a new file.
 */
#pragma once

#include <stddef.h>

struct schema_step {
	const char *name; /* "001_init.sql" */
	const char *sql;
};

extern const struct schema_step schema_steps[];
extern const size_t schema_step_count;
