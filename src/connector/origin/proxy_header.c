#include "connector/origin/proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/check.h"
#include "base/writer.h"

/* Both ends in one family, as the header wants them. */
struct ends {
	bool is_v6;
	struct in_addr client4, service4;
	struct in6_addr client6, service6;
	uint16_t client_port, service_port;
	bool is_datagram;
};

static struct in6_addr mapped(struct in_addr v4)
{
	struct in6_addr v6 = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	memcpy(&v6.s6_addr[12], &v4, sizeof(v4));
	return v6;
}

static struct in_addr unmapped(const struct in6_addr *v6)
{
	struct in_addr v4;

	memcpy(&v4, &v6->s6_addr[12], sizeof(v4));
	return v4;
}

static struct ends find_ends(const struct address *client, const struct address *service)
{
	struct ends ends = { .client_port = address_port(client),
			     .service_port = address_port(service) };

	if (client->any.sa_family == AF_INET) {
		ends.client4 = client->v4.sin_addr;
	} else if (IN6_IS_ADDR_V4MAPPED(&client->v6.sin6_addr)) {
		ends.client4 = unmapped(&client->v6.sin6_addr);
	} else {
		ends.is_v6 = true;
		ends.client6 = client->v6.sin6_addr;
	}
	if (service->any.sa_family == AF_INET) {
		ends.service4 = service->v4.sin_addr;
		if (ends.is_v6)
			ends.service6 = mapped(ends.service4);
	} else if (service->any.sa_family == AF_INET6) {
		ends.service6 = service->v6.sin6_addr;
		if (!ends.is_v6 && IN6_IS_ADDR_LOOPBACK(&ends.service6)) {
			/* "localhost" often is ::1. The same place in the visitor's family, so that the
			 * service sees the visitor's address as it is. */
			ends.service4.s_addr = htonl(INADDR_LOOPBACK);
		} else if (!ends.is_v6) {
			ends.is_v6 = true; /* as HAProxy does where the families differ */
			ends.client6 = mapped(ends.client4);
		}
	}
	return ends;
}

static size_t write_v1(const struct ends *ends, uint8_t dst[PROXY_HEADER_MAX])
{
	char client[INET6_ADDRSTRLEN], service[INET6_ADDRSTRLEN], line[PROXY_HEADER_MAX];
	int family = ends && ends->is_v6 ? AF_INET6 : AF_INET;
	int len;

	if (ends) {
		inet_ntop(family,
			  ends->is_v6 ? (const void *)&ends->client6 : (const void *)&ends->client4,
			  client, sizeof(client));
		inet_ntop(family,
			  ends->is_v6 ? (const void *)&ends->service6
				      : (const void *)&ends->service4,
			  service, sizeof(service));
		len = snprintf(line, sizeof(line), "PROXY TCP%d %s %s 0 %u\r\n",
			       ends->is_v6 ? 6 : 4, client, service, ends->service_port);
	} else {
		len = snprintf(line, sizeof(line), "PROXY UNKNOWN\r\n");
	}
	BUG_IF(len < 0 || (size_t)len >= sizeof(line));
	memcpy(dst, line, (size_t)len);
	return (size_t)len;
}

static size_t write_v2(const struct ends *ends, uint8_t dst[PROXY_HEADER_MAX])
{
	struct writer w = writer_of(dst, PROXY_HEADER_MAX);

	writer_put(&w, BYTES_LIT("\r\n\r\n\0\r\nQUIT\n"));
	writer_u8(&w, ends ? 0x21 : 0x20); /* version 2; PROXY or LOCAL */
	/* Family, and STREAM (1) or DGRAM (2). */
	writer_u8(&w, !ends ? 0x00 : (ends->is_v6 ? 0x20 : 0x10) | (ends->is_datagram ? 2 : 1));
	if (!ends) {
		writer_u16be(&w, 0);
	} else if (ends->is_v6) {
		writer_u16be(&w, 36);
		writer_put(&w, bytes_of(&ends->client6, 16));
		writer_put(&w, bytes_of(&ends->service6, 16));
	} else {
		writer_u16be(&w, 12);
		writer_put(&w, bytes_of(&ends->client4, 4));
		writer_put(&w, bytes_of(&ends->service4, 4));
	}
	if (ends) {
		writer_u16be(&w, ends->client_port);
		writer_u16be(&w, ends->service_port);
	}
	BUG_IF(!writer_ok(&w));
	return w.len;
}

size_t proxy_header_write(enum ingress_proxy_protocol version, struct bytes client_ip,
			  const struct address *service, uint8_t dst[PROXY_HEADER_MAX])
{
	struct address client;
	bool is_known = address_from_ip(client_ip, 0, &client);
	struct ends ends = { .is_v6 = false };

	if (is_known)
		ends = find_ends(&client, service);
	switch (version) {
	case INGRESS_PROXY_V1:
		return write_v1(is_known ? &ends : NULL, dst);
	case INGRESS_PROXY_V2:
		return write_v2(is_known ? &ends : NULL, dst);
	case INGRESS_PROXY_NONE:
		break;
	}
	return 0;
}

size_t proxy_header_datagram(const struct address *client, const struct address *service,
			     uint8_t dst[PROXY_DATAGRAM_MAX])
{
	uint8_t header[PROXY_HEADER_MAX];
	struct ends ends = { .is_v6 = false };

	if (client->len) {
		ends = find_ends(client, service);
		ends.is_datagram = true;
	}
	size_t len = write_v2(client->len ? &ends : NULL, header);
	BUG_IF(len > PROXY_DATAGRAM_MAX);
	memcpy(dst, header, len);
	return len;
}
