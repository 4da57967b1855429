/* Starts the successor of a running edge (SIGUSR2): a process of its own, from before the edge shuts itself in, for that
 * one may start no programs. It waits for the one word there is, takes nothing else, and ends with the edge. What it starts
 * is fixed from its own start: the program at its path, with the edge's arguments and --takeover.
 */
#pragma once

#include "base/err.h"

enum launcher_said {
	LAUNCHER_STARTED, /* value: the process */
	LAUNCHER_FAILED,  /* value: errno */
	LAUNCHER_ENDED,   /* value: as waitpid() gives it */
};

/* What it answers, in datagrams of its socket. */
struct launcher_word {
	int said; /* enum launcher_said */
	int value;
};

struct launcher;

/* Before the first thread is started. */
struct launcher *launcher_start(struct err *err);
/* Where its words come; owned by it. */
int launcher_fd(const struct launcher *l);
/* The program it would start; for messages. */
const char *launcher_program(const struct launcher *l);
/* Its word comes later, unless this fails: E_IO. Control thread. */
int launcher_ask(struct launcher *l, struct err *err);
/* Ends it. NULL is fine; returns NULL. */
struct launcher *launcher_free(struct launcher *l);
