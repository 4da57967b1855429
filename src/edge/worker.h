/* One worker: a thread with a loop, its listeners, visitors and tunnel sessions. Workers share nothing;
 * the snapshot they read is immutable and swapped by a loop post.
 *
 * Everything here belongs to the worker's own thread except where said.
 */
#pragma once

#include <stddef.h>

#include "base/list.h"
#include "base/map.h"
#include "edge/snapshot.h"
#include "http/exchange.h"

struct control_gateway;
struct edge;
struct worker;

struct worker {
	size_t index;
	struct loop *loop;
	struct edge *edge;             /* borrowed; see edge/edge.h for what other threads may read */
	struct snapshot *snapshot;     /* counted */
	const char *location;          /* this node's name in CF-Ray and registrations; borrowed */
	uint16_t https_port;           /* where plain HTTP is redirected to */
	struct worker *const *peers;   /* every worker, this one too; borrowed, fixed before threads start */
	size_t peer_count;
	struct control_gateway *control; /* borrowed; thread-safe to ask */

	struct map *tunnels;           /* tunnel id -> struct tunnel_entry (edge/tunnels/registry.c) */
	struct tls_context *https_tls, *tunnel_tls; /* counted */
	struct handler_chain visitors; /* route -> control | forward */
	struct handler_chain redirect; /* plain HTTP */
	struct list connections;       /* visitors' connections (edge/listen) */
	struct list handshakes;        /* TLS handshakes under way, visitors' and connectors' */
	size_t connection_count;
	struct list listeners;         /* edge/listen */
	bool is_draining;
	uint64_t next_request;         /* for request ids */
};

/* A fresh request id: 16 hex digits, random prefix per process, never twice in one process. */
void worker_request_id(struct worker *w, char id[EXCHANGE_ID_SIZE]);
