#include "http/h3_session.h"

#include <nghttp3/nghttp3.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/h2_internal.h"

#define H3_SESSION_MAGIC 0x68337365
#define H3_STREAM_MAGIC 0x68337374
/* Type and length of a DATA frame, at most. */
#define FRAME_HEAD_BYTES 16

/* A head or trailers that are being received. */
struct h3_incoming {
	struct arena arena;
	struct head head;
	struct bytes host, protocol;
	size_t bytes;
	bool is_large;
};

struct h3_stream {
	uint32_t magic;
	int64_t id;
	struct h3_session *session; /* borrowed */
	struct quic_stream *quic;   /* borrowed; NULL once closed */
	void *ctx;                  /* borrowed, the user's */
	struct list node;           /* in session->streams or session->gone */
	struct list wait_node;      /* in session->waiting */
	struct h3_incoming *in;     /* owned; NULL: none */
	usec opened_at;
	uint64_t code;     /* once gone */
	bool is_announced; /* the user knows it */
	bool is_gone;
	bool has_head;     /* the final head was given */
	bool has_trailers; /* the end of the body is not the stream's */
	bool has_ended;    /* our side: the end was accepted */
	bool end_left;     /* and went to QUIC */
	bool stop_after_end;
	bool peer_ended;
};

struct h3_session {
	uint32_t magic;
	struct quic_conn *conn; /* borrowed: it ends with on_closed */
	struct loop *loop;      /* borrowed */
	nghttp3_conn *ng;       /* owned */
	const struct h3_events *events;
	void *ctx;
	struct list streams, gone, waiting;
	struct map *by_id; /* stream id → struct h3_stream */
	size_t request_count;
	struct h3_stream *reading; /* whose bytes nghttp3 is reading */
	struct h3_stream *writer;  /* whose h3_stream_write() is running */
	struct bytes slice;        /* what is left of it */
	bool slice_fin;
	bool in_receive, in_send, is_ending;
	bool is_draining, is_final; /* GOAWAY with all streams, with the last one */
	struct timer notice;
	struct deferred flush, deliver;
	uint64_t written; /* to streams that are gone, and all others */
	usec glitches_since;
	unsigned glitches;
};

static void pump(struct h3_session *s);

/* --- Ending ---------------------------------------------------------------------------------- */

void h3_session_close(struct h3_session *s, uint64_t code, const char *reason)
{
	CHECK(s, H3_SESSION_MAGIC);
	if (s->is_ending)
		return;
	if (!s->in_receive && !s->in_send)
		pump(s);
	s->is_ending = true;
	quic_conn_close(s->conn, code, reason);
}

static void fail(struct h3_session *s, int code)
{
	h3_session_close(s, nghttp3_err_infer_quic_app_error_code(code), nghttp3_strerror(code));
}

/* What costs us more than the visitor: requests that are opened to be reset. */
static void glitch(struct h3_session *s)
{
	usec now = loop_now(s->loop);

	if (now - s->glitches_since >= USEC_PER_SEC) {
		s->glitches_since = now;
		s->glitches = 0;
	}
	if (++s->glitches > LIMIT_H2_GLITCHES_PER_SEC)
		h3_session_close(s, H3_EXCESSIVE_LOAD, "too many resets");
}

static void drop_incoming(struct h3_stream *st)
{
	struct h3_incoming *in = TAKE(st->in);

	if (!in)
		return;
	arena_done(&in->arena);
	mem_free(in);
}

static struct bytes key_of(const int64_t *id)
{
	return bytes_of(id, sizeof(*id));
}

static bool is_request(const struct h3_stream *st)
{
	return !(st->id & 3);
}

/* The event follows in a later turn; QUIC's stream may live on without us. */
static void gone(struct h3_stream *st, uint64_t code)
{
	struct h3_session *s = st->session;

	if (st->is_gone)
		return;
	st->is_gone = true;
	st->code = code;
	if (st->quic)
		quic_stream_set_ctx(st->quic, NULL);
	st->quic = NULL;
	(void)nghttp3_conn_set_stream_user_data(s->ng, st->id, NULL);
	(void)map_take(s->by_id, key_of(&st->id));
	list_remove(&st->wait_node);
	list_remove(&st->node);
	list_append(&s->gone, &st->node);
	if (is_request(st))
		s->request_count--;
	loop_defer(s->loop, &s->deliver);
}

