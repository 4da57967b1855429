#include "edge/tunnels/directory.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "edge/tunnels/service_report.h"

/* One connection; strings owned. */
struct row {
	struct list node; /* in order of arrival */
	struct directory_record r;
	char **features;
};

struct directory {
	struct map *by_connection; /* connection id -> struct row */
	struct map *by_connector;  /* connector id -> struct connector */
	struct list rows;
};

/* One connector, for as long as it has connections. */
struct connector {
	size_t connections;
	struct uuid id, tunnel;
	struct service_report *services; /* counted; NULL: nothing was reported */
};

struct directory *directory_new(void)
{
	struct directory *d = mem_alloc(sizeof(*d));

	d->by_connection = map_new();
	d->by_connector = map_new();
	list_init(&d->rows);
	return d;
}

static void connector_add(struct directory *d, const struct directory_record *r)
{
	struct connector *c = map_find(d->by_connector, uuid_bytes(&r->connector));

	if (!c) {
		c = mem_alloc(sizeof(*c));
		c->id = r->connector;
		c->tunnel = r->tunnel;
		map_put(d->by_connector, uuid_bytes(&r->connector), c);
	}
	c->connections++;
}

static void connector_remove(struct directory *d, const struct directory_record *r)
{
	struct connector *c = map_find(d->by_connector, uuid_bytes(&r->connector));

	if (--c->connections)
		return;
	map_take(d->by_connector, uuid_bytes(&r->connector));
	service_report_unref(c->services);
	mem_free(c);
}

static void row_free(struct directory *d, struct row *row)
{
	connector_remove(d, &row->r);
	list_remove(&row->node);
	for (size_t i = 0; i < row->r.feature_count; i++)
		mem_free(row->features[i]);
	mem_free(row->features);
	mem_free((char *)(uintptr_t)row->r.version);
	mem_free((char *)(uintptr_t)row->r.arch);
	mem_free((char *)(uintptr_t)row->r.origin_ip);
	mem_free((char *)(uintptr_t)row->r.location);
	mem_free(row);
}

struct directory *directory_free(struct directory *d)
{
	if (!d)
		return NULL;
	LIST_FOR_EACH(node, &d->rows)
		row_free(d, LIST_ENTRY(node, struct row, node));
	map_free(d->by_connection);
	map_free(d->by_connector);
	return mem_free(d);
}

void directory_add(struct directory *d, const struct directory_record *r)
{
	struct row *row = mem_alloc(sizeof(*row));

	row->r = *r;
	row->r.version = mem_strdup(r->version);
	row->r.arch = mem_strdup(r->arch);
	row->r.origin_ip = mem_strdup(r->origin_ip);
	row->r.location = mem_strdup(r->location);
	row->features = mem_alloc_array(r->feature_count, sizeof(char *));
	for (size_t i = 0; i < r->feature_count; i++)
		row->features[i] = mem_strdup(r->features[i]);
	row->r.features = (const char *const *)row->features;
	list_append(&d->rows, &row->node);
	connector_add(d, r);
	struct row *old = map_put(d->by_connection, uuid_bytes(&r->connection), row);
	if (old)
		row_free(d, old);
}

void directory_remove(struct directory *d, const struct uuid *connection)
{
	struct row *row = map_take(d->by_connection, uuid_bytes(connection));

	if (row)
		row_free(d, row);
}

void directory_set_services(struct directory *d, const struct uuid *connector,
			    struct service_report *report)
{
	struct connector *c = map_find(d->by_connector, uuid_bytes(connector));

	if (!c || (c->services && c->services->sequence >= report->sequence))
		return;
	service_report_unref(c->services);
	c->services = service_report_ref(report);
}

void directory_health(const struct directory *d, const struct uuid *tunnel,
		      struct directory_health *ret)
{
	size_t cursor = 0;
	void *value;

