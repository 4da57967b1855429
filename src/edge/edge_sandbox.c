#include "edge/edge_sandbox.h"

#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/sandbox.h"

/* Public ports may be opened while it runs. */
#define CAPABILITIES (1ULL << CAP_NET_BIND_SERVICE)

int edge_become_user(const struct edge_config *cfg, struct err *err)
{
	return cfg->user ? sandbox_become(cfg->user, CAPABILITIES, err) : 0;
}

/* A socket is made, and the one that a dead edge left is removed. */
static void add_listeners(struct sandbox_paths *p, const struct edge_texts *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (strncmp(t->list[i], "unix:", 5) == 0)
			sandbox_paths_write_beside(p, t->list[i] + 5);
}

int edge_enter_sandbox(const struct edge_config *cfg, struct err *err)
{
	struct sandbox_paths *p = sandbox_paths_new();

	sandbox_paths_write(p, cfg->data_dir);
	sandbox_paths_write_beside(p, cfg->admin_socket);
	sandbox_paths_write(p, cfg->log_directory);
	sandbox_paths_write_beside(p, cfg->log_file);
	if (cfg->access_log && strchr(cfg->access_log, '/'))
		sandbox_paths_write_beside(p, cfg->access_log);
	add_listeners(p, &cfg->https);
	add_listeners(p, &cfg->http);
	add_listeners(p, &cfg->tunnel);
	add_listeners(p, &cfg->metrics);
	sandbox_paths_read_beside(p, cfg->file_name);
	sandbox_paths_read_beside(p, cfg->acme_ca_file);
	sandbox_paths_read_beside(p, cfg->country_database);
	if (cfg->acme_eab && strchr(cfg->acme_eab, '/'))
		sandbox_paths_read_beside(p, cfg->acme_eab);
	sandbox_paths_read(p, getenv("CREDENTIALS_DIRECTORY"));
	for (size_t i = 0; i < cfg->sandbox_read.count; i++)
		sandbox_paths_read(p, cfg->sandbox_read.list[i]);
	int rc = sandbox_enter(cfg->sandbox, CAPABILITIES, p, err);
	sandbox_paths_free(p);
	return rc;
}
