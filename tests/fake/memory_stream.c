#include "fake/memory_stream.h"

#include "base/bufq.h"
#include "base/check.h"
#include "base/mem.h"
#include "io/address.h"

#define MEMORY_STREAM_MAGIC 0x6d656d73

struct memory_stream {
	struct byte_stream base;
	uint32_t magic;
	struct memory_stream *other; /* borrowed; NULL once it was closed */
	struct bufq in;              /* what the other end wrote */
	size_t read_max;
	uint64_t written;
	bool in_ended, wrote_short, is_stalled, is_closed;
	bool due_read, due_write;
	struct deferred deferred;
	struct address peer;
};

static struct memory_stream *of(const struct byte_stream *s)
{
	struct memory_stream *m = CONTAINER_OF(s, struct memory_stream, base);

	CHECK(m, MEMORY_STREAM_MAGIC);
	return m;
}

static void deliver(struct deferred *d)
{
	struct memory_stream *m = CONTAINER_OF(d, struct memory_stream, deferred);

	if (m->is_closed) {
		bufq_done(&m->in);
		m->magic = 0;
		mem_free(m);
		return;
	}
	if (m->is_stalled)
		return;
	if (m->due_write) {
		m->due_write = false;
		if (m->base.events && m->base.events->on_writable)
			m->base.events->on_writable(m->base.ctx);
	}
	if (m->due_read && !m->is_closed) {
		m->due_read = false;
		if (m->base.events)
			m->base.events->on_readable(m->base.ctx);
	}
}

static void wake_reader(struct memory_stream *m)
{
	m->due_read = true;
	loop_defer(m->base.loop, &m->deferred);
}

static ssize_t memory_read(struct byte_stream *s, uint8_t *dst, size_t cap, struct err *err)
{
	struct memory_stream *m = of(s);
	size_t done = 0;
	struct bytes run;

	(void)err;
	if (m->read_max && cap > m->read_max)
		cap = m->read_max;
	while (done < cap && bufq_peek(&m->in, &run, 1)) {
		run = bytes_first(run, cap - done);
		memcpy(dst + done, run.ptr, run.len);
		bufq_consume(&m->in, run.len);
		done += run.len;
	}
	if (done == 0)
		return m->in_ended ? 0 : E_AGAIN;
	if (m->other && m->other->wrote_short) {
		m->other->wrote_short = false;
		m->other->due_write = true;
		loop_defer(s->loop, &m->other->deferred);
	}
	return (ssize_t)done;
}

static void memory_want_read(struct byte_stream *s)
{
	wake_reader(of(s));
}

static size_t memory_write(struct byte_stream *s, struct bytes data)
{
	struct memory_stream *m = of(s);

	if (!m->other)
		return data.len;
	size_t taken = bufq_write(&m->other->in, data);
	if (taken < data.len)
		m->wrote_short = true;
	m->written += taken;
	if (taken)
		wake_reader(m->other);
	return taken;
}

static size_t memory_backlog(const struct byte_stream *s)
{
	struct memory_stream *m = of(s);

	return m->other ? bufq_len(&m->other->in) : 0;
}

static void memory_shutdown(struct byte_stream *s)
{
	struct memory_stream *m = of(s);

	if (m->other) {
		m->other->in_ended = true;
		wake_reader(m->other);
	}
}

static void memory_close(struct byte_stream *s)
{
	struct memory_stream *m = of(s);

	memory_shutdown(s);
	if (m->other) {
		m->other->other = NULL;
		if (m->other->wrote_short) {
			m->other->due_write = true;
			loop_defer(s->loop, &m->other->deferred);
		}
	}
	s->events = NULL;
	m->is_closed = true;
	loop_defer(s->loop, &m->deferred);
}

static const struct byte_stream_ops memory_ops = {
	.name = "memory",
	.read = memory_read,
	.want_read = memory_want_read,
	.write = memory_write,
	.backlog = memory_backlog,
	.shutdown = memory_shutdown,
	.close = memory_close,
};

static struct memory_stream *end_new(struct loop *l, size_t capacity)
{
	struct memory_stream *m = mem_alloc(sizeof(*m));

	m->magic = MEMORY_STREAM_MAGIC;
	address_from_ip(BYTES_LIT("127.0.0.1"), 1, &m->peer);
	m->base = (struct byte_stream){ .ops = &memory_ops, .loop = l, .peer = &m->peer };
	bufq_init(&m->in, capacity);
	deferred_init(&m->deferred, deliver);
	return m;
}

void memory_stream_pair(struct loop *l, size_t capacity, struct byte_stream **ret_a,
			struct byte_stream **ret_b)
{
	struct memory_stream *a = end_new(l, capacity), *b = end_new(l, capacity);

	a->other = b;
	b->other = a;
	*ret_a = &a->base;
	*ret_b = &b->base;
}

void memory_stream_set_read_max(struct byte_stream *s, size_t max)
{
	of(s)->read_max = max;
}

void memory_stream_stall(struct byte_stream *s, bool stalled)
{
	of(s)->is_stalled = stalled;
	if (!stalled)
		loop_defer(s->loop, &of(s)->deferred);
}

uint64_t memory_stream_written(const struct byte_stream *s)
{
	return of(s)->written;
}

void loop_settle(struct loop *l)
{
	loop_stop(l);
	loop_run(l);
}
