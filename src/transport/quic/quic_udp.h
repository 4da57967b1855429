/* UDP flows over QUIC: what the driver's files share about them. Included by them alone.
 *
 * A flow is registered in one of three ways; its payloads are the same datagrams in all of them, of the version
 * that the connector announced:
 *   UDP_BY_RPC       version 2: registerUdpSession on a short stream, unregisterUdpSession by either side
 *   UDP_BY_DATAGRAM  version 3: registration and response as datagrams, repeated when one may be lost; there
 *                    is no word for the end
 *   UDP_BY_STREAM    ours, for targets with a hostname: a ConnectRequest whose stream lives as long as the flow
 * udp.c: flows, their datagrams and ends. udp_open.c: the edge registers. udp_accept.c: the connector answers.
 */
#pragma once

#include "base/uuid.h"
#include "transport/quic/quic_tunnel.h"
#include "transport/udp_flow.h"
#include "wire/datagram.h"

#define QUIC_FLOW_MAGIC 0x7166776c

/* Metadata of ours. */
#define QUIC_KEY_UDP BYTES_LIT("AditUdp") /* request: the flow's id, hex; response: a word */
#define QUIC_KEY_UDP_CLIENT \
	BYTES_LIT("AditUdpClient") /* request: "192.0.2.1:5353"; may be absent */
#define QUIC_KEY_UDP_HEADER \
	BYTES_LIT("AditUdpHeader") /* request: "proxy-v2", begins every payload; may be absent */
#define QUIC_KEY_UDP_IDLE \
	BYTES_LIT("AditUdpIdle") /* request: seconds; absent: the connector's choice */

enum udp_way { UDP_BY_RPC, UDP_BY_DATAGRAM, UDP_BY_STREAM };

/* A payload that waits for the connector's word. */
struct early_payload {
	struct list node;
	size_t len;
	uint8_t data[];
};

struct quic_flow {
	struct udp_flow base;
	uint32_t magic;
	struct list node;           /* of quic_udp.flows */
	struct quic_tunnel *tunnel; /* borrowed: outlives its flows */
	struct uuid id;
	enum udp_way way;
	/* Borrowed; BY_STREAM: the flow's; BY_RPC: of the registration, until it is answered; else NULL. */
	struct quic_tunnel_stream *stream;
	uint32_t question; /* connector, BY_RPC: what it answers */
	int64_t idle_ms;
	usec active_at; /* the last datagram, either way */
	usec asked_at;
	struct timer timer; /* until it is open: of the registration; then of the silence */
	struct address ip;  /* edge: for registrations that are sent again */
	struct list early;  /* edge, until it is open */
	size_t early_count;
};

static inline struct quic_flow *quic_flow_of(struct udp_flow *f)
{
	struct quic_flow *flow = CONTAINER_OF(f, struct quic_flow, base);

	CHECK(flow, QUIC_FLOW_MAGIC);
	return flow;
}

/* 2 or 3. */
static inline unsigned quic_udp_version(const struct quic_tunnel *t)
{
	return t->base.has_datagrams_v3 ? 3 : 2;
}

/* --- udp.c --- */
struct quic_flow *quic_flow_new(struct quic_tunnel *t, const struct uuid *id, enum udp_way way,
				int64_t idle_ms);
struct quic_flow *quic_flow_find(const struct quic_tunnel *t, struct bytes id);
bool quic_udp_is_full(const struct quic_tunnel *t);
/* It carries payloads from now on; those that waited leave. */
void quic_flow_opened(struct quic_flow *f);
/* It is over, the peer knows: tells the user, frees it. */
void quic_flow_ended(struct quic_flow *f, enum reason why, struct bytes text);
/* The same without telling the user. */
void quic_flow_free(struct quic_flow *f);
bool quic_flow_send_now(struct quic_flow *f, struct bytes payload);
void quic_udp_send(struct quic_tunnel *t, const struct datagram_v3 *d);
void quic_udp_dropped(struct quic_tunnel *t, enum udp_drop why);
void quic_udp_on_datagram(struct quic_tunnel *t, struct bytes data);
void quic_udp_init(struct quic_tunnel *t);
/* The peer leaves: tells every flow. */
void quic_udp_draining(struct quic_tunnel *t);
/* The connection has gone: ends every flow, frees what is left. */
void quic_udp_done(struct quic_tunnel *t);
/* Of a flow's own stream. */
void quic_udp_stream_data(struct quic_tunnel_stream *ts, struct bytes data, bool fin);
void quic_udp_stream_closed(struct quic_tunnel_stream *ts, enum reason why);
bool quic_can_open_udp(const struct session *s, bool is_hostname);
void quic_udp_limit_idle(struct udp_flow *f, int64_t idle_ms);
bool quic_udp_send_payload(struct udp_flow *f, struct bytes payload);
size_t quic_udp_max_payload(const struct udp_flow *f);
void quic_udp_close(struct udp_flow *f, enum reason why, struct bytes text);

/* --- udp_open.c (edge) --- */
struct udp_flow *quic_udp_open(struct session *s, const struct udp_target *target, int64_t idle_ms,
			       const struct udp_flow_events *events, void *ctx);
/* The timer of a registration. */
void quic_udp_ask_again(struct quic_flow *f);
void quic_udp_on_response(struct quic_tunnel *t, const struct datagram_v3 *d);
/* A ConnectResponse on a flow's stream. */
void quic_udp_on_word(struct quic_tunnel_stream *ts, struct bytes head);
/* The connector's word on a registration of version 2: empty, or what is wrong. */
void quic_udp_registered(struct quic_flow *f, struct bytes error);

/* --- udp_accept.c (connector) --- */
void quic_udp_on_register(struct quic_tunnel *t, const struct datagram_v3 *d);
struct rpc_udp_session;
/* A registration of version 2. Answers by quic_rpc_answer(), now or later. */
void quic_udp_on_call(struct quic_tunnel_stream *ts, uint32_t question,
		      const struct rpc_udp_session *s);
/* A ConnectRequest for a flow. False when the stream was reset. */
bool quic_udp_on_request(struct quic_tunnel_stream *ts, const struct connect_head *head);
void quic_udp_accept(struct udp_flow *f);
/* Tells the edge that a flow is over, or refused. */
void quic_udp_say_over(struct quic_flow *f, enum reason why, struct bytes text);

/* --- rpc_stream.c --- */
/* False: the peer allows no more streams. */
bool quic_rpc_register(struct quic_tunnel *t, struct quic_flow *f);
void quic_rpc_unregister(struct quic_tunnel *t, const struct uuid *session, struct bytes message);
/* The peer opened this stream, and what follows the signature is for us to answer. */
void quic_rpc_serve(struct quic_tunnel_stream *ts);
/* The answer to a registration; an empty error means yes. */
void quic_rpc_answer(struct quic_tunnel_stream *ts, uint32_t question, struct bytes error);
/* Gives no window back: the caller does. */
void quic_rpc_data(struct quic_tunnel_stream *ts, struct bytes data, bool fin);
/* Frees ts->rpc. */
void quic_rpc_closed(struct quic_tunnel_stream *ts);
