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
