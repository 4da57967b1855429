#include "http/mux_server.h"

#include "base/encode.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/random.h"

#define MUX_SERVER_MAGIC 0x6d757873
#define VISIT_MAGIC 0x76697369

/* One stream and its exchange; in the exchange's arena. The exchange is released when the stream has
 * closed, so both live equally long here. */
struct mux_visit {
	uint32_t magic;
	struct mux_server *server; /* borrowed */
	void *stream;              /* borrowed, until mux_visit_closed() */
	struct exchange *x;        /* produced here */
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

static const struct mux_protocol *protocol_of(const struct mux_visit *v)
{
	return v->server->protocol;
}

static void touch(struct mux_visit *v)
{
	v->active_at = loop_now(v->server->loop);
}

/* --- Responses ------------------------------------------------------------------------------- */

static void break_off(struct mux_visit *v)
{
	v->response_ended = true;
	protocol_of(v)->reset(v->stream, MUX_BROKEN);
}

/* Our side has ended. What the visitor still sends is of no use, and gets no window. It will see the
 * answer and stop; told to stop at once (RFC 9113 §8.1, RFC 9114 §4.1), curl before 8 forgets the answer that it has
 * just received. A raw stream is different: each side ends by itself, or both when the answerer goes. */
static void after_response(struct mux_visit *v)
{
	struct mux_server *m = v->server;
	bool is_raw = v->x->response.is_upgrade;

	if (v->request_ended || (is_raw && !v->x->answerer_is_gone))
		return;
	if (is_raw) {
		protocol_of(v)->reset(v->stream, MUX_DONE);
		return;
	}
	v->lingers = true;
	touch(v);
	timer_set(&m->timer, m->base.options.linger_ms);
}

static void end_response(struct mux_visit *v)
{
	struct body *body = &v->x->response_body;

	if (v->has_length && v->response_left) {
		break_off(v); /* shorter than announced */
		return;
	}
	v->response_ended = true;
	if (body->trailers.count && !v->has_no_body)
		protocol_of(v)->finish(v->stream, &body->trailers);
	else
		(void)protocol_of(v)->write(v->stream, BYTES_NONE, true);
	after_response(v);
}

static void pump_response(struct mux_visit *v)
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
		size_t taken = protocol_of(v)->write(v->stream, run, is_last);
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

static void send_head(struct mux_visit *v)
{
	struct exchange *x = v->x;
	struct head *head = &x->response;
	struct body *body = &x->response_body;

	head_strip_hop_by_hop(head);
	head->is_upgrade = head->status == 101 && x->request.is_upgrade;
	if (head->is_upgrade) {
		/* RFC 8441 §5, RFC 9220: a 200 says what 101 says in HTTP/1.1, and there is no key to answer. */
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
	protocol_of(v)->respond(v->stream, head, fin);
	if (head->is_upgrade)
		head->status = 101; /* for the log */
	if (fin) {
		v->response_ended = true;
		after_response(v);
	}
}

static void on_interim(struct exchange *x, const struct head *head)
{
	struct mux_visit *v = x->producer_ctx;

	/* Who sends already does not want to be told that it may. */
	if (v->sent_head || (head->status == 100 && x->request_body.total))
		return;
	touch(v);
	protocol_of(v)->respond(v->stream, head, false);
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
	struct mux_visit *v = x->producer_ctx;

	if (v->response_ended || waits_for_its_end(x))
		return;
	send_head(v);
	pump_response(v);
}

static void on_response_data(struct exchange *x)
{
	struct mux_visit *v = x->producer_ctx;

	if (!v->sent_head && !v->response_ended)
		send_head(v);
	pump_response(v);
}

static void on_failed(struct exchange *x)
{
	struct mux_visit *v = x->producer_ctx;

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
	struct mux_visit *v = x->producer_ctx;
	struct body *body = &x->request_body;
	/* When the answerer has gone, what is queued will never be read. */
	uint64_t taken = body->total - (x->answerer_is_gone ? 0 : body->queue.len);

	if (x->answerer_is_gone && !x->has_failed && !x->response_body.has_ended &&
	    !v->response_ended) {
		break_off(v); /* it left without an answer, or in the middle of one */
		return;
	}
	if (taken > v->credited && !v->lingers) {
		protocol_of(v)->consume(v->stream, (size_t)(taken - v->credited));
		v->credited = taken;
		touch(v);
	}
	body->wants_room = !body->has_ended;
	if (v->response_ended && !v->lingers)
		after_response(v); /* a raw stream ends when the answerer has gone */
}

static const struct exchange_producer producer = {
	.name = "mux",
	.on_interim = on_interim,
	.on_head = on_head,
	.on_response_data = on_response_data,
	.on_request_room = on_request_room,
	.on_failed = on_failed,
};

/* What an HTTP/1.1 origin insists on in a handshake and HTTP/2 and HTTP/3 have no use for. */
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

void mux_server_request(struct mux_server *m, void *stream, const struct head *head, bool fin)
{
	const struct mux_protocol *p = m->protocol;
	const struct http_server_options *o = &m->base.options;
	struct exchange *x = exchange_new(m->loop, &producer, NULL);
	struct mux_visit *v = arena_alloc(&x->arena, sizeof(*v));

	v->magic = VISIT_MAGIC;
	v->server = m;
	v->stream = stream;
	v->x = x;
	v->request_ended = fin;
	x->producer_ctx = v;
	if (p->on_busy && list_is_empty(&m->visits))
		p->on_busy(m->session, true);
	list_append(&m->visits, &v->node);
	p->set_ctx(stream, v);
	touch(v);

	BUG_IF(head_copy(&x->request, head, &x->arena) < 0); /* the session keeps the same limits */
	x->request.scheme = o->scheme;
	x->is_tls = o->is_tls;
	x->host = head_host(x->request.authority, &x->arena);
	head_strip_hop_by_hop(&x->request);
	const struct field *expect = fields_find(&x->request.fields, HEAD_EXPECT);
	x->expects_continue =
		expect && !fin && bytes_eq_nocase(expect->value, BYTES_LIT("100-continue"));
	fields_remove(&x->request.fields, HEAD_EXPECT);
	if (x->request.is_upgrade)
		complete_handshake(x);
	x->request_body.queue.capacity = p->body_capacity;
	if (fin)
		body_end(&x->request_body);
	if (o->on_exchange)
		o->on_exchange(o->ctx, x);
	exchange_start(x, o->chain);
	if (x->expects_continue && !x->relays_continue && !x->has_head && !x->has_failed)
		p->respond(stream, &(const struct head){ .status = 100 }, false);
}

void mux_visit_data(struct mux_visit *v, struct bytes data, bool fin)
{
	struct body *body = &v->x->request_body;

	CHECK(v, VISIT_MAGIC);
	v->request_ended |= fin;
	if (v->lingers)
		return; /* without credit it soon stops */
	touch(v);
	if (body->has_ended || v->x->answerer_is_gone) {
		protocol_of(v)->consume(v->stream, data.len); /* nobody wants the rest */
	} else if (data.len) {
		body_write_all(body, data);
		body->wants_room = true; /* every byte taken is window to give back */
	}
	if (fin)
		body_end(body);
}

void mux_visit_trailers(struct mux_visit *v, const struct fields *trailers)
{
	struct exchange *x = v->x;

	CHECK(v, VISIT_MAGIC);
	/* Too many are none: they are optional by definition. */
	if (!x->request_body.has_ended)
		(void)fields_copy(&x->request_body.trailers, trailers, &x->arena);
	mux_visit_data(v, BYTES_NONE, true);
}

void mux_visit_writable(struct mux_visit *v)
{
	CHECK(v, VISIT_MAGIC);
	pump_response(v);
}

void mux_visit_closed(struct mux_visit *v)
{
	struct mux_server *m = v->server;

	CHECK(v, VISIT_MAGIC);
	list_remove(&v->node);
	if (list_is_empty(&m->visits)) {
		m->idle_since = loop_now(m->loop);
		if (m->protocol->on_busy)
			m->protocol->on_busy(m->session, false);
	}
	v->magic = 0;
	exchange_release_producer(v->x);
}

/* --- Deadlines ------------------------------------------------------------------------------- */

static void on_visit_idle(struct mux_visit *v)
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
	protocol_of(v)->respond(v->stream, &head, true);
	after_response(v);
}

static bool is_grpc(const struct exchange *x)
{
	const struct field *type = fields_find(&x->request.fields, HEAD_CONTENT_TYPE);

	return type && bytes_starts_with(type->value, BYTES_LIT("application/grpc"));
}

static bool waits_for_body(const struct mux_visit *v)
{
	const struct exchange *x = v->x;

	return !v->request_ended && !v->sent_head && !v->lingers && !x->request.is_upgrade &&
	       !x->answerer_is_gone && x->request_body.queue.len == 0 &&
	       (!x->expects_continue || x->request_body.total) && !is_grpc(x);
}

static int64_t look_ms(const struct mux_server *m)
{
	int64_t look = m->base.options.pace_ms / PACE_LOOKS;

	return look < m->base.options.head_ms ? look : m->base.options.head_ms;
}

/* False: the connection ends. */
static bool look_at_pace(struct mux_server *m, usec now)
{
	usec passed = now - m->looked_at;
	uint64_t least = m->base.options.body_rate * (uint64_t)passed / USEC_PER_SEC, delivered = 0;

	if (!m->base.options.body_rate ||
	    passed < m->base.options.pace_ms / PACE_LOOKS * USEC_PER_MSEC)
		return true;
	m->looked_at = now;
	LIST_FOR_EACH(node, &m->visits) {
		struct mux_visit *v = LIST_ENTRY(node, struct mux_visit, node);
		if (pace_is_lost(&v->upload, waits_for_body(v), v->x->request_body.total, least))
			on_visit_idle(v);
	}
	bool waits_for_reader = m->protocol->waits_for_reader(m->session, &delivered);
	if (!pace_is_lost(&m->download, waits_for_reader, delivered, least))
		return true;
	m->protocol->close(m->session, MUX_TOO_SLOW, "the visitor takes nothing");
	return false;
}

static bool is_head_late(const struct mux_server *m, usec now)
{
	usec since = m->protocol->head_since(m->session);

	return since && now - since >= m->base.options.head_ms * USEC_PER_MSEC;
}

/* Whoever does not read hears no GOAWAY either. */
static bool is_drain_late(const struct mux_server *m, usec now)
{
	usec since = m->drained_at > m->idle_since ? m->drained_at : m->idle_since;

	return m->is_draining && list_is_empty(&m->visits) &&
	       now - since >= 2 * LIMIT_LINGER_MS * USEC_PER_MSEC;
}

static int64_t idle_limit_ms(const struct mux_visit *v)
{
	const struct http_server_options *o = &v->server->base.options;

	if (v->lingers)
		return o->linger_ms;
	bool is_open_raw = v->sent_head && v->x->response.is_upgrade && !v->request_ended &&
			   !v->response_ended;
	return is_open_raw ? o->raw_ms : o->body_ms;
}

static int64_t first_ms(const struct mux_server *m)
{
	const struct http_server_options *o = &m->base.options;
	int64_t ms = o->idle_ms < o->body_ms ? o->idle_ms : o->body_ms;

	return look_ms(m) < ms ? look_ms(m) : ms;
}

/* One timer looks at everything; it is not moved for an ordinary request. */
static void on_timer(struct timer *t)
{
	struct mux_server *m = CONTAINER_OF(t, struct mux_server, timer);
	const struct http_server_options *o = &m->base.options;
	usec now = loop_now(m->loop);
	int64_t next_ms = first_ms(m);

	if (!m->is_ready) {
		m->protocol->close(m->session, MUX_DONE, "no preface in time");
		return;
	}
	if (is_head_late(m, now)) {
		m->protocol->close(m->session, MUX_TOO_SLOW, "a head took too long");
		return;
	}
	if (is_drain_late(m, now)) {
		m->protocol->close(m->session, MUX_DONE, "closing");
		return;
	}
	if (!look_at_pace(m, now))
		return;
	LIST_FOR_EACH(node, &m->visits) {
		struct mux_visit *v = LIST_ENTRY(node, struct mux_visit, node);
		int64_t left_ms = idle_limit_ms(v) - (now - v->active_at) / USEC_PER_MSEC;
		if (left_ms <= 0 && v->lingers)
			protocol_of(v)->reset(v->stream, MUX_DONE);
		else if (left_ms <= 0)
			on_visit_idle(v);
		else if (left_ms < next_ms)
			next_ms = left_ms;
	}
	if (list_is_empty(&m->visits) && !m->is_draining) {
		int64_t left_ms = o->idle_ms - (now - m->idle_since) / USEC_PER_MSEC;
		if (left_ms <= 0)
			mux_server_drain(&m->base);
		else if (left_ms < next_ms)
			next_ms = left_ms;
	}
	timer_set(&m->timer, next_ms);
}

/* --- Life ------------------------------------------------------------------------------------ */

struct mux_server *mux_server_new(const struct mux_protocol *protocol, struct loop *loop,
				  const struct http_server_options *options)
{
	struct mux_server *m = mem_alloc(sizeof(*m));

	http_server_init(&m->base, &protocol->ops, options);
	m->magic = MUX_SERVER_MAGIC;
	m->protocol = protocol;
	m->loop = loop;
	list_init(&m->visits);
	timer_init(&m->timer, loop, on_timer);
	timer_set(&m->timer, m->base.options.head_ms);
	return m;
}

void mux_server_ready(struct mux_server *m)
{
	m->is_ready = true;
	m->idle_since = m->looked_at = loop_now(m->loop);
	timer_set(&m->timer, first_ms(m));
}

void mux_server_closed(struct mux_server *m, const struct err *why)
{
	const struct http_server_options *o = &m->base.options;
	bool is_usual = why->code == E_CLOSED || why->code == E_CANCELLED;

	timer_stop(&m->timer);
	if (o->on_closed)
		o->on_closed(o->ctx, is_usual ? NULL : why);
	m->magic = 0;
	mem_free(m);
}

void mux_server_drain(struct http_server *s)
{
	struct mux_server *m = CONTAINER_OF(s, struct mux_server, base);

	CHECK(m, MUX_SERVER_MAGIC);
	if (!m->is_draining)
		m->drained_at = loop_now(m->loop);
	m->is_draining = true;
	/* To see that it ends. */
	if (m->is_ready)
		timer_set(&m->timer, 2 * LIMIT_LINGER_MS);
	m->protocol->drain(m->session);
}

void mux_server_close(struct http_server *s)
{
	struct mux_server *m = CONTAINER_OF(s, struct mux_server, base);

	CHECK(m, MUX_SERVER_MAGIC);
	m->protocol->close(m->session, MUX_DONE, "closing");
}
