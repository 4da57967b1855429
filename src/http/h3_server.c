#include "http/h3_server.h"

#include "base/encode.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/random.h"
#include "http/h3_session.h"
#include "http/pace.h"

#define H3_SERVER_MAGIC 0x68337376
#define VISIT_MAGIC 0x76697333

struct h3_server {
	uint32_t magic;
	struct h3_session *session; /* owned until its on_closed */
	struct loop *loop;          /* borrowed */
	struct h3_server_options options;
	struct list visits;
	struct timer timer;
	usec idle_since; /* without a visit */
	usec drained_at;
	struct pace download;
	usec looked_at; /* at the pace of everybody */
	bool is_draining;
};

/* One stream and its exchange; in the exchange's arena. The exchange is released when the stream has
 * closed, so both live equally long here. */
struct visit {
	uint32_t magic;
	struct h3_server *server; /* borrowed */
	struct h3_stream *stream; /* borrowed, until its on_stream_closed */
	struct exchange *x;       /* produced here */
	struct list node;
	usec active_at;
	struct pace upload;
	uint64_t credited;      /* request bytes whose window was given back */
	uint64_t response_left; /* with has_length */
	bool has_length, has_no_body;
	bool sent_head;
	bool request_ended;  /* the visitor's side of the stream */
	bool response_ended; /* ours */
	bool lingers;        /* answered while the visitor sends; since active_at */
};

static struct visit *visit_of(struct h3_stream *st)
{
	struct visit *v = h3_stream_ctx(st);

	CHECK(v, VISIT_MAGIC);
	return v;
}

static void touch(struct visit *v)
{
	v->active_at = loop_now(v->server->loop);
}

/* --- Responses ------------------------------------------------------------------------------- */

static void break_off(struct visit *v)
{
	v->response_ended = true;
	h3_stream_reset(v->stream, H3_INTERNAL_ERROR);
}

/* Our side has ended. What the visitor still sends is of no use, and gets no window. It will see the
 * answer and stop; told to stop at once (RFC 9114 §4.1), curl before 8 forgets the answer that it has
 * just received. A raw stream is different: each side ends by itself, or both when the answerer goes. */
static void after_response(struct visit *v)
{
	struct h3_server *h = v->server;
	bool is_raw = v->x->response.is_upgrade;

	if (v->request_ended || (is_raw && !v->x->answerer_is_gone))
		return;
	if (is_raw) {
		h3_stream_reset(v->stream, H3_NO_ERROR);
		return;
	}
	v->lingers = true;
	touch(v);
	timer_set(&h->timer, h->options.linger_ms);
}

static void end_response(struct visit *v)
{
	struct body *body = &v->x->response_body;

	if (v->has_length && v->response_left) {
		break_off(v); /* shorter than announced */
		return;
	}
	v->response_ended = true;
	if (body->trailers.count && !v->has_no_body)
		h3_stream_finish(v->stream, &body->trailers);
	else
		(void)h3_stream_write(v->stream, BYTES_NONE, true);
	after_response(v);
}

static void pump_response(struct visit *v)
{
	struct body *body = &v->x->response_body;
	struct bytes run;

	if (!v->sent_head)
		return;
	if (v->has_no_body && body->queue.len)
		body_consume(body, body->queue.len);
	while (!v->response_ended && body_peek(body, &run, 1)) {
		if (v->has_length && run.len > v->response_left) {
			break_off(v); /* longer than announced */
			return;
		}
		bool is_last = body->has_ended && run.len == body->queue.len &&
			       body->trailers.count == 0 &&
			       (!v->has_length || run.len == v->response_left);
		size_t taken = h3_stream_write(v->stream, run, is_last);
		if (taken == 0)
			return;
		touch(v);
		if (v->has_length)
			v->response_left -= taken;
		body_consume(body, taken);
		if (taken < run.len)
			return;
		if (is_last) {
			v->response_ended = true;
			after_response(v);
			return;
		}
	}
	if (!v->response_ended && body_is_done(body))
		end_response(v);
}

