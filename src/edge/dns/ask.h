/* One question to another name server over UDP, sent again until it is answered: what NOTIFY (RFC 1996) and updates
 * (RFC 2136) have in common. One loop.
 *
 * An answer counts when it comes from that address to the port we asked from, has our id and opcode, and, where
 * we signed, is signed by the same key (RFC 8945 §5.3). Anything else is ignored, and remembered for the reason
 * that is given when the time is over.
 */
#pragma once

#include <ldns/ldns.h>

#include "edge/dns/tsig.h"
#include "io/address.h"
#include "io/loop.h"

struct dns_asking {
	const struct address *server;   /* copied */
	const struct dns_tsig_key *key; /* borrowed for life; NULL: not signed */
	unsigned attempts;              /* at least 1 */
	int64_t first_ms; /* until the second one; twice as long each time after that */
};

struct dns_ask;
/* Takes the packet over. `done` is called once, never from here, and may free the object. rcode is the answer's, or -1:
 * there was none, `err` says why. */
struct dns_ask *dns_ask_new(struct loop *l, const struct dns_asking *how, ldns_pkt *question,
			    void (*done)(void *ctx, int rcode, const struct err *err), void *ctx);
/* Nothing is called afterwards. NULL is fine; returns NULL. */
struct dns_ask *dns_ask_free(struct dns_ask *a);

/* What was answered, in `done`: borrowed until its return, or the object is freed; NULL: nothing was. */
const ldns_pkt *dns_ask_answer(const struct dns_ask *a);

/* --- Answers ---------------------------------------------------------------------------------- */

enum dns_reply_verdict {
	DNS_REPLY_FOREIGN,  /* not an answer to this */
	DNS_REPLY_UNSIGNED, /* perhaps one; not signed, or not as it should be */
	DNS_REPLY_GOOD,
};
struct dns_reply {
	int rcode;
	int tsig_error; /* 16 to 18, or 0 */
};
/* What a question was, as far as its answer must match. */
struct dns_asked {
	uint16_t id;
	uint8_t opcode;
	const struct dns_tsig_key *key; /* NULL: not signed */
	const struct dns_tsig_mac *mac;
};
/* A pure function; any bytes. *ret is filled in unless the answer is foreign. */
enum dns_reply_verdict dns_reply_read(struct bytes packet, const struct dns_asked *asked, usec now,
				      struct dns_reply *ret);

/* "NOTAUTH", and what it means: "the server is not authoritative for the zone, or refuses the key". Static. */
const char *dns_rcode_name(int rcode);
const char *dns_rcode_meaning(int rcode);
