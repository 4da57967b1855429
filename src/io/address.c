#include "io/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

bool address_from_ip(struct bytes ip, uint16_t port, struct address *ret)
{
	char text[INET6_ADDRSTRLEN];
	struct address a;

	if (ip.len == 0 || ip.len >= sizeof(text) || bytes_index(ip, 0) < ip.len)
		return false;
	memcpy(text, ip.ptr, ip.len);
	text[ip.len] = 0;
	memset(&a, 0, sizeof(a));
	if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(port);
		a.len = sizeof(a.v4);
	} else if (inet_pton(AF_INET6, text, &a.v6.sin6_addr) == 1) {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons(port);
		a.len = sizeof(a.v6);
	} else {
		return false;
	}
	*ret = a;
	return true;
}

int address_split(struct bytes text, struct bytes *ret_host, uint16_t *ret_port, struct err *err)
{
	struct bytes host, port_text;
	uint64_t port;

	if (text.len && text.ptr[0] == '[') {
		size_t end = bytes_index(text, ']');
		if (end + 1 >= text.len || text.ptr[end + 1] != ':')
			return err_set(err, E_INVALID, "\"" BYTES_FMT "\" is not [ADDRESS]:PORT",
				       BYTES_ARG(text));
		host = bytes_from(bytes_first(text, end), 1);
		port_text = bytes_from(text, end + 2);
	} else {
		size_t colon = text.len;
		while (colon > 0 && text.ptr[colon - 1] != ':')
			colon--;
		if (colon == 0)
			return err_set(err, E_INVALID, "\"" BYTES_FMT "\" has no port",
				       BYTES_ARG(text));
		host = bytes_first(text, colon - 1);
		port_text = bytes_from(text, colon);
		if (bytes_index(host, ':') < host.len)
			return err_set(err, E_INVALID,
				       "\"" BYTES_FMT
				       "\": an IPv6 address needs brackets: [ADDRESS]:PORT",
				       BYTES_ARG(text));
	}
	if (!bytes_to_u64(port_text, &port) || port > 65535)
		return err_set(err, E_INVALID, "\"" BYTES_FMT "\": \"" BYTES_FMT "\" is not a port",
			       BYTES_ARG(text), BYTES_ARG(port_text));
	*ret_host = host;
	*ret_port = (uint16_t)port;
	return 0;
}

/* "fe80::1%eth0" or "fe80::1%2" (RFC 4007 §11): a link-local address means something on one link only. Where an
 * operator writes it; peers have no say in our links. */
static bool from_ip_with_zone(struct bytes ip, uint16_t port, struct address *ret)
{
	size_t percent = bytes_index(ip, '%');
	struct bytes zone = bytes_from(ip, percent + 1);
	char name[IF_NAMESIZE] = "";
	uint64_t number = 0;
	struct address a;

	if (percent == ip.len)
		return address_from_ip(ip, port, ret);
	if (!address_from_ip(bytes_first(ip, percent), port, &a) || a.any.sa_family != AF_INET6 ||
	    !IN6_IS_ADDR_LINKLOCAL(&a.v6.sin6_addr) || zone.len == 0 || zone.len >= sizeof(name))
		return false;
	memcpy(name, zone.ptr, zone.len);
	if (!bytes_to_u64(zone, &number))
		number = if_nametoindex(name);
	if (number == 0 || number > UINT32_MAX)
		return false;
	a.v6.sin6_scope_id = (uint32_t)number;
	*ret = a;
	return true;
}

int address_parse(struct bytes text, struct address *ret, struct err *err)
{
	struct bytes host;
	uint16_t port;

	if (bytes_starts_with(text, BYTES_LIT("unix:"))) {
		struct bytes path = bytes_from(text, 5);
		struct address a;
		memset(&a, 0, sizeof(a));
		if (path.len == 0 || path.len >= sizeof(a.local.sun_path) ||
		    bytes_index(path, 0) < path.len)
			return err_set(err, E_INVALID,
				       "\"" BYTES_FMT
				       "\": a socket path has 1 to %zu bytes, none of "
				       "them NUL",
				       BYTES_ARG(text), sizeof(a.local.sun_path) - 1);
		a.local.sun_family = AF_UNIX;
		memcpy(a.local.sun_path, path.ptr, path.len);
		a.len = (socklen_t)sizeof(a.local);
		*ret = a;
		return 0;
	}
	int code = address_split(text, &host, &port, err);
	if (code < 0)
		return code;
	if (host.len == 0)
		host = BYTES_LIT("::");
	if (bytes_eq(host, BYTES_LIT("localhost")))
		host = BYTES_LIT("127.0.0.1");
	if (!from_ip_with_zone(host, port, ret))
		return err_set(err, E_INVALID, "\"" BYTES_FMT "\" is not an IP address and port",
			       BYTES_ARG(text));
	return 0;
}

uint16_t address_port(const struct address *a)
{
	switch (a->any.sa_family) {
	case AF_INET:
		return ntohs(a->v4.sin_port);
	case AF_INET6:
		return ntohs(a->v6.sin6_port);
	default:
		return 0;
	}
}

char *address_ip_text(const struct address *a, char text[ADDRESS_TEXT_SIZE])
{
	text[0] = 0;
	if (a->any.sa_family == AF_INET)
		inet_ntop(AF_INET, &a->v4.sin_addr, text, ADDRESS_TEXT_SIZE);
	else if (a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		inet_ntop(AF_INET, &a->v6.sin6_addr.s6_addr[12], text, ADDRESS_TEXT_SIZE);
	else if (a->any.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &a->v6.sin6_addr, text, ADDRESS_TEXT_SIZE);
	else if (a->any.sa_family == AF_UNIX)
		/* A peer's path of full length has no NUL. */
		snprintf(text, ADDRESS_TEXT_SIZE, "unix:%.*s", (int)sizeof(a->local.sun_path),
			 a->local.sun_path);
	return text;
}

char *address_text(const struct address *a, char text[ADDRESS_TEXT_SIZE])
{
	char ip[ADDRESS_TEXT_SIZE];

	address_ip_text(a, ip);
	if (a->any.sa_family == AF_UNIX)
		snprintf(text, ADDRESS_TEXT_SIZE, "%s", ip);
	else if (a->any.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->v6.sin6_addr) &&
		 a->v6.sin6_scope_id)
		snprintf(text, ADDRESS_TEXT_SIZE, "[%.90s%%%u]:%u", ip, a->v6.sin6_scope_id,
			 address_port(a));
	else if (strchr(ip, ':'))
		snprintf(text, ADDRESS_TEXT_SIZE, "[%.100s]:%u", ip, address_port(a));
	else
		snprintf(text, ADDRESS_TEXT_SIZE, "%.100s:%u", ip, address_port(a));
	return text;
}
