/* `tunnel delete` and `tunnel cleanup`: both take several tunnels. */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "connector/cli/rest.h"
#include "connector/cli/files.h"

#define COMPONENT "connector/cli"

/* Names become ids before anything is done, so that a wrong one stops all of it. */
static int find_all(struct cli *cli, struct rest *api, struct uuid *ids, struct err *err)
{
	for (size_t i = 0; i < cli->line.arg_count; i++) {
		const struct rest_filter filter = { .name = cli_arg(cli, i) };
		struct rest_tunnel *tunnels;
		struct arena arena;
		size_t count;

		if (uuid_parse(bytes_str(filter.name), &ids[i]))
			continue;
		arena_init(&arena);
		int r = rest_tunnel_list(api, &arena, &filter, &tunnels, &count, err);
		if (r == 0 && count != 1)
			r = err_set(err, E_NOT_FOUND,
				    "there should only be 1 non-deleted Tunnel named %.200s",
				    filter.name);
		if (r == 0)
			ids[i] = tunnels[0].id;
		arena_done(&arena);
		if (r < 0)
			return r;
	}
	return 0;
}

static void credentials_remove(const struct cli *cli, const struct uuid *id)
{
	char *path = file_find_credentials(id, settings_text(&cli->settings, FLAG_CREDENTIALS_FILE),
					   settings_text(&cli->settings, FLAG_ORIGINCERT), NULL);
	char text[UUID_TEXT_SIZE];

	if (path && unlink(path) != 0)
		log_info(COMPONENT,
			 "Tunnel was deleted, but we could not remove its credentials file. Consider "
			 "deleting this file manually.",
			 LOG_STR("tunnelID", uuid_text(id, text)), LOG_STR("file", path),
			 LOG_STR("error", strerror(errno)));
	mem_free(path);
}

static int delete_one(struct cli *cli, struct rest *api, const struct uuid *id, struct err *err)
{
	bool is_forced = settings_bool(&cli->settings, FLAG_DELETE_FORCE);
	struct rest_tunnel tunnel;
	struct arena arena;
	char text[UUID_TEXT_SIZE];

	uuid_text(id, text);
	arena_init(&arena);
	int r = rest_tunnel_get(api, &arena, id, &tunnel, err);
	bool is_deleted = r == 0 && tunnel.deleted_at.wall != 0;
	arena_done(&arena);
	if (r < 0)
		return err_wrap(err, "Can't get tunnel information. Please check tunnel id: %s",
				text);
	if (is_deleted)
		return err_set(err, E_NOT_FOUND, "Tunnel %s has already been deleted", text);
	if (rest_tunnel_delete(api, id, is_forced, err) < 0)
		return err_wrap(err, "Error deleting tunnel %s", text);
	credentials_remove(cli, id);
	return 0;
}

int cmd_delete(struct cli *cli)
{
	struct uuid *ids = mem_alloc_array(cli->line.arg_count + 1, sizeof(*ids));
	struct rest api = { 0 };
	struct err err = { 0 };
	int r = 0, code = 0;

	if (cli->line.arg_count == 0) {
		mem_free(ids);
		return cli_usage(
			cli, "\"@ tunnel delete\" requires at least 1 argument, the ID or name of "
			     "the tunnel to delete.");
	}
	r = rest_open(cli, &api, &err);
	if (r == 0)
		r = find_all(cli, &api, ids, &err);
	for (size_t i = 0; r == 0 && i < cli->line.arg_count; i++)
		r = delete_one(cli, &api, &ids[i], &err);
	if (r < 0)
		code = cli_failed(cli, &err);
	rest_done(&api);
	mem_free(ids);
	return code;
}

int cmd_cleanup(struct cli *cli)
{
	const char *only = settings_text(&cli->settings, FLAG_CLEANUP_CONNECTOR);
	struct uuid *ids = mem_alloc_array(cli->line.arg_count + 1, sizeof(*ids)), connector;
	struct rest api = { 0 };
	struct err err = { 0 };
	int r = 0, code = 0;

	if (cli->line.arg_count == 0) {
		mem_free(ids);
		return cli_usage(cli,
				 "\"@ tunnel cleanup\" requires at least 1 argument, the IDs of the "
				 "tunnels to cleanup connections.");
	}
	if (*only && !uuid_parse(bytes_str(only), &connector))
		r = err_set(&err, E_INVALID, "%.100s is not a valid client ID (must be a UUID)",
			    only);
	if (r == 0)
		r = rest_open(cli, &api, &err);
	if (r == 0)
		r = find_all(cli, &api, ids, &err);
	for (size_t i = 0; r == 0 && i < cli->line.arg_count; i++) {
		char text[UUID_TEXT_SIZE];
		struct err why = { 0 };
		char *message =
			mem_printf("Cleanup connection for tunnel %s%s%s", uuid_text(&ids[i], text),
				   *only ? " for connector-id " : "", only);
		log_info(COMPONENT, message);
		mem_free(message);
		/* As the stock client: told, and no reason to fail. */
		if (rest_tunnel_cleanup(&api, &ids[i], *only ? &connector : NULL, &why) < 0)
			log_error(COMPONENT, "Error cleaning up connections for tunnel",
				  LOG_STR("tunnelID", text), LOG_STR("error", why.text));
	}
	if (r < 0)
		code = cli_failed(cli, &err);
	rest_done(&api);
	mem_free(ids);
	return code;
}
