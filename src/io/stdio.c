#include "io/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bufq.h"
#include "base/limits.h"
#include "base/mem.h"
#include "io/address.h"
#include "io/loop.h"

#define STDIO_MAGIC 0x73746469

/* Runs of one write: as many chunks as fill the queue. */
#define WRITE_RUNS (LIMIT_BODY_QUEUE_BYTES / BUFQ_CHUNK_BYTES + 1)

/* One of the two descriptors. */
struct end {
	int fd;          /* owned: opened anew, or a duplicate; -1: closed */
	int saved_flags; /* of a duplicate, for restoring; -1: nothing to restore */
	bool is_socket;
	struct loop_watch *watch; /* owned; NULL: cannot be polled, the thread pool reads or writes */
	int interest;
};

struct stdio {
	struct byte_stream base;
	uint32_t magic;
	struct end in, out;
	int given_out; /* the caller's: becomes /dev/null */
	bool did_read, owes_readable;
	bool write_short, wants_shutdown, is_shut, is_closing;
	bool saw_hangup;
	struct bufq queue;  /* towards out */
	struct err failure; /* of writing; code 0: none */
	bool owes_error;
	struct deferred event, flush;
	struct timer linger;

	/* What the thread pool does: one read and one write at most. While it does, the worker has the
	 * fields of its half. */
	bool is_reading, is_writing;
	uint8_t *ahead; /* owned chunk: what was read and not yet taken */
	size_t ahead_start, ahead_end;
	bool ahead_at_end;
	int read_errno;
	struct iovec iov[WRITE_RUNS];
	int iov_count;
	ssize_t written;
	int write_errno;
};

static struct stdio *stdio_of(struct byte_stream *stream)
{
	struct stdio *s = CONTAINER_OF(stream, struct stdio, base);

	CHECK(s, STDIO_MAGIC);
	return s;
}

static void end_set(struct end *e, int interest)
{
	e->interest = interest;
	if (e->watch)
		loop_watch_set(e->watch, interest);
}

static void end_close(struct end *e)
{
	e->watch = loop_watch_free(e->watch);
	if (e->fd < 0)
		return;
	if (e->saved_flags >= 0)
		(void)fcntl(e->fd, F_SETFL, e->saved_flags);
	close(e->fd);
	e->fd = -1;
}

static void stdio_destroy(struct stdio *s)
{
	timer_stop(&s->linger);
	deferred_cancel(&s->event);
	deferred_cancel(&s->flush);
	end_close(&s->in);
	end_close(&s->out);
	bufq_done(&s->queue);
	if (s->ahead)
		bufq_chunk_return(s->ahead);
	s->magic = 0;
	mem_free(s);
}

/* --- Writing --------------------------------------------------------------------------------- */

static void start_writing(struct stdio *s);

static void write_failed(struct stdio *s, int sys_errno)
{
	if (s->failure.code)
		return;
	err_set_errno(&s->failure, E_CLOSED, sys_errno, "writing to standard output");
	bufq_done(&s->queue);
	if (s->out.watch)
		end_set(&s->out, 0);
	s->owes_error = true;
	loop_defer(s->base.loop, &s->event);
}

/* Whoever reads our output sees its end now. */
static void end_output(struct stdio *s)
{
	s->is_shut = true;
	if (s->out.is_socket)
		(void)shutdown(s->out.fd, SHUT_WR);
	end_close(&s->out);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null >= 0) {
		(void)dup2(null, s->given_out);
		close(null);
	}
}

static int offer_queued(struct stdio *s)
{
	struct bytes runs[WRITE_RUNS];
	int count = bufq_peek(&s->queue, runs, WRITE_RUNS);

	for (int i = 0; i < count; i++)
		s->iov[i] = (struct iovec){ (void *)(uintptr_t)runs[i].ptr, runs[i].len };
	return count;
}

