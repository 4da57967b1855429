/* Other name servers: keys that we share with them, and which of them may have whole zones. Counted, immutable: the
 * control thread makes it from the store, any thread reads it.
 */
#pragma once

#include "edge/dns/transfer.h"

struct dns_peers;
struct store;

/* A secondary as the store has it. */
struct dns_peer {
	const char *key;       /* name of the key that it has to sign with */
	struct address notify; /* told of each new serial (RFC 1996); len 0: not */
};

/* Everything is copied. Peers whose key is not there are left out. */
struct dns_peers *dns_peers_new(const struct dns_tsig_key *keys, size_t key_count,
				const struct dns_peer *peers, size_t peer_count);
/* As the store has them. NULL: it failed. */
struct dns_peers *dns_peers_load(struct store *store, struct err *err);
struct dns_peers *dns_peers_ref(struct dns_peers *p);
struct dns_peers *dns_peers_unref(struct dns_peers *p);

/* Borrowed from it. */
const struct dns_transfers *dns_peers_allowed(const struct dns_peers *p);
/* NULL: there is none of that name (any case). */
const struct dns_tsig_key *dns_peers_key(const struct dns_peers *p, const char *name);
