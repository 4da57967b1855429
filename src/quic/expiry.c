/* When each connection has to be looked at: a heap, and one alarm for the first of them. */
#include "base/mem.h"
#include "quic/quic_internal.h"

static void place(struct quic_endpoint *e, size_t at, struct quic_conn *c)
{
	e->heap[at] = c;
	c->heap_at = at + 1;
}

static void sift_up(struct quic_endpoint *e, size_t at)
{
	struct quic_conn *c = e->heap[at];

	while (at > 0 && e->heap[(at - 1) / 2]->expires_at > c->expires_at) {
		place(e, at, e->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	place(e, at, c);
}

static void sift_down(struct quic_endpoint *e, size_t at)
{
	struct quic_conn *c = e->heap[at];

	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= e->heap_len)
			break;
		if (child + 1 < e->heap_len &&
		    e->heap[child + 1]->expires_at < e->heap[child]->expires_at)
			child++;
		if (e->heap[child]->expires_at >= c->expires_at)
			break;
		place(e, at, e->heap[child]);
		at = child;
	}
	place(e, at, c);
}

static void take_out(struct quic_conn *c)
{
	struct quic_endpoint *e = c->endpoint;
	size_t at = c->heap_at - 1;
	struct quic_conn *last = e->heap[--e->heap_len];

	c->heap_at = 0;
	if (last == c)
		return;
	place(e, at, last);
	sift_up(e, at);
	sift_down(e, last->heap_at - 1);
}

void quic_expiry_set(struct quic_conn *c, usec at)
{
	struct quic_endpoint *e = c->endpoint;

	if (at == 0) {
		if (c->heap_at)
			take_out(c);
		return;
	}
	usec before = c->expires_at;
	c->expires_at = at;
	if (c->heap_at) {
		if (at < before)
			sift_up(e, c->heap_at - 1);
		else
			sift_down(e, c->heap_at - 1);
		return;
	}
	if (e->heap_len == e->heap_cap) {
		e->heap_cap = e->heap_cap ? 2 * e->heap_cap : 16;
		e->heap = mem_resize(e->heap, e->heap_cap * sizeof(struct quic_conn *));
	}
	place(e, e->heap_len++, c);
	sift_up(e, e->heap_len - 1);
}

struct quic_conn *quic_expiry_take(struct quic_endpoint *e, usec now)
{
	if (e->heap_len == 0 || e->heap[0]->expires_at > now)
		return NULL;
	struct quic_conn *c = e->heap[0];
	take_out(c);
	return c;
}

void quic_expiry_arm(struct quic_endpoint *e)
{
	if (e->heap_len)
		loop_alarm_set(e->alarm, e->heap[0]->expires_at);
	else
		loop_alarm_stop(e->alarm);
}
