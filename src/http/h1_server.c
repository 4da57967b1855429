/* The reading half of the HTTP/1.1 connection, and its life. */
#include "http/h1_server.h"

#include "base/limits.h"
#include "base/mem.h"
#include "http/h1_server_internal.h"

/* Read ahead while an exchange is under way: a few pipelined requests, and it shows when the visitor
 * leaves. */
#define AHEAD_BYTES BUFQ_CHUNK_BYTES
/* The rest of a body nobody wants is read as far as this, so that the connection can be used again;
 * beyond it a new connection is cheaper. */
#define DISCARD_BYTES (64 * 1024)
/* A head that is not complete, and one more read. */
#define INPUT_BYTES (LIMIT_HEAD_BYTES + 2 * BUFQ_CHUNK_BYTES)

static const struct exchange_producer producer;

/* --- The body -------------------------------------------------------------------------------- */

/* Nothing may be read as body, or as the next request, before the handshake was answered. */
static bool awaits_upgrade(const struct h1_server *h)
{
	return h->x && h->x->request.is_upgrade && h->answer == H1_ANSWER_NONE;
}

static bool is_unwanted(const struct h1_server *h)
{
	return !h->x || h->x->answerer_is_gone;
}

void h1_server_end_request(struct h1_server *h)
{
	if (h->request_done)
		return;
	h->request_done = true;
	if (h->x)
		body_end(&h->x->request_body);
}

/* The body cannot be understood, so neither can anything after it. */
static void on_broken_body(struct h1_server *h, const struct err *err)
{
	if (h->x && h->answer == H1_ANSWER_NONE && h->pending.len == 0)
		h1_answer_refusal(h, 400, err->text);
	h1_server_end(h, err);
}

static void end_chunked(struct h1_server *h)
{
	struct err err;

	if (h->x && h1_chunked_trailers(&h->chunked, &h->x->arena, &h->x->request_body.trailers,
					&err) < 0) {
		on_broken_body(h, &err);
		return;
	}
	h1_chunked_done(&h->chunked);
	h1_server_end_request(h);
}

static struct bytes eat_chunked(struct h1_server *h, struct bytes data)
{
	bool discard = is_unwanted(h);

	while (data.len) {
		/* Payload never exceeds what was offered, so that it always fits. */
		size_t room = discard ? data.len : body_room(&h->x->request_body);
		struct bytes offer = bytes_first(data, room), run;
		struct err err;
		if (room == 0)
			return data;
		size_t offered = offer.len;
		int ret = h1_chunked_next(&h->chunked, &offer, &run, &err);
		size_t eaten = offered - offer.len;
		data = bytes_from(data, eaten);
		if (ret < 0) {
			on_broken_body(h, &err);
			return BYTES_NONE;
		}
		if (discard)
			h->discarded += eaten;
		else if (ret == 1)
			(void)body_write(&h->x->request_body, run);
		if (ret == 2) {
			end_chunked(h);
			return data;
		}
	}
	return data;
}

static struct bytes eat_length(struct h1_server *h, struct bytes data)
{
	struct bytes run =
		h->request_left < data.len ? bytes_first(data, (size_t)h->request_left) : data;
	size_t taken = run.len;

	if (is_unwanted(h))
		h->discarded += taken;
	else
		taken = body_write(&h->x->request_body, run);
	h->request_left -= taken;
	if (h->request_left == 0)
		h1_server_end_request(h);
	return bytes_from(data, taken);
}

/* Takes what belongs to the body off the front. */
static struct bytes eat_body(struct h1_server *h, struct bytes data)
{
	if (h->request_done || awaits_upgrade(h))
		return data;
	if (h->is_raw)
		return is_unwanted(h) ? BYTES_NONE
				      : bytes_from(data, body_write(&h->x->request_body, data));
	return h->info.is_chunked ? eat_chunked(h, data) : eat_length(h, data);
}

