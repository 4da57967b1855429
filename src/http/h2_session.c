#include "http/h2_session.h"

#include <stdio.h>

#include "base/mem.h"
#include "http/h2_internal.h"

/* Reads per readiness: 128 KiB, then other connections get their turn. */
#define READS_PER_TURN 8
/* WINDOW_UPDATEs below the first of these, where less than the second is open, make us send frames that are
 * mostly overhead (CVE-2019-9511). Where more is open they are only a frame to read, and gRPC clients
 * send thousands a second, of 5 bytes each: so many count as one. */
#define SMALL_WINDOW_UPDATE 128
#define SMALL_WINDOW 16384
#define HARMLESS_UPDATES 32
/* A head of LIMIT_HEAD_BYTES in frames of 16 KiB, and room for the tunnel's base64. nghttp2's own
 * limit on the way out is 64 KiB. */
#define HEAD_BLOCK_BYTES (4 * LIMIT_HEAD_BYTES)

static const uint8_t ping_alive[8] = "alive", ping_drain[8] = "drain";

/* --- Streams --------------------------------------------------------------------------------- */

static struct h2_stream *stream_new(struct h2_session *s)
{
	struct h2_stream *st = mem_alloc(sizeof(*st));

	st->magic = H2_STREAM_MAGIC;
	st->session = s;
	st->window = s->options.stream_window;
	list_init(&st->wait_node);
	list_append(&s->streams, &st->node);
	s->stream_count++;
	return st;
}

static void stream_free(struct h2_stream *st)
{
	if (st->late) {
		arena_done(&st->late->arena);
		mem_free(st->late);
	}
	list_remove(&st->node);
	list_remove(&st->wait_node);
	st->magic = 0;
	mem_free(st);
}

void h2_stream_gone(struct h2_stream *st, uint32_t code)
{
	struct h2_session *s = st->session;

	if (st->is_gone)
		return;
	st->is_gone = true;
	st->code = code;
	if (st->peer_ended)
		h2_watch_over(&s->watch, st->id);
	if (st->held) {
		(void)nghttp2_session_consume_connection(s->ng, st->held);
		st->held = 0;
		loop_defer_flush(s->loop, &s->flush);
	}
	s->grown -= st->window - s->options.stream_window;
	h2_stream_unblock(st);
	if (s->collecting == st)
		s->collecting = NULL;
	list_remove(&st->node);
	list_append(&s->gone, &st->node);
	s->stream_count--;
	loop_defer(s->loop, &s->deliver);
}

/* --- The end --------------------------------------------------------------------------------- */

void h2_session_end(struct h2_session *s, const struct err *why)
{
	if (s->is_ending)
		return;
	s->is_ending = true;
	s->why = *why;
	loop_defer(s->loop, &s->deliver);
}

/* With a word to the peer, which leaves before the byte stream is closed. */
void h2_session_end_with(struct h2_session *s, uint32_t code, int err_code, const char *reason)
{
	struct err err;

	if (s->is_ending)
		return;
	err_set(&err, err_code, "%s", reason);
	(void)nghttp2_submit_goaway(s->ng, NGHTTP2_FLAG_NONE,
				    nghttp2_session_get_last_proc_stream_id(s->ng), code,
				    (const uint8_t *)reason, strlen(reason));
	h2_session_end(s, &err);
}

static void session_free(struct h2_session *s)
{
	timer_stop(&s->pong);
	timer_stop(&s->drain);
	deferred_cancel(&s->flush);
	deferred_cancel(&s->deliver);
	h2_head_drop(s);
	bufq_done(&s->overflow);
	nghttp2_session_del(s->ng);
	s->magic = 0;
	mem_free(s);
}

static void report_gone(struct h2_session *s)
{
	struct list *node;

	while ((node = list_pop(&s->gone))) {
		struct h2_stream *st = LIST_ENTRY(node, struct h2_stream, node);
		if (st->is_announced && s->events->on_stream_closed)
			s->events->on_stream_closed(st, st->code);
		stream_free(st);
	}
}

