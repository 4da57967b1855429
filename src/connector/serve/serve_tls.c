/* TLS that the edge passes through. It ends here, by the certificate of the rule (tls_end/), and the requests inside are
 * served as those that the edge sends, with the fields that it would have set; or a service ends it itself. */
#include <stdio.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "connector/connector_metrics.h"
#include "connector/serve/access_check.h"
#include "connector/serve/access_log.h"
#include "connector/serve/serve_internal.h"
#include "connector/tls_end/stream.h"
#include "http/h1_server.h"
#include "http/h2_server.h"
#include "io/address.h"
#include "tls/tls.h"

#define COMPONENT "connector/tls"

/* A connection whose TLS ends here. */
struct visitor {
	struct list node; /* in server->tls_visitors */
	struct server *server;
	struct tls_handshake *handshake; /* one of the two */
	struct http_server *http;
	char *host; /* owned: the name that the edge has read, and no other may be asked for */
	char *client_ip;
	char id[EXCHANGE_ID_SIZE]; /* of the connection, as the edge logs it */
	int conn_index;
};

static void visitor_free(struct visitor *v)
{
	list_remove(&v->node);
	mem_free(v->host);
	mem_free(v->client_ip);
	mem_free(v);
}

/* --- Requests inside ---------------------------------------------------------------------------------- */

/* What the edge would have taken out: names that only it, or the connector, may set. The token of Access, too: on such
 * connections nobody has looked at who the visitor is. */
static bool is_forgeable(const struct field *f)
{
	return bytes_eq_nocase(bytes_first(f->name, 3), BYTES_LIT("cf-")) ||
	       bytes_eq_nocase(bytes_first(f->name, 5), BYTES_LIT("adit-")) ||
	       f->token == HEAD_TRUE_CLIENT_IP;
}

static void strip_forgeries(struct fields *f)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->count; i++)
		if (!is_forgeable(&f->list[i]))
			f->list[kept++] = f->list[i];
	f->count = kept;
}

static int append_forwarded_for(struct exchange *x)
{
	struct fields *f = &x->request.fields;
	struct bytes joined = BYTES_NONE;

	for (size_t i = 0; i < f->count; i++) {
		struct bytes value = f->list[i].value;
		if (f->list[i].token == HEAD_X_FORWARDED_FOR && value.len)
			joined = joined.len ? arena_printf(&x->arena, BYTES_FMT ", " BYTES_FMT,
							   BYTES_ARG(joined), BYTES_ARG(value))
					    : value;
	}
	if (joined.len)
		joined = arena_printf(&x->arena, BYTES_FMT ", " BYTES_FMT, BYTES_ARG(joined),
				      BYTES_ARG(x->client_ip));
	return fields_set(f, &x->arena, HEAD_X_FORWARDED_FOR, joined.len ? joined : x->client_ip);
}

/* The edge chose this tunnel, and whatever else it has decided, for one name. */
static enum handled host_handle(struct exchange *x, void *ctx)
{
	const struct visitor *v = x->listener;
	struct fields *f = &x->request.fields;
	int ret = 0;

	if (!bytes_eq(x->host, bytes_str(v->host)))
		return exchange_failed(x, FAILURE_VISITOR, 421, 0, "Misdirected request",
				       "This connection is for %s.", v->host);
	strip_forgeries(f);
	ret |= append_forwarded_for(x);
	ret |= fields_set(f, &x->arena, HEAD_X_FORWARDED_PROTO, BYTES_LIT("https"));
	ret |= fields_set(f, &x->arena, HEAD_X_FORWARDED_HOST, x->request.authority);
	ret |= fields_set(f, &x->arena, HEAD_CF_CONNECTING_IP, x->client_ip);
	ret |= fields_set(f, &x->arena, HEAD_CF_RAY, bytes_str(x->id));
	ret |= fields_set(f, &x->arena, HEAD_CF_VISITOR, BYTES_LIT("{\"scheme\":\"https\"}"));
	if (ret < 0)
		return exchange_failed(x, FAILURE_VISITOR, 431, 0, "Request header fields too large",
				       "The request has more than %d header fields.",
				       LIMIT_HEAD_FIELDS);
	return serve_ingress(x, ctx);
}

static void answer_failure(struct exchange *x, void *ctx)
{
	const struct failure *f = &x->failure;

	(void)ctx;
	serve_log_failure(x, (unsigned)x->conn_index);
	serve_count_failure(x);
	/* What the service is, and where, is not for visitors. */
	struct bytes text =
		f->hop == FAILURE_VISITOR
			? arena_printf(&x->arena, "%d " BYTES_FMT "\n" BYTES_FMT "\n", f->status,
				       BYTES_ARG(f->title), BYTES_ARG(f->detail))
			: arena_printf(&x->arena, "%d " BYTES_FMT "\n%s\n", f->status,
				       BYTES_ARG(f->title), x->id);
	exchange_answer_whole(x, f->status, BYTES_LIT("text/plain; charset=utf-8"), text);
}

