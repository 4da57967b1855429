/* One zone as the world sees it: names, records, signatures (RFC 1034, 4034, 4592). Immutable and counted: the
 * control thread builds it, any thread reads it.
 *
 * Everything is signed when it is built, nothing when it is asked for: no query makes us compute a signature,
 * and the key never leaves the control thread. A new build takes over the signatures of sets that did not
 * change.
 */
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "io/address.h"

struct dns_key;
struct dns_zone;

/* A record of the user, in presentation format (RFC 1035 §5.1). */
struct dns_record {
	const char *name; /* "www.example.com", no dot at the end */
	const char *type; /* "A", "MX", … */
	const char *data; /* "10 mail.example.com." */
	uint32_t ttl;     /* seconds */
};

/* A zone below this one that is ours, too. */
struct dns_delegation {
	const char *name;
	const char *const *name_servers;
	size_t name_server_count;
	const char *ds; /* as dns_key_ds() gives it; NULL: it is not signed */
};

/* Of records that are the zone's own, in seconds. */
#define DNS_TTL 3600

struct dns_zone_facts {
	const char *name; /* "example.com" */
	uint32_t serial;
	const char *contact; /* e-mail, for SOA; NULL: hostmaster@ the zone */
	const char *const *
		name_servers; /* at least one; those in the zone without a record of their own get the addresses */
	size_t name_server_count;
	const struct address *addresses; /* of the edge: what routed hostnames resolve to */
	size_t address_count;
	const char *const *hostnames; /* routed, "*.example.com" among them */
	size_t hostname_count;
	const struct dns_record *records;
	size_t record_count;
	const struct dns_delegation *delegations;
	size_t delegation_count;
	const struct dns_key *key; /* NULL: not signed */
	/* NULL: none. While one key takes the place of another it stands beside `key`, and signs the keys, too. */
	const struct dns_key *other_key;
	uint32_t ttl; /* of name servers, keys and the like; seconds; what is shorter anyway stays so. 0: DNS_TTL */
	usec now; /* wall time: signatures count from here */
};

/* Would the zone take the record? Checks name, type and data; E_INVALID says what is wrong with which. */
int dns_record_check(const char *zone, const struct dns_record *r, struct err *err);

/* Its data as it is kept and compared: names in full, texts quoted. Owned by the caller; NULL: E_INVALID. */
char *dns_record_canonical(const char *zone, const struct dns_record *r, struct err *err);
/* What people write, in the form of RFC 1035: TXT and the value of CAA may come without quotes, in UTF-8. Owned by the
 * caller; what else is wrong with it finds dns_record_canonical(). */
char *dns_record_from_people(const char *type, const char *data);

/* `previous` (NULL: none) stays the caller's. Records that dns_record_check() refuses are an error. */
struct dns_zone *dns_zone_build(const struct dns_zone_facts *f, const struct dns_zone *previous,
				struct err *err);
struct dns_zone *dns_zone_ref(struct dns_zone *z);
struct dns_zone *dns_zone_unref(struct dns_zone *z);

const char *dns_zone_name(const struct dns_zone *z);
uint32_t dns_zone_serial(const struct dns_zone *z);
size_t dns_zone_name_count(const struct dns_zone *z);
/* Is everything the same but for serial and signatures? Then the older one may stay. */
bool dns_zone_has_same_records(const struct dns_zone *a, const struct dns_zone *b);
/* Before it is published: what it has changed since `before` is kept for secondaries, beside what `before` kept. */
void dns_zone_follow(struct dns_zone *z, const struct dns_zone *before);
/* The longest of all records; seconds. */
uint32_t dns_zone_ttl_max(const struct dns_zone *z);
/* For how long secondaries may have an older version of a zone with that `ttl`, if nobody tells them; seconds. */
uint32_t dns_zone_lag(uint32_t ttl);
/* Has the zone the DS record of `child` for that key? *ret_ttl is its TTL then. */
bool dns_zone_vouches(const struct dns_zone *z, const char *child, const struct dns_key *k,
		      uint32_t *ret_ttl);
/* Wall time at which the first signatures should be renewed; INT64_MAX for a zone without. */
usec dns_zone_resign_at(const struct dns_zone *z);

/* --- Keys: ECDSA P-256 with SHA-256 (RFC 6605), one for both purposes ------------------------- */

struct dns_key *dns_key_new(struct err *err);
/* As dns_key_text() gave it. */
struct dns_key *dns_key_parse(const char *text, struct err *err);
/* Such a text that is not the key process's (tls/private_key.h) becomes so: 1 with the new text, owned by the caller; 0: it
 * is. */
int dns_key_box(const char *text, char **ret_text, struct err *err);
/* The private key, for the store; owned by the caller, who wipes it. */
char *dns_key_text(const struct dns_key *k);
struct dns_key *dns_key_free(struct dns_key *k);
uint16_t dns_key_tag(const struct dns_key *k);
/* The DS record that the parent zone needs (RFC 4509), with its owner; owned by the caller. */
char *dns_key_ds(const struct dns_key *k, const char *zone);
