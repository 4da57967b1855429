/* The machine the connector runs on: GET /diag/system. */
#pragma once

#include <jansson.h>

/* {"info":{…},"errors":{…}} in the stock connector's form: memory and disks in KiB, descriptors of the whole
 * machine; and "process", ours, about this one alone. Owned by the caller. Looks at local file systems,
 * so it may block: not on a loop. */
json_t *system_describe(void);
