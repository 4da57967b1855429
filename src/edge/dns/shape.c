#include "edge/dns/shape.h"

#define HEADER_BYTES 12
#define POINTERS_MAX 16
#define NAME_MAX_BYTES 255
#define TYPE_SOA 6
#define TYPE_OPT 41
#define TYPE_TSIG 250
#define SOA_NUMBERS_BYTES 20

struct cursor {
	const uint8_t *packet;
	size_t at, len;
};

static bool skip(struct cursor *c, size_t bytes)
{
	if (bytes > c->len - c->at)
		return false;
	c->at += bytes;
	return true;
}

static bool take16(struct cursor *c, unsigned *ret)
{
	if (!skip(c, 2))
		return false;
	*ret = (unsigned)c->packet[c->at - 2] << 8 | c->packet[c->at - 1];
	return true;
}

/* A name, behind which the cursor stands then; what its pointers lead to is looked at, too. */
static bool take_name(struct cursor *c)
{
	size_t at = c->at, end = 0, bytes = 0, before = c->at;

	for (unsigned pointers = 0;;) {
		if (at >= c->len)
			return false;
		uint8_t length = c->packet[at];
		if (length >= 0xc0) {
			if (at + 1 >= c->len || ++pointers > POINTERS_MAX)
				return false;
			size_t to = (size_t)(length & 0x3f) << 8 | c->packet[at + 1];
			if (!end)
				end = at + 2;
			if (to < HEADER_BYTES || to >= before)
				return false;
			at = before = to;
			continue;
		}
		bytes += 1 + (size_t)length;
		if (length >= 0x40 || bytes > NAME_MAX_BYTES)
			return false;
		at += 1 + (size_t)length;
		if (length == 0)
			break;
	}
	c->at = end ? end : at;
	return c->at <= c->len;
}

/* Of any record; *ret_type is one that a query may have. */
static bool take_record(struct cursor *c, struct dns_query_shape *shape, unsigned *ret_type)
{
	unsigned size, class, high, low;

	if (!take_name(c) || !take16(c, ret_type) || !take16(c, &class) || !take16(c, &high) ||
	    !take16(c, &low) || !take16(c, &size) || size > c->len - c->at)
		return false;
	struct cursor data = { c->packet, c->at, c->at + size };
	c->at += size;
	switch (*ret_type) {
	case TYPE_SOA:
		return take_name(&data) && take_name(&data) && skip(&data, SOA_NUMBERS_BYTES);
	case TYPE_TSIG:
		return take_name(&data);
	case TYPE_OPT:
		if (shape->has_opt)
			return false;
		shape->has_opt = true;
		shape->udp_bytes = (uint16_t) class;
		shape->edns_version = (uint8_t)high;
		shape->wants_signatures = low & 0x8000;
		shape->options = bytes_of(c->packet + data.at, size);
		return true;
	default:
		return false;
	}
}

bool dns_query_has_shape(struct bytes packet, struct dns_query_shape *ret)
{
	struct cursor c = { packet.ptr, 0, packet.len };
	unsigned counts[6], type, qtype, qclass;

	*ret = (struct dns_query_shape){ 0 };
	if (packet.len > DNS_QUERY_BYTES)
		return false;
	for (size_t i = 0; i < 6; i++)
		if (!take16(&c, &counts[i]))
			return false;
	if (counts[2] != 1 || counts[3] != 0 || counts[4] > 1 || counts[5] > 2 || !take_name(&c))
		return false;
	ret->name_len = c.at - HEADER_BYTES;
	if (!take16(&c, &qtype) || !take16(&c, &qclass))
		return false;
	ret->qtype = (uint16_t)qtype;
	ret->qclass = (uint16_t)qclass;
	if (counts[4] && (!take_record(&c, ret, &type) || type != TYPE_SOA))
		return false;
	for (unsigned i = 0; i < counts[5]; i++) {
		size_t began = c.at;
		if (!take_record(&c, ret, &type) || type == TYPE_SOA || ret->tsig_len)
			return false;
		if (type == TYPE_TSIG)
			ret->tsig_len = c.at - began;
	}
	return true;
}

bool dns_reply_has_shape(struct bytes packet)
{
	struct cursor c = { packet.ptr, 0, packet.len };
	unsigned counts[6], type, size, options = 0;

	for (size_t i = 0; i < 6; i++)
		if (!take16(&c, &counts[i]))
			return false;
	for (unsigned i = 0; i < counts[2]; i++)
		if (!take_name(&c) || !skip(&c, 4))
			return false;
	unsigned records = counts[3] + counts[4] + counts[5];
	for (unsigned i = 0; i < records; i++) {
		bool is_last = counts[5] && i == records - 1;
		if (!take_name(&c) || !take16(&c, &type) || !skip(&c, 6) || !take16(&c, &size) ||
		    !skip(&c, size))
			return false;
		if ((type == TYPE_TSIG && !is_last) || (type == TYPE_OPT && options++))
			return false;
	}
	return true;
}
