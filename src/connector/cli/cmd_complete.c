/* `completion SHELL` and the hidden command that shells ask (config/completion.h). */
#include "connector/cli/cli.h"

#include "base/mem.h"
#include "config/completion.h"

int cmd_completion(struct cli *cli)
{
	struct err err = { 0 };

	if (cli->line.arg_count != 1)
		return cli_usage(cli, "\"@ completion\" requires the name of a shell.");
	if (completion_script(cli_arg(cli, 0), cli->program, stdout, &err) < 0)
		return cli_usage(cli, "%s", err.text);
	return 0;
}

/* "--name" is what people read; one letter has one dash. */
static struct bytes name_of(const char *word)
{
	return bytes_str(word + (word[1] == '-' ? 2 : 1));
}

/* The commands and flags before the last word. *ret_flag: the flag whose value the last word is. */
static void walk(const struct cli *cli, struct command_line *line, enum flag_id *ret_flag)
{
	*line = (struct command_line){ .depth = 1 };
	line->path[0] = &command_root;
	*ret_flag = FLAG_COUNT;
	for (size_t i = 0; i + 1 < cli->line.arg_count; i++) {
		const char *word = cli->line.args[i];
		const struct command *child;

		if (i == 0 && strcmp(word, "--") == 0)
			continue;
		if (word[0] == '-' && word[1]) {
			struct bytes name = name_of(word);
			enum flag_id id = command_flag(line, name);
			bool takes_next = id != FLAG_COUNT && flag_get(id)->type != FLAG_BOOL;

			if (takes_next && i + 2 == cli->line.arg_count)
				*ret_flag = id;
			i += takes_next;
			continue;
		}
		child = command_child(line->path[line->depth - 1], word);
		if (child && line->depth < COMMAND_DEPTH)
			line->path[line->depth++] = child;
	}
}

static void offer(const struct cli *cli, const char *current, const char *candidate,
		  const char *text)
{
	struct bytes rest = bytes_str(text), part;
	char *said = mem_strdup("");

	while (bytes_split(&rest, '@', &part)) {
		char *longer = mem_printf("%s%.*s%s", said, (int)part.len, (const char *)part.ptr,
					  part.ptr + part.len < (const uint8_t *)text + strlen(text)
						  ? cli->program
						  : "");
		mem_free(said);
		said = longer;
	}
	completion_offer(stdout, current, candidate, said);
	mem_free(said);
}

/* One that several commands of the path have is offered once. */
static bool is_last_with(const struct command_line *line, size_t depth, enum flag_id id)
{
	for (size_t d = depth + 1; d < line->depth; d++)
		for (size_t i = 0; i < line->path[d]->flag_count; i++)
			if (line->path[d]->flags[i] == id)
				return false;
	return command_flag(line, bytes_str(flag_get(id)->name)) == id;
}

static void offer_flags(const struct cli *cli, const struct command_line *line, const char *current)
{
	for (size_t d = line->depth; d-- > 0;) {
		for (size_t i = 0; i < line->path[d]->flag_count; i++) {
			const struct flag *flag = flag_get(line->path[d]->flags[i]);
			char *word = mem_printf("--%s", flag->name);

			if (!flag->is_hidden && is_last_with(line, d, line->path[d]->flags[i]))
				offer(cli, current, word, flag->help);
			mem_free(word);
		}
	}
	offer(cli, current, "--help", "Explain the command.");
}

int cmd_complete(struct cli *cli)
{
	const char *current = cli->line.arg_count ? cli->line.args[cli->line.arg_count - 1] : "";
	struct command_line line;
	enum flag_id flag;

	walk(cli, &line, &flag);
	const struct command *here = line.path[line.depth - 1];
	if (flag != FLAG_COUNT && flag_get(flag)->choices) {
		completion_choices(stdout, current, flag_get(flag)->choices);
	} else if (flag != FLAG_COUNT) {
		(void)completion_by_name(stdout, flag_value_name(flag));
	} else if (current[0] == '-') {
		offer_flags(cli, &line, current);
	} else if (here == command_child(&command_root, "completion")) {
		completion_choices(stdout, current, "bash zsh fish");
	} else if (!here->children) {
		(void)completion_by_name(stdout, here->usage);
	}
	for (size_t i = 0; flag == FLAG_COUNT && here->children && here->children[i]; i++)
		if (!here->children[i]->is_hidden)
			offer(cli, current, here->children[i]->name, here->children[i]->summary);
	return 0;
}