void h1_server_go_raw(struct h1_server *h)
{
	h->is_raw = true;
	/* Not from inside an answerer's event: whoever was quick has its bytes in `input`. */
	loop_defer(h->stream->loop, &h->deferred);
}

/* --- Requests -------------------------------------------------------------------------------- */

static void refuse(struct h1_server *h, int code, struct bytes data, struct err *err)
{
	h1_answer_refusal(h, h1_refusal_status(code, data), err->text);
	err_wrap(err, "request");
	h1_server_end(h, err);
}

static void begin_body(struct h1_server *h)
{
	struct exchange *x = h->x;

	h->request_done = false;
	h->discarded = 0;
	h->request_left = 0;
	if (h->info.is_chunked)
		h1_chunked_init(&h->chunked);
	else if (x->request.content_length)
		h->request_left = x->request.content_length;
	else if (!x->request.is_upgrade)
		h1_server_end_request(h);
	h->sent_continue = !h->info.expects_continue;
}

static int64_t look_ms(const struct h1_server *h)
{
	return h->base.options.pace_ms / PACE_LOOKS;
}

static void set_exchange_timer(struct h1_server *h, int64_t left_ms)
{
	if (h->base.options.body_rate && look_ms(h) < left_ms)
		left_ms = look_ms(h);
	timer_set(&h->timer, left_ms);
}

static void start_request(struct h1_server *h, struct bytes head, bool body_follows)
{
	struct loop *loop = h->stream->loop;
	struct exchange *x = exchange_new(loop, &producer, h);
	struct err err;
	int ret = h1_parse_request(head, &x->arena, &x->request, &h->info, &err);

	if (ret < 0) {
		exchange_release_producer(x);
		refuse(h, ret, head, &err);
		return;
	}
	x->request.scheme = h->base.options.scheme;
	x->is_tls = h->base.options.is_tls;
	x->host = head_host(x->request.authority, &x->arena);
	head_strip_hop_by_hop(&x->request);
	fields_remove(&x->request.fields, HEAD_EXPECT);
	x->expects_continue = h->info.expects_continue && !body_follows;
	h->x = x;
	h->phase = H1_EXCHANGE;
	h->answer = H1_ANSWER_NONE;
	h->response_left = 0;
	h->active_at = h->looked_at = loop_now(loop);
	h->upload = h->download = (struct pace){ 0 };
	set_exchange_timer(h, h->base.options.body_ms);
	begin_body(h);
	if (h->base.options.on_exchange)
		h->base.options.on_exchange(h->base.options.ctx, x);
	exchange_start(x, h->base.options.chain);
	if (body_follows)
		h->sent_continue = true; /* did not wait for it */
	else if (!h->sent_continue && !x->relays_continue && !x->has_head && !x->has_failed &&
		 !x->answerer_is_gone)
		h1_answer_continue(h);
}

static void next_request(struct h1_server *h)
{
	h->phase = H1_IDLE;
	h->skipped_line = false;
	timer_set(&h->timer, h->base.options.idle_ms);
}

/* Takes a head off the front, when it is there. */
static struct bytes eat_head(struct h1_server *h, struct bytes data)
{
	/* RFC 9112 §2.2: some send an empty line after a body. */
	if (data.ptr[0] == '\r' && !h->skipped_line && h->phase == H1_IDLE) {
		if (data.len == 1)
			return data;
		if (data.ptr[1] == '\n') {
			h->skipped_line = true;
			return bytes_from(data, 2);
		}
	}
	ssize_t len = h1_head_length(data, &h->scanned);
	if (len < 0) {
		struct err err;
		err_set(&err, (int)len, "the head is longer than %d bytes", LIMIT_HEAD_BYTES);
		refuse(h, (int)len, data, &err);
		return BYTES_NONE;
	}
	if (len == 0) {
		if (h->phase == H1_IDLE) {
			h->phase = H1_HEAD;
			timer_set(&h->timer, h->base.options.head_ms);
		}
		return data;
	}
	h->scanned = 0;
	start_request(h, bytes_first(data, (size_t)len), data.len > (size_t)len);
	return bytes_from(data, (size_t)len);
}

