#include "edge/cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/nearest.h"
#include "config/completion.h"
#include "edge/cli/command.h"
#include "store/store.h"

#define DATA_DIR_DEFAULT "/var/lib/adit-edge"
/* Where packages put the settings of the edge whose state is there. */
#define CONFIG_DEFAULT "/etc/adit-edge/edge.yml"

/* --- Errors ----------------------------------------------------------------------------------- */

int cli_fail(const struct err *err)
{
	fprintf(stderr, "adit-edge: %s\n", err->text);
	return EXIT_FAILED;
}

int cli_usage_error(const struct cli *c, const char *fmt, ...)
{
	va_list args;

	fputs("adit-edge: ", stderr);
	va_start(args, fmt);
	(void)vfprintf(stderr, fmt, args);
	va_end(args);
	if (c && c->command)
		fprintf(stderr, "\nSee 'adit-edge %s --help'.\n", c->command->path);
	else
		fprintf(stderr, "\nSee 'adit-edge help'.\n");
	return EXIT_USAGE;
}

/* --- Which command ---------------------------------------------------------------------------- */

static const struct command *find_command(const char *path)
{
	for (size_t i = 0; i < cli_command_count; i++)
		if (!strcmp(cli_commands[i].path, path))
			return &cli_commands[i];
	return NULL;
}

bool cli_is_group(const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i < cli_command_count; i++)
		if (!strncmp(cli_commands[i].path, word, len) && cli_commands[i].path[len] == ' ')
			return true;
	return false;
}

/* *ret_used says how many words of argv the command took. NULL after having answered *ret_status. */
static const struct command *choose(int argc, char **argv, int *ret_used, int *ret_status)
{
	const char *names[CLI_COMMANDS_MAX];
	const struct command *command;
	const char *near;
	char path[64];

	*ret_status = EXIT_DONE;
	*ret_used = 1;
	if (argc < 2) {
		cli_help(stderr, NULL);
		*ret_status = EXIT_USAGE;
		return NULL;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		cli_help(stdout, NULL);
		return NULL;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-v") || !strcmp(argv[1], "-V"))
		return find_command("version");
	snprintf(path, sizeof(path), "%s", argv[1]);
	for (int i = 2; cli_is_group(path); i++) {
		size_t len = strlen(path);
		if (argc <= i || !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			cli_help(argc <= i ? stderr : stdout, path);
			*ret_status = argc <= i ? EXIT_USAGE : EXIT_DONE;
			return NULL;
		}
		snprintf(path + len, sizeof(path) - len, " %s", argv[i]);
		*ret_used = i;
	}
	command = find_command(path);
	if (command)
		return command;
	size_t count = cli_command_count < CLI_COMMANDS_MAX ? cli_command_count : CLI_COMMANDS_MAX;
	for (size_t i = 0; i < count; i++)
		names[i] = cli_commands[i].path;
	near = nearest_name(path, names, count);
	*ret_status = near ? cli_usage_error(NULL, "there is no command '%s'; did you mean '%s'?",
					     path, near)
			   : cli_usage_error(NULL, "there is no command '%s'", path);
	return NULL;
}

/* --- Its flags and words ------------------------------------------------------------------------ */

static bool is_own_flag(const struct command *command, const char *name)
{
	for (size_t i = 0; i < COMMAND_FLAGS_MAX && command->flags[i].name; i++)
		if (!strcmp(command->flags[i].name, name))
			return true;
	return false;
}

/* Says yes by being there: no argument in its table. */
static bool is_switch(const struct command *command, const char *name)
{
	for (size_t i = 0; i < COMMAND_FLAGS_MAX && command->flags[i].name; i++)
		if (!strcmp(command->flags[i].name, name))
			return !command->flags[i].argument;
	return false;
}

static bool is_setting(const char *name)
{
	size_t count;
	const struct edge_setting *settings = edge_settings(&count);

	for (size_t i = 0; i < count; i++)
		if (!strcmp(settings[i].key, name))
			return true;
	return false;
}

static bool is_known_flag(const struct command *command, const char *name)
{
	if (is_own_flag(command, name))
		return true;
	return command->takes_data &&
	       (!strcmp(name, "data") || !strcmp(name, "config") || is_setting(name));
}

static int unknown_flag(struct cli *c, const char *name)
{
	const char *names[EDGE_SETTINGS_MAX + COMMAND_FLAGS_MAX + 3];
	const struct edge_setting *settings;
	const char *near;
	size_t count, known = 0;

	if (c->command->takes_data) {
		settings = edge_settings(&count);
		for (size_t i = 0; i < count; i++)
			names[known++] = settings[i].key;
		names[known++] = "data";
		names[known++] = "config";
		names[known++] = "json";
	}
	for (size_t i = 0; i < COMMAND_FLAGS_MAX && c->command->flags[i].name; i++)
		names[known++] = c->command->flags[i].name;
	near = nearest_name(name, names, known);
	return near ? cli_usage_error(c, "there is no flag --%s; did you mean --%s?", name, near)
		    : cli_usage_error(
			      c, "there is no flag --%s; words that begin with a dash go behind --",
			      name);
}

/* Takes one flag, with its value from the next argument if it has none itself. 0, or an exit status
 * with 1 added so that help can end with 0. */
static int take_flag(struct cli *c, const char *text, const char *next, bool *ret_used_next)
{
	const char *equals = strchr(text, '='), *value = equals ? equals + 1 : next;
	char name[64];

	*ret_used_next = false;
	if (text[0] == '-')
		text++;
	snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - text) : (int)strlen(text),
		 text);
	if (!strcmp(name, "help") || !strcmp(name, "h")) {
		cli_help(stdout, c->command->path);
		return 1 + EXIT_DONE;
	}
	if (!strcmp(name, "json") && c->command->takes_json && !equals) {
		c->is_json = true;
		return 0;
	}
	if (!is_known_flag(c->command, name))
		return 1 + unknown_flag(c, name);
	bool has_none = is_switch(c->command, name);
	if (has_none && equals)
		return 1 + cli_usage_error(c, "--%s takes no value", name);
	if (has_none)
		value = "";
	if (!value)
		return 1 + cli_usage_error(c, "--%s needs a value", name);
	if (c->flag_count == CLI_FLAGS_MAX)
		return 1 + cli_usage_error(c, "too many flags");
	*ret_used_next = !equals && !has_none;
	/* Names in the table outlive this call; the text does only with its "=value" behind it. */
	size_t count;
	const struct edge_setting *settings = edge_settings(&count);
	const char *kept = !strcmp(name, "data") ? "data" : "config";
	for (size_t i = 0; i < count; i++)
		if (!strcmp(settings[i].key, name))
			kept = settings[i].key;
	for (size_t i = 0; i < COMMAND_FLAGS_MAX && c->command->flags[i].name; i++)
		if (!strcmp(c->command->flags[i].name, name))
			kept = c->command->flags[i].name;
	c->flags[c->flag_count++] = (struct cli_flag){ kept, value };
	return 0;
}

