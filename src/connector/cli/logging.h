/* What the command line says about logs. One thread. */
#pragma once

#include "connector/cli/cli.h"

/* For every command: level, format and file. A file that cannot be written is said, and no reason to stop. */
void logging_setup(const struct cli *cli);
/* For `run`: the access log, and from now on a thread that writes. logging_stop() at its end. */
void logging_start_run(const struct cli *cli);
void logging_stop_run(void);
/* The lines with which the stock connector says how it was started: every flag that is set, and every
 * variable of ours in the environment, with ***** for secrets. */
void logging_show_settings(const struct settings *s);
