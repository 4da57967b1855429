/* What is left of a closed connection for a while (RFC 9000 §10.2): its ids, and the CONNECTION_CLOSE that late
 * packets are answered with, less and less often. */
#include "base/mem.h"
#include "quic/quic_internal.h"

struct quic_closed {
	struct quic_owner owner;
	struct list node;
	usec dies_at;
	unsigned seen;
	struct address from, to;
	uint8_t *packet; /* owned; NULL: the peer has closed, nothing is said any more */
	size_t len;
	ngtcp2_cid *ids; /* owned */
	size_t id_count;
};

static void forget(struct quic_endpoint *e, struct quic_closed *d)
{
	for (size_t i = 0; i < d->id_count; i++)
		quic_id_disown(e, &d->ids[i], &d->owner);
	list_remove(&d->node);
	e->closed_count--;
	mem_free(d->ids);
	mem_free(d->packet);
	mem_free(d);
}

void quic_closed_add(struct quic_conn *c, const ngtcp2_path *path, struct bytes packet, int64_t msec)
{
	struct quic_endpoint *e = c->endpoint;
	struct quic_closed *d = mem_alloc(sizeof(*d));

	if (e->closed_count == LIMIT_QUIC_CLOSED)
		forget(e, LIST_ENTRY(e->closed.next, struct quic_closed, node));
	d->owner.kind = OWNER_CLOSED;
	d->dies_at = loop_now(e->loop) + msec * USEC_PER_MSEC;
	if (packet.len) {
		d->from = quic_address_of(&path->local);
		d->to = quic_address_of(&path->remote);
		d->packet = mem_alloc(packet.len);
		memcpy(d->packet, packet.ptr, packet.len);
		d->len = packet.len;
	}
	d->ids = quic_ids_of(c, &d->id_count);
	for (size_t i = 0; i < d->id_count; i++)
		quic_id_own(e, &d->ids[i], &d->owner);
	list_append(&e->closed, &d->node);
	e->closed_count++;
	if (!timer_is_set(&e->sweep))
		timer_set(&e->sweep, 1000);
}

void quic_closed_read(struct quic_endpoint *e, struct quic_owner *owner)
{
	struct quic_closed *d = CONTAINER_OF(owner, struct quic_closed, owner);

	/* To the 1st, 2nd, 4th, 8th … packet. */
	d->seen++;
	if (!d->packet || (d->seen & (d->seen - 1)) != 0)
		return;
	ngtcp2_path path = { .local = quic_address(&d->from), .remote = quic_address(&d->to) };
	(void)quic_endpoint_send(e, &path, 0, bytes_of(d->packet, d->len), d->len, NULL);
}

void quic_closed_sweep(struct quic_endpoint *e, bool all)
{
	usec now = loop_now(e->loop);

	LIST_FOR_EACH(node, &e->closed) {
		struct quic_closed *d = LIST_ENTRY(node, struct quic_closed, node);
		if (all || d->dies_at <= now)
			forget(e, d);
	}
}
