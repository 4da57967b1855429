#include "edge/tunnels/registry.h"

#include <stdatomic.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/edge.h"
#include "edge/worker.h"

struct tunnel_entry {
	struct uuid tunnel;
	struct list sessions; /* struct tunnel_session, on this worker */
	size_t local_count;
	size_t remote_total;
	size_t remote[]; /* sessions per worker, by index; the own one stays 0 */
};

/* From one worker to another: a session came (+1) or went (-1). */
struct notice {
	struct worker *to;
	size_t from;
	int change;
	struct uuid tunnel, connector;
	uint8_t index;
	uint64_t order;
};

/* Registrations of this process, counted: of two the higher number is the later one, on whichever
 * worker, so that two that cross do not both give way. */
static atomic_uint_fast64_t registrations;

static struct tunnel_entry *entry_of(struct worker *w, const struct uuid *tunnel)
{
	return map_find(w->tunnels, uuid_bytes(tunnel));
}

static struct tunnel_entry *entry_make(struct worker *w, const struct uuid *tunnel)
{
	struct tunnel_entry *e = entry_of(w, tunnel);

	if (e)
		return e;
	e = mem_alloc(sizeof(*e) + w->peer_count * sizeof(e->remote[0]));
	e->tunnel = *tunnel;
	list_init(&e->sessions);
	map_put(w->tunnels, uuid_bytes(tunnel), e);
	return e;
}

static void entry_drop_if_empty(struct worker *w, struct tunnel_entry *e)
{
	if (e->local_count || e->remote_total)
		return;
	map_take(w->tunnels, uuid_bytes(&e->tunnel));
	mem_free(e);
}

/* The connector came back on a new connection: its old one of that index is dead, whatever TCP says. */
static void close_replaced(struct worker *w, const struct notice *newer)
{
	struct tunnel_entry *e = entry_of(w, &newer->tunnel);

	if (!e)
		return;
	LIST_FOR_EACH(node, &e->sessions) {
		struct tunnel_session *ts = LIST_ENTRY(node, struct tunnel_session, node);
		if (ts->index == newer->index && uuid_eq(&ts->connector, &newer->connector) &&
		    ts->order < newer->order)
			session_close(ts->session, REASON_LOST);
	}
}

static void on_notice(void *arg)
{
	struct notice *n = arg;
	struct tunnel_entry *e = entry_make(n->to, &n->tunnel);

	if (n->change > 0) {
		e->remote[n->from]++;
		e->remote_total++;
		close_replaced(n->to, n);
	} else {
		BUG_IF(e->remote[n->from] == 0);
		e->remote[n->from]--;
		e->remote_total--;
	}
	entry_drop_if_empty(n->to, e);
	mem_free(n);
}

static struct notice notice_of(const struct tunnel_session *ts, int change)
{
	return (struct notice){
		.from = ts->worker->index,
		.change = change,
		.tunnel = ts->tunnel,
		.connector = ts->connector,
		.index = ts->index,
		.order = ts->order,
	};
}

static void tell_others(const struct tunnel_session *ts, int change)
{
	struct worker *w = ts->worker;

	for (size_t i = 0; i < w->peer_count; i++) {
		if (i == w->index)
			continue;
		struct notice *n = mem_alloc(sizeof(*n));
		*n = notice_of(ts, change);
		n->to = w->peers[i];
		loop_post(n->to->loop, on_notice, n);
	}
}

int registry_add(struct tunnel_session *ts, const struct directory_record *record, struct err *err)
{
	struct worker *w = ts->worker;
	struct tunnel_entry *e = entry_make(w, &ts->tunnel);

	if (e->local_count + e->remote_total >= LIMIT_SESSIONS_PER_TUNNEL)
		return err_set(err, E_LIMIT, "the tunnel has %d connections already",
			       LIMIT_SESSIONS_PER_TUNNEL);
	ts->order = ++registrations;
	const struct notice notice = notice_of(ts, +1);
	close_replaced(w, &notice);
	list_append(&e->sessions, &ts->node);
	e->local_count++;
	tell_others(ts, +1);
	edge_session_up(w->edge, record);
	return 0;
}

