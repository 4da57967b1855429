/* Packets from what is queued: many of one size into one send. */
#include "quic/quic_internal.h"

/* Runs of a stream's queue offered for one packet. */
#define RUNS_MAX 4

/* Packets that wait in `out` for one send: one path, one ECN mark, one size but for the last. */
struct burst {
	struct quic_conn *c;
	ngtcp2_path_storage path;
	uint8_t ecn;
	size_t len, segment;
};

static void lost_way(struct quic_conn *c, const struct err *err)
{
	/* Routes come back, and a connection outlives the gap. Whoever dials wants to know at once. */
	if (!c->is_server && c->received_packets == 0 && err->code == E_IO)
		quic_conn_end(c, END_SILENT, err);
}

static bool burst_send(struct burst *b)
{
	struct quic_endpoint *e = b->c->endpoint;
	struct err err = { 0 };
	size_t len = b->len;

	b->len = 0;
	if (len == 0)
		return true;
	bool is_out = quic_endpoint_send(e, &b->path.path, b->ecn, bytes_of(e->out, len),
					 b->segment, &err);
	if (err.code)
		lost_way(b->c, &err);
	return is_out;
}

/* Adds the packet of `n` bytes that was written behind the others. */
static bool burst_add(struct burst *b, size_t n, const ngtcp2_path_storage *path, uint8_t ecn)
{
	uint8_t *out = b->c->endpoint->out;
	bool has_room = true;

	if (b->len &&
	    (n > b->segment || ecn != b->ecn || !ngtcp2_path_eq(&b->path.path, &path->path))) {
		size_t at = b->len;
		has_room = burst_send(b);
		if (!has_room)
			return false; /* and this one is lost, as packets may be */
		memmove(out, out + at, n);
	}
	if (b->len == 0) {
		b->path = *path;
		b->path.path.local.addr = (ngtcp2_sockaddr *)&b->path.local_addrbuf;
		b->path.path.remote.addr = (ngtcp2_sockaddr *)&b->path.remote_addrbuf;
		b->ecn = ecn;
		b->segment = n;
	}
	b->len += n;
	/* A short one ends the burst; a probe of the path's MTU goes alone, it may be too large. */
	if (n < b->segment || n > ngtcp2_conn_get_path_max_tx_udp_payload_size(b->c->ng))
		has_room = burst_send(b);
	return has_room;
}

/* --- Black holes ----------------------------------------------------------------------------- */

/* What every path of QUIC takes (RFC 9000 §14). */
#define SMALL_PAYLOAD NGTCP2_MAX_UDP_PAYLOAD_SIZE

/* ngtcp2 finds a path's MTU once and believes it for ever (RFC 8899 §4.3 asks for more). Large packets that are not
 * acknowledged for so long, and several probe timeouts, may be too large by now: small ones show whether it was that. */
static void look_for_black_hole(struct quic_conn *c, ngtcp2_tstamp now)
{
	usec at = (usec)(now / 1000), pto = (usec)(ngtcp2_conn_get_pto(c->ng) / 1000);

	if (c->small_until && at >= c->small_until)
		c->small_until = 0;
	if (!c->large_since || c->small_until ||
	    at - c->large_since < LIMIT_QUIC_BLACK_HOLE_MS * USEC_PER_MSEC + 3 * pto)
		return;
	if (c->small_ms == 0)
		c->small_ms = LIMIT_QUIC_SMALL_MS;
	c->small_until = at + c->small_ms * USEC_PER_MSEC;
	if (c->small_ms < LIMIT_QUIC_SMALL_MAX_MS)
		c->small_ms *= 2;
	c->large_since = 0;
}

size_t quic_conn_payload_max(const struct quic_conn *c)
{
	size_t max = ngtcp2_conn_get_path_max_tx_udp_payload_size(c->ng);

	return c->small_until && max > SMALL_PAYLOAD ? SMALL_PAYLOAD : max;
}

void quic_conn_note_acked(struct quic_conn *c, size_t n)
{
	/* Less may have come in a small packet. */
	if (n >= SMALL_PAYLOAD)
		c->large_since = 0;
}

void quic_conn_forget_black_hole(struct quic_conn *c)
{
	c->large_since = c->small_until = 0;
	c->small_ms = 0;
}

