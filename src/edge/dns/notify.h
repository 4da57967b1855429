/* Tells secondaries of new serials (RFC 1996), so that they need not wait until they look themselves. One loop, the
 * control thread's.
 *
 * One question per zone and secondary, asked again with growing pauses for a minute, then given up: the
 * secondary finds out by itself when the zone's refresh time is over. Signed where the secondary has a key.
 */
#pragma once

#include "base/metrics.h"
#include "edge/dns/answer.h"
#include "edge/dns/peers.h"
#include "io/loop.h"

struct dns_notifier;
struct json_t;

struct dns_notifier *dns_notifier_new(struct loop *l);
struct dns_notifier *dns_notifier_free(struct dns_notifier *n);
/* These are served now: those with another serial than last time are told about; the first time, all of them (what
 * happened while nothing ran here is not known). Zones and secondaries that are gone are forgotten. Takes references
 * of its own. */
void dns_notifier_zones(struct dns_notifier *n, struct dns_zones *zones, struct dns_peers *peers);
/* For `adit-edge status` (control_status_add): of each zone and secondary the serial, and how it went. */
struct json_t *dns_notifier_json(void *notifier);

extern struct metric metric_dns_notifies[2]; /* answered, given up */
