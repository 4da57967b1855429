/* Connections of an HTTP/2 service: dialled when requests wait, shared by as many as the service allows,
 * watched while they are in use, kept for a while when they are not. */
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "connector/origin/origin_h2.h"

#define CONN_MAGIC 0x68326f63

/* How long a service that has chosen HTTP/1.1 is not asked again: choosing costs requests nothing but
 * the wait for one connection, so this may be short. */
#define HTTP1_MEMORY_USEC (300 * USEC_PER_SEC)

struct origin_h2 {
	struct origin *origin; /* borrowed, owns this */
	struct map *pools;     /* struct h2_pool, owned, by key */
	size_t idle_count;
	/* The service speaks HTTP/1.1, as far as we know: always, or for WebSockets. */
	usec http1_until, http1_websockets_until;
};

struct h2_pool {
	struct origin_h2 *owner;     /* borrowed */
	struct list open;            /* struct h2_conn that may take one more stream */
	struct list others;          /* that may not: being dialled, full, or on their way out */
	struct list waiting;         /* struct h2_request, in the order they came */
	size_t waiting_count;        /* each is one exchange, which is bounded elsewhere */
	size_t coming;               /* connections that are not up yet */
	uint32_t streams_each;       /* that the service allowed last; 0: not known */
	struct origin_target target; /* copied into the arena */
	struct bytes key;            /* likewise */
	struct arena arena;
};

enum conn_state {
	CONN_DIALLING, /* there is no stream yet */
	CONN_GREETING, /* the service's SETTINGS have not come: perhaps it speaks something else */
	CONN_UP,
	CONN_OVER, /* takes no more streams; those it has go on */
};

struct h2_conn {
	uint32_t magic;
	enum conn_state state;
	struct h2_pool *pool; /* borrowed; NULL once the rule has gone */
	struct list node;     /* in pool->open or pool->others */
	struct origin_dial *dial;
	struct h2_session *session; /* owned until its on_closed */
	struct timer timer;         /* greeting, idle, or watching */
	bool is_idle;               /* counted in idle_count */
	bool is_proven;
	unsigned pings; /* since the service's last word on a stream */
};

static void serve_waiting(struct h2_pool *p);

/* --- Pools ----------------------------------------------------------------------------------- */

struct origin_h2 *origin_h2_new(struct origin *o)
{
	struct origin_h2 *h2 = mem_alloc(sizeof(*h2));

	h2->origin = o;
	h2->pools = map_new();
	return h2;
}

bool h2_pool_speaks_http1(const struct origin_h2 *h2, const struct exchange *x)
{
	usec now = loop_now(h2->origin->loop);

	return now < h2->http1_until || (x->request.is_upgrade && now < h2->http1_websockets_until);
}

void h2_pool_takes_no_websockets(struct origin_h2 *h2)
{
	h2->http1_websockets_until = loop_now(h2->origin->loop) + HTTP1_MEMORY_USEC;
}

void origin_h2_forget(struct origin *o)
{
	if (o->h2)
		o->h2->http1_until = o->h2->http1_websockets_until = 0;
}

static const struct ingress_rule *rule_of(const struct h2_pool *p)
{
	return p->owner->origin->rule;
}

static struct bytes copy_text(struct arena *a, struct bytes text)
{
	return text.len ? arena_copy(a, text) : BYTES_NONE;
}

/* The TLS name and the visitor's address, where connections differ in them. */
static struct h2_pool *find_pool(struct origin_h2 *h2, struct exchange *x)
{
	struct origin *o = h2->origin;
	struct origin_target to = origin_target_of(x);
	char *name = origin_name_varies(o) ? origin_server_name(o, to.authority) : NULL;
	struct bytes address =
		o->rule->origin.proxy_protocol == INGRESS_PROXY_NONE ? BYTES_NONE : to.client_ip;
	struct bytes key =
		arena_printf(&x->arena, "%s\n" BYTES_FMT, name ? name : "", BYTES_ARG(address));

	mem_free(name);
	struct h2_pool *p = map_find(h2->pools, key);
	if (p)
		return p;
	p = mem_alloc(sizeof(*p));
	p->owner = h2;
	list_init(&p->open);
	list_init(&p->others);
	list_init(&p->waiting);
	arena_init(&p->arena);
	p->key = arena_copy(&p->arena, key);
	p->target = to;
	p->target.host = copy_text(&p->arena, to.host);
	p->target.authority = copy_text(&p->arena, to.authority);
	p->target.client_ip = copy_text(&p->arena, to.client_ip);
	map_put(h2->pools, p->key, p);
	return p;
}

