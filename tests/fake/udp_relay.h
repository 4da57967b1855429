/* A bad network between one client and one server, on a loop: drops, repeats, reorders, delays and limits UDP
 * packets, the same ones for the same seed. */
#pragma once

#include "io/udp.h"

struct udp_relay;

struct udp_relay_options {
	unsigned loss, repeat, reorder; /* of 10000 packets; a reordered one is 5 ms late */
	usec delay;                     /* each way */
	uint64_t bytes_per_sec;         /* each way; 0: any number */
	size_t queue_bytes;             /* what waits for that rate; 0: 256 KiB */
	size_t mtu;                     /* larger packets are dropped; 0: none is too large */
	uint64_t seed;
	bool rebinds_at_retry;
	bool loses_answers; /* all that the server sends */
};

struct udp_relay *udp_relay_new(struct loop *l, const struct address *server,
				const struct udp_relay_options *options);
struct udp_relay *udp_relay_free(struct udp_relay *r);
/* What the client sends to. */
const struct address *udp_relay_address(const struct udp_relay *r);
struct udp_relay_options *udp_relay_options(struct udp_relay *r);
/* The server sees another client address from now on, as behind a NAT that has forgotten. */
void udp_relay_rebind(struct udp_relay *r);

struct udp_relay_counts {
	uint64_t packets, lost, repeated, reordered, too_large, marked; /* marked: with ECN bits */
	size_t largest;
	uint64_t retries; /* of QUIC version 1 */
};
struct udp_relay_counts udp_relay_counts(const struct udp_relay *r);
