/* Asks an HTTP/2 service: one stream for each exchange. */
#include "connector/origin/origin_h2.h"

#include "base/limits.h"
#include "base/mem.h"
#include "http/websocket.h"

#define REQUEST_MAGIC 0x68327271

/* Streams that were certainly not looked at are tried so often in all. */
#define MAX_ATTEMPTS 3

/* A service that ignores Expect: 100-continue waits for the body (RFC 9110 §10.1.1): after so long it
 * gets it. */
#define CONTINUE_WAIT_MS 1000

static struct h2_request *request_of(struct h2_stream *st)
{
	struct h2_request *r = h2_stream_ctx(st);

	if (r)
		CHECK(r, REQUEST_MAGIC);
	return r;
}

static bool is_raw(const struct h2_request *r)
{
	return r->x->has_head && r->x->response.is_upgrade;
}

/* --- Ends ------------------------------------------------------------------------------------ */

/* Nothing more happens to the request; what is left of its stream falls on the floor. */
static void let_go(struct h2_request *r, uint32_t code)
{
	struct h2_stream *st = TAKE(r->stream);

	timer_stop(&r->silence);
	timer_stop(&r->continue_wait);
	r->conn = NULL;
	if (!st)
		return;
	h2_stream_set_ctx(st, NULL);
	if (!r->request_ended || !r->response_ended)
		h2_stream_reset(st, code);
}

/* The response is complete. A request that is not will not be (RFC 9113 §8.1). */
static void finish(struct h2_request *r)
{
	body_end(&r->x->response_body);
	let_go(r, H2_NO_ERROR);
	exchange_release_answerer(r->x);
}

static void fail(struct h2_request *r, uint32_t code, const struct err *err, const char *title,
		 bool was_sent)
{
	let_go(r, code);
	origin_failed(r->x, r->origin->rule, err, title, was_sent);
	exchange_fail(r->x);
}

void h2_request_fail(struct h2_request *r, const struct err *err, const char *title, bool was_sent)
{
	CHECK(r, REQUEST_MAGIC);
	fail(r, H2_CANCEL, err, title, was_sent);
}

static void fail_protocol(struct h2_request *r, struct err *err)
{
	err_wrap(err, "malformed response");
	fail(r, H2_PROTOCOL_ERROR, err, "Bad response from the service", true);
}

void h2_request_over_http1(struct h2_request *r, struct byte_stream *stream)
{
	struct exchange *x = r->x;
	struct origin *o = r->origin;

	let_go(r, H2_CANCEL);
	exchange_release_answerer(x);
	if (stream)
		origin_http_start_on(o, x, stream);
	else
		origin_http_start(o, x);
}

/* --- Silence --------------------------------------------------------------------------------- */

/* How long no byte may move; 0: for ever. */
static usec silence_limit(const struct h2_request *r)
{
	usec limit = r->origin->rule->origin.idle_timeout;
	bool is_half = is_raw(r) && (r->request_ended || r->response_ended);

	/* Whoever has said goodbye and hears nothing may be waiting for a peer that is gone. */
	return limit || !is_half ? limit : LIMIT_BODY_IDLE_MS * USEC_PER_MSEC;
}

static void bytes_moved(struct h2_request *r)
{
	r->moved_at = loop_now(r->x->loop);
}

static void watch_silence(struct h2_request *r)
{
	usec limit = silence_limit(r);

	bytes_moved(r);
	if (limit)
		timer_set(&r->silence, limit / USEC_PER_MSEC);
}

/* Bytes do not move the timer: it looks how long ago the last one was. */
static void on_silence(struct timer *t)
{
	struct h2_request *r = CONTAINER_OF(t, struct h2_request, silence);
	struct err err;

	CHECK(r, REQUEST_MAGIC);
	usec limit = silence_limit(r), elapsed = loop_now(r->x->loop) - r->moved_at;
	if (elapsed < limit) {
		timer_set(&r->silence, (limit - elapsed) / USEC_PER_MSEC + 1);
	} else if (is_raw(r)) {
		finish(r);
	} else {
		err_set(&err, E_TIMEOUT, "no byte came or went for %lld ms",
			(long long)(limit / USEC_PER_MSEC));
		fail(r, H2_CANCEL, &err, "Service timed out", true);
	}
}

