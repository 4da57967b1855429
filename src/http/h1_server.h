/* A visitor's HTTP/1.1 connection (RFC 9112): reads requests and produces one exchange after the other.
 *
 * The next request is looked at only when the exchange before it has ended, so a connection holds one
 * exchange at most. Bodies stream with backpressure both ways; after 101 the connection is raw both
 * ways. Whatever is ambiguous is answered (400, 408, 414, 431, 501, 505) and the connection closed; no
 * byte after it is ever read as a request. What concerns one hop only is taken out of requests and
 * responses here (head_strip_hop_by_hop), and Expect, which is answered here; nothing but framing is
 * added.
 *
 * A visitor who ends its side while the answer is still being made has left, as nginx and Go see it:
 * the exchange is cancelled. One loop.
 */
#pragma once

#include "http/server.h"
#include "io/byte_stream.h"

/* Takes the byte stream over. The options are copied. */
struct http_server *h1_server_new(struct byte_stream *stream,
				  const struct http_server_options *options);