static void pool_free(struct h2_pool *p)
{
	arena_done(&p->arena);
	mem_free(p);
}

/* A pool without connections knows nothing worth keeping. The last thing done with it. */
static void drop_if_unused(struct h2_pool *p)
{
	if (!list_is_empty(&p->open) || !list_is_empty(&p->others) || p->waiting_count)
		return;
	(void)map_take(p->owner->pools, p->key);
	pool_free(p);
}

static void stop_waiting(struct h2_request *r)
{
	list_remove(&r->node);
	r->pool->waiting_count--;
	r->pool = NULL;
}

/* All of them, for the same reason. */
static void fail_waiting(struct h2_pool *p, const struct err *err, const char *title)
{
	while (!list_is_empty(&p->waiting)) {
		struct h2_request *r = LIST_ENTRY(p->waiting.next, struct h2_request, node);
		stop_waiting(r);
		h2_request_fail(r, err, title, false);
	}
}

/* --- Connections ----------------------------------------------------------------------------- */

static void conn_free(struct h2_conn *c)
{
	CHECK(c, CONN_MAGIC);
	timer_stop(&c->timer);
	list_remove(&c->node);
	origin_dial_cancel(c->dial);
	c->magic = 0;
	mem_free(c);
}

static void stop_being_idle(struct h2_conn *c)
{
	if (!c->is_idle)
		return;
	c->is_idle = false;
	timer_stop(&c->timer);
	if (c->pool)
		c->pool->owner->idle_count--;
}

static void move_to(struct h2_conn *c, struct list *list)
{
	list_remove(&c->node);
	list_prepend(list, &c->node);
}

/* Takes no more streams. */
static void retire(struct h2_conn *c)
{
	if (c->state != CONN_UP)
		return;
	c->state = CONN_OVER;
	stop_being_idle(c);
	if (c->pool)
		move_to(c, &c->pool->others);
}

static void close_conn(struct h2_conn *c)
{
	retire(c);
	h2_session_close(c->session, H2_NO_ERROR,
			 "not needed any more"); /* on_session_closed() follows */
}

/* Without a stream: kept for the next request, or closed. */
static void rest(struct h2_conn *c)
{
	struct h2_pool *p = c->pool;

	if (h2_session_failure(c->session))
		return; /* it is ending by itself */
	if (!p || c->state != CONN_UP ||
	    p->owner->idle_count >= rule_of(p)->origin.keepalive_connections) {
		close_conn(c);
		return;
	}
	c->is_idle = true;
	p->owner->idle_count++;
	timer_set(&c->timer, rule_of(p)->origin.keepalive_timeout / USEC_PER_MSEC);
}

/* A dead peer says nothing, and neither does one that thinks. gRPC servers end a connection that pings
 * more often than every five minutes while they have nothing to say ("too_many_pings"), so the first
 * ping comes soon and the next ones late. */
static void watch(struct h2_conn *c)
{
	int64_t silent_ms =
		(loop_now(c->timer.loop) - h2_session_last_heard(c->session)) / USEC_PER_MSEC;
	int64_t limit_ms = c->pings ? LIMIT_ORIGIN_PING_AGAIN_MS : LIMIT_ORIGIN_PING_MS;

	if (silent_ms >= limit_ms) {
		c->pings++;
		h2_session_ping(c->session, LIMIT_ORIGIN_PONG_MS);
		limit_ms = LIMIT_ORIGIN_PING_AGAIN_MS;
		silent_ms = 0;
	}
	timer_set(&c->timer, limit_ms - silent_ms);
}

void h2_conn_heard(struct h2_conn *c)
{
	c->is_proven = true;
	if (c->pings) {
		c->pings = 0;
		timer_set(&c->timer, LIMIT_ORIGIN_PING_MS);
	}
}

bool h2_conn_is_proven(const struct h2_conn *c)
{
	return c->is_proven;
}

struct h2_session *h2_conn_session(struct h2_conn *c)
{
	CHECK(c, CONN_MAGIC);
	return c->session;
}

/* It never came up: nobody gets served by it. */
static void give_up(struct h2_conn *c, const struct err *err, const char *title)
{
	struct h2_pool *p = c->pool;

	c->state = CONN_OVER;
	if (!p)
		return;
	p->coming--;
	fail_waiting(p, err, title);
}

