/* Signed messages between name servers (RFC 8945): HMAC-SHA256 and its relatives with keys that both sides have. On the
 * bytes of messages, as the signature is. Pure, any thread.
 */
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "tls/hmac.h"

struct dns_tsig_key {
	const char *name;      /* "transfer.example.com", no dot at the end */
	const char *algorithm; /* "hmac-sha256.": as dns_tsig_algorithm() gives it */
	const char *secret;    /* base64 */
};

/* "hmac-sha256" with or without a dot; NULL: none that is supported. */
const char *dns_tsig_algorithm(const char *name);
/* What is wrong with it: E_INVALID. Keys that are used below have passed this. */
int dns_tsig_check_key(const struct dns_tsig_key *k, struct err *err);

/* The MAC of a message, on which the next one's builds. */
struct dns_tsig_mac {
	uint8_t bytes[HMAC_BYTES_MAX];
	size_t len; /* 0: there was none */
};

enum dns_tsig {
	DNS_TSIG_NONE, /* not signed */
	DNS_TSIG_GOOD,
	DNS_TSIG_BAD_FORM,
	/* With the codes of §3. */
	DNS_TSIG_BAD_MAC = 16,
	DNS_TSIG_BAD_KEY = 17, /* name or algorithm */
	DNS_TSIG_BAD_TIME = 18,
};

/* Is the message signed by one of the keys, now? *ret_key says by which, *ret_mac is what the answer's signature builds
 * on: both are filled in when the MAC is right, with a time that is not. MACs are compared in constant time. */
enum dns_tsig dns_tsig_verify(struct bytes message, const struct dns_tsig_key *keys,
			      size_t key_count, usec now, const struct dns_tsig_key **ret_key,
			      struct dns_tsig_mac *ret_mac);
/* Is this the answer of who has the key to what we have signed, with `mac`? */
enum dns_tsig dns_tsig_verify_answer(struct bytes message, const struct dns_tsig_key *k, usec now,
				     const struct dns_tsig_mac *mac);
/* What the other side says was wrong with ours (BADSIG, BADKEY, BADTIME: §5.2); 0: nothing. */
int dns_tsig_error(struct bytes message);

/* Signs the message of *len bytes in place; it has room for `size`. *mac is replaced by the signature's, for the next
 * message of a stream (`is_next`). False: there is no room. */
bool dns_tsig_sign(uint8_t *message, size_t *len, size_t size, const struct dns_tsig_key *k,
		   usec now, struct dns_tsig_mac *mac, bool is_next);

/* An ordinary answer to a query that was signed: signs it in place, or replaces it by NOTAUTH and what was wrong.
 * `answer` has room for `size` bytes, and for the query's length at least. */
void dns_tsig_answer(struct bytes query, const struct dns_tsig_key *keys, size_t key_count,
		     usec now, uint8_t *answer, size_t *len, size_t size);
