/* Which tunnel sessions are there, and which of them takes the next request.
 *
 * Each worker holds the sessions that live on its loop and knows of every replica (edge/tunnels/replica.h) how
 * many sessions of it every other worker holds, told by loop posts. First a replica is chosen
 * (edge/tunnels/balance.h), by what all workers have in flight, then a session of it: one of this worker's where
 * there is one, else the request crosses.
 * The control thread keeps a directory of all sessions for the API (edge/tunnels/directory.h).
 */
#pragma once

#include "base/list.h"
#include "base/uuid.h"
#include "edge/tunnels/balance.h"
#include "edge/tunnels/directory.h"
#include "edge/tunnels/replica.h"
#include "transport/transport.h"

struct member;
struct service_report;
struct worker;

/* A registered connection, on its worker. */
struct tunnel_session {
	struct list node;        /* in its member's list */
	struct worker *worker;   /* borrowed */
	struct session *session; /* borrowed from the transport until on_closed */
	struct uuid tunnel, connector, connection;
	uint8_t index;
	uint64_t order;        /* set by registry_add(): later registrations have higher ones */
	struct member *member; /* set by registry_add(): its replica, as this worker sees it */
	bool has_left;         /* it takes no new requests */
	bool is_udp;           /* set by registry_add(): its transport has UDP flows */
	bool is_replaced;      /* by a later one of its connector and index */
	bool is_in_doubt;      /* it may be dead: see registry_doubt() */
	bool moves_by_itself;  /* edge/tunnels/moving.c */
};

/* Makes it choosable and tells everybody. An older session of the same connector and index, on
 * whichever worker, takes no new requests any more and ends with its last one, or when its connector does not
 * answer: it may be a leftover of a lost connection. E_LIMIT over
 * LIMIT_SESSIONS_PER_TUNNEL. `record` is copied. */
int registry_add(struct tunnel_session *ts, const struct directory_record *record, struct err *err);
/* It drains: nobody chooses it any more, on whichever worker. */
void registry_leave(struct tunnel_session *ts);
/* `is_lost`: the connection broke off, and others of that connector may be dead without anybody knowing. */
void registry_remove(struct tunnel_session *ts, bool is_lost);
/* It may be dead (session_events.on_doubt), or is not: others are chosen before it, other connectors before its own,
 * whose other connections are asked, too. */
void registry_doubt(struct tunnel_session *ts, bool is_over);
/* The connector's services, as it says on this session; the reference is taken over. */
void registry_set_services(struct tunnel_session *ts, struct service_report *report);

/* --- Choosing -------------------------------------------------------------------------------- */

#define REGISTRY_TRIES 3

/* Where a request has been. */
struct registry_try {
	struct uuid connector;
	const struct tunnel_session *session; /* only to be compared; NULL: on another worker */
	bool is_final; /* its service did not take it: nothing to be had there */
};

/* What a session has to be able to take. */
enum registry_needs {
	REGISTRY_STREAM,
	REGISTRY_UDP_ADDRESS, /* transport/udp_flow.h */
	REGISTRY_UDP_HOSTNAME,
};

struct registry_ask {
	const struct uuid *tunnel;
	enum balance_policy policy;
	struct bytes host;   /* lower case, no port */
	uint64_t host_key;   /* registry_host_key() */
	struct bytes client; /* the visitor's address as text */
	struct bytes cookie; /* a replica's tag; BALANCE_COOKIE */
	enum registry_needs needs;
	bool only_here; /* by a session of this worker */
	struct registry_try tries[REGISTRY_TRIES];
	size_t try_count;
};

struct registry_choice {
	struct replica *replica;        /* borrowed for this turn */
	struct tunnel_session *session; /* on this worker; NULL: */
	struct worker *worker;          /* there */
	bool is_probe;                  /* the replica is out for this host: its answer decides */
	bool has_cookie;                /* it is the one the cookie names */
};

uint64_t registry_host_key(const struct uuid *tunnel, struct bytes host);
/* False when nobody can take the request. */
bool registry_choose(struct worker *w, const struct registry_ask *ask, struct registry_choice *ret);
/* Some connection of the tunnel is there, whatever it can take. */
bool registry_has_any(struct worker *w, const struct uuid *tunnel);
/* More than one replica is there: another one may take what one refuses. */
bool registry_has_replicas(struct worker *w, const struct uuid *tunnel);
/* For a request that has crossed: the replica's session here that has the fewest streams in flight; NULL
 * when there is none any more. */
struct tunnel_session *registry_session_of(struct worker *w, const struct uuid *tunnel,
					   const struct uuid *connector);
/* The same for a UDP flow. */
struct tunnel_session *registry_udp_session_of(struct worker *w, const struct uuid *tunnel,
					       const struct uuid *connector, bool is_hostname);

/* What became of a request that was sent down a session (which is still there). */
struct registry_verdict {
	struct bytes host;
	uint64_t host_key;
	bool is_probe;
	bool ok; /* the service answered */
};
void registry_judge(struct tunnel_session *ts, const struct registry_verdict *v);

/* --- All of them ----------------------------------------------------------------------------- */

/* Registered ones of this worker. `fn` may close or leave its session. */
void registry_for_each(struct worker *w, void (*fn)(struct tunnel_session *ts, void *arg),
		       void *arg);
/* Its replica has no other session, on whichever worker, that takes requests. */
bool registry_is_last(const struct tunnel_session *ts);
/* Closes this worker's sessions of the tunnel, of one connector when given. */
void registry_disconnect(struct worker *w, const struct uuid *tunnel, const struct uuid *connector);
/* Closes sessions of tunnels that the worker's snapshot no longer has. */
void registry_drop_deleted(struct worker *w);
void registry_close_all(struct worker *w);
size_t registry_session_count(const struct worker *w);
void registry_free(struct worker *w); /* after all sessions have closed */

extern struct metric metric_ejections, metric_ejections_ended;
