/* The tree of commands: parser, help, and later manual and completion read it. */
#pragma once

#include "connector/cli/flags.h"
#include "connector/cli/settings.h"

struct cli;

#define COMMAND_DEPTH 5
#define COMMAND_CHILDREN_MAX 32 /* that are suggested */

/* In texts '@' stands for the program's name. */
struct command {
	const char *name;
	const char *aliases; /* other names, separated by blanks; NULL: none */
	const char *summary;
	const char *usage;       /* what comes behind the command's name: "[options] NAME" */
	const char *description; /* may have several lines; NULL: the summary says it all */
	const enum flag_id *flags;
	size_t flag_count;
	const struct command *const *children; /* NULL-terminated, or NULL */
	bool is_hidden;
	bool takes_all; /* what follows its name are arguments, flags of another program's among them */
	bool reads_config; /* the config file is loaded, and has to be right, before it runs */
	/* Returns the exit code. NULL: the command is only a group. With children as well, a word that is none of
	 * them is an argument. */
	int (*run)(struct cli *cli);
};

extern const struct command command_root;

/* What the command line says. */
struct command_line {
	const struct command *path[COMMAND_DEPTH]; /* from the root to the command */
	size_t depth;
	const char **args; /* owned array of borrowed texts: what is neither command nor flag */
	size_t arg_count;
	bool is_help;
	const char *unknown; /* a word where a command should be; NULL: none */
};

/* Flags may stand anywhere behind the command they belong to, as -x, --x, -x=v, --x v; "--" ends them.
 * E_INVALID: "flag provided but not defined: -x" and the like; `ret` says how far it got. */
int command_parse(int argc, char *const *argv, struct command_line *ret, struct settings *settings,
		  struct err *err);
void command_line_done(struct command_line *line);
/* "tunnel route dns" into text; the root is "". */
char *command_name(const struct command_line *line, char *text, size_t size);
/* The flag of that name nearest to the command; FLAG_COUNT: none. */
enum flag_id command_flag(const struct command_line *line, struct bytes name);
/* The command of that name or alias in a group; NULL: none. */
const struct command *command_child(const struct command *group, const char *name);
/* The one that somebody may have meant; NULL: none. */
const char *command_nearest(const struct command *group, const char *word);