/* Where output can be polled: as much as there is room for. */
static void write_polled(struct stdio *s)
{
	while (bufq_len(&s->queue) && !s->failure.code) {
		ssize_t n = writev(s->out.fd, s->iov, offer_queued(s));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n < 0)
			write_failed(s, errno);
		else
			bufq_consume(&s->queue, (size_t)n);
	}
}

/* After something has left: whoever waits for that goes on. May free the stream. */
static void written_out(struct stdio *s)
{
	bool is_empty = bufq_len(&s->queue) == 0 && !s->is_writing;

	if (!s->is_shut && s->out.watch && !s->failure.code)
		end_set(&s->out, !is_empty ? LOOP_WRITABLE : s->saw_hangup ? 0 : LOOP_HANGUP);
	if (is_empty && s->wants_shutdown && !s->is_shut && !s->is_closing)
		end_output(s);
	if (s->is_closing) {
		if (is_empty && !s->is_reading)
			stdio_destroy(s);
		return;
	}
	if (s->write_short && !s->failure.code && bufq_len(&s->queue) <= LIMIT_BODY_QUEUE_BYTES / 2) {
		s->write_short = false;
		if (s->base.events && s->base.events->on_writable)
			s->base.events->on_writable(s->base.ctx);
	}
}

static void on_flush(struct deferred *d)
{
	struct stdio *s = CONTAINER_OF(d, struct stdio, flush);

	CHECK(s, STDIO_MAGIC);
	if (s->is_shut || s->failure.code)
		bufq_done(&s->queue);
	else if (s->out.watch)
		write_polled(s);
	else
		start_writing(s);
	written_out(s);
}

static void write_work(void *arg)
{
	struct stdio *s = arg;

	do
		s->written = writev(s->out.fd, s->iov, s->iov_count);
	while (s->written < 0 && errno == EINTR);
	s->write_errno = s->written < 0 ? errno : 0;
}

static void on_written(void *arg)
{
	struct stdio *s = arg;

	CHECK(s, STDIO_MAGIC);
	s->is_writing = false;
	if (s->written >= 0)
		bufq_consume(&s->queue, (size_t)s->written);
	else
		write_failed(s, s->write_errno);
	start_writing(s);
	written_out(s);
}

static void start_writing(struct stdio *s)
{
	if (s->is_writing || bufq_len(&s->queue) == 0 || s->failure.code)
		return;
	/* Bytes queued meanwhile stand behind these runs: nobody touches what the worker reads. */
	s->iov_count = offer_queued(s);
	s->is_writing = true;
	loop_work(s->base.loop, write_work, on_written, s);
}

static size_t stdio_write(struct byte_stream *stream, struct bytes data)
{
	struct stdio *s = stdio_of(stream);

	if (s->failure.code || s->wants_shutdown)
		return data.len; /* goes nowhere; on_error() tells */
	size_t taken = bufq_write(&s->queue, data);
	if (taken < data.len)
		s->write_short = true;
	if (!(s->out.interest & LOOP_WRITABLE))
		loop_defer_flush(s->base.loop, &s->flush);
	return taken;
}

static size_t stdio_backlog(const struct byte_stream *stream)
{
	return bufq_len(&CONTAINER_OF(stream, const struct stdio, base)->queue);
}

static void stdio_shutdown(struct byte_stream *stream)
{
	struct stdio *s = stdio_of(stream);

	s->wants_shutdown = true;
	loop_defer_flush(s->base.loop, &s->flush);
}

static void on_out_ready(void *arg, int events)
{
	struct stdio *s = arg;

	CHECK(s, STDIO_MAGIC);
	if (events == (LOOP_READABLE | LOOP_WRITABLE)) {
		/* No interest of ours: the loop has stopped watching. Nobody reads a pipe, a terminal hung
		 * up, a socket was reset. A write says which. */
		s->out.interest = 0;
		if (bufq_len(&s->queue))
			write_polled(s);
		if (!s->failure.code)
			write_failed(s, EPIPE);
		written_out(s);
		return;
	}
	if (events == LOOP_HANGUP) {
		/* The peer of a socket ended its side; it may still read. */
		s->saw_hangup = true;
		end_set(&s->out, 0);
		return;
	}
	write_polled(s);
	written_out(s);
}

