/* Where the command line keeps things: directories, the login certificate, credentials.
 *
 * Our own directories come first, then those of `cloudflared`. All of this blocks on the disk.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/uuid.h"
#include "wire/token.h"

/* "~" and "~/…" by $HOME, else by the user's entry. Owned by the caller. */
char *file_expand(const char *path);
/* ~/.adit. Owned by the caller. */
char *file_own_directory(void);
/* The first file of that name in the search directories that exists; NULL: none. Owned by the caller. */
char *file_find(const char *name);
char *file_find_config(void); /* config.yml, then config.yaml, in each */
bool file_exists(const char *path);
/* Where this program is, under the name that it was started by, where that can be found. Owned by the caller. */
char *file_own_program(const char *name);

/* All of a file, at most `max` bytes: E_NOT_FOUND, E_IO, E_LIMIT. `ret` is initialised here, and ended
 * by the caller only on success. */
int file_read(const char *path, size_t max, struct buf *ret, struct err *err);
/* A new file: E_EXISTS "P already exists" when there is one. What could not be written whole is removed. */
int file_write_new(const char *path, unsigned mode, struct bytes text, struct err *err);
/* The same in place of what is there, in one step. */
int file_overwrite(const char *path, unsigned mode, struct bytes text, struct err *err);

/* The login certificate: `origincert` ("" : search). *ret_path is owned by the caller, also given (not
 * NULL) with success only. */
int file_read_login(const char *program, const char *origincert, struct login *ret, char **ret_path,
		    struct err *err);

/* "<directory of `beside`>/<uuid>.json". Owned by the caller. */
char *file_credentials_path(const struct uuid *tunnel, const char *beside);
/* Where the credentials of a tunnel are: `given` if not empty, else beside the `origincert` if that is not
 * empty, else the search directories. NULL with E_NOT_FOUND. Owned by the caller. */
char *file_find_credentials(const struct uuid *tunnel, const char *given, const char *origincert,
			    struct err *err);
int file_read_credentials(const char *program, const char *path, struct token *ret, struct err *err);