static void finish(struct h2_session *s)
{
	/* The last frames; what does not fit into the backlog is lost, which the peer has earned. */
	if (h2_session_drain_overflow(s))
		h2_session_pump(s);
	s->stream = byte_stream_close(s->stream);
	uint32_t code = s->why.code == E_CANCELLED ? H2_CANCEL : H2_INTERNAL_ERROR;
	while (!list_is_empty(&s->streams)) {
		struct h2_stream *st = LIST_ENTRY(s->streams.next, struct h2_stream, node);
		/* Nobody has seen a request whose head has not left. */
		bool is_unseen = s->options.role == H2_CLIENT && !st->is_open;
		h2_stream_gone(st, is_unseen ? H2_REFUSED_STREAM : code);
	}
	report_gone(s);
	if (s->events->on_closed)
		s->events->on_closed(s, &s->why);
	session_free(s);
}

/* --- Events ---------------------------------------------------------------------------------- */

void h2_session_wake(struct h2_session *s)
{
	s->wake = true;
	loop_defer(s->loop, &s->deliver);
}

/* One after the other, and those that fall short again go to the end of the line. */
static void wake_blocked(struct h2_session *s)
{
	struct list turn;

	s->wake = false;
	list_init(&turn);
	list_take_all(&turn, &s->blocked);
	while (!list_is_empty(&turn) && !s->is_ending && bufq_len(&s->overflow) == 0 &&
	       nghttp2_session_get_remote_window_size(s->ng) > 0) {
		struct h2_stream *st = LIST_ENTRY(turn.next, struct h2_stream, wait_node);
		h2_stream_unblock(st);
		if (s->events->on_writable)
			s->events->on_writable(st);
	}
	/* The rest keeps its place before those that have just had theirs. */
	list_take_all(&turn, &s->blocked);
	list_take_all(&s->blocked, &turn);
}

static void deliver(struct deferred *d)
{
	struct h2_session *s = CONTAINER_OF(d, struct h2_session, deliver);

	CHECK(s, H2_SESSION_MAGIC);
	report_gone(s);
	if (s->wake && !s->is_ending)
		wake_blocked(s);
	if (s->is_ending)
		finish(s);
}

static void flush(struct deferred *d)
{
	struct h2_session *s = CONTAINER_OF(d, struct h2_session, flush);
	struct err err;

	CHECK(s, H2_SESSION_MAGIC);
	if (s->is_ending)
		return;
	if (h2_session_drain_overflow(s))
		h2_session_pump(s);
	if (s->is_ending || nghttp2_session_want_read(s->ng) || nghttp2_session_want_write(s->ng))
		return;
	/* nghttp2 has said its last word: after a drain, or because the peer broke the rules. */
	if (s->goaway_code == H2_NO_ERROR)
		err_set(&err, E_CLOSED, "the HTTP/2 session is over");
	else
		err_set(&err, E_PROTOCOL, "HTTP/2 error %u: %s", s->goaway_code, s->complaint);
	h2_session_end(s, &err);
}

/* --- Limits ---------------------------------------------------------------------------------- */

/* Frames that cost us more than the peer. */
void h2_session_glitch(struct h2_session *s)
{
	usec now = loop_now(s->loop);

	if (now - s->glitches_since >= USEC_PER_SEC) {
		s->glitches_since = now;
		s->glitches = 0;
	}
	if (++s->glitches > s->options.glitches_per_sec)
		h2_session_end_with(s, H2_ENHANCE_YOUR_CALM, E_LIMIT,
				    "too many HTTP/2 control frames");
}

static bool is_bad_update(struct h2_session *s, const nghttp2_frame *frame)
{
	int32_t id = frame->hd.stream_id;

	if (frame->window_update.window_size_increment >= SMALL_WINDOW_UPDATE)
		return false;
	int32_t window = id ? nghttp2_session_get_stream_remote_window_size(s->ng, id)
			    : nghttp2_session_get_remote_window_size(s->ng);
	return window < SMALL_WINDOW || ++s->small_updates % HARMLESS_UPDATES == 0;
}

static bool is_glitch(struct h2_session *s, const nghttp2_frame *frame)
{
	switch (frame->hd.type) {
	case NGHTTP2_RST_STREAM:
		return true;
	case NGHTTP2_PING:
		return !(frame->hd.flags & NGHTTP2_FLAG_ACK) || !s->pong_ms;
	case NGHTTP2_SETTINGS:
		return s->is_ready;
	case NGHTTP2_DATA:
		return frame->hd.length == frame->data.padlen &&
		       !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
	case NGHTTP2_WINDOW_UPDATE:
		return is_bad_update(s, frame);
	default:
		return false;
	}
}

