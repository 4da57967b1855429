#include "connector/dial/quic_dial.h"

#include "base/mem.h"
#include "io/host_watch.h"
#include "io/loop.h"
#include "io/udp.h"

#define QUIC_DIAL_MAGIC 0x71646961
/* Between two starts, RFC 8305's recommendation; the next one also follows a failure. */
#define NEXT_MS 250

struct contender {
	struct quic_dial *dial;
	struct tunnel_endpoint *endpoint; /* owned */
	struct tunnel_attempt *attempt;
};

struct quic_dial {
	uint32_t magic;
	const struct edge_way *way; /* borrowed */
	struct address places[EDGE_DIAL_PLACES];
	size_t count, started, failed;
	struct contender contenders[EDGE_DIAL_PLACES];
	struct timer next;
	struct deferred refusal; /* the last one could not even start */
	struct err err;          /* the first failure */
	quic_dial_done *done;
	void *ctx;
};

static void contender_stop(struct contender *c)
{
	c->attempt = tunnel_attempt_cancel(c->attempt);
	c->endpoint = tunnel_endpoint_free(c->endpoint);
}

static void free_all(struct quic_dial *d)
{
	timer_stop(&d->next);
	deferred_cancel(&d->refusal);
	for (size_t i = 0; i < d->started; i++)
		contender_stop(&d->contenders[i]);
	d->magic = 0;
	mem_free(d);
}

static void finish(struct quic_dial *d, const struct quic_dial_end *end)
{
	quic_dial_done *done = d->done;
	void *ctx = d->ctx;

	free_all(d);
	done(ctx, end);
}

static void give_up(struct quic_dial *d)
{
	const struct quic_dial_end end = { .place = -1, .err = d->err };

	finish(d, &end);
}

static void note_failure(struct quic_dial *d, const struct err *err)
{
	if (d->failed++ == 0)
		d->err = *err;
}

static void on_connected(void *ctx, struct quic_conn *conn, const struct err *err);

int quic_dial_socket(const struct edge_way *way, const struct address *to, struct err *err)
{
	struct address from = way->from;

	/* Bound to the address that leads there now: when that is gone nothing leaves from another one before the
	 * connection is told to move. Servers of ngtcp2 (up to 1.11 at least) close a connection that comes from a
	 * new port after its packets have come from a new address (CONNECTION_ID_LIMIT_ERROR). */
	if (from.len == 0 && !host_source_of(to, NULL, &from)) {
		from.any.sa_family = to->any.sa_family;
		from.len = to->any.sa_family == AF_INET ? sizeof(from.v4) : sizeof(from.v6);
	}
	return udp_open(&from, false, err);
}

static void start_next(struct quic_dial *d)
{
	while (d->started < d->count) {
		struct contender *c = &d->contenders[d->started];
		const struct address *to = &d->places[d->started];
		struct err err;

		c->dial = d;
		int fd = quic_dial_socket(d->way, to, &err);
		if (fd < 0) {
			d->started++;
			note_failure(d, &err);
			continue;
		}
		c->endpoint = tunnel_endpoint_new(d->way->loop, fd, NULL, NULL, NULL);
		c->attempt = tunnel_connect(c->endpoint, to, d->way->quic_tls,
					    d->way->quic_server_name, on_connected, c);
		if (++d->started < d->count)
			timer_set(&d->next, NEXT_MS);
		return;
	}
	if (d->failed == d->count)
		loop_defer(d->way->loop, &d->refusal);
}

static void on_connected(void *ctx, struct quic_conn *conn, const struct err *err)
{
	struct contender *c = ctx;
	struct quic_dial *d = c->dial;

	CHECK(d, QUIC_DIAL_MAGIC);
	c->attempt = NULL;
	if (conn) {
		const struct quic_dial_end end = {
			.conn = conn,
			.endpoint = TAKE(c->endpoint),
			.place = (int)(c - d->contenders),
		};
		finish(d, &end);
		return;
	}
	note_failure(d, err);
	contender_stop(c);
	if (d->failed == d->count) {
		give_up(d);
		return;
	}
	timer_stop(&d->next);
	start_next(d);
}

static void on_next(struct timer *t)
{
	start_next(CONTAINER_OF(t, struct quic_dial, next));
}

static void on_refusal(struct deferred *deferred)
{
	give_up(CONTAINER_OF(deferred, struct quic_dial, refusal));
}

struct quic_dial *quic_dial(const struct edge_way *way, const struct edge_place *places,
			    size_t count, quic_dial_done *done, void *ctx)
{
	struct quic_dial *d = mem_alloc(sizeof(*d));

	BUG_IF(count == 0 || count > EDGE_DIAL_PLACES);
	d->magic = QUIC_DIAL_MAGIC;
	d->way = way;
	d->count = count;
	for (size_t i = 0; i < count; i++)
		d->places[i] = places[i].address;
	d->done = done;
	d->ctx = ctx;
	timer_init(&d->next, way->loop, on_next);
	deferred_init(&d->refusal, on_refusal);
	start_next(d);
	return d;
}

struct quic_dial *quic_dial_cancel(struct quic_dial *d)
{
	if (!d)
		return NULL;
	CHECK(d, QUIC_DIAL_MAGIC);
	free_all(d);
	return NULL;
}
