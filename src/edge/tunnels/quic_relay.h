/* QUIC packets between an edge and those it took over from: all share the UDP sockets, the newest one reads them, and
 * what is for a connection of an older one goes there. Which one a packet is for tells the first byte of its
 * connection id: the upper two bits are the edge's range (its generation), the lower six the worker. So four edges
 * may be there at once; with more workers than QUIC_RELAY_WORKERS connections over QUIC end at a takeover.
 */
#pragma once

#include "edge/listen/sockets.h"
#include "io/address.h"

struct loop;
struct quic_relay;
struct worker;

#define QUIC_RELAY_WORKERS 64

/* Who the edges before are came with the sockets. Control thread, before workers start. */
struct quic_relay *quic_relay_new(struct sockets *sockets, int64_t generation, size_t workers);
/* The connection ids' first byte at that worker. */
unsigned quic_relay_index(const struct quic_relay *r, size_t worker);
/* Bits of that byte that name the worker. */
unsigned quic_relay_mask(const struct quic_relay *r);

/* Any thread: a packet that came to a socket of the address of that number, for a connection id with this first byte,
 * which is not ours. False: whoever it was for is not there any more. */
bool quic_relay_send(struct quic_relay *r, unsigned index, size_t number, const struct address *from,
		     const struct address *to, uint8_t ecn, struct bytes packet);
/* The worker of this edge that the first byte names; false: it is another edge's, or nobody's. Any thread. */
bool quic_relay_is_ours(const struct quic_relay *r, unsigned index, size_t *ret_worker);

/* Control thread: a successor is coming, which will send packets; among `sockets` from now on. Does it once. */
int quic_relay_offer(struct quic_relay *r, struct loop *loop, struct worker *const *workers,
		     struct err *err);
/* The successor reads now: what is not ours was read at the last moment, and is dropped. */
void quic_relay_leave(struct quic_relay *r);
/* After the worker threads have ended, before the loop is freed; NULL is fine. */
void quic_relay_close(struct quic_relay *r);
struct quic_relay *quic_relay_free(struct quic_relay *r);

/* --- What travels between the two --- */

struct relayed_packet {
	struct address from, to; /* to.len 0: not known */
	size_t number, worker;
	uint8_t ecn;
	struct bytes data; /* borrowed */
};

/* Of a packet besides its bytes. */
#define RELAYED_HEAD_BYTES 64
/* Larger ones are no QUIC packets of ours. */
#define RELAYED_PACKET_BYTES 4096

bool relayed_packet_read(struct bytes message, struct relayed_packet *ret);
/* Appends to a buffer of RELAYED_HEAD_BYTES + data; its length, 0 when it does not fit. */
size_t relayed_packet_write(const struct relayed_packet *p, uint8_t *ptr, size_t size);
