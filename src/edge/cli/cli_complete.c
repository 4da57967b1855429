/* What shells ask to complete a command line, and what they are told to ask it by. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/completion.h"
#include "edge/cli/command.h"

int cli_completion(struct cli *c)
{
	struct err err = { 0 };

	if (completion_script(c->words[0], "adit-edge", stdout, &err) < 0)
		return cli_usage_error(c, "%s", err.text);
	return EXIT_DONE;
}

static const struct command *find(const char *path)
{
	for (size_t i = 0; i < cli_command_count; i++)
		if (!strcmp(cli_commands[i].path, path))
			return &cli_commands[i];
	return NULL;
}

/* What --name takes: "FILE"; "" for a switch, NULL for what is unknown. */
static const char *argument_of(const struct command *command, const char *name)
{
	size_t count;
	const struct edge_setting *settings = edge_settings(&count);

	for (size_t i = 0; i < COMMAND_FLAGS_MAX && command->flags[i].name; i++)
		if (!strcmp(command->flags[i].name, name))
			return command->flags[i].argument ? command->flags[i].argument : "";
	if (!command->takes_data)
		return NULL;
	if (!strcmp(name, "data"))
		return "DIR";
	if (!strcmp(name, "config"))
		return "FILE";
	for (size_t i = 0; i < count; i++)
		if (!strcmp(settings[i].key, name))
			return settings[i].argument;
	return NULL;
}

static void offer_flag(const char *current, const char *name, const char *help)
{
	char *word = mem_printf("--%s", name);

	completion_offer(stdout, current, word, help);
	mem_free(word);
}

static void offer_flags(const struct command *command, const char *current)
{
	size_t count;
	const struct edge_setting *settings = edge_settings(&count);

	for (size_t i = 0; i < COMMAND_FLAGS_MAX && command->flags[i].name; i++)
		offer_flag(current, command->flags[i].name, command->flags[i].help);
	if (command->takes_data) {
		offer_flag(current, "data", "state directory");
		offer_flag(current, "config", "settings");
	}
	if (command->takes_json)
		offer_flag(current, "json", "print JSON");
	for (size_t i = 0; command->shows_settings && i < count; i++)
		offer_flag(current, settings[i].key, settings[i].help);
	offer_flag(current, "help", "explain the command");
}

/* The word of a path behind `group` ("" : the first); empty when it is in another group. */
static struct bytes word_behind(const char *path, const char *group)
{
	size_t len = strlen(group);

	if (len && (strncmp(path, group, len) != 0 || path[len] != ' '))
		return bytes_of(NULL, 0);
	const char *word = path + len + (len > 0);
	return bytes_of(word, strcspn(word, " "));
}

/* The next word of each command of `group`, once. */
static void offer_words(const char *group, const char *current)
{
	for (size_t i = 0; i < cli_command_count; i++) {
		struct bytes word = word_behind(cli_commands[i].path, group);
		bool is_command = word.len && !word.ptr[word.len], is_new = word.len > 0;

		for (size_t j = 0; j < i; j++)
			is_new &= !bytes_eq(word_behind(cli_commands[j].path, group), word);
		if (!is_new)
			continue;
		char *name = mem_strndup(word);
		completion_offer(stdout, current, name,
				 is_command ? cli_commands[i].summary : "a group of commands");
		mem_free(name);
	}
}

int cli_complete(int argc, char *const *argv)
{
	const struct command *command = NULL;
	char path[64] = "";
	const char *value = NULL;

	if (argc > 0 && !strcmp(argv[0], "--")) {
		argc--;
		argv++;
	}
	const char *current = argc > 0 ? argv[argc - 1] : "";
	for (int i = 0; i + 1 < argc; i++) {
		const char *word = argv[i];

		if (word[0] == '-' && command && !strchr(word, '=')) {
			value = argument_of(command, word + 1 + (word[1] == '-'));
			if (value && *value)
				i++;
			if (!value || !*value || i + 1 < argc)
				value = NULL;
		} else if (!command) {
			size_t len = strlen(path);

			snprintf(path + len, sizeof(path) - len, "%s%s", len ? " " : "", word);
			command = find(path);
			if (!command && !cli_is_group(path))
				return EXIT_DONE;
		}
	}
	if (value) {
		(void)completion_by_name(stdout, value);
	} else if (command && current[0] == '-') {
		offer_flags(command, current);
	} else if (command && strchr(command->argument, '|')) {
		completion_choices(stdout, current, "bash zsh fish");
	} else if (command) {
		(void)completion_by_name(stdout, command->argument);
	} else {
		offer_words(path, current);
	}
	return EXIT_DONE;
}
