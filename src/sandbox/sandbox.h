/* Shuts the process in: what it will never need is given up for good, so that whoever makes it run their code
 * gets nothing but what it has in its hands.
 *
 * The order is that of docs/sandbox.md: another user, no new privileges, capabilities, files (landlock(7)),
 * system calls (seccomp(2)). Each step says in the log whether it took effect. Nothing of it can be undone.
 *
 * All of it is of threads, not of processes: call these before the first thread is started. Threads started later
 * inherit everything.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum sandbox_mode {
	SANDBOX_OFF,
	SANDBOX_ON,      /* as much as this kernel has */
	SANDBOX_REQUIRED /* a step that does not take effect is an error */
};

/* "on", "off", "required": E_INVALID. */
int sandbox_mode_parse(const char *text, enum sandbox_mode *ret);

/* Files and folders that stay reachable. A folder is meant with all that is below it. */
struct sandbox_paths;

struct sandbox_paths *sandbox_paths_new(void);
/* Returns NULL. */
struct sandbox_paths *sandbox_paths_free(struct sandbox_paths *p);
/* The folder, or the file when that is what it is. One that is not there is left out. NULL does nothing. */
void sandbox_paths_read(struct sandbox_paths *p, const char *path);
void sandbox_paths_write(struct sandbox_paths *p, const char *path);
/* A file that no rule shall reach, said before the others: of a folder that has it, sandbox_paths_..._beside() names only
 * the one file. A folder that was named itself is kept as it is, and sandbox_enter() says so, or fails where a sandbox is
 * required. */
void sandbox_paths_keep_out(struct sandbox_paths *p, const char *file);
/* In this folder names can be listed, sockets made, and any file removed; none can be read or written. */
void sandbox_paths_sockets(struct sandbox_paths *p, const char *folder);
/* The same for the folder that a socket is in. */
void sandbox_paths_sockets_beside(struct sandbox_paths *p, const char *socket);
/* The folder that a file is in, as files that are replaced come under another inode; of a file right below the root only
 * the file. NULL and "" do nothing. */
void sandbox_paths_read_beside(struct sandbox_paths *p, const char *file);
void sandbox_paths_write_beside(struct sandbox_paths *p, const char *file);

/* Root becomes "name" or "name:group" and keeps `capabilities` (bits of capability.h, like 1 << CAP_NET_BIND_SERVICE), also
 * over the start of another program. It is verified that there is no way back. E_INVALID: there is no such user, or this is
 * not root; E_IO. */
int sandbox_become(const char *user, unsigned long long capabilities, struct err *err);

/* The rest. `capabilities`: those that are kept where they are there. What every program here reads is added to `paths`:
 * libraries, /proc, name resolution, certificates of the system (those of SSL_CERT_FILE and SSL_CERT_DIR, too). With SANDBOX_OFF nothing is done. Errors, with
 * SANDBOX_REQUIRED alone: E_UNSUPPORTED, E_IO. */
int sandbox_enter(enum sandbox_mode mode, unsigned long long capabilities,
		  struct sandbox_paths *paths, struct err *err);
