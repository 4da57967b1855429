/* A visitor's HTTP/2 connection (RFC 9113): every request becomes an exchange.
 *
 * A request's body is bounded by its stream's window, all of a connection together by the connection's; a response is
 * written as the windows and the connection take it. An extended CONNECT (RFC 8441) is an exchange with
 * request.is_upgrade like an HTTP/1.1 handshake, and its 101 goes back as 200; the handshake fields that HTTP/2 does
 * not have are added. One loop.
 */
#pragma once

#include "http/server.h"
#include "io/byte_stream.h"

/* Takes the byte stream over. The options are copied. */
struct http_server *h2_server_new(struct byte_stream *stream,
				  const struct http_server_options *options);
