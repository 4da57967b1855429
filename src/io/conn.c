/* Connected sockets as byte streams. Reading is one read(2) straight into the reader's buffer; writing
 * collects the turn's bytes and sends them in one call. */
#include "io/conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bufq.h"
#include "base/limits.h"
#include "base/mem.h"
#include "io/delivered.h"

#define CONN_MAGIC 0x636f6e6e

/* Runs per sendmsg(2): 16 chunks of 16 KiB fill the backlog limit. */
#define WRITE_RUNS 16
/* A write this large with nothing queued goes to the kernel at once, without a copy. TLS records are
 * smaller on purpose: copying four of them costs less than three more system calls. */
#define DIRECT_WRITE_BYTES (64 * 1024)

struct conn {
	struct byte_stream base;
	uint32_t magic;
	int fd;                   /* owned */
	struct loop_watch *watch; /* owned */
	int interest;
	struct bufq out;
	uint8_t *unread; /* owned chunk; NULL: nothing was put back */
	uint32_t unread_start, unread_end;
	bool did_read;     /* during the current on_readable() */
	bool write_short;  /* a write was cut: on_writable() is owed */
	bool write_failed; /* the peer takes nothing more; reading will say why */
	int failed_errno;  /* why; the kernel tells it only once, and a writer got it */
	bool saw_hangup;   /* while paused: of no more interest then */
	bool wants_shutdown, is_shut, is_closing, is_reset;
	struct deferred flush;
	struct deferred wake; /* tells of what was put back */
	struct timer linger;
	uint64_t delivered; /* at the last look while it lingers: is_measured */
	bool is_measured;
	struct address peer;
};

static struct conn *conn_of(struct byte_stream *s)
{
	struct conn *c = CONTAINER_OF(s, struct conn, base);

	CHECK(c, CONN_MAGIC);
	return c;
}

static void set_interest(struct conn *c, int interest)
{
	c->interest = interest;
	/* Paused both ways it is still to be noticed that the peer has reset the connection. A peer that
	 * only ended its side would be reported for ever, hence once. */
	loop_watch_set(c->watch, interest || c->saw_hangup ? interest : LOOP_HANGUP);
}

static void conn_destroy(struct conn *c)
{
	timer_stop(&c->linger);
	deferred_cancel(&c->flush);
	deferred_cancel(&c->wake);
	bufq_chunk_return(c->unread);
	loop_watch_free(c->watch);
	close(c->fd);
	bufq_done(&c->out);
	c->magic = 0;
	mem_free(c);
}

static void note_failure(struct conn *c, int sys_errno)
{
	if (!c->failed_errno)
		c->failed_errno = sys_errno;
}

/* Sends what the kernel takes. False when the connection is dead for writing. */
static bool send_queued(struct conn *c)
{
	while (bufq_len(&c->out)) {
		struct bytes runs[WRITE_RUNS];
		struct iovec iov[WRITE_RUNS];
		int n = bufq_peek(&c->out, runs, WRITE_RUNS);
		size_t offered = 0;
		for (int i = 0; i < n; offered += runs[i++].len)
			iov[i] = (struct iovec){ (void *)(uintptr_t)runs[i].ptr, runs[i].len };
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)n };
		ssize_t sent = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return true;
		if (sent < 0) {
			note_failure(c, errno);
			return false;
		}
		bufq_consume(&c->out, (size_t)sent);
		if ((size_t)sent < offered)
			break; /* the kernel is full: asking again would only say so */
	}
	return true;
}

/* After close(): the rest has left, now wait for the peer to read it, so that our unread input does not
 * turn the close into a reset that destroys it (RFC 9112 §9.6). */
static void linger_read(struct conn *c)
{
	uint8_t scrap[4096];

	for (int i = 0; i < 16; i++) {
		ssize_t n = read(c->fd, scrap, sizeof(scrap));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			conn_destroy(c);
			return;
		}
	}
	set_interest(c, LOOP_READABLE);
}

static void conn_flush(struct conn *c)
{
	if (c->is_reset) {
		conn_destroy(c);
		return;
	}
	if (!send_queued(c)) {
		/* The reader learns the cause; wake it even if it had paused. */
		c->write_failed = true;
		bufq_done(&c->out);
		if (!c->is_closing)
			set_interest(c, c->interest | LOOP_READABLE);
	}
	if (bufq_len(&c->out)) {
		set_interest(c, c->interest | LOOP_WRITABLE);
	} else {
		set_interest(c, c->interest & ~LOOP_WRITABLE);
		if ((c->wants_shutdown || c->is_closing) && !c->is_shut) {
			c->is_shut = true;
			shutdown(c->fd, SHUT_WR);
		}
		if (c->is_closing) {
			linger_read(c);
			return;
		}
	}
	if (c->write_short && !c->is_closing && bufq_len(&c->out) <= LIMIT_WRITE_BACKLOG_BYTES / 2) {
		c->write_short = false;
		if (c->base.events && c->base.events->on_writable)
			c->base.events->on_writable(c->base.ctx);
	}
}

