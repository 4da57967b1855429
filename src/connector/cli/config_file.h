/* Top-level keys of the config file that no flag stands for. */
#pragma once

#include "connector/cli/cli.h"
#include "connector/ingress/ingress.h"

/* `tunnel:`, "" when there is none: E_INVALID when it is no string. */
int config_file_tunnel(const struct cli *cli, const char **ret, struct err *err);
/* Calls `each` with "config.yml:4:1: unknown key igress in the configuration; did you mean ingress?" for each
 * key that nobody reads, then with the unknown keys inside the rules (`in` may be NULL). */
void config_file_unknown(const struct yaml_node *root, const struct ingress *in,
			 void (*each)(void *user, const char *text), void *user);
/* The rules of the file with errors as people should see them: "Validation failed: …", then the place on a
 * line of its own where it is not in the text already. */
struct ingress *config_file_ingress(const struct yaml_node *root, enum ingress_form form,
				    const char *file, struct err *err);
/* `warp-routing` of a file without rules, into `in`; errors as above. */
int config_file_private(const struct yaml_node *root, struct ingress *in, const char *file,
			struct err *err);