/* Works through what was read; returns what cannot be used yet. */
static struct bytes eat(struct h1_server *h, struct bytes data)
{
	while (data.len) {
		size_t before = data.len;
		switch (h->phase) {
		case H1_IDLE:
		case H1_HEAD:
			data = eat_head(h, data);
			break;
		case H1_EXCHANGE:
			data = eat_body(h, data);
			break;
		case H1_DISCARD:
			data = eat_body(h, data);
			if (h->phase != H1_DISCARD)
				break;
			if (h->request_done)
				next_request(h);
			else if (h->discarded > DISCARD_BYTES)
				h1_server_end(h, NULL);
			break;
		case H1_CLOSED:
			return BYTES_NONE;
		}
		if (data.len == before)
			return data;
	}
	return data;
}

static void eat_input(struct h1_server *h)
{
	struct bytes data = buf_bytes(&h->input);
	struct bytes rest = eat(h, data);

	buf_drop(&h->input, data.len - rest.len);
	if (h->input.len == 0)
		buf_done(&h->input);
}

static void take(struct h1_server *h, struct bytes data)
{
	bool was_empty = h->input.len == 0;

	if (was_empty)
		data = eat(h, data);
	if (data.len == 0)
		return;
	if (buf_append(&h->input, data) < 0) {
		struct err err;
		err_set(&err, E_LIMIT, "no memory for the visitor's input");
		h1_server_end(h, &err);
	} else if (!was_empty) {
		eat_input(h);
	}
}

/* --- Reading --------------------------------------------------------------------------------- */

/* How many bytes may be read now. */
static size_t wanted_bytes(struct h1_server *h)
{
	switch (h->phase) {
	case H1_IDLE:
	case H1_HEAD:
	case H1_DISCARD:
		return BUFQ_CHUNK_BYTES;
	case H1_EXCHANGE:
		break;
	default:
		return 0;
	}
	if (h->has_eof)
		return 0;
	if (h->request_done || awaits_upgrade(h))
		return h->input.len < AHEAD_BYTES ? AHEAD_BYTES - h->input.len : 0;
	if (is_unwanted(h))
		return h->is_raw || h->discarded > DISCARD_BYTES ? 0 : BUFQ_CHUNK_BYTES;
	return h->input.len ? 0 : body_room(&h->x->request_body);
}

/* Straight into the body's queue, where the bytes are nothing but body. */
static ssize_t read_body(struct h1_server *h, struct err *err)
{
	struct body *body = &h->x->request_body;
	size_t size = 0;
	uint8_t *dst = body_reserve(body, &size);

	if (!h->is_raw && h->request_left < size)
		size = (size_t)h->request_left;
	ssize_t n = byte_stream_read(h->stream, dst, size, err);
	body_commit(body, n > 0 ? (size_t)n : 0);
	if (n > 0 && !h->is_raw) {
		h->request_left -= (uint64_t)n;
		if (h->request_left == 0)
			h1_server_end_request(h);
	}
	return n;
}

static ssize_t read_any(struct h1_server *h, size_t wanted, struct err *err)
{
	uint8_t *scratch = bufq_chunk_take();
	ssize_t n = byte_stream_read(h->stream, scratch,
				     wanted < BUFQ_CHUNK_BYTES ? wanted : BUFQ_CHUNK_BYTES, err);

	if (n > 0)
		take(h, bytes_of(scratch, (size_t)n));
	bufq_chunk_return(scratch);
	return n;
}

/* The visitor has the response to its last byte. Its end may still be on the way from whoever answers, who is not to be
 * cancelled, nor the exchange called aborted, because a visitor that had everything closed first. */
static bool visitor_has_all(const struct h1_server *h)
{
	return h->phase == H1_EXCHANGE && h->request_done && h->answer == H1_ANSWER_BODY &&
	       h->pending.len == 0 && byte_stream_backlog(h->stream) == 0 &&
	       (h->framing == H1_NO_BODY || (h->framing == H1_LENGTH && h->response_left == 0));
}