/* --- nghttp2's callbacks --------------------------------------------------------------------- */

static struct h2_stream *find_stream(struct h2_session *s, int32_t id)
{
	return nghttp2_session_get_stream_user_data(s->ng, id);
}

/* PRIORITY is skipped without a further word, as are frames of unknown types, which cost nothing. */
static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *head, void *user)
{
	(void)ng;
	if (head->type == NGHTTP2_PRIORITY && head->stream_id == 0)
		h2_session_end_with(user, H2_PROTOCOL_ERROR, E_PROTOCOL, "PRIORITY of no stream");
	else if (head->type == NGHTTP2_PRIORITY)
		h2_session_glitch(user);
	return 0;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
	struct h2_session *s = user;
	struct h2_stream *st;

	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		st = stream_new(s);
		st->id = frame->hd.stream_id;
		st->is_open = true;
		nghttp2_session_set_stream_user_data(ng, st->id, st);
	} else {
		st = find_stream(s, frame->hd.stream_id);
	}
	h2_head_begin(s, st);
	return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *user)
{
	(void)ng;
	(void)frame;
	(void)flags;
	h2_head_add(user, bytes_of(name, name_len), bytes_of(value, value_len));
	return 0;
}

/* nghttp2 would drop the field and go on; RFC 9113 §8.2.1 calls the message malformed. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
			     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
			     void *user)
{
	(void)ng;
	(void)frame;
	(void)name;
	(void)name_len;
	(void)value;
	(void)value_len;
	(void)flags;
	(void)user;
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void on_request_head(struct h2_session *s, struct h2_stream *st, bool fin)
{
	int status = h2_head_finish_request(s, fin);

	if (status > 0) {
		h2_stream_refuse(st, status);
	} else if (status < 0) {
		h2_stream_reset(st, H2_PROTOCOL_ERROR);
	} else {
		st->is_announced = true;
		s->events->on_request(s, st, &s->head, fin);
	}
}

static void on_response_head(struct h2_session *s, struct h2_stream *st, bool fin)
{
	/* nghttp2 takes any three digits; below 100 there is no class of them (RFC 9110 §15). */
	if (s->head.status < 100) {
		h2_stream_reset(st, H2_PROTOCOL_ERROR);
		return;
	}
	h2_head_finish_response(s, fin);
	st->has_head = s->head.status >= 200;
	s->events->on_response(st, &s->head, fin);
}

static void on_head(struct h2_session *s, const nghttp2_frame *frame)
{
	struct h2_stream *st = s->collecting;
	bool fin = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	if (!st || st->is_gone)
		return;
	if (fin)
		st->peer_ended = true;
	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		on_request_head(s, st, fin);
	else if (s->head_is_large)
		h2_stream_reset(st, H2_ENHANCE_YOUR_CALM);
	else if (s->options.role == H2_CLIENT && !st->has_head)
		on_response_head(s, st, fin);
	else if (st->is_announced && s->events->on_trailers)
		s->events->on_trailers(st, &s->head.fields);
	else if (st->is_announced)
		s->events->on_data(st, BYTES_NONE, true);
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data,
			 size_t len, void *user)
{
	struct h2_session *s = user;
	struct h2_stream *st = find_stream(s, id);

	(void)flags;
	bool is_wanted = st && st->is_announced && !s->is_ending;
	if (is_wanted && s->options.is_window_shared)
		st->held += len;
	else
		(void)nghttp2_session_consume_connection(ng, len);
	if (is_wanted)
		s->events->on_data(st, bytes_of(data, len), false);
	return 0;
}

static void on_window_update(struct h2_session *s, const nghttp2_frame *frame)
{
	struct h2_stream *st;

	if (frame->hd.stream_id == 0) {
		if (!list_is_empty(&s->blocked))
			h2_session_wake(s);
		return;
	}
	st = find_stream(s, frame->hd.stream_id);
	if (st && st->wait == H2_WAIT_STREAM) {
		h2_stream_block(st, H2_WAIT_CONNECTION);
		h2_session_wake(s);
	}
}

