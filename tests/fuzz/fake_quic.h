/* quic.h without packets, for targets with a hostile peer of src/transport/quic or of HTTP/3: included by the target, it
 * takes the place of the library. The target plays the peer with fake_quic_…(); what the driver does is held to the contract.
 * As the real one: no event arrives inside a call, on_stream_closed() comes once and after both sides are over. */
#pragma once

#include <stdlib.h>

#include "base/mem.h"
#include "quic/quic.h"

#define FAKE_STREAMS_MAX 64

struct quic_stream {
	struct quic_conn *conn;
	void *ctx;
	int64_t id;
	uint64_t received, consumed;
	bool is_known;   /* on_stream() has come, or it is ours */
	bool peer_ended; /* nothing more comes */
	bool we_ended, is_deaf, wants_room, is_closed;
	uint64_t code;
};

struct quic_conn {
	void *ctx;
	const struct quic_events *events;
	struct loop *loop;
	struct address peer;
	struct quic_stream streams[FAKE_STREAMS_MAX];
	size_t count;
	int64_t next_ours, next_theirs;       /* ids of streams both may write to */
	int64_t next_our_uni, next_their_uni; /* and of those only one may */
	size_t room;                          /* what writes still take */
	size_t datagrams;                     /* how many still fit */
	bool is_over, is_gone;
};

static void fake_must(bool holds)
{
	if (!holds)
		abort();
}

/* --- The peer -------------------------------------------------------------------------------- */

static inline struct quic_conn *fake_quic_new(struct loop *l, bool is_client,
					      const struct quic_events *events)
{
	struct quic_conn *c = mem_alloc(sizeof(*c));

	c->loop = l;
	c->events = events;
	c->next_our_uni = is_client ? 2 : 3;
	c->next_their_uni = is_client ? 3 : 2;
	c->next_ours = is_client ? 0 : 1;
	c->next_theirs = is_client ? 1 : 0;
	c->room = 1 << 20;
	c->datagrams = 4;
	fake_must(address_from_ip(BYTES_LIT("192.0.2.7"), 4433, &c->peer));
	return c;
}

static struct quic_stream *fake_stream_new(struct quic_conn *c, int64_t *next)
{
	if (c->count == FAKE_STREAMS_MAX)
		return NULL;
	struct quic_stream *st = &c->streams[c->count++];
	st->conn = c;
	st->id = *next;
	*next += 4;
	return st;
}

/* Events that are due. */
static void fake_quic_turn(struct quic_conn *c)
{
	for (size_t i = 0; i < c->count && !c->is_gone; i++) {
		struct quic_stream *st = &c->streams[i];
		if (!st->is_known || st->is_closed)
			continue;
		if (st->wants_room && c->room && !st->we_ended && !c->is_over) {
			st->wants_room = false;
			c->events->on_writable(st);
		}
		if (c->is_over || (st->we_ended && st->peer_ended)) {
			st->is_closed = true;
			c->events->on_stream_closed(st, c->is_over && !st->code ? QUIC_CODE_LOST
										: st->code);
		}
	}
	if (c->is_over && !c->is_gone) {
		const struct err err = { .code = E_CLOSED, .text = "closed" };
		c->is_gone = true;
		c->events->on_closed(c, &err);
	}
}

static struct quic_stream *fake_quic_peer_opens(struct quic_conn *c)
{
	struct quic_stream *st = c->is_over ? NULL : fake_stream_new(c, &c->next_theirs);

	if (st) {
		st->is_known = true;
		c->events->on_stream(c, st);
	}
	return st;
}

static inline struct quic_stream *fake_quic_peer_opens_uni(struct quic_conn *c)
{
	struct quic_stream *st = c->is_over ? NULL : fake_stream_new(c, &c->next_their_uni);

	if (st) {
		st->is_known = true;
		st->we_ended = true;
		c->events->on_uni_stream(c, st);
	}
	return st;
}

static void fake_quic_data(struct quic_stream *st, struct bytes data, bool fin)
{
	if (st->conn->is_over || st->is_closed || st->peer_ended)
		return;
	st->peer_ended = fin;
	if (st->is_deaf)
		return;
	st->received += data.len;
	st->conn->events->on_data(st, data, fin);
}

static void fake_quic_peer_reset(struct quic_stream *st, uint64_t code)
{
	if (st->conn->is_over || st->is_closed || st->peer_ended)
		return;
	st->peer_ended = true;
	st->code = code;
	st->conn->events->on_peer_reset(st, code);
}

static void fake_quic_peer_stop(struct quic_stream *st, uint64_t code)
{
	if (st->conn->is_over || st->is_closed || st->we_ended)
		return;
	st->we_ended = true;
	st->code = code;
	st->conn->events->on_peer_stop(st, code);
}

static inline void fake_quic_datagram(struct quic_conn *c, struct bytes data)
{
	if (!c->is_over && c->events->on_datagram)
		c->events->on_datagram(c, data);
}

static inline void fake_quic_datagram_room(struct quic_conn *c)
{
	c->datagrams += 4;
	if (!c->is_over && c->events->on_datagram_room)
		c->events->on_datagram_room(c);
}

/* --- quic.h, as far as the driver calls it ---------------------------------------------------- */

void quic_conn_set_ctx(struct quic_conn *c, void *ctx)
{
	c->ctx = ctx;
}

void *quic_conn_ctx(struct quic_conn *c)
{
	return c->ctx;
}

void quic_conn_set_events(struct quic_conn *c, const struct quic_events *events, uint64_t held_max)
{
	(void)held_max;
	c->events = events;
}

