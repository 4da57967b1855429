/* Workers made by hand, tunnel sessions over the fake transport with a scripted connector at the far
 * end, and visits that are forwarded: what the tests of forwarding share. Included once per program. */
#pragma once

#include "unit/io/turns.h"

#include <stdatomic.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"
#include "edge/edge.h"
#include "edge/forward/forward.h"
#include "edge/tunnels/registry.h"
#include "edge/tunnels/service_report.h"
#include "edge/worker.h"
#include "fake/fake_transport.h"

/* --- The edge around the workers ------------------------------------------------------------- */

/* Net sessions, as the control thread would hear of them. */
static atomic_int sessions_told;

void edge_session_up(struct edge *e, const struct directory_record *record)
{
	(void)e;
	(void)record;
	atomic_fetch_add(&sessions_told, 1);
}

void edge_session_down(struct edge *e, const struct uuid *connection)
{
	(void)e;
	(void)connection;
	atomic_fetch_sub(&sessions_told, 1);
}

static int reports_told;

void edge_connector_services(struct edge *e, const struct uuid *connector,
			     struct service_report *report)
{
	(void)e;
	(void)connector;
	(void)report;
	reports_told++;
}

enum { WORKERS = 2 };
static struct worker workers[WORKERS];
static struct worker *const peers[WORKERS] = { &workers[0], &workers[1] };

static struct snapshot_tunnel tunnel = { .id = { { 1 } },
					 .account = "0123456789abcdef",
					 .name = "t" };
static struct snapshot_route route = { "app.test", &tunnel, { BALANCE_LEAST, false } };

static inline void worker_begin(struct worker *w, struct loop *on)
{
	*w = (struct worker){
		.index = (size_t)(w - workers),
		.loop = on,
		.location = "ATTIC",
		.peers = peers,
		.peer_count = WORKERS,
		.tunnels = map_new(),
	};
}

/* --- Connectors ------------------------------------------------------------------------------ */

/* One tunnel connection, from both its ends. */
struct line {
	struct worker *worker;
	struct session *edge, *connector; /* NULL once closed */
	struct tunnel_session *ts;        /* NULL once it has left the registry */
	struct uuid tunnel, connector_id;
	uint8_t index;
	bool is_up;
	enum reason why;
	int refusals; /* of registry_add() */
};

/* A stream as the connector sees it. */
struct call {
	struct line *line;
	struct stream *stream; /* NULL once closed */
	enum stream_kind kind;
	char method[16], path[64], authority[64], fields[3000]; /* "name: value\n" each */
	enum head_length length;
	struct buf body;
	bool stalls, has_fin;
	size_t owed;
	enum reason why;
	struct bytes reply; /* still to be written */
	bool reply_ends;
	char trailers[300];
};

enum { CALLS = 64 };
static struct call calls[CALLS];
static int call_count;
static bool new_calls_stall; /* from their first byte on */

static inline void print_fields(const struct fields *f, char *dst, size_t size)
{
	size_t len = 0;

	dst[0] = 0;
	for (size_t i = 0; i < f->count && len < size; i++)
		len += (size_t)snprintf(dst + len, size - len, BYTES_FMT ": " BYTES_FMT "\n",
					BYTES_ARG(f->list[i].name), BYTES_ARG(f->list[i].value));
}

static inline void call_go_on(struct call *c)
{
	while (c->stream && (c->reply.len || c->reply_ends)) {
		size_t taken = stream_write(c->stream, c->reply, c->reply_ends);
		bool all = taken == c->reply.len;
		c->reply = bytes_from(c->reply, taken);
		if (!all)
			return;
		c->reply_ends = false;
	}
}

static inline void call_on_data(struct stream *st, struct bytes data, bool fin)
{
	struct call *c = st->ctx;

	assert_false(c->has_fin);
	assert_int_equal(buf_append(&c->body, data), 0);
	if (c->stalls)
		c->owed += data.len;
	else
		stream_consume(st, data.len);
	c->has_fin = fin;
	happened();
}

