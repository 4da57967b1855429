/* The connections to the edge: each is dialled, registered, and dialled again for ever when it is lost.
 * One loop. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "base/uuid.h"
#include "io/address.h"

struct connector_config;
struct dialer;
struct loop;
struct protocol;
struct quic_facts;
struct server;
struct edge_place;
struct edge_way;

struct dialer_events {
	/* The first connection has registered (once): READY for the service manager, the pid file. */
	void (*on_first_registered)(void *ctx);
	/* After dialer_drain(): every connection has ended. */
	void (*on_drained)(void *ctx);
};

/* `config`, `server` and `events` are borrowed for life. NULL when the edge's CA or the
 * proxy is unusable. */
struct dialer *dialer_new(struct loop *loop, const struct connector_config *config,
			  const struct uuid *connector, struct server *server,
			  const struct dialer_events *events, void *ctx, struct err *err);
/* Only after on_drained (or before anything was dialled). */
struct dialer *dialer_free(struct dialer *d);
/* Connection 0 first; the others follow as soon as it has registered. */
void dialer_start(struct dialer *d);
/* Unregisters all, lets running streams finish, dials no more. */
void dialer_drain(struct dialer *d);
/* Ends what is left, at once. */
void dialer_abort(struct dialer *d);
/* Tells every edge how the checked services are. False when one could not be told now. */
bool dialer_report_health(struct dialer *d);
size_t dialer_registered_count(const struct dialer *d);

/* --- For the local API ----------------------------------------------------------------------- */

#define DIALER_LOCATION_BYTES 64

/* One connection as it is now. */
struct dialer_connection {
	const char *state; /* "idle", "resolving", "connecting", "registering", "registered", "draining" (the edge
			    * leaves, and another one is dialled), "waiting", "done" */
	bool is_registered;
	const char *edge;     /* HOST:PORT it is or was dialled at; "" before that; borrowed */
	const char *protocol; /* "http2", … */
	unsigned failures;    /* in a row, since it was registered last */
	/* While registered; zero otherwise. */
	struct address peer;
	struct uuid id; /* the edge's name for it */
	char location[DIALER_LOCATION_BYTES];
	/* Why it was lost or could not be had; code 0 since it is registered. */
	struct err last_error;
};

size_t dialer_connection_count(const struct dialer *d);
void dialer_connection(const struct dialer *d, size_t index, struct dialer_connection *ret);

/* Figures of its path; false: it is not registered over QUIC. */
bool dialer_path(const struct dialer *d, size_t index, struct quic_facts *ret);
/* Which protocol is tried, and why. Borrowed. */
const struct protocol *dialer_protocol(const struct dialer *d);
/* How edges are reached, for edge_dial(). Borrowed. */
const struct edge_way *dialer_way(const struct dialer *d);
/* Every edge, each once: the entries HOST:PORT of the configuration by name, and what was found where it names a
 * domain or nothing. At most `max`. */
size_t dialer_edges(const struct dialer *d, struct edge_place *ret, size_t max);
#define DIALER_MAX_EDGES 64
/* Those that QUIC would be tried at: addresses, none behind a proxy. At most `max`. */
size_t dialer_udp_edges(const struct dialer *d, struct edge_place *ret, size_t max);