/* --- Request body ---------------------------------------------------------------------------- */

/* A body that is not as long as the head has said is no request any more. */
static void fail_length(struct h2_request *r)
{
	struct err err;

	err_set(&err, E_PROTOCOL, "the request body is not as long as its Content-Length");
	fail(r, H2_CANCEL, &err, "Bad request", true);
}

/* Our side of the stream has ended. */
static void request_is_over(struct h2_request *r)
{
	r->request_ended = true;
	if (r->response_ended)
		finish(r);
	else if (is_raw(r))
		watch_silence(r);
}

static void end_request(struct h2_request *r)
{
	const struct body *body = &r->x->request_body;

	if (body->trailers.count)
		h2_stream_finish(r->stream, &body->trailers);
	else
		(void)h2_stream_write(r->stream, BYTES_NONE, true);
	request_is_over(r);
}

/* The last thing a caller does: the request may be over afterwards. */
static void pump_request(struct h2_request *r)
{
	struct body *body = &r->x->request_body;
	struct bytes run;

	if (!r->stream || r->request_ended || r->holds_body)
		return;
	/* A service that has not agreed to the upgrade would read something else in these bytes. */
	if (r->x->request.is_upgrade && !is_raw(r))
		return;
	while (body_peek(body, &run, 1)) {
		if (r->has_length && run.len > r->left) {
			fail_length(r);
			return;
		}
		bool fin = body->has_ended && run.len == bufq_len(&body->queue) &&
			   body->trailers.count == 0 && (!r->has_length || run.len == r->left);
		size_t taken = h2_stream_write(r->stream, run, fin);
		if (taken)
			bytes_moved(r);
		if (r->has_length)
			r->left -= taken;
		body_consume(body, taken);
		if (taken < run.len)
			return;
		if (fin) {
			request_is_over(r);
			return;
		}
	}
	if (!body_is_done(body))
		return;
	if (r->has_length && r->left)
		fail_length(r);
	else
		end_request(r);
}

/* --- Expect: 100-continue -------------------------------------------------------------------- */

/* The visitor waits for a word of the service, and nobody has given it one. A body that is complete waits
 * for nothing. */
static bool is_awaited(const struct exchange *x)
{
	return x->expects_continue && x->relays_continue && !x->request.is_upgrade &&
	       x->request.length != HEAD_LENGTH_NONE && !x->request_body.has_ended;
}

/* The visitor may send its body, and what has come of it goes out. */
static void go_on(struct h2_request *r)
{
	static const struct head go_ahead = { .status = 100 };

	r->holds_body = false;
	timer_stop(&r->continue_wait);
	exchange_interim(r->x, &go_ahead);
	pump_request(r);
}

static void on_continue_wait(struct timer *t)
{
	struct h2_request *r = CONTAINER_OF(t, struct h2_request, continue_wait);

	CHECK(r, REQUEST_MAGIC);
	go_on(r);
}

/* --- Request head ---------------------------------------------------------------------------- */

/* Methods that usually have a body say so when they have none (RFC 9110 §8.6). */
static bool usually_has_body(struct bytes method)
{
	return bytes_eq(method, BYTES_LIT("POST")) || bytes_eq(method, BYTES_LIT("PUT")) ||
	       bytes_eq(method, BYTES_LIT("PATCH"));
}

/* nghttp2 looks at nothing that we send. */
static bool is_sendable(const struct head *head)
{
	if (!head_name_is_valid(head->method) || !head_value_is_valid(head->path) ||
	    !head_value_is_valid(head->authority))
		return false;
	for (size_t i = 0; i < head->fields.count; i++)
		if (!head_name_is_valid(head->fields.list[i].name) ||
		    !head_value_is_valid(head->fields.list[i].value))
			return false;
	return true;
}

/* `list` has room for LIMIT_HEAD_FIELDS and one more. */
static struct head make_head(const struct h2_request *r, struct field *list)
{
	const struct exchange *x = r->x;
	struct head head = x->request;
	size_t count = 0;

