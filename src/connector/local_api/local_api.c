#include "connector/local_api/local_api.h"

#include "base/log.h"
#include "base/mem.h"
#include "connector/connector_config.h"
#include "connector/dial/dial.h"
#include "http/h1_listener.h"
#include "io/conn.h"

#define COMPONENT "connector"

#define MAX_CONNECTIONS 16
/* Where tools look for a connector of which they know nothing. */
#define FIRST_PORT 20241
#define LAST_PORT 20245

struct local_api {
	struct h1_listener *listener;
	struct handler_chain chain;
	struct dialer *dialer;
	char connector_id[UUID_TEXT_SIZE];
};

static void answer_ready(struct exchange *x, const struct local_api *api)
{
	size_t ready = dialer_registered_count(api->dialer);
	int status = ready ? 200 : 503;
	struct bytes text = arena_printf(
		&x->arena, "{\"status\":%d,\"readyConnections\":%zu,\"connectorId\":\"%s\"}\n",
		status, ready, api->connector_id);

	exchange_answer_whole(x, status, BYTES_LIT("application/json"), text);
}

static void answer_metrics(struct exchange *x, const struct local_api *api)
{
	/* The names of the stock connector. */
	struct bytes text = arena_printf(
		&x->arena,
		"# HELP cloudflared_tunnel_ha_connections Number of active ha connections\n"
		"# TYPE cloudflared_tunnel_ha_connections gauge\n"
		"cloudflared_tunnel_ha_connections %zu\n"
		"# HELP cloudflared_tunnel_concurrent_requests_per_tunnel Concurrent requests proxied\n"
		"# TYPE cloudflared_tunnel_concurrent_requests_per_tunnel gauge\n"
		"cloudflared_tunnel_concurrent_requests_per_tunnel %ld\n"
		"# HELP build_info Build and version information\n"
		"# TYPE build_info gauge\n"
		"build_info{version=\"%s\"} 1\n",
		dialer_registered_count(api->dialer), exchange_live_count() - 1, ADIT_VERSION);

	exchange_answer_whole(x, 200, BYTES_LIT("text/plain; version=0.0.4; charset=utf-8"), text);
}

static enum handled handle(struct exchange *x, void *ctx)
{
	const struct local_api *api = ctx;
	struct bytes path = bytes_first(x->request.path, bytes_index(x->request.path, '?'));

	if (bytes_eq(path, BYTES_LIT("/ready")))
		answer_ready(x, api);
	else if (bytes_eq(path, BYTES_LIT("/metrics")))
		answer_metrics(x, api);
	else
		exchange_answer_whole(x, 404, BYTES_LIT("text/plain; charset=utf-8"),
				      BYTES_LIT("There are /metrics and /ready here.\n"));
	return HANDLED_TAKEN;
}

static const struct handler handlers[] = { { "local api", handle } };

static int open_default(struct address *address, struct err *err)
{
	for (uint16_t port = FIRST_PORT; port <= LAST_PORT; port++) {
		address_from_ip(BYTES_LIT("127.0.0.1"), port, address);
		int fd = listen_open(address, false, err);
		if (fd >= 0)
			return fd;
	}
	address_from_ip(BYTES_LIT("127.0.0.1"), 0, address);
	return listen_open(address, false, err);
}

struct local_api *local_api_new(struct loop *loop, const struct connector_config *cfg,
				const struct uuid *connector, struct dialer *dialer)
{
	struct address address;
	struct err err = { 0 };
	char shown[ADDRESS_TEXT_SIZE];
	int fd;

	if (strcmp(cfg->metrics_address, "localhost:0") == 0)
		fd = open_default(&address, &err);
	else if (address_parse(bytes_str(cfg->metrics_address), &address, &err) < 0)
		fd = -1;
	else
		fd = listen_open(&address, false, &err);
	if (fd < 0) {
		log_error(COMPONENT, "Error opening metrics server listener",
			  LOG_STR("error", err.text));
		return NULL;
	}
	struct local_api *api = mem_alloc(sizeof(*api));
	api->dialer = dialer;
	uuid_text(connector, api->connector_id);
	api->chain = (struct handler_chain){ .handlers = handlers,
					     .count = ARRAY_LEN(handlers),
					     .ctx = api };
	api->listener = h1_listener_new(loop, fd, &api->chain, MAX_CONNECTIONS);
	char *message =
		mem_printf("Starting metrics server on %s/metrics", address_text(&address, shown));
	log_info(COMPONENT, message);
	mem_free(message);
	return api;
}

void local_api_close(struct local_api *api)
{
	if (api)
		api->listener = h1_listener_close(api->listener);
}

struct local_api *local_api_free(struct local_api *api)
{
	return mem_free(api);
}
