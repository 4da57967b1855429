#include "edge/worker.h"

#include <unistd.h>

#include "base/mem.h"
#include "edge/access/gate.h"
#include "edge/acme/challenges.h"
#include "edge/dns/server.h"
#include "edge/forward/forward.h"
#include "edge/guard.h"
#include "edge/listen/announced.h"
#include "edge/listen/arrival.h"
#include "edge/listen/peek.h"
#include "edge/listen/visitor.h"
#include "edge/ports/open_port.h"
#include "edge/route/error_page.h"
#include "edge/route/route.h"
#include "edge/tunnels/accept.h"
#include "edge/tunnels/quic_listener.h"
#include "edge/tunnels/registry.h"
#include "io/conn.h"
#include "tls/tls.h"

static const struct handler visitor_handlers[] = {
	{ "limits", visitor_limit_handle },
	{ "route", route_handle },
	{ "access", gate_handle },
	{ "forward", forward_handle },
};

static const struct handler redirect_handlers[] = {
	{ "limits", visitor_limit_handle },
	{ "challenge", challenges_handle },
	{ "redirect", route_redirect },
};

struct worker *worker_new(const struct worker_start *start, struct err *err)
{
	struct loop *loop = loop_new(err);

	if (!loop)
		return NULL;
	struct worker *w = mem_alloc(sizeof(*w));
	w->index = start->index;
	w->loop = loop;
	w->edge = start->edge;
	w->location = start->location;
	w->https_port = start->https_port;
	w->control = start->control;
	w->limits = start->limits;
	w->tunnels = map_new();
	list_init(&w->visitors_open);
	list_init(&w->open_ports);
	list_init(&w->port_conns);
	list_init(&w->announced);
	list_init(&w->peeks);
	list_init(&w->handshakes);
	w->gate = gate_new(w);
	hold_init(w, start->hold_until);
	moving_init(w);
	w->visitors = (struct handler_chain){
		.handlers = visitor_handlers,
		.count = ARRAY_LEN(visitor_handlers),
		.ctx = w,
		.answer_failure = error_page_answer,
	};
	w->redirect = (struct handler_chain){
		.handlers = redirect_handlers,
		.count = ARRAY_LEN(redirect_handlers),
		.ctx = w,
		.answer_failure = error_page_answer,
	};
	return w;
}

struct worker *worker_free(struct worker *w)
{
	if (!w)
		return NULL;
	for (size_t i = 0; i < w->listener_count; i++)
		listener_free(w->listeners[i]);
	mem_free(w->listeners);
	for (size_t i = 0; i < w->quic_count; i++)
		quic_listener_close(w->quic[i]);
	open_ports_drain(w);
	w->dns = dns_server_free(w->dns);
	loop_free(w->loop);
	for (size_t i = 0; i < w->quic_count; i++)
		quic_listener_free(w->quic[i]);
	mem_free(w->quic);
	gate_free(w->gate);
	registry_free(w);
	tls_context_unref(w->https_tls);
	tls_context_unref(w->tunnel_tls);
	tls_context_unref(w->quic_tls);
	tls_context_unref(w->h3_tls);
	challenges_unref(w->challenges);
	snapshot_unref(w->snapshot);
	return mem_free(w);
}

void worker_listen(struct worker *w, int fd,
		   void (*on_accept)(void *worker, int fd, const struct address *peer))
{
	w->listeners = mem_resize(w->listeners, (w->listener_count + 1) * sizeof(w->listeners[0]));
	struct listener *l = listener_new(w->loop, fd, on_accept, w);
	listener_set_exhausted(l, guard_exhausted);
	w->listeners[w->listener_count++] = l;
}

/* --- From other threads ---------------------------------------------------------------------- */

struct new_snapshot {
	struct worker *worker;
	struct snapshot *snapshot;
	struct worker_tls tls;
};

void worker_set_snapshot(struct worker *w, struct snapshot *snapshot, const struct worker_tls *tls)
{
	/* Running exchanges and handshakes hold references of their own. */
	snapshot_unref(w->snapshot);
	tls_context_unref(w->https_tls);
	tls_context_unref(w->tunnel_tls);
	tls_context_unref(w->quic_tls);
	tls_context_unref(w->h3_tls);
	challenges_unref(w->challenges);
	w->snapshot = snapshot;
	gate_forget(w->gate);
	w->https_tls = tls->https;
	w->tunnel_tls = tls->tunnel;
	w->quic_tls = tls->quic;
	w->h3_tls = tls->h3;
	w->challenges = tls->challenges;
	for (size_t i = 0; i < w->quic_count; i++)
		quic_listener_set_tls(w->quic[i]);
	registry_drop_deleted(w);
}

static void on_snapshot(void *arg)
{
	struct new_snapshot *n = arg;

	worker_set_snapshot(n->worker, n->snapshot, &n->tls);
	mem_free(n);
}

void worker_post_snapshot(struct worker *w, struct snapshot *snapshot, const struct worker_tls *tls)
{
	struct new_snapshot *n = mem_alloc(sizeof(*n));

	*n = (struct new_snapshot){ w, snapshot, *tls };
	loop_post(w->loop, on_snapshot, n);
}

