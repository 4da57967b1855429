/* `adit man DIR`: a page for each command, adit-config(5), completions of shells. */
#include "connector/cli/cli.h"

#include "base/mem.h"
#include "config/completion.h"
#include "config/manual.h"

#define PROGRAM "adit"

/* "adit-tunnel-route" of a path of commands. Owned by the caller. */
static char *page_name(const struct command *const *path, size_t depth, char between)
{
	char *name = mem_strdup(PROGRAM);

	for (size_t i = 1; i < depth; i++) {
		char *longer = mem_printf("%s%c%s", name, between, path[i]->name);
		mem_free(name);
		name = longer;
	}
	return name;
}

static char *flag_text(const struct flag *flag)
{
	struct bytes names = bytes_str(flag->env), name;
	char *text = flag->preset ? mem_printf("%s Default: `%s`.", flag->help, flag->preset)
				  : mem_strdup(flag->help);

	while (bytes_split(&names, ' ', &name)) {
		char *longer =
			mem_printf("%s%s`$%.*s`", text,
				   name.ptr == (const uint8_t *)flag->env ? " Environment: " : ", ",
				   (int)name.len, (const char *)name.ptr);
		mem_free(text);
		text = longer;
	}
	if (flag->env) {
		char *longer = mem_printf("%s.", text);
		mem_free(text);
		text = longer;
	}
	return text;
}

static void write_flag(struct manual *m, enum flag_id id)
{
	const struct flag *flag = flag_get(id);
	struct bytes aliases = bytes_str(flag->aliases), alias;
	char *names = mem_printf("--%s", flag->name), *text = flag_text(flag);

	while (bytes_split(&aliases, ' ', &alias)) {
		char *longer = mem_printf("%s, %s%.*s", names, alias.len > 2 ? "--" : "-",
					  (int)alias.len, (const char *)alias.ptr);
		mem_free(names);
		names = longer;
	}
	manual_item(m, names, flag_value_name(id));
	manual_item_text(m, text);
	mem_free(names);
	mem_free(text);
}

static void write_flags(struct manual *m, const struct command *command)
{
	bool has_title = false;

	for (size_t i = 0; i < command->flag_count; i++) {
		if (flag_get(command->flags[i])->is_hidden)
			continue;
		if (!has_title)
			manual_section(m, "OPTIONS");
		has_title = true;
		write_flag(m, command->flags[i]);
	}
}

static void write_children(struct manual *m, const struct command *command)
{
	bool has_title = false;

	for (size_t i = 0; command->children && command->children[i]; i++) {
		const struct command *child = command->children[i];
		struct bytes aliases = bytes_str(child->aliases), alias;
		char *names = mem_strdup(child->name);

		while (!child->is_hidden && bytes_split(&aliases, ' ', &alias)) {
			char *longer = mem_printf("%s, %.*s", names, (int)alias.len,
						  (const char *)alias.ptr);
			mem_free(names);
			names = longer;
		}
		if (!child->is_hidden) {
			if (!has_title)
				manual_section(m, "COMMANDS");
			has_title = true;
			manual_item(m, names, NULL);
			manual_item_text(m, child->summary);
		}
		mem_free(names);
	}
}

/* What adit(1) alone has. */
static void write_root(struct manual *m)
{
	manual_section(m, "FILES");
	manual_item(m, "~/.adit/config.yml", NULL);
	manual_item_text(m, "The configuration; see adit-config(5).");
	manual_item(m, "~/.adit/cert.pem", NULL);
	manual_item_text(m, "What `@ tunnel login` fetched. Whoever has it can create tunnels.");
	manual_item(m, "~/.adit/UUID.json", NULL);
	manual_item_text(m, "The credentials of a tunnel. Whoever has them can run it.");
	manual_text(m,
		    "Each is looked for in ~/.adit, /etc/adit, ~/.cloudflared, ~/.cloudflare-warp, "
		    "~/cloudflare-warp, /etc/cloudflared and /usr/local/etc/cloudflared.");
	manual_section(m, "ENVIRONMENT");
	manual_text(
		m,
		"Most options have a variable, which their text names. The command line wins over "
		"the environment, and that over the configuration.\n\n"
		"`HTTPS_PROXY` and `NO_PROXY` are honoured.");
	manual_section(m, "EXIT STATUS");
	manual_item(m, "0", NULL);
	manual_item_text(m, "Success.");
	manual_item(m, "1", NULL);
	manual_item_text(m, "It failed; the reason is on standard error.");
	manual_item(m, "255", NULL);
	manual_item_text(m, "The command line was not understood.");
	manual_section(m, "COMPATIBILITY");
	manual_text(
		m,
		"Started by the name `cloudflared`, @ calls itself that in what it prints, and its "
		"service and its folder in /etc are named so.");
}