/* --- Reading --------------------------------------------------------------------------------- */

static void read_work(void *arg)
{
	struct stdio *s = arg;
	ssize_t n;

	do
		n = read(s->in.fd, s->ahead, BUFQ_CHUNK_BYTES);
	while (n < 0 && errno == EINTR);
	s->read_errno = n < 0 ? errno : 0;
	s->ahead_start = 0;
	s->ahead_end = n > 0 ? (size_t)n : 0;
	s->ahead_at_end = n == 0;
}

static void on_read(void *arg)
{
	struct stdio *s = arg;

	CHECK(s, STDIO_MAGIC);
	s->is_reading = false;
	if (s->is_closing)
		loop_defer_flush(s->base.loop, &s->flush);
	else if (s->base.events)
		s->base.events->on_readable(s->base.ctx);
}

static bool has_ahead(const struct stdio *s)
{
	return s->ahead_start < s->ahead_end || s->ahead_at_end || s->read_errno;
}

static void start_reading(struct stdio *s)
{
	if (s->is_reading)
		return;
	if (!s->ahead)
		s->ahead = bufq_chunk_take();
	s->is_reading = true;
	loop_work(s->base.loop, read_work, on_read, s);
}

static int read_failed(int sys_errno, struct err *err)
{
	return err_set_errno(err, E_CLOSED, sys_errno, "reading standard input");
}

static ssize_t read_ahead(struct stdio *s, uint8_t *dst, size_t cap, struct err *err)
{
	size_t len = s->ahead_end - s->ahead_start;

	if (s->is_reading)
		return E_AGAIN;
	if (len) {
		len = len < cap ? len : cap;
		memcpy(dst, s->ahead + s->ahead_start, len);
		s->ahead_start += len;
		return (ssize_t)len;
	}
	if (s->ahead_at_end)
		return 0;
	if (s->read_errno)
		return read_failed(s->read_errno, err);
	start_reading(s);
	return E_AGAIN;
}

static ssize_t stdio_read(struct byte_stream *stream, uint8_t *dst, size_t cap, struct err *err)
{
	struct stdio *s = stdio_of(stream);
	ssize_t n;

	s->did_read = true;
	if (!s->in.watch)
		return read_ahead(s, dst, cap, err);
	do
		n = read(s->in.fd, dst, cap);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		return read_failed(errno, err);
	end_set(&s->in, LOOP_READABLE);
	return E_AGAIN;
}

static void stdio_want_read(struct byte_stream *stream)
{
	struct stdio *s = stdio_of(stream);

	s->did_read = true;
	if (s->in.watch) {
		end_set(&s->in, LOOP_READABLE);
	} else if (!has_ahead(s)) {
		start_reading(s);
	} else {
		s->owes_readable = true;
		loop_defer(s->base.loop, &s->event);
	}
}

/* Whoever has no room does not read: stop asking until want_read(). */
static void tell_readable(struct stdio *s)
{
	s->did_read = false;
	if (s->base.events)
		s->base.events->on_readable(s->base.ctx);
	if (!s->did_read && !s->is_closing && s->in.watch)
		end_set(&s->in, 0);
}

static void on_in_ready(void *arg, int events)
{
	struct stdio *s = arg;

	CHECK(s, STDIO_MAGIC);
	if (events == (LOOP_READABLE | LOOP_WRITABLE))
		s->in.interest = 0; /* the loop has stopped watching; reading says why */
	tell_readable(s);
}

