#include "edge/dns/tsig_record.h"

#include "base/reader.h"

#define HEADER_BYTES 12
#define POINTERS_MAX 16
#define TYPE_TSIG 250
#define CLASS_ANY 255

/* The name at the reader, which stands behind it then. Its pointers lead backwards only. */
static bool read_name(struct bytes message, struct reader *r, struct dns_wire_name *ret)
{
	struct reader at = *r;
	bool is_behind = false;

	ret->len = 0;
	for (unsigned pointers = 0;;) {
		size_t here = message.len - at.left.len;
		uint8_t length = reader_u8(&at);
		if (length >= 0xc0) {
			size_t to = (size_t)(length & 0x3f) << 8 | reader_u8(&at);
			if (!is_behind)
				*r = at;
			is_behind = true;
			if (!reader_ok(&at) || ++pointers > POINTERS_MAX || to < HEADER_BYTES ||
			    to >= here)
				return false;
			at = reader_of(bytes_from(message, to));
			continue;
		}
		struct bytes label = reader_take(&at, length);
		if (!reader_ok(&at) || length >= 0x40 || ret->len + 1 + length > DNS_NAME_BYTES)
			return false;
		ret->bytes[ret->len++] = length;
		for (size_t i = 0; i < label.len; i++)
			ret->bytes[ret->len++] = bytes_lower(label.ptr[i]);
		if (length == 0)
			break;
	}
	if (!is_behind)
		*r = at;
	return true;
}

static bool skip_name(struct reader *r)
{
	for (;;) {
		uint8_t length = reader_u8(r);
		if (length >= 0xc0)
			(void)reader_u8(r);
		else if (length >= 0x40)
			return false;
		else
			(void)reader_take(r, length);
		if (!reader_ok(r))
			return false;
		if (length == 0 || length >= 0xc0)
			return true;
	}
}

/* The class, and what is behind it. */
static bool read_rest(struct bytes message, struct reader *r, struct dns_tsig_record *ret)
{
	uint16_t class = reader_u16be(r);
	uint32_t ttl = reader_u32be(r);
	uint16_t size = reader_u16be(r);
	struct bytes data = r->left;

	if (!reader_ok(r) || class != CLASS_ANY || ttl != 0 || data.len != size ||
	    !read_name(message, r, &ret->algorithm))
		return false;
	ret->time = (uint64_t)reader_u16be(r) << 32;
	ret->time |= reader_u32be(r);
	ret->fudge = reader_u16be(r);
	ret->mac = reader_take(r, reader_u16be(r));
	ret->id = reader_u16be(r);
	ret->error = reader_u16be(r);
	ret->other = reader_take(r, reader_u16be(r));
	return reader_ok(r) && r->left.len == 0;
}

enum dns_tsig_found dns_tsig_find(struct bytes message, struct dns_tsig_record *ret)
{
	struct reader r = reader_of(message);
	size_t records;

	(void)reader_take(&r, 4);
	unsigned questions = reader_u16be(&r);
	records = (size_t)reader_u16be(&r) + reader_u16be(&r);
	size_t additional = reader_u16be(&r);
	records += additional;
	if (!reader_ok(&r))
		return DNS_TSIG_MALFORMED;
	for (unsigned i = 0; i < questions; i++) {
		if (!skip_name(&r))
			return DNS_TSIG_MALFORMED;
		(void)reader_take(&r, 4);
	}
	for (size_t i = 0; i < records; i++) {
		struct reader began = r;
		bool is_last = additional && i == records - 1;
		if (!skip_name(&r))
			return DNS_TSIG_MALFORMED;
		uint16_t type = reader_u16be(&r);
		if (type == TYPE_TSIG) {
			ret->at = message.len - began.left.len;
			return is_last && reader_ok(&r) && read_name(message, &began, &ret->name) &&
					       read_rest(message, &r, ret)
				       ? DNS_TSIG_PRESENT
				       : DNS_TSIG_MALFORMED;
		}
		(void)reader_take(&r, 6);
		(void)reader_take(&r, reader_u16be(&r));
		if (!reader_ok(&r))
			return DNS_TSIG_MALFORMED;
	}
	return reader_ok(&r) ? DNS_TSIG_ABSENT : DNS_TSIG_MALFORMED;
}
