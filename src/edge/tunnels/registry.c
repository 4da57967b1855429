#include "edge/tunnels/registry.h"

#include <stdatomic.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "edge/edge.h"
#include "edge/tunnels/service_report.h"
#include "edge/worker.h"
#include "transport/udp_flow.h"

#define COMPONENT "edge/tunnels"

struct metric metric_ejections = {
	.name = "adit_edge_replica_ejections_total",
	.labels = "event=\"out\"",
	.help = "Replicas taken out for a hostname because their service failed, and brought back",
};
struct metric metric_ejections_ended = {
	.name = "adit_edge_replica_ejections_total",
	.labels = "event=\"back\"",
	.help = "Replicas taken out for a hostname because their service failed, and brought back",
};

/* A tunnel, as one worker knows it. */
struct tunnel_entry {
	struct uuid tunnel;
	struct list members; /* struct member */
	size_t member_count;
	size_t session_count; /* choosable ones, of all workers */
};

/* A replica, as one worker knows it. */
struct member {
	struct list node;
	struct tunnel_entry *entry;
	struct replica *replica;         /* counted */
	struct service_report *services; /* counted; NULL: nothing was reported */
	struct list sessions; /* struct tunnel_session, on this worker, leaving ones too */
	size_t local_count;   /* of those the choosable ones */
	size_t remote_total, remote_udp_total, next_remote;
	usec shaky_until; /* by loop_now(); one of its connections has broken off */
	int64_t turn;     /* for balance_candidate */
	/* Choosable sessions per worker, by index, and behind those of them the ones that take UDP flows; the own
	 * ones stay 0. */
	size_t remote[];
};

enum doubt { DOUBT_NONE, DOUBT_NEW, DOUBT_OVER };

/* From one worker to another: a session came (+1) or went (-1), or its connector has said how its services
 * are, or may be dead (0). */
struct notice {
	struct worker *to;
	size_t from;
	int change;
	bool is_lost;                    /* with -1 */
	enum doubt doubt;                /* with 0 */
	bool is_udp;                     /* the session takes UDP flows */
	struct replica *replica;         /* counted */
	struct service_report *services; /* counted; with 0 */
	uint8_t index;
	uint64_t order;
};

/* Registrations of this process, counted: of two the higher number is the later one, on whichever
 * worker, so that two that cross do not both give way. */
static atomic_uint_fast64_t registrations;

/* --- What a worker knows ---------------------------------------------------------------------- */

static struct tunnel_entry *entry_of(struct worker *w, const struct uuid *tunnel)
{
	return map_find(w->tunnels, uuid_bytes(tunnel));
}

static struct member *member_of(struct tunnel_entry *e, const struct uuid *connector)
{
	if (!e)
		return NULL;
	LIST_FOR_EACH(node, &e->members) {
		struct member *m = LIST_ENTRY(node, struct member, node);
		if (uuid_eq(&m->replica->connector, connector))
			return m;
	}
	return NULL;
}

static void warn_of_equal_labels(const struct tunnel_entry *e, const struct replica *r)
{
	char tunnel[UUID_TEXT_SIZE];

	LIST_FOR_EACH(node, (struct list *)(uintptr_t)&e->members) {
		const struct member *m = LIST_ENTRY(node, struct member, node);
		if (r->facts.label[0] && strcmp(m->replica->facts.label, r->facts.label) == 0)
			log_warn(COMPONENT,
				 "two connectors of a tunnel have the same label: visitors that "
				 "belong to one may come to the other",
				 LOG_STR("tunnelID", uuid_text(&r->tunnel, tunnel)),
				 LOG_STR("label", r->facts.label));
	}
}

static struct member *member_make(struct worker *w, struct replica *r)
{
	struct tunnel_entry *e = entry_of(w, &r->tunnel);
	struct member *m = member_of(e, &r->connector);

	if (m)
		return m;
	if (!e) {
		e = mem_alloc(sizeof(*e));
		e->tunnel = r->tunnel;
		list_init(&e->members);
		map_put(w->tunnels, uuid_bytes(&r->tunnel), e);
	}
	if (w->index == 0)
		warn_of_equal_labels(e, r); /* once is enough */
	m = mem_alloc(sizeof(*m) + 2 * w->peer_count * sizeof(m->remote[0]));
	m->entry = e;
	m->replica = replica_ref(r);
	list_init(&m->sessions);
	list_append(&e->members, &m->node);
	e->member_count++;
	return m;
}

static void member_free(struct member *m)
{
	replica_unref(m->replica);
	service_report_unref(m->services);
	mem_free(m);
}

