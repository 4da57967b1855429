/* Inside of edge/dns: what a zone is made of. */
#pragma once

#include <ldns/ldns.h>

#include "edge/dns/image.h"
#include "edge/dns/zone.h"

/* The records of one name and type, with their signatures. */
struct dns_set {
	ldns_rr_type type;
	ldns_rr_list *rrs;
	ldns_rr_list *sigs; /* NULL: not signed */
	/* The same as answers have them. */
	struct dns_image records, signatures;
};

/* A name of the zone. One without sets only has names below it (an empty non-terminal). */
struct dns_node {
	uint8_t *key; /* see dns_name_key() */
	size_t key_len;
	ldns_rdf *owner;
	struct dns_set *sets; /* by type */
	size_t set_count;
};

/* What has changed from one serial to the next, for IXFR (RFC 1995). Counted. */
struct dns_change {
	size_t refs;
	uint32_t from, to;
	ldns_rr_list *removed, *added; /* SOA left out */
	ldns_rr *soa_before, *soa_after;
};
#define DNS_CHANGES_KEPT 16

struct dns_zone {
	size_t refs;
	struct dns_set negative; /* SOA as answers have it that say "no": for as long as these may be kept */
	struct dns_change
		*changes[DNS_CHANGES_KEPT]; /* the oldest first; each ends where the next begins */
	size_t change_count;
	char *name;
	uint32_t serial;
	bool is_signed;
	usec resign_at;
	struct dns_node *nodes; /* in canonical order (RFC 4034 §6.1): the apex is the first */
	size_t count;
};

/* Labels from the root down, lower case, each with a zero behind it; bytes 0 and 1 inside of labels are
 * escaped. Sorted as bytes, keys are in canonical order; ancestors are prefixes. Returns the length. */
#define DNS_NAME_KEY_BYTES 520
/* Of a name on the wire, without pointers. */
size_t dns_name_key_of(const uint8_t *wire, size_t size, uint8_t ret[DNS_NAME_KEY_BYTES]);
size_t dns_name_key(const ldns_rdf *name, uint8_t ret[DNS_NAME_KEY_BYTES]);
int dns_name_key_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);
/* Without its last label; 0 for a name of one. */
size_t dns_name_key_parent(const uint8_t *key, size_t len);

/* The node of that name, or NULL, and where it stands or would stand. */
const struct dns_node *dns_zone_find(const struct dns_zone *z, const uint8_t *key, size_t len,
				     size_t *ret_at);
/* The last name with records before place `at` (whose NSEC covers what would stand there). */
const struct dns_node *dns_zone_before(const struct dns_zone *z, size_t at);
const struct dns_set *dns_node_set(const struct dns_node *n, ldns_rr_type type);

void dns_change_unref(struct dns_change *c);

/* A key that is good for this many seconds from `now` on signs sets. */
struct dns_signer;
struct dns_signer *dns_signer_new(const struct dns_key *k, const ldns_rdf *zone, usec now);
struct dns_signer *dns_signer_free(struct dns_signer *s);
/* DNSKEY, and, `for_parent`, CDNSKEY and CDS (RFC 7344), as one list to be taken over. */
ldns_rr_list *dns_signer_records(const struct dns_signer *s, uint32_t ttl, bool for_parent);
/* One signature. */
ldns_rr *dns_signer_sign(struct dns_signer *s, ldns_rr_list *set);
/* Whether a signature was made by this key and lasts long enough to be used again. */
bool dns_signer_accepts(const struct dns_signer *s, const ldns_rr *sig);
/* When the first of them should be renewed. */
usec dns_signature_renew_at(const ldns_rr *sig);
