/* The PROXY protocol header, version 2 (HAProxy's proxy-protocol.txt §2.2), that tells the service behind a
 * port who its visitor is, ports included. Pure.
 */
#pragma once

#include "base/bytes.h"
#include "io/address.h"

#define PROXY_V2_MAX 52 /* IPv6 */

/* Writes the header to `dst`, returns its length. `visitor` and `edge` are the two ends of the connection, or of
 * the datagram, as they reached the edge; an address that stands for IPv4 counts as that. */
size_t proxy_v2_write(const struct address *visitor, const struct address *edge, bool is_datagram,
		      uint8_t dst[PROXY_V2_MAX]);
