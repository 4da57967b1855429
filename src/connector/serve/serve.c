#include "connector/serve/serve.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "connector/connector_config.h"
#include "connector/connector_metrics.h"
#include "connector/origin/health.h"
#include "connector/origin/origin.h"
#include "connector/origin/origin_udp.h"
#include "connector/serve/access_check.h"
#include "connector/serve/issuer_keys.h"
#include "connector/serve/access_log.h"
#include "connector/serve/serve_internal.h"

#define COMPONENT "connector"

/* The producer's side of one exchange; in its arena. */
struct serving {
	struct exchange *x;
	struct server *server;
	struct stream *stream; /* borrowed until on_closed */
	unsigned index;
	enum stream_kind kind;
	bool response_ended;
	uint64_t credited; /* request bytes whose window was given back */
};

static void on_data(struct stream *st, struct bytes data, bool fin);
static void on_trailers(struct stream *st, const struct fields *trailers);
static void on_writable(struct stream *st);
static void on_closed(struct stream *st, enum reason why);

static const struct stream_events stream_events = {
	.on_data = on_data,
	.on_trailers = on_trailers,
	.on_writable = on_writable,
	.on_closed = on_closed,
};

/* --- Response: origin -> stream -------------------------------------------------------------- */

static void pump_response(struct serving *s)
{
	struct body *body = &s->x->response_body;
	struct bytes run;

	while (!s->response_ended && body_peek(body, &run, 1)) {
		bool fin = body->has_ended && run.len == bufq_len(&body->queue) &&
			   body->trailers.count == 0;
		size_t taken = stream_write(s->stream, run, fin);
		body_consume(body, taken);
		metric_add(&connector_metrics.response_bytes, (int64_t)taken);
		if (taken < run.len)
			return;
		s->response_ended = fin;
	}
	if (!s->response_ended && body_is_done(body)) {
		s->response_ended = true;
		if (body->trailers.count)
			stream_finish(s->stream, &body->trailers);
		else
			(void)stream_write(s->stream, BYTES_NONE, true);
	}
}

static void on_interim(struct exchange *x, const struct head *head)
{
	struct serving *s = x->producer_ctx;

	stream_interim(s->stream, head);
}

static void on_head(struct exchange *x)
{
	struct serving *s = x->producer_ctx;
	const struct answer answer = { .head = &x->response };
	bool fin = body_is_done(&x->response_body) && x->response_body.trailers.count == 0;

	stream_answer(s->stream, &answer, fin);
	s->response_ended = fin;
	connector_metrics_response(x->response.status);
	histogram_observe(&connector_metrics.response_head, x->head_at - x->started_at);
}

static void on_response_data(struct exchange *x)
{
	pump_response(x->producer_ctx);
}

static void on_writable(struct stream *st)
{
	struct serving *s = st->ctx;

	if (s->x->has_head)
		pump_response(s);
}

/* --- Request: stream -> origin --------------------------------------------------------------- */

static void on_data(struct stream *st, struct bytes data, bool fin)
{
	struct serving *s = st->ctx;
	struct body *body = &s->x->request_body;

	if (s->x->answerer_is_gone) {
		stream_consume(st, data.len); /* nobody wants the rest */
		return;
	}
	if (data.len) {
		metric_add(&connector_metrics.request_bytes, (int64_t)data.len);
		body_write_all(body, data);
		body->wants_room = true; /* every byte taken is window to give back */
	}
	if (fin)
		body_end(body);
}

static void on_trailers(struct stream *st, const struct fields *trailers)
{
	struct serving *s = st->ctx;
	struct body *body = &s->x->request_body;

	/* Too many are none: trailers are optional by definition. */
	if (!body->has_ended)
		(void)fields_copy(&body->trailers, trailers, &s->x->arena);
	on_data(st, BYTES_NONE, true);
}

static void on_request_room(struct exchange *x)
{
	struct serving *s = x->producer_ctx;
	struct body *body = &x->request_body;
	/* When the answerer has gone, what is queued will never be read. */
	uint64_t taken = body->total - (x->answerer_is_gone ? 0 : bufq_len(&body->queue));

	if (taken > s->credited) {
		stream_consume(s->stream, (size_t)(taken - s->credited));
		s->credited = taken;
	}
	body->wants_room = !body->has_ended;
}

/* --- Failures -------------------------------------------------------------------------------- */

static void set_text(json_t *object, const char *key, struct bytes text)
{
	if (text.len)
		json_object_set_new(object, key, json_stringn((const char *)text.ptr, text.len));
}

