/* Completion of command lines in bash, zsh and fish.
 *
 * The scripts are thin: they ask the program itself, by `PROGRAM __complete -- WORD... CURRENT`, which prints a line
 * for each candidate, "candidate<TAB>what it is", or one of the two words below. So what is offered is what that
 * program has in its tables.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

#define COMPLETION_COMMAND "__complete"
#define COMPLETION_FILES ":files"
#define COMPLETION_FOLDERS ":dirs"

/* What bash, zsh or fish shall read. E_INVALID: another shell. */
int completion_script(const char *shell, const char *program, FILE *out, struct err *err);
/* All three, where the shells look for them below a prefix's `share`. */
int completion_install(const char *share, const char *program, struct err *err);

/* A candidate, if it begins with `current`. */
void completion_offer(FILE *out, const char *current, const char *candidate, const char *text);
/* Each of `choices`, separated by blanks. */
void completion_choices(FILE *out, const char *current, const char *choices);
/* Is the value that the help calls so ("FILE", "DIR") one of files? Then says so. */
bool completion_by_name(FILE *out, const char *value);
