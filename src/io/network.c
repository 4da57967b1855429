#include "io/network.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

/* As v4-mapped where it is IPv4, by spelling or by value. */
static bool take_address(const struct address *a, uint8_t ip[16])
{
	if (a->any.sa_family == AF_INET) {
		memcpy(ip, mapped, sizeof(mapped));
		memcpy(ip + 12, &a->v4.sin_addr, 4);
	} else if (a->any.sa_family == AF_INET6) {
		memcpy(ip, &a->v6.sin6_addr, 16);
	} else {
		return false;
	}
	return true;
}

bool network_of_address(const struct address *a, struct network *ret)
{
	ret->bits = 128;
	return take_address(a, ret->ip);
}

bool network_parse(struct bytes text, struct network *ret)
{
	size_t slash = bytes_index(text, '/');
	struct network n = { .bits = 128 };
	struct address a;
	uint64_t bits;

	if (slash == text.len || !bytes_to_u64(bytes_from(text, slash + 1), &bits) ||
	    !address_from_ip(bytes_first(text, slash), 0, &a) || !take_address(&a, n.ip))
		return false;
	if (bits > (a.any.sa_family == AF_INET ? 32 : 128))
		return false;
	if (a.any.sa_family == AF_INET)
		bits += 96;
	/* "::ffff:10.0.0.0/8" would be neither the one nor the other. */
	if (bits < 96 && memcmp(n.ip, mapped, sizeof(mapped)) == 0)
		return false;
	n.bits = (uint8_t)bits;
	for (unsigned i = n.bits; i < 128; i++)
		n.ip[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	*ret = n;
	return true;
}

bool network_is_v4(const struct network *n)
{
	return n->bits >= 96 && memcmp(n->ip, mapped, sizeof(mapped)) == 0;
}

char *network_text(const struct network *n, char text[NETWORK_TEXT_SIZE])
{
	bool is_v4 = network_is_v4(n);

	(void)inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? n->ip + 12 : n->ip, text,
			INET6_ADDRSTRLEN);
	size_t len = strlen(text);
	(void)snprintf(text + len, NETWORK_TEXT_SIZE - len, "/%u", is_v4 ? n->bits - 96U : n->bits);
	return text;
}

bool network_holds(const struct network *outer, const struct network *inner)
{
	unsigned whole = outer->bits / 8, rest = outer->bits % 8;

	if (inner->bits < outer->bits || network_is_v4(outer) != network_is_v4(inner) ||
	    memcmp(inner->ip, outer->ip, whole) != 0)
		return false;
	return rest == 0 || (inner->ip[whole] ^ outer->ip[whole]) >> (8 - rest) == 0;
}

void network_last(const struct network *n, uint8_t ret[16])
{
	memcpy(ret, n->ip, 16);
	for (unsigned i = n->bits; i < 128; i++)
		ret[i / 8] |= (uint8_t)(0x80 >> i % 8);
}
