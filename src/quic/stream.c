/* Streams: what waits to be sent and to be acknowledged, windows, and the calls and events of the user. */
#include "base/bufq.h"
#include "base/mem.h"
#include "quic/quic_internal.h"

/* Sent bytes stay where they are until they are acknowledged: ngtcp2 points at them. */
struct send_chunk {
	struct send_chunk *next;
	uint32_t start, end, cap; /* the part that is not acknowledged; end: filled so far */
	uint8_t data[];
};

/* The first chunk of a stream with little to say, and all others. */
#define SMALL_CHUNK 2048
#define SMALL_ROOM (SMALL_CHUNK - sizeof(struct send_chunk))
#define LARGE_ROOM (BUFQ_CHUNK_BYTES - sizeof(struct send_chunk))
/* A stream that had its turn lets the others go first: a burst of the network's, not of ours. */
#define TURN_BYTES (16 * 1024)
/* Streams that have closed are given back to the peer once this share of them is gone. */
#define STREAMS_SHARE 16
/* Written and not sent when a stream is reset: so much leaves first if it can. A reset overtakes what was sent before
 * it at most by chance then, as over TCP, and not always. */
#define LAST_WORDS_BYTES (16 * 1024)

static struct send_chunk *chunk_new(bool is_small)
{
	struct send_chunk *k = is_small ? mem_alloc(SMALL_CHUNK) : bufq_chunk_take();

	k->next = NULL;
	k->start = k->end = 0;
	k->cap = is_small ? SMALL_ROOM : LARGE_ROOM;
	return k;
}

static void chunk_free(struct send_chunk *k)
{
	if (k->cap == SMALL_ROOM)
		mem_free(k);
	else
		bufq_chunk_return(k);
}

/* --- Life ------------------------------------------------------------------------------------ */

struct quic_stream *quic_stream_new(struct quic_conn *c, int64_t id)
{
	struct quic_stream *st = mem_alloc(sizeof(*st));

	st->magic = STREAM_MAGIC;
	st->conn = c;
	st->id = id;
	list_init(&st->send_node);
	list_init(&st->request_node);
	list_init(&st->wake_node);
	list_append(&c->streams, &st->node);
	map_put(c->streams_by_id, bytes_of(&st->id, sizeof(st->id)), st);
	c->stream_count++;
	return st;
}

static void drop_queue(struct quic_stream *st)
{
	/* What is acknowledged of it from now on is not told any more. */
	if (st->head)
		st->conn->large_since = 0;
	while (st->head) {
		struct send_chunk *k = st->head;
		st->head = k->next;
		chunk_free(k);
	}
	st->conn->unsent -= st->unsent;
	st->tail = st->next = NULL;
	st->next_at = st->queued = st->unsent = 0;
}

void quic_stream_free(struct quic_stream *st)
{
	drop_queue(st);
	list_remove(&st->node);
	list_remove(&st->send_node);
	list_remove(&st->request_node);
	list_remove(&st->wake_node);
	st->magic = 0;
	mem_free(st);
}

/* Bytes that count no more: the connection's window gets back what it was not given at receipt. */
static void give_back(struct quic_conn *c, uint64_t n)
{
	uint64_t now = n < c->owed ? n : c->owed;

	c->held -= n;
	c->owed -= now;
	c->credit += now;
}

void quic_stream_gone(struct quic_stream *st, uint64_t code)
{
	struct quic_conn *c = st->conn;

	if (st->is_gone)
		return;
	st->is_gone = st->is_mute = st->is_deaf = true;
	st->code = code;
	give_back(c, st->held);
	st->held = 0;
	drop_queue(st);
	list_remove(&st->send_node);
	list_remove(&st->request_node);
	list_remove(&st->wake_node);
	map_take(c->streams_by_id, bytes_of(&st->id, sizeof(st->id)));
	c->stream_count--;
	list_remove(&st->node);
	list_append(&c->gone, &st->node);
	loop_defer(c->endpoint->loop, &c->deliver);
}

void quic_streams_report_gone(struct quic_conn *c)
{
	struct list *node;

	while ((node = list_pop(&c->gone))) {
		struct quic_stream *st = LIST_ENTRY(node, struct quic_stream, node);
		if (st->is_announced && c->events->on_stream_closed)
			c->events->on_stream_closed(st, st->code);
		quic_stream_free(st);
	}
}

/* --- Sending --------------------------------------------------------------------------------- */

