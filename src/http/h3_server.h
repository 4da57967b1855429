/* A visitor's HTTP/3 connection (RFC 9114): every request becomes an exchange, as with h2_server.h. WebSockets come by
 * RFC 9220. One loop.
 */
#pragma once

#include "http/server.h"
#include "quic/quic.h"

/* Takes the connection over, in its endpoint's on_accept. The options are copied. */
struct http_server *h3_server_new(struct quic_conn *conn, const struct http_server_options *options);