static void report_gone(struct h3_session *s)
{
	struct list *node;

	while ((node = list_pop(&s->gone))) {
		struct h3_stream *st = LIST_ENTRY(node, struct h3_stream, node);
		if (st->is_announced)
			s->events->on_stream_closed(st, st->code);
		drop_incoming(st);
		st->magic = 0;
		mem_free(st);
	}
}

static void check_drained(struct h3_session *s)
{
	if (s->is_final && s->request_count == 0)
		h3_session_close(s, H3_NO_ERROR, "");
}

static void deliver(struct deferred *d)
{
	struct h3_session *s = CONTAINER_OF(d, struct h3_session, deliver);
	struct list waiting, *node;

	report_gone(s);
	list_init(&waiting);
	list_take_all(&waiting, &s->waiting);
	while ((node = list_pop(&waiting))) {
		struct h3_stream *st = LIST_ENTRY(node, struct h3_stream, wait_node);
		if (st->is_announced && !s->is_ending)
			s->events->on_writable(st);
	}
	check_drained(s);
}

/* --- Out ------------------------------------------------------------------------------------- */

static struct h3_stream *find(struct h3_session *s, int64_t id)
{
	return map_find(s->by_id, key_of(&id));
}

static void stop_request(struct h3_stream *st)
{
	nghttp3_conn_shutdown_stream_read(st->session->ng, st->id);
	quic_stream_stop(st->quic, H3_NO_ERROR);
	gone(st, H3_NO_ERROR);
}

/* QUIC copies what it takes, so nghttp3 may forget it at once. What comes of bodies was measured by give_data(). */
static void put(struct h3_session *s, struct h3_stream *st, const nghttp3_vec *runs, size_t count,
		bool fin)
{
	size_t total = 0;

	for (size_t i = 0; i < count; i++) {
		quic_stream_write_all(st->quic, bytes_of(runs[i].base, runs[i].len), false);
		total += runs[i].len;
	}
	if (fin)
		quic_stream_write_all(st->quic, BYTES_NONE, true);
	s->written += total;
	(void)nghttp3_conn_add_write_offset(s->ng, st->id, total);
	(void)nghttp3_conn_add_ack_offset(s->ng, st->id, total);
	st->end_left |= fin;
}

static void pump(struct h3_session *s)
{
	nghttp3_vec runs[8];
	int64_t id;
	int fin;

	if (s->in_receive || s->in_send) {
		loop_defer_flush(s->loop, &s->flush);
		return;
	}
	s->in_send = true;
	while (!s->is_ending) {
		nghttp3_ssize n =
			nghttp3_conn_writev_stream(s->ng, &id, &fin, runs, ARRAY_LEN(runs));
		if (n < 0) {
			fail(s, (int)n);
			break;
		}
		if (id < 0)
			break;
		struct h3_stream *st = find(s, id);
		if (!st || !st->quic) {
			nghttp3_conn_shutdown_stream_write(s->ng, id);
			continue;
		}
		put(s, st, runs, (size_t)n, fin);
		if (st->end_left && st->stop_after_end)
			stop_request(st);
	}
	s->in_send = false;
}

static void flush(struct deferred *d)
{
	pump(CONTAINER_OF(d, struct h3_session, flush));
}

/* nghttp3 asks a stream for its next data. Only the one inside h3_stream_write() has any; others may have their end. */
static nghttp3_ssize give_data(nghttp3_conn *ng, int64_t id, nghttp3_vec *runs, size_t max,
			       uint32_t *flags, void *user, void *stream_user)
{
	struct h3_session *s = user;
	struct h3_stream *st = stream_user ? stream_user : find(s, id);
	nghttp3_ssize count = 0;

	(void)ng;
	(void)max;
	if (!st || !st->quic)
		return NGHTTP3_ERR_WOULDBLOCK;
	if (s->writer == st && s->slice.len) {
		size_t room = quic_stream_room(st->quic);
		if (room <= FRAME_HEAD_BYTES)
			return NGHTTP3_ERR_WOULDBLOCK;
		struct bytes run = bytes_first(s->slice, room - FRAME_HEAD_BYTES);
		runs[0] = (nghttp3_vec){ (uint8_t *)(uintptr_t)run.ptr, run.len };
		count = 1;
		s->slice = bytes_from(s->slice, run.len);
		if (s->slice.len == 0 && s->slice_fin)
			st->has_ended = true;
	}
	bool is_end = st->has_ended && !(s->writer == st && s->slice.len);
	if (!is_end)
		return count ? count : NGHTTP3_ERR_WOULDBLOCK;
	*flags |= NGHTTP3_DATA_FLAG_EOF;
	if (st->has_trailers)
		*flags |= NGHTTP3_DATA_FLAG_NO_END_STREAM;
	return count;
}

