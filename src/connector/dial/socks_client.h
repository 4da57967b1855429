/* SOCKS 5 (RFC 1928), the client's side: CONNECT, without authentication or with a name and password (RFC 1929).
 * Pure: bytes in, bytes out. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/* The longest message of a proxy: a reply with a name. */
#define SOCKS_CLIENT_IN_BYTES (4 + 1 + 255 + 2)
/* The longest of ours: name and password. */
#define SOCKS_CLIENT_OUT_BYTES (1 + 1 + 255 + 1 + 255)

struct socks_client {
	/* Where to, borrowed: an IP literal without brackets or a name of at most 255 bytes. */
	struct bytes host;
	uint16_t port;
	struct bytes user, password; /* at most 255 bytes each; an empty user: none */
	enum { SOCKS_CLIENT_METHOD, SOCKS_CLIENT_AUTH, SOCKS_CLIENT_REPLY } state;
};

/* The greeting. The other members are set; `out` has room for SOCKS_CLIENT_OUT_BYTES, here and below. */
void socks_client_start(struct socks_client *c, struct buf *out);
/* Takes at most one message off the front of *in, which is nothing else than what has come so far. 1: connected,
 * what is left is from there; 0: `out` may have something to send, more is needed; E_PROTOCOL, E_DENIED,
 * E_REFUSED with what the proxy said. */
int socks_client_feed(struct socks_client *c, struct bytes *in, struct buf *out,
		      struct err *err) MUST_USE;
