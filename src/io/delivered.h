/* How far a TCP peer is with what was sent to it. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Bytes the peer has acknowledged since the connection began (tcpi_bytes_acked). False: the socket is not TCP, or the
 * kernel does not say. */
bool delivered_bytes(int fd, uint64_t *ret);