/* --- One packet ------------------------------------------------------------------------------ */

struct packet {
	ngtcp2_path_storage path;
	ngtcp2_pkt_info info;
	uint8_t *dst;
	size_t cap;
	ngtcp2_tstamp now;
};

/* True: *ret is the outcome of the packet; false: there is room for more in it. */
static bool write_datagram(struct quic_conn *c, struct packet *p, ngtcp2_ssize *ret)
{
	struct datagram *d = quic_datagram_first(c);
	ngtcp2_vec run = { d->data, d->len };
	int accepted = 0;

	ngtcp2_ssize n = ngtcp2_conn_writev_datagram(c->ng, &p->path.path, &p->info, p->dst, p->cap,
						     &accepted, NGTCP2_WRITE_DATAGRAM_FLAG_MORE, 0,
						     &run, d->len ? 1 : 0, p->now);
	if (accepted || n == NGTCP2_ERR_INVALID_ARGUMENT || n == NGTCP2_ERR_INVALID_STATE) {
		quic_datagram_drop_first(c);
		if (n < 0)
			return false;
	}
	*ret = n;
	return n != NGTCP2_ERR_WRITE_MORE;
}

static bool write_stream(struct quic_conn *c, struct quic_stream *st, struct packet *p,
			 ngtcp2_ssize *ret)
{
	ngtcp2_vec runs[RUNS_MAX];
	ngtcp2_ssize taken;
	bool fin;
	size_t count = quic_stream_peek(st, runs, RUNS_MAX, &fin);
	uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE | (fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0);
	size_t total = 0;

	for (size_t i = 0; i < count; i++)
		total += runs[i].len;
	ngtcp2_ssize n = ngtcp2_conn_writev_stream(c->ng, &p->path.path, &p->info, p->dst, p->cap,
						   &taken, flags, st->id, runs, count, p->now);
	if (taken >= SMALL_PAYLOAD && !c->large_since)
		c->large_since = (usec)(p->now / 1000);
	if (taken >= 0)
		quic_stream_sent(st, (size_t)taken, fin && (size_t)taken == total);
	*ret = n;
	switch (n) {
	case NGTCP2_ERR_WRITE_MORE:
		return false;
	case NGTCP2_ERR_STREAM_DATA_BLOCKED:
		quic_stream_block(st, ngtcp2_conn_get_max_data_left(c->ng) == 0);
		return false;
	case NGTCP2_ERR_STREAM_SHUT_WR:
	case NGTCP2_ERR_STREAM_NOT_FOUND:
		quic_stream_mute(st);
		return false;
	default:
		return true;
	}
}

static struct quic_stream *next_stream(struct quic_conn *c)
{
	struct list *from = &c->sendable;

	if (list_is_empty(from) && !list_is_empty(&c->starved) &&
	    ngtcp2_conn_get_max_data_left(c->ng) > 0) {
		struct list *node = list_pop(&c->starved);
		list_append(from, node);
	}
	return list_is_empty(from) ? NULL : LIST_ENTRY(from->next, struct quic_stream, send_node);
}

/* A datagram that the path has become too small for would be in the way for ever. */
static void drop_large_datagrams(struct quic_conn *c)
{
	struct datagram *d;

	while ((d = quic_datagram_first(c)) && d->len > quic_max_datagram(c))
		quic_datagram_drop_first(c);
}

/* Its size, 0: nothing can be sent now, or a failure of ngtcp2. */
static ngtcp2_ssize write_packet(struct quic_conn *c, struct packet *p)
{
	ngtcp2_ssize n;

	drop_large_datagrams(c);
	/* Packet by packet in turn, where both have something. */
	c->is_stream_turn = !c->is_stream_turn && quic_datagram_first(c);
	while (c->is_stream_turn && quic_datagram_first(c))
		if (write_datagram(c, p, &n))
			return n;
	for (struct quic_stream *st; (st = next_stream(c));)
		if (write_stream(c, st, p, &n))
			return n;
	while (quic_datagram_first(c))
		if (write_datagram(c, p, &n))
			return n;
	return ngtcp2_conn_writev_stream(c->ng, &p->path.path, &p->info, p->dst, p->cap, NULL,
					 NGTCP2_WRITE_STREAM_FLAG_NONE, -1, NULL, 0, p->now);
}

