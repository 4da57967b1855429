#include "connector/dial/proxy_connect.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/secret.h"
#include "connector/dial/proxy.h"
#include "connector/dial/socks_client.h"
#include "http/h1.h"
#include "tls/tls.h"

#define PROXY_CONNECT_MAGIC 0x70726f78

#define READ_BYTES 4096

enum proxy_state { PROXY_CONNECTING, PROXY_HANDSHAKE, PROXY_ASKED };

struct proxy_connect {
	uint32_t magic;
	struct loop *loop;
	const struct proxy *proxy; /* borrowed */
	struct tls_context *tls;   /* borrowed */
	char *host;                /* owned */
	uint16_t port;
	conn_done *done;
	void *ctx;
	enum proxy_state state;
	struct conn_attempt *attempt;
	struct tls_handshake *handshake;
	struct byte_stream *stream; /* owned, once it is asked */
	struct timer deadline;
	struct buf out, in;
	struct socks_client socks;
	/* HTTP: of its answer. */
	struct arena arena;
	size_t scanned;
	unsigned interim_count;
};

static struct proxy_connect *free_all(struct proxy_connect *p)
{
	timer_stop(&p->deadline);
	conn_attempt_cancel(p->attempt);
	tls_handshake_cancel(p->handshake);
	byte_stream_close(p->stream);
	/* A password is in it. */
	secret_wipe(p->out.ptr, p->out.cap);
	buf_done(&p->out);
	buf_done(&p->in);
	arena_done(&p->arena);
	mem_free(p->host);
	p->magic = 0;
	return mem_free(p);
}

/* "the proxy http://p:3128: …" */
static void failed(struct proxy_connect *p, const struct err *why)
{
	conn_done *done = p->done;
	void *ctx = p->ctx;
	struct err err = *why;

	err_wrap(&err, "the proxy " BYTES_FMT, BYTES_ARG(p->proxy->text));
	free_all(p);
	done(ctx, NULL, &err);
}

static void connected(struct proxy_connect *p)
{
	conn_done *done = p->done;
	void *ctx = p->ctx;
	struct byte_stream *stream = TAKE(p->stream);
	struct err err;

	if (p->in.len) {
		p->stream = stream;
		err_set(&err, E_PROTOCOL, "it sent more than its answer");
		failed(p, &err);
		return;
	}
	byte_stream_set_events(stream, NULL, NULL);
	free_all(p);
	done(ctx, stream, NULL);
}

/* --- Its answer ------------------------------------------------------------------------------ */

/* 1: connected, 0: more is needed. */
static int read_http(struct proxy_connect *p, struct err *err)
{
	struct h1_response_info info;
	struct head head;

	for (;;) {
		ssize_t size = h1_head_length(buf_bytes(&p->in), &p->scanned);
		if (size == 0)
			return 0;
		int r = size < 0 ? err_set(err, E_LIMIT, "the head of its answer is too long")
				 : h1_parse_response(bytes_of(p->in.ptr, (size_t)size),
						     BYTES_LIT("CONNECT"), &p->arena, &head, &info,
						     err);
		if (r < 0)
			return err_wrap(err, "its answer is no HTTP");
		buf_drop(&p->in, (size_t)size);
		p->scanned = 0;
		if (head.status / 100 == 2)
			return 1;
		if (head.status / 100 != 1)
			break;
		if (++p->interim_count > LIMIT_INTERIM_HEADS)
			return err_set(err, E_LIMIT, "interim answers without end");
	}
	/* RFC 9110 §15.5.8: 407 asks for credentials. */
	return err_set(err, head.status == 407 || head.status == 403 ? E_DENIED : E_REFUSED,
		       "it refused CONNECT %s:%u: %d %s", p->host, p->port, head.status,
		       head_reason(head.status));
}

static int read_socks(struct proxy_connect *p, struct err *err)
{
	struct bytes rest = buf_bytes(&p->in);
	int r;

	do {
		size_t before = rest.len;
		r = socks_client_feed(&p->socks, &rest, &p->out, err);
		buf_drop(&p->in, before - rest.len);
		if (rest.len == before)
			break;
		rest = buf_bytes(&p->in);
	} while (r == 0 && rest.len);
	return r;
}

static void send_rest(struct proxy_connect *p)
{
	buf_drop(&p->out, byte_stream_write(p->stream, buf_bytes(&p->out)));
}

static void on_readable(void *ctx)
{
	struct proxy_connect *p = ctx;
	struct err err = { 0 };
	int r = 0;

	CHECK(p, PROXY_CONNECT_MAGIC);
	while (r == 0) {
		/* What fills the buffer was refused by the turn before. */
		BUG_IF(buf_reserve(&p->in, READ_BYTES) < 0);
		ssize_t n = byte_stream_read(p->stream, p->in.ptr + p->in.len, READ_BYTES, &err);
		if (n == E_AGAIN)
			return;
		if (n <= 0) {
			if (n == 0)
				err_set(&err, E_CLOSED, "it closed the connection");
			failed(p, &err);
			return;
		}
		buf_added(&p->in, (size_t)n);
		r = p->proxy->kind == PROXY_SOCKS5 ? read_socks(p, &err) : read_http(p, &err);
		send_rest(p);
	}
	if (r < 0)
		failed(p, &err);
	else
		connected(p);
}

