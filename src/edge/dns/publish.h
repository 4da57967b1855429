/* From what the store knows to the zones that are served: routes, records and keys of each zone, with a new serial
 * when something has changed. Control thread.
 */
#pragma once

#include "edge/dns/answer.h"

struct dns_publisher;
struct store;

struct dns_publisher_options {
	/* All borrowed for life. */
	const char *const *name_servers; /* none: ns1.ZONE and ns2.ZONE, with the addresses below */
	size_t name_server_count;
	const struct address *addresses; /* of the edge, as visitors reach it */
	size_t address_count;
	const char *contact; /* e-mail; NULL: hostmaster@ZONE */
	bool is_signed;      /* keys are made for zones that have none */
};

struct dns_publisher *dns_publisher_new(struct store *store,
					const struct dns_publisher_options *options);
struct dns_publisher *dns_publisher_free(struct dns_publisher *p);

/* The zones as they should be now, owned by the caller; those that did not change are the same objects as last
 * time. A zone that cannot be built is served as it was, and logged. NULL: the store failed. */
struct dns_zones *dns_publisher_zones(struct dns_publisher *p, struct err *err);
/* Wall time at which to build them again at the latest, for their signatures; INT64_MAX: never. */
usec dns_publisher_renew_at(const struct dns_publisher *p);
/* The DS record for the parent; owned by the caller. E_NOT_FOUND: no such zone; makes a key when there is none. */
char *dns_publisher_ds(struct store *store, const char *zone, struct err *err);