/* There is none: it only leads to the loop. */
struct quic_endpoint *quic_conn_endpoint(struct quic_conn *c)
{
	return (struct quic_endpoint *)c;
}

struct loop *quic_endpoint_loop(struct quic_endpoint *e)
{
	return ((struct quic_conn *)e)->loop;
}

const struct address *quic_conn_peer(const struct quic_conn *c)
{
	return &c->peer;
}

const struct address *quic_conn_local(const struct quic_conn *c)
{
	return &c->peer;
}

bool quic_conn_takes_datagrams(const struct quic_conn *c)
{
	return !c->is_over;
}

size_t quic_max_datagram(const struct quic_conn *c)
{
	return c->is_over ? 0 : 1200;
}

bool quic_send_datagram(struct quic_conn *c, struct bytes data)
{
	if (c->is_over || !c->datagrams || data.len > quic_max_datagram(c))
		return false;
	c->datagrams--;
	return true;
}

void quic_conn_ping(struct quic_conn *c, int64_t every_ms)
{
	(void)c;
	(void)every_ms;
}

usec quic_conn_last_heard(const struct quic_conn *c)
{
	return loop_now(c->loop);
}

void quic_conn_facts(const struct quic_conn *c, struct quic_facts *ret)
{
	(void)c;
	*ret = (struct quic_facts){ 0 };
}

bool quic_close_code(const struct quic_conn *c, uint64_t *ret)
{
	(void)c;
	*ret = 0;
	return true;
}

void quic_conn_close(struct quic_conn *c, uint64_t code, const char *reason)
{
	(void)code;
	(void)reason;
	c->is_over = true;
}

bool quic_conn_is_over(const struct quic_conn *c)
{
	return c->is_over;
}

struct quic_stream *quic_open(struct quic_conn *c, void *ctx)
{
	struct quic_stream *st = c->is_over ? NULL : fake_stream_new(c, &c->next_ours);

	if (st) {
		st->ctx = ctx;
		st->is_known = true;
	}
	return st;
}

struct quic_stream *quic_open_uni(struct quic_conn *c, void *ctx)
{
	struct quic_stream *st = c->is_over ? NULL : fake_stream_new(c, &c->next_our_uni);

	if (st) {
		st->ctx = ctx;
		st->is_known = true;
		st->peer_ended = true;
	}
	return st;
}

bool quic_stream_is_uni(const struct quic_stream *st)
{
	return st->id & 2;
}

size_t quic_stream_count(const struct quic_conn *c)
{
	return c->count;
}

void quic_stream_set_ctx(struct quic_stream *st, void *ctx)
{
	st->ctx = ctx;
}

void *quic_stream_ctx(struct quic_stream *st)
{
	return st->ctx;
}

struct quic_conn *quic_stream_conn(struct quic_stream *st)
{
	return st->conn;
}

bool quic_stream_has_sent(const struct quic_stream *st)
{
	return st->id % 8 != 0;
}

bool quic_stream_has_ended(const struct quic_stream *st)
{
	return st->we_ended;
}

size_t quic_stream_queued(const struct quic_stream *st)
{
	return st->id % 16 == 0;
}

int64_t quic_stream_id(const struct quic_stream *st)
{
	return st->id;
}

size_t quic_stream_write(struct quic_stream *st, struct bytes data, bool fin)
{
	struct quic_conn *c = st->conn;
	size_t n = data.len < c->room ? data.len : c->room;

	fake_must(!st->is_closed);
	if (st->we_ended || c->is_over)
		return data.len;
	c->room -= n;
	st->wants_room = n < data.len;
	st->we_ended = fin && n == data.len;
	return n;
}

size_t quic_stream_room(struct quic_stream *st)
{
	st->wants_room |= st->conn->room == 0;
	return st->we_ended || st->conn->is_over ? 0 : st->conn->room;
}

void quic_stream_write_all(struct quic_stream *st, struct bytes data, bool fin)
{
	fake_must(!st->is_closed);
	if (st->we_ended || st->conn->is_over)
		return;
	st->conn->room -= data.len < st->conn->room ? data.len : st->conn->room;
	st->we_ended = fin;
}

void quic_stream_consume(struct quic_stream *st, size_t n)
{
	st->consumed += n;
	fake_must(!st->is_closed && st->consumed <= st->received);
}

void quic_stream_reset(struct quic_stream *st, uint64_t code)
{
	fake_must(!st->is_closed);
	st->we_ended = true;
	st->code = code;
}

void quic_stream_stop(struct quic_stream *st, uint64_t code)
{
	fake_must(!st->is_closed);
	st->is_deaf = true;
	st->code = code;
}

/* --- What only whole endpoints need: never called --------------------------------------------- */

struct quic_endpoint *quic_endpoint_new(struct loop *l, int fd, const struct quic_limits *limits,
					const struct quic_server_options *server,
					const struct quic_events *events, void *ctx)
{
	(void)l, (void)fd, (void)limits, (void)server, (void)events, (void)ctx;
	abort();
}

void quic_limits_default(struct quic_limits *limits)
{
	(void)limits;
	abort();
}

void *quic_endpoint_ctx(struct quic_endpoint *e)
{
	(void)e;
	abort();
}

struct quic_endpoint *quic_endpoint_free(struct quic_endpoint *e)
{
	(void)e;
	abort();
}

struct quic_conn *quic_connect(struct quic_endpoint *e, const struct address *to,
			       struct tls_context *tls, struct bytes server_name, void *ctx,
			       struct err *err)
{
	(void)e, (void)to, (void)tls, (void)server_name, (void)ctx, (void)err;
	abort();
}
