#include "connector/access/dial.h"

#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/secret.h"
#include "connector/access/refusal.h"
#include "http/h1.h"
#include "http/websocket.h"
#include "io/conn.h"
#include "io/loop.h"
#include "tls/tls.h"

#define DIAL_MAGIC 0x64696163

#define READ_BYTES 4096

enum dial_state {
	DIAL_CONNECTING,
	DIAL_PROXY,     /* asked to CONNECT */
	DIAL_HANDSHAKE, /* TLS */
	DIAL_ANSWER,    /* asked for the WebSocket */
	DIAL_REFUSAL,   /* reading the body of an answer that is none */
};

struct access_dial {
	uint32_t magic;
	struct loop *loop;
	const struct access_target *target; /* borrowed */
	access_dial_done *done;
	void *ctx;
	enum dial_state state;
	struct conn_attempt *attempt;
	struct tls_handshake *handshake;
	struct byte_stream *stream; /* owned, in the states that read and write it here */
	char key[WEBSOCKET_KEY_SIZE];
	struct timer deadline;
	struct buf out; /* what is left of our request */
	struct buf in;
	size_t scanned;
	unsigned interim_count;

	struct arena arena; /* of the answer */
	struct head answer;
	struct h1_response_info info;
	struct h1_chunked chunked;
	struct buf body;
};

static struct access_dial *dial_free(struct access_dial *d)
{
	timer_stop(&d->deadline);
	conn_attempt_cancel(d->attempt);
	tls_handshake_cancel(d->handshake);
	byte_stream_close(d->stream);
	/* A service token's secret is in it. */
	secret_wipe(d->out.ptr, d->out.cap);
	buf_done(&d->out);
	buf_done(&d->in);
	buf_done(&d->body);
	h1_chunked_done(&d->chunked);
	arena_done(&d->arena);
	d->magic = 0;
	return mem_free(d);
}

static void dial_failed(struct access_dial *d, const struct err *err)
{
	access_dial_done *done = d->done;
	void *ctx = d->ctx;
	struct err why = *err;

	dial_free(d);
	done(ctx, NULL, BYTES_NONE, false, &why);
}

/* --- The answer ------------------------------------------------------------------------------ */

static void refused(struct access_dial *d)
{
	const struct access_target *t = d->target;
	struct err err;

	if (d->state == DIAL_PROXY)
		err_set(&err, E_PROTOCOL,
			"the proxy " BYTES_FMT
			":%u (HTTPS_PROXY) answered %d %s instead of connecting "
			"to " BYTES_FMT ":%u",
			BYTES_ARG(t->proxy.host), t->proxy.port, d->answer.status,
			head_reason(d->answer.status), BYTES_ARG(t->connect_host), t->connect_port);
	else
		refusal_explain(&d->answer, buf_bytes(&d->body), t->request.authority, &err);
	dial_failed(d, &err);
}

/* Takes what has come of a refusal's body; true when that is all, or enough. */
static bool take_body(struct access_dial *d)
{
	struct bytes rest = buf_bytes(&d->in), run = BYTES_NONE;
	uint64_t want = LIMIT_ACCESS_REASON_BYTES;
	int more = 1;

	if (d->answer.length == HEAD_LENGTH_NONE)
		return true;
	if (d->answer.length == HEAD_LENGTH_KNOWN && d->answer.content_length < want)
		want = d->answer.content_length;
	while (d->body.len < want && rest.len && more == 1) {
		if (d->info.is_chunked) {
			more = h1_chunked_next(&d->chunked, &rest, &run, NULL);
		} else {
			run = rest;
			rest = BYTES_NONE;
		}
		if (more == 1 && buf_append(&d->body, bytes_first(run, want - d->body.len)) < 0)
			more = -1;
	}
	buf_clear(&d->in);
	return d->body.len == want || more < 0 || more == 2;
}

static void opened(struct access_dial *d)
{
	const struct fields *fields = &d->answer.fields;
	const struct field *accept = fields_find(fields, HEAD_SEC_WEBSOCKET_ACCEPT);
	const struct field *half = fields_find_text(fields, BYTES_LIT(WEBSOCKET_HALF_CLOSE_FIELD));
	char wanted[WEBSOCKET_ACCEPT_SIZE];

	websocket_accept(bytes_of(d->key, sizeof(d->key)), wanted);
	if (!d->answer.is_upgrade || !accept ||
	    !bytes_eq(accept->value, bytes_of(wanted, sizeof(wanted)))) {
		struct err err;
		err_set(&err, E_PROTOCOL,
			BYTES_FMT " switched protocols, but not to the WebSocket it was asked for",
			BYTES_ARG(d->target->request.authority));
		dial_failed(d, &err);
		return;
	}
	struct byte_stream *stream = TAKE(d->stream);
	byte_stream_set_events(stream, NULL, NULL);
	d->done(d->ctx, stream, buf_bytes(&d->in), half && bytes_eq(half->value, BYTES_LIT("1")),
		NULL);
	dial_free(d);
}

