/* The calls on a stream, and the way out: slice → nghttp2's frames → byte stream.
 *
 * There is no send queue of our own. h2_stream_write() lends its slice to nghttp2's data provider for
 * the length of the call; nghttp2 writes frame heads, the payload goes from the slice to the byte
 * stream. What neither window nor backlog admits is not taken.
 */
#include "base/mem.h"
#include "http/h2_internal.h"

/* --- Out of nghttp2 -------------------------------------------------------------------------- */

static void put(struct h2_session *s, struct bytes data)
{
	if (bufq_len(&s->overflow) == 0)
		data = bytes_from(data, byte_stream_write(s->stream, data));
	bufq_write_all(&s->overflow, data);
}

bool h2_session_drain_overflow(struct h2_session *s)
{
	struct bytes run;

	while (bufq_peek(&s->overflow, &run, 1)) {
		size_t taken = byte_stream_write(s->stream, run);
		bufq_consume(&s->overflow, taken);
		if (taken < run.len)
			return false;
	}
	return true;
}

void h2_session_pump(struct h2_session *s)
{
	if (s->in_receive || s->in_send) {
		loop_defer_flush(s->loop, &s->flush);
		return;
	}
	s->in_send = true;
	/* A write that falls short leaves its rest in the overflow: on_writable() is sure to follow. */
	while (bufq_len(&s->overflow) == 0) {
		const uint8_t *data;
		ssize_t n = nghttp2_session_mem_send(s->ng, &data);
		if (n == 0)
			break;
		if (n < 0) {
			struct err err;
			err_set(&err, E_INTERNAL, "HTTP/2 cannot send: %s",
				nghttp2_strerror((int)n));
			h2_session_end(s, &err);
			break;
		}
		put(s, bytes_of(data, (size_t)n));
	}
	s->in_send = false;
}

/* nghttp2 asks a stream how much data its next frame has. Only the one inside h2_stream_write() has
 * any; others may have their end to send. */
ssize_t h2_stream_give(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
		       nghttp2_data_source *source, void *user)
{
	struct h2_session *s = user;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, id);

	(void)buf;
	(void)source;
	if (!st)
		return NGHTTP2_ERR_DEFERRED; /* reset by us; the frame is on its way */
	struct bytes slice = s->writer == st ? s->slice : BYTES_NONE;
	if (slice.len == 0 && !st->has_ended)
		return NGHTTP2_ERR_DEFERRED;
	if (len > slice.len)
		len = slice.len;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (len == slice.len && (st->has_ended || s->slice_fin)) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		st->has_ended = true;
		st->has_item = false;
	}
	return (ssize_t)len;
}

int h2_stream_send_frame(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t len,
			 nghttp2_data_source *source, void *user)
{
	struct h2_session *s = user;

	(void)ng;
	(void)frame;
	(void)source;
	put(s, bytes_of(head, 9));
	put(s, bytes_first(s->slice, len));
	s->slice = bytes_from(s->slice, len);
	return bufq_len(&s->overflow) ? NGHTTP2_ERR_PAUSE : 0;
}

void h2_stream_activate(struct h2_stream *st)
{
	nghttp2_session *ng = st->session->ng;

	if (st->has_item) {
		/* Fails when it is active already, which is as good. */
		(void)nghttp2_session_resume_data(ng, st->id);
		return;
	}
	nghttp2_data_provider provider = { .read_callback = h2_stream_give };
	st->has_item = nghttp2_submit_data(ng, NGHTTP2_FLAG_END_STREAM, st->id, &provider) == 0;
}

/* --- Waiting --------------------------------------------------------------------------------- */

void h2_stream_block(struct h2_stream *st, enum h2_wait what)
{
	if (st->wait == what)
		return;
	h2_stream_unblock(st);
	st->wait = what;
	if (what == H2_WAIT_CONNECTION)
		list_append(&st->session->blocked, &st->wait_node);
}

void h2_stream_unblock(struct h2_stream *st)
{
	st->wait = H2_WAIT_NOTHING;
	list_remove(&st->wait_node);
}

