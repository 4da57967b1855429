#include "edge/listen/visitor.h"

#include <stdio.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "edge/access_log.h"
#include "edge/listen/arrival.h"
#include "edge/tunnels/accept.h"
#include "edge/worker.h"
#include "http/h1_server.h"
#include "http/h2_server.h"
#include "io/conn.h"
#include "tls/tls.h"

#define COMPONENT "edge/listen"

struct metric metric_visitors = {
	.name = "adit_edge_visitor_connections",
	.help = "Connections of visitors now",
	.type = METRIC_GAUGE,
};
struct metric metric_visitors_refused = {
	.name = "adit_edge_visitor_connections_refused_total",
	.help = "Connections closed because a worker had too many",
};

#define REQUESTS(class_)                                                             \
	{                                                                            \
		.name = "adit_edge_requests_total", .labels = "code=\"" class_ "\"", \
		.help = "Requests of visitors by class of answer",                   \
	}
/* By the first digit of the status; requests that got no head count as 5xx. */
struct metric metric_requests[6] = {
	[1] = REQUESTS("1xx"), [2] = REQUESTS("2xx"), [3] = REQUESTS("3xx"),
	[4] = REQUESTS("4xx"), [5] = REQUESTS("5xx"),
};

struct visitor {
	struct list node; /* in worker->visitors_open */
	struct worker *worker;
	struct h1_server *h1; /* one of the two */
	struct h2_server *h2;
	char ip[ADDRESS_TEXT_SIZE];
};

/* Eight random digits per worker thread and process, then a counter: unique without asking anybody. */
void visitor_request_id(char id[EXCHANGE_ID_SIZE])
{
	static _Thread_local uint32_t prefix, counter;

	if (counter++ == 0)
		random_bytes(&prefix, sizeof(prefix));
	snprintf(id, EXCHANGE_ID_SIZE, "%08x%08x", prefix, counter);
}

static void on_end(struct exchange *x, void *ctx)
{
	int status = x->has_head ? x->response.status : x->failure.status;

	(void)ctx;
	metric_add(&metric_requests[status >= 100 && status < 600 ? status / 100 : 5], 1);
	access_log_end(x);
}

static void on_exchange(void *ctx, struct exchange *x)
{
	struct visitor *v = ctx;

	x->client_ip = arena_copy(&x->arena, bytes_str(v->ip));
	x->protocol = v->h2 ? "h2" : "h1";
	visitor_request_id(x->id);
	x->on_end = on_end;
	access_log_begin(x);
}

static void on_closed(void *ctx, const struct err *why)
{
	struct visitor *v = ctx;
	struct worker *w = v->worker;

	if (why && why->code)
		log_debug(COMPONENT, "visitor's connection ended", LOG_STR("client", v->ip),
			  LOG_STR("error", why->text));
	list_remove(&v->node);
	mem_free(v);
	w->visitor_count--;
	metric_add(&metric_visitors, -1);
	worker_check_drained(w);
}

static struct visitor *visitor_new(struct worker *w, const struct address *peer)
{
	struct visitor *v = mem_alloc(sizeof(*v));

	v->worker = w;
	address_ip_text(peer, v->ip);
	list_append(&w->visitors_open, &v->node);
	w->visitor_count++;
	metric_add(&metric_visitors, 1);
	return v;
}

static void serve_h1(struct visitor *v, struct byte_stream *stream,
		     const struct handler_chain *chain, bool is_tls)
{
	const struct h1_server_options options = {
		.chain = chain,
		.scheme = is_tls ? BYTES_LIT("https") : BYTES_LIT("http"),
		.is_tls = is_tls,
		.ctx = v,
		.on_exchange = on_exchange,
		.on_refused = on_exchange,
		.on_closed = on_closed,
	};

	v->h1 = h1_server_new(stream, &options);
}

static void serve_h2(struct visitor *v, struct byte_stream *stream,
		     const struct handler_chain *chain)
{
	const struct h2_server_options options = {
		.chain = chain,
		.scheme = BYTES_LIT("https"),
		.is_tls = true,
		.ctx = v,
		.on_exchange = on_exchange,
		.on_closed = on_closed,
	};

	v->h2 = h2_server_new(stream, &options);
}

static void leave(struct visitor *v)
{
	if (v->h2)
		h2_server_drain(v->h2);
	else
		h1_server_leave(v->h1);
}

static void on_tls(struct worker *w, struct byte_stream *stream, const struct err *err)
{
	if (!stream) {
		log_debug(COMPONENT, "visitor without a TLS handshake", LOG_STR("error", err->text));
		return;
	}
	/* An authority that has seen its challenge: there is nothing more to say (RFC 8737 §3). */
	if (bytes_eq(tls_alpn(stream), BYTES_LIT(TLS_CHALLENGE_ALPN))) {
		byte_stream_close(stream);
		return;
	}
	if (snapshot_is_tunnel_name(w->snapshot, tls_server_name(stream))) {
		accept_connector_stream(w, stream);
		return;
	}
	struct visitor *v = visitor_new(w, stream->peer);
	if (bytes_eq(tls_alpn(stream), BYTES_LIT("h2")))
		serve_h2(v, stream, &w->visitors);
	else
		serve_h1(v, stream, &w->visitors, true);
	if (w->is_taken_over)
		leave(v);
}

static bool has_room(const struct worker *w)
{
	if (w->visitor_count < LIMIT_VISITORS_PER_WORKER)
		return true;
	metric_add(&metric_visitors_refused, 1);
	return false;
}

void visitor_accept_https(void *worker, int fd, const struct address *peer)
{
	struct worker *w = worker;

	if (has_room(w))
		arrival_start(w, fd, peer, w->https_tls, on_tls);
	else
		close(fd); /* allowed: a socket that never reached a loop */
}

void visitor_accept_http(void *worker, int fd, const struct address *peer)
{
	struct worker *w = worker;

	if (has_room(w))
		serve_h1(visitor_new(w, peer), conn_adopt(w->loop, fd, peer), &w->redirect, false);
	else
		close(fd); /* allowed: a socket that never reached a loop */
}

void visitor_leave_all(struct worker *w)
{
	LIST_FOR_EACH(node, &w->visitors_open)
		leave(LIST_ENTRY(node, struct visitor, node));
}

void visitor_drain_all(struct worker *w)
{
	LIST_FOR_EACH(node, &w->visitors_open) {
		struct visitor *v = LIST_ENTRY(node, struct visitor, node);
		if (v->h2)
			h2_server_drain(v->h2);
		else
			h1_server_drain(v->h1);
	}
}

void visitor_close_all(struct worker *w)
{
	LIST_FOR_EACH(node, &w->visitors_open) {
		struct visitor *v = LIST_ENTRY(node, struct visitor, node);
		if (v->h2)
			h2_server_close(v->h2);
		else
			h1_server_close(v->h1);
	}
}
