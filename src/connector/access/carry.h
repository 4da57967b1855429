/* A byte stream carried inside a WebSocket (RFC 6455), this end being the client: binary messages, one per
 * read, every frame with a fresh mask.
 *
 * Each direction holds one buffer of 16 KiB and reads no further until it has left. Pings keep the way open
 * and find out that it is not: when the peer, with nothing of ours left to digest, answers none. (Behind
 * data it may not get to them before its service has read that; then only TCP tells.)
 *
 * Ends. With half-close on both ends (docs/wire.md) an end of either side travels as an empty message and
 * the other direction goes on. Without, the end of `local` becomes a close frame, once nothing has come from
 * the far end for LIMIT_ACCESS_QUIET_MS; its answer is waited for, LIMIT_ACCESS_CLOSE_MS at most. One loop.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

struct byte_stream;
struct loop;
struct access_carry;

/* Comes once, never inside access_carry(), and both streams are closed then: with NULL after both
 * directions have ended properly and everything was delivered, else with what went wrong. The carry is gone. */
typedef void access_carry_done(void *ctx, const struct err *err);

/* Takes both streams over; `early` are bytes that came behind the handshake, at most BUFQ_CHUNK_BYTES. */
struct access_carry *access_carry(struct loop *loop, struct byte_stream *local,
				  struct byte_stream *remote, struct bytes early,
				  bool has_half_close, access_carry_done *done, void *ctx);
/* Gives up: tells the far end (1001), closes both. No done() after this. NULL is fine; returns NULL. */
struct access_carry *access_carry_cancel(struct access_carry *c);