static void member_drop_if_empty(struct worker *w, struct member *m)
{
	struct tunnel_entry *e = m->entry;

	if (!list_is_empty(&m->sessions) || m->remote_total)
		return;
	list_remove(&m->node);
	e->member_count--;
	member_free(m);
	if (e->member_count)
		return;
	map_take(w->tunnels, uuid_bytes(&e->tunnel));
	mem_free(e);
}

/* --- Who tells whom --------------------------------------------------------------------------- */

/* The connector came on a new connection. Either it moves over from the old one of that index, whose streams go on,
 * or it has lost that one, whatever TCP says: who does not answer now is gone. */
static void let_go_replaced(struct member *m, uint8_t index, uint64_t order)
{
	LIST_FOR_EACH(node, &m->sessions) {
		struct tunnel_session *ts = LIST_ENTRY(node, struct tunnel_session, node);
		if (ts->index != index || ts->order >= order || ts->is_replaced)
			continue;
		ts->is_replaced = true;
		registry_leave(ts);
		session_check(ts->session, LIMIT_TUNNEL_CHECK_MS);
		session_drain(ts->session);
	}
}

/* Takes the reference. */
static void take_services(struct member *m, struct service_report *report)
{
	if (m->services && m->services->sequence >= report->sequence) {
		service_report_unref(report);
		return;
	}
	service_report_unref(m->services);
	m->services = report;
}

static void make_shaky(struct member *m, const struct worker *w)
{
	m->shaky_until = loop_now(w->loop) + LIMIT_SHAKY_MS * USEC_PER_MSEC;
}

/* Long enough for the doubt to be settled; a session that is closed for it makes its own. */
static void doubt(struct member *m, const struct worker *w, bool is_over)
{
	m->shaky_until = is_over ? 0 : loop_now(w->loop) + 2 * LIMIT_QUIC_DOUBT_MS * USEC_PER_MSEC;
	if (is_over)
		return;
	LIST_FOR_EACH(node, &m->sessions)
		session_check(LIST_ENTRY(node, struct tunnel_session, node)->session,
			      LIMIT_TUNNEL_CHECK_MS);
}

static void count_remote_udp(struct member *m, const struct notice *n, int change)
{
	m->remote[n->to->peer_count + n->from] += (size_t)change;
	m->remote_udp_total += (size_t)change;
}

static void on_notice(void *arg)
{
	struct notice *n = arg;
	struct member *m = member_make(n->to, n->replica);

	if (n->change > 0) {
		m->remote[n->from]++;
		m->remote_total++;
		if (n->is_udp)
			count_remote_udp(m, n, 1);
		m->entry->session_count++;
		let_go_replaced(m, n->index, n->order);
		hold_wake(n->to);
	} else if (n->change < 0) {
		BUG_IF(m->remote[n->from] == 0);
		m->remote[n->from]--;
		m->remote_total--;
		if (n->is_udp)
			count_remote_udp(m, n, -1);
		m->entry->session_count--;
	} else if (n->services) {
		take_services(m, n->services);
	} else if (n->doubt != DOUBT_NONE) {
		doubt(m, n->to, n->doubt == DOUBT_OVER);
	}
	if (n->is_lost)
		make_shaky(m, n->to);
	member_drop_if_empty(n->to, m);
	replica_unref(n->replica);
	mem_free(n);
}

struct news {
	int change;
	bool is_lost;
	enum doubt doubt;
	struct service_report *services; /* borrowed */
};

static void tell_others(const struct tunnel_session *ts, const struct news *news)
{
	struct worker *w = ts->worker;

	for (size_t i = 0; i < w->peer_count; i++) {
		if (i == w->index)
			continue;
		struct notice *n = mem_alloc(sizeof(*n));
		*n = (struct notice){
			.to = w->peers[i],
			.from = w->index,
			.change = news->change,
			.is_lost = news->is_lost,
			.doubt = news->doubt,
			.is_udp = ts->is_udp,
			.replica = replica_ref(ts->member->replica),
			.services = news->services ? service_report_ref(news->services) : NULL,
			.index = ts->index,
			.order = ts->order,
		};
		loop_post(n->to->loop, on_notice, n);
	}
}