/* nghttp3's form of what h2_head.c made; names get their lower case there. */
static size_t convert(const struct h2_nva *nva, nghttp3_nv *out)
{
	for (size_t i = 0; i < nva->count; i++) {
		const nghttp2_nv *from = &nva->list[i];
		out[i] = (nghttp3_nv){
			.name = from->name,
			.value = from->value,
			.namelen = from->namelen,
			.valuelen = from->valuelen,
			.flags = from->flags & NGHTTP2_NV_FLAG_NO_INDEX ? NGHTTP3_NV_FLAG_NEVER_INDEX
									: NGHTTP3_NV_FLAG_NONE,
		};
	}
	return nva->count;
}

static struct h3_session *session_of(struct h3_stream *st)
{
	CHECK(st, H3_STREAM_MAGIC);
	CHECK(st->session, H3_SESSION_MAGIC);
	return st->session;
}

static bool is_over(const struct h3_stream *st)
{
	return st->is_gone || st->has_ended || st->session->is_ending;
}

void h3_stream_respond(struct h3_stream *st, const struct head *head, bool fin)
{
	struct h3_session *s = session_of(st);
	const nghttp3_data_reader reader = { .read_data = give_data };
	struct h2_nva nva;
	nghttp3_nv list[ARRAY_LEN(nva.list)];
	int ret;

	if (is_over(st))
		return;
	h2_nva_response(&nva, head);
	size_t count = convert(&nva, list);
	if (head->status < 200) {
		ret = nghttp3_conn_submit_info(s->ng, st->id, list, count);
	} else {
		ret = nghttp3_conn_submit_response(s->ng, st->id, list, count, fin ? NULL : &reader);
		st->has_head = true;
		st->has_ended = fin;
	}
	if (ret < 0)
		h3_stream_reset(st, H3_INTERNAL_ERROR);
	loop_defer_flush(s->loop, &s->flush);
}

/* Answers a request that the user never sees. */
static void refuse(struct h3_stream *st, int status)
{
	h3_stream_respond(st, &(const struct head){ .status = status }, true);
	if (!st->peer_ended)
		h3_stream_reset(st, H3_NO_ERROR);
}

static void wait(struct h3_stream *st)
{
	struct h3_session *s = st->session;

	if (!list_is_linked(&st->wait_node))
		list_append(&s->waiting, &st->wait_node);
	loop_defer(s->loop, &s->deliver);
}

static void end(struct h3_stream *st)
{
	struct h3_session *s = st->session;

	st->has_ended = true;
	(void)nghttp3_conn_resume_stream(s->ng, st->id);
	pump(s);
}

size_t h3_stream_write(struct h3_stream *st, struct bytes data, bool fin)
{
	struct h3_session *s = session_of(st);

	if (is_over(st))
		return data.len;
	BUG_IF(!st->has_head);
	if (data.len == 0) {
		if (fin)
			end(st);
		return 0;
	}
	if (s->in_receive || s->in_send) {
		wait(st);
		return 0;
	}
	s->writer = st;
	s->slice = data;
	s->slice_fin = fin;
	(void)nghttp3_conn_resume_stream(s->ng, st->id);
	pump(s);
	size_t taken = data.len - s->slice.len;
	s->writer = NULL;
	s->slice = BYTES_NONE;
	s->slice_fin = false;
	if (st->is_gone || s->is_ending)
		return data.len;
	/* Room that is there and was not used: another stream of the connection went first. */
	if (taken < data.len && quic_stream_room(st->quic) > FRAME_HEAD_BYTES)
		wait(st);
	return taken;
}

