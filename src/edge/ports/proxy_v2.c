#include "edge/ports/proxy_v2.h"

#include "base/check.h"
#include "base/writer.h"

#define VERSION_AND_PROXY 0x21
#define FAMILY_INET 0x10
#define FAMILY_INET6 0x20
#define STREAM 0x01
#define DATAGRAM 0x02

/* As IPv6, where IPv4 is ::ffff:a.b.c.d. */
static struct in6_addr wide(const struct address *a)
{
	struct in6_addr v6 = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	if (a->any.sa_family == AF_INET6)
		return a->v6.sin6_addr;
	if (a->any.sa_family == AF_INET)
		memcpy(&v6.s6_addr[12], &a->v4.sin_addr, 4);
	return v6;
}

size_t proxy_v2_write(const struct address *visitor, const struct address *edge, bool is_datagram,
		      uint8_t dst[PROXY_V2_MAX])
{
	struct in6_addr from = wide(visitor), to = wide(edge);
	bool is_v4 = IN6_IS_ADDR_V4MAPPED(&from) && IN6_IS_ADDR_V4MAPPED(&to);
	size_t skip = is_v4 ? 12 : 0, len = 16 - skip;
	struct writer w = writer_of(dst, PROXY_V2_MAX);

	writer_put(&w, BYTES_LIT("\r\n\r\n\0\r\nQUIT\n"));
	writer_u8(&w, VERSION_AND_PROXY);
	writer_u8(&w, (uint8_t)((is_v4 ? FAMILY_INET : FAMILY_INET6) |
				(is_datagram ? DATAGRAM : STREAM)));
	writer_u16be(&w, (uint16_t)(2 * len + 4));
	writer_put(&w, bytes_of(from.s6_addr + skip, len));
	writer_put(&w, bytes_of(to.s6_addr + skip, len));
	writer_u16be(&w, address_port(visitor));
	writer_u16be(&w, address_port(edge));
	BUG_IF(!writer_ok(&w));
	return w.len;
}
