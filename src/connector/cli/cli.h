/* The `adit` command line: parse, load the configuration, run one command.
 *
 * Results go to stdout, log lines to stderr. Exit codes: 0 success and help, 1 an ordinary error (its
 * message alone on stderr), 255 wrong usage (with a hint where the help is). One thread.
 */
#pragma once

#include <stdio.h>

#include "connector/cli/command.h"
#include "config/yaml.h"

/* What a command gets. */
struct cli {
	const char *program; /* "adit"; "cloudflared" when started under that name */
	struct command_line line;
	struct settings settings;
	char *config_path;       /* owned; NULL: there is no config file */
	struct yaml_doc *config; /* owned; NULL: the same, or it is empty */
};

/* The whole program. */
int cli_main(int argc, char **argv);

/* The error on stderr, exit code 1. */
int cli_failed(const struct cli *cli, const struct err *err);
/* The message and "See 'adit tunnel create --help'." on stderr, exit code 255. '@' is the program. */
int cli_usage(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Lines of text with '@' replaced by the program's name. */
void cli_print(const struct cli *cli, FILE *out, const char *text);
/* The same, formatted; '@' in values stays. */
void cli_printf(const struct cli *cli, FILE *out, const char *fmt, ...) PRINTF_LIKE(3, 4);

static inline const char *cli_arg(const struct cli *cli, size_t index)
{
	return index < cli->line.arg_count ? cli->line.args[index] : NULL;
}

/* help.c. Short: how it is called, and the commands of a group. */
void help_print(const struct cli *cli, FILE *out, bool is_short);

/* One function per command, each in a file of its name. */
int cmd_import_cloudflared(struct cli *cli);
int cmd_version(struct cli *cli);
int cmd_update(struct cli *cli);
int cmd_login(struct cli *cli);
int cmd_create(struct cli *cli);
int cmd_list(struct cli *cli);
int cmd_info(struct cli *cli);
int cmd_delete(struct cli *cli);
int cmd_cleanup(struct cli *cli);
int cmd_token(struct cli *cli);
int cmd_route_dns(struct cli *cli);
int cmd_route_ip_add(struct cli *cli);
int cmd_route_ip_show(struct cli *cli);
int cmd_route_ip_delete(struct cli *cli);
int cmd_route_ip_get(struct cli *cli);
int cmd_route_port(struct cli *cli);
int cmd_route_port_list(struct cli *cli);
int cmd_route_port_delete(struct cli *cli);
int cmd_vnet_add(struct cli *cli);
int cmd_vnet_list(struct cli *cli);
int cmd_vnet_delete(struct cli *cli);
int cmd_vnet_update(struct cli *cli);
int cmd_run(struct cli *cli);
int cmd_ready(struct cli *cli);
int cmd_diag(struct cli *cli);
int cmd_ingress_validate(struct cli *cli);
int cmd_ingress_rule(struct cli *cli);
int cmd_service_install(struct cli *cli);
int cmd_service_uninstall(struct cli *cli);
int cmd_access_tcp(struct cli *cli);
int cmd_access_ssh_config(struct cli *cli);
int cmd_access_login(struct cli *cli);
int cmd_access_token(struct cli *cli);
int cmd_access_curl(struct cli *cli);
int cmd_access_ssh_gen(struct cli *cli);
int cmd_completion(struct cli *cli);
int cmd_complete(struct cli *cli);
int cmd_man(struct cli *cli);

/* manual_config.c: adit-config(5), below the folder `share`. */
int manual_write_config(const char *share, struct err *err);
