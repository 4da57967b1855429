/* What `tunnel diag` asks. */
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "connector/connector_config.h"
#include "connector/dial/addresses.h"
#include "connector/dial/dial.h"
#include "connector/dial/protocol.h"
#include "connector/local_api/local_api_internal.h"
#include "connector/local_api/probe.h"
#include "connector/local_api/system.h"
#include "connector/origin/health.h"
#include "connector/serve/serve.h"
#include "transport/transport.h"

static void set_text(json_t *o, const char *key, const char *value)
{
	json_t *text = json_string(value);

	json_object_set_new(o, key, text ? text : json_string("(not UTF-8)"));
}

static void set_uuid(json_t *o, const char *key, const struct uuid *id)
{
	char text[UUID_TEXT_SIZE];

	set_text(o, key, uuid_text(id, text));
}

/* --- /diag/tunnel ---------------------------------------------------------------------------- */

/* The stock connector's numbers. */
static int protocol_number(const char *name)
{
	return strcmp(name, "quic") == 0 ? 1 : 0;
}

/* In the stock connector's form, which knows of registered connections only. */
static json_t *stock_connection(size_t index, const struct dialer_connection *c)
{
	json_t *o = json_object();
	char ip[ADDRESS_TEXT_SIZE];

	json_object_set_new(o, "isConnected", json_true());
	json_object_set_new(o, "protocol", json_integer(protocol_number(c->protocol)));
	set_text(o, "edgeAddress", address_ip_text(&c->peer, ip));
	json_object_set_new(o, "index", json_integer((json_int_t)index));
	return o;
}

static json_t *our_connection(size_t index, const struct dialer_connection *c)
{
	json_t *o = json_object();
	char peer[ADDRESS_TEXT_SIZE];

	json_object_set_new(o, "index", json_integer((json_int_t)index));
	set_text(o, "state", c->state);
	set_text(o, "edge", c->edge);
	set_text(o, "protocol", c->protocol);
	if (c->is_registered) {
		set_text(o, "peer", address_text(&c->peer, peer));
		set_uuid(o, "connectionID", &c->id);
		set_text(o, "location", c->location);
	}
	if (c->last_error.code) {
		set_text(o, "lastError", c->last_error.text);
		set_text(o, "lastErrorKind", err_name(c->last_error.code));
		json_object_set_new(o, "failures", json_integer(c->failures));
	}
	return o;
}

/* What --protocol has led to. */
static json_t *protocol_json(const struct dialer *d)
{
	static const char *const wanted[] = {
		[CONNECTOR_AUTO] = "auto",
		[CONNECTOR_HTTP2] = "http2",
		[CONNECTOR_QUIC] = "quic",
	};
	const struct protocol *p = dialer_protocol(d);
	json_t *o = json_object();

	set_text(o, "wanted", wanted[p->mode]);
	set_text(o, "uses",
		 p->mode == CONNECTOR_HTTP2 || p->avoids_quic ? h2_transport.name
							      : quic_transport.name);
	if (p->avoids_quic)
		set_text(o, "why", p->why.text);
	return o;
}

void page_diag_tunnel(struct exchange *x, struct local_api *api)
{
	const struct connector_config *config = api->config;
	json_t *root = json_object(), *ours = json_object();
	json_t *stock = json_array(), *all = json_array(), *edges = json_array();
	struct edge_place *places = mem_alloc_array(DIALER_MAX_EDGES, sizeof(*places));

	for (size_t i = 0; i < dialer_connection_count(api->dialer); i++) {
		struct dialer_connection c;
		dialer_connection(api->dialer, i, &c);
		if (c.is_registered)
			json_array_append_new(stock, stock_connection(i, &c));
		json_array_append_new(all, our_connection(i, &c));
	}
	size_t edge_count = dialer_edges(api->dialer, places, DIALER_MAX_EDGES);
	for (size_t i = 0; i < edge_count; i++)
		json_array_append_new(edges, json_string(places[i].name));
	mem_free(places);
	set_uuid(root, "tunnelID", &config->tunnel_id);
	set_uuid(root, "connectorID", &api->connector);
	if (json_array_size(stock))
		json_object_set(root, "connections", stock);
	json_decref(stock);
	set_text(ours, "version", ADIT_VERSION);
	set_text(ours, "tunnelName", config->tunnel_name);
	json_object_set_new(ours, "pid", json_integer(getpid()));
	json_object_set_new(ours, "protocol", protocol_json(api->dialer));
	json_object_set_new(ours, "edges", edges);
	json_object_set_new(ours, "connections", all);
	json_object_set_new(ours, "services", health_json(server_health(api->server)));
	json_object_set_new(root, "adit", ours);
	local_api_answer_json(x, root);
}

/* --- /diag/configuration --------------------------------------------------------------------- */

void page_diag_configuration(struct exchange *x, struct local_api *api)
{
	const struct connector_config *config = api->config;
	json_t *root = json_object();
	char uid[16];

	for (size_t i = 0; i < config->flag_count; i++)
		set_text(root, config->flags[i].name, config->flags[i].value);
	(void)snprintf(uid, sizeof(uid), "%u", getuid());
	set_text(root, "uid", uid);
	local_api_answer_json(x, root);
}

/* --- What takes a while ---------------------------------------------------------------------- */

/* In the arena of its exchange. */
struct waiter {
	struct list node;
	struct exchange *x;
};

static void on_request_data(struct exchange *x)
{
	struct bytes run;

	while (body_peek(&x->request_body, &run, 1))
		body_consume(&x->request_body, run.len);
}

static void on_response_room(struct exchange *x)
{
	(void)x; /* the answer is written whole */
}

static void on_cancelled(struct exchange *x)
{
	struct waiter *w = x->answerer_ctx;

	list_remove(&w->node);
	exchange_release_answerer(x);
}

static const struct exchange_answerer waiting = {
	.name = "local api",
	.on_request_data = on_request_data,
	.on_response_room = on_response_room,
	.on_cancelled = on_cancelled,
};

static void job_wait(struct job *job, struct exchange *x)
{
	struct waiter *w = arena_alloc(&x->arena, sizeof(*w));

	w->x = x;
	list_append(&job->waiters, &w->node);
	exchange_answer_by(x, &waiting, w);
}

static void job_done(struct job *job, json_t *result)
{
	job->is_running = false;
	for (struct list *node; (node = list_pop(&job->waiters));) {
		local_api_answer_json(LIST_ENTRY(node, struct waiter, node)->x, json_incref(result));
	}
	json_decref(result);
}

static void describe_system(void *arg)
{
	struct local_api *api = arg;

	api->system.result = system_describe();
}

static void on_system_described(void *arg)
{
	struct local_api *api = arg;

	job_done(&api->system, TAKE(api->system.result));
}

void page_diag_system(struct exchange *x, struct local_api *api)
{
	job_wait(&api->system, x);
	if (api->system.is_running)
		return;
	api->system.is_running = true;
	loop_work(api->loop, describe_system, on_system_described, api);
}

static void on_probed(void *ctx, json_t *results)
{
	struct local_api *api = ctx;

	api->run = NULL;
	job_done(&api->probe, results);
}

void page_diag_probe(struct exchange *x, struct local_api *api)
{
	job_wait(&api->probe, x);
	if (api->probe.is_running)
		return;
	api->probe.is_running = true;
	api->run = probe_run_start(api->loop, api->dialer, server_origins(api->server), on_probed,
				   api);
}