static void on_timer(struct timer *t)
{
	struct h2_conn *c = CONTAINER_OF(t, struct h2_conn, timer);
	struct err err;

	CHECK(c, CONN_MAGIC);
	if (c->state == CONN_GREETING) {
		err_set(&err, E_TIMEOUT, "it has sent no HTTP/2 SETTINGS");
		give_up(c, &err, "Service timed out");
		h2_session_close(c->session, H2_NO_ERROR, "no SETTINGS in time");
	} else if (c->is_idle) {
		close_conn(c);
	} else if (h2_session_stream_count(c->session)) {
		watch(c);
	}
}

/* --- Events of a session --------------------------------------------------------------------- */

static void on_ready(struct h2_session *s)
{
	struct h2_conn *c = h2_session_ctx(s);
	struct h2_pool *p = c->pool;
	struct err err;

	CHECK(c, CONN_MAGIC);
	if (c->state != CONN_GREETING)
		return;
	timer_stop(&c->timer);
	if (!p) {
		close_conn(c);
		return;
	}
	if (!h2_session_can_open(s)) {
		err_set(&err, E_REFUSED, "it allows no HTTP/2 stream");
		give_up(c, &err, "Service refuses requests");
		close_conn(c);
		return;
	}
	p->coming--;
	p->streams_each = h2_session_peer_max_streams(s);
	c->state = CONN_UP;
	move_to(c, &p->open);
	serve_waiting(p);
	if (h2_session_stream_count(s) == 0 && !c->is_idle)
		rest(c);
}

static void on_goaway(struct h2_session *s)
{
	struct h2_conn *c = h2_session_ctx(s);

	CHECK(c, CONN_MAGIC);
	retire(c);
	if (h2_session_stream_count(s) == 0)
		close_conn(c);
}

static void on_stream_closed(struct h2_stream *st, uint32_t code)
{
	struct h2_conn *c = h2_session_ctx(h2_stream_session(st));
	struct h2_request *r = h2_stream_ctx(st);

	CHECK(c, CONN_MAGIC);
	if (r)
		h2_request_on_closed(r, code);
	if (c->pool && c->state == CONN_UP && h2_session_can_open(c->session)) {
		move_to(c, &c->pool->open);
		serve_waiting(c->pool);
	}
	if (h2_session_stream_count(c->session) == 0 && !c->is_idle)
		rest(c);
}

static void on_session_closed(struct h2_session *s, const struct err *why)
{
	struct h2_conn *c = h2_session_ctx(s);
	struct h2_pool *p = c->pool;
	struct err err = *why;

	CHECK(c, CONN_MAGIC);
	if (c->state == CONN_GREETING) {
		bool is_foreign = err.code == E_PROTOCOL;
		if (is_foreign)
			err_wrap(&err, "it does not speak HTTP/2");
		else if (err.code == E_CLOSED)
			err_set(&err, E_CLOSED, "the connection was closed without a response");
		give_up(c, &err,
			is_foreign ? "Bad response from the service"
				   : "Service closed the connection");
	}
	stop_being_idle(c);
	conn_free(c);
	if (p)
		drop_if_unused(p);
}

static const struct h2_events events = {
	.on_response = h2_request_on_response,
	.on_data = h2_request_on_data,
	.on_trailers = h2_request_on_trailers,
	.on_writable = h2_request_on_writable,
	.on_stream_closed = on_stream_closed,
	.on_ready = on_ready,
	.on_goaway = on_goaway,
	.on_closed = on_session_closed,
};

/* --- Dialling -------------------------------------------------------------------------------- */

/* ALPN has chosen: whoever waits goes on with HTTP/1.1, the first one over this connection. */
static void use_http1(struct h2_pool *p, struct byte_stream *stream)
{
	p->owner->http1_until = loop_now(p->owner->origin->loop) + HTTP1_MEMORY_USEC;
	while (!list_is_empty(&p->waiting)) {
		struct h2_request *r = LIST_ENTRY(p->waiting.next, struct h2_request, node);
		stop_waiting(r);
		h2_request_over_http1(r, TAKE(stream));
	}
	byte_stream_close(stream);
}