/* An answer of one line, in place of the answerer's. */
static void answer_error(struct exchange *x, int status, struct bytes title, struct bytes detail)
{
	if (status < 400 || status > 599)
		status = 502;
	if (title.len == 0)
		title = bytes_str(head_reason(status));
	struct bytes text =
		arena_printf(&x->arena, "%d " BYTES_FMT "%s" BYTES_FMT "\n", status,
			     BYTES_ARG(title), detail.len ? ": " : "", BYTES_ARG(detail));
	x->response = (struct head){ 0 };
	exchange_answer_whole(x, status, BYTES_LIT("text/plain; charset=utf-8"), text);
}

static void send_head(struct visit *v)
{
	struct exchange *x = v->x;
	struct head *head = &x->response;
	struct body *body = &x->response_body;

	head_strip_hop_by_hop(head);
	head->is_upgrade = head->status == 101 && x->request.is_upgrade;
	if (head->is_upgrade) {
		/* RFC 9220: a 200 says what 101 says in HTTP/1.1, and there is no key to answer. */
		head->status = 200;
		head->length = HEAD_LENGTH_UNKNOWN;
		fields_remove(&head->fields, HEAD_SEC_WEBSOCKET_ACCEPT);
		fields_remove(&head->fields, HEAD_CONTENT_LENGTH);
	} else if (head->status < 200) {
		break_off(v);
		return;
	} else if (x->request.is_upgrade && head->status < 300) {
		/* Here any 2xx would say that the socket is open, and the page would be taken for frames. */
		head->status = 502;
	}
	v->has_no_body = bytes_eq(x->request.method, BYTES_LIT("HEAD")) || head->status == 204 ||
			 head->status == 304;
	if (!v->has_no_body) {
		v->has_length = head->length != HEAD_LENGTH_UNKNOWN;
		v->response_left = head->length == HEAD_LENGTH_KNOWN ? head->content_length : 0;
	} else if (head->status == 204) {
		head->length = HEAD_LENGTH_NONE;
		fields_remove(&head->fields, HEAD_CONTENT_LENGTH);
	}
	if (x->request.is_upgrade && !head->is_upgrade)
		body_end(&x->request_body); /* nobody will want raw bytes */

	bool fin = body_is_done(body) && (body->trailers.count == 0 || v->has_no_body) &&
		   !v->response_left;
	v->sent_head = true;
	touch(v);
	h3_stream_respond(v->stream, head, fin);
	if (head->is_upgrade)
		head->status = 101; /* for the log */
	if (fin) {
		v->response_ended = true;
		after_response(v);
	}
}

static void on_interim(struct exchange *x, const struct head *head)
{
	struct visit *v = x->producer_ctx;

	/* Who sends already does not want to be told that it may. */
	if (v->sent_head || (head->status == 100 && x->request_body.total))
		return;
	touch(v);
	h3_stream_respond(v->stream, head, false);
}

/* A gRPC service that only refuses says so in a head that ends the stream, and its clients believe it from
 * no other. The end may reach us after the head: from a stock connector it always does. */
static bool waits_for_its_end(const struct exchange *x)
{
	const struct body *body = &x->response_body;

	return !body->has_ended && body->queue.len == 0 &&
	       fields_find_text(&x->response.fields, BYTES_LIT("grpc-status"));
}

static void on_head(struct exchange *x)
{
	struct visit *v = x->producer_ctx;

	if (v->response_ended || waits_for_its_end(x))
		return;
	send_head(v);
	pump_response(v);
}

static void on_response_data(struct exchange *x)
{
	struct visit *v = x->producer_ctx;

	if (!v->sent_head && !v->response_ended)
		send_head(v);
	pump_response(v);
}

static void on_failed(struct exchange *x)
{
	struct visit *v = x->producer_ctx;

	if (v->response_ended)
		return;
	if (x->has_head)
		break_off(v);
	else
		answer_error(x, x->failure.status, x->failure.title,
			     x->failure.detail); /* on_head() follows */
}

/* --- Requests -------------------------------------------------------------------------------- */

static void on_request_room(struct exchange *x)
{
	struct visit *v = x->producer_ctx;
	struct body *body = &x->request_body;
	/* When the answerer has gone, what is queued will never be read. */
	uint64_t taken = body->total - (x->answerer_is_gone ? 0 : body->queue.len);

	if (x->answerer_is_gone && !x->has_failed && !x->response_body.has_ended &&
	    !v->response_ended) {
		break_off(v); /* it left without an answer, or in the middle of one */
		return;
	}
	if (taken > v->credited && !v->lingers) {
		h3_stream_consume(v->stream, (size_t)(taken - v->credited));
		v->credited = taken;
		touch(v);
	}
	body->wants_room = !body->has_ended;
	if (v->response_ended && !v->lingers)
		after_response(v); /* a raw stream ends when the answerer has gone */
}