static void on_writable(void *ctx)
{
	send_rest(ctx);
}

static void on_error(void *ctx, const struct err *err)
{
	failed(ctx, err);
}

static const struct byte_stream_events events = {
	.on_readable = on_readable,
	.on_writable = on_writable,
	.on_error = on_error,
};

/* --- What it is asked ------------------------------------------------------------------------ */

static void say_connect(struct proxy_connect *p)
{
	bool is_v6 = strchr(p->host, ':') != NULL;
	struct bytes to = arena_printf(&p->arena, "%s%s%s:%u", is_v6 ? "[" : "", p->host,
				       is_v6 ? "]" : "", p->port);
	struct head head = { .method = BYTES_LIT("CONNECT"), .path = to, .authority = to };
	int r = fields_add(&head.fields, &p->arena, BYTES_LIT("User-Agent"),
			   BYTES_LIT("adit/" ADIT_VERSION));

	if (r == 0 && p->proxy->authorization.len)
		r = fields_add(&head.fields, &p->arena, BYTES_LIT("Proxy-Authorization"),
			       p->proxy->authorization);
	if (r == 0)
		r = h1_print_request(&head, H1_NO_BODY, true, false, &p->out);
	BUG_IF(r < 0); /* few and short fields, checked before */
}

static void ask(struct proxy_connect *p, struct byte_stream *stream)
{
	p->state = PROXY_ASKED;
	p->stream = stream;
	if (p->proxy->kind == PROXY_SOCKS5)
		socks_client_start(&p->socks, &p->out);
	else
		say_connect(p);
	byte_stream_set_events(stream, &events, p);
	send_rest(p);
	byte_stream_want_read(stream);
}

static void on_tls(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct proxy_connect *p = ctx;

	CHECK(p, PROXY_CONNECT_MAGIC);
	p->handshake = NULL;
	if (stream)
		ask(p, stream);
	else
		failed(p, err);
}

static void on_connected(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct proxy_connect *p = ctx;

	CHECK(p, PROXY_CONNECT_MAGIC);
	p->attempt = NULL;
	if (!stream) {
		failed(p, err);
	} else if (p->proxy->kind == PROXY_HTTPS) {
		p->state = PROXY_HANDSHAKE;
		p->handshake = tls_connect(p->tls, stream, p->proxy->host, LIMIT_TLS_HANDSHAKE_MS,
					   on_tls, p);
	} else {
		ask(p, stream);
	}
}

static void on_deadline(struct timer *t)
{
	struct proxy_connect *p = CONTAINER_OF(t, struct proxy_connect, deadline);
	static const char *const states[] = {
		[PROXY_CONNECTING] = "connecting to it took too long",
		[PROXY_HANDSHAKE] = "its TLS handshake took too long",
		[PROXY_ASKED] = "it did not answer in time",
	};
	struct err err;

	err_set(&err, E_TIMEOUT, "%s", states[p->state]);
	failed(p, &err);
}

struct proxy_connect *proxy_connect(struct loop *l, const struct proxy_to *to, int64_t timeout_ms,
				    conn_done *done, void *ctx)
{
	struct proxy_connect *p = mem_alloc(sizeof(*p));
	const struct conn_name_options options = { .from = to->from };

	BUG_IF(to->host.len > 255);
	p->magic = PROXY_CONNECT_MAGIC;
	p->loop = l;
	p->proxy = to->proxy;
	p->tls = to->tls;
	p->host = mem_strndup(to->host);
	p->port = to->port;
	p->done = done;
	p->ctx = ctx;
	p->socks = (struct socks_client){
		.host = bytes_str(p->host),
		.port = p->port,
		.user = to->proxy->user,
		.password = to->proxy->password,
	};
	arena_init(&p->arena);
	buf_init(&p->in, LIMIT_HEAD_BYTES + READ_BYTES);
	buf_init(&p->out, LIMIT_HEAD_BYTES);
	timer_init(&p->deadline, l, on_deadline);
	timer_set(&p->deadline, timeout_ms);
	/* Its own deadline comes a little later: ours tells more. */
	p->attempt = conn_connect_name_with(l, to->proxy->host, to->proxy->port, timeout_ms + 100,
					    &options, on_connected, p);
	return p;
}

struct proxy_connect *proxy_connect_cancel(struct proxy_connect *p)
{
	if (!p)
		return NULL;
	CHECK(p, PROXY_CONNECT_MAGIC);
	return free_all(p);
}
