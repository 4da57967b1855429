/* What the files of the dialer share: dial.c (connections: when one is dialled, what replaces it), link.c (one link to
 * an edge: the attempt, the session), dial_move.c (from HTTP/2 back to QUIC), dial_way.c (how edges are reached:
 * proxy, addresses), dial_network.c (what happens when the host's network changes). Included by them alone.
 *
 * A connection is a place at the edge, by its index, for good; a link is one session with an edge that fills it. A
 * link that works is replaced without a gap: the next one registers before it is told to go, and it finishes its
 * streams then.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "connector/connector_config.h"
#include "connector/dial/addresses.h"
#include "connector/dial/dial.h"
#include "connector/dial/edge_dial.h"
#include "connector/dial/protocol.h"
#include "connector/dial/proxy.h"
#include "connector/dial/quic_dial.h"
#include "io/loop.h"
#include "io/host_watch.h"
#include "transport/transport.h"

enum link_state {
	LINK_CONNECTING,
	LINK_REGISTERING,
	LINK_REGISTERED,
	LINK_RETIRING, /* another one has taken its place: it finishes its streams */
};

struct link {
	struct list node; /* LINK_RETIRING: in its connection's list */
	struct connection *connection;
	enum link_state state;
	bool is_move; /* tries QUIC for a connection that works over HTTP/2: nobody misses it if it fails */
	bool was_refused; /* the edge has said no */
	bool is_left;     /* the edge gives it no more streams */

	/* The attempt. */
	struct edge_place tried[EDGE_DIAL_PLACES];
	size_t tried_count;
	enum protocol_plan plan;
	struct edge_dial *tcp;
	struct quic_dial *quic;
	struct timer head_start;
	bool has_tcp_failed, has_quic_failed;
	struct edge_dial_end tcp_end; /* has_tcp_failed */
	struct err quic_err;          /* has_quic_failed */
	usec dialled_at;

	/* The session. */
	struct edge_place place; /* where it is */
	const struct transport *transport;
	struct session *session;          /* borrowed until its on_closed */
	struct tunnel_endpoint *endpoint; /* owned; QUIC */
	struct quic_conn *conn;           /* borrowed, as long as the session; QUIC */
	struct address local;             /* ours; len 0: not known */
	struct timer deadline;            /* of the registration */
	usec registering_at, registered_at;
	struct uuid id;
	char location[DIALER_LOCATION_BYTES];
};

enum dial_state {
	DIAL_IDLE,      /* not started: waits for the first one */
	DIAL_RESOLVING, /* no address is known yet */
	DIAL_DIALLING,  /* there is a `next` */
	DIAL_WAITING,   /* for the backoff to end */
	DIAL_STEADY,    /* nothing to be done: there is a `current` */
	DIAL_DONE,      /* drained */
};

struct connection {
	struct dialer *dialer;
	unsigned index;
	enum dial_state state;
	struct link *current;    /* registered; NULL: none */
	struct link *next;       /* will be `current` once it has registered; NULL: none */
	struct list retiring;    /* owned */
	struct edge_place place; /* where it is, or was tried last; name "" before that */
	bool avoids_place;       /* elsewhere, if there is anything else */
	unsigned failures;       /* since the last registration, for people */
	unsigned backoff;        /* exponent of the next wait */
	bool was_refused;
	usec looked_up_at;
	struct timer retry, deadline; /* deadline: of a look-up */
	struct err last_error;
};

struct dialer {
	struct loop *loop;
	const struct connector_config *config;
	struct uuid connector;
	struct server *server;
	const struct dialer_events *events;
	void *ctx;
	struct edge_way way;
	struct arena arena; /* texts of the proxy */
	struct proxy proxy;
	struct edge_pool *pool;
	struct host_watch *network;
	usec hurried_at; /* when waiting connections were last told to hurry */
	struct protocol protocol;
	struct timer move;       /* the next time a connection tries QUIC on purpose */
	struct link *moving;     /* borrowed; NULL: none. One at a time. */
	struct buf local_config; /* our ingress as JSON, for the edge */
	struct bytes *features;  /* owned array */
	size_t feature_count;
	bool has_registered, is_draining, has_drained;
	size_t count;
	struct connection connections[];
};

/* --- dial.c --- */
/* Gives up what it is at, if it has no session, and dials in `wait_ms`. */
void connection_redial(struct connection *c, int64_t wait_ms);
/* The best places for it, the others' considered; how many. */
size_t connection_pick(const struct connection *c, struct edge_place *ret, size_t max);
/* "HOST:PORT" of where it is or was tried last; "". */
const char *connection_edge(const struct connection *c);

/* What links tell. The link is gone after the call where it has failed or closed. */
void connection_link_failed(struct link *l, const struct err *err);
void connection_link_registered(struct link *l);
void connection_link_left(struct link *l);
void connection_link_closed(struct link *l, enum reason why, const struct err *err);

/* --- link.c --- */
/* Starts the attempt. `tried` is copied; for a plan with QUIC none is behind a proxy. */
struct link *link_new(struct connection *c, const struct edge_place *tried, size_t count,
		      enum protocol_plan plan, bool is_move);
/* One without a session, or whose session has closed. NULL is fine; returns NULL. */
struct link *link_free(struct link *l);
/* Tells the edge goodbye; what runs is finished. */
void link_drain(struct link *l);
/* True when there is nothing that its edge should hear about services and has not heard. */
bool link_report_health(const struct link *l);

/* --- dial_move.c --- */
void dialer_move_init(struct dialer *d);
/* Something has changed: looks when the next connection should try QUIC, and whether one should. */
void dialer_move_arm(struct dialer *d);
/* A fact that made connections avoid QUIC, or not, is said to people. */
void dialer_say_protocol(const struct dialer *d, bool has_changed);

/* --- dial_way.c --- */
/* Fills d->way and makes d->pool; nothing is looked up yet. */
int dialer_way_init(struct dialer *d, void (*on_addresses)(void *ctx), struct err *err) MUST_USE;
void dialer_way_done(struct dialer *d);

/* --- dial_network.c --- */
/* The host's network has changed: a link that is back is used at once, a connection over QUIC goes on from another
 * address, and one whose way may have gone is asked whether it lives instead of being believed until a timeout. */
void dialer_network_init(struct dialer *d);