/* Bytes that the user may still write. */
static size_t room_of(const struct quic_stream *st)
{
	const struct quic_conn *c = st->conn;
	size_t queue = c->endpoint->limits.send_queue;
	size_t unsent = c->unsent < LIMIT_QUIC_CONNECTION_UNSENT ? LIMIT_QUIC_UNSENT
								 : LIMIT_QUIC_UNSENT_CROWDED;
	size_t room = queue > st->queued ? queue - st->queued : 0;

	unsent = unsent > st->unsent ? unsent - st->unsent : 0;
	return room < unsent ? room : unsent;
}

static void append(struct quic_stream *st, struct bytes data)
{
	while (data.len) {
		struct send_chunk *k = st->tail;
		if (!k || k->end == k->cap) {
			k = chunk_new(!st->head && data.len <= SMALL_ROOM);
			if (st->tail)
				st->tail->next = k;
			else
				st->head = k;
			st->tail = k;
		}
		if (!st->next) {
			st->next = k;
			st->next_at = k->end;
		}
		size_t n = k->cap - k->end < data.len ? k->cap - k->end : data.len;
		memcpy(k->data + k->end, data.ptr, n);
		k->end += (uint32_t)n;
		st->queued += n;
		st->unsent += n;
		st->conn->unsent += n;
		data = bytes_from(data, n);
	}
}

size_t quic_stream_room(struct quic_stream *st)
{
	CHECK(st, STREAM_MAGIC);
	size_t room = room_of(st);

	/* check_room() tells once this much is there. */
	if (room >= LIMIT_QUIC_UNSENT_CROWDED / 2)
		return room;
	st->is_short = true;
	return 0;
}

static size_t write_up_to(struct quic_stream *st, struct bytes data, size_t room, bool fin)
{
	struct quic_conn *c = st->conn;

	if (st->is_mute || st->fin || c->is_ending)
		return data.len;
	struct bytes taken = bytes_first(data, room);
	append(st, taken);
	if (taken.len < data.len)
		st->is_short = true;
	else if (fin)
		st->fin = true;
	if (!list_is_linked(&st->send_node) && (st->unsent || st->fin))
		list_append(&c->sendable, &st->send_node);
	quic_conn_touch(c);
	return taken.len;
}

size_t quic_stream_write(struct quic_stream *st, struct bytes data, bool fin)
{
	CHECK(st, STREAM_MAGIC);
	return write_up_to(st, data, room_of(st), fin);
}

void quic_stream_write_all(struct quic_stream *st, struct bytes data, bool fin)
{
	CHECK(st, STREAM_MAGIC);
	(void)write_up_to(st, data, SIZE_MAX, fin);
}

bool quic_stream_has_ended(const struct quic_stream *st)
{
	CHECK(st, STREAM_MAGIC);
	return st->fin && !st->is_mute;
}

size_t quic_stream_queued(const struct quic_stream *st)
{
	CHECK(st, STREAM_MAGIC);
	return st->is_mute ? 0 : st->queued;
}

size_t quic_stream_peek(const struct quic_stream *st, ngtcp2_vec *runs, size_t max, bool *ret_fin)
{
	const struct send_chunk *k = st->next;
	size_t at = st->next_at, count = 0, total = 0;

	for (; k && count < max; k = k->next, at = k ? k->start : 0) {
		if (k->end == at)
			continue;
		runs[count++] = (ngtcp2_vec){ (uint8_t *)(uintptr_t)k->data + at, k->end - at };
		total += k->end - at;
	}
	*ret_fin = st->fin && total == st->unsent;
	return count;
}

/* With room again, a write that fell short may go on: not for every packet, but while there is still something
 * to send. */
static void check_room(struct quic_stream *st)
{
	struct quic_conn *c = st->conn;

	if (!st->is_short || st->is_mute || list_is_linked(&st->wake_node) ||
	    st->unsent > LIMIT_QUIC_UNSENT / 2 || room_of(st) < LIMIT_QUIC_UNSENT_CROWDED / 2)
		return;
	list_append(&c->wakes, &st->wake_node);
	loop_defer(c->endpoint->loop, &c->deliver);
}

