#include "connector/cli/cli.h"

#include <stdarg.h>

#include "base/log.h"
#include "base/mem.h"
#include "connector/cli/files.h"
#include "connector/cli/logging.h"

#define COMPONENT "connector/cli"

#define STOCK "cloudflared"
#define EXIT_FAILED 1
#define EXIT_USAGE 255

/* The format with '@' replaced; no program name that we take has a '%'. */
static char *with_program(const struct cli *cli, const char *fmt)
{
	struct bytes rest = bytes_str(fmt);
	char *text = mem_strdup("");

	while (rest.len) {
		size_t mark = bytes_index(rest, '@');
		char *longer = mem_printf("%s%.*s%s", text, (int)mark, (const char *)rest.ptr,
					  mark < rest.len ? cli->program : "");
		mem_free(text);
		text = longer;
		rest = bytes_from(rest, mark + 1);
	}
	return text;
}

void cli_print(const struct cli *cli, FILE *out, const char *text)
{
	/* In one piece: who reads our standard error may look at each as it comes. */
	char *ours = with_program(cli, text);

	(void)fputs(ours, out);
	mem_free(ours);
}

void cli_printf(const struct cli *cli, FILE *out, const char *fmt, ...)
{
	char *ours = with_program(cli, fmt);
	va_list args;

	va_start(args, fmt);
	(void)vfprintf(out, ours, args);
	va_end(args);
	mem_free(ours);
}

int cli_failed(const struct cli *cli, const struct err *err)
{
	(void)cli;
	/* In the order of events, where both go to one file. */
	(void)fflush(stdout);
	(void)fprintf(stderr, "%s\n", err->text);
	return EXIT_FAILED;
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	char *ours = with_program(cli, fmt), name[128];
	va_list args;

	va_start(args, fmt);
	(void)vfprintf(stderr, ours, args);
	va_end(args);
	(void)fprintf(stderr, "\nSee '%s %s --help'.\n", cli->program,
		      command_name(&cli->line, name, sizeof(name)));
	mem_free(ours);
	return EXIT_USAGE;
}

/* ------------------------------------------------------------------------------------------ */

/* `tunnel --url URL`, without a name: a tunnel that lasts as long as the program. */
static bool wants_quick_tunnel(const struct cli *cli)
{
	const struct settings *s = &cli->settings;

	return !cli->line.unknown &&
	       (settings_is_set(s, FLAG_URL) || settings_is_set(s, FLAG_HELLO_WORLD) ||
		settings_is_set(s, FLAG_UNIX_SOCKET));
}

/* A group without a command, or with one that does not exist. */
static int no_command(const struct cli *cli)
{
	char name[128];

	command_name(&cli->line, name, sizeof(name));
	/* Few lines: programs that start us show the last ten. */
	if (strcmp(name, "tunnel") == 0 && wants_quick_tunnel(cli)) {
		cli_print(
			cli, stderr,
			"There are no quick tunnels: @ cannot ask for a name that nobody has chosen. Run a "
			"tunnel of your own edge instead:\n"
			"  @ tunnel create my-tunnel\n"
			"  @ tunnel route dns my-tunnel app.example.com\n"
			"  @ tunnel run --url http://localhost:8080 my-tunnel\n"
			"or by its token: @ tunnel run --url http://localhost:8080 --token TOKEN\n");
		return EXIT_FAILED;
	}
	if (cli->line.unknown) {
		const char *near =
			command_nearest(cli->line.path[cli->line.depth - 1], cli->line.unknown);
		(void)fprintf(stderr, "%s%s%s has no command \"%s\"%s%s%s\n\n", cli->program,
			      *name ? " " : "", name, cli->line.unknown,
			      near ? "; did you mean \"" : ".", near ? near : "", near ? "\"?" : "");
	} else if (strcmp(name, "tunnel") == 0)
		cli_print(
			cli, stderr,
			"You did not specify any valid additional argument to the @ tunnel command.\n\n");
	help_print(cli, stderr, true);
	return EXIT_FAILED;
}

static int add_env_and_keys(struct cli *cli, struct err *err)
{
	const struct yaml_node *root = cli->config ? yaml_root(cli->config) : NULL;

	for (size_t d = 0; d < cli->line.depth; d++) {
		const struct command *command = cli->line.path[d];
		for (size_t i = 0; i < command->flag_count; i++) {
			int r = settings_add_env(&cli->settings, command->flags[i], err);
			if (r == 0)
				r = settings_add_key(&cli->settings, command->flags[i], root, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int config_load(struct cli *cli, struct err *err)
{
	const char *path = settings_text(&cli->settings, FLAG_CONFIG);

	cli->config_path = *path ? file_expand(path) : file_find_config();
	if (!cli->config_path)
		return 0;
	cli->config = yaml_load(cli->config_path, err);
	if (cli->config)
		return 0;
	/* Without --config the file was there a moment ago; it is as if it never had been. */
	if (err->code == E_NOT_FOUND && !*path) {
		cli->config_path = mem_free(cli->config_path);
		return 0;
	}
	if (err->code == E_PARSE || err->code == E_LIMIT)
		err_wrap(err, "error parsing YAML in config file at %s", cli->config_path);
	return err->code;
}

static int command_run(struct cli *cli)
{
	const struct command *command = cli->line.path[cli->line.depth - 1];
	struct err err = { 0 };

	if (command->reads_config && config_load(cli, &err) < 0)
		return cli_failed(cli, &err);
	if (add_env_and_keys(cli, &err) < 0)
		return cli_failed(cli, &err);
	logging_setup(cli);
	if (cli->config && !yaml_root(cli->config))
		log_error(COMPONENT, "Configuration file was empty",
			  LOG_STR("file", cli->config_path));
	return command->run(cli);
}

/* "cloudflared", also as programs that download one call it: cloudflared-linux-amd64, cloudflared.2026.7.2. */
static bool is_stock_name(const char *name)
{
	return strncmp(name, STOCK, strlen(STOCK)) == 0 &&
	       (!name[strlen(STOCK)] || strchr("-.", name[strlen(STOCK)]));
}

int cli_main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *name = argc > 0 ? (slash ? slash + 1 : argv[0]) : "";
	struct cli cli = { .program = is_stock_name(name) ? STOCK : "adit" };
	struct err err = { 0 };
	int code;

	if (is_stock_name(name))
		file_use_stock_directories();
	if (command_parse(argc, argv, &cli.line, &cli.settings, &err) < 0) {
		(void)fprintf(stderr, "Incorrect Usage: %s\n\n", err.text);
		help_print(&cli, stderr, true);
		code = EXIT_USAGE;
	} else if (cli.line.is_help && !cli.line.unknown) {
		help_print(&cli, stdout, false);
		code = 0;
	} else if (settings_bool(&cli.settings, FLAG_VERSION)) {
		code = cmd_version(&cli);
	} else if (!cli.line.path[cli.line.depth - 1]->run) {
		code = no_command(&cli);
	} else {
		code = command_run(&cli);
	}
	/* A result that nobody could read is no success. */
	if (fflush(stdout) != 0 && code == 0) {
		perror("stdout");
		code = EXIT_FAILED;
	}
	command_line_done(&cli.line);
	settings_done(&cli.settings);
	yaml_free(cli.config);
	mem_free(cli.config_path);
	return code;
}