struct new_dns {
	struct worker *worker;
	struct dns_zones *zones;
	struct dns_peers *peers;
};

static void on_dns(void *arg)
{
	struct new_dns *n = arg;

	/* What was posted to a worker that has ended comes after the end. */
	if (n->worker->dns) {
		dns_server_set_zones(n->worker->dns, n->zones);
		dns_server_set_peers(n->worker->dns, n->peers);
	} else {
		dns_zones_unref(n->zones);
		dns_peers_unref(n->peers);
	}
	mem_free(n);
}

void worker_post_dns(struct worker *w, struct dns_zones *zones, struct dns_peers *peers)
{
	struct new_dns *n = mem_alloc(sizeof(*n));

	*n = (struct new_dns){ w, zones, peers };
	loop_post(w->loop, on_dns, n);
}

struct new_connector {
	struct worker *worker;
	int fd;
	struct address peer;
};

static void on_connector(void *arg)
{
	struct new_connector *n = arg;

	if (n->worker->is_draining)
		close(n->fd); /* allowed: a socket that never reached a loop */
	else
		accept_connector(n->worker, n->fd, &n->peer);
	mem_free(n);
}

void worker_post_connector(struct worker *w, int fd, const struct address *peer)
{
	struct new_connector *n = mem_alloc(sizeof(*n));

	*n = (struct new_connector){ w, fd, *peer };
	loop_post(w->loop, on_connector, n);
}

struct disconnect {
	struct worker *worker;
	struct uuid tunnel, connector;
	bool has_connector;
};

static void on_disconnect(void *arg)
{
	struct disconnect *d = arg;

	registry_disconnect(d->worker, &d->tunnel, d->has_connector ? &d->connector : NULL);
	mem_free(d);
}

void worker_post_disconnect(struct worker *w, const struct uuid *tunnel,
			    const struct uuid *connector)
{
	struct disconnect *d = mem_alloc(sizeof(*d));

	d->worker = w;
	d->tunnel = *tunnel;
	d->has_connector = connector != NULL;
	if (connector)
		d->connector = *connector;
	loop_post(w->loop, on_disconnect, d);
}

/* --- Leaving --------------------------------------------------------------------------------- */

static void on_served(void *arg)
{
	struct worker *w = arg;

	w->served_count++;
	worker_check_drained(w);
}

void worker_check_drained(struct worker *w)
{
	if (!w->is_draining || w->visitor_count)
		return;
	if (w->is_taken_over && (!list_is_empty(&w->handshakes) || !list_is_empty(&w->announced) ||
				 !list_is_empty(&w->peeks)))
		return;
	/* The sessions here may still carry requests of other workers' visitors (edge/forward/crossing.c):
	 * they stay until everybody has been served. */
	if (!w->has_served) {
		w->has_served = true;
		for (size_t i = 0; i < w->peer_count; i++)
			loop_post(w->peers[i]->loop, on_served, w->peers[i]);
	}
	if (w->served_count < w->peer_count && !w->is_aborting)
		return;
	if (w->session_count && w->is_taken_over && !moving_is_over(w))
		return; /* moving.c asks again */
	if (w->session_count) {
		registry_close_all(w); /* let the connectors go elsewhere */
	} else {
		moving_stop(w);
		loop_stop(w->loop);
	}
}

static void stop_listening(struct worker *w)
{
	for (size_t i = 0; i < w->listener_count; i++)
		listener_free(w->listeners[i]);
	w->listener_count = 0;
	for (size_t i = 0; i < w->quic_count; i++)
		quic_listener_stop(w->quic[i]);
	open_ports_drain(w);
}

static void on_drain(void *arg)
{
	struct worker *w = arg;

	if (w->is_draining && !w->is_taken_over)
		return;
	w->is_draining = true;
	w->is_taken_over = false;
	stop_listening(w);
	announced_cancel_all(w);
	peek_cancel_all(w);
	arrival_cancel_all(w);
	hold_end(w);
	moving_start(w, false);
	visitor_drain_all(w);
	worker_check_drained(w);
}

static void on_taken_over(void *arg)
{
	struct worker *w = arg;

	if (w->is_draining)
		return;
	w->is_draining = true;
	w->is_taken_over = true;
	stop_listening(w);
	for (size_t i = 0; i < w->quic_count; i++)
		quic_listener_hand_over(w->quic[i]);
	if (w->dns)
		dns_server_leave(w->dns);
	/* Whoever is just shaking hands is served; connectors are told at once. */
	visitor_leave_all(w);
	moving_start(w, true);
	worker_check_drained(w);
}

void worker_post_taken_over(struct worker *w)
{
	loop_post(w->loop, on_taken_over, w);
}

void worker_post_drain(struct worker *w)
{
	loop_post(w->loop, on_drain, w);
}

static void on_abort(void *arg)
{
	struct worker *w = arg;

	on_drain(w);
	w->is_aborting = true;
	open_ports_abort(w);
	visitor_close_all(w);
	registry_close_all(w);
	worker_check_drained(w);
}

void worker_post_abort(struct worker *w)
{
	loop_post(w->loop, on_abort, w);
}