void quic_stream_sent(struct quic_stream *st, size_t n, bool fin)
{
	struct quic_conn *c = st->conn;

	st->unsent -= n;
	c->unsent -= n;
	st->turn += n;
	st->has_sent |= n > 0;
	while (n > 0) {
		size_t here = st->next->end - st->next_at;
		if (n < here) {
			st->next_at += n;
			break;
		}
		n -= here;
		st->next = st->next->next;
		st->next_at = st->next ? st->next->start : 0;
	}
	if (st->unsent == 0)
		st->next = NULL;
	if (fin)
		st->fin_sent = true;
	if (st->unsent == 0 && (!st->fin || st->fin_sent)) {
		list_remove(&st->send_node);
		st->turn = 0;
	} else if (st->turn >= TURN_BYTES) {
		list_remove(&st->send_node);
		list_append(&c->sendable, &st->send_node);
		st->turn = 0;
	}
	check_room(st);
}

void quic_stream_acked(struct quic_stream *st, size_t n)
{
	while (n > 0 && st->head) {
		struct send_chunk *k = st->head;
		size_t here = k->end - k->start < n ? k->end - k->start : n;
		k->start += (uint32_t)here;
		st->queued -= here;
		n -= here;
		/* The last one may have room for more: it stays while bytes of it wait to be sent, or go with
		 * the queue. */
		if (k->start < k->end)
			break;
		if (k == st->tail) {
			st->tail = NULL;
			st->next = NULL;
		}
		st->head = k->next;
		chunk_free(k);
	}
	check_room(st);
}

void quic_stream_mute(struct quic_stream *st)
{
	st->is_mute = true;
	st->is_short = st->is_blocked = false;
	drop_queue(st);
	list_remove(&st->send_node);
	list_remove(&st->wake_node);
}

void quic_stream_unblock(struct quic_stream *st)
{
	if (!st->is_blocked)
		return;
	st->is_blocked = false;
	list_remove(&st->send_node);
	list_append(&st->conn->sendable, &st->send_node);
	quic_conn_touch(st->conn);
}

void quic_stream_block(struct quic_stream *st, bool by_connection)
{
	list_remove(&st->send_node);
	st->is_blocked = !by_connection;
	list_append(by_connection ? &st->conn->starved : &st->conn->blocked, &st->send_node);
}

void quic_stream_reset(struct quic_stream *st, uint64_t code)
{
	CHECK(st, STREAM_MAGIC);
	struct quic_conn *c = st->conn;

	if (st->is_gone || st->wants_reset || c->is_ending)
		return;
	st->wants_reset = true;
	st->reset_code = code;
	st->is_mute = true; /* the queue is freed once ngtcp2 has let go of it */
	if (!list_is_linked(&st->request_node))
		list_append(&c->requests, &st->request_node);
	quic_conn_touch(c);
}

/* --- Receiving ------------------------------------------------------------------------------- */

void quic_stream_received(struct quic_stream *st, struct bytes data, bool fin)
{
	struct quic_conn *c = st->conn;

	if (st->is_deaf || c->is_ending) {
		c->credit += data.len;
		return;
	}
	st->held += data.len;
	c->held += data.len;
	if (c->held <= c->held_max)
		c->credit += data.len;
	else
		c->owed += data.len;
	if (c->events->on_data)
		c->events->on_data(st, data, fin);
}

void quic_stream_consume(struct quic_stream *st, size_t n)
{
	CHECK(st, STREAM_MAGIC);
	struct quic_conn *c = st->conn;

	if (n > st->held)
		n = (size_t)st->held;
	if (n == 0 || c->is_ending)
		return;
	st->held -= n;
	st->credit += n;
	give_back(c, n);
	if (!list_is_linked(&st->request_node))
		list_append(&c->requests, &st->request_node);
	quic_conn_touch(c);
}

void quic_stream_stop(struct quic_stream *st, uint64_t code)
{
	CHECK(st, STREAM_MAGIC);
	struct quic_conn *c = st->conn;

	if (st->is_gone || st->is_deaf || c->is_ending)
		return;
	st->is_deaf = st->wants_stop = true;
	st->stop_code = code;
	give_back(c, st->held);
	st->held = 0;
	if (!list_is_linked(&st->request_node))
		list_append(&c->requests, &st->request_node);
	quic_conn_touch(c);
}

void quic_streams_stopped(struct quic_conn *c)
{
	for (size_t i = 0; i < c->stop_count && !c->is_ending; i++) {
		struct quic_stream *st =
			map_find(c->streams_by_id, bytes_of(&c->stops[i].id, sizeof(int64_t)));
		/* After our own reset it says nothing new. */
		if (!st || st->is_mute)
			continue;
		/* ngtcp2 has done so already; it must not point at what is freed now. */
		(void)ngtcp2_conn_shutdown_stream_write(c->ng, 0, st->id, c->stops[i].code);
		quic_stream_mute(st);
		if (c->events->on_peer_stop)
			c->events->on_peer_stop(st, c->stops[i].code);
	}
	c->stop_count = 0;
}

