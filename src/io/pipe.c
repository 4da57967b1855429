#include "io/pipe.h"

#include <pthread.h>

#include "base/bufq.h"
#include "base/mem.h"
#include "io/loop.h"

struct pipe_end {
	struct pipe *pipe;
	struct loop *loop; /* borrowed */
	const struct pipe_events *events;
	void *ctx;
	bool is_closed; /* its own loop only: nothing is delivered any more */
};

struct pipe_writer {
	struct pipe_end end;
};

struct pipe_reader {
	struct pipe_end end;
};

struct pipe {
	pthread_mutex_t lock; /* guards everything below */
	struct bufq queue;
	bool writer_gone, reader_gone, aborted;
	bool writer_waits; /* a write fell short */
	bool data_posted, room_posted;
	int refs; /* two ends and posted notices */
	struct pipe_writer writer;
	struct pipe_reader reader;
};

static void unref_locked(struct pipe *p)
{
	bool is_last = --p->refs == 0;

	pthread_mutex_unlock(&p->lock);
	if (!is_last)
		return;
	bufq_done(&p->queue);
	pthread_mutex_destroy(&p->lock);
	mem_free(p);
}

void pipe_new(size_t capacity_bytes, struct loop *writer_loop, struct loop *reader_loop,
	      struct pipe_writer **ret_writer, struct pipe_reader **ret_reader)
{
	struct pipe *p = mem_alloc(sizeof(*p));

	pthread_mutex_init(&p->lock, NULL);
	bufq_init(&p->queue, capacity_bytes);
	p->refs = 2;
	p->writer.end = (struct pipe_end){ .pipe = p, .loop = writer_loop };
	p->reader.end = (struct pipe_end){ .pipe = p, .loop = reader_loop };
	*ret_writer = &p->writer;
	*ret_reader = &p->reader;
}

static void deliver_data(void *arg)
{
	struct pipe *p = arg;

	pthread_mutex_lock(&p->lock);
	p->data_posted = false;
	pthread_mutex_unlock(&p->lock);
	struct pipe_end *end = &p->reader.end;
	if (!end->is_closed && end->events)
		end->events->on_data(end->ctx);
	pthread_mutex_lock(&p->lock);
	unref_locked(p);
}

static void deliver_room(void *arg)
{
	struct pipe *p = arg;

	pthread_mutex_lock(&p->lock);
	p->room_posted = false;
	pthread_mutex_unlock(&p->lock);
	struct pipe_end *end = &p->writer.end;
	if (!end->is_closed && end->events)
		end->events->on_room(end->ctx);
	pthread_mutex_lock(&p->lock);
	unref_locked(p);
}

static void notify_reader_locked(struct pipe *p)
{
	if (p->data_posted || p->reader_gone)
		return;
	p->data_posted = true;
	p->refs++;
	loop_post(p->reader.end.loop, deliver_data, p);
}

static void notify_writer_locked(struct pipe *p)
{
	if (p->room_posted || p->writer_gone)
		return;
	p->room_posted = true;
	p->refs++;
	loop_post(p->writer.end.loop, deliver_room, p);
}

/* --- Writer ---------------------------------------------------------------------------------- */

void pipe_writer_set_events(struct pipe_writer *w, const struct pipe_events *events, void *ctx)
{
	w->end.events = events;
	w->end.ctx = ctx;
}

size_t pipe_write(struct pipe_writer *w, struct bytes data)
{
	struct pipe *p = w->end.pipe;

	pthread_mutex_lock(&p->lock);
	size_t taken = p->reader_gone ? data.len : bufq_write(&p->queue, data);
	if (taken < data.len)
		p->writer_waits = true;
	if (taken)
		notify_reader_locked(p);
	pthread_mutex_unlock(&p->lock);
	return taken;
}

bool pipe_reader_is_gone(struct pipe_writer *w)
{
	struct pipe *p = w->end.pipe;

	pthread_mutex_lock(&p->lock);
	bool gone = p->reader_gone;
	pthread_mutex_unlock(&p->lock);
	return gone;
}

void pipe_writer_close(struct pipe_writer *w, bool aborted)
{
	struct pipe *p = w->end.pipe;

	w->end.is_closed = true;
	pthread_mutex_lock(&p->lock);
	p->writer_gone = true;
	p->aborted = aborted;
	notify_reader_locked(p);
	unref_locked(p);
}

/* --- Reader ---------------------------------------------------------------------------------- */

void pipe_reader_set_events(struct pipe_reader *r, const struct pipe_events *events, void *ctx)
{
	r->end.events = events;
	r->end.ctx = ctx;
}

size_t pipe_read(struct pipe_reader *r, uint8_t *dst, size_t cap)
{
	struct pipe *p = r->end.pipe;
	struct bytes run;
	size_t done = 0;

	pthread_mutex_lock(&p->lock);
	while (done < cap && bufq_peek(&p->queue, &run, 1)) {
		run = bytes_first(run, cap - done);
		memcpy(dst + done, run.ptr, run.len);
		bufq_consume(&p->queue, run.len);
		done += run.len;
	}
	if (p->writer_waits && bufq_len(&p->queue) <= p->queue.capacity / 2) {
		p->writer_waits = false;
		notify_writer_locked(p);
	}
	pthread_mutex_unlock(&p->lock);
	return done;
}

bool pipe_at_end(struct pipe_reader *r, bool *ret_aborted)
{
	struct pipe *p = r->end.pipe;

	pthread_mutex_lock(&p->lock);
	bool at_end = p->writer_gone && bufq_len(&p->queue) == 0;
	*ret_aborted = p->aborted;
	pthread_mutex_unlock(&p->lock);
	return at_end;
}

void pipe_reader_close(struct pipe_reader *r)
{
	struct pipe *p = r->end.pipe;

	r->end.is_closed = true;
	pthread_mutex_lock(&p->lock);
	p->reader_gone = true;
	bufq_done(&p->queue);
	notify_writer_locked(p);
	unref_locked(p);
}
