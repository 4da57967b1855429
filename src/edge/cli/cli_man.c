/* `adit-edge man DIR`: adit-edge(8), adit-edge-config(5), completions of shells. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/completion.h"
#include "config/manual.h"
#include "edge/cli/command.h"

/* "print JSON" as a sentence, with `more` behind it. Owned by the caller. */
static char *sentence(const char *text, const char *more, const char *preset)
{
	char *said =
		mem_printf("%s.%s%s%s%s%s", text, preset ? " Default: `" : "", preset ? preset : "",
			   preset ? "`." : "", more ? "\n\n" : "", more ? more : "");

	if (said[0] >= 'a' && said[0] <= 'z')
		said[0] = (char)(said[0] - 'a' + 'A');
	return said;
}

static void write_item(struct manual *m, const char *bold, const char *italic, const char *text,
		       const char *more, const char *preset)
{
	char *said = sentence(text, more, preset);

	manual_item(m, bold, italic);
	manual_item_text(m, said);
	mem_free(said);
}

static void write_command(struct manual *m, const struct command *command)
{
	write_item(m, command->path, command->argument, command->summary, command->details, NULL);
	if (!command->flags[0].name)
		return;
	manual_nest(m);
	for (size_t i = 0; i < COMMAND_FLAGS_MAX && command->flags[i].name; i++) {
		const struct command_flag *flag = &command->flags[i];
		char *name = mem_printf("--%s", flag->name);

		write_item(m, name, flag->argument, flag->help, NULL, NULL);
		mem_free(name);
	}
	manual_unnest(m);
}

static int write_program(const char *share, struct err *err)
{
	struct manual m;
	int r = manual_open(&m, share, NULL, "adit-edge", 8, ADIT_BUILD_TIME,
			    "the public side of your own tunnels", err);

	if (r < 0)
		return r;
	manual_section(&m, "SYNOPSIS");
	manual_text(&m, "`adit-edge` COMMAND [flags] [WORD...]");
	manual_section(&m, "DESCRIPTION");
	manual_text(
		&m,
		"Visitors reach it, and connectors (adit(1)) dial in: requests go down the "
		"connections of the tunnel that their hostname is routed to. It keeps its state in one "
		"folder, and needs no other server beside it.\n\n"
		"  adit-edge init --zone example.com\n"
		"  adit-edge run --https :443 --http :80 --tunnel :7844\n\n"
		"Commands ask the edge that runs on the state, or the files when none does.");
	manual_section(&m, "COMMANDS");
	for (size_t i = 0; i < cli_command_count; i++)
		write_command(&m, &cli_commands[i]);
	manual_section(&m, "FLAGS");
	write_item(&m, "--data", "DIR", "state directory", NULL,
		   "$ADIT_EDGE_DATA, else /var/lib/adit-edge");
	write_item(&m, "--config", "FILE", "settings; see adit-edge-config(5)", NULL,
		   "DIR/edge.yml");
	write_item(&m, "--json", NULL, "print JSON, where a command shows something", NULL, NULL);
	write_item(&m, "--", "SETTING VALUE", "any setting of adit-edge-config(5)", NULL, NULL);
	manual_section(&m, "SIGNALS");
	write_item(&m, "SIGTERM, SIGINT", NULL,
		   "no new requests are taken, those in flight may finish; a second one ends that",
		   NULL, NULL);
	write_item(&m, "SIGUSR2", NULL,
		   "start the program again as the successor, which takes the sockets over", NULL,
		   NULL);
	manual_section(&m, "FILES");
	write_item(&m, "DIR/edge.yml", NULL, "settings", NULL, NULL);
	write_item(&m, "DIR/db/adit.db", NULL, "the database", NULL, NULL);
	write_item(&m, "DIR/ca.pem", NULL, "the built-in authority's certificate", NULL, NULL);
	write_item(&m, "DIR/admin.sock", NULL, "where a running edge is asked", NULL, NULL);
	manual_section(&m, "EXIT STATUS");
	write_item(&m, "0", NULL, "done", NULL, NULL);
	write_item(&m, "1", NULL, "it failed; the reason is on standard error", NULL, NULL);
	write_item(&m, "2", NULL, "the command line was not understood", NULL, NULL);
	manual_see_also(&m, "adit.1 adit-edge-config.5");
	return manual_close(&m, err);
}

static int write_settings(const char *share, struct err *err)
{
	size_t count;
	const struct edge_setting *settings = edge_settings(&count);
	struct manual m;
	int r = manual_open(&m, share, NULL, "adit-edge-config", 5, ADIT_BUILD_TIME,
			    "edge.yml, the settings of an edge", err);

	if (r < 0)
		return r;
	manual_section(&m, "DESCRIPTION");
	manual_text(
		&m,
		"A YAML file of settings: DIR/edge.yml, or what --config names. Each is also a flag of "
		"every command of adit-edge(8), with two dashes in front, and the flag wins. Where a "
		"flag may be given several times, the file has a list. `adit-edge check` reads it "
		"as `adit-edge run` does; unknown keys are errors.\n\n"
		"  https: :443\n"
		"  http: :80\n"
		"  tunnel: :7844\n"
		"  acme-directory: letsencrypt\n\n"
		"ADDR is IP:PORT, [IPv6]:PORT, :PORT for all addresses, or unix:PATH. A DURATION is like "
		"30s, 1m30s or 24h. SWITCH is on or off.");
	manual_section(&m, "SETTINGS");
	for (size_t i = 0; i < count; i++)
		write_item(&m, settings[i].key, settings[i].argument, settings[i].help, NULL,
			   settings[i].preset);
	manual_see_also(&m, "adit-edge.8 adit.1");
	return manual_close(&m, err);
}

int cli_man(struct cli *c)
{
	struct err err = { 0 };
	int r = write_program(c->words[0], &err);

	if (r == 0)
		r = write_settings(c->words[0], &err);
	if (r == 0)
		r = completion_install(c->words[0], "adit-edge", &err);
	return r < 0 ? cli_fail(&err) : EXIT_DONE;
}
