/* Connectors that run on this machine, found by their local API. Blocks. */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "connector/cli/settings.h"
#include "http/fetch.h"

/* Ports that a connector tries first when --metrics does not say another. */
#define INSTANCE_FIRST_PORT 20241
#define INSTANCE_PORTS 5

struct instance {
	char *address; /* HOST:PORT, owned */
	json_t *state; /* its /diag/tunnel, owned */
};
void instance_done(struct instance *i);

/* Where --metrics says that it is, as something to connect to: "0.0.0.0:1" becomes "localhost:1",
 * "http://" may stand in front. Owned by the caller. NULL when it says nothing of use: not set, or port 0. */
char *instance_given(const struct settings *s);
/* All that answer on the usual ports, in their order. *ret_silent (may be NULL): the first address where
 * something accepts connections and says nothing, NULL when there is none; owned by the caller. */
size_t instances_find(struct instance list[INSTANCE_PORTS], char **ret_silent);
/* One line on stderr for each, and how to choose. */
void instances_print(const struct instance *list, size_t count);

/* GET of a path there. As fetch(). */
int instance_get(const char *address, const char *path, usec timeout, struct fetch_response *ret,
		 struct err *err);
/* The same; only a status of 200 and JSON will do: NULL with `err`. Owned by the caller. */
json_t *instance_get_json(const char *address, const char *path, usec timeout, struct err *err);
