/* Plain files, whole, as commands read and write them. All of this blocks on the disk. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

bool file_exists(const char *path); /* and is no folder */
/* Where this program is, under the name that it was started by, where that can be found. Owned by the caller. */
char *file_own_program(const char *name);

/* All of a file, at most `max` bytes: E_NOT_FOUND, E_IO, E_LIMIT. `ret` is initialised here, and ended
 * by the caller only on success. */
int file_read(const char *path, size_t max, struct buf *ret, struct err *err);
/* A new file: E_EXISTS "P already exists" when there is one. What could not be written whole is removed. */
int file_write_new(const char *path, unsigned mode, struct bytes text, struct err *err);
/* The same in place of what is there, in one step. */
int file_overwrite(const char *path, unsigned mode, struct bytes text, struct err *err);