static void start_tls(struct access_dial *d);

/* Goes as far as the input reaches. False: the dial has ended, or does not read any more. */
static bool step(struct access_dial *d)
{
	bool is_proxy = d->state == DIAL_PROXY;
	struct err err = { 0 };
	ssize_t size;

	if (d->state == DIAL_REFUSAL) {
		if (!take_body(d))
			return true;
		refused(d);
		return false;
	}
	size = h1_head_length(buf_bytes(&d->in), &d->scanned);
	if (size == 0)
		return true;
	int r = size < 0 ? err_set(&err, E_LIMIT, "its head is too long")
			 : h1_parse_response(bytes_of(d->in.ptr, (size_t)size),
					     is_proxy ? BYTES_LIT("CONNECT") : BYTES_LIT("GET"),
					     &d->arena, &d->answer, &d->info, &err);
	if (r == 0 && d->answer.status / 100 == 1 && d->answer.status != 101) {
		buf_drop(&d->in, (size_t)size);
		d->scanned = 0;
		if (++d->interim_count <= LIMIT_INTERIM_HEADS)
			return step(d);
		r = err_set(&err, E_LIMIT, "interim answers without end");
	}
	if (r < 0) {
		err_wrap(&err, "%s " BYTES_FMT " gave an answer that is no HTTP",
			 is_proxy ? "the proxy" : "the server of",
			 BYTES_ARG(is_proxy ? d->target->proxy.host : d->target->request.authority));
		dial_failed(d, &err);
		return false;
	}
	buf_drop(&d->in, (size_t)size);
	d->scanned = 0;
	if (is_proxy) {
		/* A server of TLS says nothing before the client does. */
		if (d->answer.status / 100 == 2 && d->in.len == 0)
			start_tls(d);
		else
			refused(d);
		return false;
	}
	if (d->answer.status == 101) {
		opened(d);
		return false;
	}
	d->state = DIAL_REFUSAL;
	timer_set(&d->deadline, LIMIT_ACCESS_REASON_MS);
	return step(d);
}

static void on_readable(void *ctx)
{
	struct access_dial *d = ctx;
	struct err err = { 0 };

	CHECK(d, DIAL_MAGIC);
	do {
		/* A head that fills the buffer was refused by the step before. */
		BUG_IF(buf_reserve(&d->in, READ_BYTES) < 0);
		ssize_t n = byte_stream_read(d->stream, d->in.ptr + d->in.len, READ_BYTES, &err);
		if (n == E_AGAIN)
			return;
		if (d->state == DIAL_REFUSAL && n <= 0) {
			refused(d);
			return;
		}
		if (n <= 0) {
			if (n == 0)
				err_set(&err, E_CLOSED, "the connection was closed");
			err_wrap(&err, "no answer of " BYTES_FMT,
				 BYTES_ARG(d->state == DIAL_PROXY ? d->target->proxy.host
								  : d->target->request.authority));
			dial_failed(d, &err);
			return;
		}
		buf_added(&d->in, (size_t)n);
	} while (step(d));
}

/* --- What we say ----------------------------------------------------------------------------- */

static void send_rest(struct access_dial *d)
{
	buf_drop(&d->out, byte_stream_write(d->stream, buf_bytes(&d->out)));
}

static void on_writable(void *ctx)
{
	send_rest(ctx);
}

static void on_error(void *ctx, const struct err *err)
{
	struct access_dial *d = ctx;
	struct err why = *err;

	err_wrap(&why, "no answer of " BYTES_FMT, BYTES_ARG(d->target->request.authority));
	dial_failed(d, &why);
}

static const struct byte_stream_events events = {
	.on_readable = on_readable,
	.on_writable = on_writable,
	.on_error = on_error,
};

static void converse(struct access_dial *d, struct byte_stream *stream, enum dial_state state,
		     int64_t deadline_ms)
{
	d->stream = stream;
	d->state = state;
	timer_set(&d->deadline, deadline_ms);
	byte_stream_set_events(stream, &events, d);
	send_rest(d);
	byte_stream_want_read(stream);
}

static void ask_proxy(struct access_dial *d, struct byte_stream *stream)
{
	const struct access_target *t = d->target;
	bool is_v6 = bytes_index(t->connect_host, ':') < t->connect_host.len;
	struct bytes to =
		arena_printf(&d->arena, "%s" BYTES_FMT "%s:%u", is_v6 ? "[" : "",
			     BYTES_ARG(t->connect_host), is_v6 ? "]" : "", t->connect_port);
	struct head head = { .method = BYTES_LIT("CONNECT"), .path = to, .authority = to };
	const struct field *agent = fields_find(&t->request.fields, HEAD_USER_AGENT);

	/* Cannot fail: few fields, checked before. */
	int r = agent ? fields_add(&head.fields, &d->arena, agent->name, agent->value) : 0;
	if (r == 0 && t->proxy.authorization.len)
		r = fields_add(&head.fields, &d->arena, BYTES_LIT("Proxy-Authorization"),
			       t->proxy.authorization);
	if (r == 0)
		r = h1_print_request(&head, H1_NO_BODY, true, false, &d->out);
	BUG_IF(r < 0);
	converse(d, stream, DIAL_PROXY, LIMIT_ACCESS_CONNECT_MS);
}

