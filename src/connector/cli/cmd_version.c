#include "connector/cli/cli.h"

int cmd_version(struct cli *cli)
{
	if (settings_bool(&cli->settings, FLAG_VERSION_SHORT))
		(void)puts(ADIT_VERSION);
	else
		(void)printf("%s version %s (built %s)\n", cli->program, ADIT_VERSION,
			     ADIT_BUILD_TIME);
	return 0;
}

int cmd_update(struct cli *cli)
{
	cli_print(
		cli, stdout,
		"@ never updates itself: install the new version the way this one was installed.\n");
	return 0;
}