static const char *hop_name(enum failure_hop hop)
{
	return hop == FAILURE_ORIGIN ? "origin" : "connector";
}

static char *failure_json(const struct failure *f)
{
	json_t *object = json_object();

	json_object_set_new(object, "hop", json_string(hop_name(f->hop)));
	json_object_set_new(object, "status", json_integer(f->status));
	set_text(object, "title", f->title);
	set_text(object, "detail", f->detail);
	set_text(object, "origin", f->origin);
	set_text(object, "rule", f->rule);
	set_text(object, "errno", f->errno_name);
	/* The edge may ask another replica. */
	if (!f->was_sent)
		json_object_set_new(object, "sent", json_false());
	char *text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return text;
}

void serve_count_failure(const struct exchange *x)
{
	const struct failure *f = &x->failure;
	const struct ingress_rule *rule = x->route;

	metric_add(&connector_metrics.request_errors, 1);
	connector_metrics_failure(hop_name(f->hop), f->errno_name);
	if (rule)
		metric_add(connector_metrics_rule_errors(rule->label), 1);
}

void serve_log_failure(const struct exchange *x, unsigned index)
{
	const struct failure *f = &x->failure;

	log_error(COMPONENT,
		  f->status < 500
			  ? "The request was refused"
			  : "Unable to reach the origin service. The service may be down or it "
			    "may not be responding to traffic from adit",
		  LOG_BYTES("error", f->detail), LOG_STR("cfRay", x->id),
		  LOG_INT("connIndex", index), LOG_BYTES("ingressRule", f->rule),
		  LOG_BYTES("originService", f->origin), LOG_BYTES("errno", f->errno_name),
		  LOG_BYTES("host", x->host), LOG_INT("status", f->status));
}

static void on_failed(struct exchange *x)
{
	struct serving *s = x->producer_ctx;
	const struct failure *f = &x->failure;

	serve_log_failure(x, s->index);
	serve_count_failure(x);
	if (x->has_head) {
		s->response_ended = true;
		stream_reset(s->stream, REASON_FAILED); /* on_closed releases the exchange */
		return;
	}
	char *json = failure_json(f);
	const struct head head = { .status = 502 };
	const struct answer answer = {
		.head = &head,
		.from_connector = true,
		.flow_rate_limited = f->is_rate_limited,
		.failure_json = bytes_str(json),
	};
	stream_answer(s->stream, &answer, true);
	s->response_ended = true;
	free(json); /* allowed: jansson's own allocation */
}

static const struct exchange_producer producer = {
	.name = "tunnel",
	.on_interim = on_interim,
	.on_head = on_head,
	.on_response_data = on_response_data,
	.on_request_room = on_request_room,
	.on_failed = on_failed,
};

/* A configuration push is no request. */
static void count_start(enum stream_kind kind)
{
	if (kind == STREAM_CONFIG)
		return;
	metric_add(&connector_metrics.total_requests, 1);
	metric_add(&connector_metrics.concurrent_requests, 1);
	if (kind == STREAM_TCP) {
		metric_add(&connector_metrics.tcp_total_sessions, 1);
		metric_add(&connector_metrics.tcp_active_sessions, 1);
	}
}

static void count_end(enum stream_kind kind)
{
	if (kind != STREAM_CONFIG)
		metric_add(&connector_metrics.concurrent_requests, -1);
	if (kind == STREAM_TCP)
		metric_add(&connector_metrics.tcp_active_sessions, -1);
}

static void on_closed(struct stream *st, enum reason why)
{
	struct serving *s = st->ctx;

	(void)why;
	count_end(s->kind);
	exchange_release_producer(s->x);
}

/* --- Handlers -------------------------------------------------------------------------------- */

/* The path without query, percent-decoded where that is possible: what rules are matched against. */
static struct bytes decoded_path(struct exchange *x)
{
	struct bytes path = bytes_first(x->request.path, bytes_index(x->request.path, '?'));
	uint8_t *to;
	size_t n = 0;

	if (bytes_index(path, '%') == path.len)
		return path;
	to = arena_alloc_bytes(&x->arena, path.len);
	for (size_t i = 0; i < path.len; i++) {
		uint8_t byte;
		if (path.ptr[i] == '%' && i + 2 < path.len &&
		    hex_decode(bytes_of(path.ptr + i + 1, 2), &byte)) {
			to[n++] = byte;
			i += 2;
		} else {
			to[n++] = path.ptr[i];
		}
	}
	return bytes_of(to, n);
}

