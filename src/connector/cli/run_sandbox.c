#include "connector/cli/run_sandbox.h"

#include <linux/capability.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "connector/cli/files.h"
#include "sandbox/sandbox.h"

static void add_file(struct sandbox_paths *p, const struct settings *s, enum flag_id flag,
		     void (*add)(struct sandbox_paths *, const char *))
{
	char *path = file_expand(settings_text(s, flag));

	add(p, path);
	mem_free(path);
}

/* Files that rules name now are read again when the rules are, and may have been replaced by then. */
static void add_rules(struct sandbox_paths *p, const struct ingress *in)
{
	for (size_t i = 0; i < ingress_count(in); i++) {
		const struct ingress_rule *rule = ingress_rule(in, i);
		sandbox_paths_read_beside(p, rule->origin.ca_pool);
		sandbox_paths_read_beside(p, rule->tls.certificate);
		sandbox_paths_read_beside(p, rule->tls.key);
		sandbox_paths_read_beside(p, rule->tls.acme_ca_file);
		const char *storage = rule->tls.acme_storage;
		if (storage && access(storage, F_OK) != 0)
			sandbox_paths_write_beside(p, storage);
		else
			sandbox_paths_write(p, storage);
	}
}

int run_enter_sandbox(const struct cli *cli, const struct connector_config *cfg, struct err *err)
{
	const struct settings *s = &cli->settings;
	const char *where = settings_text(s, FLAG_ACCESS_LOG);
	enum sandbox_mode mode;

	if (sandbox_mode_parse(settings_text(s, FLAG_SANDBOX), &mode) < 0)
		return err_set(err, E_INVALID,
			       "invalid value for sandbox: %.60s; it is on, off or required",
			       settings_text(s, FLAG_SANDBOX));
	struct sandbox_paths *p = sandbox_paths_new();
	if (cli->config)
		sandbox_paths_read_beside(p, cli->config_path);
	add_file(p, s, FLAG_LOGFILE, sandbox_paths_write_beside);
	add_file(p, s, FLAG_LOG_DIRECTORY, sandbox_paths_write);
	if (strchr(where, '/'))
		add_file(p, s, FLAG_ACCESS_LOG, sandbox_paths_write_beside);
	add_file(p, s, FLAG_PIDFILE, sandbox_paths_write_beside);
	if (strncmp(cfg->metrics_address, "unix:", 5) == 0)
		sandbox_paths_write_beside(p, cfg->metrics_address + 5);
	char *const *texts;
	size_t count = settings_list(s, FLAG_SANDBOX_READ, &texts);
	for (size_t i = 0; i < count; i++)
		sandbox_paths_read(p, texts[i]);
	add_rules(p, cfg->ingress);
	/* Files of others may be named in rules, and a connector that root starts could read them before. */
	int code = sandbox_enter(mode, 1ULL << CAP_DAC_READ_SEARCH, p, err);
	sandbox_paths_free(p);
	return code;
}
