/* UDP through a tunnel session: a flow is one client's datagrams to one service and back.
 *
 * The edge opens a flow, the connector accepts or refuses it. Payloads travel as QUIC datagrams and never on
 * a stream: what does not fit, or finds no room, is dropped, as UDP does, and counted. Only QUIC sessions
 * have flows; a user asks session_can_open_udp() and never the driver.
 *
 * Two kinds of target:
 *   a hostname  the ingress rule of the connector that has this name: an extension of ours, for peers that
 *               named FEATURE_UDP (docs/wire.md)
 *   an address  behind the connector: the stock wire, datagram version 2 or 3 by what the connector announced
 *               (PROTOCOL.md §4.7). Stock connectors serve these; the client's address does not travel.
 *
 * A flow and its session belong to one loop for life. No event arrives inside a call; calls may be made in
 * any event. on_closed() comes once and last, before the session's; after udp_flow_close() no event comes.
 */
#pragma once

#include "io/address.h"
#include "transport/transport.h"

struct udp_target {
	struct bytes hostname; /* of an ingress rule; empty: */
	struct address ip;     /* an address and port; len 0 with a hostname */
	/* Who sends, for the service's PROXY header; len 0: not known. At the connector with a hostname only. */
	struct address client;
	/* Each datagram to the service begins with a PROXY header, the edge's: there is no room for a second one. At the
	 * connector with a hostname only. */
	bool has_proxy_header;
};

struct udp_flow_events {
	/* Edge: the connector has accepted. NULL: nobody wants to know. */
	void (*on_open)(struct udp_flow *f);
	/* Borrowed until return. */
	void (*on_datagram)(struct udp_flow *f, struct bytes payload);
	/* Edge: the connector leaves. The flow goes on for a while (its grace period); whoever wants to keep it
	 * opens another one in another session and closes this one. NULL: nobody wants to know. */
	void (*on_draining)(struct udp_flow *f);
	/* Not after udp_flow_close(). REASON_DONE: the far side has ended it; REASON_TIMEOUT: idle, or nobody has
	 * answered; REASON_REFUSED: the connector does not serve this target; REASON_FLOOD: it carries as many
	 * flows as it may; REASON_FAILED: the service failed; REASON_LOST: the session has ended. `text`: more
	 * of it, for a log and not for visitors; may be empty; borrowed. */
	void (*on_closed)(struct udp_flow *f, enum reason why, struct bytes text);
};

/* Drivers put this first in their structs. Read-only for users, but `events` and `ctx` at the connector. */
struct udp_flow {
	struct session *session;
	const struct udp_flow_events *events; /* connector: set in on_udp() */
	void *ctx;
	bool is_open;
	uint64_t sent, received; /* payloads that went to, and came from, the peer */
	/* Of ours: too large for a datagram; and no room, as on a path that is full. */
	uint64_t too_large, no_room;
};

/* --- Edge -------------------------------------------------------------------------------------- */

/* Can this session open a flow to such a target now? False over HTTP/2, for peers without datagrams, without
 * FEATURE_UDP for a hostname, while draining, and with LIMIT_UDP_FLOWS flows. */
bool session_can_open_udp(const struct session *s, bool is_hostname);
/* NULL when it cannot. The target is copied. `idle_ms`: without a datagram either way for so long the flow
 * ends here (on_closed, REASON_TIMEOUT), and soon after at the connector; 0: LIMIT_UDP_IDLE_MS. Datagrams may be
 * sent at once: the first LIMIT_UDP_FLOW_EARLY are kept until the connector has accepted. */
struct udp_flow *session_open_udp(struct session *s, const struct udp_target *target,
				  int64_t idle_ms, const struct udp_flow_events *events, void *ctx);

/* --- Connector --------------------------------------------------------------------------------- */

/* Answers session_events.on_udp, in it or later; exactly one of udp_flow_accept() and udp_flow_close(), which
 * refuses. What comes before is dropped. */
void udp_flow_accept(struct udp_flow *f);
/* The flow ends (REASON_TIMEOUT) after so much silence, if that is less than what the edge has asked for. */
void udp_flow_limit_idle(struct udp_flow *f, int64_t idle_ms);

/* --- Both -------------------------------------------------------------------------------------- */

/* One datagram to the peer, which may be lost on the way. False: dropped, and counted in the flow. */
bool udp_flow_send(struct udp_flow *f, struct bytes payload);
/* Largest payload now; it follows the path's MTU, and the stock wire's 1280. 0: none. */
size_t udp_flow_max_payload(const struct udp_flow *f);
/* Ends the flow; it is gone after return. The peer is told where the wire has a word for it (datagram version
 * 3 has none: its side ends by idling). `text` for the peer's log, may be empty. Connector, before accepting:
 * REASON_REFUSED, REASON_FLOOD or REASON_FAILED. */
void udp_flow_close(struct udp_flow *f, enum reason why, struct bytes text);

/* --- What came and was dropped ------------------------------------------------------------------ */

enum udp_drop {
	UDP_DROP_MALFORMED,
	UDP_DROP_UNKNOWN_FLOW, /* ended, never there, or not accepted yet */
	UDP_DROP_TOO_LARGE,
	UDP_DROP_ICMP,      /* not carried */
	UDP_DROP_TOO_EARLY, /* the session is not registered */
};
#define UDP_DROP_COUNT (UDP_DROP_TOO_EARLY + 1)
/* "malformed", "unknown_flow", … */
const char *udp_drop_name(enum udp_drop why);
