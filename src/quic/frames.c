/* Walks the frames of a packet (RFC 9000 §19, RFC 9221). ngtcp2 checks and handles them; this only looks for the
 * one kind that it does not report, and skips the rest. */
#include "base/reader.h"
#include "quic/quic_internal.h"

static uint64_t varint(struct reader *r)
{
	uint8_t first = reader_u8(r);
	uint64_t value = first & 0x3f;

	for (int i = (1 << (first >> 6)) - 1; i > 0; i--)
		value = value << 8 | reader_u8(r);
	return value;
}

static void skip_varints(struct reader *r, uint64_t count)
{
	while (count-- > 0 && reader_ok(r))
		varint(r);
}

static void skip_bytes(struct reader *r, uint64_t count)
{
	/* More than there is, whatever size_t is: a failure either way. */
	reader_take(r, count > SIZE_MAX ? SIZE_MAX : (size_t)count);
}

static void skip_ack(struct reader *r, bool has_ecn)
{
	skip_varints(r, 2);
	uint64_t ranges = varint(r);
	varint(r);
	/* A range is at least two bytes, so a count that lies ends the walk. */
	if (ranges > r->left.len / 2) {
		r->failed = true;
		return;
	}
	skip_varints(r, 2 * ranges + (has_ecn ? 3 : 0));
}

static void skip_stream(struct reader *r, uint64_t type)
{
	skip_varints(r, type & 0x04 ? 2 : 1);
	skip_bytes(r, type & 0x02 ? varint(r) : r->left.len);
}

static void skip_frame(struct reader *r, uint64_t type)
{
	switch (type) {
	case 0x00: /* PADDING */
	case 0x01: /* PING */
	case 0x1e: /* HANDSHAKE_DONE */
		break;
	case 0x02:
	case 0x03:
		skip_ack(r, type == 0x03);
		break;
	case 0x04: /* RESET_STREAM */
		skip_varints(r, 3);
		break;
	case 0x06: /* CRYPTO */
		varint(r);
		skip_bytes(r, varint(r));
		break;
	case 0x07: /* NEW_TOKEN */
	case 0x31: /* DATAGRAM with its length */
		skip_bytes(r, varint(r));
		break;
	case 0x08 ... 0x0f:
		skip_stream(r, type);
		break;
	case 0x10: /* MAX_DATA */
	case 0x12: /* MAX_STREAMS */
	case 0x13:
	case 0x14: /* DATA_BLOCKED */
	case 0x16: /* STREAMS_BLOCKED */
	case 0x17:
	case 0x19: /* RETIRE_CONNECTION_ID */
		varint(r);
		break;
	case 0x11: /* MAX_STREAM_DATA */
	case 0x15: /* STREAM_DATA_BLOCKED */
		skip_varints(r, 2);
		break;
	case 0x18: /* NEW_CONNECTION_ID */
		skip_varints(r, 2);
		skip_bytes(r, (uint64_t)reader_u8(r) + NGTCP2_STATELESS_RESET_TOKENLEN);
		break;
	case 0x1a: /* PATH_CHALLENGE, PATH_RESPONSE */
	case 0x1b:
		skip_bytes(r, 8);
		break;
	default:
		/* CONNECTION_CLOSE and a DATAGRAM to the end of the packet are last; others nobody may send. */
		r->failed = true;
		break;
	}
}

void quic_frames_find_stops(struct bytes payload,
			    void (*found)(void *ctx, int64_t stream, uint64_t code), void *ctx)
{
	struct reader r = reader_of(payload);

	while (r.left.len && reader_ok(&r)) {
		uint64_t type = varint(&r);
		if (type != 0x05) {
			skip_frame(&r, type);
			continue;
		}
		uint64_t id = varint(&r), code = varint(&r);
		if (reader_ok(&r))
			found(ctx, (int64_t)id, code);
	}
}