static void on_flush(struct deferred *d)
{
	conn_flush(CONTAINER_OF(d, struct conn, flush));
}

static void report_error(struct conn *c)
{
	int sys_errno = 0;
	socklen_t len = sizeof(sys_errno);
	struct err err;

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &sys_errno, &len);
	if (c->failed_errno)
		sys_errno = c->failed_errno;
	if (sys_errno)
		err_set_errno(&err, E_CLOSED, sys_errno, "connection lost");
	else
		err_set(&err, E_CLOSED, "connection lost");
	if (c->base.events && c->base.events->on_error)
		c->base.events->on_error(c->base.ctx, &err);
}

static void on_ready(void *arg, int events)
{
	struct conn *c = arg;
	bool is_dead = events == (LOOP_READABLE | LOOP_WRITABLE) && c->interest != events;

	CHECK(c, CONN_MAGIC);
	if (is_dead)
		c->interest = 0; /* the loop has stopped watching */
	if (c->is_closing) {
		if (bufq_len(&c->out))
			conn_flush(c);
		else
			linger_read(c);
		return;
	}
	if (events == LOOP_HANGUP) {
		c->saw_hangup = true;
		set_interest(c, c->interest);
		return;
	}
	if (events & LOOP_WRITABLE && !is_dead)
		loop_defer_flush(c->base.loop, &c->flush);
	if (events & LOOP_READABLE) {
		c->did_read = false;
		if (c->base.events)
			c->base.events->on_readable(c->base.ctx);
		/* Whoever has no room does not read: stop asking until want_read(). The connection may be
		 * closing by now, but it is never freed inside a callback of its own. */
		if (!c->did_read && !c->is_closing) {
			if (!is_dead)
				set_interest(c, c->interest & ~LOOP_READABLE);
			if (is_dead || c->write_failed)
				report_error(c);
		} else if (is_dead && !c->is_closing) {
			/* It read what had come before the error: watch on, to read the error too. */
			set_interest(c, c->interest | LOOP_READABLE);
		}
	}
}

static void on_wake(struct deferred *d)
{
	struct conn *c = CONTAINER_OF(d, struct conn, wake);

	CHECK(c, CONN_MAGIC);
	if (c->unread && c->base.events)
		c->base.events->on_readable(c->base.ctx);
}

/* --- The byte stream ------------------------------------------------------------------------- */

static ssize_t read_unread(struct conn *c, uint8_t *dst, size_t cap)
{
	size_t len = c->unread_end - c->unread_start;

	if (len > cap)
		len = cap;
	memcpy(dst, c->unread + c->unread_start, len);
	c->unread_start += (uint32_t)len;
	if (c->unread_start == c->unread_end)
		bufq_chunk_return(TAKE(c->unread));
	return (ssize_t)len;
}

static ssize_t conn_read(struct byte_stream *s, uint8_t *dst, size_t cap, struct err *err)
{
	struct conn *c = conn_of(s);
	ssize_t n;

	c->did_read = true;
	if (c->unread)
		return read_unread(c, dst, cap);
	do
		n = read(c->fd, dst, cap);
	while (n < 0 && errno == EINTR);
	int sys_errno = errno;
	if (n < 0 && (sys_errno == EAGAIN || sys_errno == EWOULDBLOCK)) {
		set_interest(c, c->interest | LOOP_READABLE);
		return E_AGAIN;
	}
	/* A reset that a write has met looks like a proper end to read(2). EPIPE is no reset: the peer had
	 * ended its side before it went. */
	if (n == 0 && c->failed_errno && c->failed_errno != EPIPE) {
		n = -1;
		sys_errno = c->failed_errno;
	}
	if (n >= 0)
		return n;
	return err_set_errno(err, sys_errno == ETIMEDOUT ? E_TIMEOUT : E_CLOSED, sys_errno,
			     "reading");
}

static void conn_want_read(struct byte_stream *s)
{
	struct conn *c = conn_of(s);

	c->did_read = true; /* asked from within on_readable() it counts like a read */
	if (c->unread)
		loop_defer(s->loop, &c->wake);
	set_interest(c, c->interest | LOOP_READABLE);
}

static size_t conn_write(struct byte_stream *s, struct bytes data)
{
	struct conn *c = conn_of(s);
	size_t taken = 0;

	if (c->write_failed || c->wants_shutdown)
		return data.len; /* goes nowhere; reading tells */
	if (bufq_len(&c->out) == 0 && data.len >= DIRECT_WRITE_BYTES) {
		ssize_t n = send(c->fd, data.ptr, data.len, MSG_NOSIGNAL);
		if (n > 0)
			taken = (size_t)n;
		else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
			note_failure(c, errno); /* the flush will find it dead */
	}
	taken += bufq_write(&c->out, bytes_from(data, taken));
	if (taken < data.len)
		c->write_short = true;
	if (bufq_len(&c->out) && !(c->interest & LOOP_WRITABLE))
		loop_defer_flush(s->loop, &c->flush);
	return taken;
}

static size_t conn_backlog(const struct byte_stream *s)
{
	return bufq_len(&CONTAINER_OF(s, const struct conn, base)->out);
}

