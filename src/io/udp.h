/* UDP sockets: many packets per system call. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "io/address.h"
#include "io/loop.h"

/* A bound, non-blocking UDP socket with ECN and packet info reported, UDP_GRO where the kernel has it, large
 * buffers as far as allowed (SO_RCVBUFFORCE only if permitted). SO_REUSEPORT is set when `shared`. Port 0
 * picks one; *address is updated. Returns the descriptor or an error. */
int udp_open(struct address *address, bool shared, struct err *err);

/* Which of the sockets that share a port gets a packet: the program (classic BPF) sees the payload and returns
 * the number of a socket, in the order they were bound. For all of them, `fd` is any. */
struct sock_filter;
int udp_steer(int fd, const struct sock_filter *program, size_t len, struct err *err);

struct udp_packet {
	struct address from, to; /* `to` has our address where the kernel told it */
	uint8_t ecn;             /* the two ECN bits */
	struct bytes data;       /* borrowed until return; may be empty */
};

struct udp_socket;

/* on_packets() gets what a turn has brought, GRO already taken apart, in several calls if it is much; no more
 * is read in a turn once there were LIMIT_UDP_PACKETS_PER_TURN. on_writable() after a send that fell short.
 * Takes the descriptor over. udp_free() may be called in an event. */
struct udp_events {
	void (*on_packets)(void *ctx, const struct udp_packet *packets, size_t count);
	void (*on_writable)(void *ctx);
	/* ICMP says that what was sent to `to` does not arrive (sys_errno: ECONNREFUSED, EHOSTUNREACH, …). Anybody
	 * who guesses the ports can forge it. NULL: nobody asks the kernel for it. */
	void (*on_unreachable)(void *ctx, const struct address *to, int sys_errno);
};
struct udp_socket *udp_new(struct loop *l, int fd, const struct udp_events *events, void *ctx);
/* For questions and answers: packets of at most `bytes` each (larger ones are ignored), from many at once. More of them
 * are read with one system call, none are put together by the kernel, and ECN is not told. */
struct udp_socket *udp_new_small(struct loop *l, int fd, size_t bytes,
				 const struct udp_events *events, void *ctx);
/* No on_packets() any more; sending goes on. Another process may read the same socket. */
void udp_stop_reading(struct udp_socket *s);
struct udp_socket *udp_free(struct udp_socket *s);
const struct address *udp_local(const struct udp_socket *s);
/* Is it bound to no address in particular? */
bool udp_is_any(const struct udp_socket *s);

/* One packet each, to whomever; what the socket or the network does not take is dropped, as the network may. None is
 * empty. Nothing is called back. */
struct udp_message {
	const struct address *from; /* as in udp_send(); NULL: the kernel chooses */
	const struct address *to;
	struct bytes data;
};
void udp_send_many(struct udp_socket *s, const struct udp_message *list, size_t count);

/* One packet of no bytes, which is a datagram like any other. 0, E_AGAIN (it is lost) or E_IO. */
int udp_send_empty(struct udp_socket *s, const struct address *from, const struct address *to,
		   struct err *err);
/* Sends `data` as packets of `segment` bytes (the last may be shorter) to one address, by GSO where the kernel
 * can. `from` (may be NULL) is the local address to send from. Returns bytes taken, a multiple of `segment`
 * or all; less means that the socket is full, on_writable() follows. E_IO when the address cannot be
 * reached (sys_errno set), E_LIMIT when `segment` is too large for the interface: what was not sent yet is
 * lost then, as packets may be. */
ssize_t udp_send(struct udp_socket *s, const struct address *from, const struct address *to,
		 uint8_t ecn, struct bytes data, size_t segment, struct err *err);
