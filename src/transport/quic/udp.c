/* UDP flows of a session: who they are, their datagrams, how they end. */
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "transport/quic/quic_udp.h"

/* Of a flow's stream: one message of the connector's. */
#define MAX_WORD_BYTES 4096

void quic_udp_dropped(struct quic_tunnel *t, enum udp_drop why)
{
	if (t->base.base.events->on_udp_dropped)
		t->base.base.events->on_udp_dropped(&t->base.base, why);
}

/* --- Life ------------------------------------------------------------------------------------ */

void quic_udp_init(struct quic_tunnel *t)
{
	list_init(&t->udp.flows);
}

bool quic_udp_is_full(const struct quic_tunnel *t)
{
	return t->udp.by_id && map_count(t->udp.by_id) >= LIMIT_UDP_FLOWS;
}

struct quic_flow *quic_flow_find(const struct quic_tunnel *t, struct bytes id)
{
	return t->udp.by_id ? map_find(t->udp.by_id, id) : NULL;
}

/* A connector that leaves waits for the flows whose end somebody will tell it. */
static bool holds_session(const struct quic_flow *f)
{
	return f->tunnel->base.base.side == SESSION_CONNECTOR && f->way != UDP_BY_DATAGRAM;
}

static void on_timer(struct timer *timer)
{
	struct quic_flow *f = CONTAINER_OF(timer, struct quic_flow, timer);
	bool is_edge = f->tunnel->base.base.side == SESSION_EDGE;

	CHECK(f, QUIC_FLOW_MAGIC);
	if (is_edge && !f->base.is_open) {
		quic_udp_ask_again(f);
		return;
	}
	int64_t quiet_ms = (loop_now(timer->loop) - f->active_at) / USEC_PER_MSEC;
	if (quiet_ms < f->idle_ms) {
		timer_set(timer, f->idle_ms - quiet_ms);
		return;
	}
	quic_udp_say_over(f, REASON_TIMEOUT, BYTES_NONE);
	quic_flow_ended(f, REASON_TIMEOUT, BYTES_NONE);
}

struct quic_flow *quic_flow_new(struct quic_tunnel *t, const struct uuid *id, enum udp_way way,
				int64_t idle_ms)
{
	struct quic_flow *f = mem_alloc(sizeof(*f));

	f->magic = QUIC_FLOW_MAGIC;
	f->base.session = &t->base.base;
	f->tunnel = t;
	f->id = *id;
	f->way = way;
	f->idle_ms = idle_ms;
	f->active_at = f->asked_at = loop_now(t->base.base.loop);
	timer_init(&f->timer, t->base.base.loop, on_timer);
	list_init(&f->early);
	if (!t->udp.by_id)
		t->udp.by_id = map_new();
	map_put(t->udp.by_id, uuid_bytes(id), f);
	list_init(&f->node);
	list_append(&t->udp.flows, &f->node);
	t->base.flows += holds_session(f);
	return f;
}

static void drop_early(struct quic_flow *f, struct early_payload *p)
{
	list_remove(&p->node);
	f->tunnel->udp.early_bytes -= p->len;
	mem_free(p);
}

static void unlink_flow(struct quic_flow *f)
{
	struct quic_tunnel *t = f->tunnel;

	timer_stop(&f->timer);
	while (!list_is_empty(&f->early))
		drop_early(f, LIST_ENTRY(f->early.next, struct early_payload, node));
	if (f->stream)
		f->stream->flow = NULL;
	f->stream = NULL;
	map_take(t->udp.by_id, uuid_bytes(&f->id));
	list_remove(&f->node);
	t->base.flows -= holds_session(f);
}

static void free_flow(struct quic_flow *f)
{
	struct quic_tunnel *t = f->tunnel;

	f->magic = 0;
	mem_free(f);
	if (t->base.base.side == SESSION_CONNECTOR && !quic_conn_is_over(t->conn))
		tunnel_check_drained(&t->base);
}

void quic_flow_free(struct quic_flow *f)
{
	unlink_flow(f);
	free_flow(f);
}

void quic_flow_ended(struct quic_flow *f, enum reason why, struct bytes text)
{
	unlink_flow(f);
	if (f->base.events && f->base.events->on_closed)
		f->base.events->on_closed(&f->base, why, text);
	free_flow(f);
}

void quic_udp_draining(struct quic_tunnel *t)
{
	struct list told;

	/* Whoever is told may close any flow, this one too. */
	list_init(&told);
	list_take_all(&told, &t->udp.flows);
	while (!list_is_empty(&told)) {
		struct quic_flow *f = LIST_ENTRY(told.next, struct quic_flow, node);
		list_remove(&f->node);
		list_append(&t->udp.flows, &f->node);
		if (f->base.events && f->base.events->on_draining)
			f->base.events->on_draining(&f->base);
	}
}

