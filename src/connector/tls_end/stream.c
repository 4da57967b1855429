#include "connector/tls_end/stream.h"

#include "base/bufq.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/ws_server.h"
#include "io/address.h"

#define STREAM_MAGIC 0x746e7374

struct stream {
	struct byte_stream base;
	uint32_t magic;
	struct ws_server ws; /* ws.x NULL: the visitor has left */
	struct address peer;
	struct bufq in;
	bool half_close;
	bool has_end;   /* nothing more comes from the visitor */
	bool is_broken; /* it left in the middle, or broke the protocol */
	bool is_shut;   /* our side has ended */
	bool owes_readable, owes_writable, owes_error;
	bool owes_resume; /* payload waits in the exchange for room in `in` */
	struct deferred tell;
};

static struct stream *stream_of(struct byte_stream *s)
{
	struct stream *t = CONTAINER_OF(s, struct stream, base);

	CHECK(t, STREAM_MAGIC);
	return t;
}

static void later(struct stream *t)
{
	loop_defer(t->base.loop, &t->tell);
}

/* --- Events ------------------------------------------------------------------------------------- */

static bool flag_take(bool *flag)
{
	bool was = *flag;

	*flag = false;
	return was;
}

/* One thing at a time: whoever is told may close the stream. */
static void on_tell(struct deferred *d)
{
	struct stream *t = CONTAINER_OF(d, struct stream, tell);
	const struct byte_stream_events *events = t->base.events;

	CHECK(t, STREAM_MAGIC);
	if (t->owes_readable || t->owes_writable || t->owes_error)
		later(t); /* comes round; a close cancels it */
	if (flag_take(&t->owes_error)) {
		struct err err;
		err_set(&err, E_CLOSED, "the visitor has left");
		if (events)
			events->on_error(t->base.ctx, &err);
	} else if (flag_take(&t->owes_readable)) {
		if (events)
			events->on_readable(t->base.ctx);
	} else if (flag_take(&t->owes_writable)) {
		if (events && events->on_writable)
			events->on_writable(t->base.ctx);
	} else if (flag_take(&t->owes_resume) && t->ws.x) {
		ws_server_resume(&t->ws);
	}
}

static struct stream *of_ws(struct ws_server *ws)
{
	struct stream *t = CONTAINER_OF(ws, struct stream, ws);

	CHECK(t, STREAM_MAGIC);
	return t;
}

static ssize_t on_payload(struct ws_server *ws, struct bytes run, bool is_last)
{
	struct stream *t = of_ws(ws);

	(void)is_last;
	if (t->has_end)
		return (ssize_t)run.len; /* after its end: for nobody */
	size_t taken = bufq_write(&t->in, run);
	if (taken < run.len)
		t->owes_resume = true; /* told to go on by a read */
	if (taken) {
		t->owes_readable = true;
		later(t);
	}
	return (ssize_t)taken;
}

static enum ws_taken on_message(struct ws_server *ws)
{
	struct stream *t = of_ws(ws);

	if (t->half_close && ws->reader.is_empty && ws->reader.opcode == WEBSOCKET_BINARY) {
		t->has_end = t->owes_readable = true;
		later(t);
	}
	return WS_TAKEN;
}

static void on_room(struct ws_server *ws)
{
	struct stream *t = of_ws(ws);

	t->owes_writable = true;
	later(t);
}

static void on_end(struct ws_server *ws, uint16_t code)
{
	struct stream *t = of_ws(ws);

	t->is_broken = code != WEBSOCKET_CLOSE_NORMAL && !t->has_end;
	t->has_end = t->owes_readable = true;
	later(t);
}

static void on_cancelled(struct ws_server *ws)
{
	struct stream *t = of_ws(ws);

	t->has_end = t->is_broken = t->owes_error = true;
	later(t);
}

static const struct ws_server_events ws_events = {
	.on_payload = on_payload,
	.on_message = on_message,
	.on_room = on_room,
	.on_end = on_end,
	.on_cancelled = on_cancelled,
};

