/* One worker: a thread with a loop, its listeners, visitors and tunnel sessions. Workers share nothing;
 * the snapshot they read is immutable and swapped by a loop post.
 *
 * Everything here belongs to the worker's own thread except where said.
 */
#pragma once

#include <stddef.h>

#include "base/list.h"
#include "base/map.h"
#include "edge/forward/hold.h"
#include "edge/snapshot.h"
#include "edge/tunnels/moving.h"
#include "http/exchange.h"

struct address;
struct allowances;
struct challenges;
struct control_gateway;
struct dns_peers;
struct dns_server;
struct dns_zones;
struct edge;
struct gate;
struct listener;
struct network;
struct quic_listener;
struct tls_context;
struct worker;

/* How visitors are held to their limits; 0 stands for the value in base/limits.h. */
struct worker_limits {
	struct allowances *allowances; /* borrowed, of all workers; NULL: visitors may do anything */
	int64_t handshake_ms, head_ms, keepalive_ms, body_ms;
	const struct network *balancers; /* borrowed; whose connections begin with a PROXY header */
	size_t balancer_count;
	uint32_t body_rate; /* of http/server.h, as the next */
	int64_t pace_ms;
};

struct worker {
	size_t index;
	struct loop *loop;
	struct edge *edge;         /* borrowed; see edge/edge.h for what other threads may read */
	struct snapshot *snapshot; /* counted */
	const char *location;      /* this node's name in CF-Ray and registrations; borrowed */
	const char *alt_svc;       /* what visitors are told of HTTP/3; borrowed; NULL: nothing */
	uint16_t https_port;       /* where plain HTTP is redirected to */
	struct worker *const *peers; /* every worker, this one too; borrowed, fixed before threads start */
	size_t peer_count;
	struct control_gateway *control; /* borrowed; thread-safe to ask */
	struct worker_limits limits;

	struct map *tunnels; /* tunnel id -> struct tunnel_entry (edge/tunnels/registry.c) */
	struct tls_context *https_tls, *tunnel_tls, *quic_tls, *h3_tls; /* counted */
	struct challenges *challenges; /* of certificate authorities, pending; counted, NULL: none */
	struct handler_chain visitors; /* route -> control | forward */
	struct handler_chain redirect; /* plain HTTP */
	struct list visitors_open;     /* visitors' connections (edge/listen/visitor.c) */
	struct list open_ports;        /* public ports (edge/ports/open_port.h) */
	struct list port_conns;        /* connections to them (edge/ports/port_tcp.c) */
	struct list announced;         /* waiting for PROXY headers (edge/listen/announced.c) */
	struct list peeks;             /* before TLS (edge/listen/peek.c) */
	struct list handshakes;        /* TLS handshakes under way (edge/listen/arrival.c) */
	size_t visitor_count;
	size_t session_count;        /* tunnel connections, registered or not */
	struct listener **listeners; /* owned */
	size_t listener_count;
	struct gate *gate; /* owned; who is let in */
	struct hold hold;  /* requests that wait for connectors */
	struct moving moving;
	struct quic_listener **quic; /* owned; fixed before threads start */
	size_t quic_count;
	struct dns_server *dns; /* owned; NULL: names are resolved elsewhere; fixed before threads start */
	/* Leaving: its own visitors are served; so many workers have said that of theirs, this one too. */
	bool is_draining, has_served, is_aborting;
	/* A successor has the sockets: visitors that are here may take their time. Draining as well. */
	bool is_taken_over;
	size_t served_count;
};

/* What one worker is made of before its thread starts. */
struct worker_start {
	size_t index;
	struct edge *edge;
	const char *location;
	uint16_t https_port;
	struct control_gateway *control;
	struct worker_limits limits;
	usec hold_until; /* requests for tunnels without connectors wait until then; 0: they do not */
};

struct worker *worker_new(const struct worker_start *start, struct err *err);
/* After its thread has ended. */
struct worker *worker_free(struct worker *w);
/* Before the thread starts. Takes the descriptor over; `on_accept` runs on the worker. */
void worker_listen(struct worker *w, int fd,
		   void (*on_accept)(void *worker, int fd, const struct address *peer));

/* Certificates: of visitors, of connectors over TCP, over QUIC, and where both may come over it; what authorities are shown (NULL: nothing). */
struct worker_tls {
	struct tls_context *https, *tunnel, *quic, *h3;
	struct challenges *challenges;
};

/* Before the thread starts: the first routes and certificates; takes one reference of each over. */
void worker_set_snapshot(struct worker *w, struct snapshot *snapshot, const struct worker_tls *tls);

/* --- From other threads --- */

/* worker_set_snapshot() on the worker's own thread, in a later turn. */
void worker_post_snapshot(struct worker *w, struct snapshot *snapshot, const struct worker_tls *tls);
/* What its name server serves from now on; takes the references over. */
void worker_post_dns(struct worker *w, struct dns_zones *zones, struct dns_peers *peers);
/* A connection accepted elsewhere that shall live here. */
void worker_post_connector(struct worker *w, int fd, const struct address *peer);
/* Closes live connections of the tunnel, of one connector when not NULL. */
void worker_post_disconnect(struct worker *w, const struct uuid *tunnel,
			    const struct uuid *connector);
/* The same when a successor has the sockets: who is connected may finish in its own time, and connectors are
 * asked to go over. worker_post_drain() and worker_post_abort() may follow. */
void worker_post_taken_over(struct worker *w);
/* Stop listening, finish what runs, then stop the loop; worker_post_abort() ends it at once. */
void worker_post_drain(struct worker *w);
void worker_post_abort(struct worker *w);

/* --- On its own thread --- */

/* Called whenever a connection has ended: stops the loop once a draining worker is empty. */
void worker_check_drained(struct worker *w);
