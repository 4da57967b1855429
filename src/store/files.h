/* Small files that must be whole after a power cut: written aside, fsynced, then put in place.
 * May block; control thread and command line only. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/err.h"

/* E_EXISTS when `path` is there already (whoever came first wins, whole). */
int file_create(const char *path, struct bytes content, mode_t mode, struct err *err);
/* Replaces what may be there. */
int file_replace(const char *path, struct bytes content, mode_t mode, struct err *err);
/* Up to `size` bytes into `ptr`; E_LIMIT when there are more, E_NOT_FOUND when there is no file. */
int file_load(const char *path, void *ptr, size_t size, size_t *ret_len, struct err *err);
/* A new empty file beside `path`, for what will take its name: "PATH.tmp-XXXXXX", owned. */
char *file_aside(const char *path, mode_t mode, struct err *err);
/* Gives the file made aside its name; it must be fsynced. It is removed when that fails. */
int file_put_new(const char *aside, const char *path, struct err *err);
/* Writes a file's bytes down to the disk. */
int file_sync(const char *path, struct err *err);
/* The same for the names in the directory that holds `path`. */
int file_sync_directory_of(const char *path, struct err *err);