static void conn_shutdown(struct byte_stream *s)
{
	struct conn *c = conn_of(s);

	c->wants_shutdown = true;
	loop_defer_flush(s->loop, &c->flush);
}

static bool conn_delivered(const struct byte_stream *s, uint64_t *ret)
{
	return delivered_bytes(CONTAINER_OF(s, const struct conn, base)->fd, ret);
}

/* What the kernel has and the peer has not taken. */
static bool kernel_has_unsent(const struct conn *c)
{
	int count = 0;

	return ioctl(c->fd, SIOCOUTQ, &count) == 0 && count > 0;
}

/* A slow line gets the rest of its answer; who takes nothing is reset, for the kernel would keep what it has for as
 * long as the peer likes. */
static void on_linger_timeout(struct timer *t)
{
	struct conn *c = CONTAINER_OF(t, struct conn, linger);
	const struct linger none = { .l_onoff = 1 };
	bool is_stuck = bufq_len(&c->out) > 0;
	uint64_t delivered = 0;

	if ((is_stuck || kernel_has_unsent(c)) && delivered_bytes(c->fd, &delivered)) {
		if (!c->is_measured || delivered - c->delivered >= LIMIT_LINGER_BYTES) {
			c->is_measured = true;
			c->delivered = delivered;
			timer_set(&c->linger, LIMIT_LINGER_MS);
			return;
		}
		is_stuck = is_stuck || delivered == c->delivered;
	}
	if (is_stuck)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	conn_destroy(c);
}

static void conn_close(struct byte_stream *s)
{
	struct conn *c = conn_of(s);

	c->base.events = NULL;
	c->is_closing = true;
	deferred_cancel(&c->wake);
	if (bufq_len(&c->out))
		c->is_measured = delivered_bytes(c->fd, &c->delivered);
	timer_set(&c->linger, LIMIT_LINGER_MS);
	/* Nothing is read until the backlog has left: input would only keep the loop busy. */
	set_interest(c, c->interest & LOOP_WRITABLE);
	/* Even with nothing to send: the caller may be inside a callback of this connection. */
	loop_defer_flush(s->loop, &c->flush);
}

static const struct byte_stream_ops conn_ops = {
	.name = "tcp",
	.read = conn_read,
	.want_read = conn_want_read,
	.write = conn_write,
	.backlog = conn_backlog,
	.shutdown = conn_shutdown,
	.close = conn_close,
	.delivered = conn_delivered,
};

static void set_keepalive(int fd, int idle_s, int interval_s)
{
	int on = idle_s > 0, probes = 3;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (!on)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

void conn_set_keepalive(struct byte_stream *s, int seconds)
{
	BUG_IF(s->ops != &conn_ops);
	struct conn *c = conn_of(s);
	if (c->peer.any.sa_family != AF_UNIX)
		set_keepalive(c->fd, seconds, seconds);
}

struct byte_stream *conn_reset(struct byte_stream *s)
{
	const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	if (!s)
		return NULL;
	BUG_IF(s->ops != &conn_ops);
	struct conn *c = conn_of(s);
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	bufq_done(&c->out);
	c->is_reset = true;
	conn_close(s);
	return NULL;
}

void conn_unread(struct byte_stream *s, uint8_t *chunk, size_t len)
{
	BUG_IF(s->ops != &conn_ops || len > BUFQ_CHUNK_BYTES);
	struct conn *c = conn_of(s);
	BUG_IF(c->unread);
	if (len == 0) {
		bufq_chunk_return(chunk);
		return;
	}
	c->unread = chunk;
	c->unread_start = 0;
	c->unread_end = (uint32_t)len;
	loop_defer(s->loop, &c->wake);
}

void conn_set_peer(struct byte_stream *s, const struct address *peer)
{
	BUG_IF(s->ops != &conn_ops);
	conn_of(s)->peer = *peer;
}

void conn_local_address(struct byte_stream *s, struct address *ret)
{
	BUG_IF(s->ops != &conn_ops);
	*ret = (struct address){ 0 };
	socklen_t len = sizeof(ret->local);
	ret->len = getsockname(conn_of(s)->fd, &ret->any, &len) == 0 ? len : 0;
}

struct byte_stream *conn_adopt(struct loop *l, int fd, const struct address *peer)
{
	struct conn *c = mem_alloc(sizeof(*c));
	int on = 1;

	c->magic = CONN_MAGIC;
	c->fd = fd;
	c->peer = *peer;
	c->base = (struct byte_stream){ .ops = &conn_ops, .loop = l, .peer = &c->peer };
	bufq_init(&c->out, LIMIT_WRITE_BACKLOG_BYTES);
	deferred_init(&c->flush, on_flush);
	deferred_init(&c->wake, on_wake);
	timer_init(&c->linger, l, on_linger_timeout);
	if (peer->any.sa_family != AF_UNIX) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		set_keepalive(fd, 30, 10);
	}
	c->watch = loop_watch_new(l, fd, on_ready, c);
	BUG_IF(!c->watch);
	set_interest(c, LOOP_READABLE);
	return &c->base;
}
