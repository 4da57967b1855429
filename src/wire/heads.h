/* How an HTTP response head crosses a tunnel over HTTP/2 (PROTOCOL.md §2.5): the origin's fields
 * serialized into one header (cf-cloudflared-response-headers), and who answered in another
 * (cf-cloudflared-response-meta).
 *
 *	value = [ pair *( ";" pair ) ]      pair = base64(name) ":" base64(value)
 *
 * with the standard alphabet and no padding. This runs once per response on both sides: one pass, no
 * intermediate copy. Any thread.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"

struct wire_pair {
	struct bytes name;
	struct bytes value;
};

/* Names that never go into the serialized set: pseudo fields, cf-int-*, cf-cloudflared-*, cf-proxy-*,
 * in any case. */
bool heads_is_filtered(struct bytes name);

/* --- Decoding -------------------------------------------------------------------------------- */

struct heads_reader {
	struct bytes left; /* borrowed from the header value */
	uint8_t *out;      /* borrowed from the arena: room for all that is left */
};

/* Takes 3/4 of text.len from the arena at once; the caller bounds text (LIMIT_HEAD_BYTES). */
void heads_reader_init(struct heads_reader *r, struct bytes text, struct arena *a);
/* 1 and the next pair, in the arena, any bytes (the caller validates names and values as of any peer);
 * 0 at the end; E_PARSE: then the whole header is invalid. Empty elements are skipped. */
int heads_next(struct heads_reader *r, struct wire_pair *ret) MUST_USE;

/* --- Encoding -------------------------------------------------------------------------------- */

/* Appends one pair, with a ";" unless out is empty: `out` holds nothing but this value. Names are
 * written as they are; stock connectors write the Go form (`Set-Cookie`). Filtered names are the
 * caller's business. */
int heads_put(struct buf *out, struct bytes name, struct bytes value) MUST_USE;

/* --- Meta ------------------------------------------------------------------------------------ */

struct heads_meta {
	bool from_connector; /* "src":"cloudflared": the connector failed, the status is its own */
	bool flow_rate_limited;
	struct bytes adit; /* our extension member (FEATURE_REASON): a JSON object, or empty */
};

/* A meta value longer than this is not read; ours is below 1 KiB. */
#define HEADS_META_BYTES 4096

/* Unknown members are skipped, members of the wrong type read as absent; `adit` is in the arena,
 * compact. E_PARSE: no JSON object, or "src" is neither of the two; E_LIMIT: too long. */
int heads_get_meta(struct bytes text, struct arena *a, struct heads_meta *ret) MUST_USE;
/* What stock writes, byte for byte, unless `adit` is set. `adit` is passed through: it must be a JSON
 * object without control characters, else (and when it would make the value longer than
 * HEADS_META_BYTES) it is left out. */
int heads_put_meta(struct buf *out, const struct heads_meta *m) MUST_USE;
