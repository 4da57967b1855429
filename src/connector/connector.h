/* `adit tunnel run`: keeps the connections to the edge and serves what comes down them. */
#pragma once

#include "connector/connector_config.h"

/* Runs until SIGTERM or SIGINT, then leaves gracefully: unregisters, lets running requests finish within
 * the grace period (a second signal ends it at once). Returns the exit code. Logging is set up already. */
int connector_run(const struct connector_config *cfg);