/* --- What may be sent now -------------------------------------------------------------------- */

static void migrate(struct quic_conn *c, ngtcp2_tstamp now)
{
	const struct address *local = udp_local(c->endpoint->socket->udp);
	ngtcp2_path path = { .local = quic_address(local), .remote = quic_address(&c->peer) };

	c->wants_migration = false;
	int ret = ngtcp2_conn_initiate_immediate_migration(c->ng, &path, now);
	if (ret == NGTCP2_ERR_CONN_ID_BLOCKED) {
		/* The peer has not given us a second id: go on under the first, as behind a NAT that has
		 * changed its mind. */
		ngtcp2_conn_set_local_addr(c->ng, &path.local);
		ret = 0;
	}
	/* Before the handshake is confirmed there is no other way than the old one (RFC 9000 §9). */
	if (ret == 0)
		c->local = *local;
}

bool quic_conn_write(struct quic_conn *c)
{
	struct quic_endpoint *e = c->endpoint;
	struct burst b = { .c = c };
	size_t total = 0;
	bool has_room = true;
	ngtcp2_ssize n = 0;

	ngtcp2_tstamp now = quic_read_clock(e);
	if (c->wants_migration)
		migrate(c, now);
	quic_streams_apply(c);
	look_for_black_hole(c, now);
	/* Probes of the path's MTU are larger than what it is known to take. */
	size_t max = c->small_until ? SMALL_PAYLOAD : ngtcp2_conn_get_max_tx_udp_payload_size(c->ng);
	size_t quantum = ngtcp2_conn_get_send_quantum(c->ng);
	size_t since = 0;
	while (has_room && total < LIMIT_QUIC_BYTES_PER_TURN) {
		if (b.len + max > OUT_BYTES && !(has_room = burst_send(&b)))
			break;
		struct packet p = { .dst = e->out + b.len, .cap = max, .now = now };
		ngtcp2_path_storage_zero(&p.path);
		n = write_packet(c, &p);
		if (n <= 0)
			break;
		c->sent_packets++;
		c->sent_bytes += (uint64_t)n;
		total += (size_t)n;
		since += (size_t)n;
		has_room = burst_add(&b, (size_t)n, &p.path, (uint8_t)p.info.ecn);
		if (since >= quantum) {
			/* Paced from here: the next call says whether more may leave now. */
			ngtcp2_conn_update_pkt_tx_time(c->ng, now);
			since = 0;
		}
	}
	if (b.len)
		has_room = burst_send(&b);
	if (n < 0) {
		quic_conn_fail(c, (int)n);
		return has_room;
	}
	ngtcp2_conn_update_pkt_tx_time(c->ng, now);
	if (c->is_ending)
		return has_room;
	ngtcp2_tstamp expiry = ngtcp2_conn_get_expiry(c->ng);
	/* Rounded up: ngtcp2 does nothing at a time that is not quite over. */
	usec at = expiry == UINT64_MAX ? 0 : (usec)((expiry + 999) / 1000);
	if (total >= LIMIT_QUIC_BYTES_PER_TURN)
		at = (usec)(now / 1000); /* there is more: once the others had their turn */
	quic_expiry_set(c, at);
	return has_room;
}

void quic_conn_send_close(struct quic_conn *c,
			  void (*remember)(struct quic_conn *c, const ngtcp2_path *path,
					   struct bytes packet))
{
	uint8_t out[NGTCP2_MAX_UDP_PAYLOAD_SIZE + 300];
	ngtcp2_path_storage path;
	ngtcp2_pkt_info info;

	ngtcp2_path_storage_zero(&path);
	ngtcp2_ssize n =
		ngtcp2_conn_write_connection_close(c->ng, &path.path, &info, out, sizeof(out),
						   &c->close, quic_read_clock(c->endpoint));
	if (n <= 0)
		return;
	struct bytes packet = bytes_of(out, (size_t)n);
	(void)quic_endpoint_send(c->endpoint, &path.path, (uint8_t)info.ecn, packet, packet.len,
				 NULL);
	if (remember)
		remember(c, &path.path, packet);
}