static void on_event(struct deferred *d)
{
	struct stdio *s = CONTAINER_OF(d, struct stdio, event);

	CHECK(s, STDIO_MAGIC);
	if (s->owes_error) {
		s->owes_error = false;
		if (s->base.events && s->base.events->on_error)
			s->base.events->on_error(s->base.ctx, &s->failure);
	}
	if (s->owes_readable && !s->is_closing) {
		s->owes_readable = false;
		tell_readable(s);
	}
}

/* --- Life ------------------------------------------------------------------------------------ */

static void on_linger_timeout(struct timer *t)
{
	struct stdio *s = CONTAINER_OF(t, struct stdio, linger);

	/* What a worker holds ends with it; it was given to the system already. */
	if (!s->is_writing)
		bufq_done(&s->queue);
	loop_defer_flush(s->base.loop, &s->flush);
}

static void stdio_close(struct byte_stream *stream)
{
	struct stdio *s = stdio_of(stream);

	s->base.events = NULL;
	s->is_closing = true;
	end_set(&s->in, 0);
	timer_set(&s->linger, LIMIT_LINGER_MS);
	/* Even with nothing to send: the caller may be inside a callback of this stream. */
	loop_defer_flush(s->base.loop, &s->flush);
}

static const struct byte_stream_ops stdio_ops = {
	.name = "stdio",
	.read = stdio_read,
	.want_read = stdio_want_read,
	.write = stdio_write,
	.backlog = stdio_backlog,
	.shutdown = stdio_shutdown,
	.close = stdio_close,
};

/* `flag` is O_RDONLY or O_WRONLY; `mode` what fcntl(fd, F_GETFL) said before anything was done to either
 * of the two, which may be one. */
static int end_open(struct loop *l, struct end *e, int fd, int flag, int mode,
		    void (*on_ready)(void *arg, int events), void *arg)
{
	struct stat st;
	char path[40];

	if (mode < 0)
		return -EBADF;
	if (fstat(fd, &st) != 0)
		return -errno;
	if ((mode & O_ACCMODE) != flag && (mode & O_ACCMODE) != O_RDWR)
		return -EBADF;
	e->is_socket = S_ISSOCK(st.st_mode);
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		e->fd = open(path, flag | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	if (e->fd < 0) {
		e->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (e->fd < 0)
			return -errno;
		if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
			e->saved_flags = mode;
	}
	/* Files and devices like /dev/null cannot be polled. */
	e->watch = loop_watch_new(l, e->fd, on_ready, arg);
	return 0;
}

struct byte_stream *stdio_open(struct loop *l, int in_fd, int out_fd, struct err *err)
{
	static const struct address nobody;
	struct stdio *s = mem_alloc(sizeof(*s));

	s->magic = STDIO_MAGIC;
	s->base = (struct byte_stream){ .ops = &stdio_ops, .loop = l, .peer = &nobody };
	s->in = s->out = (struct end){ .fd = -1, .saved_flags = -1 };
	s->given_out = out_fd;
	bufq_init(&s->queue, LIMIT_BODY_QUEUE_BYTES);
	deferred_init(&s->event, on_event);
	deferred_init(&s->flush, on_flush);
	timer_init(&s->linger, l, on_linger_timeout);
	int out_mode = fcntl(out_fd, F_GETFL), in_mode = fcntl(in_fd, F_GETFL);
	int ret = end_open(l, &s->in, in_fd, O_RDONLY, in_mode, on_in_ready, s);
	if (ret < 0) {
		err_set_errno(err, E_IO, -ret, "standard input");
	} else {
		ret = end_open(l, &s->out, out_fd, O_WRONLY, out_mode, on_out_ready, s);
		if (ret < 0)
			err_set_errno(err, E_IO, -ret, "standard output");
	}
	if (ret < 0) {
		stdio_destroy(s);
		return NULL;
	}
	if (s->out.watch)
		end_set(&s->out, LOOP_HANGUP);
	/* The first read asks without waiting: a named pipe whose writers have left already is never
	 * reported as readable. */
	s->owes_readable = true;
	loop_defer(l, &s->event);
	return &s->base;
}
