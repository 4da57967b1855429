#include "edge/listen/visitor.h"

#include <stdio.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "edge/access_log.h"
#include "edge/listen/allowance.h"
#include "edge/listen/announced.h"
#include "edge/listen/arrival.h"
#include "edge/listen/peek.h"
#include "edge/ports/port_tcp.h"
#include "edge/tunnels/accept.h"
#include "edge/worker.h"
#include "http/h1_server.h"
#include "http/h2_server.h"
#include "http/h3_server.h"
#include "http/h3_session.h"
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
	.help = "Connections of visitors refused before anything was spent on them",
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

#define BY_PROTOCOL(protocol_)                                  \
	{                                                       \
		.name = "adit_edge_requests_by_protocol_total", \
		.labels = "protocol=\"" protocol_ "\"",         \
		.help = "Requests of visitors by protocol",     \
	}
/* By the version of HTTP. */
struct metric metric_requests_by_protocol[4] = {
	[1] = BY_PROTOCOL("h1"),
	[2] = BY_PROTOCOL("h2"),
	[3] = BY_PROTOCOL("h3"),
};

struct visitor {
	struct list node; /* in worker->visitors_open */
	struct worker *worker;
	struct http_server *server;
	struct allowance *allowance; /* owned */
	unsigned refusals;           /* of its requests, one after the other */
	/* Of its TLS stream, and borrowed from it; NULL: none. */
	const struct tls_policy *policy;
	const struct tls_peer *peer;
	char ip[ADDRESS_TEXT_SIZE];
};

/* Of an exchange, in its arena: whether it may go on. */
struct permit {
	struct allowance *allowance; /* counted when it is given */
	enum allowance_answer answer;
	unsigned wait_sec;
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

	const struct permit *permit = x->listener;

	(void)ctx;
	if (permit->answer == ALLOWANCE_GIVEN)
		allowance_end(permit->allowance);
	metric_add(&metric_requests[status >= 100 && status < 600 ? status / 100 : 5], 1);
	access_log_end(x);
}

/* Who goes on asking costs an answer each time: then the connection ends, and its next one is refused before
 * anything was spent on it. */
static void on_refusal(struct visitor *v)
{
	if (++v->refusals != LIMIT_VISITOR_REFUSALS)
		return;
	http_server_drain(v->server);
}

static void ask_permit(struct visitor *v, struct exchange *x)
{
	struct permit *permit = arena_alloc(&x->arena, sizeof(*permit));

	permit->allowance = v->allowance;
	permit->answer = allowance_begin(v->allowance, &permit->wait_sec);
	x->listener = permit;
	if (permit->answer == ALLOWANCE_GIVEN)
		v->refusals = 0;
	else
		on_refusal(v);
}

enum handled visitor_limit_handle(struct exchange *x, void *worker)
{
	const struct permit *permit = x->listener;

	(void)worker;
	if (!permit || permit->answer == ALLOWANCE_GIVEN)
		return HANDLED_NEXT;
	if (permit->answer == ALLOWANCE_BUFFERS)
		(void)exchange_failed(x, FAILURE_EDGE, 503, 0, "Service unavailable", "%s",
				      allowance_reason(permit->answer));
	else
		(void)exchange_failed(x, FAILURE_VISITOR, 429, 0, "Too many requests", "%s",
				      allowance_reason(permit->answer));
	x->failure.retry_after_sec = permit->wait_sec;
	return HANDLED_FAILED;
}

static void on_exchange(void *ctx, struct exchange *x)
{
	struct visitor *v = ctx;

	x->client_ip = arena_copy(&x->arena, bytes_str(v->ip));
	x->protocol = http_server_protocol(v->server);
	unsigned version = (unsigned)(x->protocol[1] - '0');
	if (version < 3)
		x->alt_svc = v->worker->alt_svc;
	metric_add(&metric_requests_by_protocol[version], 1);
	x->tls_policy = v->policy;
	x->tls_peer = v->peer;
	visitor_request_id(x->id);
	x->on_end = on_end;
	ask_permit(v, x);
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
	allowance_leave(v->allowance);
	mem_free(v);
	w->visitor_count--;
	metric_add(&metric_visitors, -1);
	worker_check_drained(w);
}

static struct visitor *visitor_new(struct worker *w, const struct address *peer,
				   struct allowance *allowance)
{
	struct visitor *v = mem_alloc(sizeof(*v));

	v->worker = w;
	v->allowance = allowance;
	address_ip_text(peer, v->ip);
	list_append(&w->visitors_open, &v->node);
	w->visitor_count++;
	metric_add(&metric_visitors, 1);
	return v;
}

static void on_moved(void *ctx, const struct address *peer)
{
	struct visitor *v = ctx;

	/* Its limits stay those of the address it came from. */
	address_ip_text(peer, v->ip);
}

static struct http_server_options options_of(struct visitor *v, const struct handler_chain *chain,
					     bool is_tls)
{
	const struct worker_limits *limits = &v->worker->limits;

	return (struct http_server_options){
		.chain = chain,
		.scheme = is_tls ? BYTES_LIT("https") : BYTES_LIT("http"),
		.is_tls = is_tls,
		.ctx = v,
		.on_exchange = on_exchange,
		.on_refused = on_exchange,
		.on_moved = on_moved,
		.on_closed = on_closed,
		.head_ms = limits->head_ms,
		.idle_ms = limits->keepalive_ms,
		.body_ms = limits->body_ms,
		.body_rate = limits->body_rate,
		.pace_ms = limits->pace_ms,
	};
}

