/* What a bad line does to IP packets: it loses, delays, reorders and limits them, swallows large ones or whole
 * protocols, and moves ports as a NAT that has forgotten does. The same seed loses the same packets.
 *
 * Nothing here reads or writes: main.c does, between two TUN devices. One thread. Times are clock_now(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

enum link_side { SIDE_A, SIDE_B };

struct link_settings {
	unsigned loss, reorder;     /* of 1,000,000 packets */
	usec delay;                 /* each way */
	usec jitter;                /* up to so much more; the order stays */
	usec late;                  /* how much a reordered packet comes after its turn */
	uint64_t rate;              /* bytes per second, each way; 0: any number */
	uint64_t queue;             /* bytes that wait for the rate; more are dropped */
	size_t mtu;                 /* larger packets vanish without a word; 0: none is too large */
	bool no_udp, no_tcp, no_ip; /* vanish */
};

struct link_counts {
	uint64_t passed, bytes; /* delivered */
	uint64_t lost;          /* by chance */
	uint64_t dropped;       /* no room in the queue */
	uint64_t blocked, too_large, reordered;
};

struct link;

struct link *link_new(void);
struct link *link_free(struct link *l);
struct link_settings *link_settings(struct link *l);
struct link_counts link_counts(const struct link *l);
void link_seed(struct link *l, uint64_t seed);
/* From now on A sees other ports of B than before, for TCP and UDP alike. */
void link_rebind(struct link *l);

/* A packet that came from that side. Changes its ports in place. */
void link_put(struct link *l, enum link_side from, uint8_t *packet, size_t len, usec now);
/* The next packet that is due, and where it goes; NULL: none. Valid until the next call of any function. */
const uint8_t *link_take(struct link *l, usec now, enum link_side *ret_to, size_t *ret_len);
/* When the next one is due; -1: none waits. */
usec link_next(const struct link *l);
