/* Help from the table of commands. */
#include "connector/cli/cli.h"

#include "base/mem.h"

#define COLUMN 34 /* where the help of a flag begins */
#define WIDTH 100

/* Words of `text` from column `column` on, with '@' replaced. */
static void print_wrapped(const struct cli *cli, FILE *out, int column, const char *text)
{
	struct bytes rest = bytes_str(text), word;
	int at = column;

	while (bytes_split(&rest, ' ', &word)) {
		size_t mark = bytes_index(word, '@');
		int width = (int)word.len + (mark < word.len ? (int)strlen(cli->program) - 1 : 0);

		if (at > column && at + 1 + width > WIDTH) {
			(void)fprintf(out, "\n%*s", column, "");
			at = column;
		} else if (at > column) {
			(void)fputc(' ', out);
			at++;
		}
		(void)fwrite(word.ptr, 1, mark, out);
		if (mark < word.len) {
			(void)fputs(cli->program, out);
			(void)fwrite(word.ptr + mark + 1, 1, word.len - mark - 1, out);
		}
		at += width;
	}
	(void)fputc('\n', out);
}

static void print_flag(const struct cli *cli, FILE *out, enum flag_id id)
{
	const struct flag *flag = flag_get(id);
	const char *value = flag_value_name(id);
	struct bytes aliases = bytes_str(flag->aliases), alias;
	int at = fprintf(out, "   --%s", flag->name);

	while (bytes_split(&aliases, ' ', &alias))
		at += fprintf(out, ", %s%.*s", alias.len > 2 ? "--" : "-", (int)alias.len,
			      (const char *)alias.ptr);
	if (*value)
		at += fprintf(out, " %s", value);
	if (at + 2 > COLUMN) {
		(void)fputc('\n', out);
		at = 0;
	}
	(void)fprintf(out, "%*s", COLUMN - at, "");
	char *preset = flag->preset ? mem_printf(" (default: %s)", flag->preset) : mem_strdup("");
	struct bytes names = bytes_str(flag->env), name;
	char *env = mem_strdup("");
	while (bytes_split(&names, ' ', &name)) {
		char *longer = mem_printf("%s%s$%.*s", env, *env ? ", " : " [", (int)name.len,
					  (const char *)name.ptr);
		mem_free(env);
		env = longer;
	}
	char *text = mem_printf("%s%s%s%s", flag->help, preset, env, *env ? "]" : "");
	print_wrapped(cli, out, COLUMN, text);
	mem_free(text);
	mem_free(env);
	mem_free(preset);
}

static void print_flags(const struct cli *cli, FILE *out, const char *title,
			const struct command *command)
{
	bool has_title = false;

	for (size_t i = 0; i < command->flag_count; i++) {
		if (flag_get(command->flags[i])->is_hidden)
			continue;
		if (!has_title)
			(void)fprintf(out, "\n%s:\n", title);
		has_title = true;
		print_flag(cli, out, command->flags[i]);
	}
}

static void print_indented(const struct cli *cli, FILE *out, const char *text)
{
	struct bytes rest = bytes_str(text), line;

	while (bytes_split(&rest, '\n', &line)) {
		char *copy = mem_strndup(line);
		(void)fputs(line.len ? "   " : "", out);
		cli_print(cli, out, copy);
		(void)fputc('\n', out);
		mem_free(copy);
	}
}

static void print_commands(const struct cli *cli, FILE *out, const struct command *command)
{
	(void)fputs("\nCOMMANDS:\n", out);
	for (size_t i = 0; command->children[i]; i++) {
		const struct command *child = command->children[i];
		if (child->is_hidden)
			continue;
		struct bytes aliases = bytes_str(child->aliases), alias;
		int at = fprintf(out, "   %s", child->name);
		while (bytes_split(&aliases, ' ', &alias))
			at += fprintf(out, ", %.*s", (int)alias.len, (const char *)alias.ptr);
		if (at > 13) {
			(void)fputc('\n', out);
			at = 0;
		}
		(void)fprintf(out, "%*s", 14 - at, "");
		print_wrapped(cli, out, 14, child->summary);
	}
}

void help_print(const struct cli *cli, FILE *out, bool is_short)
{
	const struct command *command = cli->line.path[cli->line.depth - 1];
	char name[128];

	command_name(&cli->line, name, sizeof(name));
	const char *blank = *name ? " " : "";
	(void)fprintf(out, "NAME:\n   %s%s%s - ", cli->program, blank, name);
	cli_print(cli, out, command->summary);
	(void)fprintf(out, "\n\nUSAGE:\n   %s%s%s %s\n", cli->program, blank, name, command->usage);
	if (!is_short && command->description) {
		(void)fputs("\nDESCRIPTION:\n", out);
		print_indented(cli, out, command->description);
	}
	if (command->children)
		print_commands(cli, out, command);
	if (!is_short && cli->line.depth > 1)
		print_flags(cli, out, "OPTIONS", command);
	if (!is_short)
		print_flags(cli, out, "GLOBAL OPTIONS", &command_root);
	if (command->children)
		(void)fprintf(out, "\n%s%s%s COMMAND --help tells more about a command.\n",
			      cli->program, blank, name);
}
