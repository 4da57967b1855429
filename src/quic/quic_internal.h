/* What the files of quic/ share. Never included from outside the folder.
 *
 * endpoint.c   sockets; whose packet is it      conn.c       a connection's life
 * stateless.c  answers without a connection     callbacks.c  what ngtcp2 tells
 * closed.c     what a closed one leaves behind  frames.c     what ngtcp2 keeps to itself
 * ids.c        connection ids, who owns them    output.c     packets from what is queued
 * expiry.c     one timer for all                stream.c     queues, windows, events
 *                                               datagram.c   DATAGRAM frames
 *
 * The order of things: packets of a turn are read (ngtcp2 calls back, and events about what has arrived go to
 * the user at once), then owed events are delivered, then everything leaves in one flush. Calls of the user only
 * note what is wanted; ngtcp2 hears of it in the flush, where none of its own callbacks is running. A connection
 * dies in its deferred delivery and nowhere else.
 */
#pragma once

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "io/loop.h"
#include "io/udp.h"
#include "quic/quic.h"
#include "tls/tls_quic.h"

/* Our connection ids: the endpoint's index, then random bytes. Long enough not to be guessed, short because
 * every packet carries one. */
#define CID_BYTES 10
#define SECRET_BYTES 32
/* Ids of the peer in use at once: the path's, an old one's, one that is tried. */
#define RESET_TOKENS 4
#define NSEC_PER_MSEC ((uint64_t)1000000)
/* One GSO send, and a packet that did not fit into it any more. */
#define OUT_BYTES (64 * 1024)

struct quic_socket {
	struct list node;
	struct quic_endpoint *endpoint;
	struct udp_socket *udp; /* owned */
	usec retires_at;        /* 0: in use */
};

/* Who packets with a connection id belong to: the first member of a connection and of what it leaves. */
struct quic_owner {
	enum { OWNER_CONN, OWNER_CLOSED } kind;
};

struct quic_endpoint {
	uint32_t magic;
	struct loop *loop;
	const struct quic_events *events; /* borrowed, static */
	void *ctx;                        /* borrowed, the user's */
	struct quic_limits limits;

	/* Server. */
	bool is_server, is_accepting;
	struct tls_context *tls; /* counted; NULL: no server */
	size_t retry_above;
	bool (*on_foreign)(void *ctx, unsigned index, const struct address *from,
			   const struct address *to, uint8_t ecn, struct bytes packet);
	void (*on_foreign_unreachable)(void *ctx, const struct address *to);
	uint8_t index;
	uint8_t secret[SECRET_BYTES];

	struct quic_socket *socket; /* owned; what new connections use */
	struct list old_sockets;    /* owned, after a change of address */

	struct list conns; /* owned */
	size_t conn_count, handshake_count;
	struct map *owners; /* connection id → struct quic_owner */
	struct map *resets; /* stateless reset token of a peer → struct quic_conn */
	struct list closed; /* owned struct quic_closed, oldest first */
	size_t closed_count;
	struct timer sweep; /* of closed connections and old sockets */

	struct quic_conn **heap; /* owned array, borrowed members: who has to be woken first */
	size_t heap_len, heap_cap;
	struct loop_alarm *alarm;

	struct list dirty; /* connections that may have something to send */
	struct deferred flush;
	struct list handed_over; /* owned struct handed_packet */
	size_t handed_over_count;
	struct deferred read_handed_over;

	uint8_t *out; /* owned, OUT_BYTES */
	/* What the kernel had no room for, in `out`; nothing else is sent before it. */
	struct {
		size_t at, len, segment;
		struct quic_socket *socket; /* borrowed */
		bool has_from;
		struct address from, to;
		uint8_t ecn;
	} stuck;

	ngtcp2_tstamp now; /* of the batch that is read or written */
	usec stateless_since;
	unsigned stateless_count;
	usec unreachable_since;
	unsigned unreachable_count;

	int busy;     /* in an entry point: nothing below may be freed */
	bool is_dead; /* quic_endpoint_free() was called meanwhile */
};

enum conn_end {
	END_SILENT,  /* nothing is sent, nothing is remembered */
	END_DRAIN,   /* the peer has closed: nothing is sent, late packets are swallowed */
	END_CLOSING, /* CONNECTION_CLOSE */
};

