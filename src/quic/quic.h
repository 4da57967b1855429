/* QUIC (RFC 9000, 9001, 9002, 9221) over UDP: hides that it is ngtcp2 with GnuTLS.
 *
 * An endpoint is one UDP socket with any number of connections in either role; it belongs to one loop,
 * and so does everything below it. Packets are read and written in batches (recvmmsg and UDP_GRO, GSO),
 * paced, with ECN and path MTU discovery; one timer drives all connections of an endpoint.
 *
 * Rules, the same as in h2_session.h: no event arrives inside a call; calls may be made in any event. A write may take fewer bytes than
 * offered, on_writable() then follows. Received bytes count against the stream's window until
 * quic_stream_consume() gives them back. A stream's on_closed comes once and last; all streams' come
 * before the connection's.
 */
#pragma once

#include "base/clock.h"
#include "io/address.h"
#include "tls/tls.h"

struct quic_endpoint;
struct quic_conn;
struct quic_stream;

/* --- Endpoints ------------------------------------------------------------------------------- */

/* In on_stream_closed(): no code of an application, the connection has failed under the stream. */
#define QUIC_CODE_LOST UINT64_MAX

struct quic_events {
	/* Server: a connection whose handshake is done. Set its context here; quic_conn_close() refuses it.
	 * Without this event no connection is accepted. */
	void (*on_accept)(struct quic_endpoint *e, struct quic_conn *c);
	/* Client: the handshake is done. Either this or on_closed comes. */
	void (*on_ready)(struct quic_conn *c);
	/* The peer opened a bidirectional stream. */
	void (*on_stream)(struct quic_conn *c, struct quic_stream *st);
	/* The same of a unidirectional one, of which only the peer's side is there. NULL: it is told to stop. */
	void (*on_uni_stream)(struct quic_conn *c, struct quic_stream *st);
	/* Bytes in order, borrowed until return: take them all. `fin`: the peer's side has ended. */
	void (*on_data)(struct quic_stream *st, struct bytes data, bool fin);
	void (*on_writable)(struct quic_stream *st);
	/* The peer has reset its side (RESET_STREAM), or wants no more of ours (STOP_SENDING): which of the
	 * two, and the application's code. Our own side is not touched; a STOP_SENDING makes what we still
	 * write go nowhere. */
	void (*on_peer_reset)(struct quic_stream *st, uint64_t code);
	void (*on_peer_stop)(struct quic_stream *st, uint64_t code);
	/* Once and last: both sides are over, or the connection is. `code` is the application's code when
	 * either side was reset or the connection was closed with one, 0 when both ended well or the connection
	 * closed without an error, QUIC_CODE_LOST when it failed. */
	void (*on_stream_closed)(struct quic_stream *st, uint64_t code);
	/* Borrowed until return. */
	void (*on_datagram)(struct quic_conn *c, struct bytes data);
	/* Datagrams fit again after quic_send_datagram() took none. */
	void (*on_datagram_room)(struct quic_conn *c);
	/* The peer's address has changed and the new path was validated. */
	void (*on_migrated)(struct quic_conn *c);
	/* The peer's port is closed, ICMP says. A hint and no more: whoever guesses the ports can forge it, so ask
	 * (quic_conn_ping()). NULL: nobody wants to know. Before a client's first packet from its server it fails the
	 * connection instead (E_REFUSED). */
	void (*on_unreachable)(struct quic_conn *c);
	/* The first bidirectional stream may be opened, or more of them, after quic_open() gave NULL. */
	void (*on_streams_available)(struct quic_conn *c);
	/* Once and last; the connection is gone after return. E_CLOSED: closed by the application of either
	 * side, whatever its code (quic_close_code() tells it), by QUIC without an error, or by a peer that has
	 * forgotten it; E_TIMEOUT: idle, or no handshake; E_REFUSED: the port is closed, or the server takes no
	 * more; E_IO (handshake): no way to the address; E_TLS; E_PROTOCOL. */
	void (*on_closed)(struct quic_conn *c, const struct err *why);
};