/* --- Once per turn --------------------------------------------------------------------------- */

void quic_streams_apply(struct quic_conn *c)
{
	struct list later;
	struct list *node;

	list_init(&later);
	while ((node = list_pop(&c->requests))) {
		struct quic_stream *st = LIST_ENTRY(node, struct quic_stream, request_node);
		if (st->credit && !st->is_deaf)
			(void)ngtcp2_conn_extend_max_stream_offset(c->ng, st->id, st->credit);
		st->credit = 0;
		if (st->wants_reset && st->unsent && st->unsent <= LAST_WORDS_BYTES &&
		    !st->has_waited) {
			st->has_waited = true;
			list_append(&later, &st->request_node);
			continue;
		}
		if (st->wants_stop) {
			st->wants_stop = false;
			(void)ngtcp2_conn_shutdown_stream_read(c->ng, 0, st->id, st->stop_code);
		}
		if (st->wants_reset && st->head)
			drop_queue(st);
		if (st->wants_reset) {
			list_remove(&st->send_node);
			(void)ngtcp2_conn_shutdown_stream_write(c->ng, 0, st->id, st->reset_code);
		}
	}
	if (!list_is_empty(&later)) {
		list_take_all(&c->requests, &later);
		quic_conn_touch(c);
	}
	if (c->credit)
		ngtcp2_conn_extend_max_offset(c->ng, c->credit);
	c->credit = 0;
	/* Not one by one: each would be a packet of its own, and the peer's answer to it. */
	if (c->closed_by_peer > c->endpoint->limits.peer_streams / STREAMS_SHARE) {
		ngtcp2_conn_extend_max_streams_bidi(c->ng, c->closed_by_peer);
		c->closed_by_peer = 0;
	}
}

void quic_streams_wake(struct quic_conn *c)
{
	struct list *node;
	struct list turn;

	list_init(&turn);
	list_take_all(&turn, &c->wakes);
	while ((node = list_pop(&turn))) {
		struct quic_stream *st = LIST_ENTRY(node, struct quic_stream, wake_node);
		st->is_short = false;
		if (!c->is_ending && c->events->on_writable)
			c->events->on_writable(st);
	}
}

/* --- The user's other calls ------------------------------------------------------------------ */

static struct quic_stream *opened(struct quic_conn *c, int64_t id, void *ctx)
{
	struct quic_stream *st = quic_stream_new(c, id);

	ngtcp2_conn_set_stream_user_data(c->ng, id, st);
	st->ctx = ctx;
	st->is_announced = true;
	return st;
}

struct quic_stream *quic_open(struct quic_conn *c, void *ctx)
{
	CHECK(c, CONN_MAGIC);
	int64_t id;

	if (c->is_ending || !c->is_done || ngtcp2_conn_open_bidi_stream(c->ng, &id, NULL) != 0) {
		c->wants_streams = true;
		return NULL;
	}
	return opened(c, id, ctx);
}

struct quic_stream *quic_open_uni(struct quic_conn *c, void *ctx)
{
	CHECK(c, CONN_MAGIC);
	int64_t id;

	if (c->is_ending || !c->is_done || ngtcp2_conn_open_uni_stream(c->ng, &id, NULL) != 0)
		return NULL;
	return opened(c, id, ctx);
}

bool quic_stream_is_uni(const struct quic_stream *st)
{
	return !ngtcp2_is_bidi_stream(st->id);
}

size_t quic_stream_count(const struct quic_conn *c)
{
	return c->stream_count;
}

void quic_stream_set_ctx(struct quic_stream *st, void *ctx)
{
	CHECK(st, STREAM_MAGIC);
	st->ctx = ctx;
}

void *quic_stream_ctx(struct quic_stream *st)
{
	CHECK(st, STREAM_MAGIC);
	return st->ctx;
}

bool quic_stream_has_sent(const struct quic_stream *st)
{
	return st->has_sent;
}

struct quic_conn *quic_stream_conn(struct quic_stream *st)
{
	CHECK(st, STREAM_MAGIC);
	return st->conn;
}

int64_t quic_stream_id(const struct quic_stream *st)
{
	return st->id;
}
