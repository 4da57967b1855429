/* A UDP flow of a public port through a tunnel session, wherever that lives: near is the worker with the port's
 * socket and far the one with the session. Often they are one, and nothing is posted.
 *
 * Datagrams that cross are counted in the port: beyond LIMIT_PORT_UNDER_WAY they are dropped, as on any full
 * line. All calls and events are near's.
 */
#pragma once

#include "edge/ports/port.h"
#include "transport/udp_flow.h"

struct udp_carry;
struct worker;

struct udp_carry_events {
	/* Borrowed until return. */
	void (*on_datagram)(void *ctx, struct bytes payload);
	/* The connector leaves: the carry goes on for a while, later datagrams should take another one. */
	void (*on_draining)(void *ctx);
	/* Once, last; not after udp_carry_close(), and not inside udp_carry_open(). `why` and `text` as in
	 * udp_flow_events; REASON_REFUSED also when there is no session (any more) that can take it. */
	void (*on_closed)(void *ctx, enum reason why, struct bytes text);
};

struct udp_carry_start {
	struct worker *near, *far;
	struct port *port;
	struct uuid tunnel, connector;
	struct udp_target target; /* copied */
	int64_t idle_ms;
	const struct udp_carry_events *events; /* static */
	void *ctx;
};

struct udp_carry *udp_carry_open(const struct udp_carry_start *how);
/* False: dropped. */
bool udp_carry_send(struct udp_carry *c, struct bytes payload);
struct udp_carry *udp_carry_close(struct udp_carry *c); /* NULL is fine; returns NULL */
