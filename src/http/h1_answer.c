/* The writing half of the HTTP/1.1 connection. */
#include <stdio.h>

#include "base/limits.h"
#include "http/h1_server_internal.h"

/* Runs of the body offered to the stream at once: a full queue and its ragged ends. */
#define BODY_RUNS 6

/* --- Ends that are not planned --------------------------------------------------------------- */

static void cut_off(struct h1_server *h, int code, const char *why)
{
	struct err err;

	err_set(&err, code, "%s", why);
	h1_server_end(h, &err);
}

/* What is refused shows in the log as well: as the exchange at hand, or as one of its own. */
static void note_refusal(struct h1_server *h, int status, const char *detail)
{
	struct exchange *x = h->x;

	if (!x && !h->base.options.on_refused)
		return;
	if (!x)
		x = exchange_new(h->stream->loop, NULL, NULL);
	exchange_failed(x, status == 504 ? FAILURE_ORIGIN : FAILURE_VISITOR, status, 0,
			head_reason(status), "%s", detail);
	if (h->x)
		return;
	x->chain = h->base.options.chain;
	x->is_tls = h->base.options.is_tls;
	h->base.options.on_refused(h->base.options.ctx, x);
	exchange_release_producer(x);
}

void h1_answer_refusal(struct h1_server *h, int status, const char *detail)
{
	char text[1024], head[256];
	int len = snprintf(text, sizeof(text), "%d %s: %s\n", status, head_reason(status), detail);
	int head_len = snprintf(head, sizeof(head),
				"HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
				"Content-Length: %d\r\nConnection: close\r\n\r\n",
				status, head_reason(status), len);

	note_refusal(h, status, detail);
	/* Should the visitor not have read what came before, this is cut off; it closes anyway. */
	if (byte_stream_write(h->stream, bytes_of(head, (size_t)head_len)) == (size_t)head_len)
		(void)byte_stream_write(h->stream, bytes_of(text, (size_t)len));
}

/* --- Heads ----------------------------------------------------------------------------------- */

/* Prints the response's head into the exchange's arena. */
static int print_head(struct h1_server *h, enum h1_framing framing, struct bytes text)
{
	const struct head *head = &h->x->response;
	size_t size = 256 + text.len;

	for (size_t i = 0; i < head->fields.count; i++)
		size += head->fields.list[i].name.len + head->fields.list[i].value.len + 4;
	/* Memory of the arena, never grown: its size is its maximum. */
	struct buf out = { .ptr = arena_alloc_bytes(&h->x->arena, size), .cap = size, .max = size };
	int ret = h1_print_response(head, framing, h->keep_alive, false, &out);
	if (ret == 0)
		ret = buf_append(&out, text);
	if (ret == 0)
		h->pending = buf_bytes(&out);
	return ret;
}

static bool is_head_request(const struct h1_server *h)
{
	return bytes_eq(h->x->request.method, BYTES_LIT("HEAD"));
}

void h1_answer_error(struct h1_server *h, int status, struct bytes title, struct bytes detail)
{
	struct exchange *x = h->x;

	if (status < 400 || status > 599)
		status = 502;
	if (title.len == 0)
		title = bytes_str(head_reason(status));
	struct bytes text =
		arena_printf(&x->arena, "%d " BYTES_FMT "%s" BYTES_FMT "\n", status,
			     BYTES_ARG(title), detail.len ? ": " : "", BYTES_ARG(detail));
	x->response = (struct head){
		.status = status,
		.length = HEAD_LENGTH_KNOWN,
		.content_length = text.len,
	};
	/* An empty list has room for one. */
	(void)fields_set(&x->response.fields, &x->arena, HEAD_CONTENT_TYPE,
			 BYTES_LIT("text/plain; charset=utf-8"));
	h->keep_alive = h->info.keep_alive && h->request_done && !h->is_draining &&
			!h->is_leaving && !h->has_eof;
	BUG_IF(print_head(h, H1_LENGTH, is_head_request(h) ? BYTES_NONE : text) < 0);
	h->framing = H1_LENGTH;
	h->answer = H1_ANSWER_LAST;
}

