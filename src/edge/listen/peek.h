/* Which name a visitor asks for, before any TLS: asked only while there are hostnames whose TLS is passed through. What
 * was read is put back in front of the stream, so that whoever gets it reads it once more, without a further
 * system call. Worker thread.
 */
#pragma once

#include "base/bytes.h"

struct allowance;
struct byte_stream;
struct worker;

/* `name` is lower case; empty: there is none, or this is no ClientHello, or the connection has ended: its reader finds
 * out. The stream and the allowance are the callee's. Not called when nothing came in time, nor when the worker
 * stops. */
typedef void peek_done(struct worker *w, struct byte_stream *stream, struct allowance *allowance,
		       struct bytes name);

/* Takes a fresh stream of io/conn.h over, and the allowance (NULL: it has none). */
void peek_start(struct worker *w, struct byte_stream *stream, struct allowance *allowance,
		peek_done *done);
void peek_cancel_all(struct worker *w);