void registry_remove(struct tunnel_session *ts)
{
	struct worker *w = ts->worker;
	struct tunnel_entry *e = entry_of(w, &ts->tunnel);

	if (!list_is_linked(&ts->node))
		return;
	BUG_IF(!e || e->local_count == 0);
	list_remove(&ts->node);
	e->local_count--;
	tell_others(ts, -1);
	edge_session_down(w->edge, &ts->connection);
	entry_drop_if_empty(w, e);
}

struct tunnel_session *registry_choose(struct worker *w, const struct uuid *tunnel,
				       const struct tunnel_session *not_this)
{
	struct tunnel_entry *e = entry_of(w, tunnel);
	struct tunnel_session *best = NULL;
	size_t best_count = 0;

	if (!e)
		return NULL;
	LIST_FOR_EACH(node, &e->sessions) {
		struct tunnel_session *ts = LIST_ENTRY(node, struct tunnel_session, node);
		size_t count = session_stream_count(ts->session);
		if (ts == not_this || ts->session->is_draining || !session_can_open(ts->session))
			continue;
		if (!best || count < best_count) {
			best = ts;
			best_count = count;
		}
	}
	/* Of equals the one that has rested longest comes next. */
	if (best) {
		list_remove(&best->node);
		list_append(&e->sessions, &best->node);
	}
	return best;
}

struct worker *registry_other_worker(struct worker *w, const struct uuid *tunnel)
{
	struct tunnel_entry *e = entry_of(w, tunnel);

	if (!e || e->remote_total == 0)
		return NULL;
	for (size_t i = 1; i < w->peer_count; i++) {
		size_t at = (w->index + i) % w->peer_count;
		if (e->remote[at])
			return w->peers[at];
	}
	return NULL;
}

/* Closes those for which `wanted` holds. Closing reports later, so the lists stay as they are. */
static void close_where(struct worker *w,
			bool (*wanted)(const struct tunnel_session *ts, const void *arg),
			const void *arg)
{
	size_t cursor = 0;
	void *value;

	while (map_next(w->tunnels, &cursor, NULL, &value)) {
		struct tunnel_entry *e = value;
		LIST_FOR_EACH(node, &e->sessions) {
			struct tunnel_session *ts = LIST_ENTRY(node, struct tunnel_session, node);
			if (wanted(ts, arg))
				session_close(ts->session, REASON_DONE);
		}
	}
}

struct who {
	const struct uuid *tunnel, *connector;
};

static bool is_of(const struct tunnel_session *ts, const void *arg)
{
	const struct who *who = arg;

	return uuid_eq(&ts->tunnel, who->tunnel) &&
	       (!who->connector || uuid_eq(&ts->connector, who->connector));
}

static bool is_deleted(const struct tunnel_session *ts, const void *arg)
{
	return !snapshot_tunnel(arg, &ts->tunnel);
}

static bool is_any(const struct tunnel_session *ts, const void *arg)
{
	(void)ts;
	(void)arg;
	return true;
}

void registry_disconnect(struct worker *w, const struct uuid *tunnel, const struct uuid *connector)
{
	close_where(w, is_of, &(struct who){ tunnel, connector });
}

void registry_drop_deleted(struct worker *w)
{
	close_where(w, is_deleted, w->snapshot);
}

void registry_close_all(struct worker *w)
{
	close_where(w, is_any, NULL);
}

size_t registry_session_count(const struct worker *w)
{
	size_t cursor = 0, count = 0;
	void *value;

	while (map_next(w->tunnels, &cursor, NULL, &value))
		count += ((struct tunnel_entry *)value)->local_count;
	return count;
}

void registry_free(struct worker *w)
{
	size_t cursor = 0;
	void *value;

	while (map_next(w->tunnels, &cursor, NULL, &value))
		mem_free(value);
	w->tunnels = map_free(w->tunnels);
}