static inline void call_on_trailers(struct stream *st, const struct fields *trailers)
{
	struct call *c = st->ctx;

	print_fields(trailers, c->trailers, sizeof(c->trailers));
	call_on_data(st, BYTES_NONE, true);
}

static inline void call_on_writable(struct stream *st)
{
	call_go_on(st->ctx);
	happened();
}

static inline void call_on_closed(struct stream *st, enum reason why)
{
	struct call *c = st->ctx;

	c->stream = NULL;
	c->why = why;
	happened();
}

static const struct stream_events call_events = {
	.on_data = call_on_data,
	.on_trailers = call_on_trailers,
	.on_writable = call_on_writable,
	.on_closed = call_on_closed,
};

static inline void line_on_stream(struct session *s, struct stream *st, enum stream_kind kind,
				  const struct head *head, bool fin)
{
	assert_true(call_count < CALLS);
	struct call *c = &calls[call_count++];

	memset(c, 0, sizeof(*c));
	c->line = s->ctx;
	c->stream = st;
	c->kind = kind;
	snprintf(c->method, sizeof(c->method), BYTES_FMT, BYTES_ARG(head->method));
	snprintf(c->path, sizeof(c->path), BYTES_FMT, BYTES_ARG(head->path));
	snprintf(c->authority, sizeof(c->authority), BYTES_FMT, BYTES_ARG(head->authority));
	print_fields(&head->fields, c->fields, sizeof(c->fields));
	c->length = head->length;
	c->has_fin = fin;
	c->stalls = new_calls_stall;
	buf_init(&c->body, 64 << 20);
	st->events = &call_events;
	st->ctx = c;
	happened();
}

static inline void line_on_registered(struct session *s, const struct registered *r)
{
	struct line *l = s->ctx;

	l->is_up = r->ok;
	happened();
}

static inline void line_on_connector_closed(struct session *s, enum reason why,
					    const struct err *err)
{
	struct line *l = s->ctx;

	(void)why;
	(void)err;
	l->connector = NULL;
	happened();
}

static const struct session_events connector_events = {
	.on_registered = line_on_registered,
	.on_stream = line_on_stream,
	.on_closed = line_on_connector_closed,
};

static inline void line_on_register(struct session *s, const struct registration *r)
{
	struct line *l = s->ctx;
	struct tunnel_session *ts = mem_alloc(sizeof(*ts));
	struct directory_record record = { .tunnel = l->tunnel };
	struct err err = { 0 };

	replica_facts_read(&record.replica, r->features, r->feature_count, &r->connector,
			   BYTES_LIT("a secret of 32 bytes, as they are"));

	list_init(&ts->node);
	ts->worker = l->worker;
	ts->session = s;
	ts->tunnel = l->tunnel;
	ts->connector = r->connector;
	ts->connection = uuid_random();
	ts->index = r->index;
	l->ts = ts;
	int ret = registry_add(ts, &record, &err);
	if (ret < 0) {
		assert_int_equal(ret, E_LIMIT);
		l->refusals++;
	}
	session_reply(s, &(struct registered){ .ok = ret == 0, .cause = bytes_str(err.text) });
}

static inline void line_on_draining(struct session *s)
{
	registry_leave(((struct line *)s->ctx)->ts);
	happened();
}

static inline void line_on_local_config(struct session *s, struct bytes json)
{
	struct service_report *report = service_report_parse(json);

	if (report)
		registry_set_services(((struct line *)s->ctx)->ts, report);
	happened();
}

static inline void line_on_edge_closed(struct session *s, enum reason why, const struct err *err)
{
	struct line *l = s->ctx;

	(void)err;
	registry_remove(l->ts, why == REASON_LOST);
	l->ts = mem_free(l->ts);
	l->edge = NULL;
	l->why = why;
	happened();
}