struct quic_limits {
	uint64_t stream_window,
		stream_window_max; /* receive: at first, and as it grows with the path */
	uint64_t conn_window, conn_window_max;
	uint64_t peer_streams;     /* bidirectional ones the peer may have open */
	uint64_t peer_uni_streams; /* unidirectional ones; 0: none */
	size_t max_datagram;       /* largest DATAGRAM payload we take; 0: none */
	int64_t idle_ms;           /* silence that ends a connection */
	int64_t keepalive_ms;      /* a PING after this silence; 0: none */
	int64_t handshake_ms;
	size_t max_connections; /* of a server endpoint; beyond it new ones are refused */
	size_t send_queue;      /* bytes of one stream taken and not yet acknowledged */
	/* Bytes of all streams of a connection received and not consumed. The connection's window is given back at
	 * receipt up to here, so that stalled streams do not stop the others; beyond it as they are consumed. */
	uint64_t held_max;
};
void quic_limits_default(struct quic_limits *limits); /* LIMIT_QUIC_* */

struct quic_server_options {
	struct tls_context *tls; /* counted; its ALPN list decides */
	/* Retry (RFC 9000 §8.1.2) for every new address: always, or only while more than this many handshakes
	 * are not done. 0: always. */
	size_t retry_above;
	/* Seals Retry tokens and stateless reset tokens (32 bytes): the same for all endpoints of the process, so
	 * that a worker can answer for another, and kept over a restart if the caller keeps it. */
	struct bytes secret;
	/* Packets whose connection belongs to another endpoint (by its id, whose first byte is `index` of its
	 * endpoint): called instead of a stateless reset. Must copy. False: nobody has that index, a reset is
	 * the answer after all. NULL: there are no others. */
	bool (*on_foreign)(void *ctx, unsigned index, const struct address *from,
			   const struct address *to, uint8_t ecn, struct bytes packet);
	unsigned index;      /* of this endpoint, 0 to 255 */
	bool takes_visitors; /* HTTP/3 comes here, too: for whoever sets the limits */
	/* The kernel sorts ICMP by addresses: a port is closed that no connection of this endpoint has. See
	 * quic_endpoint_unreachable(). NULL: there are no others. */
	void (*on_foreign_unreachable)(void *ctx, const struct address *to);
};

/* Takes a bound, non-blocking UDP socket over (udp_open). `server` NULL: no connection is accepted. */
struct quic_endpoint *quic_endpoint_new(struct loop *l, int fd, const struct quic_limits *limits,
					const struct quic_server_options *server,
					const struct quic_events *events, void *ctx);
void *quic_endpoint_ctx(struct quic_endpoint *e);
struct loop *quic_endpoint_loop(struct quic_endpoint *e);
/* For handshakes from now on; counted. Server. */
void quic_endpoint_set_tls(struct quic_endpoint *e, struct tls_context *tls);
/* `count` endpoints have sockets that share a port (udp_open), opened in the order of their indices (their bits in
 * `mask`): the kernel then gives each packet to the endpoint its connection id names, so that few are foreign. For one of the
 * sockets, before or after quic_endpoint_new(). It is a hint: once sockets of the port come or go the order may
 * differ. Without it (E_UNSUPPORTED) addresses decide. */
int quic_steer(int fd, unsigned mask, unsigned count, struct err *err);
/* A packet that another endpoint was handed and that is ours: see on_foreign. */
void quic_endpoint_feed(struct quic_endpoint *e, const struct address *from,
			const struct address *to, uint8_t ecn, struct bytes packet);
/* Another endpoint was told that this port is closed: see on_foreign_unreachable. */
void quic_endpoint_unreachable(struct quic_endpoint *e, const struct address *to);
size_t quic_endpoint_connection_count(const struct quic_endpoint *e);
/* No new connections from now on. */
void quic_endpoint_stop_accepting(struct quic_endpoint *e);
/* Reads nothing from its sockets from now on: somebody else does, and hands over what is ours
 * (quic_endpoint_feed). Server. */
void quic_endpoint_stop_reading(struct quic_endpoint *e);
/* Closes every connection (application code 0) and then itself; no event comes any more. */
struct quic_endpoint *quic_endpoint_free(struct quic_endpoint *e);

/* --- Connections ----------------------------------------------------------------------------- */

/* Client. `server_name` is sent as SNI and verified. NULL and an error when it cannot even start. */
struct quic_conn *quic_connect(struct quic_endpoint *e, const struct address *to,
			       struct tls_context *tls, struct bytes server_name, void *ctx,
			       struct err *err);
void quic_conn_set_ctx(struct quic_conn *c, void *ctx);
void *quic_conn_ctx(struct quic_conn *c);
/* From now on these events come for it in place of its endpoint's (on_accept stays the endpoint's), and this much may be
 * held: see struct quic_limits. In on_accept: an endpoint whose connections speak different protocols. */