	head.scheme = r->origin->rule->is_tls ? BYTES_LIT("https") : BYTES_LIT("http");
	if (head.is_upgrade) {
		head.length = HEAD_LENGTH_UNKNOWN;
	} else if (head.length == HEAD_LENGTH_NONE && usually_has_body(head.method)) {
		head.length = HEAD_LENGTH_KNOWN;
		head.content_length = 0;
	}
	for (size_t i = 0; i < x->request.fields.count && count < LIMIT_HEAD_FIELDS; i++) {
		const struct field *field = &x->request.fields.list[i];
		/* A length belongs to a body; a key to the handshake of HTTP/1.1 (RFC 8441 §5). */
		if (field->token == HEAD_CONTENT_LENGTH ||
		    (head.is_upgrade && field->token == HEAD_SEC_WEBSOCKET_KEY))
			continue;
		list[count++] = *field;
	}
	if (r->holds_body)
		list[count++] = (struct field){ BYTES_LIT("expect"), BYTES_LIT("100-continue"),
						HEAD_EXPECT };
	head.fields = (struct fields){ .list = list, .count = count, .cap = count };
	return head;
}

/* True when the request cannot be a stream of this connection and something else became of it. */
static bool has_other_way(struct h2_request *r, struct h2_session *s)
{
	struct err err;

	if (!r->x->request.is_upgrade || h2_session_has_connect_protocol(s))
		return false;
	if (r->origin->rule->is_tls) {
		h2_pool_takes_no_websockets(r->origin->h2);
		h2_request_over_http1(r, NULL);
		return true;
	}
	err_set(&err, E_UNSUPPORTED, "it takes no WebSockets over HTTP/2 (RFC 8441)");
	fail(r, H2_CANCEL, &err, "Service takes no WebSockets", false);
	return true;
}

void h2_request_begin(struct h2_request *r, struct h2_conn *c)
{
	struct exchange *x = r->x;
	struct h2_session *s = h2_conn_session(c);
	struct field list[LIMIT_HEAD_FIELDS + 1];
	struct err err;

	CHECK(r, REQUEST_MAGIC);
	if (has_other_way(r, s))
		return;
	r->attempts++;
	r->interim_heads = 0;
	r->holds_body = is_awaited(x);
	struct head head = make_head(r, list);
	if (!is_sendable(&head)) {
		err_set(&err, E_INVALID, "the request head has bytes that HTTP/2 cannot carry");
		fail(r, H2_CANCEL, &err, "Bad request", false);
		return;
	}
	r->has_length = head.length == HEAD_LENGTH_KNOWN;
	r->left = r->has_length ? head.content_length : 0;
	r->request_ended = head.length == HEAD_LENGTH_NONE || (r->has_length && !r->left);
	r->stream = h2_session_open(s, &head, r->request_ended, r);
	if (!r->stream) {
		err_set(&err, E_INTERNAL, "no HTTP/2 stream can be opened");
		fail(r, H2_CANCEL, &err, "Service unreachable", false);
		return;
	}
	r->conn = c;
	watch_silence(r);
	if (r->holds_body)
		timer_set(&r->continue_wait, CONTINUE_WAIT_MS);
	pump_request(r);
}

/* --- Response -------------------------------------------------------------------------------- */

/* The service's side of the stream has ended. */
static void end_response(struct h2_request *r)
{
	r->response_ended = true;
	if (!is_raw(r) || r->request_ended) {
		finish(r);
		return;
	}
	/* Half of it is over; the visitor may still have something to say. */
	body_end(&r->x->response_body);
	watch_silence(r);
}

static void on_interim(struct h2_request *r, const struct head *head, bool fin)
{
	struct exchange *x = r->x;
	struct err err;

	if (head->status < 100 || head->status == 101 || fin) {
		err_set(&err, E_PROTOCOL, "status %d where none may be", head->status);
		fail_protocol(r, &err);
		return;
	}
	if (++r->interim_heads > LIMIT_INTERIM_HEADS) {
		err_set(&err, E_LIMIT, "more than %d interim responses", LIMIT_INTERIM_HEADS);
		fail_protocol(r, &err);
		return;
	}
	if (head->status == 100 && r->holds_body) {
		go_on(r);
		return;
	}
	/* Who waited for it has heard it: from the producer, or from us when the wait was over. */
	if (head->status == 100 && x->expects_continue)
		return;
	struct head copy;
	if (head_copy(&copy, head, &x->arena) < 0)
		return;
	head_strip_hop_by_hop(&copy);
	exchange_interim(x, &copy);
}

