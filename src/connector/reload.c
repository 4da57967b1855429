#include "connector/reload.h"

#include <signal.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "connector/connector_config.h"
#include "connector/connector_metrics.h"
#include "connector/origin/origin.h"
#include "connector/serve/serve.h"
#include "io/loop.h"

#define COMPONENT "connector"

/* An editor's save is noticed within this. */
#define LOOK_EVERY_MS 1000
/* More rules than this are counted only. */
#define LOGGED_RULES_BYTES 4096

struct reloader {
	struct loop *loop;
	const struct connector_config *cfg;
	struct server *server;
	struct loop_signal *hangup;
	struct loop_file *file;
	bool is_reading, is_wanted_again, is_gone;
	int version; /* how often the rules have changed */
	/* Written by the read, off the loop. */
	struct ingress *ingress;
	struct err err;
};

static void start(struct reloader *r);

void reload_log_rules(const char *message, const struct ingress *ingress, int version,
		      const char *path)
{
	struct buf json;
	char *text = NULL;

	buf_init(&json, LOGGED_RULES_BYTES);
	if (ingress_write_summary_json(ingress, &json) == 0)
		text = buf_take_str(&json);
	buf_done(&json);
	log_info(COMPONENT, message, LOG_STR("config", text ? text : "{}"),
		 LOG_INT("version", version), LOG_INT("rules", ingress_count(ingress)),
		 LOG_STR("file", path ? path : ""));
	mem_free(text);
}

static void read_rules(void *arg)
{
	struct reloader *r = arg;

	r->err = (struct err){ 0 };
	r->ingress = connector_config_reload(r->cfg, &r->err);
}

static void take_over(struct reloader *r)
{
	struct origin_set *origins =
		r->ingress ? origin_set_new(r->loop, r->ingress, &r->err) : NULL;

	connector_metrics_reloaded(!origins);
	if (!origins) {
		log_error(COMPONENT, "The new configuration is refused, the old rules stay",
			  LOG_STR("config", r->cfg->config_path), LOG_STR("error", r->err.text));
		return;
	}
	server_set_origins(r->server, origins);
	origin_set_unref(origins);
	reload_log_rules("Updated to new configuration", r->ingress, ++r->version,
			 r->cfg->config_path);
	for (size_t i = 0; i < ingress_warning_count(r->ingress); i++)
		log_warn(COMPONENT, ingress_warning(r->ingress, i));
	for (size_t i = 0; i < ingress_unknown_count(r->ingress); i++)
		log_warn(COMPONENT, ingress_unknown(r->ingress, i));
}

static void on_read(void *arg)
{
	struct reloader *r = arg;

	r->is_reading = false;
	if (!r->is_gone)
		take_over(r);
	r->ingress = ingress_unref(r->ingress);
	if (r->is_gone)
		mem_free(r);
	else if (r->is_wanted_again)
		start(r);
}

static void start(struct reloader *r)
{
	r->is_wanted_again = r->is_reading;
	if (r->is_reading)
		return;
	r->is_reading = true;
	loop_work(r->loop, read_rules, on_read, r);
}

static void on_file_changed(void *arg)
{
	start(arg);
}

static void on_hangup(void *arg, int signum)
{
	struct reloader *r = arg;

	(void)signum;
	log_reopen(); /* whoever rotates logs sends it too */
	if (r->cfg->config_path)
		start(r);
	else
		log_info(COMPONENT, "Nothing to reload: the rules did not come from a file");
}

struct reloader *reloader_new(struct loop *loop, const struct connector_config *cfg,
			      struct server *server)
{
	struct reloader *r = mem_alloc(sizeof(*r));

	r->loop = loop;
	r->cfg = cfg;
	r->server = server;
	r->hangup = loop_signal_new(loop, SIGHUP, on_hangup, r);
	if (cfg->config_path)
		r->file = loop_file_new(loop, cfg->config_path, LOOK_EVERY_MS, on_file_changed, r);
	return r;
}

struct reloader *reloader_free(struct reloader *r)
{
	if (!r)
		return NULL;
	r->hangup = loop_signal_free(r->hangup);
	r->file = loop_file_free(r->file);
	r->is_gone = true;
	return r->is_reading ? NULL : mem_free(r);
}
