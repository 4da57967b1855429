/* What the files of the command line share. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "edge/edge_config.h"

#define EXIT_DONE 0
#define EXIT_FAILED 1
#define EXIT_USAGE 2

#define CLI_WORDS_MAX 8
/* Of which "did you mean" knows. */
#define CLI_COMMANDS_MAX 128
#define CLI_FLAGS_MAX 64

struct control;
struct store;

/* One invocation. */
struct cli {
	const struct command *command;
	const char *words[CLI_WORDS_MAX]; /* what is no flag, after the command's own words */
	size_t word_count;
	struct cli_flag {
		const char *name, *value; /* name without dashes */
	} flags[CLI_FLAGS_MAX];
	size_t flag_count;
	bool is_json;
	const char *data_dir;
	int (*run)(const struct edge_config *cfg);

	struct edge_config config; /* once cli_load_config() worked */
	bool has_config;
	/* Who answers cli_ask(), once decided. */
	enum { ASKS_NOBODY, ASKS_SOCKET, ASKS_FILES } asks;
	struct store *store;     /* owned; of ASKS_FILES */
	struct control *control; /* owned; of ASKS_FILES */
};

struct command_flag {
	const char *name, *argument, *help; /* no argument: being there is enough */
};

#define COMMAND_FLAGS_MAX 8

struct command {
	const char *path;     /* "zone add" */
	const char *argument; /* "ZONE"; "" when it takes no word */
	const char *summary;
	const char *details; /* more for its own help; NULL: nothing */
	size_t word_min, word_max;
	bool takes_data;     /* --data, --config and every setting */
	bool shows_settings; /* lists them in its help */
	bool takes_json;
	struct command_flag flags[COMMAND_FLAGS_MAX]; /* ended by a NULL name */
	int (*handle)(struct cli *c);
};

extern const struct command cli_commands[];
extern const size_t cli_command_count;

/* The last value given for one of the command's own flags; NULL: none. */
const char *cli_flag(const struct cli *c, const char *name);

/* Prints "adit-edge: why" and returns EXIT_FAILED. */
int cli_fail(const struct err *err);
int cli_usage_error(const struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Help: everything, one group ("zone"), or one command. */
void cli_help(FILE *out, const char *topic);
int cli_version(struct cli *c);
int cli_completion(struct cli *c);
int cli_man(struct cli *c);
/* Prints the candidates for the last of the words; see config/completion.h. An exit status. */
int cli_complete(int argc, char *const *argv);
/* Is it the name of a group, "zone" of "zone add"? */
bool cli_is_group(const char *path);

/* DIR/edge.yml, or the file --config names, then the flags. Call once. */
int cli_load_config(struct cli *c, struct err *err);
/* Then what the control host decides, which `store` knows. */
int cli_complete_config(struct cli *c, struct store *store, struct err *err);
/* Opens the state that is there; E_NOT_FOUND says what to do. */
struct store *cli_open_store(struct cli *c, struct err *err);

/* --- Asking (cli_ask.c) ----------------------------------------------------------------------- */

/* One administration request, to the edge that runs on this state, or to the files when none does. The
 * body's reference is taken; NULL: none. 0 with *ret owned, or the error's code with its message. */
int cli_ask(struct cli *c, const char *method, const char *path, json_t *body, json_t **ret,
	    struct err *err);
/* Percent-encoded, owned. */
char *cli_path(const char *prefix, const char *name, const char *suffix);
void cli_done(struct cli *c);

/* What root has written into a folder of somebody else's becomes theirs: the state of a service that runs as a user of its
 * own. Best effort, blocks on the disk. (cli_service.c) */
void cli_give_state(const char *data_dir);

/* --- Printing --------------------------------------------------------------------------------- */

void cli_print_json(const json_t *value);
/* Columns as wide as their widest cell; cells[rows][columns], the first row is the heading. */
void cli_print_table(const char *const *cells, size_t rows, size_t columns);

/* --- Passwords (cli_admin.c) ------------------------------------------------------------------ */

#define CLI_PASSWORD_BYTES 1026
/* Asks twice for a new one on a terminal, else takes a line of standard input. False with a reason; wipe it. */
bool cli_read_password(char password[CLI_PASSWORD_BYTES], struct err *err);

/* --- Commands --------------------------------------------------------------------------------- */

int cli_init(struct cli *c);
int cli_run(struct cli *c);
int cli_check(struct cli *c);
int cli_cert(struct cli *c);
int cli_zone_add(struct cli *c);
int cli_zone_list(struct cli *c);
int cli_zone_remove(struct cli *c);
int cli_zone_set(struct cli *c);
int cli_zone_show(struct cli *c);
int cli_route_set(struct cli *c);
int cli_route_show(struct cli *c);
int cli_dns_add(struct cli *c);
int cli_dns_list(struct cli *c);
int cli_dns_remove(struct cli *c);
int cli_dns_ds(struct cli *c);
int cli_dnssec_status(struct cli *c);
int cli_dnssec_roll(struct cli *c);
int cli_dnssec_seen(struct cli *c);
int cli_dnssec_cancel(struct cli *c);
int cli_dns_key_add(struct cli *c);
int cli_dns_key_list(struct cli *c);
int cli_dns_key_remove(struct cli *c);
int cli_dns_secondary_add(struct cli *c);
int cli_dns_secondary_list(struct cli *c);
int cli_dns_secondary_remove(struct cli *c);
int cli_route_remove(struct cli *c);
int cli_user_add(struct cli *c);
int cli_user_list(struct cli *c);
int cli_user_password(struct cli *c);
int cli_user_link(struct cli *c);
int cli_tunnel_list(struct cli *c);
int cli_tunnel_routes(struct cli *c);
int cli_tunnel_balance(struct cli *c);
int cli_port_list(struct cli *c);
int cli_dns_update_to(struct cli *c);
int cli_tls_list(struct cli *c);
int cli_tls_renew(struct cli *c);
int cli_tls_import(struct cli *c);
int cli_tls_remove(struct cli *c);
int cli_status(struct cli *c);
int cli_access_apply(struct cli *c);
int cli_access_export(struct cli *c);
int cli_access_protect(struct cli *c);
int cli_access_list(struct cli *c);
int cli_access_show(struct cli *c);
int cli_access_remove(struct cli *c);
int cli_access_revoke(struct cli *c);
int cli_access_ssh_ca(struct cli *c);
int cli_access_rotate(struct cli *c);
int cli_access_token_add(struct cli *c);
int cli_access_token_rotate(struct cli *c);
int cli_access_test(struct cli *c);
int cli_access_user_list(struct cli *c);
int cli_access_user_add(struct cli *c);
int cli_access_user_revoke(struct cli *c);
int cli_access_user_remove(struct cli *c);
int cli_access_user_password(struct cli *c);
int cli_access_passkey_list(struct cli *c);
int cli_access_passkey_remove(struct cli *c);
int cli_access_audit(struct cli *c);
int cli_access_api_add(struct cli *c);
int cli_access_api_list(struct cli *c);
int cli_access_api_remove(struct cli *c);
int cli_service_install(struct cli *c);
int cli_service_uninstall(struct cli *c);
int cli_backup(struct cli *c);
int cli_restore(struct cli *c);