/* RFC 8441 §5: a 200 says what 101 says in HTTP/1.1. The visitor gets the answer to the key it has sent. */
static int complete_handshake(struct exchange *x)
{
	const struct field *key = fields_find(&x->request.fields, HEAD_SEC_WEBSOCKET_KEY);
	struct fields *f = &x->response.fields;
	char accept[WEBSOCKET_ACCEPT_SIZE];
	int ret = 0;

	x->response.status = 101;
	x->response.is_upgrade = true;
	x->response.length = HEAD_LENGTH_UNKNOWN;
	fields_remove(f, HEAD_CONTENT_LENGTH);
	ret |= fields_set(f, &x->arena, HEAD_CONNECTION, BYTES_LIT("Upgrade"));
	ret |= fields_set(f, &x->arena, HEAD_UPGRADE, BYTES_LIT("websocket"));
	if (key) {
		websocket_accept(key->value, accept);
		ret |= fields_set(f, &x->arena, HEAD_SEC_WEBSOCKET_ACCEPT,
				  arena_copy(&x->arena, bytes_of(accept, sizeof(accept))));
	}
	return ret;
}

void h2_request_on_response(struct h2_stream *st, const struct head *head, bool fin)
{
	struct h2_request *r = request_of(st);
	struct err err;

	if (!r)
		return;
	struct exchange *x = r->x;
	r->heard = true;
	h2_conn_heard(r->conn);
	bytes_moved(r);
	if (head->status < 200) {
		on_interim(r, head, fin);
		return;
	}
	timer_stop(&r->continue_wait); /* a body that is held back now is never sent */
	int ret = head_copy(&x->response, head, &x->arena);
	head_strip_hop_by_hop(&x->response);
	if (ret == 0 && x->request.is_upgrade && head->status < 300)
		ret = complete_handshake(x);
	if (ret < 0) {
		x->response = (struct head){ 0 };
		err_set(&err, E_LIMIT, "more than %d header fields", LIMIT_HEAD_FIELDS);
		fail_protocol(r, &err);
		return;
	}
	/* The stream's window bounds what may wait here. */
	x->response_body.queue.capacity = LIMIT_ORIGIN_H2_STREAM_WINDOW;
	exchange_respond(x);
	if (fin)
		end_response(r);
	if (is_raw(r))
		pump_request(r);
}

void h2_request_on_data(struct h2_stream *st, struct bytes data, bool fin)
{
	struct h2_request *r = request_of(st);

	if (!r)
		return;
	bytes_moved(r);
	if (data.len) {
		struct body *body = &r->x->response_body;
		h2_conn_heard(r->conn);
		body_write_all(body, data);
		body->wants_room = true; /* every byte taken is window to give back */
	}
	if (fin)
		end_response(r);
}

void h2_request_on_trailers(struct h2_stream *st, const struct fields *trailers)
{
	struct h2_request *r = request_of(st);

	if (!r)
		return;
	h2_conn_heard(r->conn);
	/* Beyond the field limit there are none: they are optional by definition. */
	(void)fields_copy(&r->x->response_body.trailers, trailers, &r->x->arena);
	end_response(r);
}

void h2_request_on_writable(struct h2_stream *st)
{
	struct h2_request *r = request_of(st);

	if (r)
		pump_request(r);
}

/* --- Streams that come to nothing ------------------------------------------------------------ */

static bool is_body_untouched(const struct exchange *x)
{
	return x->request_body.total == bufq_len(&x->request_body.queue);
}