static void start_response(struct h1_server *h)
{
	struct exchange *x = h->x;
	struct head *head = &x->response;
	enum h1_framing printed;

	head_strip_hop_by_hop(head);
	if (head->status == 101 && x->request.is_upgrade) {
		h->framing = printed = H1_RAW_UPGRADE;
	} else if (head->status < 200) {
		h1_answer_error(h, 502, BYTES_NONE,
				BYTES_LIT("the response has an impossible status"));
		return;
	} else if (is_head_request(h)) {
		h->framing = H1_NO_BODY;
		printed = head->length == HEAD_LENGTH_KNOWN ? H1_LENGTH : H1_NO_BODY;
	} else if (head->status == 204 || head->status == 304) {
		h->framing = printed = H1_NO_BODY;
	} else if (head->length == HEAD_LENGTH_UNKNOWN) {
		h->framing = printed = h->info.is_http10 ? H1_UNTIL_CLOSE : H1_CHUNKED;
	} else {
		if (head->length == HEAD_LENGTH_NONE)
			head->content_length = 0;
		h->framing = printed = H1_LENGTH;
		h->response_left = head->content_length;
	}
	if (x->request.is_upgrade && h->framing != H1_RAW_UPGRADE)
		h1_server_end_request(h);
	/* Who waits for 100 may never send the body it announced, or send it after all: nobody can tell
	 * what the next byte will be (RFC 9110 §10.1.1). */
	h->keep_alive = h->info.keep_alive && !h->is_draining && !h->is_leaving && !h->has_eof &&
			h->framing != H1_UNTIL_CLOSE && (h->sent_continue || h->request_done);
	if (print_head(h, printed, BYTES_NONE) < 0) {
		h1_answer_error(h, 502, BYTES_NONE, BYTES_LIT("the response has an invalid head"));
		return;
	}
	h->answer = H1_ANSWER_BODY;
	if (h->framing == H1_RAW_UPGRADE)
		h1_server_go_raw(h);
}

/* --- Bodies ---------------------------------------------------------------------------------- */

static bool write_pending(struct h1_server *h)
{
	if (h->pending.len) {
		size_t taken = byte_stream_write(h->stream, h->pending);
		if (taken)
			h->active_at = loop_now(h->stream->loop);
		h->pending = bytes_from(h->pending, taken);
	}
	return h->pending.len == 0;
}

/* Behind what still waits: interim heads may come faster than the visitor reads. */
static void add_pending(struct h1_server *h, struct bytes text)
{
	if (h->pending.len)
		text = arena_printf(&h->x->arena, BYTES_FMT BYTES_FMT, BYTES_ARG(h->pending),
				    BYTES_ARG(text));
	h->pending = text;
	/* Not the response, which may be there already: more interim heads may follow. */
	(void)write_pending(h);
}

void h1_answer_continue(struct h1_server *h)
{
	h->sent_continue = true;
	add_pending(h, BYTES_LIT("HTTP/1.1 100 Continue\r\n\r\n"));
}

void h1_answer_interim(struct h1_server *h, const struct head *head)
{
	struct buf out;

	if (h->info.is_http10 || h->answer != H1_ANSWER_NONE)
		return;
	buf_init(&out, LIMIT_HEAD_BYTES);
	if (h1_print_interim(head, &out) == 0)
		add_pending(h, arena_copy(&h->x->arena, buf_bytes(&out)));
	buf_done(&out);
}

/* Writes up to `max` bytes of the body. False when the stream takes no more for now. */
static bool write_body(struct h1_server *h, uint64_t max, uint64_t *ret_written)
{
	struct body *body = &h->x->response_body;
	struct bytes runs[BODY_RUNS];
	int count = body_peek(body, runs, BODY_RUNS);
	size_t total = 0;
	bool is_open = true;

	for (int i = 0; i < count && is_open && total < max; i++) {
		uint64_t left = max - total;
		struct bytes run = left < runs[i].len ? bytes_first(runs[i], (size_t)left) : runs[i];
		size_t taken = byte_stream_write(h->stream, run);
		total += taken;
		is_open = taken == run.len;
	}
	if (total) {
		body_consume(body, total);
		h->active_at = loop_now(h->stream->loop);
	}
	*ret_written = total;
	return is_open;
}

/* Each of these writes what it can. True: something changed, go on; false: wait for an event. */

