/* The steps of sandbox.c; each tells what it did in `ret_what`, SANDBOX_WORDS bytes, for the log. 0 when it took effect;
 * E_UNSUPPORTED when this kernel does not have it, E_IO when it refused. */
#pragma once

#include "sandbox/sandbox.h"

#define SANDBOX_WORDS 160

struct sandbox_path {
	char *path; /* owned */
	bool writable;
};

struct sandbox_paths {
	struct sandbox_path *list;
	size_t count, room;
};

int sandbox_drop_capabilities(unsigned long long keep, char *ret_what, struct err *err);
int sandbox_shut_files(const struct sandbox_paths *paths, char *ret_what, struct err *err);
int sandbox_shut_calls(char *ret_what, struct err *err);