/* On a busy session the answer may have waited behind other bytes. */
static void note_round_trip(struct h2_session *s, usec since)
{
	usec took = loop_now(s->loop) - since;

	if (s->round_trip == 0 || took < s->round_trip || s->stream_count <= 1)
		s->round_trip = took > 0 ? took : 1;
}

static void on_settings(struct h2_session *s, const nghttp2_frame *frame)
{
	if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
		if (s->round_trip == 0)
			note_round_trip(s, s->said_at);
		return;
	}
	/* The initial window may have grown, and with it every stream's. */
	LIST_FOR_EACH(node, &s->streams) {
		struct h2_stream *st = LIST_ENTRY(node, struct h2_stream, node);
		if (st->wait == H2_WAIT_STREAM)
			h2_stream_block(st, H2_WAIT_CONNECTION);
	}
	if (!list_is_empty(&s->blocked))
		h2_session_wake(s);
	if (s->is_ready)
		return;
	s->is_ready = true;
	if (s->events->on_ready)
		s->events->on_ready(s);
}

/* A drain's second step: the peer has seen the notice, so nothing crosses this on the way. */
static void send_last_goaway(struct h2_session *s)
{
	timer_stop(&s->drain);
	(void)nghttp2_submit_goaway(s->ng, NGHTTP2_FLAG_NONE,
				    nghttp2_session_get_last_proc_stream_id(s->ng), H2_NO_ERROR,
				    NULL, 0);
	loop_defer_flush(s->loop, &s->flush);
}

static void on_pong(struct h2_session *s, const uint8_t *data)
{
	if (memcmp(data, ping_alive, 8) == 0) {
		if (s->pong_ms)
			note_round_trip(s, s->pinged_at);
		s->pong_ms = 0;
		timer_stop(&s->pong);
	} else if (memcmp(data, ping_drain, 8) == 0 && timer_is_set(&s->drain)) {
		send_last_goaway(s);
	}
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
	struct h2_session *s = user;
	struct h2_stream *st;

	(void)ng;
	if (is_glitch(s, frame))
		h2_session_glitch(s);
	if (s->is_ending)
		return 0; /* what is left of this read goes by unseen */
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		on_head(s, frame);
		h2_head_drop(s);
		break;
	case NGHTTP2_DATA:
		st = find_stream(s, frame->hd.stream_id);
		if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || !st)
			break;
		st->peer_ended = true;
		if (st->is_announced)
			s->events->on_data(st, BYTES_NONE, true);
		break;
	case NGHTTP2_WINDOW_UPDATE:
		on_window_update(s, frame);
		break;
	case NGHTTP2_SETTINGS:
		on_settings(s, frame);
		break;
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK)
			on_pong(s, frame->ping.opaque_data);
		break;
	case NGHTTP2_RST_STREAM:
		h2_watch_over(&s->watch, frame->hd.stream_id);
		st = find_stream(s, frame->hd.stream_id);
		if (st)
			st->reset_by_peer = true;
		break;
	case NGHTTP2_GOAWAY:
		s->got_goaway = true;
		if (s->events->on_goaway)
			s->events->on_goaway(s);
		break;
	default:
		break;
	}
	return 0;
}

static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int code, void *user)
{
	(void)ng;
	(void)frame;
	(void)code;
	h2_session_glitch(user);
	return 0;
}

static int on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
	struct h2_session *s = user;

	(void)ng;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		s->goaway_code = frame->goaway.error_code;
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	struct h2_stream *st = find_stream(s, frame->hd.stream_id);
	if (!st)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		st->is_open = true;
		h2_stream_send_late_trailers(st);
		if (st->wait == H2_WAIT_STREAM) {
			h2_stream_block(st, H2_WAIT_CONNECTION);
			h2_session_wake(s);
		}
	}
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
		st->end_left = true;
		if (st->reset_after_end)
			h2_stream_reset(st, H2_NO_ERROR);
	}
	return 0;
}