	*ret = (struct directory_health){ 0 };
	while (map_next(d->by_connector, &cursor, NULL, &value)) {
		const struct connector *c = value;
		if (tunnel && !uuid_eq(tunnel, &c->tunnel))
			continue;
		ret->connectors++;
		if (!c->services)
			continue;
		ret->services += c->services->checked;
		ret->services_unhealthy += c->services->unhealthy;
	}
}

size_t directory_count(const struct directory *d, const struct uuid *tunnel)
{
	size_t count = 0;

	LIST_FOR_EACH(node, (struct list *)(uintptr_t)&d->rows)
		count += !tunnel || uuid_eq(&LIST_ENTRY(node, struct row, node)->r.tunnel, tunnel);
	return count;
}

static json_t *json_uuid(const struct uuid *u)
{
	char text[UUID_TEXT_SIZE];

	return json_string(uuid_text(u, text));
}

static json_t *json_time(usec wall)
{
	char text[32];

	return json_string(clock_rfc3339(wall, text, sizeof(text)));
}

/* What stock clients do not look at. */
static json_t *ours_of(const struct directory *d, const struct row *row)
{
	const struct connector *c = map_find(d->by_connector, uuid_bytes(&row->r.connector));
	const struct replica_facts *f = &row->r.replica;

	return json_pack("{s:s, s:i, s:b, s:o}", "label", f->label, "weight",
			 f->weight ? (int)f->weight : 1, "backup", f->is_backup, "services",
			 c->services ? service_report_json(c->services) : json_array());
}

/* The element of the row's connector in `out`, made when it is the first of it. */
static json_t *connector_of(const struct directory *d, json_t *out, const struct row *row)
{
	char id[UUID_TEXT_SIZE];
	json_t *it;
	size_t i;

	uuid_text(&row->r.connector, id);
	json_array_foreach(out, i, it) if (strcmp(json_string_value(json_object_get(it, "id")),
						  id) == 0) return it;
	json_t *features = json_array();
	for (size_t f = 0; f < row->r.feature_count; f++)
		json_array_append_new(
			features, json_stringn_nocheck(row->features[f], strlen(row->features[f])));
	it = json_object();
	json_object_set_new(it, "id", json_uuid(&row->r.connector));
	json_object_set_new(it, "features", features);
	json_object_set_new(it, "version", json_string(row->r.version));
	json_object_set_new(it, "arch", json_string(row->r.arch));
	json_object_set_new(it, "run_at", json_time(row->r.opened_at));
	json_object_set_new(it, "conns", json_array());
	json_object_set_new(it, "adit", ours_of(d, row));
	json_array_append_new(out, it);
	return it;
}

char *directory_json(const struct directory *d, const struct uuid *tunnel)
{
	json_t *out = json_array();

	LIST_FOR_EACH(node, (struct list *)(uintptr_t)&d->rows) {
		const struct row *row = LIST_ENTRY(node, struct row, node);
		if (!uuid_eq(&row->r.tunnel, tunnel))
			continue;
		json_t *conn = json_object();
		json_object_set_new(conn, "colo_name", json_string(row->r.location));
		json_object_set_new(conn, "id", json_uuid(&row->r.connection));
		json_object_set_new(conn, "uuid", json_uuid(&row->r.connection));
		json_object_set_new(conn, "is_pending_reconnect", json_false());
		json_object_set_new(conn, "origin_ip", json_string(row->r.origin_ip));
		json_object_set_new(conn, "opened_at", json_time(row->r.opened_at));
		json_object_set_new(conn, "client_id", json_uuid(&row->r.connector));
		json_object_set_new(conn, "client_version", json_string(row->r.version));
		json_array_append_new(json_object_get(connector_of(d, out, row), "conns"), conn);
	}
	char *text = json_dumps(out, JSON_COMPACT);
	json_decref(out);
	char *copy = mem_strdup(text ? text : "[]");
	free(text); /* allowed: jansson's own allocation */
	return copy;
}