/* Groups, pages above and the other manuals. Owned by the caller. */
static char *related(const struct command *const *path, size_t depth)
{
	char *names = mem_strdup(depth > 1 ? "adit.1" : "");

	for (size_t up = 2; up < depth; up++) {
		char *name = page_name(path, up, '-');
		char *longer = mem_printf("%s %s.1", names, name);
		mem_free(name);
		mem_free(names);
		names = longer;
	}
	const struct command *here = path[depth - 1];
	for (size_t i = 0; here->children && here->children[i]; i++) {
		if (here->children[i]->is_hidden)
			continue;
		char *name = page_name(path, depth, '-');
		char *longer = mem_printf("%s %s-%s.1", names, name, here->children[i]->name);
		mem_free(name);
		mem_free(names);
		names = longer;
	}
	char *all = mem_printf("%s adit-config.5 adit-edge.8", names);
	mem_free(names);
	return all;
}

static int write_page(const char *share, const struct command *const *path, size_t depth,
		      struct err *err)
{
	const struct command *here = path[depth - 1];
	char *name = page_name(path, depth, '-'), *words = page_name(path, depth, ' ');
	struct manual m;
	int r = manual_open(&m, share, PROGRAM, name, 1, ADIT_BUILD_TIME,
			    depth == 1 ? "the private side of your own tunnels" : here->summary,
			    err);

	if (r == 0) {
		manual_section(&m, "SYNOPSIS");
		char *call = mem_printf("`%s` %s", words, here->usage);
		manual_text(&m, call);
		mem_free(call);
		manual_section(&m, "DESCRIPTION");
		manual_text(
			&m,
			depth == 1
				? "Connects services behind NAT to an edge of yours, which visitors "
				  "reach: it dials out, and nothing listens here. See the commands "
				  "below, each with a page of its own, and adit-edge(8) for the "
				  "other side."
			: here->description ? here->description
					    : here->summary);
		write_children(&m, here);
		write_flags(&m, here);
		if (depth == 1)
			write_root(&m);
		else
			manual_text(
				&m,
				depth == 2
					? "The options in adit(1) work here, too."
					: "The options in adit(1) and of the group work here, too.");
		char *others = related(path, depth);
		manual_see_also(&m, others);
		mem_free(others);
		r = manual_close(&m, err);
	}
	mem_free(words);
	mem_free(name);
	return r;
}

static int write_pages(const char *share, const struct command **path, size_t depth, struct err *err)
{
	const struct command *here = path[depth - 1];
	int r = write_page(share, path, depth, err);

	for (size_t i = 0; r == 0 && here->children && here->children[i]; i++) {
		path[depth] = here->children[i];
		if (!path[depth]->is_hidden && depth < COMMAND_DEPTH)
			r = write_pages(share, path, depth + 1, err);
	}
	return r;
}

int cmd_man(struct cli *cli)
{
	const struct command *path[COMMAND_DEPTH + 1] = { &command_root };
	struct err err = { 0 };
	int r;

	if (cli->line.arg_count != 1)
		return cli_usage(cli, "\"@ man\" requires the folder to write to.");
	r = write_pages(cli_arg(cli, 0), path, 1, &err);
	if (r == 0)
		r = manual_write_config(cli_arg(cli, 0), &err);
	if (r == 0)
		r = completion_install(cli_arg(cli, 0), PROGRAM, &err);
	return r < 0 ? cli_failed(cli, &err) : 0;
}
