#include "wire/datagram.h"

#include "base/reader.h"
#include "base/writer.h"

#define SESSION_BYTES 16
#define FLOW_BYTES 16

#define FLAG_IPV6 0x01
#define FLAG_TRACED 0x02
#define FLAG_BUNDLED 0x04

static int append(struct buf *out, const struct writer *w)
{
	return writer_ok(w) ? buf_append(out, writer_bytes(w)) : E_LIMIT;
}

/* --- Version 2 ------------------------------------------------------------------------------- */

static size_t v2_suffix(enum datagram_v2_type type)
{
	switch (type) {
	case DATAGRAM_V2_UDP:
		return SESSION_BYTES;
	case DATAGRAM_V2_IP_TRACED:
	case DATAGRAM_V2_SPANS:
		return DATAGRAM_TRACE_BYTES;
	case DATAGRAM_V2_IP:
		break;
	}
	return 0;
}

int datagram_v2_decode(struct bytes datagram, struct datagram_v2 *ret)
{
	if (datagram.len == 0)
		return E_PROTOCOL;
	uint8_t type = datagram.ptr[datagram.len - 1];
	if (type > DATAGRAM_V2_SPANS)
		return E_UNSUPPORTED;
	struct datagram_v2 d = { .type = (enum datagram_v2_type)type };
	size_t suffix = v2_suffix(d.type);
	struct bytes rest = bytes_first(datagram, datagram.len - 1);
	if (rest.len < suffix)
		return E_PROTOCOL;
	struct bytes meta = bytes_from(rest, rest.len - suffix);
	d.payload = bytes_first(rest, rest.len - suffix);
	if (d.payload.len > DATAGRAM_PAYLOAD_BYTES)
		return E_LIMIT;
	if (d.type == DATAGRAM_V2_UDP)
		memcpy(d.session.b, meta.ptr, SESSION_BYTES);
	else
		d.trace = meta;
	*ret = d;
	return 0;
}

int datagram_v2_encode(struct buf *out, const struct datagram_v2 *d)
{
	uint8_t bytes[DATAGRAM_BYTES];
	struct writer w = writer_of(bytes, sizeof(bytes));

	if (d->payload.len > DATAGRAM_PAYLOAD_BYTES)
		return E_LIMIT;
	writer_put(&w, d->payload);
	if (d->type == DATAGRAM_V2_UDP) {
		writer_put(&w, uuid_bytes(&d->session));
	} else if (v2_suffix(d->type)) {
		BUG_IF(d->trace.len != DATAGRAM_TRACE_BYTES);
		writer_put(&w, d->trace);
	}
	writer_u8(&w, (uint8_t)d->type);
	return append(out, &w);
}

/* --- Version 3 ------------------------------------------------------------------------------- */

static void take_flow(struct reader *r, struct datagram_v3 *d)
{
	struct bytes flow = reader_take(r, FLOW_BYTES);

	if (flow.len)
		memcpy(d->flow, flow.ptr, FLOW_BYTES);
}

static void take_registration(struct reader *r, struct datagram_v3 *d)
{
	uint8_t flags = reader_u8(r);

	d->is_traced = flags & FLAG_TRACED;
	d->port = reader_u16be(r);
	d->idle_seconds = reader_u16be(r);
	take_flow(r, d);
	d->address = reader_take(r, flags & FLAG_IPV6 ? 16 : 4);
	/* Bytes that no flag announces are ignored, as stock does. */
	if (flags & FLAG_BUNDLED)
		d->payload = r->left;
}