static const struct handler handlers[] = {
	{ "host", host_handle },
	{ "access", access_check_handle },
	{ "headers", serve_headers },
	{ "origin", origin_handle },
};

struct handler_chain serve_tls_chain(struct server *s)
{
	return (struct handler_chain){
		.handlers = handlers,
		.count = ARRAY_LEN(handlers),
		.ctx = s,
		.answer_failure = answer_failure,
	};
}

static void on_exchange(void *ctx, struct exchange *x)
{
	struct visitor *v = ctx;
	static uint32_t counter; /* one loop */

	x->listener = v;
	x->conn_index = v->conn_index;
	x->client_ip = arena_copy(&x->arena, bytes_str(v->client_ip));
	x->protocol = http_server_protocol(v->http);
	(void)snprintf(x->id, sizeof(x->id), "%.16s%08x", v->id, counter++);
	metric_add(&connector_metrics.total_requests, 1);
	access_log_begin(x);
}

static void on_closed(void *ctx, const struct err *why)
{
	struct visitor *v = ctx;

	if (why && why->code)
		log_debug(COMPONENT, "visitor's connection ended", LOG_STR("cfRay", v->id),
			  LOG_STR("error", why->text));
	visitor_free(v);
}

/* --- Connections ---------------------------------------------------------------------------------------- */

static void on_tls(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct visitor *v = ctx;
	struct server *s = v->server;

	v->handshake = NULL;
	if (!stream) {
		log_info(COMPONENT, "visitor without a TLS handshake", LOG_STR("cfRay", v->id),
			 LOG_STR("host", v->host), LOG_STR("error", err->text));
		visitor_free(v);
		return;
	}
	/* An authority that has seen its challenge: there is nothing more to say (RFC 8737 §3). */
	if (bytes_eq(tls_alpn(stream), BYTES_LIT(TLS_CHALLENGE_ALPN))) {
		byte_stream_close(stream);
		visitor_free(v);
		return;
	}
	const struct http_server_options options = {
		.chain = &s->tls_chain,
		.scheme = BYTES_LIT("https"),
		.is_tls = true,
		.ctx = v,
		.on_exchange = on_exchange,
		.on_refused = on_exchange,
		.on_closed = on_closed,
	};
	v->http = bytes_eq(tls_alpn(stream), BYTES_LIT("h2")) ? h2_server_new(stream, &options)
							      : h1_server_new(stream, &options);
	if (s->is_draining)
		serve_tls_drain(s);
}

static enum handled refuse(struct exchange *x, const struct ingress_rule *rule, const char *why)
{
	(void)exchange_failed(x, FAILURE_CONNECTOR, 502, 0, "TLS cannot be passed through",
			      "%s: the service is %s.", why, rule->service);
	x->failure.rule = arena_printf(&x->arena, "%u: %s", rule->index, rule->label);
	return HANDLED_FAILED;
}

static bool speaks_tls(const struct ingress_rule *rule)
{
	return rule->kind == INGRESS_TCP ||
	       ((rule->kind == INGRESS_HTTP || rule->kind == INGRESS_UNIX) && rule->is_tls);
}

enum handled serve_tls_handle(struct exchange *x, void *ctx)
{
	struct server *s = ctx;
	const struct ingress_rule *rule = x->route;

	if (!x->is_tls_stream)
		return HANDLED_NEXT;
	const struct ingress_rule *end = ingress_match_tls(origin_set_ingress(s->origins), x->host);
	if (!end && speaks_tls(rule))
		return HANDLED_NEXT;
	if (!end)
		return refuse(x, rule,
			      "The rule has no tls, and its service does not speak TLS itself");
	struct tls_context *context = tls_sites_context(s->tls_sites, end);
	if (!context)
		return refuse(x, end, "There is no certificate yet to end TLS with");

	const struct field *client = fields_find(&x->request.fields, HEAD_CF_CONNECTING_IP);
	struct visitor *v = mem_alloc(sizeof(*v));
	v->server = s;
	v->host = mem_strndup(x->host);
	v->client_ip = mem_strndup(client ? client->value : BYTES_NONE);
	memcpy(v->id, x->id, sizeof(v->id));
	v->conn_index = x->conn_index;
	list_append(&s->tls_visitors, &v->node);
	v->handshake = tls_accept(context, tunnel_stream_open(x), LIMIT_TLS_HANDSHAKE_MS, on_tls, v);
	return HANDLED_TAKEN;
}

void serve_tls_drain(struct server *s)
{
	LIST_FOR_EACH(node, &s->tls_visitors) {
		struct visitor *v = LIST_ENTRY(node, struct visitor, node);
		if (v->http)
			http_server_drain(v->http);
	}
}

void serve_tls_close_all(struct server *s)
{
	LIST_FOR_EACH(node, &s->tls_visitors) {
		struct visitor *v = LIST_ENTRY(node, struct visitor, node);
		/* They end when the server is gone. */
		list_remove(&v->node);
		if (v->handshake) {
			tls_handshake_cancel(v->handshake);
			visitor_free(v);
		} else {
			http_server_close(v->http);
		}
	}
}