int registry_add(struct tunnel_session *ts, const struct directory_record *record, struct err *err)
{
	struct worker *w = ts->worker;
	const struct tunnel_entry *e = entry_of(w, &ts->tunnel);

	if (e && e->session_count >= LIMIT_SESSIONS_PER_TUNNEL)
		return err_set(err, E_LIMIT, "the tunnel has %d connections already",
			       LIMIT_SESSIONS_PER_TUNNEL);
	struct replica *r =
		replica_get(&ts->tunnel, &ts->connector, &record->replica, w->peer_count);
	ts->member = member_make(w, r);
	replica_unref(r); /* the member has one */
	ts->order = ++registrations;
	ts->is_udp = ts->session->transport->open_udp != NULL;
	let_go_replaced(ts->member, ts->index, ts->order);
	list_append(&ts->member->sessions, &ts->node);
	ts->member->local_count++;
	ts->member->entry->session_count++;
	tell_others(ts, &(struct news){ .change = +1 });
	hold_wake(w);
	edge_session_up(w->edge, record);
	return 0;
}

static void leave(struct tunnel_session *ts, bool is_lost)
{
	if (!ts->member || ts->has_left)
		return;
	ts->has_left = true;
	ts->member->local_count--;
	ts->member->entry->session_count--;
	if (is_lost)
		make_shaky(ts->member, ts->worker);
	tell_others(ts, &(struct news){ .change = -1, .is_lost = is_lost });
}

void registry_leave(struct tunnel_session *ts)
{
	leave(ts, false);
}

void registry_remove(struct tunnel_session *ts, bool is_lost)
{
	struct worker *w = ts->worker;

	if (!ts->member)
		return;
	leave(ts, is_lost);
	list_remove(&ts->node);
	edge_session_down(w->edge, &ts->connection);
	member_drop_if_empty(w, TAKE(ts->member));
}

void registry_doubt(struct tunnel_session *ts, bool is_over)
{
	ts->is_in_doubt = !is_over;
	doubt(ts->member, ts->worker, is_over);
	tell_others(ts, &(struct news){ .doubt = is_over ? DOUBT_OVER : DOUBT_NEW });
}

void registry_set_services(struct tunnel_session *ts, struct service_report *report)
{
	if (!ts->member) {
		service_report_unref(report);
		return;
	}
	tell_others(ts, &(struct news){ .services = report });
	edge_connector_services(ts->worker->edge, &ts->connector, report);
	take_services(ts->member, report);
}

/* --- Choosing --------------------------------------------------------------------------------- */

static bool can_take(const struct tunnel_session *ts, enum registry_needs needs)
{
	if (ts->has_left || ts->session->is_draining)
		return false;
	if (needs == REGISTRY_STREAM)
		return session_can_open(ts->session);
	return session_can_open_udp(ts->session, needs == REGISTRY_UDP_HOSTNAME);
}

/* This worker's session of the replica that has the fewest streams in flight; NULL when none takes any. */
static struct tunnel_session *least_busy(struct member *m, const struct registry_ask *ask,
					 enum registry_needs needs)
{
	struct tunnel_session *best = NULL;
	size_t best_count = 0;

	LIST_FOR_EACH(node, &m->sessions) {
		struct tunnel_session *ts = LIST_ENTRY(node, struct tunnel_session, node);
		size_t count = session_stream_count(ts->session);
		bool was_tried = false;
		for (size_t i = 0; ask && i < ask->try_count; i++)
			was_tried |= ask->tries[i].session == ts;
		if (was_tried || !can_take(ts, needs))
			continue;
		bool is_better = !best || (best->is_in_doubt && !ts->is_in_doubt) ||
				 (best->is_in_doubt == ts->is_in_doubt && count < best_count);
		if (is_better) {
			best = ts;
			best_count = count;
		}
	}
	return best;
}

/* Of equals the one that has rested longest comes next. */
static struct tunnel_session *take_session(struct member *m, struct tunnel_session *ts)
{
	list_remove(&ts->node);
	list_append(&m->sessions, &ts->node);
	list_remove(&m->node);
	list_append(&m->entry->members, &m->node);
	return ts;
}

/* What is known of a replica for one host. */
static bool is_down(const struct member *m, struct bytes host)
{
	return m->services && m->services->unhealthy && service_report_is_down(m->services, host);
}

static enum balance_tier tier_of(const struct member *m, const struct registry_ask *ask, usec now,
				 bool *ret_is_due)
{
	bool is_backup = m->replica->facts.is_backup;
	enum ejection out = ejection_look(&m->replica->ejections, ask->host_key, now);
	bool was_tried = false;

	*ret_is_due = false;
	for (size_t i = 0; i < ask->try_count; i++) {
		if (!uuid_eq(&ask->tries[i].connector, &m->replica->connector))
			continue;
		if (ask->tries[i].is_final)
			return TIER_NONE;
		was_tried = true;
	}
	if (out == EJECTION_OUT || is_down(m, ask->host))
		return is_backup ? TIER_BAD_BACKUP : TIER_BAD_PRIMARY;
	*ret_is_due = out == EJECTION_DUE;
	if (was_tried)
		return TIER_TRIED;
	/* Visitors that belong to it stay: it may be one connection only. */
	if (now < m->shaky_until &&
	    (ask->policy == BALANCE_LEAST || ask->policy == BALANCE_ROUND_ROBIN))
		return TIER_SHAKY;
	return is_backup ? TIER_BACKUP : TIER_PRIMARY;
}

