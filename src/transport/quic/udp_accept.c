/* The connector answers the edge's UDP flows, in each of the three ways; and how either side says that one is
 * over. */
#include "base/encode.h"
#include "base/limits.h"
#include "transport/quic/quic_udp.h"
#include "wire/rpc_session.h"

/* Of a text for the edge's log. */
#define MAX_TEXT_BYTES 256
#define WORD_BYTES 2048
/* No flow of an edge's waits longer for a datagram. */
#define MAX_IDLE_MS (24 * 60 * 60 * 1000)

static int64_t idle_of_seconds(uint64_t seconds)
{
	if (seconds == 0)
		return LIMIT_UDP_IDLE_MS;
	return seconds < MAX_IDLE_MS / 1000 ? (int64_t)seconds * 1000 : MAX_IDLE_MS;
}

/* --- Being asked ----------------------------------------------------------------------------- */

static void offer(struct quic_flow *f, const struct udp_target *target)
{
	struct session *s = f->base.session;

	/* Its user answers soon, or this refuses. */
	timer_set(&f->timer, f->idle_ms);
	if (s->events->on_udp)
		s->events->on_udp(s, &f->base, target);
	else
		quic_udp_close(&f->base, REASON_REFUSED, BYTES_LIT("this connector carries no UDP"));
}

/* IPv4 may come in 16 bytes. */
static struct address address_of(struct bytes ip, uint16_t port)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct address a = { .len = 0 };

	if (ip.len == 16 && memcmp(ip.ptr, mapped, sizeof(mapped)) == 0)
		ip = bytes_from(ip, sizeof(mapped));
	if (ip.len == 4) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(port);
		memcpy(&a.v4.sin_addr, ip.ptr, 4);
		a.len = sizeof(a.v4);
	} else {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons(port);
		memcpy(&a.v6.sin6_addr, ip.ptr, 16);
		a.len = sizeof(a.v6);
	}
	return a;
}

static void respond(struct quic_tunnel *t, const uint8_t flow[16], uint8_t code, struct bytes text)
{
	struct datagram_v3 d = { .type = DATAGRAM_V3_RESPONSE,
				 .code = code,
				 .text = bytes_first(text, MAX_TEXT_BYTES) };

	memcpy(d.flow, flow, sizeof(d.flow));
	quic_udp_send(t, &d);
}

void quic_udp_on_register(struct quic_tunnel *t, const struct datagram_v3 *d)
{
	struct quic_flow *f = quic_flow_find(t, bytes_of(d->flow, sizeof(d->flow)));
	struct uuid id;

	if (f) {
		/* Our answer was lost, or the edge keeps the flow alive. */
		if (f->way == UDP_BY_DATAGRAM && f->base.is_open) {
			f->active_at = loop_now(t->base.base.loop);
			respond(t, d->flow, DATAGRAM_V3_OK, BYTES_NONE);
		}
		return;
	}
	if (quic_udp_is_full(t)) {
		respond(t, d->flow, DATAGRAM_V3_TOO_MANY, BYTES_NONE);
		return;
	}
	memcpy(id.b, d->flow, sizeof(id.b));
	f = quic_flow_new(t, &id, UDP_BY_DATAGRAM, idle_of_seconds(d->idle_seconds));
	offer(f, &(struct udp_target){ .ip = address_of(d->address, d->port) });
}

void quic_udp_on_call(struct quic_tunnel_stream *ts, uint32_t question,
		      const struct rpc_udp_session *s)
{
	struct quic_tunnel *t = quic_tunnel_of(ts->base.session);
	struct bytes refusal = BYTES_NONE;
	struct uuid id;

	if (quic_udp_version(t) == 3)
		refusal = BYTES_LIT("datagram v3 does not support RegisterUdpSession RPC");
	else if (quic_flow_find(t, s->session))
		refusal = BYTES_LIT("there is a session with this id");
	else if (quic_udp_is_full(t))
		refusal = BYTES_LIT("too many active flows");
	else if (ts->flow)
		refusal = BYTES_LIT("one registration at a time");
	if (refusal.len) {
		quic_rpc_answer(ts, question, refusal);
		return;
	}
	memcpy(id.b, s->session.ptr, sizeof(id.b));
	uint64_t seconds = s->idle_ns > 0 ? ((uint64_t)s->idle_ns + 999999999u) / 1000000000u : 0;
	struct quic_flow *f = quic_flow_new(t, &id, UDP_BY_RPC, idle_of_seconds(seconds));
	f->question = question;
	f->stream = ts;
	ts->flow = f;
	offer(f, &(struct udp_target){ .ip = address_of(s->address, s->port) });
}

/* --- Ours ------------------------------------------------------------------------------------ */

struct asking {
	struct uuid id;
	bool has_id;
	uint64_t seconds;
	struct address client;
	bool has_proxy_header;
};