/* Nobody has acted on the request, or it does no harm twice (RFC 9113 §8.7, RFC 9110 §9.2.2). */
static bool may_try_again(const struct h2_request *r, uint32_t code)
{
	const struct exchange *x = r->x;

	if (!x->producer || r->heard || r->attempts >= MAX_ATTEMPTS || !is_body_untouched(x))
		return false;
	if (code == H2_REFUSED_STREAM)
		return true;
	bool is_lost = h2_session_failure(h2_conn_session(r->conn)) != NULL;
	return is_lost && h2_conn_is_proven(r->conn) && origin_is_replayable(x);
}

static void explain(const struct h2_request *r, uint32_t code, struct err *err, const char **title)
{
	const struct err *failure = h2_session_failure(h2_conn_session(r->conn));

	*title = "Service closed the connection";
	if (failure) {
		*err = *failure;
		if (failure->code == E_TIMEOUT)
			*title = "Service timed out";
		else if (failure->code == E_CLOSED)
			err_set(err, E_CLOSED,
				r->heard ? "the connection was closed in the middle of the response"
					 : "the connection was closed without a response");
	} else if (h2_stream_is_reset_by_peer(r->stream) || code == H2_REFUSED_STREAM) {
		*title = "Service reset the request";
		err_set(err, E_CLOSED, "it reset the stream: %s (%u)", h2_error_name(code), code);
	} else if (code == H2_ENHANCE_YOUR_CALM) {
		*title = "Bad response from the service";
		err_set(err, E_LIMIT,
			"malformed response: the response head is larger than %d bytes",
			LIMIT_HEAD_BYTES);
	} else {
		*title = "Bad response from the service";
		err_set(err, E_PROTOCOL, "malformed response: %s (%u)", h2_error_name(code), code);
	}
}

/* The stream is gone. */
void h2_request_on_closed(struct h2_request *r, uint32_t code)
{
	const char *title;
	struct err err;

	CHECK(r, REQUEST_MAGIC);
	if (r->response_ended) {
		/* Raw: the service takes no more either. */
		r->request_ended = true;
		finish(r);
		return;
	}
	bool wants_http1 = code == H2_HTTP_1_1_REQUIRED && r->origin->rule->is_tls;
	if (wants_http1 && !r->heard && is_body_untouched(r->x)) {
		h2_request_over_http1(r, NULL);
	} else if (may_try_again(r, code)) {
		struct h2_conn *c = r->conn;
		let_go(r, H2_CANCEL);
		r->conn = c;
		h2_pool_take_again(r);
	} else {
		explain(r, code, &err, &title);
		fail(r, H2_CANCEL, &err, title, code != H2_REFUSED_STREAM);
	}
}

/* --- The exchange's side --------------------------------------------------------------------- */

static void on_request_data(struct exchange *x)
{
	pump_request(x->answerer_ctx);
}

static void on_response_room(struct exchange *x)
{
	struct h2_request *r = x->answerer_ctx;
	uint64_t taken = x->response_body.total - bufq_len(&x->response_body.queue);

	if (r->stream && taken > r->credited) {
		h2_stream_consume(r->stream, (size_t)(taken - r->credited));
		r->credited = taken;
	}
	x->response_body.wants_room = !r->response_ended;
}

static void on_cancelled(struct exchange *x)
{
	struct h2_request *r = x->answerer_ctx;

	if (r->pool)
		h2_pool_leave(r);
	let_go(r, H2_CANCEL);
	exchange_release_answerer(x);
}

static const struct exchange_answerer answerer = {
	.name = "origin",
	.on_request_data = on_request_data,
	.on_response_room = on_response_room,
	.on_cancelled = on_cancelled,
};

void origin_h2_start(struct origin *o, struct exchange *x)
{
	if (!o->h2)
		o->h2 = origin_h2_new(o);
	if (h2_pool_speaks_http1(o->h2, x)) {
		origin_http_start(o, x);
		return;
	}
	struct h2_request *r = arena_alloc(&x->arena, sizeof(*r));
	r->magic = REQUEST_MAGIC;
	r->x = x;
	r->origin = o;
	list_init(&r->node);
	timer_init(&r->silence, o->loop, on_silence);
	timer_init(&r->continue_wait, o->loop, on_continue_wait);
	exchange_answer_by(x, &answerer, r);
	h2_pool_take(o->h2, r);
}