void quic_udp_done(struct quic_tunnel *t)
{
	while (!list_is_empty(&t->udp.flows))
		quic_flow_ended(LIST_ENTRY(t->udp.flows.next, struct quic_flow, node), REASON_LOST,
				BYTES_NONE);
	t->udp.by_id = map_free(t->udp.by_id);
}

/* --- Payloads -------------------------------------------------------------------------------- */

size_t quic_udp_max_payload(const struct udp_flow *base)
{
	const struct quic_flow *f = CONTAINER_OF(base, const struct quic_flow, base);
	size_t max = quic_max_datagram(f->tunnel->conn);

	max = max > DATAGRAM_OVERHEAD ? max - DATAGRAM_OVERHEAD : 0;
	if (f->way != UDP_BY_STREAM && max > DATAGRAM_PAYLOAD_BYTES)
		max = DATAGRAM_PAYLOAD_BYTES;
	return max;
}

bool quic_flow_send_now(struct quic_flow *f, struct bytes payload)
{
	struct quic_tunnel *t = f->tunnel;
	uint8_t bytes[2048] UNINITIALIZED;

	if (payload.len > quic_udp_max_payload(&f->base) ||
	    payload.len > sizeof(bytes) - DATAGRAM_OVERHEAD) {
		f->base.too_large++;
		return false;
	}
	datagram_put_payload(quic_udp_version(t), uuid_bytes(&f->id), payload, bytes);
	if (!quic_send_datagram(t->conn, bytes_of(bytes, payload.len + DATAGRAM_OVERHEAD))) {
		f->base.no_room++;
		return false;
	}
	f->base.sent++;
	f->active_at = loop_now(t->base.base.loop);
	return true;
}

/* The connector has not answered yet. */
static bool keep_early(struct quic_flow *f, struct bytes payload)
{
	struct quic_udp *udp = &f->tunnel->udp;

	if (payload.len > quic_udp_max_payload(&f->base)) {
		f->base.too_large++;
		return false;
	}
	if (f->early_count == LIMIT_UDP_FLOW_EARLY ||
	    udp->early_bytes + payload.len > LIMIT_UDP_EARLY_BYTES) {
		f->base.no_room++;
		return false;
	}
	struct early_payload *p = mem_alloc(sizeof(*p) + payload.len);
	p->len = payload.len;
	if (payload.len)
		memcpy(p->data, payload.ptr, payload.len);
	list_init(&p->node);
	list_append(&f->early, &p->node);
	f->early_count++;
	udp->early_bytes += payload.len;
	return true;
}

bool quic_udp_send_payload(struct udp_flow *base, struct bytes payload)
{
	struct quic_flow *f = quic_flow_of(base);

	if (base->is_open)
		return quic_flow_send_now(f, payload);
	if (base->session->side == SESSION_EDGE)
		return keep_early(f, payload);
	base->no_room++;
	return false;
}

void quic_udp_limit_idle(struct udp_flow *base, int64_t idle_ms)
{
	struct quic_flow *f = quic_flow_of(base);

	if (idle_ms >= f->idle_ms)
		return;
	f->idle_ms = idle_ms;
	if (timer_is_set(&f->timer))
		timer_set(&f->timer, idle_ms);
}

void quic_flow_opened(struct quic_flow *f)
{
	f->base.is_open = true;
	f->active_at = loop_now(f->tunnel->base.base.loop);
	timer_set(&f->timer, f->idle_ms);
	while (!list_is_empty(&f->early)) {
		struct early_payload *p = LIST_ENTRY(f->early.next, struct early_payload, node);
		(void)quic_flow_send_now(f, bytes_of(p->data, p->len)); /* counted if not */
		drop_early(f, p);
	}
	if (f->base.session->side == SESSION_EDGE && f->base.events->on_open)
		f->base.events->on_open(&f->base);
}

static void on_payload(struct quic_tunnel *t, struct bytes id, struct bytes payload)
{
	struct quic_flow *f = quic_flow_find(t, id);

	if (!f || !f->base.is_open) {
		quic_udp_dropped(t, UDP_DROP_UNKNOWN_FLOW);
	} else if (f->way != UDP_BY_STREAM && payload.len > DATAGRAM_PAYLOAD_BYTES) {
		quic_udp_dropped(t, UDP_DROP_TOO_LARGE);
	} else {
		f->base.received++;
		f->active_at = loop_now(t->base.base.loop);
		f->base.events->on_datagram(&f->base, payload);
	}
}

/* --- Other datagrams ------------------------------------------------------------------------- */