/* In the middle of something, or so it seems. */
static void on_visitor_left(struct h1_server *h, const struct err *why)
{
	h->has_eof = true;
	if (visitor_has_all(h))
		h->keep_alive = false;
	else
		h1_server_end(h, why);
}

static void on_eof(struct h1_server *h)
{
	struct err err;

	h->has_eof = true;
	if (h->phase != H1_EXCHANGE) {
		bool is_cut = h->phase == H1_HEAD || h->phase == H1_DISCARD;
		err_set(&err, E_CLOSED, "the visitor left in the middle of a request");
		h1_server_end(h, is_cut ? &err : NULL);
		return;
	}
	if (h->is_raw) {
		h1_server_end_request(h);
		h1_answer_pump(h);
		return;
	}
	/* With the whole answer at hand it costs nothing to send it to whoever closed only one side. */
	if (h->x->answerer_is_gone && h->x->response_body.has_ended) {
		h->keep_alive = false;
		return;
	}
	err_set(&err, E_CLOSED, "the visitor left");
	on_visitor_left(h, &err);
}

static void on_readable(void *ctx)
{
	struct h1_server *h = ctx;
	struct err err;

	CHECK(h, H1_SERVER_MAGIC);
	size_t wanted = wanted_bytes(h);
	h->is_paused = wanted == 0;
	if (h->is_paused)
		return;
	bool is_plain_body = h->phase == H1_EXCHANGE && !h->request_done && !awaits_upgrade(h) &&
			     !is_unwanted(h) && !h->info.is_chunked;
	ssize_t n = is_plain_body ? read_body(h, &err) : read_any(h, wanted, &err);
	if (n > 0) {
		h->active_at = loop_now(h->timer.loop);
		/* One read a turn: others have a turn too. */
		if (h->phase != H1_CLOSED)
			byte_stream_want_read(h->stream);
	} else if (n == 0) {
		on_eof(h);
	} else if (n != E_AGAIN) {
		on_visitor_left(h, &err);
	}
}

static void read_on(struct h1_server *h)
{
	if (h->phase != H1_CLOSED && h->is_paused) {
		h->is_paused = false;
		byte_stream_want_read(h->stream);
	}
}

static void on_writable(void *ctx)
{
	struct h1_server *h = ctx;

	CHECK(h, H1_SERVER_MAGIC);
	h1_answer_pump(h);
}

static void on_error(void *ctx, const struct err *err)
{
	struct h1_server *h = ctx;

	CHECK(h, H1_SERVER_MAGIC);
	on_visitor_left(h, err);
}

static const struct byte_stream_events stream_events = {
	.on_readable = on_readable,
	.on_writable = on_writable,
	.on_error = on_error,
};

/* --- The exchange's events ------------------------------------------------------------------- */

static struct h1_server *server_of(struct exchange *x)
{
	struct h1_server *h = x->producer_ctx;

	CHECK(h, H1_SERVER_MAGIC);
	BUG_IF(h->x != x);
	return h;
}

static void on_interim(struct exchange *x, const struct head *head)
{
	struct h1_server *h = server_of(x);

	if (head->status != 100)
		h1_answer_interim(h, head);
	else if (!h->sent_continue)
		h1_answer_continue(h);
}

static void on_response(struct exchange *x)
{
	h1_answer_pump(server_of(x));
}

static void on_failed(struct exchange *x)
{
	struct h1_server *h = server_of(x);
	struct err err;

	if (h->answer == H1_ANSWER_LAST)
		return;
	if (h->answer == H1_ANSWER_NONE) {
		/* An interim answer may still wait in `pending`: it is replaced only when none of it has
		 * left, which is so for all but a stream that is full to the brim. */
		if (h->pending.len) {
			err_set(&err, E_CANCELLED,
				"the exchange failed while the visitor read nothing");
			h1_server_end(h, &err);
			return;
		}
		h1_answer_error(h, x->failure.status, x->failure.title, x->failure.detail);
		h1_answer_pump(h);
		return;
	}
	err_set(&err, E_CANCELLED, "the response broke off: " BYTES_FMT,
		BYTES_ARG(x->failure.detail));
	h1_server_end(h, &err);
}

