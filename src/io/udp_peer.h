/* UDP with one peer: a connected socket of a few hundred bytes, for flows of which there may be thousands
 * (io/udp.h is one socket with many peers). One loop.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "io/address.h"
#include "io/loop.h"

/* Payloads longer than this are not taken whole: see on_datagram. More than any tunnel carries. */
#define UDP_PEER_BYTES 2048

struct udp_peer;

struct udp_peer_events {
	/* `data` is borrowed until return; is_cut: it was longer than UDP_PEER_BYTES. */
	void (*on_datagram)(void *ctx, struct bytes data, bool is_cut);
	/* ICMP says that what was sent does not arrive (ECONNREFUSED: nobody listens there). Anybody who guesses
	 * the ports can forge it. */
	void (*on_unreachable)(void *ctx, int sys_errno);
};

/* NULL and E_IO (sys_errno): no way to the address, no descriptors left. */
struct udp_peer *udp_peer_new(struct loop *l, const struct address *peer,
			      const struct udp_peer_events *events, void *ctx, struct err *err);
/* Fine in an event; nothing comes afterwards. NULL is fine; returns NULL. */
struct udp_peer *udp_peer_free(struct udp_peer *p);
/* One datagram. 0; E_AGAIN: the socket is full, it is dropped; E_LIMIT: too large for the way; E_IO. */
int udp_peer_send(struct udp_peer *p, struct bytes data);
/* The same in two pieces, without copying them together. */
int udp_peer_send_two(struct udp_peer *p, struct bytes head, struct bytes data);
/* Where it goes, and where from. */
const struct address *udp_peer_address(const struct udp_peer *p);
const struct address *udp_peer_local(const struct udp_peer *p);