/* What keeps this stream from sending a byte now. */
static enum h2_wait find_obstacle(struct h2_stream *st)
{
	struct h2_session *s = st->session;

	if (bufq_len(&s->overflow) || nghttp2_session_get_remote_window_size(s->ng) <= 0)
		return H2_WAIT_CONNECTION;
	if (nghttp2_session_get_stream_remote_window_size(s->ng, st->id) <= 0)
		return H2_WAIT_STREAM; /* or its head has not left yet: both wake it */
	return H2_WAIT_NOTHING;
}

/* --- Calls ----------------------------------------------------------------------------------- */

static struct h2_session *session_of(struct h2_stream *st)
{
	CHECK(st, H2_STREAM_MAGIC);
	CHECK(st->session, H2_SESSION_MAGIC);
	return st->session;
}

void h2_stream_set_ctx(struct h2_stream *st, void *ctx)
{
	CHECK(st, H2_STREAM_MAGIC);
	st->ctx = ctx;
}

void *h2_stream_ctx(struct h2_stream *st)
{
	CHECK(st, H2_STREAM_MAGIC);
	return st->ctx;
}

struct h2_session *h2_stream_session(struct h2_stream *st)
{
	return session_of(st);
}

uint32_t h2_stream_id(const struct h2_stream *st)
{
	return (uint32_t)st->id;
}

bool h2_stream_is_reset_by_peer(const struct h2_stream *st)
{
	return st->reset_by_peer;
}

const char *h2_error_name(uint32_t code)
{
	return nghttp2_http2_strerror(code);
}

static bool is_over(const struct h2_stream *st)
{
	return st->is_gone || st->has_ended || st->session->is_ending;
}

static void submit_head(struct h2_stream *st, const struct h2_nva *nva, bool fin)
{
	struct h2_session *s = st->session;
	int ret = nghttp2_submit_headers(s->ng, fin ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE,
					 st->id, NULL, nva->list, nva->count, NULL);

	if (ret < 0)
		h2_stream_reset(st, H2_INTERNAL_ERROR);
	else if (fin)
		st->has_ended = true;
	loop_defer_flush(s->loop, &s->flush);
}

void h2_stream_respond(struct h2_stream *st, const struct head *head, bool fin)
{
	struct h2_session *s = session_of(st);
	struct h2_nva nva;

	BUG_IF(s->options.role != H2_SERVER);
	if (is_over(st))
		return;
	if (head->status >= 200)
		st->has_head = true;
	h2_nva_response(&nva, head);
	submit_head(st, &nva, fin);
}

void h2_stream_refuse(struct h2_stream *st, int status)
{
	struct head head = { .status = status };
	struct h2_nva nva;

	h2_nva_response(&nva, &head);
	submit_head(st, &nva, true);
	if (!st->peer_ended)
		h2_stream_reset(st, H2_NO_ERROR); /* after the answer */
}

/* Our side ends with an empty frame. */
static void end(struct h2_stream *st)
{
	st->has_ended = true;
	h2_stream_unblock(st);
	h2_stream_activate(st);
	h2_session_pump(st->session);
}

size_t h2_stream_write(struct h2_stream *st, struct bytes data, bool fin)
{
	struct h2_session *s = session_of(st);

	if (is_over(st))
		return data.len;
	if (data.len == 0) {
		if (fin)
			end(st);
		return 0;
	}
	if (s->in_receive || s->in_send) {
		h2_stream_block(st, H2_WAIT_CONNECTION);
		h2_session_wake(s);
		return 0;
	}
	BUG_IF(s->options.role == H2_SERVER && !st->has_head);
	if (!st->is_open)
		h2_session_pump(s);
	enum h2_wait obstacle = find_obstacle(st);
	if (obstacle != H2_WAIT_NOTHING) {
		h2_stream_block(st, obstacle);
		return 0;
	}
	h2_stream_unblock(st);
	s->writer = st;
	s->slice = data;
	s->slice_fin = fin;
	h2_stream_activate(st);
	h2_session_pump(s);
	size_t taken = data.len - s->slice.len;
	s->writer = NULL;
	s->slice = BYTES_NONE;
	s->slice_fin = false;
	if (taken == data.len || st->is_gone)
		return data.len;
	obstacle = find_obstacle(st);
	if (obstacle == H2_WAIT_NOTHING) {
		/* nghttp2 would not take it for no reason that passes, such as memory. */
		h2_stream_reset(st, H2_INTERNAL_ERROR);
		return data.len;
	}
	h2_stream_block(st, obstacle);
	return taken;
}