static void on_request_room(struct exchange *x)
{
	struct h1_server *h = server_of(x);

	if (x->answerer_is_gone && !x->has_failed && !x->response_body.has_ended) {
		struct err err;
		err_set(&err, E_INTERNAL, "the answerer left without an answer");
		h1_server_end(h, &err);
		return;
	}
	if (!h->request_done && h->input.len)
		eat_input(h);
	read_on(h);
	h1_answer_pump(h); /* a raw connection ends when the answerer has gone */
}

static const struct exchange_producer producer = {
	.name = "h1",
	.on_interim = on_interim,
	.on_head = on_response,
	.on_response_data = on_response,
	.on_request_room = on_request_room,
	.on_failed = on_failed,
};

/* --- Life ------------------------------------------------------------------------------------ */

static void release_exchange(struct h1_server *h)
{
	h->pending = BYTES_NONE;
	if (h->x)
		exchange_release_producer(TAKE(h->x));
}

void h1_server_end(struct h1_server *h, const struct err *why)
{
	if (h->phase == H1_CLOSED)
		return;
	release_exchange(h);
	h->phase = H1_CLOSED;
	if (why) {
		h->why = mem_alloc(sizeof(*h->why));
		*h->why = *why;
	}
	timer_stop(&h->timer);
	loop_defer(h->stream->loop, &h->deferred);
	h->stream = byte_stream_close(h->stream);
}

void h1_server_finish(struct h1_server *h)
{
	bool reuse = h->keep_alive && !h->is_draining && !h->has_eof &&
		     (h->request_done || (h->discarded <= DISCARD_BYTES &&
					  h->request_left <= DISCARD_BYTES - h->discarded));

	if (!reuse) {
		h1_server_end(h, NULL);
		return;
	}
	release_exchange(h);
	if (h->request_done) {
		next_request(h);
	} else {
		h->phase = H1_DISCARD;
		timer_set(&h->timer, h->base.options.head_ms);
	}
	/* What came ahead is looked at on its own, not inside the event that ended this one. */
	if (h->input.len)
		loop_defer(h->stream->loop, &h->deferred);
	read_on(h);
}

static void on_deferred(struct deferred *d)
{
	struct h1_server *h = CONTAINER_OF(d, struct h1_server, deferred);

	CHECK(h, H1_SERVER_MAGIC);
	if (h->phase != H1_CLOSED) {
		if (h->input.len)
			eat_input(h);
		read_on(h);
		return;
	}
	if (h->base.options.on_closed)
		h->base.options.on_closed(h->base.options.ctx, h->why);
	buf_done(&h->input);
	h1_chunked_done(&h->chunked);
	mem_free(h->why);
	h->magic = 0;
	mem_free(h);
}

/* True: it was, and has been dealt with. */
static bool is_too_slow(struct h1_server *h)
{
	usec now = loop_now(h->timer.loop), passed = now - h->looked_at;
	uint64_t least = h->base.options.body_rate * (uint64_t)passed / USEC_PER_SEC, delivered = 0;
	struct err err;

	/* Raw bytes have a pace of their own. */
	if (!h->base.options.body_rate || h->is_raw || passed < look_ms(h) * USEC_PER_MSEC)
		return false;
	h->looked_at = now;
	bool waits_for_body = h->answer == H1_ANSWER_NONE && h->sent_continue && !h->request_done &&
			      !awaits_upgrade(h) && !is_unwanted(h) &&
			      bufq_room(&h->x->request_body.queue);
	if (pace_is_lost(&h->upload, waits_for_body, h->x->request_body.total, least)) {
		err_set(&err, E_TIMEOUT, "the request's body came too slowly");
		if (h->pending.len == 0)
			h1_answer_refusal(h, 408, err.text);
		h1_server_end(h, &err);
		return true;
	}
	bool waits_for_reader =
		byte_stream_backlog(h->stream) > 0 && byte_stream_delivered(h->stream, &delivered);
	if (!pace_is_lost(&h->download, waits_for_reader, delivered, least))
		return false;
	err_set(&err, E_TIMEOUT, "the visitor took the answer too slowly");
	h1_server_end(h, &err);
	return true;
}

