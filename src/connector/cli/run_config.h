/* From flags, environment, config file and credentials to what the connector runs with. */
#pragma once

#include "connector/cli/cli.h"
#include "connector/connector_config.h"
#include "wire/token.h"

/* Which tunnel, and the proof: token, token file, credentials' contents, credentials file. Returns 0, or
 * an exit code after it told the reason on stderr. */
int run_identify(struct cli *cli, struct token *ret, char **ret_name);

/* Everything but the identity: E_INVALID and the like with a reason for the user. Takes over what it needs
 * from `token`. What is set and has no effect is told as warnings. */
int run_configure(struct cli *cli, struct token *token, struct connector_config *cfg,
		  struct err *err);

/* run_flags.c: the flags that are set, but for secrets, into cfg->flags. */
void run_flags(const struct settings *s, struct connector_config *cfg);