static int on_not_sent(nghttp2_session *ng, const nghttp2_frame *frame, int code, void *user)
{
	struct h2_session *s = user;

	(void)ng;
	(void)code;
	/* A response or trailers too large for nghttp2: cut the stream off. A request that could not be
	 * sent is closed by nghttp2. */
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		struct h2_stream *st = find_stream(s, frame->hd.stream_id);
		if (st)
			h2_stream_reset(st, H2_INTERNAL_ERROR);
	}
	return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user)
{
	struct h2_session *s = user;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, id);

	if (!st)
		return 0;
	/* A reset without an error is one all the same when what should have come is missing. */
	bool is_complete = s->options.role == H2_CLIENT ? st->peer_ended : st->has_ended;
	h2_stream_gone(st, code == H2_NO_ERROR && !is_complete ? H2_CANCEL : code);
	nghttp2_session_set_stream_user_data(ng, id, NULL);
	return 0;
}

static int on_complaint(nghttp2_session *ng, int code, const char *text, size_t len, void *user)
{
	struct h2_session *s = user;

	(void)ng;
	(void)code;
	snprintf(s->complaint, sizeof(s->complaint), "%.*s", (int)(len < 200 ? len : 200), text);
	return 0;
}

/* --- Reading --------------------------------------------------------------------------------- */

/* Frames for streams that are gone are looked at on the way: nghttp2 would skip them. */
static ssize_t feed(struct h2_session *s, struct bytes data)
{
	struct h2_frame_head odd;

	for (;;) {
		size_t size = h2_watch_next(s, data, &odd);
		ssize_t n = size ? nghttp2_session_mem_recv(s->ng, data.ptr, size) : 0;
		if (n < 0 || size == data.len || s->is_ending)
			return n;
		h2_watch_judge(s, &odd);
		if (s->is_ending)
			return 0;
		/* The frame's head goes with what follows it. */
		data = bytes_from(data, size);
	}
}

static void receive(struct h2_session *s, struct bytes data)
{
	struct err err;

	s->last_heard = loop_now(s->loop);
	s->in_receive = true;
	ssize_t n = feed(s, data);
	s->in_receive = false;
	loop_defer_flush(s->loop, &s->flush);
	if (s->is_ending)
		return;
	if (n == NGHTTP2_ERR_FLOODED) {
		h2_session_end_with(s, H2_ENHANCE_YOUR_CALM, E_LIMIT, "HTTP/2 flood");
	} else if (n < 0) {
		err_set(&err, E_PROTOCOL, "HTTP/2: %s", nghttp2_strerror((int)n));
		h2_session_end(s, &err);
	} else if (nghttp2_session_get_outbound_queue_size(s->ng) >
		   LIMIT_H2_OUTBOUND_ACKS + 4 * s->stream_count + s->options.glitches_per_sec) {
		/* It asks and asks and does not read. */
		h2_session_end_with(s, H2_ENHANCE_YOUR_CALM, E_LIMIT, "answers are not read");
	}
}

static void on_readable(void *ctx)
{
	struct h2_session *s = ctx;
	struct err err = { 0 };
	ssize_t n = 0;

	CHECK(s, H2_SESSION_MAGIC);
	uint8_t *chunk = bufq_chunk_take();
	for (int i = 0; i < READS_PER_TURN && !s->is_ending; i++) {
		n = byte_stream_read(s->stream, chunk, BUFQ_CHUNK_BYTES, &err);
		if (n <= 0)
			break;
		receive(s, bytes_of(chunk, (size_t)n));
	}
	bufq_chunk_return(chunk);
	if (n == 0)
		err_set(&err, E_CLOSED, "the peer closed the connection");
	if (n > 0)
		byte_stream_want_read(s->stream);
	else if (n != E_AGAIN)
		h2_session_end(s, &err);
}

static void on_writable(void *ctx)
{
	struct h2_session *s = ctx;

	CHECK(s, H2_SESSION_MAGIC);
	if (s->is_ending || !h2_session_drain_overflow(s))
		return;
	loop_defer_flush(s->loop, &s->flush);
	if (!list_is_empty(&s->blocked))
		h2_session_wake(s);
}

static void on_error(void *ctx, const struct err *err)
{
	h2_session_end(ctx, err);
}

