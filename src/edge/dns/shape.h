/* What a query, or the answer to one of ours, may look like, before a library reads it: so that no packet makes that expensive. A pure function,
 * any thread.
 *
 * One question; at most one SOA in the authority section (IXFR, RFC 1995 §3); at most one OPT (RFC 6891 §6.1.1) and
 * one TSIG, which is the last (RFC 8945 §5.2). Names point backwards only, a few times: the library would follow
 * 65535 pointers, of every name anew.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* Longer ones are no queries: OPT with padding and TSIG have room. */
#define DNS_QUERY_BYTES 4096

struct dns_query_shape {
	size_t name_len; /* of the question's name, without pointers, which is at the packet's byte 12 */
	uint16_t qtype, qclass;
	size_t tsig_len; /* of the whole record; 0: not signed */
	bool has_opt;
	uint16_t udp_bytes; /* of OPT, from here on: what its class says */
	uint8_t edns_version;
	bool wants_signatures; /* the DO bit */
	struct bytes options;  /* borrowed from the packet */
};

/* Also fills in *ret. False: FORMERR. `packet` has a whole header. */
bool dns_query_has_shape(struct bytes packet, struct dns_query_shape *ret);

/* An answer: any records whose names point backwards only, at most one OPT and one TSIG, which is the last. Of several
 * of these the library forgets all but one, and never frees them. False: it is none. */
bool dns_reply_has_shape(struct bytes packet);