void quic_udp_send(struct quic_tunnel *t, const struct datagram_v3 *d)
{
	struct buf out;

	buf_init(&out, DATAGRAM_BYTES);
	/* Lost like any other when there is no room: it is asked for again. */
	if (datagram_v3_encode(&out, d) == 0)
		(void)quic_send_datagram(t->conn, buf_bytes(&out));
	buf_done(&out);
}

static void on_other_v3(struct quic_tunnel *t, struct bytes data)
{
	bool is_edge = t->base.base.side == SESSION_EDGE;
	struct datagram_v3 d;
	int rc = datagram_v3_decode(data, &d);

	if (rc == E_LIMIT)
		quic_udp_dropped(t, UDP_DROP_TOO_LARGE);
	else if (rc == 0 && d.type == DATAGRAM_V3_ICMP)
		quic_udp_dropped(t, UDP_DROP_ICMP);
	else if (rc == 0 && d.type == DATAGRAM_V3_REGISTER && !is_edge)
		quic_udp_on_register(t, &d);
	else if (rc == 0 && d.type == DATAGRAM_V3_RESPONSE && is_edge)
		quic_udp_on_response(t, &d);
	else
		quic_udp_dropped(t, UDP_DROP_MALFORMED);
}

/* Pings and what is told about their way: not carried. */
static void on_other_v2(struct quic_tunnel *t, struct bytes data)
{
	struct datagram_v2 d;
	int rc = datagram_v2_decode(data, &d);

	quic_udp_dropped(t, rc == 0         ? UDP_DROP_ICMP
			    : rc == E_LIMIT ? UDP_DROP_TOO_LARGE
					    : UDP_DROP_MALFORMED);
}

void quic_udp_on_datagram(struct quic_tunnel *t, struct bytes data)
{
	bool is_edge = t->base.base.side == SESSION_EDGE;
	unsigned version = quic_udp_version(t);
	struct bytes id, payload;

	if (t->base.is_closing)
		return;
	if (is_edge ? !t->base.is_registered : !tunnel_may_serve(&t->base))
		quic_udp_dropped(t, UDP_DROP_TOO_EARLY);
	else if (datagram_get_payload(version, data, &id, &payload))
		on_payload(t, id, payload);
	else if (version == 3)
		on_other_v3(t, data);
	else
		on_other_v2(t, data);
}

/* --- Ends ------------------------------------------------------------------------------------ */

void quic_udp_close(struct udp_flow *base, enum reason why, struct bytes text)
{
	struct quic_flow *f = quic_flow_of(base);

	quic_udp_say_over(f, why, text);
	quic_flow_free(f);
}

bool quic_can_open_udp(const struct session *s, bool is_hostname)
{
	const struct tunnel *base = CONTAINER_OF(s, const struct tunnel, base);
	const struct quic_tunnel *t = CONTAINER_OF(base, const struct quic_tunnel, base);

	/* Not from the events of flows that end with their connection, either. */
	if (!quic_transport.can_open(s) || quic_conn_is_over(t->conn) ||
	    !quic_conn_takes_datagrams(t->conn) || quic_udp_is_full(t))
		return false;
	return is_hostname ? session_has_feature(s, FEATURE_UDP)
			   : base->has_datagrams_v2 || base->has_datagrams_v3;
}

/* --- A flow's own stream --------------------------------------------------------------------- */

void quic_udp_stream_data(struct quic_tunnel_stream *ts, struct bytes data, bool fin)
{
	bool is_edge = ts->base.session->side == SESSION_EDGE;
	struct err err;

	quic_stream_consume(ts->q, data.len);
	if (ts->is_reset)
		return;
	if (is_edge && data.len && buf_append(&ts->head_in, data) < 0) {
		quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
		return;
	}
	/* The edge says nothing more; the connector a word now and one at the end. */
	while (is_edge && ts->flow && ts->head_in.len) {
		size_t size = 0;
		int rc = connect_head_size(buf_bytes(&ts->head_in), &size, &err);
		if (rc == E_AGAIN || (rc == 0 && size > ts->head_in.len && size <= MAX_WORD_BYTES))
			break;
		if (rc < 0 || size > ts->head_in.len) {
			quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
			return;
		}
		quic_udp_on_word(ts, bytes_first(buf_bytes(&ts->head_in), size));
		buf_drop(&ts->head_in, size);
	}
	if (fin && ts->flow)
		quic_flow_ended(ts->flow, REASON_DONE, BYTES_NONE);
	if (fin || (is_edge && !ts->flow))
		quic_tunnel_stream_reset(ts, REASON_DONE);
}

void quic_udp_stream_closed(struct quic_tunnel_stream *ts, enum reason why)
{
	/* At the connector it is the edge that has had enough. */
	if (why == REASON_CANCELLED)
		why = REASON_DONE;
	if (ts->flow)
		quic_flow_ended(ts->flow, why, BYTES_NONE);
}
