/* Where the command line keeps things: directories, the login certificate, credentials.
 *
 * Our own directories come first, then those of `cloudflared`; the other way round where the program has that name. All of this blocks on the disk.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/uuid.h"
#include "host/plain_file.h"
#include "wire/token.h"

/* "~" and "~/…" by $HOME, else by the user's entry. Owned by the caller. */
char *file_expand(const char *path);
/* Started as `cloudflared`: its directories come first, and ~/.cloudflared is our own. Before anything else. */
void file_use_stock_directories(void);
/* ~/.adit. Owned by the caller. */
char *file_own_directory(void);
/* The first file of that name in the search directories that exists; NULL: none. Owned by the caller. */
char *file_find(const char *name);
char *file_find_config(void); /* config.yml, then config.yaml, in each */

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
