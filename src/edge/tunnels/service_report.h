/* What a connector reports about the services that it checks (adit_health, docs/wire.md): whether the service
 * behind a hostname is up is another fact than whether the tunnel is.
 *
 * Immutable and counted; any thread. The edge believes it as far as the connector's own visitors go.
 */
#pragma once

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/arena.h"

enum service_state {
	SERVICE_UNCHECKED, /* only says that the rule comes before others */
	SERVICE_UNKNOWN,   /* no result yet: usable */
	SERVICE_HEALTHY,
	SERVICE_UNHEALTHY,
};

/* Of one rule; texts may be "". */
struct service {
	unsigned rule;
	const char *hostname; /* "" every host; "*.example.com" */
	const char *path, *service, *error;
	const char *since; /* RFC 3339: in this state since then */
	enum service_state state;
};

struct service_report {
	atomic_uint refs;
	struct arena arena;   /* holds this */
	uint64_t sequence;    /* of two reports the higher one is newer */
	struct service *list; /* in the order of the rules */
	size_t count;
	size_t checked, unhealthy;
};

/* NULL when the text is no report; it may be the connector's rules, or nonsense. One reference. */
struct service_report *service_report_parse(struct bytes json);
struct service_report *service_report_ref(struct service_report *r);
struct service_report *service_report_unref(struct service_report *r); /* NULL is fine; returns NULL */

/* Is a checked service of the host down? The hostname of the first rule that matches decides. */
bool service_report_is_down(const struct service_report *r, struct bytes host);
/* The checked ones as an array for the API, owned by the caller; "state" is "healthy", "unhealthy" or
 * "unknown". */
json_t *service_report_json(const struct service_report *r);