static const struct byte_stream_events stream_events = {
	.on_readable = on_readable,
	.on_writable = on_writable,
	.on_error = on_error,
};

/* --- Life ------------------------------------------------------------------------------------ */

static void on_pong_late(struct timer *t)
{
	struct h2_session *s = CONTAINER_OF(t, struct h2_session, pong);
	usec silent = loop_now(s->loop) - s->last_heard;
	struct err err;

	/* The answer may stand behind megabytes on a slow line: whoever sends is alive. */
	if (silent < s->pong_ms * USEC_PER_MSEC) {
		timer_set(&s->pong, s->pong_ms - silent / USEC_PER_MSEC);
		return;
	}
	err_set(&err, E_TIMEOUT, "no answer to a ping for %lld ms", (long long)s->pong_ms);
	h2_session_end(s, &err);
}

static void on_drain_late(struct timer *t)
{
	send_last_goaway(CONTAINER_OF(t, struct h2_session, drain));
}

static nghttp2_session *make_library_session(struct h2_session *s)
{
	const struct h2_options *o = &s->options;
	nghttp2_session_callbacks *cb = NULL;
	nghttp2_option *option = NULL;
	nghttp2_session *ng = NULL;

	nghttp2_session_callbacks_new(&cb);
	nghttp2_option_new(&option);
	cb = mem_made(cb);
	option = mem_made(option);
	nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_not_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_send_data_callback(cb, h2_stream_send_frame);
	nghttp2_session_callbacks_set_error_callback2(cb, on_complaint);

	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_outbound_ack(option, LIMIT_H2_OUTBOUND_ACKS);
	nghttp2_option_set_max_send_header_block_length(option, HEAD_BLOCK_BYTES);
	/* We count for both roles; the library must not be stricter than our number. */
	nghttp2_option_set_stream_reset_rate_limit(option, 2 * o->glitches_per_sec,
						   2 * o->glitches_per_sec);

	if (o->role == H2_SERVER)
		nghttp2_session_server_new2(&ng, cb, s, option);
	else
		nghttp2_session_client_new2(&ng, cb, s, option);
	ng = mem_made(ng);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(cb);
	return ng;
}

static void send_settings(struct h2_session *s)
{
	const struct h2_options *o = &s->options;
	nghttp2_settings_entry list[8];
	size_t n = 0;

	if (o->role == H2_SERVER)
		list[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
						      o->max_streams };
	else
		list[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 };
	list[n++] =
		(nghttp2_settings_entry){ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, o->stream_window };
	if (o->max_frame > 16384)
		list[n++] =
			(nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_FRAME_SIZE, o->max_frame };
	list[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
					      (uint32_t)o->head_bytes };
	/* The tree of priorities of RFC 7540 is memory and work for nothing. */
	list[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 };
	if (o->role == H2_SERVER && o->allow_connect_protocol)
		list[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 };
	BUG_IF(nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, list, n) != 0);
	BUG_IF(nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0,
						     (int32_t)o->connection_window) != 0);
}

struct h2_session *h2_session_new(struct byte_stream *stream, const struct h2_options *options,
				  const struct h2_events *events, void *ctx)
{
	struct h2_session *s = mem_alloc(sizeof(*s));

	s->magic = H2_SESSION_MAGIC;
	s->loop = stream->loop;
	s->stream = stream;
	s->events = events;
	s->ctx = ctx;
	s->options = *options;
	if (!s->options.head_bytes)
		s->options.head_bytes = LIMIT_HEAD_BYTES;
	if (!s->options.glitches_per_sec)
		s->options.glitches_per_sec = LIMIT_H2_GLITCHES_PER_SEC;
	list_init(&s->streams);
	list_init(&s->gone);
	list_init(&s->blocked);
	bufq_init(&s->overflow, 0); /* bounded by one frame */
	deferred_init(&s->flush, flush);
	deferred_init(&s->deliver, deliver);
	timer_init(&s->pong, s->loop, on_pong_late);
	timer_init(&s->drain, s->loop, on_drain_late);
	arena_init(&s->head_arena);
	s->last_heard = s->glitches_since = s->said_at = loop_now(s->loop);
	h2_watch_init(&s->watch, options->role);
	s->ng = make_library_session(s);
	send_settings(s);
	byte_stream_set_events(stream, &stream_events, s);
	loop_defer_flush(s->loop, &s->flush);
	/* Whoever had the stream before may have left bytes in it. */
	byte_stream_want_read(stream);
	return s;
}

