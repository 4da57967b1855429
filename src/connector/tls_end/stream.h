/* A visitor's connection that came through the tunnel, as a byte stream: the bytes of a WebSocket that the edge opened
 * (docs/wire.md, "Public ports"). What goes on top of it (TLS) does not see the difference. One loop.
 */
#pragma once

#include "http/exchange.h"
#include "io/byte_stream.h"

/* Becomes the answerer of the exchange, answers the upgrade, and gives the stream; its peer is the visitor. */
struct byte_stream *tunnel_stream_open(struct exchange *x);