static void on_tls(struct worker *w, struct byte_stream *stream, struct allowance *allowance,
		   const struct err *err)
{
	if (!stream) {
		log_debug(COMPONENT, "visitor without a TLS handshake", LOG_STR("error", err->text));
		return;
	}
	/* An authority that has seen its challenge: there is nothing more to say (RFC 8737 §3). */
	if (bytes_eq(tls_alpn(stream), BYTES_LIT(TLS_CHALLENGE_ALPN))) {
		byte_stream_close(stream);
		allowance_leave(allowance);
		return;
	}
	if (snapshot_is_tunnel_name(w->snapshot, tls_server_name(stream))) {
		allowance_leave(allowance);
		accept_connector_stream(w, stream);
		return;
	}
	struct visitor *v = visitor_new(w, stream->peer, allowance);
	v->policy = tls_policy(stream);
	v->peer = tls_peer(stream);
	const struct http_server_options options = options_of(v, &w->visitors, true);
	v->server = bytes_eq(tls_alpn(stream), BYTES_LIT("h2")) ? h2_server_new(stream, &options)
								: h1_server_new(stream, &options);
	if (w->is_taken_over)
		http_server_leave(v->server);
}

/* As early and as cheap as can be: before TLS, and without a word. */
static bool may_enter(const struct worker *w, const struct address *peer, struct allowance **ret)
{
	if (w->visitor_count < LIMIT_VISITORS_PER_WORKER &&
	    allowance_enter(w->limits.allowances, peer, ret) == ALLOWANCE_GIVEN)
		return true;
	metric_add(&metric_visitors_refused, 1);
	return false;
}

static void serve_plain(struct worker *w, struct byte_stream *stream, struct allowance *allowance)
{
	struct visitor *v = visitor_new(w, stream->peer, allowance);

	const struct http_server_options options = options_of(v, &w->redirect, false);
	v->server = h1_server_new(stream, &options);
	if (w->is_taken_over)
		http_server_leave(v->server);
}

static void on_peeked(struct worker *w, struct byte_stream *stream, struct allowance *allowance,
		      struct bytes name)
{
	const struct snapshot_route *route = snapshot_passthrough(w->snapshot, name);

	if (route)
		port_tcp_pass(w, stream, allowance, route, name);
	else
		arrival_start_stream(w, stream, w->https_tls, allowance, on_tls);
}

static void start_tls(struct worker *w, struct byte_stream *stream, struct allowance *allowance)
{
	if (snapshot_has_passthrough(w->snapshot))
		peek_start(w, stream, allowance, on_peeked);
	else
		arrival_start_stream(w, stream, w->https_tls, allowance, on_tls);
}

static void on_announced_https(struct worker *w, struct byte_stream *stream)
{
	struct allowance *allowance;

	if (may_enter(w, stream->peer, &allowance))
		start_tls(w, stream, allowance);
	else
		byte_stream_close(stream);
}

static void on_announced_http(struct worker *w, struct byte_stream *stream)
{
	struct allowance *allowance;

	if (may_enter(w, stream->peer, &allowance))
		serve_plain(w, stream, allowance);
	else
		byte_stream_close(stream);
}

void visitor_accept_https(void *worker, int fd, const struct address *peer)
{
	struct worker *w = worker;
	struct allowance *allowance;

	if (announced_is_due(w, peer))
		announced_start(w, fd, peer, on_announced_https);
	else if (may_enter(w, peer, &allowance))
		start_tls(w, conn_adopt(w->loop, fd, peer), allowance);
	else
		close(fd); /* allowed: a socket that never reached a loop */
}

void visitor_accept_http(void *worker, int fd, const struct address *peer)
{
	struct worker *w = worker;
	struct allowance *allowance;

	if (announced_is_due(w, peer))
		announced_start(w, fd, peer, on_announced_http);
	else if (may_enter(w, peer, &allowance))
		serve_plain(w, conn_adopt(w->loop, fd, peer), allowance);
	else
		close(fd); /* allowed: a socket that never reached a loop */
}

void visitor_accept_h3(struct worker *w, struct quic_conn *c)
{
	struct allowance *allowance;

	if (!may_enter(w, quic_conn_peer(c), &allowance)) {
		quic_conn_close(c, H3_EXCESSIVE_LOAD, "too many connections");
		return;
	}
	struct visitor *v = visitor_new(w, quic_conn_peer(c), allowance);
	v->policy = quic_conn_policy(c);
	v->peer = quic_conn_certificate(c);
	const struct http_server_options options = options_of(v, &w->visitors, true);
	v->server = h3_server_new(c, &options);
	if (w->is_taken_over || w->is_draining)
		http_server_leave(v->server);
}

void visitor_leave_all(struct worker *w)
{
	LIST_FOR_EACH(node, &w->visitors_open)
		http_server_leave(LIST_ENTRY(node, struct visitor, node)->server);
}

void visitor_drain_all(struct worker *w)
{
	LIST_FOR_EACH(node, &w->visitors_open)
		http_server_drain(LIST_ENTRY(node, struct visitor, node)->server);
}

void visitor_close_all(struct worker *w)
{
	LIST_FOR_EACH(node, &w->visitors_open)
		http_server_close(LIST_ENTRY(node, struct visitor, node)->server);
}
