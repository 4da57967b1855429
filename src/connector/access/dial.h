/* Reaching an application: TCP (through a proxy where one is set), TLS, the WebSocket handshake. */
#pragma once

#include "connector/access/target.h"
#include "io/byte_stream.h"

struct loop;
struct access_dial;

/* Comes once, never inside access_dial(): with a stream, owned by the callee, on which the 101 has come,
 * the bytes that came behind it (borrowed for the call), and whether the far end knows half-close; or with
 * NULL and why not. */
typedef void access_dial_done(void *ctx, struct byte_stream *stream, struct bytes early,
			      bool has_half_close, const struct err *err);
/* `target` stays until done() or the cancel. */
struct access_dial *access_dial(struct loop *loop, const struct access_target *target,
				access_dial_done *done, void *ctx);
/* No done() after this. NULL is fine; returns NULL. */
struct access_dial *access_dial_cancel(struct access_dial *d);
