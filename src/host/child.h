/* Runs another program and takes what it prints: journalctl, docker, traceroute. Blocks; for commands. */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

/* `argv` is NULL-terminated; the program is searched in PATH. Its output and errors are appended to `out`; it
 * is ended when that is full (what came is kept) or after `timeout`. Returns its exit status (128 + signal),
 * or E_NOT_FOUND, E_TIMEOUT, E_LIMIT, E_IO. */
int child_run(const char *const *argv, usec timeout, struct buf *out, struct err *err) MUST_USE;