struct choosing {
	struct balance_candidate list[LIMIT_SESSIONS_PER_TUNNEL];
	struct member *members[LIMIT_SESSIONS_PER_TUNNEL];
	struct tunnel_session *sessions[LIMIT_SESSIONS_PER_TUNNEL];
	bool is_due[LIMIT_SESSIONS_PER_TUNNEL];
	size_t count;
};

static void add_candidate(struct choosing *c, struct member *m, const struct registry_ask *ask,
			  usec now)
{
	size_t i = c->count;
	struct tunnel_session *ts = m->local_count ? least_busy(m, ask, ask->needs) : NULL;

	size_t remote = ask->needs == REGISTRY_STREAM ? m->remote_total : m->remote_udp_total;

	if (ask->only_here)
		remote = 0;
	if ((!ts && remote == 0) || i == ARRAY_LEN(c->list))
		return;
	c->list[i] = (struct balance_candidate){
		.weight = m->replica->facts.weight,
		.load = m->entry->member_count > 1 ? replica_load_get(m->replica) : 0,
		.identity = m->replica->identity,
		.tier = tier_of(m, ask, now, &c->is_due[i]),
		.has_cookie =
			ask->cookie.len && bytes_eq(ask->cookie, bytes_str(m->replica->facts.tag)),
		.turn = &m->turn,
	};
	c->members[i] = m;
	c->sessions[i] = ts;
	c->count++;
}

static struct worker *remote_worker(struct worker *w, struct member *m, enum registry_needs needs)
{
	const size_t *remote = m->remote + (needs == REGISTRY_STREAM ? 0 : w->peer_count);

	for (size_t i = 0; i < w->peer_count; i++) {
		size_t at = m->next_remote++ % w->peer_count;
		if (remote[at])
			return w->peers[at];
	}
	return NULL;
}

uint64_t registry_host_key(const struct uuid *tunnel, struct bytes host)
{
	return hash_keyed(tunnel->b, host);
}

bool registry_choose(struct worker *w, const struct registry_ask *ask, struct registry_choice *ret)
{
	struct tunnel_entry *e = entry_of(w, ask->tunnel);
	UNINITIALIZED struct choosing c;
	usec now = loop_now(w->loop);

	if (!e)
		return false;
	uint64_t client = ask->policy == BALANCE_CLIENT_HASH
				  ? balance_client_key(e->tunnel.b, ask->client)
				  : 0;
	c.count = 0;
	LIST_FOR_EACH(node, &e->members)
		add_candidate(&c, LIST_ENTRY(node, struct member, node), ask, now);
	for (;;) {
		size_t i = balance_pick(ask->policy, c.list, c.count, e->tunnel.b, client);
		if (i == c.count)
			return false;
		struct member *m = c.members[i];
		/* One request may see whether a replica that was out is well again. */
		if (c.is_due[i] && !ejection_claim(&m->replica->ejections, ask->host_key, now)) {
			c.is_due[i] = false;
			c.list[i].tier =
				m->replica->facts.is_backup ? TIER_BAD_BACKUP : TIER_BAD_PRIMARY;
			continue;
		}
		*ret = (struct registry_choice){
			.replica = m->replica,
			.is_probe = c.is_due[i] || c.list[i].tier == TIER_BAD_PRIMARY ||
				    c.list[i].tier == TIER_BAD_BACKUP,
			.has_cookie = c.list[i].has_cookie,
		};
		if (c.sessions[i])
			ret->session = take_session(m, c.sessions[i]);
		else
			ret->worker = remote_worker(w, m, ask->needs);
		return true;
	}
}

bool registry_has_any(struct worker *w, const struct uuid *tunnel)
{
	const struct tunnel_entry *e = entry_of(w, tunnel);

	return e && e->session_count > 0;
}

bool registry_has_replicas(struct worker *w, const struct uuid *tunnel)
{
	const struct tunnel_entry *e = entry_of(w, tunnel);

	return e && e->member_count > 1;
}

struct tunnel_session *registry_session_of(struct worker *w, const struct uuid *tunnel,
					   const struct uuid *connector)
{
	struct member *m = member_of(entry_of(w, tunnel), connector);
	struct tunnel_session *ts = m ? least_busy(m, NULL, REGISTRY_STREAM) : NULL;

	return ts ? take_session(m, ts) : NULL;
}