struct quic_stop {
	int64_t id;
	uint64_t code;
};

struct quic_conn {
	struct quic_owner owner;
	uint32_t magic;
	struct quic_endpoint *endpoint;
	const struct quic_events *events; /* borrowed: the endpoint's, or its own */
	void *ctx;                        /* borrowed, the user's */
	ngtcp2_conn *ng;
	ngtcp2_crypto_conn_ref ref;
	struct tls_quic *tls; /* owned; NULL once the handshake is done */
	struct tls_quic *facts; /* owned; what is left of it then; NULL: nothing that somebody asks for */
	bool is_server;
	bool is_handshaking; /* counted in the endpoint's handshakes */
	bool is_done;        /* the handshake */
	bool is_ready;       /* and the user was told */
	struct list node, dirty_node;
	size_t heap_at; /* index + 1; 0: not in the heap */
	usec expires_at;

	uint8_t reset_tokens[RESET_TOKENS][NGTCP2_STATELESS_RESET_TOKENLEN];
	unsigned reset_token_count; /* of the peer's ids that are in use */
	ngtcp2_cid client_dcid; /* server: what the client called us at first; also an id of ours */
	struct address peer, local;
	char *server_name, *alpn; /* owned; NULL: none */
	bool wants_migration;     /* client: to the endpoint's socket */
	usec last_heard;
	uint64_t sent_packets, sent_bytes, received_packets, received_bytes, lost_packets;

	/* A path whose MTU has shrunk without a word swallows large packets and lets small ones through. */
	usec large_since; /* a large packet with a stream's bytes has left, and none was acknowledged since; 0: none */
	usec small_until; /* packets are small till then; 0: as large as the path was found to take */
	int64_t small_ms; /* for how long the next time */

	/* Streams. */
	struct list streams; /* owned; live */
	struct map *streams_by_id;
	size_t stream_count;
	struct list sendable;  /* have something to send, in turn */
	struct list blocked;   /* would have, but for their own window */
	struct list starved;   /* would have, but for the connection's */
	struct list requests;  /* with credit, a reset or a stop for ngtcp2 */
	struct list wakes;     /* are owed on_writable() */
	struct list gone;      /* owned; are owed on_stream_closed() */
	uint64_t held_max;     /* as in struct quic_limits */
	uint64_t held;         /* received by streams, not consumed */
	uint64_t owed;         /* of it, not given back to the connection's window */
	uint64_t credit;       /* to be given back to it in the flush */
	size_t unsent;         /* of all streams */
	size_t closed_by_peer; /* streams of the peer that have ended: it may open as many again */

	struct quic_stop *stops; /* owned; STOP_SENDING frames of the packet that is read */
	size_t stop_count, stop_cap;

	/* Datagrams. */
	struct list datagrams; /* owned struct datagram */
	size_t datagram_count;
	bool is_stream_turn; /* the last packet began with datagrams */
	size_t datagram_max; /* what the peer takes, without frame header; 0: none */

	/* Owed events. */
	struct deferred deliver;
	bool owes_ready, owes_streams, owes_room;
	bool wants_streams, wants_room;

	/* The end. */
	bool is_ending;
	bool got_reset;        /* stateless */
	bool is_flushed_first; /* closed by the user: what was written leaves before */
	enum conn_end end;
	struct err why;
	ngtcp2_ccerr close; /* END_CLOSING; its reason points at `reason` */
	char reason[128];
	bool has_app_code;
	uint64_t app_code;
	uint64_t stream_code; /* for on_stream_closed() of streams that were cut off */
};

struct send_chunk;

struct quic_stream {
	uint32_t magic;
	struct quic_conn *conn;
	void *ctx; /* borrowed, the user's */
	int64_t id;
	struct list node;         /* streams, gone */
	struct list send_node;    /* sendable, blocked, starved */
	struct list request_node; /* requests */
	struct list wake_node;    /* wakes */
	bool is_announced;

	/* Ours to the peer. */
	struct send_chunk *head, *tail; /* owned; taken and not acknowledged */
	struct send_chunk *next; /* borrowed; of the first byte that has not left; NULL: all have */
	size_t next_at;          /* offset in it */
	size_t queued, unsent;
	size_t turn;   /* bytes sent since others had theirs */
	bool has_sent; /* something has left, ever */
	bool is_blocked;
	bool fin, fin_sent;
	bool is_short; /* a write fell short: on_writable() is owed */
	bool is_mute;  /* reset, or the peer wants no more: writes go nowhere */

