/* SHA-1, for the one place that needs it: the WebSocket handshake (RFC 6455 §4.2.2), where it proves that
 * the other end speaks the protocol and protects nothing. Any thread. */
#pragma once

#include "base/bytes.h"

#define DIGEST_SHA1_SIZE 20

/* Of the parts, one after the other. */
void digest_sha1(const struct bytes *parts, size_t count, uint8_t dst[DIGEST_SHA1_SIZE]);
