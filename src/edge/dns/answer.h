/* From a query to its answer (RFC 1034 §4.3.2, 2308, 4035 §3, 4592, 6891, 7873, 8482): a pure function of the
 * packet and of the zones, any thread.
 */
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "edge/dns/zone.h"

/* All zones of the edge; counted, immutable. */
struct dns_zones;
/* Takes the references over, not the array. */
struct dns_zones *dns_zones_new(struct dns_zone *const *zones, size_t count);
struct dns_zones *dns_zones_ref(struct dns_zones *z);
struct dns_zones *dns_zones_unref(struct dns_zones *z);
size_t dns_zones_count(const struct dns_zones *z);
struct dns_zone *dns_zones_at(const struct dns_zones *z, size_t i);
/* By exact name, any case; NULL. */
struct dns_zone *dns_zones_by_name(const struct dns_zones *z, const char *name);

#define DNS_COOKIE_SECRET_BYTES 16
/* Larger answers go over TCP: what passes any path unfragmented (DNS flag day 2020). */
#define DNS_UDP_BYTES 1232
#define DNS_MESSAGE_BYTES 65535

struct dns_service {
	const struct dns_zones *zones;
	const char *id; /* of this server, for NSID; "": none */
	/* Two of them, the new one first, so that cookies outlive a change (RFC 9018 §5). */
	uint8_t cookie_secrets[2][DNS_COOKIE_SECRET_BYTES];
};

struct dns_query {
	struct bytes packet;
	const struct address *from;
	bool is_stream; /* TCP */
	usec now;       /* wall time */
};

enum dns_action {
	DNS_DROP,     /* not worth an answer */
	DNS_ANSWER,   /* it stands in `out` */
	DNS_TRANSFER, /* AXFR or IXFR over TCP: edge/dns/transfer.h goes on */
};

struct dns_outcome {
	int rcode;      /* extended (RFC 6891 §6.1.3) */
	uint16_t qtype; /* 0: none was read */
	bool is_signed; /* the query has a TSIG: edge/dns/tsig.h finishes the answer */
	bool is_known;  /* the client has proven its address: by a cookie, or TCP */
	/* Where in a zone the answer is from: what response rate limiting counts by. A hash: answers from one
	 * wildcard, and all about names that do not exist in one zone, have the same. */
	uint64_t source;
};

/* `out` has room for DNS_MESSAGE_BYTES, over UDP DNS_UDP_BYTES are enough; *ret_len of them are used. */
enum dns_action dns_answer(const struct dns_service *s, const struct dns_query *q, uint8_t *out,
			   size_t *ret_len, struct dns_outcome *outcome);
/* The same question answered with "come back over TCP", for who is asking too much. Works on an answer of
 * dns_answer(), in place. */
void dns_truncate(uint8_t *answer, size_t *len);