int datagram_v3_decode(struct bytes datagram, struct datagram_v3 *ret)
{
	struct reader r = reader_of(datagram);
	uint8_t type = reader_u8(&r);
	struct datagram_v3 d = { .type = (enum datagram_v3_type)type };

	switch (type) {
	case DATAGRAM_V3_REGISTER:
		take_registration(&r, &d);
		break;
	case DATAGRAM_V3_PAYLOAD:
		take_flow(&r, &d);
		d.payload = r.left;
		break;
	case DATAGRAM_V3_ICMP:
		d.payload = r.left;
		r.failed |= d.payload.len == 0;
		break;
	case DATAGRAM_V3_RESPONSE:
		d.code = reader_u8(&r);
		take_flow(&r, &d);
		d.text = reader_take(&r, reader_u16be(&r));
		break;
	default:
		return E_UNSUPPORTED;
	}
	if (!reader_ok(&r))
		return E_PROTOCOL;
	if (d.payload.len > DATAGRAM_PAYLOAD_BYTES)
		return E_LIMIT;
	*ret = d;
	return 0;
}

int datagram_v3_encode(struct buf *out, const struct datagram_v3 *d)
{
	uint8_t bytes[DATAGRAM_BYTES];
	struct writer w = writer_of(bytes, sizeof(bytes));
	struct bytes flow = bytes_of(d->flow, FLOW_BYTES);

	if (d->payload.len > DATAGRAM_PAYLOAD_BYTES)
		return E_LIMIT;
	writer_u8(&w, (uint8_t)d->type);
	switch (d->type) {
	case DATAGRAM_V3_REGISTER:
		BUG_IF(d->address.len != 4 && d->address.len != 16);
		writer_u8(&w, (uint8_t)((d->address.len == 16 ? FLAG_IPV6 : 0) |
					(d->is_traced ? FLAG_TRACED : 0) |
					(d->payload.len ? FLAG_BUNDLED : 0)));
		writer_u16be(&w, d->port);
		writer_u16be(&w, d->idle_seconds);
		writer_put(&w, flow);
		writer_put(&w, d->address);
		writer_put(&w, d->payload);
		break;
	case DATAGRAM_V3_PAYLOAD:
		writer_put(&w, flow);
		writer_put(&w, d->payload);
		break;
	case DATAGRAM_V3_ICMP:
		writer_put(&w, d->payload);
		break;
	case DATAGRAM_V3_RESPONSE:
		writer_u8(&w, d->code);
		writer_put(&w, flow);
		/* More than a datagram's worth fails in the writer. */
		writer_u16be(&w, (uint16_t)d->text.len);
		writer_put(&w, d->text);
		break;
	}
	return append(out, &w);
}

/* --- Either ---------------------------------------------------------------------------------- */

bool datagram_get_payload(unsigned version, struct bytes datagram, struct bytes *ret_id,
			  struct bytes *ret_payload)
{
	size_t len = datagram.len;

	if (len < DATAGRAM_OVERHEAD)
		return false;
	if (version == 3) {
		*ret_id = bytes_of(datagram.ptr + 1, DATAGRAM_ID_BYTES);
		*ret_payload = bytes_from(datagram, DATAGRAM_OVERHEAD);
		return datagram.ptr[0] == DATAGRAM_V3_PAYLOAD;
	}
	*ret_id = bytes_of(datagram.ptr + len - DATAGRAM_OVERHEAD, DATAGRAM_ID_BYTES);
	*ret_payload = bytes_first(datagram, len - DATAGRAM_OVERHEAD);
	return datagram.ptr[len - 1] == DATAGRAM_V2_UDP;
}

void datagram_put_payload(unsigned version, struct bytes id, struct bytes payload, uint8_t *dst)
{
	uint8_t *at = dst + (version == 3 ? DATAGRAM_OVERHEAD : 0);

	if (payload.len)
		memcpy(at, payload.ptr, payload.len);
	if (version == 3) {
		dst[0] = DATAGRAM_V3_PAYLOAD;
		memcpy(dst + 1, id.ptr, DATAGRAM_ID_BYTES);
	} else {
		memcpy(dst + payload.len, id.ptr, DATAGRAM_ID_BYTES);
		dst[payload.len + DATAGRAM_ID_BYTES] = DATAGRAM_V2_UDP;
	}
}
