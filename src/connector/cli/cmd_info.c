#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "connector/cli/info_replicas.h"
#include "connector/cli/rest.h"
#include "connector/cli/render.h"

static int by_id(const struct rest_connector *a, const struct rest_connector *b)
{
	return strcmp(a->id, b->id);
}

static int by_run_at(const struct rest_connector *a, const struct rest_connector *b)
{
	return (a->run_at.wall > b->run_at.wall) - (a->run_at.wall < b->run_at.wall);
}

static int by_connections(const struct rest_connector *a, const struct rest_connector *b)
{
	return (a->connection_count > b->connection_count) -
	       (a->connection_count < b->connection_count);
}

static int by_version(const struct rest_connector *a, const struct rest_connector *b)
{
	return strcmp(a->version, b->version);
}

static const struct order {
	const char *name;
	int (*compare)(const struct rest_connector *a, const struct rest_connector *b);
} orders[] = {
	{ "id", by_id },
	{ "createdAt", by_run_at },
	{ "numConnections", by_connections },
	{ "version", by_version },
};

struct ordering {
	int (*compare)(const struct rest_connector *a, const struct rest_connector *b);
	bool is_inverted;
};

static int compare(const void *a, const void *b, void *user)
{
	const struct ordering *o = user;

	return o->is_inverted ? o->compare(b, a) : o->compare(a, b);
}

static void sort(const struct cli *cli, struct rest_connector *connectors, size_t count)
{
	const char *field = settings_text(&cli->settings, FLAG_INFO_SORT_BY);
	struct ordering o = { NULL, settings_bool(&cli->settings, FLAG_INFO_INVERT_SORT) };

	for (size_t i = 0; i < ARRAY_LEN(orders); i++)
		if (strcmp(orders[i].name, field) == 0)
			o.compare = orders[i].compare;
	if (!o.compare) {
		log_error("connector/cli",
			  "This is not a valid sort field. Valid sort fields are id, createdAt, "
			  "numConnections, version. Defaulting to 'createdAt'.",
			  LOG_STR("field", field));
		o.compare = by_run_at;
	}
	if (count)
		qsort_r(connectors, count, sizeof(*connectors), compare, &o);
}

/* "2026-11-01 10:00:00.123456 +0000 UTC", as Go prints a time. */
static void print_time(const struct rest_time *t)
{
	time_t second = (time_t)(t->wall / USEC_PER_SEC);
	struct tm parts;
	char text[32], fraction[16] = "";

	if (t->wall == 0) {
		(void)fputs("0001-01-01 00:00:00 +0000 UTC", stdout);
		return;
	}
	gmtime_r(&second, &parts);
	(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts);
	(void)snprintf(fraction, sizeof(fraction), ".%06d", (int)(t->wall % USEC_PER_SEC));
	size_t len = strlen(fraction);
	while (len && (fraction[len - 1] == '0' || fraction[len - 1] == '.')) {
		bool was_dot = fraction[len - 1] == '.';
		fraction[--len] = 0;
		if (was_dot)
			break;
	}
	(void)printf("%s%s +0000 UTC", text, fraction);
}

static void print_table(const struct cli *cli, struct arena *arena, const struct rest_tunnel *tunnel,
			const struct rest_connector *connectors, size_t count)
{
	bool with_pending = settings_bool(&cli->settings, FLAG_SHOW_DISCONNECTED);
	char id[UUID_TEXT_SIZE];
	struct table table = { 0 };
	size_t shown = 0;

	table_row(&table, 6,
		  (const char *[]){ "CONNECTOR ID", "CREATED", "ARCHITECTURE", "VERSION",
				    "ORIGIN IP", "EDGE" });
	for (size_t i = 0; i < count; i++) {
		const struct rest_connector *c = &connectors[i];
		const char *text = rest_connections_text(arena, c->connections, c->connection_count,
							 with_pending);
		if (!*text)
			continue;
		table_row(&table, 6,
			  (const char *[]){ c->id, rest_time_seconds(arena, &c->run_at), c->arch,
					    c->version, c->connections[0].origin_ip, text });
		shown++;
	}
	(void)printf("NAME:     %s\nID:       %s\nCREATED:  ", tunnel->name,
		     uuid_text(&tunnel->id, id));
	print_time(&tunnel->created_at);
	(void)fputs("\n\n", stdout);
	if (shown)
		table_print(&table, stdout);
	else
		(void)fputs("This tunnel has no active connectors.\n", stdout);
	table_done(&table);
	info_print_replicas(connectors, count);
}