static void submit_trailers(struct h2_stream *st, const struct fields *trailers)
{
	struct h2_nva nva;

	h2_nva_trailers(&nva, trailers);
	st->has_ended = true;
	if (nva.count == 0) {
		h2_stream_activate(st);
	} else if (nghttp2_submit_trailer(st->session->ng, st->id, nva.list, nva.count) < 0) {
		h2_stream_reset(st, H2_INTERNAL_ERROR);
	}
}

void h2_stream_send_late_trailers(struct h2_stream *st)
{
	struct h2_late_trailers *late = TAKE(st->late);

	if (!late)
		return;
	submit_trailers(st, &late->fields);
	arena_done(&late->arena);
	mem_free(late);
}

void h2_stream_finish(struct h2_stream *st, const struct fields *trailers)
{
	struct h2_session *s = session_of(st);

	if (is_over(st))
		return;
	if (!trailers || trailers->count == 0) {
		end(st);
		return;
	}
	if (st->is_open) {
		submit_trailers(st, trailers);
	} else {
		/* nghttp2 refuses them before the head has left. Until then the provider must not end the
		 * stream, so has_ended waits too. */
		st->late = mem_alloc(sizeof(*st->late));
		arena_init(&st->late->arena);
		(void)fields_copy(&st->late->fields, trailers, &st->late->arena);
	}
	h2_stream_unblock(st);
	loop_defer_flush(s->loop, &s->flush);
}

/* A peer that the window holds back sends half of it in a round trip or less, for credit comes by halves. What takes
 * less than two lets the window double, so that it ends at four times what is under way, or eight. */
static void grow_window(struct h2_stream *st, size_t n)
{
	struct h2_session *s = st->session;
	uint32_t max = s->options.stream_window_max;
	usec now = loop_now(s->loop), before = st->halved_at;

	if (st->window >= max || st->peer_ended)
		return;
	st->consumed += (uint32_t)n;
	if (st->consumed < st->window / 2)
		return;
	st->consumed = 0;
	st->halved_at = now;
	if (before == 0 || now - before >= 2 * s->round_trip)
		return;
	uint32_t more = st->window < max - st->window ? st->window : max - st->window;
	if (s->grown + more > LIMIT_H2_GROWN_BYTES)
		return;
	if (nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, st->id,
						  (int32_t)(st->window + more)) != 0)
		return;
	s->grown += more;
	st->window += more;
}

void h2_stream_consume(struct h2_stream *st, size_t n)
{
	struct h2_session *s = session_of(st);

	if (n == 0 || st->is_gone || s->is_ending)
		return;
	if (st->held) {
		size_t held = n < st->held ? n : st->held;
		st->held -= held;
		(void)nghttp2_session_consume_connection(s->ng, held);
	}
	(void)nghttp2_session_consume_stream(s->ng, st->id, n);
	grow_window(st, n);
	loop_defer_flush(s->loop, &s->flush);
}

void h2_stream_reset(struct h2_stream *st, uint32_t code)
{
	struct h2_session *s = session_of(st);

	if (st->is_gone || s->is_ending)
		return;
	if (code == H2_NO_ERROR && st->has_ended && !st->end_left) {
		/* "You may stop sending" must not overtake the end of the response. */
		st->reset_after_end = true;
		return;
	}
	(void)nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, st->id, code);
	/* From here on it is nghttp2's alone. */
	(void)nghttp2_session_set_stream_user_data(s->ng, st->id, NULL);
	h2_stream_gone(st, code);
	loop_defer_flush(s->loop, &s->flush);
}