static void ask_websocket(struct access_dial *d, struct byte_stream *stream)
{
	struct head head = d->target->request;
	struct fields fields = { 0 };

	websocket_key(d->key);
	int r = fields_copy(&fields, &head.fields, &d->arena);
	if (r == 0)
		r = fields_add(&fields, &d->arena, BYTES_LIT("Sec-WebSocket-Key"),
			       bytes_of(d->key, sizeof(d->key)));
	head.fields = fields;
	if (r == 0)
		r = h1_print_request(&head, H1_RAW_UPGRADE, true, false, &d->out);
	/* The target was checked with room for this field. */
	BUG_IF(r < 0);
	converse(d, stream, DIAL_ANSWER, LIMIT_ACCESS_ANSWER_MS);
}

/* --- The way there --------------------------------------------------------------------------- */

static void on_tls(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct access_dial *d = ctx;
	struct err why;

	CHECK(d, DIAL_MAGIC);
	d->handshake = NULL;
	if (stream) {
		ask_websocket(d, stream);
		return;
	}
	why = *err;
	if (strstr(err->text, "issuer is unknown") || strstr(err->text, "self-signed"))
		err_set(&why, E_TLS,
			"%.300s; for an edge with an authority of its own, log in to it or give its "
			"ca.pem with --cacert",
			err->text);
	err_wrap(&why, "cannot reach " BYTES_FMT, BYTES_ARG(d->target->request.authority));
	dial_failed(d, &why);
}

static void start_tls(struct access_dial *d)
{
	struct byte_stream *stream = TAKE(d->stream);

	d->state = DIAL_HANDSHAKE;
	timer_stop(&d->deadline);
	byte_stream_set_events(stream, NULL, NULL);
	d->handshake = tls_connect(d->target->tls, stream, d->target->server_name,
				   LIMIT_TLS_HANDSHAKE_MS, on_tls, d);
}

static void on_connected(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct access_dial *d = ctx;
	struct err why;

	CHECK(d, DIAL_MAGIC);
	d->attempt = NULL;
	if (stream && d->target->has_proxy) {
		ask_proxy(d, stream);
	} else if (stream) {
		d->stream = stream;
		start_tls(d);
	} else {
		why = *err;
		err_wrap(&why, "cannot reach " BYTES_FMT "%s",
			 BYTES_ARG(d->target->request.authority),
			 d->target->has_proxy ? " through the proxy of HTTPS_PROXY" : "");
		dial_failed(d, &why);
	}
}

static void on_deadline(struct timer *t)
{
	struct access_dial *d = CONTAINER_OF(t, struct access_dial, deadline);
	struct err err;

	CHECK(d, DIAL_MAGIC);
	if (d->state == DIAL_REFUSAL) {
		refused(d);
		return;
	}
	err_set(&err, E_TIMEOUT, "%s " BYTES_FMT " did not answer within %d s",
		d->state == DIAL_PROXY ? "the proxy" : "the server of",
		BYTES_ARG(d->state == DIAL_PROXY ? d->target->proxy.host
						 : d->target->request.authority),
		(d->state == DIAL_PROXY ? LIMIT_ACCESS_CONNECT_MS : LIMIT_ACCESS_ANSWER_MS) / 1000);
	dial_failed(d, &err);
}

struct access_dial *access_dial(struct loop *loop, const struct access_target *target,
				access_dial_done *done, void *ctx)
{
	struct access_dial *d = mem_alloc(sizeof(*d));

	d->magic = DIAL_MAGIC;
	d->loop = loop;
	d->target = target;
	d->done = done;
	d->ctx = ctx;
	arena_init(&d->arena);
	timer_init(&d->deadline, loop, on_deadline);
	buf_init(&d->in, LIMIT_HEAD_BYTES + READ_BYTES);
	buf_init(&d->out, LIMIT_HEAD_BYTES);
	buf_init(&d->body, LIMIT_ACCESS_REASON_BYTES);
	h1_chunked_init(&d->chunked);
	d->attempt = conn_connect_name(
		loop, target->has_proxy ? target->proxy.host : target->connect_host,
		target->has_proxy ? target->proxy.port : target->connect_port,
		LIMIT_ACCESS_CONNECT_MS, on_connected, d);
	return d;
}

struct access_dial *access_dial_cancel(struct access_dial *d)
{
	if (!d)
		return NULL;
	CHECK(d, DIAL_MAGIC);
	return dial_free(d);
}
