/* The steps of sandbox.c; each tells what it did in `ret_what`, SANDBOX_WORDS bytes, for the log. 0 when it took effect;
 * E_UNSUPPORTED when this kernel does not have it, E_IO when it refused. */
#pragma once

#include "sandbox/sandbox.h"

#include <sys/types.h>

#define SANDBOX_WORDS 160
/* PATH_MAX has room for more, but nobody has that. */
#define SANDBOX_DEPTH 128

enum sandbox_right { SANDBOX_READ, SANDBOX_WRITE, SANDBOX_SOCKETS };

struct sandbox_path {
	char *path; /* owned */
	enum sandbox_right right;
};

/* A folder, under whatever name. */
struct sandbox_folder {
	dev_t dev;
	ino_t ino;
};

struct sandbox_paths {
	struct sandbox_path *list;
	size_t count, room;
	/* The folder of the file that is kept out, and those above. */
	char *kept_out; /* owned */
	struct sandbox_folder above[SANDBOX_DEPTH];
	size_t above_count;
};

int sandbox_drop_capabilities(unsigned long long keep, char *ret_what, struct err *err);
int sandbox_shut_files(const struct sandbox_paths *paths, char *ret_what, struct err *err);
int sandbox_shut_calls(char *ret_what, struct err *err);