static const struct exchange_producer producer = {
	.name = "h3",
	.on_interim = on_interim,
	.on_head = on_head,
	.on_response_data = on_response_data,
	.on_request_room = on_request_room,
	.on_failed = on_failed,
};

/* What an HTTP/1.1 origin insists on in a handshake and HTTP/3 has no use for. */
static void complete_handshake(struct exchange *x)
{
	struct fields *f = &x->request.fields;
	uint8_t nonce[16];
	char key[24];

	random_bytes(nonce, sizeof(nonce));
	size_t len = base64_encode(BASE64_STD, bytes_of(nonce, sizeof(nonce)), key);
	/* A head that is full already is refused by whoever passes it on. */
	(void)fields_set(f, &x->arena, HEAD_SEC_WEBSOCKET_KEY,
			 arena_copy(&x->arena, bytes_of(key, len)));
	if (!fields_find(f, HEAD_SEC_WEBSOCKET_VERSION))
		(void)fields_set(f, &x->arena, HEAD_SEC_WEBSOCKET_VERSION, BYTES_LIT("13"));
}

static void on_request(struct h3_session *session, struct h3_stream *st, const struct head *head,
		       bool fin)
{
	struct h3_server *h = h3_session_ctx(session);
	struct exchange *x = exchange_new(h->loop, &producer, NULL);
	struct visit *v = arena_alloc(&x->arena, sizeof(*v));

	v->magic = VISIT_MAGIC;
	v->server = h;
	v->stream = st;
	v->x = x;
	v->request_ended = fin;
	x->producer_ctx = v;
	if (list_is_empty(&h->visits))
		quic_conn_ping(h3_session_conn(session), LIMIT_H3_PING_MS);
	list_append(&h->visits, &v->node);
	h3_stream_set_ctx(st, v);
	touch(v);

	BUG_IF(head_copy(&x->request, head, &x->arena) < 0); /* the session keeps the same limits */
	x->request.scheme = h->options.scheme;
	x->is_tls = h->options.is_tls;
	x->host = head_host(x->request.authority, &x->arena);
	head_strip_hop_by_hop(&x->request);
	const struct field *expect = fields_find(&x->request.fields, HEAD_EXPECT);
	x->expects_continue =
		expect && !fin && bytes_eq_nocase(expect->value, BYTES_LIT("100-continue"));
	fields_remove(&x->request.fields, HEAD_EXPECT);
	if (x->request.is_upgrade)
		complete_handshake(x);
	x->request_body.queue.capacity = LIMIT_QUIC_STREAM_WINDOW_MAX;
	if (fin)
		body_end(&x->request_body);
	if (h->options.on_exchange)
		h->options.on_exchange(h->options.ctx, x);
	exchange_start(x, h->options.chain);
	if (x->expects_continue && !x->relays_continue && !x->has_head && !x->has_failed)
		h3_stream_respond(st, &(const struct head){ .status = 100 }, false);
}

static void on_data(struct h3_stream *st, struct bytes data, bool fin)
{
	struct visit *v = visit_of(st);
	struct body *body = &v->x->request_body;

	v->request_ended |= fin;
	if (v->lingers)
		return; /* without credit it soon stops */
	touch(v);
	if (body->has_ended || v->x->answerer_is_gone) {
		h3_stream_consume(st, data.len); /* nobody wants the rest */
	} else if (data.len) {
		body_write_all(body, data);
		body->wants_room = true; /* every byte taken is window to give back */
	}
	if (fin)
		body_end(body);
}

static void on_trailers(struct h3_stream *st, const struct fields *trailers)
{
	struct visit *v = visit_of(st);
	struct exchange *x = v->x;

	/* Too many are none: they are optional by definition. */
	if (!x->request_body.has_ended)
		(void)fields_copy(&x->request_body.trailers, trailers, &x->arena);
	on_data(st, BYTES_NONE, true);
}

static void on_writable(struct h3_stream *st)
{
	pump_response(visit_of(st));
}

