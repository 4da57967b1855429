#include <stdlib.h>

#include "base/log.h"
#include "connector/cli/rest.h"
#include "connector/cli/render.h"

static int by_name(const struct rest_tunnel *a, const struct rest_tunnel *b)
{
	return strcmp(a->name, b->name);
}

static int by_id(const struct rest_tunnel *a, const struct rest_tunnel *b)
{
	return memcmp(a->id.b, b->id.b, sizeof(a->id.b));
}

static int by_created(const struct rest_tunnel *a, const struct rest_tunnel *b)
{
	return (a->created_at.wall > b->created_at.wall) - (a->created_at.wall < b->created_at.wall);
}

static int by_deleted(const struct rest_tunnel *a, const struct rest_tunnel *b)
{
	return (a->deleted_at.wall > b->deleted_at.wall) - (a->deleted_at.wall < b->deleted_at.wall);
}

static int by_connections(const struct rest_tunnel *a, const struct rest_tunnel *b)
{
	return (a->connection_count > b->connection_count) -
	       (a->connection_count < b->connection_count);
}

static const struct order {
	const char *name;
	int (*compare)(const struct rest_tunnel *a, const struct rest_tunnel *b);
} orders[] = {
	{ "name", by_name },
	{ "id", by_id },
	{ "createdAt", by_created },
	{ "deletedAt", by_deleted },
	{ "numConnections", by_connections },
};

struct ordering {
	int (*compare)(const struct rest_tunnel *a, const struct rest_tunnel *b);
	bool is_inverted;
};

static int compare(const void *a, const void *b, void *user)
{
	const struct ordering *o = user;

	return o->is_inverted ? o->compare(b, a) : o->compare(a, b);
}

static void sort(const struct cli *cli, struct rest_tunnel *tunnels, size_t count)
{
	const char *field = settings_text(&cli->settings, FLAG_LIST_SORT_BY);
	struct ordering o = { NULL, settings_bool(&cli->settings, FLAG_LIST_INVERT_SORT) };

	for (size_t i = 0; i < ARRAY_LEN(orders); i++)
		if (strcmp(orders[i].name, field) == 0)
			o.compare = orders[i].compare;
	if (!o.compare) {
		log_error("connector/cli",
			  "This is not a valid sort field. Valid sort fields are name, id, createdAt, "
			  "deletedAt, numConnections. Defaulting to 'name'.",
			  LOG_STR("field", field));
		o.compare = by_name;
	}
	if (count)
		qsort_r(tunnels, count, sizeof(*tunnels), compare, &o);
}

static void print_table(const struct cli *cli, struct arena *arena,
			const struct rest_tunnel *tunnels, size_t count)
{
	bool with_pending = settings_bool(&cli->settings, FLAG_SHOW_DISCONNECTED);
	struct table table = { 0 };

	cli_print(cli, stdout,
		  "You can obtain more detailed information for each tunnel with `@ tunnel info "
		  "<name/uuid>`\n");
	table_row(&table, 4, (const char *[]){ "ID", "NAME", "CREATED", "CONNECTIONS" });
	for (size_t i = 0; i < count; i++) {
		const struct rest_tunnel *t = &tunnels[i];
		char id[UUID_TEXT_SIZE];
		const char *row[] = {
			uuid_text(&t->id, id),
			t->name,
			rest_time_seconds(arena, &t->created_at),
			rest_connections_text(arena, t->connections, t->connection_count,
					      with_pending),
		};
		table_row(&table, 4, row);
	}
	table_print(&table, stdout);
	table_done(&table);
}

static json_t *tunnel_json(const void *item)
{
	return rest_tunnel_json(item);
}

static int print(const struct cli *cli, struct arena *arena, const struct rest_tunnel *tunnels,
		 size_t count)
{
	const char *format = settings_text(&cli->settings, FLAG_RENDER);
	struct err err = { 0 };

	if (*format)
		return render_list(stdout, format, tunnels, count, sizeof(*tunnels), tunnel_json,
				   &err) < 0
			       ? cli_failed(cli, &err)
			       : 0;
	if (count)
		print_table(cli, arena, tunnels, count);
	else
		cli_print(cli, stdout,
			  "No tunnels were found for the given filter flags. You can use '@ tunnel "
			  "create' to create a tunnel.\n");
	return 0;
}

static int filter_read(const struct cli *cli, struct rest_filter *ret, struct uuid *id,
		       struct err *err)
{
	const struct settings *s = &cli->settings;
	const char *id_text = settings_text(s, FLAG_LIST_ID),
		   *when = settings_text(s, FLAG_LIST_WHEN);

	*ret = (struct rest_filter){
		.with_deleted = settings_bool(s, FLAG_LIST_SHOW_DELETED),
		.name = settings_text(s, FLAG_LIST_NAME),
		.name_prefix = settings_text(s, FLAG_LIST_NAME_PREFIX),
		.exclude_prefix = settings_text(s, FLAG_LIST_EXCLUDE_PREFIX),
		.existed_at = when,
	};
	if (*when && clock_parse_rfc3339(when) < 0)
		return err_set(err, E_INVALID, "%.100s is not a time like 2026-01-02T03:04:05Z",
			       when);
	if (!*id_text)
		return 0;
	if (!uuid_parse(bytes_str(id_text), id))
		return err_set(err, E_INVALID, "%.100s is not a valid tunnel ID", id_text);
	ret->id = id;
	return 0;
}

int cmd_list(struct cli *cli)
{
	struct rest_filter filter;
	struct rest_tunnel *tunnels;
	struct rest api = { 0 };
	struct arena arena;
	struct err err = { 0 };
	struct uuid id;
	size_t count;
	int code = 1;

	if (cli->line.arg_count)
		return cli_usage(cli, "\"@ tunnel list\" takes no argument, but flags that filter.");
	arena_init(&arena);
	int r = filter_read(cli, &filter, &id, &err);
	if (r == 0)
		r = rest_open(cli, &api, &err);
	if (r == 0)
		r = rest_tunnel_list(&api, &arena, &filter, &tunnels, &count, &err);
	if (r < 0) {
		code = cli_failed(cli, &err);
	} else {
		sort(cli, tunnels, count);
		code = print(cli, &arena, tunnels, count);
	}
	arena_done(&arena);
	rest_done(&api);
	return code;
}
