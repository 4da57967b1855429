/* What the files of the dialer share: dial.c (the state machine of a connection), dial_way.c (how edges are
 * reached: proxy, addresses), dial_network.c (what happens when the host's network changes). Included by them
 * alone. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "connector/connector_config.h"
#include "connector/dial/addresses.h"
#include "connector/dial/dial.h"
#include "connector/dial/edge_dial.h"
#include "connector/dial/proxy.h"
#include "io/loop.h"
#include "io/host_watch.h"
#include "transport/transport.h"

enum dial_state {
	DIAL_IDLE,      /* not started, or waiting for its turn */
	DIAL_RESOLVING, /* no address is known yet */
	DIAL_CONNECTING,
	DIAL_REGISTERING,
	DIAL_REGISTERED,
	DIAL_WAITING, /* for the backoff to end */
	DIAL_DONE,    /* drained */
};

struct connection {
	struct dialer *dialer;
	unsigned index;
	enum dial_state state;
	struct edge_place place; /* where it is, or was tried last; name "" before that */
	struct edge_place tried[EDGE_DIAL_PLACES];
	size_t tried_count;
	bool avoids_place;    /* the edge has one of ours already */
	struct address local; /* ours, of this connection; len 0: not known */
	unsigned failures;    /* since the last registration, for people */
	unsigned backoff;     /* exponent of the next wait */
	bool was_refused;
	usec dialled_at, registering_at, registered_at;
	struct edge_dial *attempt;
	struct session *session; /* borrowed until on_closed */
	struct timer retry, deadline;
	/* For the local API. */
	struct uuid id;
	char location[DIALER_LOCATION_BYTES];
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
	usec hurried_at;         /* when waiting connections were last told to hurry */
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

/* --- dial_way.c --- */
/* Fills d->way and makes d->pool; nothing is looked up yet. */
int dialer_way_init(struct dialer *d, void (*on_addresses)(void *ctx), struct err *err) MUST_USE;
void dialer_way_done(struct dialer *d);

/* --- dial_network.c --- */
void dialer_network_init(struct dialer *d);
