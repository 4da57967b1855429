/* Which tunnel sessions are there, and which of them takes the next request.
 *
 * Each worker holds the sessions that live on its loop and knows, per tunnel, how many every other
 * worker holds (told by loop posts). A request prefers a session of its own worker. The control thread
 * keeps a directory of all of them for the API (edge/tunnels/directory.h).
 */
#pragma once

#include "base/list.h"
#include "base/uuid.h"
#include "edge/tunnels/directory.h"
#include "transport/transport.h"

struct worker;

/* A registered connection, on its worker. */
struct tunnel_session {
	struct list node;        /* in its tunnel's entry */
	struct worker *worker;   /* borrowed */
	struct session *session; /* borrowed from the transport until on_closed */
	struct uuid tunnel, connector, connection;
	uint8_t index;
	uint64_t order; /* set by registry_add(): later registrations have higher ones */
};

/* Makes it choosable and tells everybody. An older session of the same connector and index, on
 * whichever worker, is closed: it is a leftover of a lost connection. E_LIMIT over
 * LIMIT_SESSIONS_PER_TUNNEL. `record` is copied. */
int registry_add(struct tunnel_session *ts, const struct directory_record *record, struct err *err);
void registry_remove(struct tunnel_session *ts);

/* The healthy local session with the fewest streams in flight, not draining; NULL when there is none.
 * `not_this` is left out (a retry), NULL for none. */
struct tunnel_session *registry_choose(struct worker *w, const struct uuid *tunnel,
				       const struct tunnel_session *not_this);
/* A worker other than `w` that has sessions of the tunnel; NULL when none has. */
struct worker *registry_other_worker(struct worker *w, const struct uuid *tunnel);

/* Closes this worker's sessions of the tunnel, of one connector when given. */
void registry_disconnect(struct worker *w, const struct uuid *tunnel, const struct uuid *connector);
/* Closes sessions of tunnels that the worker's snapshot no longer has. */
void registry_drop_deleted(struct worker *w);
void registry_close_all(struct worker *w);
size_t registry_session_count(const struct worker *w);
void registry_free(struct worker *w); /* after all sessions have closed */
