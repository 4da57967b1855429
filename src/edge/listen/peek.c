#include "edge/listen/peek.h"

#include "base/bufq.h"
#include "base/limits.h"
#include "base/mem.h"
#include "edge/listen/allowance.h"
#include "edge/listen/client_hello.h"
#include "edge/worker.h"
#include "io/conn.h"

struct peek {
	struct list node; /* in worker->peeks */
	struct worker *worker;
	struct byte_stream *stream;  /* owned */
	struct allowance *allowance; /* owned */
	peek_done *done;
	struct timer timer;
	uint8_t *in; /* owned chunk */
	size_t len;
	size_t enough; /* with less there is nothing new to know */
};

static struct byte_stream *end(struct peek *p)
{
	struct byte_stream *stream = p->stream;

	timer_stop(&p->timer);
	list_remove(&p->node);
	byte_stream_set_events(stream, NULL, NULL);
	mem_free(p);
	return stream;
}

static void drop(struct peek *p)
{
	bufq_chunk_return(p->in);
	allowance_leave(p->allowance);
	byte_stream_close(end(p));
}

static void hand_on(struct peek *p, const char *name)
{
	struct worker *w = p->worker;
	struct allowance *allowance = p->allowance;
	peek_done *done = p->done;
	uint8_t *in = p->in;
	size_t len = p->len;
	struct byte_stream *stream = end(p);

	conn_unread(stream, in, len);
	done(w, stream, allowance, bytes_str(name));
}

static void on_readable(void *ctx)
{
	struct peek *p = ctx;
	struct client_hello hello = { .name = "" };
	size_t missing;
	ssize_t n;

	while (p->len < CLIENT_HELLO_MAX) {
		n = byte_stream_read(p->stream, p->in + p->len, CLIENT_HELLO_MAX - p->len, NULL);
		if (n == E_AGAIN)
			return;
		if (n <= 0)
			break; /* whoever reads on is told the same */
		p->len += (size_t)n;
		if (p->len < p->enough)
			continue;
		if (client_hello_parse(bytes_of(p->in, p->len), &hello, &missing) != E_AGAIN)
			break;
		p->enough = p->len + missing;
	}
	hand_on(p, hello.name);
}

static void on_error(void *ctx, const struct err *err)
{
	struct peek *p = ctx;
	struct worker *w = p->worker;

	(void)err;
	drop(p);
	worker_check_drained(w);
}

static const struct byte_stream_events events = {
	.on_readable = on_readable,
	.on_error = on_error,
};

static void on_timeout(struct timer *t)
{
	on_error(CONTAINER_OF(t, struct peek, timer), NULL);
}

void peek_start(struct worker *w, struct byte_stream *stream, struct allowance *allowance,
		peek_done *done)
{
	struct peek *p = mem_alloc(sizeof(*p));

	p->worker = w;
	p->stream = stream;
	p->allowance = allowance;
	p->done = done;
	p->in = bufq_chunk_take();
	byte_stream_set_events(stream, &events, p);
	timer_init(&p->timer, w->loop, on_timeout);
	timer_set(&p->timer,
		  w->limits.handshake_ms ? w->limits.handshake_ms : LIMIT_TLS_HANDSHAKE_MS);
	list_append(&w->peeks, &p->node);
}

void peek_cancel_all(struct worker *w)
{
	LIST_FOR_EACH(node, &w->peeks)
		drop(LIST_ENTRY(node, struct peek, node));
}
