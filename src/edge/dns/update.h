/* Tells name servers of others of our hostnames (RFC 2136), for those who cannot delegate a zone: as routes come and
 * go, their names get and lose A and AAAA records, or a CNAME. Also TXT records for ACME's DNS-01. Control thread.
 *
 * The store knows which zones are kept elsewhere (store_dns_update) and what is there by us (store_dns_updated).
 * Records of others are never changed, except where somebody said so (`--overwrite-dns`): then the name is in
 * conflict, which is shown, and looked at again from time to time. What fails is tried again with growing pauses.
 * At the start every name is checked.
 */
#pragma once

#include "base/metrics.h"
#include "edge/dns/tsig.h"
#include "edge/dns/zone.h"
#include "io/loop.h"

struct dns_updates;
struct json_t;
struct store;

/* All borrowed for life. `addresses` are the edge's, as visitors reach it. */
struct dns_updates *dns_updates_new(struct store *store, struct loop *l,
				    const struct address *addresses, size_t address_count);
struct dns_updates *dns_updates_free(struct dns_updates *u);

/* Routes, zones or keys have changed: reads the store and does what there is to do. `keys` are borrowed until the next
 * call. E_IO and the like: the store failed. */
int dns_updates_apply(struct dns_updates *u, const struct dns_tsig_key *keys, size_t key_count,
		      struct err *err);
/* Another process has taken over, or is about to (true): nothing is sent or written until false. */
void dns_updates_pause(struct dns_updates *u, bool is_paused);

/* Does it look after the zone that the name is in? */
bool dns_updates_has(const struct dns_updates *u, const char *name);
/* These TXT records are there, and none of an earlier call; copied. Names outside of its zones are left out. `shown`
 * comes once, not inside the call, when the servers have all of them, or with why not (a later call ends an earlier one
 * without a word). NULL: nobody waits. */
void dns_updates_set_challenges(struct dns_updates *u, const struct dns_record *list, size_t count,
				void (*shown)(void *arg, const struct err *err), void *arg);

/* For `adit-edge status` (control_status_add): {zones, troubles}: how it stands with each zone, and names that their
 * server does not have as it should. */
struct json_t *dns_updates_json(void *updates);

void dns_updates_register_metrics(void);