static void drop_origins(void *origins)
{
	origin_set_unref(origins);
}

enum handled serve_ingress(struct exchange *x, struct server *s)
{
	size_t index;

	x->snapshot = origin_set_ref(s->origins);
	x->drop_snapshot = drop_origins;
	const struct ingress_rule *rule =
		ingress_match(origin_set_ingress(s->origins), x->host, decoded_path(x), &index);
	if (!rule)
		return exchange_failed(
			x, FAILURE_CONNECTOR, 502, 0, "Path too complex",
			"The path needs more work to match rule %zu than the limit allows.", index);
	x->route = (void *)(uintptr_t)rule;
	metric_add(s->rule_requests[index], 1);
	return HANDLED_NEXT;
}

static enum handled ingress_handle(struct exchange *x, void *ctx)
{
	x->host = head_host(x->request.authority, &x->arena);
	return serve_ingress(x, ctx);
}

static const struct handler handlers[] = {
	{ "ingress", ingress_handle },     { "tls", serve_tls_handle },
	{ "access", access_check_handle }, { "headers", serve_headers },
	{ "origin", origin_handle },
};

/* An address instead of a name: no rule has a say, `warp-routing` does. */
static enum handled network_handle(struct exchange *x, void *ctx)
{
	struct server *s = ctx;

	x->snapshot = origin_set_ref(s->origins);
	x->drop_snapshot = drop_origins;
	x->host = x->request.authority;
	return origin_private_handle(x, &s->private_network);
}

static const struct handler private_handlers[] = {
	{ "network", network_handle },
};

/* --- Streams --------------------------------------------------------------------------------- */

/* An edge that cannot hear a 100 has met the expectation itself. */
static void read_expectation(struct exchange *x, struct stream *st)
{
	const struct field *expect = fields_find(&x->request.fields, HEAD_EXPECT);

	if (!expect)
		return;
	x->expects_continue = x->relays_continue =
		bytes_eq_nocase(expect->value, BYTES_LIT("100-continue")) &&
		session_has_feature(st->session, FEATURE_INTERIM);
	fields_remove(&x->request.fields, HEAD_EXPECT);
}

/* Only an edge of ours keeps visitors from sending that field. */
static void read_port(struct exchange *x, struct stream *st)
{
	const struct bytes name = BYTES_LIT(FEATURE_PORTS_FIELD);
	const struct field *f = fields_find_text(&x->request.fields, name);

	if (!f)
		return;
	if (x->request.is_upgrade && session_has_feature(st->session, FEATURE_PORTS)) {
		x->is_port = true;
		x->is_tls_stream = bytes_eq(f->value, BYTES_LIT("tls"));
		x->has_proxy_header = bytes_eq(f->value, BYTES_LIT("tcp, proxy-v2"));
	}
	fields_remove_text(&x->request.fields, name);
}

/* Both programs log the edge's request id: the part of CF-Ray before the location. */
static void read_request_id(struct exchange *x)
{
	const struct field *ray = fields_find(&x->request.fields, HEAD_CF_RAY);

	if (!ray)
		return;
	struct bytes id = bytes_first(bytes_first(ray->value, bytes_index(ray->value, '-')),
				      sizeof(x->id) - 1);
	memcpy(x->id, id.ptr, id.len);
}

void server_on_stream(struct server *s, struct stream *st, enum stream_kind kind,
		      const struct head *head, bool fin, unsigned index)
{
	struct exchange *x = exchange_new(s->loop, &producer, NULL);
	struct serving *serving = arena_alloc(&x->arena, sizeof(*serving));

	x->producer_ctx = serving;
	serving->x = x;
	serving->server = s;
	serving->stream = st;
	serving->index = index;
	x->conn_index = (int)index;
	serving->kind = kind;
	count_start(kind);
	st->events = &stream_events;
	st->ctx = serving;
	/* The stream's window bounds what may wait here. */
	x->request_body.queue.capacity = LIMIT_H2_STREAM_WINDOW;
	x->chain = &s->chain;
	if (head_copy(&x->request, head, &x->arena) < 0) {
		exchange_failed(x, FAILURE_CONNECTOR, 502, 0, "Too many header fields",
				"The request has more than %d header fields.", LIMIT_HEAD_FIELDS);
		exchange_fail(x);
		return;
	}
	read_request_id(x);
	access_log_begin(x);
	read_expectation(x, st);
	if (fin) {
		x->request.length = HEAD_LENGTH_NONE;
		x->request.content_length = 0; /* whatever was announced, none follows */
		body_end(&x->request_body);
	}
	if (kind == STREAM_HTTP || kind == STREAM_WEBSOCKET) {
		x->request.is_upgrade = kind == STREAM_WEBSOCKET;
		read_port(x, st);
		exchange_start(x, &s->chain);
		return;
	}
	if (kind == STREAM_TCP) {
		x->is_tcp = x->request.is_upgrade = true;
		/* For the log: the edge's GET of nothing means nothing. */
		x->request.method = BYTES_LIT("TCP");
		x->request.path = x->asked_path = BYTES_NONE;
		exchange_start(x, &s->private_chain);
		return;
	}
	exchange_failed(x, FAILURE_CONNECTOR, 502, 0, "Stream not supported",
			"This connector takes its configuration from its own file only.");
	exchange_fail(x);
}

