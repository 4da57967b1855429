/* What the files of the QUIC driver share. Included by them alone.
 *
 * The connector is the QUIC client (PROTOCOL.md §4). quic_transport.c: session, control stream, events.
 * edge.c: opening streams and reading answers. connector.c: reading requests and writing answers.
 * framing.c: bodies that may end in trailers, between our own two programs. endpoint.c: sockets.
 * quic_udp.h and its files: UDP flows; rpc_stream.c: the short calls that some of them need.
 */
#pragma once

#include "quic/quic.h"
#include "transport/quic_endpoint.h"
#include "transport/tunnel.h"
#include "wire/connect_request.h"

#define QUIC_TUNNEL_STREAM_MAGIC 0x71747374

/* Metadata of ours in ConnectRequest and ConnectResponse; stock peers skip keys they do not know
 * (docs/wire.md). */
#define QUIC_KEY_FEATURES BYTES_LIT("AditFeatures") /* request: what the edge can do */
#define QUIC_KEY_FRAMED BYTES_LIT("AditFramed")     /* the body is framed and may have trailers */
#define QUIC_KEY_REASON BYTES_LIT("AditReason")     /* response: why there is none, JSON */
#define QUIC_KEY_LEAVING BYTES_LIT("AditLeaving") /* request: none, the edge says that it leaves */
/* What the edge can do, said with the answer to the registration, and in requests, which may overtake it. */
#define QUIC_EDGE_FEATURES                                                             \
	FEATURE_REASON "," FEATURE_INTERIM "," FEATURE_TRAILERS "," FEATURE_HALF_CLOSE \
		       "," FEATURE_HEALTH "," FEATURE_UDP "," FEATURE_LEAVING "," FEATURE_PORTS

/* Application codes of resets. Stock peers know 0 alone, and take every other for it. */
#define QUIC_CODE_NONE 0
#define QUIC_CODE_REFUSED 0xad17 /* nobody has looked at the request */

/* What a connection's context points to. */
enum quic_holder { QUIC_HELD_BY_ATTEMPT, QUIC_HELD_BY_SESSION };

struct quic_flow;
struct quic_rpc;

/* The UDP flows of a session. */
struct quic_udp {
	struct map *by_id;  /* owned; NULL before the first; struct quic_flow */
	struct list flows;  /* the same */
	size_t early_bytes; /* payloads that wait for the connector's word */
};

struct quic_tunnel {
	enum quic_holder owner; /* QUIC_HELD_BY_SESSION; first */
	struct tunnel base;
	struct quic_conn *conn;             /* owned until its on_closed */
	struct quic_stream *control_stream; /* borrowed; NULL before and after */
	struct quic_udp udp;
	struct timer check; /* set: the peer was asked whether it is there, */
	usec checked_at;    /* then */
	struct {
		struct timer timer; /* set: the peer's port is said to be closed, */
		usec since, until;  /* since then; it is believed at the end */
	} doubt;
};

/* The pieces a framed body is cut into: see framing.c. */
struct quic_frames {
	bool is_on;
	uint8_t head[4];
	uint8_t head_len; /* read so far; or still to be written */
	bool is_trailers;
	uint32_t left;       /* of the current piece */
	struct buf trailers; /* while is_trailers */
};

struct quic_tunnel_stream {
	struct stream base;
	uint32_t magic;
	struct quic_stream *q; /* borrowed, until its on_stream_closed */
	enum stream_kind kind;
	bool is_peers;      /* the peer opened it */
	struct buf head_in; /* until the peer's head is whole */
	bool has_head;      /* it was read */
	bool is_reset;      /* by us: only on_closed follows */
	enum reason reset_reason;
	struct timer late_reset;
	bool is_answered; /* connector: answer() was called */
	bool is_head;     /* edge: the request's method */
	bool peer_ended;  /* reported to the user */
	bool skips_body;  /* connector: a request without length and chunks has none */
	bool has_length;
	uint64_t length_left; /* of what the peer sends, with has_length */
	struct quic_frames in, out;

	struct quic_rpc *rpc; /* owned; it is a short call, nobody's request */
	bool is_udp;          /* it is a UDP flow's, */
	struct quic_flow *
		flow; /* which is borrowed, and NULL once it has ended; with rpc: the one it registers */
};

static inline struct quic_tunnel *quic_tunnel_of(struct session *s)
{
	return CONTAINER_OF(tunnel_of(s), struct quic_tunnel, base);
}

static inline struct quic_tunnel_stream *quic_tunnel_stream_of(struct stream *st)
{
	struct quic_tunnel_stream *ts = CONTAINER_OF(st, struct quic_tunnel_stream, base);

	CHECK(ts, QUIC_TUNNEL_STREAM_MAGIC);
	return ts;
}

/* --- quic_transport.c --- */
struct quic_tunnel_stream *quic_tunnel_stream_new(struct quic_tunnel *t, enum stream_kind kind,
						  struct quic_stream *q);
void quic_tunnel_stream_reset(struct quic_tunnel_stream *ts, enum reason why);
/* The peer's body, after its head: frames taken apart, length checked, passed to the user. */
void quic_tunnel_body(struct quic_tunnel_stream *ts, struct bytes data, bool fin);
extern const struct quic_events quic_tunnel_events;

/* --- endpoint.c --- */
void quic_accepted(struct quic_endpoint *e, struct quic_conn *c);
void quic_attempt_ready(struct quic_conn *c);
void quic_attempt_closed(struct quic_conn *c, const struct err *why);

/* --- edge.c --- */
struct stream *quic_edge_open(struct session *s, enum stream_kind kind, const struct head *head,
			      bool fin, const struct stream_events *events, void *ctx);
/* Tells a connector of ours that no more streams will be opened. */
void quic_edge_say_leaving(struct quic_tunnel *t);
/* A whole ConnectResponse. Returns false when the stream was reset. */
bool quic_edge_on_head(struct quic_tunnel_stream *ts, struct bytes head);

/* --- connector.c --- */
bool quic_connector_on_head(struct quic_tunnel_stream *ts, struct bytes head, bool fin);
void quic_connector_interim(struct stream *st, const struct head *head);
void quic_connector_answer(struct stream *st, const struct answer *a, bool fin);

/* --- framing.c --- */
void quic_frames_start(struct quic_frames *f);
void quic_frames_done(struct quic_frames *f);
/* Writes `data` as the next piece; returns how much of it was taken. */
size_t quic_frames_write(struct quic_frames *f, struct quic_stream *q, struct bytes data, bool fin);
/* The end, with trailers. */
void quic_frames_finish(struct quic_frames *f, struct quic_stream *q, const struct fields *trailers);
/* Says that the body breaks off. False: it cannot be said here, within a piece or with the send queue full. */
bool quic_frames_break_off(struct quic_frames *f, struct quic_stream *q);
/* Takes framing and at most one run of payload off the front of *data. 1: a run, 0: *data is used up,
 * 2: the trailers are whole (in f->trailers, serialized as heads.h does), 3: the body has broken off, E_PROTOCOL. */
int quic_frames_next(struct quic_frames *f, struct bytes *data, struct bytes *ret_run);
