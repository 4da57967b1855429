/* Zones for secondaries: AXFR (RFC 5936) and IXFR (RFC 1995) over TCP, for those whom the operator named by address
 * or key, the answers signed where the question was.
 */
#pragma once

#include "edge/dns/answer.h"
#include "edge/dns/tsig.h"
#include "io/network.h"

/* One who may have the zones. */
struct dns_secondary {
	bool has_network; /* else from anywhere, and the key is needed */
	struct network network;
	const struct dns_tsig_key *key; /* borrowed for life; NULL: the address is enough */
	struct address notify;          /* told of each new serial (RFC 1996); len 0: not */
};

struct dns_transfers {
	const struct dns_tsig_key *keys;
	size_t key_count;
	const struct dns_secondary *secondaries;
	size_t secondary_count;
};

struct dns_transfer;

/* For a query that dns_answer() called a transfer. NULL: refused, and `out` (DNS_MESSAGE_BYTES) has the answer. */
struct dns_transfer *dns_transfer_new(const struct dns_zones *zones,
				      const struct dns_transfers *allowed,
				      const struct dns_query *q, uint8_t *out, size_t *ret_len);
/* The next message into `out`; false: there is none any more. */
bool dns_transfer_next(struct dns_transfer *t, uint8_t *out, size_t *ret_len);
struct dns_transfer *dns_transfer_free(struct dns_transfer *t);
