#include "base/mem.h"
#include "transport/quic/quic_tunnel.h"

struct tunnel_endpoint {
	struct quic_endpoint *quic; /* owned */
	tunnel_accept *accept;
	bool (*on_foreign)(void *ctx, unsigned index, const struct address *from,
			   const struct address *to, uint8_t ecn, struct bytes packet);
	void (*on_foreign_unreachable)(void *ctx, const struct address *to);
	void *ctx;
};

struct tunnel_attempt {
	enum quic_holder owner; /* QUIC_HELD_BY_ATTEMPT; first */
	struct quic_conn *conn; /* owned; NULL when it could not even start */
	tunnel_connected *done;
	void *ctx;
	struct err err;
	struct deferred deferred;
};

static bool on_foreign(void *ctx, unsigned index, const struct address *from,
		       const struct address *to, uint8_t ecn, struct bytes packet)
{
	struct tunnel_endpoint *e = ctx;

	return e->on_foreign(e->ctx, index, from, to, ecn, packet);
}

static void on_foreign_unreachable(void *ctx, const struct address *to)
{
	const struct tunnel_endpoint *e = ctx;

	e->on_foreign_unreachable(e->ctx, to);
}

struct tunnel_endpoint *tunnel_endpoint_new(struct loop *l, int fd,
					    const struct quic_server_options *server,
					    tunnel_accept *accept, void *ctx)
{
	struct tunnel_endpoint *e = mem_alloc(sizeof(*e));
	struct quic_server_options options = { .tls = NULL };
	struct quic_limits limits;

	if (server) {
		options = *server;
		e->on_foreign = options.on_foreign;
		options.on_foreign = options.on_foreign ? on_foreign : NULL;
		e->on_foreign_unreachable = options.on_foreign_unreachable;
		if (options.on_foreign_unreachable)
			options.on_foreign_unreachable = on_foreign_unreachable;
	}
	quic_limits_default(&limits);
	/* A connector's own streams are the control stream and short calls; the edge's are requests. */
	limits.peer_streams = server ? 16 : LIMIT_TUNNEL_STREAMS;
	/* Visitors' are requests, and HTTP/3's own unidirectional ones. */
	if (server && server->takes_visitors) {
		limits.peer_streams = LIMIT_H3_VISITOR_STREAMS;
		limits.peer_uni_streams = LIMIT_H3_UNI_STREAMS;
	}
	/* Connectors ping, stock ones too: one side is enough. */
	if (server)
		limits.keepalive_ms = 0;
	else
		limits.idle_ms = LIMIT_QUIC_CONNECTOR_IDLE_MS;
	e->accept = accept;
	e->ctx = ctx;
	e->quic =
		quic_endpoint_new(l, fd, &limits, server ? &options : NULL, &quic_tunnel_events, e);
	return e;
}

struct quic_endpoint *tunnel_endpoint_quic(struct tunnel_endpoint *e)
{
	return e->quic;
}

struct tunnel_endpoint *tunnel_endpoint_free(struct tunnel_endpoint *e)
{
	if (e)
		quic_endpoint_free(e->quic);
	return mem_free(e);
}

void quic_accepted(struct quic_endpoint *quic, struct quic_conn *c)
{
	struct tunnel_endpoint *e = quic_endpoint_ctx(quic);

	e->accept(e->ctx, c);
}

/* --- Connecting ------------------------------------------------------------------------------ */

static void on_failed_start(struct deferred *d)
{
	struct tunnel_attempt *a = CONTAINER_OF(d, struct tunnel_attempt, deferred);

	a->done(a->ctx, NULL, &a->err);
	mem_free(a);
}

struct tunnel_attempt *tunnel_connect(struct tunnel_endpoint *e, const struct address *to,
				      struct tls_context *tls, struct bytes server_name,
				      tunnel_connected *done, void *ctx)
{
	struct tunnel_attempt *a = mem_alloc(sizeof(*a));

	a->owner = QUIC_HELD_BY_ATTEMPT;
	a->done = done;
	a->ctx = ctx;
	deferred_init(&a->deferred, on_failed_start);
	a->conn = quic_connect(e->quic, to, tls, server_name, a, &a->err);
	if (!a->conn)
		loop_defer(quic_endpoint_loop(e->quic), &a->deferred);
	return a;
}

struct tunnel_attempt *tunnel_attempt_cancel(struct tunnel_attempt *a)
{
	if (!a)
		return NULL;
	deferred_cancel(&a->deferred);
	if (a->conn) {
		quic_conn_set_ctx(a->conn, NULL);
		quic_conn_close(a->conn, QUIC_CODE_NONE, "not wanted any more");
	}
	return mem_free(a);
}

void quic_attempt_ready(struct quic_conn *c)
{
	struct tunnel_attempt *a = quic_conn_ctx(c);

	quic_conn_set_ctx(c, NULL);
	a->done(a->ctx, c, NULL);
	mem_free(a);
}

void quic_attempt_closed(struct quic_conn *c, const struct err *why)
{
	struct tunnel_attempt *a = quic_conn_ctx(c);

	a->done(a->ctx, NULL, why);
	mem_free(a);
}
