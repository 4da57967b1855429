#include "connector/local_api/probe.h"

#include "base/mem.h"
#include "connector/dial/dial.h"
#include "connector/dial/edge_dial.h"
#include "connector/dial/protocol.h"
#include "connector/dial/quic_dial.h"
#include "connector/origin/origin.h"

/* Connections a run has open at once: a file with thousands of rules must not take the descriptors of the
 * visitors. */
#define MAX_AT_ONCE 32

/* An edge's time: its own end tells more than the run's. */
#define EDGE_MS (PROBE_MS - 1000)

enum probe_state { PROBE_WAITING, PROBE_RUNNING, PROBE_OVER };

enum probe_kind { PROBE_EDGE, PROBE_UDP, PROBE_RULE };

/* One address of the edge, over TCP or UDP, or one rule. */
struct probe {
	struct probe_run *run;
	enum probe_kind kind;
	enum probe_state state;
	bool is_reached;
	usec started_at, took;
	struct err err;
	const char *step; /* of the failure */
	struct address peer;
	/* Running; one of these. */
	struct edge_dial *attempt;
	struct quic_dial *quic;
	struct origin_probe *origin;
};

struct probe_run {
	struct loop *loop;
	struct dialer *dialer;
	struct origin_set *origins; /* counted */
	probe_done *done;
	void *ctx;
	struct timer deadline;
	struct deferred next;
	size_t edge_count; /* over TCP; they come first */
	size_t udp_count;  /* then those over UDP, then the rules */
	size_t count;
	size_t running, started;
	struct edge_place edges[2 * DIALER_MAX_EDGES];
	struct edge_way udp_way;
	struct probe probes[];
};

static const struct ingress_rule *rule_of(const struct probe_run *run, size_t i)
{
	return ingress_rule(origin_set_ingress(run->origins), i - run->edge_count - run->udp_count);
}

static void probe_over(struct probe *p, const struct address *peer, const struct err *err,
		       const char *step)
{
	struct probe_run *run = p->run;

	p->state = PROBE_OVER;
	p->took = loop_now(run->loop) - p->started_at;
	p->is_reached = !err;
	p->step = step;
	if (err)
		p->err = *err;
	if (peer)
		p->peer = *peer;
	run->running--;
	loop_defer(run->loop, &run->next);
}

/* --- The edge -------------------------------------------------------------------------------- */

static void on_edge_dialled(void *ctx, const struct edge_dial_end *end)
{
	struct probe *p = ctx;

	p->attempt = NULL;
	if (end->stream)
		probe_over(p, end->stream->peer, NULL, NULL);
	else
		probe_over(p, NULL, &end->err, end->step);
	byte_stream_close(end->stream);
}

static void on_quic_dialled(void *ctx, const struct quic_dial_end *end)
{
	struct probe *p = ctx;

	p->quic = NULL;
	if (end->conn)
		probe_over(p, quic_conn_peer(end->conn), NULL, NULL);
	else
		probe_over(p, NULL, &end->err, end->err.code == E_TLS ? "tls" : "connect");
	tunnel_endpoint_free(end->endpoint);
}

static void start_udp(struct probe *p)
{
	struct probe_run *run = p->run;

	p->quic = quic_dial(&run->udp_way, &run->edges[p - run->probes], 1, on_quic_dialled, p);
}

static void start_edge(struct probe *p)
{
	const struct probe_run *run = p->run;

	p->attempt = edge_dial(dialer_way(run->dialer), &run->edges[p - run->probes], 1, EDGE_MS,
			       on_edge_dialled, p);
}

/* --- Services -------------------------------------------------------------------------------- */

static void on_origin_probed(void *ctx, const struct address *peer, const struct err *err,
			     bool in_tls)
{
	struct probe *p = ctx;

	p->origin = NULL;
	probe_over(p, peer, err, in_tls ? "tls" : "connect");
}

/* --- Results --------------------------------------------------------------------------------- */

static const char *step_of(const struct probe *p)
{
	if (p->err.code == E_NOT_FOUND || strstr(p->err.text, "looking up"))
		return "resolve";
	return p->step;
}

/* Texts of a peer may hold anything. */
static json_t *text(const char *s)
{
	json_t *value = json_string(s);

	return value ? value : json_string("(not UTF-8)");
}

static void add_result(json_t *o, const struct probe *p)
{
	char peer[ADDRESS_TEXT_SIZE];

	json_object_set_new(o, "ok", json_boolean(p->is_reached));
	if (p->is_reached) {
		json_object_set_new(o, "peer", text(address_text(&p->peer, peer)));
	} else {
		json_object_set_new(o, "step", json_string(step_of(p)));
		if (p->err.sys_errno)
			json_object_set_new(o, "errno",
					    json_string(err_errno_name(p->err.sys_errno)));
		json_object_set_new(o, "error", text(p->err.text));
	}
	json_object_set_new(o, "ms", json_integer(p->took / USEC_PER_MSEC));
}

static const char *why_skipped(const struct ingress_rule *rule)
{
	if (rule->kind == INGRESS_BASTION || rule->kind == INGRESS_SOCKS)
		return "the visitor chooses where to connect";
	if (rule->kind == INGRESS_UDP)
		return "UDP has no connections";
	return "there is nothing to connect to";
}

