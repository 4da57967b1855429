/* A two-way byte channel: plain TCP, a Unix socket or TLS look alike.
 *
 * The user embeds nothing: it is given a `struct byte_stream *` and sets its events. Reading is
 * pulled: on_readable() fires, the user reads until E_AGAIN or until it has no room. A user without
 * room simply does not read and calls byte_stream_want_read() when it has room again; the kernel's
 * buffer then stops the peer. Writing is pushed into a bounded backlog that leaves at the end of the
 * turn in one system call. One loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/err.h"

struct byte_stream;
struct loop;
struct address;

struct byte_stream_events {
	/* Bytes or the end may be waiting. Also fires after byte_stream_want_read(). */
	void (*on_readable)(void *ctx);
	/* The backlog that made a write fall short has room again. */
	void (*on_writable)(void *ctx);
	/* The connection failed while writing, or was found dead. Reads report errors themselves, this
	 * is for when nobody reads. The user still calls byte_stream_close(). */
	void (*on_error)(void *ctx, const struct err *err);
};

struct byte_stream_ops {
	const char *name; /* "tcp", "tls" */
	ssize_t (*read)(struct byte_stream *s, uint8_t *dst, size_t cap, struct err *err);
	void (*want_read)(struct byte_stream *s);
	size_t (*write)(struct byte_stream *s, struct bytes data);
	size_t (*backlog)(const struct byte_stream *s);
	void (*shutdown)(struct byte_stream *s);
	void (*close)(struct byte_stream *s);
	/* NULL: never known. */
	bool (*delivered)(const struct byte_stream *s, uint64_t *ret);
};

/* Implementations put this first in their struct. */
struct byte_stream {
	const struct byte_stream_ops *ops;
	struct loop *loop;                       /* borrowed */
	const struct byte_stream_events *events; /* borrowed, static */
	void *ctx;                               /* borrowed, the user's */
	const struct address *peer;              /* borrowed from the stream */
};

static inline void byte_stream_set_events(struct byte_stream *s,
					  const struct byte_stream_events *events, void *ctx)
{
	s->events = events;
	s->ctx = ctx;
}

/* > 0: that many bytes. 0: the peer has ended its side. E_AGAIN: nothing now, on_readable() follows.
 * Other negative codes: the connection is dead. */
static inline ssize_t byte_stream_read(struct byte_stream *s, uint8_t *dst, size_t cap,
				       struct err *err)
{
	return s->ops->read(s, dst, cap, err);
}

/* Asks for on_readable() on a later turn even if no new byte arrives (some may be buffered). */
static inline void byte_stream_want_read(struct byte_stream *s)
{
	s->ops->want_read(s);
}

/* Takes all or a part; less than data.len means that the backlog is full and on_writable() follows. */
static inline size_t byte_stream_write(struct byte_stream *s, struct bytes data)
{
	return s->ops->write(s, data);
}

/* Bytes taken but not yet given to the kernel. */
static inline size_t byte_stream_backlog(const struct byte_stream *s)
{
	return s->ops->backlog(s);
}

/* Bytes of this connection that the peer itself has taken so far, its own framing (TLS) included. False: there is no
 * way to know. A system call: for now and then. */
static inline bool byte_stream_delivered(const struct byte_stream *s, uint64_t *ret)
{
	return s->ops->delivered && s->ops->delivered(s, ret);
}

/* Ends our side once the backlog has left (FIN, close_notify). Reading goes on. */
static inline void byte_stream_shutdown(struct byte_stream *s)
{
	s->ops->shutdown(s);
}

/* Gives the stream up: no event follows. What is in the backlog is still sent, in the background and
 * as long as the peer goes on taking it (LIMIT_LINGER_MS, LIMIT_LINGER_BYTES); then the memory is freed. NULL is fine; returns NULL. */
static inline struct byte_stream *byte_stream_close(struct byte_stream *s)
{
	if (s)
		s->ops->close(s);
	return NULL;
}