struct tunnel_session *registry_udp_session_of(struct worker *w, const struct uuid *tunnel,
					       const struct uuid *connector, bool is_hostname)
{
	enum registry_needs needs = is_hostname ? REGISTRY_UDP_HOSTNAME : REGISTRY_UDP_ADDRESS;
	struct member *m = member_of(entry_of(w, tunnel), connector);
	struct tunnel_session *ts = m ? least_busy(m, NULL, needs) : NULL;

	return ts ? take_session(m, ts) : NULL;
}

/* --- What became of it ------------------------------------------------------------------------ */

/* Could somebody else take the host's requests? Who has no sessions cannot; of whom nothing is known can. */
static bool has_other(const struct member *m, const struct registry_verdict *v, usec now)
{
	LIST_FOR_EACH(node, &m->entry->members) {
		const struct member *it = LIST_ENTRY(node, struct member, node);
		if (it != m && (it->local_count || it->remote_total) && !is_down(it, v->host) &&
		    ejection_look(&it->replica->ejections, v->host_key, now) == EJECTION_NONE)
			return true;
	}
	return false;
}

static void log_ejection(const struct member *m, const struct registry_verdict *v, const char *what)
{
	char tunnel[UUID_TEXT_SIZE], connector[UUID_TEXT_SIZE];

	log_warn(COMPONENT, what, LOG_BYTES("host", v->host),
		 LOG_STR("tunnelID", uuid_text(&m->replica->tunnel, tunnel)),
		 LOG_STR("connector", uuid_text(&m->replica->connector, connector)),
		 LOG_STR("label", m->replica->facts.label));
}

void registry_judge(struct tunnel_session *ts, const struct registry_verdict *v)
{
	struct member *m = ts->member;
	struct ejections *e = &m->replica->ejections;

	if (v->ok && ejection_is_idle(e))
		return;
	if (v->ok) {
		if (!ejection_answered(e, v->host_key, v->is_probe))
			return;
		metric_add(&metric_ejections_ended, 1);
		log_ejection(m, v, "a replica's service answers again");
		return;
	}
	usec now = loop_now(ts->worker->loop);
	if (!ejection_failed(e, v->host_key, now, v->is_probe, has_other(m, v, now)))
		return;
	if (v->is_probe) {
		log_ejection(m, v, "a replica's service still fails");
	} else {
		metric_add(&metric_ejections, 1);
		log_ejection(m, v, "a replica's service fails, others take its requests");
	}
}

/* --- All of them ------------------------------------------------------------------------------ */

/* Closing reports later, so the lists stay as they are. */
void registry_for_each(struct worker *w, void (*fn)(struct tunnel_session *ts, void *arg), void *arg)
{
	size_t cursor = 0;
	void *value;

	while (map_next(w->tunnels, &cursor, NULL, &value)) {
		struct tunnel_entry *e = value;
		LIST_FOR_EACH(node, &e->members) {
			struct member *m = LIST_ENTRY(node, struct member, node);
			LIST_FOR_EACH(it, &m->sessions)
				fn(LIST_ENTRY(it, struct tunnel_session, node), arg);
		}
	}
}

bool registry_is_last(const struct tunnel_session *ts)
{
	return ts->member->local_count + ts->member->remote_total <= 1;
}

struct close_where {
	bool (*wanted)(const struct tunnel_session *ts, const void *arg);
	const void *arg;
};

static void close_one(struct tunnel_session *ts, void *arg)
{
	const struct close_where *c = arg;

	if (c->wanted(ts, c->arg))
		session_close(ts->session, REASON_DONE);
}

static void close_where(struct worker *w,
			bool (*wanted)(const struct tunnel_session *ts, const void *arg),
			const void *arg)
{
	registry_for_each(w, close_one, &(struct close_where){ wanted, arg });
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

	while (map_next(w->tunnels, &cursor, NULL, &value)) {
		struct tunnel_entry *e = value;
		LIST_FOR_EACH(node, &e->members)
			count += LIST_ENTRY(node, struct member, node)->local_count;
	}
	return count;
}

void registry_free(struct worker *w)
{
	size_t cursor = 0;
	void *value;

	while (map_next(w->tunnels, &cursor, NULL, &value)) {
		struct tunnel_entry *e = value;
		LIST_FOR_EACH(node, &e->members) {
			struct member *m = LIST_ENTRY(node, struct member, node);
			list_remove(&m->node);
			member_free(m);
		}
		mem_free(e);
	}
	w->tunnels = map_free(w->tunnels);
}
