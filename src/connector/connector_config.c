#include "connector/connector_config.h"

#include "base/mem.h"

void connector_config_init(struct connector_config *cfg)
{
	*cfg = (struct connector_config){
		.ha_connections = 4,
		.retries = 5,
		.dial_timeout = 15 * USEC_PER_SEC,
		.rpc_timeout = 5 * USEC_PER_SEC,
		.grace_period = 30 * USEC_PER_SEC,
	};
}

static void texts_done(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mem_free(texts[i]);
	mem_free(texts);
}

void connector_config_done(struct connector_config *cfg)
{
	mem_free(cfg->account_tag);
	secret_done(&cfg->tunnel_secret);
	mem_free(cfg->tunnel_name);
	texts_done(cfg->edges, cfg->edge_count);
	mem_free(cfg->region);
	if (cfg->edge_proxy)
		explicit_bzero(cfg->edge_proxy, strlen(cfg->edge_proxy));
	mem_free(cfg->edge_proxy);
	mem_free(cfg->no_proxy);
	mem_free(cfg->edge_ca_pem);
	mem_free(cfg->bind_address);
	for (size_t i = 0; i < cfg->tag_count; i++) {
		mem_free(cfg->tags[i].name);
		mem_free(cfg->tags[i].value);
	}
	mem_free(cfg->tags);
	texts_done(cfg->features, cfg->feature_count);
	mem_free(cfg->label);
	ingress_unref(cfg->ingress);
	mem_free(cfg->config_path);
	mem_free(cfg->metrics_address);
	for (size_t i = 0; i < cfg->flag_count; i++)
		mem_free(cfg->flags[i].value);
	mem_free(cfg->flags);
	mem_free(cfg->pidfile);
	*cfg = (struct connector_config){ 0 };
}

struct ingress *connector_config_reload(const struct connector_config *cfg, struct err *err)
{
	const struct yaml_node *place = NULL;

	if (!cfg->config_path)
		return ingress_ref(cfg->ingress);
	struct yaml_doc *doc = yaml_load(cfg->config_path, err);
	if (!doc)
		return NULL;
	struct ingress *in = ingress_parse(yaml_root(doc), INGRESS_YAML, &place, err);
	if (!in && err && place && !strstr(err->text, cfg->config_path))
		err_wrap(err, "%s:%d:%d", cfg->config_path, yaml_line(place), yaml_column(place));
	yaml_free(doc);
	return in;
}