static void on_stream_closed(struct h3_stream *st, uint64_t code)
{
	struct visit *v = visit_of(st);
	struct h3_server *h = v->server;

	(void)code;
	list_remove(&v->node);
	if (list_is_empty(&h->visits)) {
		h->idle_since = loop_now(h->loop);
		quic_conn_ping(h3_session_conn(h->session), 0);
	}
	v->magic = 0;
	exchange_release_producer(v->x);
}

/* --- Deadlines ------------------------------------------------------------------------------- */

static void on_visit_idle(struct visit *v)
{
	struct exchange *x = v->x;
	bool waits_for_visitor =
		!v->request_ended && !x->answerer_is_gone && x->request_body.queue.len == 0;
	const struct head head = { .status = waits_for_visitor ? 408 : 504 };

	if (v->sent_head) {
		break_off(v);
		return;
	}
	v->response_ended = v->sent_head = true;
	exchange_failed(x, waits_for_visitor ? FAILURE_VISITOR : FAILURE_ORIGIN, head.status, 0,
			head_reason(head.status), "nothing moved in time"); /* for the log */
	h3_stream_respond(v->stream, &head, true);
	after_response(v);
}

static bool is_grpc(const struct exchange *x)
{
	const struct field *type = fields_find(&x->request.fields, HEAD_CONTENT_TYPE);

	return type && bytes_starts_with(type->value, BYTES_LIT("application/grpc"));
}

static bool waits_for_body(const struct visit *v)
{
	const struct exchange *x = v->x;

	return !v->request_ended && !v->sent_head && !v->lingers && !x->request.is_upgrade &&
	       !x->answerer_is_gone && x->request_body.queue.len == 0 &&
	       (!x->expects_continue || x->request_body.total) && !is_grpc(x);
}

static int64_t look_ms(const struct h3_server *h)
{
	int64_t look = h->options.pace_ms / PACE_LOOKS;

	return look < h->options.head_ms ? look : h->options.head_ms;
}

/* False: the connection ends. */
static bool look_at_pace(struct h3_server *h, usec now)
{
	usec passed = now - h->looked_at;
	uint64_t least = h->options.body_rate * (uint64_t)passed / USEC_PER_SEC, delivered = 0;

	if (!h->options.body_rate || passed < h->options.pace_ms / PACE_LOOKS * USEC_PER_MSEC)
		return true;
	h->looked_at = now;
	LIST_FOR_EACH(node, &h->visits) {
		struct visit *v = LIST_ENTRY(node, struct visit, node);
		if (pace_is_lost(&v->upload, waits_for_body(v), v->x->request_body.total, least))
			on_visit_idle(v);
	}
	bool waits_for_reader = h3_session_backlog(h->session, &delivered) > 0;
	if (!pace_is_lost(&h->download, waits_for_reader, delivered, least))
		return true;
	h3_session_close(h->session, H3_EXCESSIVE_LOAD, "the visitor takes nothing");
	return false;
}

static bool is_head_late(const struct h3_server *h, usec now)
{
	usec since = h3_session_head_since(h->session);

	return since && now - since >= h->options.head_ms * USEC_PER_MSEC;
}

/* Whoever does not read hears no GOAWAY either. */
static bool is_drain_late(const struct h3_server *h, usec now)
{
	usec since = h->drained_at > h->idle_since ? h->drained_at : h->idle_since;

	return h->is_draining && list_is_empty(&h->visits) &&
	       now - since >= 2 * LIMIT_LINGER_MS * USEC_PER_MSEC;
}

static int64_t idle_limit_ms(const struct visit *v)
{
	const struct h3_server_options *o = &v->server->options;

	if (v->lingers)
		return o->linger_ms;
	bool is_open_raw = v->sent_head && v->x->response.is_upgrade && !v->request_ended &&
			   !v->response_ended;
	return is_open_raw ? o->raw_ms : o->body_ms;
}

static int64_t first_ms(const struct h3_server *h)
{
	const struct h3_server_options *o = &h->options;
	int64_t ms = o->idle_ms < o->body_ms ? o->idle_ms : o->body_ms;

	return look_ms(h) < ms ? look_ms(h) : ms;
}

