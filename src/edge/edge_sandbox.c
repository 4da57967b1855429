#include "edge/edge_sandbox.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "sandbox/sandbox.h"
#include "store/store.h"

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
			sandbox_paths_sockets_beside(p, t->list[i] + 5);
}

/* No secrets: files of authorities, databases. A backup is for its owner alone, and has the master key. */
static void add_public(struct sandbox_paths *p, const char *dir)
{
	DIR *folder = opendir(dir);
	const struct dirent *entry;
	struct stat st;

	while (folder && (entry = readdir(folder))) {
		bool is_name = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
		if (!is_name ||
		    fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) || !(st.st_mode & S_IROTH))
			continue;
		char *path = mem_printf("%s/%s", dir, entry->d_name);
		sandbox_paths_read(p, path);
		mem_free(path);
	}
	if (folder)
		closedir(folder);
}

/* All but the master key, which the key process has read. */
static void add_state(struct sandbox_paths *p, const char *dir)
{
	char *key = mem_printf("%s/master.key", dir), *folder = store_folder(dir);

	sandbox_paths_keep_out(p, key);
	/* The locks of who opens it, takeover.sock and admin.sock. */
	sandbox_paths_sockets(p, dir);
	sandbox_paths_write(p, folder);
	add_public(p, dir);
	mem_free(folder);
	mem_free(key);
}

int edge_enter_sandbox(const struct edge_config *cfg, struct err *err)
{
	struct sandbox_paths *p = sandbox_paths_new();

	add_state(p, cfg->data_dir);
	sandbox_paths_sockets_beside(p, cfg->admin_socket);
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
