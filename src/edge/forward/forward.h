/* The last step of a visitor's request: down a tunnel session and back. Worker thread. */
#pragma once

#include "base/uuid.h"
#include "http/exchange.h"

struct dispatch;
struct replay;
struct tunnel_session;
struct worker;

/* Handler: x->route is a struct snapshot_route. Rewrites the headers, chooses a session (this worker's,
 * else another worker's), opens a stream and pumps both bodies with backpressure. */
enum handled forward_handle(struct exchange *x, void *worker);

/* One try to have a request answered. */
struct forward_how {
	struct dispatch
		*dispatch; /* who may try again; NULL: the request has crossed, and near side may */
	struct replay *replay; /* the request's body */
	struct uuid tunnel, connector;
	struct replica *replica; /* borrowed: the session has it, or the crossing */
	uint64_t host_key;
	bool is_probe;
	bool eject_on_5xx;
};

/* Sends it down this session of this worker; the headers are rewritten already. False when the session takes
 * no more. `how` is copied, what it points at is in the exchange's arena. */
bool forward_on(struct worker *w, struct exchange *x, struct tunnel_session *ts,
		const struct forward_how *how);
/* The far side of a crossing: the replica's session here that is least busy, or another replica's when this one has
 * left meanwhile. Fills x->failure and returns
 * HANDLED_FAILED when there is none. how->replay and how->dispatch are not looked at. */
enum handled forward_here(struct worker *w, struct exchange *x, const struct forward_how *how);
/* 530 with code 1033. */
enum handled forward_no_connector(struct exchange *x);