	/* The peer's to us. */
	uint64_t held;   /* received, not consumed */
	uint64_t credit; /* consumed, not yet given back */
	bool is_deaf;    /* stopped: nothing is told any more */

	bool wants_reset, wants_stop;
	bool has_waited; /* with both of them, for what was written last to leave first */
	uint64_t reset_code, stop_code;

	bool is_gone;
	uint64_t code; /* for on_stream_closed() */
};

#define ENDPOINT_MAGIC 0x71756e64
#define CONN_MAGIC 0x71756963
#define STREAM_MAGIC 0x71756973

/* --- endpoint.c ------------------------------------------------------------------------------ */

/* Around everything that a loop calls: what is freed meanwhile dies at the end. */
void quic_enter(struct quic_endpoint *e);
void quic_leave(struct quic_endpoint *e);
/* Sets e->now: where a batch begins, not for each packet. */
ngtcp2_tstamp quic_read_clock(struct quic_endpoint *e);
/* Packets that may leave after the callbacks of this turn. */
void quic_conn_touch(struct quic_conn *c);
/* One packet or several of `segment` bytes; false: the kernel has no room, the rest waits in `out` if `data` is
 * there, and is lost otherwise. E_IO in *err when there is no way to the peer. */
bool quic_endpoint_send(struct quic_endpoint *e, const ngtcp2_path *path, uint8_t ecn,
			struct bytes data, size_t segment, struct err *err);
ngtcp2_addr quic_address(const struct address *a);
struct address quic_address_of(const ngtcp2_addr *a);
bool quic_same_address(const struct address *a, const ngtcp2_addr *b);

/* --- ids.c ----------------------------------------------------------------------------------- */

void quic_id_new(struct quic_endpoint *e, ngtcp2_cid *ret);
void quic_id_own(struct quic_endpoint *e, const ngtcp2_cid *cid, struct quic_owner *owner);
void quic_id_disown(struct quic_endpoint *e, const ngtcp2_cid *cid, const struct quic_owner *owner);
struct quic_owner *quic_id_find(const struct quic_endpoint *e, struct bytes id);
/* The peer would send this instead if it forgot the connection; NULL when looking for one in vain. */
void quic_reset_token_add(struct quic_conn *c, const uint8_t *token);
void quic_reset_token_drop(struct quic_conn *c, const uint8_t *token);
struct quic_conn *quic_reset_token_find(const struct quic_endpoint *e, struct bytes packet);
/* All that a connection has now, in memory the caller frees. */
ngtcp2_cid *quic_ids_of(struct quic_conn *c, size_t *ret_count);

/* --- expiry.c -------------------------------------------------------------------------------- */

/* Sets or moves the time at which the connection is looked at; 0: never. */
void quic_expiry_set(struct quic_conn *c, usec at);
/* The connection whose time is first and over, out of the heap; NULL: none. */
struct quic_conn *quic_expiry_take(struct quic_endpoint *e, usec now);
void quic_expiry_arm(struct quic_endpoint *e);

/* --- stateless.c ----------------------------------------------------------------------------- */

struct quic_packet {
	const struct address *from, *to;
	const struct address *bound; /* the socket's */
	uint8_t ecn;
	struct bytes data;
	bool is_foreign; /* handed over by another endpoint */
};

/* Nobody owns its connection id. */
void quic_stranger(struct quic_endpoint *e, const struct quic_packet *p,
		   const ngtcp2_version_cid *ids);
void quic_send_version_negotiation(struct quic_endpoint *e, const struct quic_packet *p,
				   const ngtcp2_version_cid *ids);
void quic_send_retry(struct quic_endpoint *e, const struct quic_packet *p,
		     const ngtcp2_pkt_hd *head);

/* --- closed.c -------------------------------------------------------------------------------- */

/* Takes the connection's ids over. `packet`: what late packets are answered with; empty: nothing. */
void quic_closed_add(struct quic_conn *c, const ngtcp2_path *path, struct bytes packet,
		     int64_t msec);
