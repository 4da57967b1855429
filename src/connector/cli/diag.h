/* Shared by the files of `tunnel diag` only: cmd_diag.c (the command), cmd_diag_collect.c (files of the
 * archive), cmd_diag_logs.c, cmd_diag_network.c, cmd_diag_checks.c (which hop is broken), cmd_diag_print.c. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "base/buf.h"
#include "connector/cli/cli.h"

#define DIAG_FILES 16

struct diag_file {
	const char *name; /* in the archive; static */
	struct buf data;
};

struct diag {
	struct cli *cli;
	char *address; /* of the local API; owned */
	usec deadline; /* everything ends by then */

	/* What the instance said; owned; NULL when it did not. */
	json_t *state, *system, *configuration, *probe;

	struct diag_file files[DIAG_FILES];
	size_t file_count;
	json_t *tasks; /* {"metrics":{"result":"success"},…}: owned */

	json_t *checks; /* owned; see diag_check() */
};

/* How long something that may take `most` may take now; 0 when the time is over. */
usec diag_time(const struct diag *d, usec most);
/* An empty file of at most `max` bytes to be filled; NULL never. */
struct buf *diag_file(struct diag *d, const char *name, size_t max);
/* How a task went; `err` NULL: well. */
void diag_task(struct diag *d, const char *name, const struct err *err);
/* It could not be done here, and nobody is to blame. */
void diag_task_skipped(struct diag *d, const char *name, const char *why);
bool diag_flag(const struct diag *d, enum flag_id id);
const char *json_text_at(const json_t *object, const char *key); /* "" when there is none */

/* cmd_diag_collect.c: asks the instance for everything, logs and network included; for nothing more when it
 * does not even tell its state. */
void diag_collect(struct diag *d);
/* cmd_diag_logs.c */
void diag_collect_logs(struct diag *d);
/* cmd_diag_network.c */
void diag_collect_network(struct diag *d);
/* From traceroute's text: [{"hop":1,"domain":"192.0.2.1","rtts":[12874]},…], microseconds; "*" for a hop
 * that does not answer. What is no hop is passed over. Owned by the caller. */
json_t *diag_parse_hops(struct bytes text);

/* cmd_diag_checks.c: fills d->checks from what was collected, in the order of the path of a request:
 * {"hop":"service","name":"rule 1: …","status":"ok"|"broken"|"skipped","detail":…,"errno":…,"fix":…}. */
void diag_check(struct diag *d);
/* There is no instance that answers: the only check. */
void diag_check_absent(struct diag *d, const char *where, const char *detail);
/* The first that is broken; NULL: all is well. Borrowed. */
const json_t *diag_first_broken(const struct diag *d);

/* cmd_diag_print.c: the summary for people. */
void diag_print(const struct diag *d, FILE *out, bool has_colour);