static int parse(struct cli *c, int argc, char **argv)
{
	bool only_words = false;

	for (int i = 0; i < argc; i++) {
		const char *text = argv[i];
		bool used_next;

		if (!only_words && !strcmp(text, "--")) {
			only_words = true;
		} else if (!only_words && text[0] == '-' && text[1]) {
			int status = take_flag(c, text + 1, i + 1 < argc ? argv[i + 1] : NULL,
					       &used_next);
			if (status)
				return status;
			i += used_next;
		} else if (c->word_count == c->command->word_max) {
			return 1 + cli_usage_error(c, "'%s' is one word too many", text);
		} else {
			c->words[c->word_count++] = text;
		}
	}
	if (c->word_count < c->command->word_min)
		return 1 + cli_usage_error(c, "%s is missing", c->command->argument);
	return 0;
}

const char *cli_flag(const struct cli *c, const char *name)
{
	for (size_t i = c->flag_count; i > 0; i--)
		if (!strcmp(c->flags[i - 1].name, name))
			return c->flags[i - 1].value;
	return NULL;
}

/* --- Configuration and state ---------------------------------------------------------------------- */

int cli_load_config(struct cli *c, struct err *err)
{
	const char *named = cli_flag(c, "config");
	char *path = named ? mem_strdup(named) : mem_printf("%s/edge.yml", c->data_dir);
	int rc;

	edge_config_init(&c->config, c->data_dir);
	c->has_config = true;
	rc = edge_config_load(&c->config, path, err);
	mem_free(path);
	if (rc == E_NOT_FOUND && !named && !strcmp(c->data_dir, DATA_DIR_DEFAULT))
		rc = edge_config_load(&c->config, CONFIG_DEFAULT, err);
	if (rc == E_NOT_FOUND && !named)
		rc = 0;
	for (size_t i = 0; i < c->flag_count && rc == 0; i++)
		if (is_setting(c->flags[i].name))
			rc = edge_config_flag(&c->config, c->flags[i].name, c->flags[i].value, err);
	return rc;
}

struct store *cli_open_store(struct cli *c, struct err *err)
{
	struct err why = { 0 };
	struct store *store = store_open(c->data_dir, false, &why);

	/* With a database but no key, a new edge is not what is wanted. */
	if (!store && why.code == E_NOT_FOUND && !store_is_there(c->data_dir))
		err_set(err, E_NOT_FOUND,
			"there is no edge in %s; `adit-edge init --data %s --zone ZONE` "
			"makes one",
			c->data_dir, c->data_dir);
	else if (!store)
		*err = why;
	return store;
}

int cli_complete_config(struct cli *c, struct store *store, struct err *err)
{
	char *host = store_setting_get(store, "control.host", err);
	int rc;

	if (!host) {
		if (err->code == E_NOT_FOUND)
			err_set(err, E_NOT_FOUND,
				"%s has no control host yet; run `adit-edge init --data %s`",
				c->data_dir, c->data_dir);
		return err->code;
	}
	rc = edge_config_complete(&c->config, host, err);
	mem_free(host);
	return rc;
}

/* --- Main --------------------------------------------------------------------------------------------- */

int edge_cli_main(int argc, char **argv, int (*run)(const struct edge_config *cfg))
{
	struct cli c = { .run = run };
	int used, status;

	if (argc > 1 && !strcmp(argv[1], COMPLETION_COMMAND))
		return cli_complete(argc - 2, argv + 2);
	c.command = choose(argc, argv, &used, &status);
	if (!c.command)
		return status;
	status = parse(&c, argc - 1 - used, argv + 1 + used);
	if (status)
		return status - 1;
	c.data_dir = cli_flag(&c, "data");
	if (!c.data_dir)
		c.data_dir = getenv("ADIT_EDGE_DATA");
	if (!c.data_dir || !c.data_dir[0])
		c.data_dir = DATA_DIR_DEFAULT;
	/* Commands speak for themselves; `run` sets its own level. */
	log_setup(LOG_WARN, LOG_CONSOLE);
	status = c.command->handle(&c);
	cli_done(&c);
	if (c.command->takes_data && c.command->handle != cli_run)
		cli_give_state(c.data_dir);
	/* A full disk or a closed pipe behind stdout is a failure too. */
	if (fflush(stdout) != 0 && status == EXIT_DONE)
		status = EXIT_FAILED;
	return status;
}
