/* DATAGRAM frames (RFC 9221): a short queue, for the moment in which the congestion window is full. */
#include "base/mem.h"
#include "quic/quic_internal.h"

/* Type and length before the payload. */
#define FRAME_OVERHEAD 3
/* Of a packet: first byte, packet number, AEAD tag. */
#define PACKET_OVERHEAD (1 + 4 + 16)

struct datagram *quic_datagram_first(struct quic_conn *c)
{
	if (list_is_empty(&c->datagrams))
		return NULL;
	return LIST_ENTRY(c->datagrams.next, struct datagram, node);
}

void quic_datagram_drop_first(struct quic_conn *c)
{
	struct datagram *d = quic_datagram_first(c);

	list_remove(&d->node);
	c->datagram_count--;
	mem_free(d);
	if (c->wants_room && c->datagram_count <= LIMIT_QUIC_DATAGRAMS / 2) {
		c->wants_room = false;
		c->owes_room = true;
		loop_defer(c->endpoint->loop, &c->deliver);
	}
}

void quic_datagrams_free(struct quic_conn *c)
{
	c->wants_room = false;
	while (quic_datagram_first(c))
		quic_datagram_drop_first(c);
}

bool quic_conn_takes_datagrams(const struct quic_conn *c)
{
	return c->datagram_max > 0;
}

size_t quic_max_datagram(const struct quic_conn *c)
{
	CHECK(c, CONN_MAGIC);
	if (c->datagram_max == 0 || c->is_ending)
		return 0;
	size_t packet = quic_conn_payload_max(c);
	size_t overhead = PACKET_OVERHEAD + FRAME_OVERHEAD + ngtcp2_conn_get_dcid(c->ng)->datalen;
	size_t fits = packet - overhead;
	return fits < c->datagram_max ? fits : c->datagram_max;
}

bool quic_send_datagram(struct quic_conn *c, struct bytes data)
{
	CHECK(c, CONN_MAGIC);
	if (c->is_ending || !c->is_done || data.len > quic_max_datagram(c))
		return false;
	if (c->datagram_count == LIMIT_QUIC_DATAGRAMS) {
		c->wants_room = true;
		return false;
	}
	struct datagram *d = mem_alloc(sizeof(*d) + data.len);
	d->len = data.len;
	if (data.len)
		memcpy(d->data, data.ptr, data.len);
	list_append(&c->datagrams, &d->node);
	c->datagram_count++;
	quic_conn_touch(c);
	return true;
}