void server_on_udp(struct server *s, struct udp_flow *f, const struct udp_target *target,
		   unsigned index)
{
	origin_udp_open(s->udp, s->origins, f, target, index);
}

void server_on_udp_dropped(struct server *s, enum udp_drop why, unsigned index)
{
	/* The one that the stock connector counts, too. */
	const char *name = why == UDP_DROP_UNKNOWN_FLOW ? "write_flow_unknown" : udp_drop_name(why);

	(void)s;
	metric_add(connector_metrics_udp_dropped(index, name), 1);
}

static bool on_health_changed(void *ctx)
{
	const struct server *s = ctx;

	return !s->on_health || s->on_health(s->on_health_ctx);
}

static const struct health_events health_events = { .on_changed = on_health_changed };

/* The counters of the rules that serve new exchanges, and the checks of their services. */
static void take_origins(struct server *s, struct origin_set *origins)
{
	const struct ingress *in = origin_set_ingress(origins);
	size_t count = ingress_count(in);

	mem_free(s->rule_requests);
	s->rule_requests = mem_alloc_array(count, sizeof(*s->rule_requests));
	for (size_t i = 0; i < count; i++)
		s->rule_requests[i] = connector_metrics_rule_requests(ingress_rule(in, i)->label);
	s->origins = origin_set_ref(origins);
	struct health *before = s->health;
	s->health = health_new(s->loop, origins, before, &health_events, s);
	health_free(before);
	struct tls_sites *sites = s->tls_sites;
	s->tls_sites = tls_sites_new(s->loop, in, sites);
	tls_sites_free(sites);
}

struct server *server_new(struct loop *loop, const struct connector_config *config,
			  const struct uuid *connector, struct origin_set *origins)
{
	struct server *s = mem_alloc(sizeof(*s));

	s->loop = loop;
	s->config = config;
	uuid_text(connector, s->connector_id);
	list_init(&s->tls_visitors);
	take_origins(s, origins);
	s->issuer_keys = issuer_keys_new(loop);
	s->chain = (struct handler_chain){ .handlers = handlers,
					   .count = ARRAY_LEN(handlers),
					   .ctx = s };
	s->tls_chain = serve_tls_chain(s);
	s->private_chain = (struct handler_chain){ .handlers = private_handlers,
						   .count = ARRAY_LEN(private_handlers),
						   .ctx = s };
	s->private_network.has_max = config->has_max_active_flows;
	s->private_network.max = config->max_active_flows;
	s->udp = origin_udp_new(loop, &s->private_network);
	return s;
}

void server_set_own_api(struct server *s, const struct address *at)
{
	s->private_network.own_api = *at;
}

struct server *server_free(struct server *s)
{
	if (!s)
		return NULL;
	serve_tls_close_all(s);
	tls_sites_free(s->tls_sites);
	origin_udp_free(s->udp);
	issuer_keys_free(s->issuer_keys);
	health_free(s->health);
	origin_set_unref(s->origins);
	mem_free(s->rule_requests);
	return mem_free(s);
}

void server_set_origins(struct server *s, struct origin_set *origins)
{
	struct origin_set *old = s->origins;

	take_origins(s, origins);
	origin_set_unref(old);
}

struct origin_set *server_origins(const struct server *s)
{
	return s->origins;
}

struct health *server_health(const struct server *s)
{
	return s->health;
}

void server_on_health(struct server *s, bool (*on_changed)(void *ctx), void *ctx)
{
	s->on_health = on_changed;
	s->on_health_ctx = ctx;
}

void server_drain(struct server *s)
{
	s->is_draining = true;
	serve_tls_drain(s);
}
