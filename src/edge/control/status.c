/* `adit-edge status`: what is configured, how the running edge is, and what parts of it add.
 *
 * Members stay what they are once they are there: scripts read them. A part (control_status_add()) is one
 * member of the answer; edge/cli/cli_status.c shows any, and well those that have a row in its table. */
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "edge/access/status.h"
#include "edge/control/control_parts.h"

void control_status_add(struct control *c, const char *name, struct json_t *(*make)(void *ctx),
			void *ctx)
{
	BUG_IF(c->status_part_count == CONTROL_STATUS_PARTS);
	c->status_parts[c->status_part_count++] = (struct control_status_part){ name, make, ctx };
}

/* --- What is configured ----------------------------------------------------------------------- */

static int count_tunnels(struct control *c, size_t *ret, struct err *err)
{
	struct store_tunnel_filter filter = { .is_deleted = 0, .limit = 1 };
	struct store_tunnel *tunnels;
	char account[33];
	size_t count;

	if (store_account_first(c->store, account, err) < 0)
		return err ? err->code : E_IO;
	filter.account = account;
	int rc = store_tunnel_list(c->store, &filter, &tunnels, &count, ret, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < count; i++)
		store_tunnel_done(&tunnels[i]);
	mem_free(tunnels);
	return 0;
}

static int count_routes(struct control *c, size_t *ret, struct err *err)
{
	struct store_route *routes;
	int rc = store_route_list(c->store, &routes, ret, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < *ret; i++)
		store_route_done(&routes[i]);
	mem_free(routes);
	return 0;
}

static int count_networks(struct control *c, size_t *ret, struct err *err)
{
	const struct store_network_filter living = { .limit = 1 };
	struct store_network_route *routes;
	size_t count;
	int rc = store_network_route_list(c->store, &living, &routes, &count, ret, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < count; i++)
		store_network_route_done(&routes[i]);
	mem_free(routes);
	return 0;
}

static int count_zones(struct control *c, size_t *ret, struct err *err)
{
	struct store_zone *zones;
	int rc = store_zone_list(c->store, &zones, ret, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < *ret; i++)
		store_zone_done(&zones[i]);
	mem_free(zones);
	return 0;
}

/* --- Certificates ----------------------------------------------------------------------------- */

static json_t *lines_json(const char *text)
{
	struct bytes rest = bytes_str(text), line = BYTES_NONE;
	json_t *list = json_array();

	while (bytes_split(&rest, '\n', &line))
		(void)json_array_append_new(list, json_stringn((const char *)line.ptr, line.len));
	return list;
}

static int by_expiry(const void *left, const void *right)
{
	const struct store_certificate *a = left, *b = right;

	return (a->expires_at > b->expires_at) - (a->expires_at < b->expires_at);
}

/* What visitors and connectors are shown; the one that ends first comes first. */
static json_t *certificates_json(struct control *c, struct err *err)
{
	struct store_certificate *list;
	json_t *ret;
	size_t count;

	if (store_certificate_list(c->store, &list, &count, err) < 0)
		return NULL;
	ret = json_array();
	if (count)
		qsort(list, count, sizeof(*list), by_expiry);
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(
			ret, json_pack("{s:s, s:o, s:o}", "name", list[i].name, "hostnames",
				       lines_json(list[i].hostnames), "expires_at",
				       api_time_json(list[i].expires_at)));
		store_certificate_done(&list[i]);
	}
	mem_free(list);
	return ret;
}

/* --- Names ------------------------------------------------------------------------------------ */

/* Of every living tunnel; owned by the caller, as the names. */
static struct map *tunnel_names(struct control *c, struct err *err)
{
	const struct store_tunnel_filter living = { .is_deleted = 0 };
	struct store_tunnel *tunnels;
	struct map *names;
	size_t count;

	if (store_tunnel_list(c->store, &living, &tunnels, &count, NULL, err) < 0)
		return NULL;
	names = map_new();
	for (size_t i = 0; i < count; i++) {
		(void)map_put(names, uuid_bytes(&tunnels[i].id), mem_strdup(tunnels[i].name));
		store_tunnel_done(&tunnels[i]);
	}
	mem_free(tunnels);
	return names;
}

static void free_names(struct map *names)
{
	size_t cursor = 0;
	struct bytes key;
	void *name;

	while (map_next(names, &cursor, &key, &name))
		mem_free(name);
	map_free(names);
}

static json_t *name_json(const struct control *c, const struct map *names,
			 const struct store_route *r)
{
	const char *tunnel = map_find(names, uuid_bytes(&r->tunnel));
	size_t connections =
		c->hooks.connection_count ? c->hooks.connection_count(c->hooks.ctx, &r->tunnel) : 0;

	/* A tunnel that went between the two questions. */
	return json_pack("{s:s, s:s, s:I}", "hostname", r->hostname, "tunnel",
			 tunnel ? tunnel : "-", "connections", (json_int_t)connections);
}

/* Hostnames that have a route; those that nobody serves now come first. */
static json_t *names_json(struct control *c, struct err *err)
{
	struct store_route *routes;
	json_t *ret, *one;
	size_t count, unserved = 0;
	struct map *names = tunnel_names(c, err);

	if (!names)
		return NULL;
	if (store_route_list(c->store, &routes, &count, err) < 0) {
		free_names(names);
		return NULL;
	}
	ret = json_array();
	for (size_t i = 0; i < count; i++) {
		one = name_json(c, names, &routes[i]);
		if (json_integer_value(json_object_get(one, "connections")) == 0)
			(void)json_array_insert_new(ret, unserved++, one);
		else
			(void)json_array_append_new(ret, one);
		store_route_done(&routes[i]);
	}
	mem_free(routes);
	free_names(names);
	return ret;
}

/* --- The answer ------------------------------------------------------------------------------- */

static json_t *edge_json(const struct control *c)
{
	char *text = c->hooks.status ? c->hooks.status(c->hooks.ctx) : NULL;
	json_t *edge = text ? json_loads(text, 0, NULL) : NULL;

	mem_free(text);
	return edge ? edge : json_null();
}

enum ask_result admin_status(struct ask *a)
{
	struct control *c = a->control;
	size_t zones, tunnels, routes, networks;
	struct err err = { 0 };
	int64_t users, revision;
	json_t *certificates, *names, *result;

	users = store_user_count(c->store, &err);
	revision = users < 0 ? -1 : store_revision(c->store, &err);
	if (revision < 0 || count_zones(c, &zones, &err) < 0 ||
	    count_tunnels(c, &tunnels, &err) < 0 || count_routes(c, &routes, &err) < 0 ||
	    count_networks(c, &networks, &err) < 0)
		return answer_store_error(a, &err);
	certificates = certificates_json(c, &err);
	if (!certificates)
		return answer_store_error(a, &err);
	names = names_json(c, &err);
	if (!names) {
		json_decref(certificates);
		return answer_store_error(a, &err);
	}
	result = json_pack("{s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}",
			   "running", c->hooks.status != NULL, "version", ADIT_VERSION,
			   "public_url", c->public_url, "revision", (json_int_t)revision, "zones",
			   (json_int_t)zones, "tunnels", (json_int_t)tunnels, "routes",
			   (json_int_t)routes, "network_routes", (json_int_t)networks, "users",
			   (json_int_t)users, "edge", edge_json(c), "certificates", certificates,
			   "names", names);
	(void)json_object_set_new(result, "access", access_status(c));
	for (size_t i = 0; i < c->status_part_count; i++) {
		const struct control_status_part *part = &c->status_parts[i];
		(void)json_object_set_new(result, part->name, part->make(part->ctx));
	}
	return answer_result(a, result);
}