void h3_stream_finish(struct h3_stream *st, const struct fields *trailers)
{
	struct h3_session *s = session_of(st);
	struct h2_nva nva;
	nghttp3_nv list[ARRAY_LEN(nva.list)];

	if (is_over(st))
		return;
	h2_nva_trailers(&nva, trailers);
	if (nva.count && nghttp3_conn_submit_trailers(s->ng, st->id, list, convert(&nva, list)) == 0)
		st->has_trailers = true;
	end(st);
}

void h3_stream_consume(struct h3_stream *st, size_t n)
{
	CHECK(st, H3_STREAM_MAGIC);
	if (st->quic)
		quic_stream_consume(st->quic, n);
}

void h3_stream_reset(struct h3_stream *st, uint64_t code)
{
	struct h3_session *s = session_of(st);

	if (st->is_gone || s->is_ending || !st->quic)
		return;
	if (code == H3_NO_ERROR && st->has_ended) {
		if (st->end_left)
			stop_request(st);
		else
			st->stop_after_end = true;
		return;
	}
	nghttp3_conn_shutdown_stream_write(s->ng, st->id);
	nghttp3_conn_shutdown_stream_read(s->ng, st->id);
	quic_stream_stop(st->quic, code);
	quic_stream_reset(st->quic, code);
	gone(st, code);
}

void h3_stream_set_ctx(struct h3_stream *st, void *ctx)
{
	CHECK(st, H3_STREAM_MAGIC);
	st->ctx = ctx;
}

void *h3_stream_ctx(struct h3_stream *st)
{
	CHECK(st, H3_STREAM_MAGIC);
	return st->ctx;
}

/* --- What nghttp3 tells ------------------------------------------------------------------------ */

/* A stream is named to nghttp3 with its first bytes. NULL: nobody wants to hear of it. */
static struct h3_stream *told(struct h3_session *s, int64_t id, void *stream_user)
{
	struct h3_stream *st = stream_user;

	if (!st && s->reading && s->reading->id == id)
		st = s->reading;
	return st && !st->is_gone ? st : NULL;
}

static int on_begin(nghttp3_conn *ng, int64_t id, void *user, void *stream_user)
{
	struct h3_stream *st = told(user, id, stream_user);

	if (!st)
		return 0;
	(void)nghttp3_conn_set_stream_user_data(ng, id, st);
	drop_incoming(st);
	st->in = mem_alloc(sizeof(*st->in));
	arena_init(&st->in->arena);
	return 0;
}

static void add_pseudo(struct h3_incoming *in, struct bytes name, struct bytes value)
{
	struct head *head = &in->head;

	value = arena_copy(&in->arena, value);
	if (bytes_eq(name, BYTES_LIT(":method")))
		head->method = value;
	else if (bytes_eq(name, BYTES_LIT(":scheme")))
		head->scheme = value;
	else if (bytes_eq(name, BYTES_LIT(":authority")))
		head->authority = value;
	else if (bytes_eq(name, BYTES_LIT(":path")))
		head->path = value;
	else if (bytes_eq(name, BYTES_LIT(":protocol")))
		in->protocol = value;
}

static int on_header(nghttp3_conn *ng, int64_t id, int32_t token, nghttp3_rcbuf *name_buf,
		     nghttp3_rcbuf *value_buf, uint8_t flags, void *user, void *stream_user)
{
	struct h3_stream *st = told(user, id, stream_user);
	nghttp3_vec n = nghttp3_rcbuf_get_buf(name_buf), v = nghttp3_rcbuf_get_buf(value_buf);
	struct bytes name = bytes_of(n.base, n.len), value = bytes_of(v.base, v.len);

	(void)ng;
	(void)token;
	(void)flags;
	if (!st || !st->in || st->in->is_large || name.len == 0)
		return 0;
	struct h3_incoming *in = st->in;
	/* As RFC 9114 §4.2.2 counts: 32 for the overhead of a field. */
	in->bytes += name.len + value.len + 32;
	if (in->bytes > LIMIT_HEAD_BYTES) {
		in->is_large = true;
		return 0;
	}
	if (name.ptr[0] == ':') {
		add_pseudo(in, name, value);
		return 0;
	}
	enum head_name known = head_name_of(name);
	struct bytes kept = known ? head_name_text(known) : arena_copy(&in->arena, name);
	value = arena_copy(&in->arena, bytes_trim(value));
	if (known == HEAD_HOST)
		in->host = value;
	else if (fields_add(&in->head.fields, &in->arena, kept, value) < 0)
		in->is_large = true;
	return 0;
}

