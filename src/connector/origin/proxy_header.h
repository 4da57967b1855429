/* The PROXY protocol header that tells a service who its visitor is (HAProxy's proxy-protocol.txt,
 * versions 1 and 2), written before anything else on a connection. Pure: addresses in, bytes out. */
#pragma once

#include "base/bytes.h"
#include "connector/ingress/ingress.h"
#include "io/address.h"

#define PROXY_HEADER_MAX 108 /* version 1 has 107 bytes at most */

/* Writes the header to `dst` and returns its length; 0 for INGRESS_PROXY_NONE. `client_ip` is an IP literal;
 * anything else counts as unknown: "PROXY UNKNOWN", or LOCAL in version 2. Its port is not known: 0.
 * `service` is the address that was connected to; a Unix socket has none: the any address stands there. */
size_t proxy_header_write(enum ingress_proxy_protocol version, struct bytes client_ip,
			  const struct address *service, uint8_t dst[PROXY_HEADER_MAX]);

#define PROXY_DATAGRAM_MAX 52

/* The version 2 header of one datagram (DGRAM): `client` with its port; len 0: not known, LOCAL. As above. */
size_t proxy_header_datagram(const struct address *client, const struct address *service,
			     uint8_t dst[PROXY_DATAGRAM_MAX]);
