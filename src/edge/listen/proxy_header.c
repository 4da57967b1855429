#include "edge/listen/proxy_header.h"

#include <string.h>

#include "base/reader.h"

/* What tells the two apart, and from anything else. */
#define START_BYTES 12
#define V1_START BYTES_LIT("PROXY ")
#define V2_START BYTES_LIT("\r\n\r\n\0\r\nQUIT\n")

/* --- Version 1: a line ---------------------------------------------------------------------------- */

#define V1_MAX 107
#define V1_MIN 15 /* "PROXY UNKNOWN" */
#define V1_MIN_TCP4 32
#define V1_MIN_TCP6 22

static int bad_line(struct err *err)
{
	return err_set(err, E_INVALID, "a malformed PROXY line");
}

static bool take_ip(struct bytes text, uint16_t port, sa_family_t family, struct address *ret)
{
	return address_from_ip(text, port, ret) && ret->any.sa_family == family;
}

static bool take_port(struct bytes text, uint64_t *ret)
{
	return text.len <= 5 && bytes_to_u64(text, ret) && *ret <= UINT16_MAX;
}

/* "TCP4 FROM TO PORT PORT". */
static bool take_words(struct bytes line, struct proxy_header *ret)
{
	struct bytes words[5];
	struct address edge;
	uint64_t from, to;

	if (bytes_ends_with(line, BYTES_LIT(" ")))
		return false;
	for (size_t i = 0; i < 5; i++)
		if (!bytes_split(&line, ' ', &words[i]))
			return false;
	sa_family_t family = bytes_eq(words[0], BYTES_LIT("TCP4"))   ? AF_INET
			     : bytes_eq(words[0], BYTES_LIT("TCP6")) ? AF_INET6
								     : AF_UNSPEC;
	if (family == AF_UNSPEC || line.len || !take_port(words[3], &from) ||
	    !take_port(words[4], &to))
		return false;
	ret->has_visitor = true;
	return take_ip(words[1], (uint16_t)from, family, &ret->visitor) &&
	       take_ip(words[2], (uint16_t)to, family, &edge);
}

static size_t shortest_line(struct bytes in)
{
	if (bytes_starts_with(in, BYTES_LIT("PROXY TCP4")))
		return V1_MIN_TCP4;
	return bytes_starts_with(in, BYTES_LIT("PROXY TCP6")) ? V1_MIN_TCP6 : V1_MIN;
}

static int parse_line(struct bytes in, struct proxy_header *ret, size_t *ret_missing,
		      struct err *err)
{
	size_t end = bytes_index(in, '\r'), least = shortest_line(in);

	if (end == in.len || end + 1 == in.len) {
		size_t missing = end == in.len ? 2 : 1;
		if (in.len + missing > V1_MAX || bytes_index(in, '\n') < in.len)
			return bad_line(err);
		if (end == in.len && in.len + missing < least)
			missing = least - in.len;
		*ret_missing = missing;
		return E_AGAIN;
	}
	if (in.ptr[end + 1] != '\n' || end + 2 != in.len)
		return bad_line(err);
	struct bytes line = bytes_from(bytes_first(in, end), V1_START.len);
	/* What else stands there is nobody's business (§2.1). */
	if (bytes_eq(line, BYTES_LIT("UNKNOWN")) || bytes_starts_with(line, BYTES_LIT("UNKNOWN ")))
		return 0;
	return take_words(line, ret) ? 0 : bad_line(err);
}

/* --- Version 2: binary ---------------------------------------------------------------------------- */

#define V2_HEAD_BYTES 16

enum { COMMAND_LOCAL, COMMAND_PROXY };
enum { FAMILY_UNSPEC, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX };
#define UNIX_BYTES 216
#define TRANSPORT_MAX 2

static void take_v4(struct reader *r, struct address *a)
{
	struct bytes from = reader_take(r, 4);

	reader_take(r, 4);
	*a = (struct address){ .v4 = { .sin_family = AF_INET }, .len = sizeof(a->v4) };
	if (from.len)
		memcpy(&a->v4.sin_addr, from.ptr, from.len);
	a->v4.sin_port = htons(reader_u16be(r));
	reader_u16be(r);
}

static void take_v6(struct reader *r, struct address *a)
{
	struct bytes from = reader_take(r, 16);

	reader_take(r, 16);
	*a = (struct address){ .v6 = { .sin6_family = AF_INET6 }, .len = sizeof(a->v6) };
	if (from.len)
		memcpy(&a->v6.sin6_addr, from.ptr, from.len);
	a->v6.sin6_port = htons(reader_u16be(r));
	reader_u16be(r);
}

static bool take_addresses(unsigned family, struct bytes block, struct proxy_header *ret)
{
	struct reader r = reader_of(block);

	ret->has_visitor = family == FAMILY_INET || family == FAMILY_INET6;
	if (family == FAMILY_INET)
		take_v4(&r, &ret->visitor);
	else if (family == FAMILY_INET6)
		take_v6(&r, &ret->visitor);
	else if (family == FAMILY_UNIX)
		reader_take(&r, UNIX_BYTES);
	return reader_ok(&r);
}

static int parse_binary(struct bytes in, struct proxy_header *ret, size_t *ret_missing,
			struct err *err)
{
	struct reader r = reader_of(bytes_from(in, START_BYTES));

	if (in.len < V2_HEAD_BYTES) {
		*ret_missing = V2_HEAD_BYTES - in.len;
		return E_AGAIN;
	}
	unsigned command = reader_u8(&r), family = reader_u8(&r);
	size_t whole = V2_HEAD_BYTES + reader_u16be(&r);
	if (command >> 4 != 2 || (command & 15) > COMMAND_PROXY)
		return err_set(err, E_INVALID, "a PROXY header of version %u, command %u",
			       command >> 4, command & 15);
	if (whole > PROXY_HEADER_MAX)
		return err_set(err, E_INVALID, "a PROXY header of %zu bytes", whole);
	if (in.len < whole) {
		*ret_missing = whole - in.len;
		return E_AGAIN;
	}
	if (in.len > whole)
		return err_set(err, E_INVALID, "more than a PROXY header");
	if ((command & 15) == COMMAND_LOCAL)
		return 0;
	if (family >> 4 > FAMILY_UNIX || (family & 15) > TRANSPORT_MAX ||
	    !take_addresses(family >> 4, r.left, ret))
		return err_set(err, E_INVALID, "a PROXY header with malformed addresses");
	return 0;
}

/* -------------------------------------------------------------------------------------------------- */

static bool may_become(struct bytes in, struct bytes start)
{
	return bytes_eq(bytes_first(in, start.len), bytes_first(start, in.len));
}

int proxy_header_parse(struct bytes in, struct proxy_header *ret, size_t *ret_missing,
		       struct err *err)
{
	bool is_line = may_become(in, V1_START);

	*ret = (struct proxy_header){ .has_visitor = false };
	*ret_missing = 0;
	if (!is_line && !may_become(in, V2_START))
		return err_set(err, E_INVALID, "no PROXY header");
	if (in.len < START_BYTES) {
		*ret_missing = START_BYTES - in.len;
		return E_AGAIN;
	}
	int rc = is_line ? parse_line(in, ret, ret_missing, err)
			 : parse_binary(in, ret, ret_missing, err);
	if (rc < 0)
		ret->has_visitor = false;
	return rc;
}