static int on_head_end(nghttp3_conn *ng, int64_t id, int fin, void *user, void *stream_user)
{
	struct h3_session *s = user;
	struct h3_stream *st = told(s, id, stream_user);

	(void)ng;
	if (!st || !st->in || s->is_ending)
		return 0;
	struct h3_incoming *in = st->in;
	st->peer_ended = fin;
	int status = in->is_large
			     ? 431
			     : h2_request_finish(&in->head, &in->arena, in->host, in->protocol, fin);
	if (status < 0) {
		glitch(s);
		h3_stream_reset(st, H3_MESSAGE_ERROR);
	} else if (status > 0) {
		refuse(st, status);
	} else {
		st->is_announced = true;
		s->events->on_request(s, st, &in->head, fin);
	}
	drop_incoming(st);
	return 0;
}

static int on_body(nghttp3_conn *ng, int64_t id, const uint8_t *data, size_t len, void *user,
		   void *stream_user)
{
	struct h3_session *s = user;
	struct h3_stream *st = told(s, id, stream_user);

	(void)ng;
	if (st && st->is_announced)
		s->events->on_data(st, bytes_of(data, len), false);
	else if (st && st->quic)
		quic_stream_consume(st->quic, len);
	return 0;
}

static int on_consumed(nghttp3_conn *ng, int64_t id, size_t n, void *user, void *stream_user)
{
	struct h3_stream *st = told(user, id, stream_user);

	(void)ng;
	if (st && st->quic)
		quic_stream_consume(st->quic, n);
	return 0;
}

static int on_trailers_end(nghttp3_conn *ng, int64_t id, int fin, void *user, void *stream_user)
{
	struct h3_session *s = user;
	struct h3_stream *st = told(s, id, stream_user);

	(void)ng;
	(void)fin;
	if (!st || !st->in)
		return 0;
	if (st->is_announced && !st->peer_ended && !st->in->is_large) {
		st->peer_ended = true;
		s->events->on_trailers(st, &st->in->head.fields);
	}
	drop_incoming(st);
	return 0;
}

static int on_end(nghttp3_conn *ng, int64_t id, void *user, void *stream_user)
{
	struct h3_session *s = user;
	struct h3_stream *st = told(s, id, stream_user);

	(void)ng;
	if (!st || st->peer_ended)
		return 0;
	st->peer_ended = true;
	if (st->is_announced)
		s->events->on_data(st, BYTES_NONE, true);
	return 0;
}

static int on_stop_wanted(nghttp3_conn *ng, int64_t id, uint64_t code, void *user, void *stream_user)
{
	struct h3_stream *st = told(user, id, stream_user);

	(void)ng;
	if (st && st->quic)
		quic_stream_stop(st->quic, code);
	return 0;
}

static int on_reset_wanted(nghttp3_conn *ng, int64_t id, uint64_t code, void *user,
			   void *stream_user)
{
	struct h3_stream *st = told(user, id, stream_user);

	(void)ng;
	glitch(user);
	if (st && is_request(st))
		h3_stream_reset(st, code == H3_NO_ERROR ? H3_REQUEST_CANCELLED : code);
	return 0;
}

/* --- What QUIC tells --------------------------------------------------------------------------- */

static struct h3_stream *stream_new(struct h3_session *s, struct quic_stream *q)
{
	struct h3_stream *st = mem_alloc(sizeof(*st));

	st->magic = H3_STREAM_MAGIC;
	st->id = quic_stream_id(q);
	st->session = s;
	st->quic = q;
	st->opened_at = loop_now(s->loop);
	list_init(&st->wait_node);
	list_append(&s->streams, &st->node);
	map_put(s->by_id, key_of(&st->id), st);
	if (is_request(st))
		s->request_count++;
	quic_stream_set_ctx(q, st);
	return st;
}

