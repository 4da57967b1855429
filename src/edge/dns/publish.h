/* From what the store knows to the zones that are served: routes, records and keys of each zone, with a new serial
 * when something has changed. Control thread.
 */
#pragma once

#include "edge/dns/answer.h"
#include "edge/dns/roll.h"

struct dns_publisher;
struct store;

struct dns_publisher_options {
	/* All borrowed for life. */
	const char *const *name_servers; /* none: ns1.ZONE and ns2.ZONE, with the addresses below */
	size_t name_server_count;
	const struct dns_record *glue; /* addresses of name servers that are not the edge's */
	size_t glue_count;
	const char *const *
		hosts; /* of the edge itself: control host and the like; they resolve in their zone */
	size_t host_count;
	const struct address *addresses; /* of the edge, as visitors reach it */
	size_t address_count;
	const char *contact; /* e-mail; NULL: hostmaster@ZONE */
	bool is_signed;      /* keys are made for zones that have none */
	uint32_t ttl,
		ds_ttl; /* seconds: of records that are the zone's own; of DS records at parents */
};

struct dns_publisher *dns_publisher_new(struct store *store,
					const struct dns_publisher_options *options);
struct dns_publisher *dns_publisher_free(struct dns_publisher *p);

/* The zones as they should be now, owned by the caller; those that did not change are the same objects as last
 * time. A zone that cannot be built is served as it was, and logged. NULL: the store failed. */
struct dns_zones *dns_publisher_zones(struct dns_publisher *p, struct err *err);
/* A zone whose parent, not one of ours, is to get a new DS record, or has just got it. */
struct dns_roll_wait {
	char *zone;
	char *ds;      /* as dns_key_ds() gives it */
	bool is_seen;  /* it is there */
	bool is_final; /* somebody said so: not to be doubted */
};
/* Borrowed until the next dns_publisher_zones(). */
const struct dns_roll_wait *dns_publisher_waits(const struct dns_publisher *p, size_t *ret_count);
/* Of the zone's key, as it was published last: the step of its roll. */
enum dns_roll_step dns_publisher_roll_step(const struct dns_publisher *p, const char *zone);
/* TXT records beside those of the store, from the next dns_publisher_zones() on; copied. Names outside of all zones
 * are left out. */
void dns_publisher_set_challenges(struct dns_publisher *p, const struct dns_record *list,
				  size_t count);
/* Why a zone could not be built the last time (*err as it is set then); true: all could. */
bool dns_publisher_is_well(const struct dns_publisher *p, struct err *err);
/* Wall time at which to build them again at the latest, for their signatures; INT64_MAX: never. */
usec dns_publisher_renew_at(const struct dns_publisher *p);
/* The DS record for the parent; owned by the caller. E_NOT_FOUND: no such zone; makes a key when there is none. */
char *dns_publisher_ds(struct store *store, const char *zone, struct err *err);