static void on_exchange_idle(struct h1_server *h)
{
	int64_t idle_ms = (loop_now(h->timer.loop) - h->active_at) / USEC_PER_MSEC;
	bool is_open_raw = h->is_raw && h->answer == H1_ANSWER_BODY && !h->request_done;
	int64_t limit_ms = is_open_raw ? h->base.options.raw_ms : h->base.options.body_ms;
	struct err err;

	if (is_too_slow(h))
		return;
	if (idle_ms < limit_ms) {
		/* Not longer than the shorter limit: one side may end meanwhile. */
		int64_t left_ms = limit_ms - idle_ms;
		set_exchange_timer(h, left_ms < h->base.options.body_ms ? left_ms
									: h->base.options.body_ms);
		return;
	}
	err_set(&err, E_TIMEOUT, "nothing moved for %lld ms", (long long)idle_ms);
	if (h->answer != H1_ANSWER_NONE || h->pending.len) {
		h1_server_end(h, &err);
		return;
	}
	/* Whoever was waited for: the visitor for its body, or the answerer. */
	bool is_visitor = !h->request_done && !awaits_upgrade(h) && !is_unwanted(h) &&
			  bufq_room(&h->x->request_body.queue);
	h1_answer_refusal(h, is_visitor ? 408 : 504, err.text);
	h1_server_end(h, &err);
}

static void on_timer(struct timer *t)
{
	struct h1_server *h = CONTAINER_OF(t, struct h1_server, timer);
	struct err err;

	CHECK(h, H1_SERVER_MAGIC);
	switch (h->phase) {
	case H1_EXCHANGE:
		on_exchange_idle(h);
		break;
	case H1_HEAD:
		err_set(&err, E_TIMEOUT, "the request was not complete in time");
		h1_answer_refusal(h, 408, err.text);
		h1_server_end(h, &err);
		break;
	default:
		h1_server_end(h, NULL);
		break;
	}
}

static struct h1_server *h1_server_of(struct http_server *s)
{
	struct h1_server *h = CONTAINER_OF(s, struct h1_server, base);

	CHECK(h, H1_SERVER_MAGIC);
	return h;
}

static void leave(struct http_server *s)
{
	h1_server_of(s)->is_leaving = true;
}

static void drain(struct http_server *s)
{
	struct h1_server *h = h1_server_of(s);

	if (h->phase == H1_CLOSED)
		return;
	h->is_draining = true;
	if ((h->phase == H1_IDLE && h->input.len == 0) || h->phase == H1_DISCARD)
		h1_server_end(h, NULL);
}

static void close_now(struct http_server *s)
{
	h1_server_end(h1_server_of(s), NULL);
}

struct http_server *h1_server_new(struct byte_stream *stream,
				  const struct http_server_options *options)
{
	static const struct http_server_ops ops = { "h1", drain, leave, close_now };
	struct h1_server *h = mem_alloc(sizeof(*h));

	http_server_init(&h->base, &ops, options);
	h->magic = H1_SERVER_MAGIC;
	h->phase = H1_IDLE;
	h->stream = stream;
	buf_init(&h->input, INPUT_BYTES);
	deferred_init(&h->deferred, on_deferred);
	timer_init(&h->timer, stream->loop, on_timer);
	/* Who connects has something to say. */
	timer_set(&h->timer, h->base.options.head_ms);
	byte_stream_set_events(stream, &stream_events, h);
	/* Bytes may have come together with the end of a TLS handshake. */
	byte_stream_want_read(stream);
	return &h->base;
}