static bool pump_length(struct h1_server *h)
{
	struct body *body = &h->x->response_body;
	uint64_t written;

	while (h->response_left && body->queue.len) {
		bool is_open = write_body(h, h->response_left, &written);
		h->response_left -= written;
		if (!is_open)
			return false;
	}
	if (body->queue.len) {
		/* The visitor has what was announced, but what this means nobody knows. */
		cut_off(h, E_PROTOCOL, "the response is longer than announced");
		return false;
	}
	if (!body->has_ended)
		return false;
	if (h->response_left) {
		cut_off(h, E_PROTOCOL, "the response is shorter than announced");
		return false;
	}
	h->answer = H1_ANSWER_LAST;
	return true;
}

/* "0", the trailers, the empty line. */
static void print_trailers(struct h1_server *h)
{
	const struct fields *trailers = &h->x->response_body.trailers;
	size_t size = 8;

	h->pending = BYTES_LIT("0\r\n\r\n");
	for (size_t i = 0; i < trailers->count; i++)
		size += trailers->list[i].name.len + trailers->list[i].value.len + 4;
	if (size == 8)
		return;
	struct buf out = { .ptr = arena_alloc_bytes(&h->x->arena, size), .cap = size, .max = size };
	if (buf_append_str(&out, "0\r\n") == 0 && h1_print_trailers(trailers, &out) == 0 &&
	    buf_append_str(&out, "\r\n") == 0)
		h->pending = buf_bytes(&out);
}

static bool pump_chunked(struct h1_server *h)
{
	struct body *body = &h->x->response_body;
	uint64_t written;

	if (h->response_left) {
		bool is_open = write_body(h, h->response_left, &written);
		h->response_left -= written;
		if (h->response_left == 0)
			h->pending = BYTES_LIT("\r\n");
		return is_open;
	}
	if (body->queue.len) {
		/* All that waits becomes one chunk. */
		h->response_left = body->queue.len;
		h->pending = bytes_of(h->frame, h1_print_chunk_head(h->response_left, h->frame));
		return true;
	}
	if (!body->has_ended)
		return false;
	print_trailers(h);
	h->answer = H1_ANSWER_LAST;
	return true;
}

/* Until the connection's end, or raw. */
static bool pump_plain(struct h1_server *h)
{
	struct body *body = &h->x->response_body;
	uint64_t written;

	while (body->queue.len)
		if (!write_body(h, UINT64_MAX, &written))
			return false;
	if (!body->has_ended)
		return false;
	h->keep_alive = false;
	h->answer = H1_ANSWER_LAST;
	if (h->framing == H1_RAW_UPGRADE && !h->request_done && !h->x->answerer_is_gone) {
		byte_stream_shutdown(h->stream);
		h->answer = H1_ANSWER_SHUT;
	}
	return true;
}

/* What should not have come is dropped; the end is waited for, so that the answerer is not cancelled
 * an instant before it is done. */
static bool pump_nothing(struct h1_server *h)
{
	struct body *body = &h->x->response_body;

	if (body->queue.len)
		body_consume(body, body->queue.len);
	if (!body->has_ended)
		return false;
	h->answer = H1_ANSWER_LAST;
	return true;
}

static bool pump_body(struct h1_server *h)
{
	switch (h->framing) {
	case H1_LENGTH:
		return pump_length(h);
	case H1_CHUNKED:
		return pump_chunked(h);
	case H1_UNTIL_CLOSE:
	case H1_RAW_UPGRADE:
		return pump_plain(h);
	default:
		return pump_nothing(h);
	}
}

void h1_answer_pump(struct h1_server *h)
{
	while (h->phase == H1_EXCHANGE) {
		if (!write_pending(h))
			return;
		switch (h->answer) {
		case H1_ANSWER_NONE:
			if (!h->x->has_head)
				return;
			start_response(h);
			break;
		case H1_ANSWER_BODY:
			if (!pump_body(h))
				return;
			break;
		case H1_ANSWER_SHUT:
			if (!h->request_done && !h->x->answerer_is_gone)
				return;
			h->answer = H1_ANSWER_LAST;
			break;
		case H1_ANSWER_LAST:
			h1_server_finish(h);
			return;
		}
	}
}