void quic_conn_set_events(struct quic_conn *c, const struct quic_events *events, uint64_t held_max);
/* Server, once the handshake is done: the policy it was under and the client's certificate; NULL: none. Borrowed. */
const struct tls_policy *quic_conn_policy(const struct quic_conn *c);
const struct tls_peer *quic_conn_certificate(const struct quic_conn *c);
struct quic_endpoint *quic_conn_endpoint(struct quic_conn *c);
const struct address *quic_conn_peer(const struct quic_conn *c);
const struct address *quic_conn_local(const struct quic_conn *c);
struct bytes quic_conn_server_name(const struct quic_conn *c); /* SNI; lower case; borrowed */
struct bytes quic_conn_alpn(const struct quic_conn *c);
bool quic_conn_takes_datagrams(const struct quic_conn *c);
/* Largest payload of a DATAGRAM now; 0: none. */
size_t quic_max_datagram(const struct quic_conn *c);
/* Whole or not at all; false: no room for now, or too large. May be lost on the way. */
bool quic_send_datagram(struct quic_conn *c, struct bytes data);
/* From now on a PING after each `every_ms` of silence; 0: as the limits say. An answer shows in
 * quic_conn_last_heard(). */
void quic_conn_ping(struct quic_conn *c, int64_t every_ms);
/* Time of the last packet from the peer (loop time). */
usec quic_conn_last_heard(const struct quic_conn *c);

struct quic_facts {
	usec min_rtt, latest_rtt, smoothed_rtt;
	uint64_t congestion_window, bytes_in_flight;
	uint64_t sent_packets, received_packets;
	uint64_t lost_packets; /* of those with bytes of streams */
	uint64_t sent_bytes, received_bytes;
	size_t path_mtu; /* UDP payload */
};
void quic_conn_facts(const struct quic_conn *c, struct quic_facts *ret);

/* Client: the local address is gone or a better one is there: goes on from another socket (RFC 9000 §9).
 * Takes the descriptor over; the old socket is closed when no connection of the endpoint uses it. */
int quic_endpoint_rebind(struct quic_endpoint *e, int fd, struct err *err);
/* Ends it: CONNECTION_CLOSE with the application's code; streams and connection get their closed events
 * on a later turn. */
void quic_conn_close(struct quic_conn *c, uint64_t code, const char *reason);
/* It is closing or closed: what still comes are the closed events. */
bool quic_conn_is_over(const struct quic_conn *c);
/* In on_closed: the application's code, of whichever side closed; false when it was not the application. */
bool quic_close_code(const struct quic_conn *c, uint64_t *ret);

/* --- Streams --------------------------------------------------------------------------------- */

/* NULL: the peer allows no more for now (on_streams_available follows) or the connection is closing. */
struct quic_stream *quic_open(struct quic_conn *c, void *ctx);
/* The same for a unidirectional stream; nothing tells when there may be more. */
struct quic_stream *quic_open_uni(struct quic_conn *c, void *ctx);
bool quic_stream_is_uni(const struct quic_stream *st);
size_t quic_stream_count(const struct quic_conn *c);
void quic_stream_set_ctx(struct quic_stream *st, void *ctx);
void *quic_stream_ctx(struct quic_stream *st);
struct quic_conn *quic_stream_conn(struct quic_stream *st);
/* Has anything of what was written left, ever? If not the peer has not seen the stream. */
bool quic_stream_has_sent(const struct quic_stream *st);
int64_t quic_stream_id(const struct quic_stream *st);
/* Takes all or a part; less means on_writable() follows. With `fin` the end is sent when and only when all
 * of `data` was taken. After a reset, a STOP_SENDING or the end, everything is taken and goes nowhere. */
size_t quic_stream_write(struct quic_stream *st, struct bytes data, bool fin);
/* What a write would take; 0: on_writable() follows. */
size_t quic_stream_room(struct quic_stream *st);
/* Takes all: only for what the caller bounds itself, as by quic_stream_room(). */
void quic_stream_write_all(struct quic_stream *st, struct bytes data, bool fin);
/* Our end was taken: what was written arrives, and nothing more is. */
bool quic_stream_has_ended(const struct quic_stream *st);
/* Bytes taken and not yet acknowledged. */
size_t quic_stream_queued(const struct quic_stream *st);
/* Gives `n` bytes of window back, to the stream and the connection. */
void quic_stream_consume(struct quic_stream *st, size_t n);
/* RESET_STREAM: what was written and is not acknowledged is given up. */
void quic_stream_reset(struct quic_stream *st, uint64_t code);
/* STOP_SENDING: nothing more is wanted; no on_data() follows. */
void quic_stream_stop(struct quic_stream *st, uint64_t code);
