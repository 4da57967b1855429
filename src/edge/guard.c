#include "edge/guard.h"

#include <jansson.h>
#include <stdatomic.h>
#include <string.h>

#include "base/bufq.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/process.h"
#include "edge/listen/allowance.h"
#include "io/network.h"

#define COMPONENT "edge"

/* For connectors, listeners, the store and logs: an eighth of all descriptors, and so many at least. */
#define RESERVE_SHARE 8
#define RESERVE_MIN 64

static struct metric metric_exhausted = {
	.name = "adit_edge_accept_pauses_total",
	.help = "How often a listener paused because there was no file descriptor or memory",
};

struct guard {
	const struct edge_config *cfg; /* borrowed */
	struct network *exempt;        /* owned */
	size_t exempt_count;
	struct network *balancers; /* owned */
	size_t balancer_count;
	int64_t descriptors;
	uint32_t all_connections;
	struct allowances *allowances; /* owned */
};

/* What there are descriptors for, unless the operator wants fewer. */
static uint32_t connections_of(const struct edge_config *cfg, int64_t descriptors)
{
	int64_t reserve = descriptors / RESERVE_SHARE;

	if (reserve < RESERVE_MIN)
		reserve = RESERVE_MIN;
	int64_t most = descriptors - reserve;
	if (descriptors < 0 || most > UINT32_MAX)
		most = UINT32_MAX;
	if (most < 1)
		most = 1;
	if (cfg->limits.all_connections && cfg->limits.all_connections < most)
		most = cfg->limits.all_connections;
	return (uint32_t)most;
}

static struct network *networks_of(const struct edge_texts *texts, size_t *ret_count)
{
	struct network *list = mem_alloc_array(texts->count + 1, sizeof(*list));

	*ret_count = 0;
	for (size_t i = 0; i < texts->count; i++)
		if (network_parse(bytes_str(texts->list[i]), &list[*ret_count]))
			++*ret_count;
	return list;
}

struct guard *guard_new(const struct edge_config *cfg)
{
	struct guard *g = mem_alloc(sizeof(*g));
	const struct edge_limits *l = &cfg->limits;

	g->cfg = cfg;
	g->descriptors = process_raise_descriptors();
	g->all_connections = connections_of(cfg, g->descriptors);
	g->exempt = networks_of(&l->exempt, &g->exempt_count);
	g->balancers = networks_of(&cfg->proxy_from, &g->balancer_count);
	const struct allowance_limits limits = {
		.connections = l->connections,
		.connection_rate = l->connection_rate,
		.requests = l->requests,
		.request_rate = l->request_rate,
		.all_connections = g->all_connections,
		.buffers = l->buffers,
		.exempt = g->exempt,
		.exempt_count = g->exempt_count,
	};
	g->allowances = allowances_new(&limits);
	log_debug(COMPONENT, "limits", LOG_INT("descriptors", g->descriptors),
		  LOG_INT("connections", g->all_connections));
	return g;
}

struct guard *guard_free(struct guard *g)
{
	if (!g)
		return NULL;
	allowances_free(g->allowances);
	mem_free(g->exempt);
	mem_free(g->balancers);
	return mem_free(g);
}

struct worker_limits guard_limits(const struct guard *g)
{
	const struct edge_limits *l = &g->cfg->limits;

	return (struct worker_limits){
		.allowances = g->allowances,
		.balancers = g->balancers,
		.balancer_count = g->balancer_count,
		.handshake_ms = l->handshake / USEC_PER_MSEC,
		.head_ms = l->head / USEC_PER_MSEC,
		.keepalive_ms = l->keepalive / USEC_PER_MSEC,
		.body_ms = l->body / USEC_PER_MSEC,
		.body_rate = l->body_rate,
		.pace_ms = l->body_grace / USEC_PER_MSEC,
	};
}

static json_t *row(const char *name, uint32_t limit, enum allowance_answer answer)
{
	return json_pack("{s:s, s:o, s:I}", "limit", name, "value",
			 limit ? json_integer(limit) : json_string("off"), "refused",
			 (json_int_t)metric_get(&metric_limited[answer]));
}

struct json_t *guard_json(void *guard)
{
	const struct guard *g = guard;
	const struct edge_limits *l = &g->cfg->limits;
	json_t *rows = json_array();

	(void)json_array_append_new(
		rows, row("limit-all-connections", g->all_connections, ALLOWANCE_ALL));
	(void)json_array_append_new(
		rows, row("limit-connections", l->connections, ALLOWANCE_CONNECTIONS));
	(void)json_array_append_new(
		rows, row("limit-connection-rate", l->connection_rate, ALLOWANCE_CONNECTION_RATE));
	(void)json_array_append_new(rows, row("limit-requests", l->requests, ALLOWANCE_REQUESTS));
	(void)json_array_append_new(
		rows, row("limit-request-rate", l->request_rate, ALLOWANCE_REQUEST_RATE));
	(void)json_array_append_new(
		rows,
		json_pack("{s:s, s:o, s:I}", "limit", "limit-buffers", "value",
			  l->buffers ? json_integer(l->buffers) : json_string("off"), "refused",
			  (json_int_t)metric_get(&metric_limited[ALLOWANCE_BUFFERS])));
	return json_pack("{s:I, s:I, s:I, s:I, s:o}", "file_descriptors", (json_int_t)g->descriptors,
			 "addresses_known", (json_int_t)metric_get(&metric_limited_addresses),
			 "accept_pauses", (json_int_t)metric_get(&metric_exhausted), "buffer_bytes",
			 (json_int_t)bufq_memory(), "settings", rows);
}

void guard_register_metrics(void)
{
	for (size_t i = ALLOWANCE_GIVEN + 1; i < ALLOWANCE_ANSWERS; i++)
		metric_register(&metric_limited[i]);
	metric_register(&metric_limited_addresses);
	metric_register(&metric_exhausted);
}

void guard_exhausted(void *worker, int sys_errno)
{
	static _Atomic usec said_at;
	usec now = clock_now(), last = atomic_load_explicit(&said_at, memory_order_relaxed);

	(void)worker;
	metric_add(&metric_exhausted, 1);
	if ((last && now - last < LIMIT_VISITOR_LOG_MS * USEC_PER_MSEC) ||
	    !atomic_compare_exchange_strong(&said_at, &last, now))
		return;
	log_warn(COMPONENT, "no more connections are accepted until some end",
		 LOG_STR("error", strerror(sys_errno)));
}