/* --- The byte stream ------------------------------------------------------------------------------ */

static ssize_t stream_read(struct byte_stream *s, uint8_t *dst, size_t cap, struct err *err)
{
	struct stream *t = stream_of(s);
	struct bytes run;
	size_t n = 0;

	while (n < cap && bufq_peek(&t->in, &run, 1)) {
		run = bytes_first(run, cap - n);
		memcpy(dst + n, run.ptr, run.len);
		bufq_consume(&t->in, run.len);
		n += run.len;
	}
	if (n && t->owes_resume)
		later(t);
	if (n)
		return (ssize_t)n;
	if (t->is_broken)
		return err_set(err, E_CLOSED, "the visitor has left");
	return t->has_end ? 0 : E_AGAIN;
}

static void stream_want_read(struct byte_stream *s)
{
	struct stream *t = stream_of(s);

	if (!bufq_len(&t->in) && !t->has_end)
		return; /* what comes tells of itself */
	t->owes_readable = true;
	later(t);
}

static size_t stream_write(struct byte_stream *s, struct bytes data)
{
	struct stream *t = stream_of(s);
	size_t done = 0, room;

	if (!t->ws.x || t->is_shut)
		return data.len; /* nobody is there; reads say so */
	while (done < data.len && (room = ws_server_room(&t->ws)) > 0) {
		struct bytes part = bytes_first(bytes_from(data, done), room);
		ws_server_send(&t->ws, WEBSOCKET_BINARY, true, part);
		done += part.len;
	}
	return done;
}

static size_t stream_backlog(const struct byte_stream *s)
{
	const struct stream *t = CONTAINER_OF(s, const struct stream, base);

	return t->ws.x ? bufq_len(&t->ws.x->response_body.queue) : 0;
}

static void stream_shutdown(struct byte_stream *s)
{
	struct stream *t = stream_of(s);

	if (!t->ws.x || t->is_shut)
		return;
	t->is_shut = true;
	if (t->half_close)
		ws_server_send(&t->ws, WEBSOCKET_BINARY, true, BYTES_NONE);
}

static void stream_close(struct byte_stream *s)
{
	struct stream *t = stream_of(s);

	deferred_cancel(&t->tell);
	/* What was written before is still delivered: it is in the exchange. */
	if (t->ws.x)
		ws_server_close(&t->ws, WEBSOCKET_CLOSE_NORMAL, NULL);
	bufq_done(&t->in);
	t->magic = 0;
	mem_free(t);
}

static const struct byte_stream_ops stream_ops = {
	.name = "tunnel",
	.read = stream_read,
	.want_read = stream_want_read,
	.write = stream_write,
	.backlog = stream_backlog,
	.shutdown = stream_shutdown,
	.close = stream_close,
};

struct byte_stream *tunnel_stream_open(struct exchange *x)
{
	const struct bytes half_close = BYTES_LIT(WEBSOCKET_HALF_CLOSE_FIELD);
	const struct field *client = fields_find(&x->request.fields, HEAD_CF_CONNECTING_IP);
	struct stream *t = mem_alloc(sizeof(*t));

	t->magic = STREAM_MAGIC;
	t->base = (struct byte_stream){ .ops = &stream_ops, .loop = x->loop, .peer = &t->peer };
	if (!client || !address_from_ip(client->value, 0, &t->peer))
		t->peer = (struct address){ 0 };
	bufq_init(&t->in, LIMIT_BODY_QUEUE_BYTES);
	deferred_init(&t->tell, on_tell);
	ws_server_init(&t->ws, x, &ws_events);
	t->half_close = fields_find_text(&x->request.fields, half_close) != NULL;
	if (t->half_close)
		(void)fields_add(&x->response.fields, &x->arena, half_close, BYTES_LIT("1"));
	ws_server_accept(&t->ws, 0);
	return &t->base;
}