void *h2_session_ctx(struct h2_session *s)
{
	CHECK(s, H2_SESSION_MAGIC);
	return s->ctx;
}

struct byte_stream *h2_session_stream(struct h2_session *s)
{
	return s->stream;
}

const struct err *h2_session_failure(const struct h2_session *s)
{
	return s->is_ending ? &s->why : NULL;
}

size_t h2_session_stream_count(const struct h2_session *s)
{
	return s->stream_count;
}

bool h2_session_can_open(const struct h2_session *s)
{
	return s->options.role == H2_CLIENT && !s->is_ending && !s->is_draining && !s->got_goaway &&
	       s->stream_count < h2_session_peer_max_streams(s) &&
	       nghttp2_session_check_request_allowed(s->ng);
}

bool h2_session_has_connect_protocol(const struct h2_session *s)
{
	return s->is_ready && nghttp2_session_get_remote_settings(
				      s->ng, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

uint32_t h2_session_peer_max_streams(const struct h2_session *s)
{
	return nghttp2_session_get_remote_settings(s->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

struct h2_stream *h2_session_open(struct h2_session *s, const struct head *head, bool fin, void *ctx)
{
	nghttp2_data_provider provider = { .read_callback = h2_stream_give };
	struct h2_nva nva;

	CHECK(s, H2_SESSION_MAGIC);
	if (!h2_session_can_open(s))
		return NULL;
	h2_nva_request(&nva, head, head->is_upgrade && s->options.allow_connect_protocol);
	struct h2_stream *st = stream_new(s);
	st->id = nghttp2_submit_request(s->ng, NULL, nva.list, nva.count, fin ? NULL : &provider,
					st);
	if (st->id < 0) {
		s->stream_count--;
		stream_free(st);
		return NULL;
	}
	st->ctx = ctx;
	st->is_announced = true;
	st->has_item = !fin;
	st->has_ended = fin;
	loop_defer_flush(s->loop, &s->flush);
	return st;
}

void h2_session_ping(struct h2_session *s, int64_t timeout_ms)
{
	CHECK(s, H2_SESSION_MAGIC);
	if (s->is_ending || (s->pong_ms && s->pong_ms <= timeout_ms))
		return;
	if (s->pong_ms) {
		/* One is under way: only less patience is new. */
		s->pong_ms = timeout_ms > 0 ? timeout_ms : 1;
		timer_set(&s->pong, s->pong_ms);
		return;
	}
	s->pong_ms = timeout_ms > 0 ? timeout_ms : 1;
	s->pinged_at = loop_now(s->loop);
	(void)nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, ping_alive);
	timer_set(&s->pong, s->pong_ms);
	loop_defer_flush(s->loop, &s->flush);
}

usec h2_session_last_heard(const struct h2_session *s)
{
	return s->last_heard;
}

usec h2_session_head_since(const struct h2_session *s)
{
	return s->head_since;
}

void h2_session_announce_end(struct h2_session *s)
{
	CHECK(s, H2_SESSION_MAGIC);
	BUG_IF(s->options.role != H2_CLIENT);
	if (!s->is_ending)
		send_last_goaway(s);
}

void h2_session_drain(struct h2_session *s)
{
	CHECK(s, H2_SESSION_MAGIC);
	if (s->is_ending || s->is_draining)
		return;
	s->is_draining = true;
	if (s->options.role == H2_CLIENT) {
		send_last_goaway(s);
		return;
	}
	/* In two steps (RFC 9113 §6.8): requests that are on the way when the notice arrives are served. */
	(void)nghttp2_submit_shutdown_notice(s->ng);
	(void)nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, ping_drain);
	timer_set(&s->drain, LIMIT_LINGER_MS);
	loop_defer_flush(s->loop, &s->flush);
}

void h2_session_close(struct h2_session *s, uint32_t code, const char *reason)
{
	CHECK(s, H2_SESSION_MAGIC);
	h2_session_end_with(s, code, E_CANCELLED, reason);
}
