/* Which protocol the next connection to the edge is tried with: QUIC where UDP gets through, HTTP/2 where it does
 * not. A pure state machine: facts and times go in (loop time), a plan comes out; nothing is sent or waited for.
 *
 * With `auto` QUIC is tried first and HTTP/2 shortly after it, whichever is there first is used. When HTTP/2 was the
 * one, it is used alone from then on, so that a network that swallows UDP costs that moment once and not at each
 * dial; QUIC is tried again from time to time, less and less often, and at once when the host's network has changed.
 * One such judgement for all connections of a connector: they share the network.
 */
#pragma once

#include <stdbool.h>

#include "base/clock.h"
#include "base/err.h"
#include "connector/connector_config.h"

/* What HTTP/2 waits for QUIC's handshake, which needs fewer round trips. */
#define PROTOCOL_HEAD_START_MS 250
/* After HTTP/2 was faster: was it bad luck? */
#define PROTOCOL_FIRST_PROBE_MS 2000
/* Then doubled each time QUIC has failed, up to the second. A probe is a handshake: four small packets in vain. */
#define PROTOCOL_PROBE_MS 10000
#define PROTOCOL_PROBE_MAX_MS (5 * 60 * 1000)
/* QUIC has proved itself when a connection has lived so long: waits begin anew. */
#define PROTOCOL_STEADY_MS (60 * 1000)
/* Connections that fall silent within PROTOCOL_SHORT_MS of their registration: so many in a row, and UDP does get
 * through but is no good. Those that fall silent together count once. */
#define PROTOCOL_SHORT_LIVES 3
#define PROTOCOL_SHORT_MS (2 * 60 * 1000)
#define PROTOCOL_TOGETHER_MS (10 * 1000)

enum protocol_plan {
	PLAN_HTTP2,
	PLAN_QUIC,
	PLAN_RACE, /* QUIC; HTTP/2 too when it has not answered within PROTOCOL_HEAD_START_MS, or has failed */
};

struct protocol {
	enum connector_protocol mode;
	bool avoids_quic;   /* auto: HTTP/2 for now */
	unsigned probes;    /* in vain: how long the next one has to wait */
	usec probed_at;     /* when QUIC was last seen to fail; 0: never */
	usec probe_at;      /* not before this is QUIC tried again on purpose; 0: at any time */
	usec registered_at; /* QUIC's last registration; 0: none since it last failed */
	unsigned short_lives;
	usec short_life_at;
	struct err why; /* avoids_quic: the last failure */
};

void protocol_init(struct protocol *p, enum connector_protocol mode);
/* `is_proxied`: the place is behind a proxy, which takes TCP alone. */
enum protocol_plan protocol_plan(const struct protocol *p, bool is_proxied);

/* Facts. Those that return bool: true when connections avoid QUIC from now on and did not before. */

/* HTTP/2 has reached the edge. `quic` is how QUIC failed in the same race; NULL: it had not answered yet. */
bool protocol_beaten(struct protocol *p, usec now, const struct err *quic);
/* QUIC was tried on purpose (protocol_probe_at) and did not reach the edge, or did not register; or it reached it in
 * a race and then no registration came. */
bool protocol_failed(struct protocol *p, usec now, const struct err *why);
/* The edge was reached over QUIC on purpose and said no: that is no fault of UDP, but it need not be asked again soon. */
void protocol_refused(struct protocol *p, usec now);
/* Connections may use QUIC (again): true when they avoided it. */
bool protocol_registered(struct protocol *p, usec now);
/* A registered QUIC connection fell silent. */
bool protocol_silent(struct protocol *p, usec now, usec registered_at);
/* HTTP/2 alone was tried and did not reach the edge either: perhaps UDP is what gets through now. */
void protocol_http2_failed(struct protocol *p);
/* The host's network has changed: what was true of the old one may not be of this one. */
void protocol_network_changed(struct protocol *p, usec now);

/* When a connection over HTTP/2 should try QUIC: a time, perhaps in the past; 0: never. */
usec protocol_probe_at(const struct protocol *p, usec now);
