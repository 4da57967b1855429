/* The edge opens UDP flows: registrations out, the connector's word in (PROTOCOL.md §4.6, §4.7). */
#include <stdio.h>

#include "base/encode.h"
#include "base/limits.h"
#include "transport/quic/quic_udp.h"

/* A ConnectRequest with a host name and three short values. */
#define REQUEST_BYTES 4096

static int64_t told_idle_seconds(const struct quic_flow *f)
{
	return (f->idle_ms + LIMIT_UDP_IDLE_SLACK_MS + 999) / 1000;
}

/* --- Asking ---------------------------------------------------------------------------------- */

static struct bytes ip_of(const struct address *a)
{
	return a->any.sa_family == AF_INET ? bytes_of(&a->v4.sin_addr, 4)
					   : bytes_of(&a->v6.sin6_addr, 16);
}

static void send_registration(struct quic_flow *f)
{
	int64_t seconds = told_idle_seconds(f);
	struct datagram_v3 d = {
		.type = DATAGRAM_V3_REGISTER,
		.address = ip_of(&f->ip),
		.port = address_port(&f->ip),
		.idle_seconds = seconds < UINT16_MAX ? (uint16_t)seconds : UINT16_MAX,
	};

	memcpy(d.flow, f->id.b, sizeof(d.flow));
	quic_udp_send(f->tunnel, &d);
}

void quic_udp_ask_again(struct quic_flow *f)
{
	struct loop *l = f->tunnel->base.base.loop;

	if (loop_now(l) - f->asked_at >= LIMIT_UDP_OPEN_MS * USEC_PER_MSEC) {
		quic_udp_say_over(f, REASON_TIMEOUT, BYTES_NONE);
		quic_flow_ended(f, REASON_TIMEOUT, BYTES_LIT("the connector has not answered"));
		return;
	}
	if (f->way == UDP_BY_DATAGRAM)
		send_registration(f);
	timer_set(&f->timer, LIMIT_UDP_REGISTER_AGAIN_MS);
}

static bool open_stream(struct quic_flow *f, const struct udp_target *target)
{
	struct quic_tunnel *t = f->tunnel;
	char id[33] = "", client[ADDRESS_TEXT_SIZE], seconds[24];
	struct connect_pair pairs[4];
	size_t count = 0;
	struct buf out;

	struct quic_stream *q = quic_open(t->conn, NULL);
	if (!q)
		return false;
	hex_encode(uuid_bytes(&f->id), id);
	snprintf(seconds, sizeof(seconds), "%lld", (long long)told_idle_seconds(f));
	pairs[count++] = (struct connect_pair){ CONNECT_OTHER, QUIC_KEY_UDP, bytes_str(id) };
	pairs[count++] =
		(struct connect_pair){ CONNECT_OTHER, QUIC_KEY_UDP_IDLE, bytes_str(seconds) };
	if (target->client.len)
		pairs[count++] =
			(struct connect_pair){ CONNECT_OTHER, QUIC_KEY_UDP_CLIENT,
					       bytes_str(address_text(&target->client, client)) };
	if (target->has_proxy_header)
		pairs[count++] = (struct connect_pair){ CONNECT_OTHER, QUIC_KEY_UDP_HEADER,
							BYTES_LIT("proxy-v2") };
	struct quic_tunnel_stream *ts = quic_tunnel_stream_new(t, STREAM_TCP, q);
	t->base.streams--; /* it is no request, and nobody waits for its end */
	ts->is_udp = ts->has_head = true;
	ts->flow = f;
	f->stream = ts;
	buf_init(&out, REQUEST_BYTES);
	if (connect_put_request(&out, CONNECT_TCP, target->hostname, pairs, count) < 0 ||
	    quic_stream_write(q, buf_bytes(&out), false) < out.len)
		quic_tunnel_stream_reset(ts, REASON_FAILED);
	buf_done(&out);
	return true;
}

struct udp_flow *quic_udp_open(struct session *s, const struct udp_target *target, int64_t idle_ms,
			       const struct udp_flow_events *events, void *ctx)
{
	struct quic_tunnel *t = quic_tunnel_of(s);
	struct uuid id = uuid_random();
	enum udp_way way = target->hostname.len       ? UDP_BY_STREAM
			   : quic_udp_version(t) == 3 ? UDP_BY_DATAGRAM
						      : UDP_BY_RPC;
	struct quic_flow *f = quic_flow_new(t, &id, way, idle_ms);

	f->base.events = events;
	f->base.ctx = ctx;
	f->ip = target->ip;
	bool is_asked = true;
	if (way == UDP_BY_STREAM)
		is_asked = open_stream(f, target);
	else if (way == UDP_BY_RPC)
		is_asked = quic_rpc_register(t, f);
	else
		send_registration(f);
	if (!is_asked) {
		quic_flow_free(f);
		return NULL;
	}
	timer_set(&f->timer, LIMIT_UDP_REGISTER_AGAIN_MS);
	return &f->base;
}

/* --- The connector's word -------------------------------------------------------------------- */

void quic_udp_registered(struct quic_flow *f, struct bytes error)
{
	if (error.len)
		quic_flow_ended(f, REASON_REFUSED, error);
	else
		quic_flow_opened(f);
}

static enum reason reason_of_code(uint8_t code)
{
	switch (code) {
	case DATAGRAM_V3_UNREACHABLE:
	case DATAGRAM_V3_CANNOT_BIND:
		return REASON_FAILED;
	case DATAGRAM_V3_TOO_MANY:
		return REASON_FLOOD;
	default:
		return REASON_REFUSED;
	}
}

void quic_udp_on_response(struct quic_tunnel *t, const struct datagram_v3 *d)
{
	struct quic_flow *f = quic_flow_find(t, bytes_of(d->flow, sizeof(d->flow)));

	if (!f || f->way != UDP_BY_DATAGRAM)
		quic_udp_dropped(t, UDP_DROP_UNKNOWN_FLOW);
	else if (d->code != DATAGRAM_V3_OK)
		quic_flow_ended(f, reason_of_code(d->code), d->text);
	else if (!f->base.is_open)
		quic_flow_opened(f);
}

static enum reason reason_of_word(struct bytes word)
{
	static const struct {
		const char *word;
		enum reason why;
	} words[] = {
		{ "refused", REASON_REFUSED }, { "flood", REASON_FLOOD },
		{ "failed", REASON_FAILED },   { "idle", REASON_TIMEOUT },
		{ "done", REASON_DONE },
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (bytes_eq(word, bytes_str(words[i].word)))
			return words[i].why;
	return REASON_FAILED;
}

void quic_udp_on_word(struct quic_tunnel_stream *ts, struct bytes bytes)
{
	struct connect_head head;
	struct bytes word = BYTES_NONE;
	struct err err;

	int rc = connect_get_response(bytes, &head, &err);
	for (uint32_t i = 0; rc == 0 && i < head.pairs.count; i++) {
		struct connect_pair pair;
		rc = connect_pair_at(&head, i, &pair);
		if (rc == 0 && pair.key == CONNECT_OTHER && bytes_eq(pair.name, QUIC_KEY_UDP))
			word = pair.value;
	}
	if (rc < 0)
		quic_tunnel_stream_reset(ts, REASON_PROTOCOL);
	else if (head.error.len)
		quic_flow_ended(ts->flow, reason_of_word(word), head.error);
	else if (!ts->flow->base.is_open)
		quic_flow_opened(ts->flow);
}