static int read_asking(const struct connect_head *head, struct asking *a)
{
	for (uint32_t i = 0; i < head->pairs.count; i++) {
		struct connect_pair pair;
		int rc = connect_pair_at(head, i, &pair);
		if (rc < 0)
			return rc;
		if (pair.key != CONNECT_OTHER)
			continue;
		if (bytes_eq(pair.name, QUIC_KEY_UDP)) {
			if (pair.value.len != 2 * sizeof(a->id.b) ||
			    !hex_decode(pair.value, a->id.b))
				return E_PROTOCOL;
			a->has_id = true;
		} else if (bytes_eq(pair.name, QUIC_KEY_UDP_IDLE)) {
			if (!bytes_to_u64(pair.value, &a->seconds))
				return E_PROTOCOL;
		} else if (bytes_eq(pair.name, QUIC_KEY_UDP_HEADER)) {
			a->has_proxy_header = bytes_eq(pair.value, BYTES_LIT("proxy-v2"));
		} else if (bytes_eq(pair.name, QUIC_KEY_UDP_CLIENT)) {
			/* For the service's eyes only: what makes no sense is not known. */
			if (address_parse(pair.value, &a->client, NULL) < 0 ||
			    a->client.any.sa_family == AF_UNIX)
				a->client.len = 0;
		}
	}
	return a->has_id ? 0 : E_PROTOCOL;
}

bool quic_udp_on_request(struct quic_tunnel_stream *ts, const struct connect_head *head)
{
	struct quic_tunnel *t = quic_tunnel_of(ts->base.session);
	struct asking a = { .has_id = false };

	if (read_asking(head, &a) < 0 || head->dest.len == 0 ||
	    quic_flow_find(t, uuid_bytes(&a.id))) {
		quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
		return false;
	}
	ts->is_udp = true;
	t->base.streams--; /* the flow counts */
	struct quic_flow *f = quic_flow_new(t, &a.id, UDP_BY_STREAM, idle_of_seconds(a.seconds));
	f->stream = ts;
	ts->flow = f;
	/* One over the limit, for a moment. */
	if (quic_udp_is_full(t))
		quic_udp_close(&f->base, REASON_FLOOD, BYTES_NONE);
	else
		offer(f, &(struct udp_target){ .hostname = head->dest,
					       .client = a.client,
					       .has_proxy_header = a.has_proxy_header });
	return !ts->is_reset;
}

static void say(struct quic_tunnel_stream *ts, const char *word, struct bytes error, bool fin)
{
	struct connect_pair pair = { CONNECT_OTHER, QUIC_KEY_UDP, bytes_str(word) };
	struct buf out;

	buf_init(&out, WORD_BYTES);
	if (connect_put_response(&out, error, &pair, 1) < 0 ||
	    quic_stream_write(ts->q, buf_bytes(&out), fin) < out.len)
		quic_tunnel_stream_reset(ts, REASON_FAILED);
	buf_done(&out);
	if (fin)
		quic_stream_stop(ts->q, QUIC_CODE_NONE);
}

/* --- Answers --------------------------------------------------------------------------------- */

void quic_udp_accept(struct udp_flow *base)
{
	struct quic_flow *f = quic_flow_of(base);
	struct quic_tunnel_stream *ts = f->stream;

	BUG_IF(base->is_open || base->session->side != SESSION_CONNECTOR);
	switch (f->way) {
	case UDP_BY_STREAM:
		if (ts)
			say(ts, "ok", BYTES_NONE, false);
		break;
	case UDP_BY_RPC:
		if (ts) {
			ts->flow = NULL;
			f->stream = NULL;
			quic_rpc_answer(ts, f->question, BYTES_NONE);
		}
		break;
	case UDP_BY_DATAGRAM:
		respond(f->tunnel, f->id.b, DATAGRAM_V3_OK, BYTES_NONE);
		break;
	}
	quic_flow_opened(f);
}

static const char *word_of(enum reason why)
{
	switch (why) {
	case REASON_REFUSED:
		return "refused";
	case REASON_FLOOD:
		return "flood";
	case REASON_TIMEOUT:
		return "idle";
	case REASON_DONE:
	case REASON_CANCELLED:
		return "done";
	default:
		return "failed";
	}
}

static uint8_t code_of(enum reason why, struct bytes text)
{
	if (why == REASON_FLOOD)
		return DATAGRAM_V3_TOO_MANY;
	return why == REASON_FAILED && text.len == 0 ? DATAGRAM_V3_CANNOT_BIND : DATAGRAM_V3_ERROR;
}

static void say_over_as_edge(struct quic_flow *f, enum reason why)
{
	struct quic_tunnel_stream *ts = f->stream;

	if (ts)
		quic_tunnel_stream_reset(ts, why);
	if (f->way == UDP_BY_RPC)
		quic_rpc_unregister(f->tunnel, &f->id, bytes_str(reason_text(why)));
}

void quic_udp_say_over(struct quic_flow *f, enum reason why, struct bytes text)
{
	struct quic_tunnel_stream *ts = f->stream;

	if (f->tunnel->base.is_closing || quic_conn_is_over(f->tunnel->conn))
		return;
	if (f->base.session->side == SESSION_EDGE) {
		say_over_as_edge(f, why);
		return;
	}
	if (text.len == 0)
		text = bytes_str(reason_text(why));
	text = bytes_first(text, MAX_TEXT_BYTES);
	switch (f->way) {
	case UDP_BY_STREAM:
		if (ts)
			say(ts, word_of(why), text, true);
		break;
	case UDP_BY_RPC:
		if (f->base.is_open) {
			quic_rpc_unregister(f->tunnel, &f->id, text);
		} else if (ts) {
			ts->flow = NULL;
			f->stream = NULL;
			quic_rpc_answer(ts, f->question, text);
		}
		break;
	case UDP_BY_DATAGRAM:
		if (!f->base.is_open)
			respond(f->tunnel, f->id.b, code_of(why, text), text);
		break;
	}
}
