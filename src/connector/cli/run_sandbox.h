/* What a connector shuts itself in with (sandbox/sandbox.h): which files it will ever need, made of flags and rules. */
#pragma once

#include "base/err.h"
#include "connector/cli/cli.h"
#include "connector/connector_config.h"

/* Before threads. */
int run_enter_sandbox(const struct cli *cli, const struct connector_config *cfg, struct err *err);
