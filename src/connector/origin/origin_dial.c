/* From a rule to a connection its requests can go over: look-up and connect, the PROXY header, TLS. */
#include "base/mem.h"
#include "connector/origin/origin_internal.h"
#include "connector/origin/proxy_header.h"

#define DIAL_MAGIC 0x6f646961

#define UNREACHABLE "Service unreachable"

struct origin_dial {
	uint32_t magic;
	struct origin *origin; /* borrowed; the exchange keeps its set */
	origin_dial_done *done;
	void *ctx;
	struct tls_context *tls; /* borrowed from origin; NULL: plain */
	char *server_name;       /* owned; with tls */
	char client_ip[INET6_ADDRSTRLEN];
	bool has_proxy_header; /* the visitor's bytes begin with one */
	struct conn_attempt *attempt;
	struct tls_handshake *handshake;
	struct deferred refusal; /* what cannot even be tried */
	struct err err;
};

static void dial_free(struct origin_dial *d)
{
	CHECK(d, DIAL_MAGIC);
	deferred_cancel(&d->refusal);
	conn_attempt_cancel(d->attempt);
	tls_handshake_cancel(d->handshake);
	mem_free(d->server_name);
	d->magic = 0;
	mem_free(d);
}

static void finish(struct origin_dial *d, struct byte_stream *stream, const struct err *err,
		   const char *title)
{
	origin_dial_done *done = d->done;
	void *ctx = d->ctx;

	dial_free(d);
	done(ctx, stream, err, title);
}

static void on_refusal(struct deferred *deferred)
{
	struct origin_dial *d = CONTAINER_OF(deferred, struct origin_dial, refusal);
	struct err err = d->err;

	finish(d, NULL, &err, UNREACHABLE);
}

static void on_tls(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct origin_dial *d = ctx;

	CHECK(d, DIAL_MAGIC);
	d->handshake = NULL;
	if (stream)
		finish(d, stream, NULL, NULL);
	else
		finish(d, NULL, err,
		       err->code == E_TIMEOUT ? "Service timed out" : "Service has no valid TLS");
}

/* In whole seconds, as the kernel counts them; a fraction is not "off". */
static int keepalive_seconds(usec keepalive)
{
	usec seconds = (keepalive + USEC_PER_SEC - 1) / USEC_PER_SEC;

	return seconds < 32767 ? (int)seconds : 32767; /* MAX_TCP_KEEPIDLE */
}

static void on_connected(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct origin_dial *d = ctx;
	const struct ingress_origin *options = &d->origin->rule->origin;
	uint8_t header[PROXY_HEADER_MAX];

	CHECK(d, DIAL_MAGIC);
	d->attempt = NULL;
	if (!stream) {
		finish(d, NULL, err, err->code == E_TIMEOUT ? "Service timed out" : UNREACHABLE);
		return;
	}
	conn_set_keepalive(stream, keepalive_seconds(options->tcp_keepalive));
	size_t len = d->has_proxy_header
			     ? 0
			     : proxy_header_write(options->proxy_protocol, bytes_str(d->client_ip),
						  stream->peer, header);
	/* The first bytes of a connection: there is room for them. */
	BUG_IF(byte_stream_write(stream, bytes_of(header, len)) < len);
	if (!d->tls) {
		finish(d, stream, NULL, NULL);
		return;
	}
	d->handshake = tls_connect(d->tls, stream, bytes_str(d->server_name),
				   options->tls_timeout / USEC_PER_MSEC, on_tls, d);
}

bool origin_name_varies(const struct origin *o)
{
	const struct ingress_rule *rule = o->rule;

	if (!rule->is_tls || rule->origin.origin_server_name)
		return false;
	/* A Unix socket has no name of its own. */
	return rule->origin.match_sni_to_host || !*rule->host;
}

char *origin_server_name(const struct origin *o, struct bytes authority)
{
	const struct ingress_rule *rule = o->rule;
	struct arena arena;

	if (!origin_name_varies(o))
		return mem_strdup(rule->origin.origin_server_name ? rule->origin.origin_server_name
								  : rule->host);
	arena_init(&arena);
	struct bytes host = head_host(authority, &arena);
	if (bytes_starts_with(host, BYTES_LIT("[")) && bytes_ends_with(host, BYTES_LIT("]")))
		host = bytes_from(bytes_first(host, host.len - 1), 1);
	char *name = mem_strndup(host);
	arena_done(&arena);
	return name;
}

static void start(struct origin_dial *d, const struct origin_target *to)
{
	const struct ingress_rule *rule = d->origin->rule;
	int64_t timeout_ms = rule->origin.connect_timeout / USEC_PER_MSEC;
	struct loop *loop = d->origin->loop;

	if (!to->host.len && rule->kind == INGRESS_UNIX) {
		struct address address;
		char *path = mem_printf("unix:%s", rule->unix_path);
		int ret = address_parse(bytes_str(path), &address, &d->err);
		mem_free(path);
		if (ret == 0)
			d->attempt = conn_connect(loop, &address, timeout_ms, on_connected, d);
		return;
	}
	struct bytes host = to->host.len ? to->host : bytes_str(rule->host);
	uint16_t port = to->host.len ? to->port : rule->port;
	const struct conn_name_options options = {
		.is_serial = rule->origin.no_happy_eyeballs,
		.allows = to->allows,
		.allows_ctx = to->allows_ctx,
	};
	if (port == 0)
		err_set(&d->err, E_INVALID, "no port is given for \"" BYTES_FMT "\"",
			BYTES_ARG(host));
	else
		d->attempt = conn_connect_name_with(loop, host, port, timeout_ms, &options,
						    on_connected, d);
}

struct origin_dial *origin_dial(struct origin *o, const struct origin_target *to,
				origin_dial_done *done, void *ctx)
{
	struct origin_dial *d = mem_alloc(sizeof(*d));

	d->magic = DIAL_MAGIC;
	d->origin = o;
	d->done = done;
	d->ctx = ctx;
	deferred_init(&d->refusal, on_refusal);
	if (to->client_ip.len && to->client_ip.len < sizeof(d->client_ip))
		memcpy(d->client_ip, to->client_ip.ptr, to->client_ip.len);
	d->has_proxy_header = to->has_proxy_header;
	if (!to->is_raw)
		d->tls = to->only_http1 && o->tls_http1 ? o->tls_http1 : o->tls;
	if (d->tls)
		d->server_name = origin_server_name(o, to->authority);
	start(d, to);
	if (!d->attempt)
		loop_defer(o->loop, &d->refusal);
	return d;
}

struct origin_dial *origin_dial_cancel(struct origin_dial *d)
{
	if (d)
		dial_free(d);
	return NULL;
}
