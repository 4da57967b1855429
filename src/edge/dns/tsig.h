/* Signed messages between name servers (RFC 8945): HMAC-SHA256 and its relatives with keys that both sides have.
 * Pure, any thread.
 */
#pragma once

#include <ldns/ldns.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"

struct dns_tsig_key {
	const char *name;      /* "transfer.example.com", no dot at the end */
	const char *algorithm; /* "hmac-sha256." */
	const char *secret;    /* base64 */
};

/* "hmac-sha256" with or without a dot; NULL: none that is supported. */
const char *dns_tsig_algorithm(const char *name);
/* What is wrong with it: E_INVALID. */
int dns_tsig_check_key(const struct dns_tsig_key *k, struct err *err);

enum dns_tsig { DNS_TSIG_NONE, DNS_TSIG_GOOD, DNS_TSIG_BAD };

/* Is the message signed by one of the keys, now? *ret_key says by which, *ret_mac (owned by the caller,
 * ldns_rdf_deep_free) is what the answer's signature builds on. */
enum dns_tsig dns_tsig_verify(ldns_pkt *p, struct bytes wire, const struct dns_tsig_key *keys,
			      size_t key_count, usec now, const struct dns_tsig_key **ret_key,
			      ldns_rdf **ret_mac);
/* Is this the answer of who has the key to what we have signed, with `mac`? */
enum dns_tsig dns_tsig_verify_answer(ldns_pkt *p, struct bytes wire, const struct dns_tsig_key *k,
				     usec now, const ldns_rdf *mac);
/* What the other side says was wrong with ours (BADSIG, BADKEY, BADTIME: RFC 8945 §5.2); 0: nothing. Never
 * signed itself. */
int dns_tsig_error(const ldns_pkt *p);
/* Signs; *mac is replaced by the signature's, for the next message of a stream (`is_next`). */
int dns_tsig_sign(ldns_pkt *p, const struct dns_tsig_key *k, ldns_rdf **mac, bool is_next);

/* An ordinary answer to a query that was signed: signs it in place, or replaces it by NOTAUTH. `answer` has room
 * for `size` bytes. */
void dns_tsig_answer(struct bytes query, const struct dns_tsig_key *keys, size_t key_count,
		     usec now, uint8_t *answer, size_t *len, size_t size);
