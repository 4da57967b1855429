/* TCP and Unix-socket connections as byte streams; connecting and listening. */
#pragma once

#include "io/address.h"
#include "io/byte_stream.h"
#include "io/loop.h"

/* Takes over a connected, non-blocking socket. Never fails: a bad fd shows at the first read. */
struct byte_stream *conn_adopt(struct loop *l, int fd, const struct address *peer);

/* A stream of conn_adopt() or conn_connect…(): after so many seconds without a byte a TCP connection is
 * probed, so many seconds apart, and is dead when three probes stay unanswered. 0: never; without this
 * call 30 and then every 10. */
void conn_set_keepalive(struct byte_stream *s, int seconds);
/* Who it is from now on, where a balancer in between has said so; copied. */
void conn_set_peer(struct byte_stream *s, const struct address *peer);
/* Puts what was read back, to be read first, once; on_readable() says so. `chunk` is one of bufq_chunk_take() and taken
 * over. Only on a stream with nothing put back. */
void conn_unread(struct byte_stream *s, uint8_t *chunk, size_t len);
/* Our own address of such a stream; len 0 when the connection is gone already. */
void conn_local_address(struct byte_stream *s, struct address *ret);

/* As byte_stream_close(), but a TCP peer gets a reset instead of an end: what it has got is not all. What is in
 * the backlog is dropped. NULL is fine; returns NULL. */
struct byte_stream *conn_reset(struct byte_stream *s);

/* --- Connecting ----------------------------------------------------------------------------- */

struct conn_attempt;

/* Connects within `timeout_ms`. done() comes exactly once, never inside this call: with a stream
 * (owned by the callee then) or with NULL and an error (E_REFUSED, E_TIMEOUT, E_IO; sys_errno set). */
typedef void conn_done(void *ctx, struct byte_stream *stream, const struct err *err);
struct conn_attempt *conn_connect(struct loop *l, const struct address *to, int64_t timeout_ms,
				  conn_done *done, void *ctx);
/* The same by name: looks `host` up off the loop and tries the addresses, IPv6 and IPv4 in turn
 * 250 ms apart (RFC 8305). IP literals never leave the process, nor does "localhost", which is ::1 and
 * then 127.0.0.1. */
struct conn_attempt *conn_connect_name(struct loop *l, struct bytes host, uint16_t port,
				       int64_t timeout_ms, conn_done *done, void *ctx);
/* The same without racing: one address after the other in the resolver's order, each with its share of
 * the time that is left (2 s at least). */
struct conn_attempt *conn_connect_name_serial(struct loop *l, struct bytes host, uint16_t port,
					      int64_t timeout_ms, conn_done *done, void *ctx);
struct conn_name_options {
	bool is_serial; /* as conn_connect_name_serial() */
	/* Which addresses may be connected to, by name or literal; asked on the loop before done(). None: every
	 * one. When it refuses all of them: E_DENIED. Nothing is looked up between this and connecting. */
	bool (*allows)(void *ctx, const struct address *to);
	void *allows_ctx;
	/* Our address of the connection, port 0; only addresses of its family are connected to. NULL: any. */
	const struct address *from;
};
struct conn_attempt *conn_connect_name_with(struct loop *l, struct bytes host, uint16_t port,
					    int64_t timeout_ms,
					    const struct conn_name_options *options,
					    conn_done *done, void *ctx);
/* Several addresses, known already, raced in their order 250 ms apart; CONN_MAX_ADDRESSES at most, which are
 * copied. `from` as in the options. Which one it was says the stream's peer. */
#define CONN_MAX_ADDRESSES 8
struct conn_attempt *conn_connect_any(struct loop *l, const struct address *addresses, size_t count,
				      const struct address *from, int64_t timeout_ms,
				      conn_done *done, void *ctx);
/* No done() after this. */
struct conn_attempt *conn_attempt_cancel(struct conn_attempt *a);

/* --- Listening ------------------------------------------------------------------------------ */

struct listener;

/* Does the address (its port does not count) belong to this host now? Asks the kernel, does not block. */
bool address_is_of_this_host(const struct address *a);

/* An open listening socket: bind + listen. SO_REUSEPORT is set when `shared`, so that each worker has
 * one of its own. Port 0 picks one; *address is updated to the real one. Returns the descriptor or an error. */
int listen_open(struct address *address, bool shared, struct err *err);
/* Accepts on the loop; `on_accept` gets a non-blocking socket it owns. At most
 * LIMIT_ACCEPTS_PER_TURN per turn; when the process runs out of descriptors it pauses for a moment.
 * Takes the descriptor over. */
struct listener *listener_new(struct loop *l, int fd,
			      void (*on_accept)(void *ctx, int fd, const struct address *peer),
			      void *ctx);
/* Who is told when it pauses, on the loop; `ctx` is that of `on_accept`. NULL: nobody. */
void listener_set_exhausted(struct listener *l, void (*on_exhausted)(void *ctx, int sys_errno));
struct listener *listener_free(struct listener *l);
