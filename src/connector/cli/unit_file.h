/* What a systemd unit or a SysV script starts: the words of its commands and the variables that it sets.
 *
 * Read to move an installation of cloudflared in. Bounded, and nothing is run or expanded: what a shell would make of
 * a script is not known here. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

#define UNIT_WORDS_MAX 128
#define UNIT_VARIABLES_MAX 64

struct unit_file {
	char *words[UNIT_WORDS_MAX +
		    1]; /* owned; the first command that starts `program`, NULL-terminated */
	size_t word_count;
	char *variables[UNIT_VARIABLES_MAX]; /* owned: "NAME=value" of Environment= */
	size_t variable_count;
	char *variable_file; /* owned; EnvironmentFile=, or NULL */
	/* Owned; the path behind LoadCredential=NAME:PATH, which the command calls %d/NAME; or NULL. */
	char *credential_name, *credential_path;
};

/* `program` is the name of the program whose command counts, as "cloudflared"; also "cloudflared-linux-amd64". True
 * when there is one. `ret` is filled either way. */
bool unit_file_parse(struct bytes text, const char *program, struct unit_file *ret);
/* Lines of NAME=value, as an EnvironmentFile has them, added to the variables. */
void unit_file_variables(struct unit_file *u, struct bytes text);
void unit_file_done(struct unit_file *u);
/* Does that path end in `program`, or in `program` and a dash or dot? */
bool unit_file_is_program(const char *path, const char *program);
