/* A program that logs a person in and prints a token. One loop. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

struct loop;
struct login_child;

/* Comes once, never inside login_child_start(): with a token (borrowed for the call), or without when there is none. */
typedef void login_child_done(void *ctx, struct bytes token);

/* NULL: it cannot be run. */
struct login_child *login_child_start(struct loop *loop, const char *const *argv,
				      login_child_done *done, void *ctx, struct err *err);
/* Ends the program if it runs still; no done() after this. NULL is fine; returns NULL. */
struct login_child *login_child_free(struct login_child *c);
