/* `access ssh-config`, and the commands that need an identity. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "connector/access/target.h"
#include "connector/cli/cli.h"
#include "connector/cli/files.h"

/* For the shell that ssh runs ProxyCommand with, and for ssh, which expands '%'. */
static void print_word(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_-+=./,:@";
	bool is_plain = strspn(word, plain) == strlen(word);

	(void)fputs(is_plain ? "" : "'", stdout);
	for (; *word; word++) {
		if (*word == '\'')
			(void)fputs("'\\''", stdout);
		else if (*word == '%')
			(void)fputs("%%", stdout);
		else
			(void)fputc(*word, stdout);
	}
	(void)fputs(is_plain ? "" : "'", stdout);
}

int cmd_access_ssh_config(struct cli *cli)
{
	const char *hostname = settings_text(&cli->settings, FLAG_ACCESS_HOSTNAME);
	const char *home = getenv("HOME");
	struct bytes host = BYTES_LIT("[your hostname]"), path = BYTES_LIT("/");
	struct err err = { 0 };
	struct arena arena;
	uint16_t port = 443;

	if (settings_bool(&cli->settings, FLAG_ACCESS_SHORT_LIVED_CERT)) {
		err_set(&err, E_UNSUPPORTED,
			"--short-lived-cert: this version of %s cannot fetch short-lived certificates, "
			"they come with log-ins",
			cli->program);
		return cli_failed(cli, &err);
	}
	arena_init(&arena);
	int r = *hostname ? access_parse_hostname(&arena, hostname, &host, &port, &path, &err) : 0;
	if (r == 0) {
		char *program = file_own_program(cli->program);
		/* ssh's %h is a bare name: a port or a path have to be written out. */
		bool is_bare = port == 443 && bytes_eq(path, BYTES_LIT("/"));
		(void)printf("\nAdd to your %s/.ssh/config:\nHost " BYTES_FMT "\n  ProxyCommand ",
			     home ? home : "", BYTES_ARG(host));
		print_word(program);
		(void)fputs(" access ssh --hostname ", stdout);
		if (is_bare)
			(void)fputs("%h", stdout);
		else
			print_word(hostname);
		(void)fputs("\n\n", stdout);
		mem_free(program);
	}
	arena_done(&arena);
	return r < 0 ? cli_failed(cli, &err) : 0;
}

int cmd_access_not_yet(struct cli *cli)
{
	struct err err = { 0 };

	err_set(&err, E_UNSUPPORTED,
		"This version of %s has no \"access %s\": log-ins come with a later one. A service token "
		"(--service-token-id) is accepted by \"%s access tcp\".",
		cli->program, cli->line.path[cli->line.depth - 1]->name, cli->program);
	return cli_failed(cli, &err);
}