static const struct session_events edge_events = {
	.on_register = line_on_register,
	.on_local_config = line_on_local_config,
	.on_draining = line_on_draining,
	.on_closed = line_on_edge_closed,
};

static const struct bytes our_features[] = {
	BYTES_LIT(FEATURE_REASON),     BYTES_LIT(FEATURE_INTERIM), BYTES_LIT(FEATURE_TRAILERS),
	BYTES_LIT(FEATURE_HALF_CLOSE), BYTES_LIT(FEATURE_HEALTH),
};

/* What the next connectors of ours say about themselves: "adit_weight=3", … */
static const char *facts[3];

/* `is_ours`: a connector of ours, that announces its features. Registers later. */
static inline void line_open(struct line *l, struct worker *w, const struct uuid *of, uint8_t who,
			     uint8_t index, bool is_ours)
{
	struct bytes features[ARRAY_LEN(our_features) + ARRAY_LEN(facts)];
	size_t count = ARRAY_LEN(our_features);

	memcpy(features, our_features, sizeof(our_features));
	for (size_t i = 0; i < ARRAY_LEN(facts); i++)
		if (facts[i])
			features[count++] = bytes_str(facts[i]);
	const struct registration registration = {
		.tunnel = *of,
		.index = index,
		.connector = { { who } },
		.features = features,
		.feature_count = is_ours ? count : 0,
	};
	const struct session_start at_edge = { .side = SESSION_EDGE,
					       .events = &edge_events,
					       .ctx = l };
	const struct session_start at_connector = { .side = SESSION_CONNECTOR,
						    .events = &connector_events,
						    .ctx = l,
						    .registration = &registration };

	memset(l, 0, sizeof(*l));
	l->worker = w;
	l->tunnel = *of;
	l->index = index;
	fake_transport_pair(w->loop, &at_edge, &at_connector, &l->edge, &l->connector);
}

static inline void line_up(struct line *l, struct worker *w, uint8_t who, uint8_t index)
{
	line_open(l, w, &tunnel.id, who, index, true);
	WAIT_FOR(l->is_up);
	let_it_turn(); /* every worker has been told */
}

static inline void line_cut(struct line *l)
{
	if (l->edge)
		fake_transport_cut(l->edge);
	else if (l->connector)
		fake_transport_cut(l->connector);
	WAIT_FOR(!l->edge && !l->connector);
	let_it_turn();
}

/* --- Choosing --------------------------------------------------------------------------------- */

/* What the worker would do with a request for app.test, by the default policy. */
static inline bool choose_on(struct worker *w, const struct uuid *of, struct registry_choice *ret)
{
	const struct registry_ask ask = {
		.tunnel = of,
		.host = BYTES_LIT("app.test"),
		.host_key = registry_host_key(of, BYTES_LIT("app.test")),
		.client = BYTES_LIT("192.0.2.7"),
	};

	return registry_choose(w, &ask, ret);
}

/* The session of this worker that it would go to; NULL when it would cross, or nobody is there. */
static inline struct tunnel_session *choose_session(struct worker *w, const struct uuid *of)
{
	struct registry_choice choice;

	return choose_on(w, of, &choice) ? choice.session : NULL;
}

/* The worker it would cross to. */
static inline struct worker *choose_other(struct worker *w, const struct uuid *of)
{
	struct registry_choice choice;

	return choose_on(w, of, &choice) ? choice.worker : NULL;
}

static int calls_taken;

/* The next stream that reaches a connector. */
static inline struct call *next_call(void)
{
	WAIT_FOR(call_count > calls_taken);
	return &calls[calls_taken++];
}

