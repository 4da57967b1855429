/* What `tunnel info` shows of replicas and their services when the edge is one of ours. The tunnel's own
 * health, whether connectors are there, is another fact. */
#pragma once

#include "connector/cli/rest.h"

/* Owned by the caller. */
json_t *info_replica_json(const struct rest_replica *r);
/* Prints nothing when no connector has a label, a weight, a backup's place or a checked service. */
void info_print_replicas(const struct rest_connector *connectors, size_t count);
