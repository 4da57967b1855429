/* What the files of the HTTP/2 driver share. Included by them alone.
 *
 * The roles are crossed: the edge is the HTTP/2 client, the connector the server (PROTOCOL.md §2).
 * h2_transport.c: session, control stream, pings. edge.c: opening streams and reading answers.
 * connector.c: telling streams apart and writing answers.
 */
#pragma once

#include "http/h2_session.h"
#include "transport/tunnel.h"

#define TUNNEL_STREAM_MAGIC 0x74737472

/* Our announcement on the control stream's request; a stock connector ignores it. */
#define TUNNEL_FEATURES_NAME BYTES_LIT("adit-features")
/* The serialized fields travel as one value, and HPACK decoders stop at 64 KiB. */
#define TUNNEL_SERIALIZED_BYTES (60 * 1024)

struct h2_tunnel {
	struct tunnel base;
	struct h2_session *h2;            /* owned until its on_closed */
	struct h2_stream *control_stream; /* borrowed from h2; NULL before and after */
	struct timer ping;
	struct buf scratch; /* connector: for the serialized fields */
};

struct tunnel_stream {
	struct stream base;
	uint32_t magic;
	struct h2_stream *h2; /* borrowed, until its on_stream_closed */
	enum stream_kind kind;
	enum reason reset_reason;
	bool is_reset; /* by us: only on_closed follows */
	bool peer_ended;
	/* edge */
	bool is_head; /* the request's method */
	bool is_answered;
	bool has_length;
	uint64_t length_left; /* of the answer's body, with has_length */
	/* connector */
	bool is_cut; /* the answer did not fit: what follows goes nowhere */
};

static inline struct h2_tunnel *h2_tunnel_of(struct session *s)
{
	return CONTAINER_OF(tunnel_of(s), struct h2_tunnel, base);
}

static inline struct tunnel_stream *tunnel_stream_of(struct stream *st)
{
	struct tunnel_stream *ts = CONTAINER_OF(st, struct tunnel_stream, base);

	CHECK(ts, TUNNEL_STREAM_MAGIC);
	return ts;
}

/* --- h2_transport.c --- */
struct tunnel_stream *tunnel_stream_new(struct h2_tunnel *t, enum stream_kind kind);
void tunnel_stream_free(struct tunnel_stream *ts);
void tunnel_stream_reset(struct tunnel_stream *ts, enum reason why);
void h2_tunnel_set_control(struct h2_tunnel *t, struct h2_stream *h2);

/* --- edge.c --- */
void edge_open_control(struct h2_tunnel *t);
struct stream *edge_open(struct session *s, enum stream_kind kind, const struct head *head,
			 bool fin, const struct stream_events *events, void *ctx);
void edge_on_interim(struct tunnel_stream *ts, const struct head *head);
void edge_on_response(struct tunnel_stream *ts, const struct head *head, bool fin);
/* Counts the answer's body against what it promised; false when it breaks its word. */
bool edge_check_length(struct tunnel_stream *ts, size_t size, bool fin);

/* --- connector.c --- */
void connector_on_request(struct h2_tunnel *t, struct h2_stream *h2, const struct head *head,
			  bool fin);
void connector_interim(struct stream *st, const struct head *head);
void connector_answer(struct stream *st, const struct answer *a, bool fin);