static void on_stream(struct quic_conn *c, struct quic_stream *q)
{
	stream_new(quic_conn_ctx(c), q);
}

static void on_data(struct quic_stream *q, struct bytes data, bool fin)
{
	struct h3_session *s = quic_conn_ctx(quic_stream_conn(q));
	struct h3_stream *st = quic_stream_ctx(q);

	if (!st || s->is_ending) {
		quic_stream_consume(q, data.len);
		return;
	}
	s->in_receive = true;
	s->reading = st;
	nghttp3_ssize n = nghttp3_conn_read_stream(s->ng, st->id, data.ptr, data.len, fin);
	s->reading = NULL;
	s->in_receive = false;
	if (n < 0) {
		fail(s, (int)n);
		return;
	}
	quic_stream_consume(q, st->is_gone ? data.len : (size_t)n);
	loop_defer_flush(s->loop, &s->flush);
}

static void on_writable(struct quic_stream *q)
{
	struct h3_stream *st = quic_stream_ctx(q);

	if (st && st->is_announced && !st->is_gone)
		st->session->events->on_writable(st);
}

static void on_peer_gives_up(struct quic_stream *q, uint64_t code)
{
	struct h3_stream *st = quic_stream_ctx(q);

	if (!st)
		return;
	struct h3_session *s = st->session;
	if (!is_request(st)) {
		h3_session_close(s, NGHTTP3_H3_CLOSED_CRITICAL_STREAM, "a stream of HTTP/3 itself");
		return;
	}
	glitch(s);
	if (!s->is_ending)
		h3_stream_reset(st, H3_REQUEST_CANCELLED);
	st->code = code;
}

static void on_peer_reset(struct quic_stream *q, uint64_t code)
{
	struct h3_stream *st = quic_stream_ctx(q);

	/* A visitor's unknown streams may end as they like; the others are looked at when they have closed. */
	if (st && !is_request(st))
		(void)nghttp3_conn_shutdown_stream_read(st->session->ng, st->id);
	else
		on_peer_gives_up(q, code);
}

static void on_quic_stream_closed(struct quic_stream *q, uint64_t code)
{
	struct h3_session *s = quic_conn_ctx(quic_stream_conn(q));
	struct h3_stream *st = quic_stream_ctx(q);

	int ret = nghttp3_conn_close_stream(s->ng, quic_stream_id(q), code ? code : H3_NO_ERROR);
	if (ret < 0 && ret != NGHTTP3_ERR_STREAM_NOT_FOUND && !s->is_ending)
		fail(s, ret);
	if (!st)
		return;
	st->quic = NULL;
	gone(st, code);
}

static void on_migrated(struct quic_conn *c)
{
	struct h3_session *s = quic_conn_ctx(c);

	s->events->on_moved(s, quic_conn_peer(c));
}

static void on_conn_closed(struct quic_conn *c, const struct err *why)
{
	struct h3_session *s = quic_conn_ctx(c);

	s->is_ending = true;
	while (!list_is_empty(&s->streams))
		gone(LIST_ENTRY(s->streams.next, struct h3_stream, node), H3_NO_ERROR);
	report_gone(s);
	deferred_cancel(&s->flush);
	deferred_cancel(&s->deliver);
	timer_stop(&s->notice);
	s->events->on_closed(s, why);
	nghttp3_conn_del(s->ng);
	map_free(s->by_id);
	s->magic = 0;
	mem_free(s);
}

static const struct quic_events quic_events = {
	.on_stream = on_stream,
	.on_uni_stream = on_stream,
	.on_data = on_data,
	.on_writable = on_writable,
	.on_peer_reset = on_peer_reset,
	.on_peer_stop = on_peer_gives_up,
	.on_stream_closed = on_quic_stream_closed,
	.on_migrated = on_migrated,
	.on_closed = on_conn_closed,
};

/* --- Life ------------------------------------------------------------------------------------ */

static void on_notice_over(struct timer *t)
{
	struct h3_session *s = CONTAINER_OF(t, struct h3_session, notice);

	if (s->is_ending)
		return;
	s->is_final = true;
	(void)nghttp3_conn_shutdown(s->ng);
	pump(s);
	check_drained(s);
}