static json_t *info_json(const struct rest_tunnel *tunnel, const struct rest_connector *connectors,
			 size_t count)
{
	char id[UUID_TEXT_SIZE];
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		const struct rest_connector *c = &connectors[i];
		json_t *features = json_array();
		for (size_t k = 0; k < c->feature_count; k++)
			json_array_append_new(features, json_string(c->features[k]));
		json_t *o = json_pack("{s:s, s:o, s:s, s:s, s:s, s:o}", "id", c->id, "features",
				      features, "version", c->version, "arch", c->arch, "run_at",
				      c->run_at.text, "conns",
				      rest_connections_json(c->connections, c->connection_count));
		if (c->replica.is_told)
			json_object_set_new(o, "adit", info_replica_json(&c->replica));
		json_array_append_new(list, o);
	}
	return json_pack("{s:s, s:s, s:s, s:o}", "id", uuid_text(&tunnel->id, id), "name",
			 tunnel->name, "createdAt", tunnel->created_at.text, "conns", list);
}

static int print(const struct cli *cli, struct arena *arena, const struct rest_tunnel *tunnel,
		 const struct rest_connector *connectors, size_t count)
{
	const char *format = settings_text(&cli->settings, FLAG_RENDER);
	char id[UUID_TEXT_SIZE];
	struct err err = { 0 };

	if (*format) {
		json_t *info = info_json(tunnel, connectors, count);
		int r = render(stdout, format, info, &err);
		json_decref(info);
		return r < 0 ? cli_failed(cli, &err) : 0;
	}
	if (count)
		print_table(cli, arena, tunnel, connectors, count);
	else
		(void)printf("Your tunnel %s does not have any active connection.\n",
			     uuid_text(&tunnel->id, id));
	return 0;
}

int cmd_info(struct cli *cli)
{
	struct rest_connector *connectors;
	struct rest_tunnel *tunnels;
	struct rest api = { 0 };
	struct arena arena;
	struct err err = { 0 };
	struct uuid id;
	size_t count, tunnel_count;
	char text[UUID_TEXT_SIZE];
	int code;

	if (cli->line.arg_count != 1)
		return cli_usage(cli,
				 "\"@ tunnel info\" accepts exactly one argument, the ID or name of "
				 "the tunnel to get info about.");
	arena_init(&arena);
	int r = rest_tunnel_find(cli, &api, cli_arg(cli, 0), &id, &err);
	if (r < 0)
		err_wrap(&err, "error parsing tunnel ID");
	else if (!api.cli)
		r = rest_open(cli, &api, &err);
	if (r == 0)
		r = rest_tunnel_connectors(&api, &arena, &id, &connectors, &count, &err);
	const struct rest_filter filter = { .id = &id, .with_deleted = true };
	if (r == 0)
		r = rest_tunnel_list(&api, &arena, &filter, &tunnels, &tunnel_count, &err);
	if (r == 0 && tunnel_count != 1)
		r = err_set(&err, E_NOT_FOUND,
			    "Expected to find a single tunnel with uuid %s but found %zu tunnels.",
			    uuid_text(&id, text), tunnel_count);
	if (r < 0) {
		code = cli_failed(cli, &err);
	} else {
		sort(cli, connectors, count);
		code = print(cli, &arena, &tunnels[0], connectors, count);
	}
	arena_done(&arena);
	rest_done(&api);
	return code;
}
