#include "base/mem.h"
#include "connector/cli/logging.h"
#include "connector/cli/run_config.h"
#include "connector/cli/run_sandbox.h"
#include "connector/connector.h"

int cmd_run(struct cli *cli)
{
	struct connector_config cfg;
	struct token token = { 0 };
	struct err err = { 0 };
	char *name;
	int code = run_identify(cli, &token, &name);

	if (code != 0)
		return code;
	connector_config_init(&cfg);
	cfg.tunnel_name = name ? name : mem_strdup("");
	if (run_configure(cli, &token, &cfg, &err) < 0 || run_enter_sandbox(cli, &cfg, &err) < 0)
		code = cli_failed(cli, &err);
	token_done(&token);
	if (code == 0) {
		logging_start_run(cli);
		logging_show_settings(&cli->settings);
		code = connector_run(&cfg);
		logging_stop_run();
	}
	connector_config_done(&cfg);
	return code;
}