static bool open_own_streams(struct h3_session *s)
{
	struct quic_stream *own[3];

	for (size_t i = 0; i < ARRAY_LEN(own); i++) {
		own[i] = quic_open_uni(s->conn, NULL);
		if (!own[i])
			return false;
		stream_new(s, own[i]);
	}
	return nghttp3_conn_bind_control_stream(s->ng, quic_stream_id(own[0])) == 0 &&
	       nghttp3_conn_bind_qpack_streams(s->ng, quic_stream_id(own[1]),
					       quic_stream_id(own[2])) == 0;
}

struct h3_session *h3_session_new(struct quic_conn *c, const struct h3_events *events, void *ctx)
{
	static const nghttp3_callbacks callbacks = {
		.begin_headers = on_begin,
		.recv_header = on_header,
		.end_headers = on_head_end,
		.begin_trailers = on_begin,
		.recv_trailer = on_header,
		.end_trailers = on_trailers_end,
		.recv_data = on_body,
		.deferred_consume = on_consumed,
		.end_stream = on_end,
		.stop_sending = on_stop_wanted,
		.reset_stream = on_reset_wanted,
	};
	struct h3_session *s = mem_alloc(sizeof(*s));
	nghttp3_settings settings;

	s->magic = H3_SESSION_MAGIC;
	s->conn = c;
	s->loop = quic_endpoint_loop(quic_conn_endpoint(c));
	s->events = events;
	s->ctx = ctx;
	list_init(&s->streams);
	list_init(&s->gone);
	list_init(&s->waiting);
	s->by_id = map_new();
	timer_init(&s->notice, s->loop, on_notice_over);
	deferred_init(&s->flush, flush);
	deferred_init(&s->deliver, deliver);
	nghttp3_settings_default(&settings);
	settings.max_field_section_size = LIMIT_HEAD_BYTES;
	settings.qpack_max_dtable_capacity = LIMIT_H3_QPACK_TABLE;
	settings.qpack_encoder_max_dtable_capacity = LIMIT_H3_QPACK_TABLE;
	settings.qpack_blocked_streams = LIMIT_H3_QPACK_BLOCKED;
	settings.enable_connect_protocol = 1;
	BUG_IF(nghttp3_conn_server_new(&s->ng, &callbacks, &settings, nghttp3_mem_default(), s) !=
	       0);
	nghttp3_conn_set_max_client_streams_bidi(s->ng, LIMIT_H3_VISITOR_STREAMS);
	quic_conn_set_ctx(c, s);
	quic_conn_set_events(c, &quic_events, LIMIT_H2_CONNECTION_WINDOW);
	if (!open_own_streams(s))
		h3_session_close(s, NGHTTP3_H3_STREAM_CREATION_ERROR,
				 "three unidirectional streams are needed");
	loop_defer_flush(s->loop, &s->flush);
	return s;
}

void *h3_session_ctx(struct h3_session *s)
{
	CHECK(s, H3_SESSION_MAGIC);
	return s->ctx;
}

struct quic_conn *h3_session_conn(struct h3_session *s)
{
	return s->conn;
}

usec h3_session_head_since(const struct h3_session *s)
{
	LIST_FOR_EACH(node, &s->streams) {
		const struct h3_stream *st = LIST_ENTRY(node, struct h3_stream, node);
		if (is_request(st) && !st->is_announced)
			return st->opened_at;
	}
	return 0;
}

size_t h3_session_backlog(const struct h3_session *s, uint64_t *ret_delivered)
{
	size_t backlog = 0;

	LIST_FOR_EACH(node, &s->streams) {
		const struct h3_stream *st = LIST_ENTRY(node, struct h3_stream, node);
		if (is_request(st) && st->quic)
			backlog += quic_stream_queued(st->quic);
	}
	*ret_delivered = s->written - backlog;
	return backlog;
}

void h3_session_drain(struct h3_session *s)
{
	CHECK(s, H3_SESSION_MAGIC);
	if (s->is_draining || s->is_ending)
		return;
	s->is_draining = true;
	(void)nghttp3_conn_submit_shutdown_notice(s->ng);
	loop_defer_flush(s->loop, &s->flush);
	timer_set(&s->notice, LIMIT_H3_NOTICE_MS);
}
