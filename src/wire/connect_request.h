/* The heads of QUIC data streams (PROTOCOL.md §4.2 to §4.4): what the edge asks of the connector, and the
 * connector's answer, before the body's bytes.
 *
 *	preamble: 6 bytes of signature, 2 of version | one framed Cap'n Proto message | body
 *
 * Decoding borrows from the frame; this runs once per request. Any thread.
 */
#pragma once

#include "wire/capnp.h"

/* --- The first bytes of a stream --------------------------------------------------------------- */

#define CONNECT_SIGNATURE_BYTES 6
#define CONNECT_PREAMBLE_BYTES 8

enum connect_stream {
	CONNECT_STREAM_UNKNOWN, /* reset it */
	CONNECT_STREAM_DATA,    /* a head of this file follows */
	CONNECT_STREAM_RPC, /* Cap'n Proto RPC follows right after the signature, without a version */
};

/* E_AGAIN until CONNECT_SIGNATURE_BYTES are there. */
int connect_stream_of(struct bytes front, enum connect_stream *ret) MUST_USE;
int connect_put_rpc_signature(struct buf *out) MUST_USE;

/* --- Heads ----------------------------------------------------------------------------------- */

/* The largest head: LIMIT_HEAD_BYTES of names and values, and what the form adds to each pair. */
#define CONNECT_BYTES (LIMIT_HEAD_BYTES + 64 * LIMIT_HEAD_FIELDS)
/* Fields, and the few others a head has. */
#define CONNECT_PAIRS (LIMIT_HEAD_FIELDS + 8)

enum connect_kind { /* on the wire */
		    CONNECT_HTTP = 0,
		    CONNECT_WEBSOCKET = 1,
		    CONNECT_TCP = 2,
};

enum connect_key {
	CONNECT_OTHER,        /* name: the key as it is */
	CONNECT_METHOD,       /* request: "GET"; the last one counts */
	CONNECT_HOST,         /* request: the authority, for the ingress rules */
	CONNECT_STATUS,       /* response: decimal; absent when the connector failed: 502 */
	CONNECT_FIELD,        /* one HTTP field line: name and value */
	CONNECT_FLOW_ID,      /* request, TCP: for the log */
	CONNECT_RATE_LIMITED, /* response: "true" */
};

struct connect_pair {
	enum connect_key key;
	struct bytes name; /* CONNECT_FIELD and CONNECT_OTHER */
	struct bytes value;
};

struct connect_head {
	struct capnp_message capnp; /* `pairs` points here: do not move or copy */
	/* request */
	uint16_t kind;     /* enum connect_kind; the decoder checks */
	struct bytes dest; /* a URL of which path and query count; TCP: "address:port" */
	/* response */
	struct bytes error; /* empty: success */
	/* both */
	struct capnp_list pairs;
};

/* How long is the head at the front of these bytes, preamble included? As capnp_frame_size(), within
 * CONNECT_BYTES. E_PROTOCOL when this is no data stream. Whatever the version says is accepted, as stock
 * does. */
int connect_head_size(struct bytes front, size_t *ret_size, struct err *err) MUST_USE;

/* `head` is what connect_head_size() measured. E_PROTOCOL, E_LIMIT (CONNECT_PAIRS). */
int connect_get_request(struct bytes head, struct connect_head *ret, struct err *err) MUST_USE;
int connect_get_response(struct bytes head, struct connect_head *ret, struct err *err) MUST_USE;
/* Pair number `i`, below head->pairs.count. E_PROTOCOL: malformed, or a field's key with more than one
 * colon, which stock refuses too. */
int connect_pair_at(const struct connect_head *head, uint32_t i, struct connect_pair *ret) MUST_USE;

/* Append preamble and message; E_LIMIT as every encoder. */
int connect_put_request(struct buf *out, enum connect_kind kind, struct bytes dest,
			const struct connect_pair *pairs, size_t count) MUST_USE;
int connect_put_response(struct buf *out, struct bytes error, const struct connect_pair *pairs,
			 size_t count) MUST_USE;