/* One timer looks at everything; it is not moved for an ordinary request. */
static void on_timer(struct timer *t)
{
	struct h3_server *h = CONTAINER_OF(t, struct h3_server, timer);
	const struct h3_server_options *o = &h->options;
	usec now = loop_now(h->loop);
	int64_t next_ms = first_ms(h);

	if (is_head_late(h, now)) {
		h3_session_close(h->session, H3_EXCESSIVE_LOAD, "a head took too long");
		return;
	}
	if (is_drain_late(h, now)) {
		h3_session_close(h->session, H3_NO_ERROR, "closing");
		return;
	}
	if (!look_at_pace(h, now))
		return;
	LIST_FOR_EACH(node, &h->visits) {
		struct visit *v = LIST_ENTRY(node, struct visit, node);
		int64_t left_ms = idle_limit_ms(v) - (now - v->active_at) / USEC_PER_MSEC;
		if (left_ms <= 0 && v->lingers)
			h3_stream_reset(v->stream, H3_NO_ERROR);
		else if (left_ms <= 0)
			on_visit_idle(v);
		else if (left_ms < next_ms)
			next_ms = left_ms;
	}
	if (list_is_empty(&h->visits) && !h->is_draining) {
		int64_t left_ms = o->idle_ms - (now - h->idle_since) / USEC_PER_MSEC;
		if (left_ms <= 0)
			h3_server_drain(h);
		else if (left_ms < next_ms)
			next_ms = left_ms;
	}
	timer_set(&h->timer, next_ms);
}

/* --- Life ------------------------------------------------------------------------------------ */

static void on_moved(struct h3_session *session, const struct address *peer)
{
	struct h3_server *h = h3_session_ctx(session);

	if (h->options.on_moved)
		h->options.on_moved(h->options.ctx, peer);
}

static void on_closed(struct h3_session *session, const struct err *why)
{
	struct h3_server *h = h3_session_ctx(session);
	bool is_usual = why->code == E_CLOSED || why->code == E_CANCELLED;

	timer_stop(&h->timer);
	if (h->options.on_closed)
		h->options.on_closed(h->options.ctx, is_usual ? NULL : why);
	h->magic = 0;
	mem_free(h);
}

static const struct h3_events events = {
	.on_request = on_request,
	.on_data = on_data,
	.on_trailers = on_trailers,
	.on_writable = on_writable,
	.on_stream_closed = on_stream_closed,
	.on_moved = on_moved,
	.on_closed = on_closed,
};

struct h3_server *h3_server_new(struct quic_conn *conn, const struct h3_server_options *options)
{
	struct h3_server *h = mem_alloc(sizeof(*h));
	struct h3_server_options *o = &h->options;

	h->magic = H3_SERVER_MAGIC;
	h->loop = quic_endpoint_loop(quic_conn_endpoint(conn));
	*o = *options;
	o->head_ms = o->head_ms ? o->head_ms : LIMIT_REQUEST_HEAD_MS;
	o->idle_ms = o->idle_ms ? o->idle_ms : LIMIT_KEEPALIVE_IDLE_MS;
	o->body_ms = o->body_ms ? o->body_ms : LIMIT_BODY_IDLE_MS;
	o->raw_ms = o->raw_ms ? o->raw_ms : LIMIT_RAW_IDLE_MS;
	o->pace_ms = o->pace_ms ? o->pace_ms : LIMIT_PACE_MS;
	o->linger_ms = o->linger_ms ? o->linger_ms : LIMIT_LINGER_MS;
	list_init(&h->visits);
	timer_init(&h->timer, h->loop, on_timer);
	h->idle_since = h->looked_at = loop_now(h->loop);
	timer_set(&h->timer, first_ms(h));
	h->session = h3_session_new(conn, &events, h);
	return h;
}

void h3_server_drain(struct h3_server *h)
{
	CHECK(h, H3_SERVER_MAGIC);
	if (!h->is_draining)
		h->drained_at = loop_now(h->loop);
	h->is_draining = true;
	/* To see that it ends. */
	timer_set(&h->timer, 2 * LIMIT_LINGER_MS);
	h3_session_drain(h->session);
}

void h3_server_close(struct h3_server *h)
{
	CHECK(h, H3_SERVER_MAGIC);
	h3_session_close(h->session, H3_NO_ERROR, "closing");
}