static json_t *rule_json(const struct ingress_rule *rule, const struct probe *p)
{
	json_t *o = json_object();

	json_object_set_new(o, "rule", json_integer(rule->index));
	json_object_set_new(o, "label", text(rule->label));
	json_object_set_new(o, "service", text(rule->service));
	if (origin_can_probe(rule))
		add_result(o, p);
	else
		json_object_set_new(o, "skipped", json_string(why_skipped(rule)));
	return o;
}

static json_t *results(const struct probe_run *run)
{
	json_t *root = json_object(), *edges = json_array(), *rules = json_array();
	json_t *udp = json_array();

	for (size_t i = 0; i < run->count; i++) {
		const struct probe *p = &run->probes[i];
		if (p->kind == PROBE_RULE) {
			json_array_append_new(rules, rule_json(rule_of(run, i), p));
			continue;
		}
		json_t *o = json_object();
		json_object_set_new(o, "address", text(run->edges[i].name));
		add_result(o, p);
		json_array_append_new(p->kind == PROBE_UDP ? udp : edges, o);
	}
	json_object_set_new(root, "edges", edges);
	json_object_set_new(root, "udp", udp);
	json_object_set_new(root, "rules", rules);
	return root;
}

/* --- Life ------------------------------------------------------------------------------------ */

static void probe_stop(struct probe *p)
{
	p->attempt = edge_dial_cancel(p->attempt);
	p->quic = quic_dial_cancel(p->quic);
	p->origin = origin_probe_cancel(p->origin);
}

struct probe_run *probe_run_cancel(struct probe_run *run)
{
	if (!run)
		return NULL;
	for (size_t i = 0; i < run->count; i++)
		probe_stop(&run->probes[i]);
	timer_stop(&run->deadline);
	deferred_cancel(&run->next);
	origin_set_unref(run->origins);
	return mem_free(run);
}

static void run_over(struct probe_run *run)
{
	json_t *all = results(run);
	probe_done *done = run->done;
	void *ctx = run->ctx;

	probe_run_cancel(run);
	done(ctx, all);
}

static void probe_start(struct probe_run *run, size_t i)
{
	struct probe *p = &run->probes[i];

	p->started_at = loop_now(run->loop);
	if (p->kind == PROBE_RULE && !origin_can_probe(rule_of(run, i))) {
		p->state = PROBE_OVER;
		return;
	}
	p->state = PROBE_RUNNING;
	run->running++;
	if (p->kind == PROBE_EDGE)
		start_edge(p);
	else if (p->kind == PROBE_UDP)
		start_udp(p);
	else
		p->origin = origin_probe(run->origins, i - run->edge_count - run->udp_count,
					 on_origin_probed, p);
}

static void on_next(struct deferred *d)
{
	struct probe_run *run = CONTAINER_OF(d, struct probe_run, next);

	while (run->started < run->count && run->running < MAX_AT_ONCE)
		probe_start(run, run->started++);
	if (run->running == 0 && run->started == run->count)
		run_over(run);
}

static void on_deadline(struct timer *t)
{
	struct probe_run *run = CONTAINER_OF(t, struct probe_run, deadline);

	for (size_t i = 0; i < run->count; i++) {
		struct probe *p = &run->probes[i];
		if (p->state == PROBE_OVER)
			continue;
		p->step = "connect";
		probe_stop(p);
		p->took = p->state == PROBE_RUNNING ? loop_now(run->loop) - p->started_at : 0;
		err_set(&p->err, E_TIMEOUT, "%s within %d s",
			p->state == PROBE_RUNNING ? "no answer" : "not tried, its turn did not come",
			PROBE_MS / 1000);
	}
	run_over(run);
}

struct probe_run *probe_run_start(struct loop *loop, struct dialer *dialer,
				  struct origin_set *origins, probe_done *done, void *ctx)
{
	size_t rules = ingress_count(origin_set_ingress(origins));
	size_t most = 2 * DIALER_MAX_EDGES + rules;
	struct probe_run *run = mem_alloc(sizeof(*run) + most * sizeof(run->probes[0]));

	run->loop = loop;
	run->dialer = dialer;
	run->origins = origin_set_ref(origins);
	run->done = done;
	run->ctx = ctx;
	run->edge_count = dialer_edges(dialer, run->edges, DIALER_MAX_EDGES);
	run->udp_way = *dialer_way(dialer);
	/* The edge knows by this name that no session follows. */
	run->udp_way.quic_server_name = BYTES_LIT("probe.cftunnel.com");
	if (dialer_protocol(dialer)->mode != CONNECTOR_HTTP2)
		run->udp_count =
			dialer_udp_edges(dialer, run->edges + run->edge_count, DIALER_MAX_EDGES);
	run->count = run->edge_count + run->udp_count + rules;
	for (size_t i = 0; i < run->count; i++) {
		run->probes[i].run = run;
		run->probes[i].kind = i < run->edge_count                    ? PROBE_EDGE
				      : i < run->edge_count + run->udp_count ? PROBE_UDP
									     : PROBE_RULE;
	}
	deferred_init(&run->next, on_next);
	loop_defer(loop, &run->next);
	timer_init(&run->deadline, loop, on_deadline);
	timer_set(&run->deadline, PROBE_MS);
	return run;
}