static inline void answer(struct call *c, int status, bool fin)
{
	struct field fields[] = {
		{ BYTES_LIT("X-Service"), BYTES_LIT("yes"), HEAD_OTHER },
		{ BYTES_LIT("Connection"), BYTES_LIT("close"), HEAD_CONNECTION },
		{ BYTES_LIT("cf-cloudflared-response-meta"), BYTES_LIT("{}"),
		  HEAD_CF_RESPONSE_META },
	};
	const struct head head = { .status = status,
				   .length = fin ? HEAD_LENGTH_NONE : HEAD_LENGTH_UNKNOWN,
				   .fields = { fields, ARRAY_LEN(fields), ARRAY_LEN(fields) } };

	stream_answer(c->stream, &(struct answer){ .head = &head }, fin);
}

static inline void answer_whole(struct call *c, int status, const char *body)
{
	answer(c, status, false);
	c->reply = bytes_str(body);
	c->reply_ends = true;
	call_go_on(c);
}

/* --- Visits ---------------------------------------------------------------------------------- */

struct visit {
	struct exchange *x; /* until released */
	bool stalls;
	bool has_head, has_failed, has_end;
	struct buf body;
	struct failure failure;
	char title[128], detail[700], origin[128], rule[64], errno_name[32];
	char fields[3000], trailers[300], interims[300];
	struct bytes upload;
	bool upload_ends;
};

static inline void visit_take(struct visit *v)
{
	struct body *b = &v->x->response_body;
	struct bytes run;

	while (!v->stalls && body_peek(b, &run, 1)) {
		assert_int_equal(buf_append(&v->body, run), 0);
		body_consume(b, run.len);
	}
	v->has_end = body_is_done(b);
	if (v->has_end)
		print_fields(&b->trailers, v->trailers, sizeof(v->trailers));
}

static inline void visit_go_on(struct visit *v)
{
	struct body *b = &v->x->request_body;

	v->upload = bytes_from(v->upload, body_write(b, v->upload));
	if (v->upload.len == 0 && v->upload_ends)
		body_end(b);
}

static inline void visit_on_interim(struct exchange *x, const struct head *head)
{
	struct visit *v = x->producer_ctx;
	char fields[100];
	size_t len = strlen(v->interims);

	assert_false(v->has_head);
	print_fields(&head->fields, fields, sizeof(fields));
	snprintf(v->interims + len, sizeof(v->interims) - len, "%d %s\n", head->status, fields);
	happened();
}

static inline void visit_on_head(struct exchange *x)
{
	struct visit *v = x->producer_ctx;

	assert_false(v->has_head);
	v->has_head = true;
	print_fields(&x->response.fields, v->fields, sizeof(v->fields));
	happened();
}

static inline void visit_on_data(struct exchange *x)
{
	visit_take(x->producer_ctx);
	happened();
}

static inline void visit_on_room(struct exchange *x)
{
	if (!x->answerer_is_gone)
		visit_go_on(x->producer_ctx);
	happened();
}

#define COPY_TEXT(dst, text) snprintf(dst, sizeof(dst), BYTES_FMT, BYTES_ARG(text))

static inline void visit_on_failed(struct exchange *x)
{
	struct visit *v = x->producer_ctx;

	assert_false(v->has_failed);
	v->has_failed = true;
	v->failure = x->failure;
	COPY_TEXT(v->title, x->failure.title);
	COPY_TEXT(v->detail, x->failure.detail);
	COPY_TEXT(v->origin, x->failure.origin);
	COPY_TEXT(v->rule, x->failure.rule);
	COPY_TEXT(v->errno_name, x->failure.errno_name);
	happened();
}

static const struct exchange_producer visit_producer = {
	.name = "test",
	.on_interim = visit_on_interim,
	.on_head = visit_on_head,
	.on_response_data = visit_on_data,
	.on_request_room = visit_on_room,
	.on_failed = visit_on_failed,
};

static const struct handler forwarding[] = { { "forward", forward_handle } };
static const struct handler_chain chain = { forwarding, 1, &workers[0], NULL };