static void on_dialled(void *ctx, struct byte_stream *stream, const struct err *err,
		       const char *title)
{
	static const struct h2_options options = {
		.role = H2_CLIENT,
		.stream_window = LIMIT_ORIGIN_H2_STREAM_WINDOW,
		.connection_window = LIMIT_H2_CONNECTION_WINDOW,
		.allow_connect_protocol = true,
		.glitches_per_sec = LIMIT_ORIGIN_H2_GLITCHES_PER_SEC,
	};
	struct h2_conn *c = ctx;
	struct h2_pool *p = c->pool;

	CHECK(c, CONN_MAGIC);
	c->dial = NULL;
	if (!stream) {
		give_up(c, err, title);
		conn_free(c);
		drop_if_unused(p);
		return;
	}
	if (rule_of(p)->is_tls && !bytes_eq(tls_alpn(stream), BYTES_LIT("h2"))) {
		p->coming--;
		conn_free(c);
		use_http1(p, stream);
		drop_if_unused(p);
		return;
	}
	c->state = CONN_GREETING;
	timer_set(&c->timer, rule_of(p)->origin.connect_timeout / USEC_PER_MSEC);
	c->session = h2_session_new(stream, &options, &events, c);
}

static void dial(struct h2_pool *p)
{
	struct h2_conn *c = mem_alloc(sizeof(*c));
	struct origin *o = p->owner->origin;

	c->magic = CONN_MAGIC;
	c->state = CONN_DIALLING;
	c->pool = p;
	timer_init(&c->timer, o->loop, on_timer);
	list_init(&c->node);
	list_append(&p->others, &c->node);
	p->coming++;
	c->dial = origin_dial(o, &p->target, on_dialled, c);
}

/* --- Waiting --------------------------------------------------------------------------------- */

/* Gives connections to who waits, and dials as many as the rest will need. Does not free the pool. */
static void serve_waiting(struct h2_pool *p)
{
	while (!list_is_empty(&p->waiting) && !list_is_empty(&p->open)) {
		struct h2_conn *c = LIST_ENTRY(p->open.next, struct h2_conn, node);
		struct h2_request *r = LIST_ENTRY(p->waiting.next, struct h2_request, node);
		if (!h2_session_can_open(c->session)) {
			move_to(c, &p->others); /* until one of its streams ends */
			continue;
		}
		stop_waiting(r);
		h2_request_begin(r, c);
		if (h2_session_stream_count(c->session) == 0)
			continue; /* it failed, or went on without this connection */
		stop_being_idle(c);
		if (!timer_is_set(&c->timer))
			watch(c);
	}
	size_t each = p->streams_each ? p->streams_each : SIZE_MAX;
	size_t need = p->waiting_count / each + (p->waiting_count % each != 0);
	while (p->coming < need)
		dial(p);
}

static void wait_in(struct h2_pool *p, struct h2_request *r, bool is_first)
{
	r->pool = p;
	if (is_first)
		list_prepend(&p->waiting, &r->node);
	else
		list_append(&p->waiting, &r->node);
	p->waiting_count++;
	serve_waiting(p);
}

void h2_pool_take(struct origin_h2 *h2, struct h2_request *r)
{
	wait_in(find_pool(h2, r->x), r, false);
}

void h2_pool_take_again(struct h2_request *r)
{
	struct h2_conn *c = TAKE(r->conn);

	BUG_IF(!c->pool); /* an exchange keeps its set */
	retire(c);
	wait_in(c->pool, r, true);
}

void h2_pool_leave(struct h2_request *r)
{
	struct h2_pool *p = r->pool;

	stop_waiting(r);
	if (p->waiting_count)
		return;
	/* What is still being dialled was for those who have left. */
	LIST_FOR_EACH(node, &p->others) {
		struct h2_conn *c = LIST_ENTRY(node, struct h2_conn, node);
		if (c->state == CONN_DIALLING) {
			p->coming--;
			conn_free(c);
		}
	}
	drop_if_unused(p);
}

/* --- The end --------------------------------------------------------------------------------- */

/* Its connections go on alone, until their last stream has ended. */
static void let_go(struct h2_pool *p)
{
	struct list *node;

	BUG_IF(p->waiting_count); /* an exchange keeps its set */
	list_take_all(&p->others, &p->open);
	while ((node = list_pop(&p->others))) {
		struct h2_conn *c = LIST_ENTRY(node, struct h2_conn, node);
		stop_being_idle(c);
		c->pool = NULL;
		if (c->state == CONN_DIALLING)
			conn_free(c);
		else if (h2_session_stream_count(c->session) == 0)
			h2_session_close(c->session, H2_NO_ERROR, "not needed any more");
	}
	pool_free(p);
}

void origin_h2_close(struct origin *o)
{
	struct origin_h2 *h2 = TAKE(o->h2);
	struct bytes key;
	size_t cursor = 0;
	void *pool;

	if (!h2)
		return;
	while (map_next(h2->pools, &cursor, &key, &pool))
		let_go(pool);
	map_free(h2->pools);
	mem_free(h2);
}
