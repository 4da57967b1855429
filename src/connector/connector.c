#include "connector/connector.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "connector/dial/dial.h"
#include "connector/local_api/local_api.h"
#include "connector/origin/origin.h"
#include "connector/reload.h"
#include "connector/serve/serve.h"
#include "io/loop.h"
#include "io/notify.h"
#include "io/watchdog.h"
#include "tls/tls.h"

#define COMPONENT "connector"

struct connector {
	const struct connector_config *config;
	struct loop *loop;
	struct dialer *dialer;
	struct server *server;
	struct local_api *api;
	struct timer grace;
	bool is_stopping;
};

static void write_pidfile(const char *path)
{
	FILE *file = fopen(path, "we");

	if (!file || fprintf(file, "%ld\n", (long)getpid()) < 0)
		log_error(COMPONENT, "Unable to write pid to the pidfile", LOG_STR("path", path),
			  LOG_STR("error", strerror(errno)));
	if (file)
		fclose(file);
}

static void on_first_registered(void *ctx)
{
	const struct connector *c = ctx;

	notify_service_manager("READY=1");
	if (c->config->pidfile)
		write_pidfile(c->config->pidfile);
}

static void on_drained(void *ctx)
{
	struct connector *c = ctx;

	timer_stop(&c->grace);
	loop_stop(c->loop);
}

static const struct dialer_events dialer_events = {
	.on_first_registered = on_first_registered,
	.on_drained = on_drained,
};

/* A service went down or came back. */
static bool on_health(void *ctx)
{
	const struct connector *c = ctx;

	return !c->dialer || dialer_report_health(c->dialer);
}

static void on_grace_over(struct timer *t)
{
	dialer_abort(CONTAINER_OF(t, struct connector, grace)->dialer);
}

static void on_signal(void *arg, int signum)
{
	struct connector *c = arg;

	if (c->is_stopping) {
		dialer_abort(c->dialer);
		return;
	}
	c->is_stopping = true;
	log_info(COMPONENT, "Initiating graceful shutdown",
		 LOG_STR("signal", signum == SIGINT ? "interrupt" : "terminated"));
	notify_service_manager("STOPPING=1");
	timer_set(&c->grace, c->config->grace_period / USEC_PER_MSEC);
	server_drain(c->server);
	dialer_drain(c->dialer);
}

int connector_run(const struct connector_config *cfg)
{
	struct connector c = { .config = cfg };
	struct err err = { 0 };
	char tunnel[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE];
	struct uuid connector_id = uuid_random();

	mem_return_large_blocks();
	signal(SIGPIPE, SIG_IGN);
	tls_global_init();
	log_info(COMPONENT, "Starting tunnel",
		 LOG_STR("tunnelID", uuid_text(&cfg->tunnel_id, tunnel)));
	log_info(COMPONENT, "Version " ADIT_VERSION);
	char *generated = mem_printf("Generated Connector ID: %s", uuid_text(&connector_id, id));
	log_info(COMPONENT, generated);
	mem_free(generated);
	log_info(COMPONENT, cfg->protocol == CONNECTOR_HTTP2 ? "Initial protocol http2"
							     : "Initial protocol quic");
	if (ingress_count(cfg->ingress))
		reload_log_rules("Starting with configuration", cfg->ingress, 0, cfg->config_path);

	c.loop = loop_new(&err);
	struct origin_set *origins = c.loop ? origin_set_new(c.loop, cfg->ingress, &err) : NULL;
	struct server *server = origins ? server_new(c.loop, cfg, &connector_id, origins) : NULL;
	c.server = server;
	if (server)
		c.dialer = dialer_new(c.loop, cfg, &connector_id, server, &dialer_events, &c, &err);
	bool has_started = c.dialer != NULL;
	if (server)
		server_on_health(server, on_health, &c);
	if (has_started) {
		struct loop_signal *term = loop_signal_new(c.loop, SIGTERM, on_signal, &c);
		struct loop_signal *interrupt = loop_signal_new(c.loop, SIGINT, on_signal, &c);
		timer_init(&c.grace, c.loop, on_grace_over);
		c.api = local_api_new(c.loop, cfg, &connector_id, c.dialer, server);
		if (c.api)
			server_set_own_api(server, local_api_address(c.api));
		struct reloader *reloader = reloader_new(c.loop, cfg, server);
		struct watchdog *watchdog = watchdog_new(c.loop, NULL, 0);
		dialer_start(c.dialer);
		loop_run(c.loop);
		watchdog_free(watchdog);
		reloader_free(reloader);
		local_api_close(c.api);
		loop_signal_free(term);
		loop_signal_free(interrupt);
		c.dialer = dialer_free(c.dialer);

		log_info(COMPONENT, "Tunnel server stopped");
	} else {
		log_error(COMPONENT, "Unable to start the tunnel", LOG_STR("error", err.text));
	}
	server_free(server);
	origin_set_unref(origins);
	loop_free(c.loop);
	local_api_free(c.api);
	if (cfg->pidfile && has_started)
		unlink(cfg->pidfile);
	return has_started ? 0 : 1;
}