void quic_closed_read(struct quic_endpoint *e, struct quic_owner *owner);
/* Forgets those whose time is over, or all. */
void quic_closed_sweep(struct quic_endpoint *e, bool all);

/* --- conn.c ---------------------------------------------------------------------------------- */

/* Server: `token` and `original` (the id before a Retry) when the address was validated. */
void quic_conn_accept(struct quic_endpoint *e, const struct quic_packet *p,
		      const ngtcp2_pkt_hd *head, const ngtcp2_cid *original);
void quic_conn_read(struct quic_conn *c, const struct quic_packet *p);
/* Its time has come. */
void quic_conn_expire(struct quic_conn *c);
/* The handshake is done: the user hears of it. */
void quic_conn_tell_ready(struct quic_conn *c);
void quic_conn_handshake_over(struct quic_conn *c);
/* on_closed() follows in a deferred call; the first one counts. */
void quic_conn_end(struct quic_conn *c, enum conn_end end, const struct err *why);
void quic_conn_fail(struct quic_conn *c, int ngtcp2_code);
void quic_conn_fail_tls(struct quic_conn *c, uint8_t alert, const struct err *why);
/* At once, without events. */
void quic_conn_destroy(struct quic_conn *c);

/* --- callbacks.c ----------------------------------------------------------------------------- */

extern const ngtcp2_callbacks quic_client_callbacks, quic_server_callbacks;
/* Whose packets are read from now on, on this thread; NULL: nobody's. */
void quic_reads(struct quic_conn *c);

/* --- frames.c -------------------------------------------------------------------------------- */

/* Calls found() for each STOP_SENDING in the payload of a packet, up to the first frame that makes no sense. */
void quic_frames_find_stops(struct bytes payload,
			    void (*found)(void *ctx, int64_t stream, uint64_t code), void *ctx);

/* --- output.c -------------------------------------------------------------------------------- */

/* Sends what may be sent now. False: the kernel has no room. */
bool quic_conn_write(struct quic_conn *c);
/* Of a UDP packet now. */
size_t quic_conn_payload_max(const struct quic_conn *c);
/* So many bytes of a stream have been acknowledged at once. */
void quic_conn_note_acked(struct quic_conn *c, size_t n);
/* Another path: what is known of the old one's MTU says nothing. */
void quic_conn_forget_black_hole(struct quic_conn *c);
/* CONNECTION_CLOSE as in c->close. `remember` (may be NULL) is told what was sent, borrowed until return. */
void quic_conn_send_close(struct quic_conn *c,
			  void (*remember)(struct quic_conn *c, const ngtcp2_path *path,
					   struct bytes packet));

/* --- stream.c -------------------------------------------------------------------------------- */

struct quic_stream *quic_stream_new(struct quic_conn *c, int64_t id);
void quic_stream_free(struct quic_stream *st);
/* ngtcp2 has forgotten it, or will never hear of it again. */
void quic_stream_gone(struct quic_stream *st, uint64_t code);
void quic_stream_received(struct quic_stream *st, struct bytes data, bool fin);
void quic_stream_acked(struct quic_stream *st, size_t n);
/* Writes go nowhere from now on, what is queued is freed. */
void quic_stream_mute(struct quic_stream *st);
/* The peer's window is used up: the stream's, or the connection's. */
void quic_stream_block(struct quic_stream *st, bool by_connection);
void quic_stream_unblock(struct quic_stream *st);
/* What is next to send: runs of bytes, `*ret_fin` when they are the last ones and the end follows. */
size_t quic_stream_peek(const struct quic_stream *st, ngtcp2_vec *runs, size_t max, bool *ret_fin);
void quic_stream_sent(struct quic_stream *st, size_t n, bool fin);
/* The peer wants no more of some. */
void quic_streams_stopped(struct quic_conn *c);
/* Tells ngtcp2 what the user has asked for since. */
void quic_streams_apply(struct quic_conn *c);
void quic_streams_wake(struct quic_conn *c);
void quic_streams_report_gone(struct quic_conn *c);

/* --- datagram.c ------------------------------------------------------------------------------ */

struct datagram {
	struct list node;
	size_t len;
	uint8_t data[];
};
struct datagram *quic_datagram_first(struct quic_conn *c);
void quic_datagram_drop_first(struct quic_conn *c);
void quic_datagrams_free(struct quic_conn *c);