static inline void visit_done(struct visit *v)
{
	if (v->x)
		exchange_release_producer(TAKE(v->x));
	buf_done(&v->body);
}

static inline struct exchange *prepare(struct visit *v, struct worker *w, const char *method,
				       enum head_length length)
{
	struct exchange *x = exchange_new(w->loop, &visit_producer, v);

	visit_done(v);
	memset(v, 0, sizeof(*v));
	buf_init(&v->body, 64 << 20);
	v->x = x;
	memcpy(x->id, "0123456789abcdef", 17);
	x->client_ip = BYTES_LIT("192.0.2.7");
	x->host = BYTES_LIT("app.test");
	x->is_tls = true;
	x->route = (void *)(uintptr_t)&route;
	x->request.method = bytes_str(method);
	x->request.scheme = BYTES_LIT("https");
	x->request.authority = BYTES_LIT("app.test");
	x->request.path = BYTES_LIT("/a?b");
	x->request.length = length;
	return x;
}

/* Visitors come to the first worker. */
static inline void begin(struct visit *v)
{
	exchange_start(v->x, &chain);
}

static inline void visit_get(struct visit *v)
{
	struct exchange *x = prepare(v, &workers[0], "GET", HEAD_LENGTH_NONE);

	body_end(&x->request_body);
	begin(v);
}

static inline void visit_post(struct visit *v, struct bytes data)
{
	prepare(v, &workers[0], "POST", HEAD_LENGTH_UNKNOWN);
	v->upload = data;
	v->upload_ends = true;
	begin(v);
	visit_go_on(v);
}

static inline void leave(struct visit *v)
{
	exchange_release_producer(TAKE(v->x));
	let_it_turn();
}

static inline void assert_got(struct visit *v, int status, const char *body)
{
	WAIT_FOR(v->has_end || v->has_failed);
	if (v->has_failed)
		fail_msg("failed: %s", v->detail);
	assert_int_equal(v->x->response.status, status);
	assert_int_equal(v->body.len, strlen(body));
	if (v->body.len)
		assert_memory_equal(v->body.ptr, body, v->body.len);
}

static inline void assert_failed(struct visit *v, enum failure_hop hop, int status)
{
	WAIT_FOR(v->has_failed || v->has_end);
	assert_true(v->has_failed);
	assert_int_equal(v->failure.hop, hop);
	assert_int_equal(v->failure.status, status);
}

static inline uint8_t *pattern(size_t size)
{
	uint8_t *data = mem_alloc(size);

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 24);
	return data;
}

/* --- Fixture --------------------------------------------------------------------------------- */

static struct visit visit, second;
static struct line lines[3];

static inline int start(void **state)
{
	log_setup(LOG_FATAL, LOG_CONSOLE);
	make_loop(state);
	memset(lines, 0, sizeof(lines));
	memset(&visit, 0, sizeof(visit));
	memset(&second, 0, sizeof(second));
	call_count = calls_taken = 0;
	new_calls_stall = false;
	memset(facts, 0, sizeof(facts));
	route.balance = (struct snapshot_balance){ 0 };
	for (int i = 0; i < WORKERS; i++)
		worker_begin(&workers[i], loop);
	return atomic_load(&sessions_told) == 0 ? 0 : -1;
}

static inline int stop(void **state)
{
	visit_done(&visit);
	visit_done(&second);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		line_cut(&lines[i]);
	for (int i = 0; i < call_count; i++)
		buf_done(&calls[i].body);
	for (int i = 0; i < WORKERS; i++) {
		assert_int_equal(map_count(workers[i].tunnels), 0); /* nobody remembers a session */
		registry_free(&workers[i]);
	}
	free_loop(state);
	assert_int_equal(atomic_load(&sessions_told), 0);
	assert_int_equal(exchange_live_count(), 0);
	return 0;
}

#define ON_LINES(test) cmocka_unit_test_setup_teardown(test, start, stop)
