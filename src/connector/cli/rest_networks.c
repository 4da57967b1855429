/* The calls about private networks: routes and virtual networks. */
#include "connector/cli/rest.h"

#include "base/mem.h"
#include "io/network.h"

#define LIMIT_QUERY_BYTES (16 * 1024)

/* ------------------------------------------------------------------------------------------
 * Values. */

static int network_of(struct arena *arena, const json_t *o, const char **ret, struct err *err)
{
	const char *given = json_string_value(json_object_get(o, "network"));
	char text[NETWORK_TEXT_SIZE];
	struct network network;

	if (!given || !network_parse(bytes_str(given), &network))
		return rest_unexpected(err, "a network is not in CIDR form");
	*ret = arena_strdup(arena, bytes_str(network_text(&network, text)));
	return 0;
}

static int route_read(struct arena *arena, const json_t *o, struct rest_network_route *ret,
		      struct err *err)
{
	const json_t *vnet = json_object_get(o, "virtual_network_id");
	int r;

	*ret = (struct rest_network_route){ .has_vnet = json_is_string(vnet) };
	if (!json_is_object(o))
		return rest_unexpected(err, "a route is not an object");
	r = rest_uuid_of(o, "id", &ret->id, err);
	if (r == 0)
		r = rest_uuid_of(o, "tunnel_id", &ret->tunnel, err);
	if (r == 0 && ret->has_vnet)
		r = rest_uuid_of(o, "virtual_network_id", &ret->vnet, err);
	if (r == 0)
		r = network_of(arena, o, &ret->network, err);
	if (r == 0)
		r = rest_time_of(arena, o, "created_at", &ret->created_at, err);
	if (r == 0)
		r = rest_time_of(arena, o, "deleted_at", &ret->deleted_at, err);
	ret->tunnel_name = rest_text_of(arena, o, "tunnel_name");
	ret->comment = rest_text_of(arena, o, "comment");
	return r;
}

static int vnet_read(struct arena *arena, const json_t *o, struct rest_vnet *ret, struct err *err)
{
	*ret = (struct rest_vnet){ 0 };
	if (!json_is_object(o))
		return rest_unexpected(err, "a virtual network is not an object");
	int r = rest_uuid_of(o, "id", &ret->id, err);
	if (r == 0)
		r = rest_time_of(arena, o, "created_at", &ret->created_at, err);
	if (r == 0)
		r = rest_time_of(arena, o, "deleted_at", &ret->deleted_at, err);
	ret->name = rest_text_of(arena, o, "name");
	ret->comment = rest_text_of(arena, o, "comment");
	ret->is_default = json_is_true(json_object_get(o, "is_default_network"));
	return r;
}

static json_t *id_json(const struct uuid *id)
{
	char text[UUID_TEXT_SIZE];

	return json_string(uuid_text(id, text));
}

/* A call that answers with one object; *ret_envelope is owned by the caller. */
static int ask(struct rest *api, const char *operation, const char *method, const char *path,
	       const char *query, json_t *body, json_t **ret_envelope, struct err *err)
{
	const struct rest_call call = {
		.operation = operation,
		.method = method,
		.path = path,
		.query = query,
		.body = body,
	};
	int r = rest_call(api, &call, ret_envelope, err);

	json_decref(body);
	return r;
}

/* ------------------------------------------------------------------------------------------
 * Routes. */

int rest_network_add(struct rest *api, const char *network, const struct uuid *tunnel,
		     const struct uuid *vnet, const char *comment, struct err *err)
{
	json_t *envelope = NULL;
	json_t *body = json_pack("{s:s, s:o, s:s}", "network", network, "tunnel_id",
				 id_json(tunnel), "comment", comment);

	if (!body)
		return err_set(err, E_INVALID, "the comment is not UTF-8 text");
	if (vnet)
		json_object_set_new(body, "virtual_network_id", id_json(vnet));
	int r = ask(api, "add route", "POST", "/teamnet/routes", NULL, body, &envelope, err);
	json_decref(envelope);
	return r;
}

int rest_network_delete(struct rest *api, const struct uuid *id, struct err *err)
{
	char text[UUID_TEXT_SIZE];
	char *path = mem_printf("/teamnet/routes/%s", uuid_text(id, text));
	json_t *envelope = NULL;
	int r = ask(api, "delete route", "DELETE", path, NULL, NULL, &envelope, err);

	json_decref(envelope);
	mem_free(path);
	return r;
}

int rest_network_by_ip(struct rest *api, struct arena *arena, const char *ip,
		       const struct uuid *vnet, struct rest_network_route *ret, bool *ret_is_found,
		       struct err *err)
{
	char text[UUID_TEXT_SIZE];
	char *path = mem_printf("/teamnet/routes/ip/%s", ip);
	char *query = vnet ? mem_printf("virtual_network_id=%s", uuid_text(vnet, text)) : NULL;
	json_t *envelope = NULL;
	int r = ask(api, "get route by IP", "GET", path, query, NULL, &envelope, err);
	const json_t *route = json_object_get(envelope, "result");
	const struct uuid none = { 0 };
	struct uuid tunnel = none;

	/* A route without a tunnel is none. */
	if (r == 0)
		(void)rest_uuid_of(route, "tunnel_id", &tunnel, NULL);
	*ret_is_found = !uuid_eq(&tunnel, &none);
	if (r == 0 && *ret_is_found)
		r = route_read(arena, route, ret, err);
	json_decref(envelope);
	mem_free(path);
	mem_free(query);
	return r;
}

static const char *id_text(const struct uuid *id, char text[UUID_TEXT_SIZE])
{
	return id ? uuid_text(id, text) : NULL;
}

/* Keys in alphabetical order, as the stock client sends them. It sends both ends of a range as
 * network_superset; the API means by network_subset what lies inside. */
static char *routes_query(const struct rest *api, const void *filter, unsigned page)
{
	const struct rest_network_filter *f = filter;
	char tunnel[UUID_TEXT_SIZE], vnet[UUID_TEXT_SIZE];
	struct buf query;

	buf_init(&query, LIMIT_QUERY_BYTES);
	int r = rest_query_add(&query, "comment", f->comment);
	r = r < 0 ? r : rest_query_add(&query, "is_deleted", f->is_deleted ? "true" : "false");
	r = r < 0 ? r : rest_query_add(&query, "network_subset", f->within);
	r = r < 0 ? r : rest_query_add(&query, "network_superset", f->over);
	r = r < 0 ? r : rest_query_add_page(&query, api, page);
	r = r < 0 ? r : rest_query_add(&query, "tun_types", "cfd_tunnel");
	r = r < 0 ? r : rest_query_add(&query, "tunnel_id", id_text(f->tunnel, tunnel));
	r = r < 0 ? r : rest_query_add(&query, "virtual_network_id", id_text(f->vnet, vnet));
	char *text = r < 0 ? NULL : buf_take_str(&query);
	buf_done(&query);
	return text;
}

static int routes_read(struct arena *arena, const json_t *item, void *ret, struct err *err)
{
	return route_read(arena, item, ret, err);
}

int rest_network_list(struct rest *api, struct arena *arena,
		      const struct rest_network_filter *filter, struct rest_network_route **ret,
		      size_t *ret_count, struct err *err)
{
	const struct rest_pages pages = { .operation = "list routes",
					  .path = "/teamnet/routes",
					  .filter = filter,
					  .query = routes_query,
					  .item_size = sizeof(**ret),
					  .read = routes_read };
	void *routes;
	int r = rest_list(api, arena, &pages, &routes, ret_count, err);

	*ret = routes;
	return r;
}

/* ------------------------------------------------------------------------------------------
 * Virtual networks. */

#define VNETS "/teamnet/virtual_networks"

int rest_vnet_add(struct rest *api, struct arena *arena, const char *name, const char *comment,
		  bool is_default, struct rest_vnet *ret, struct err *err)
{
	json_t *envelope = NULL;
	json_t *body = json_pack("{s:s, s:s, s:b}", "name", name, "comment", comment,
				 "is_default_network", (int)is_default);

	if (!body)
		return err_set(err, E_INVALID, "the name or the comment is not UTF-8 text");
	int r = ask(api, "add virtual network", "POST", VNETS, NULL, body, &envelope, err);
	if (r == 0)
		r = vnet_read(arena, json_object_get(envelope, "result"), ret, err);
	json_decref(envelope);
	return r;
}

static char *vnet_path(const struct uuid *id)
{
	char text[UUID_TEXT_SIZE];

	return mem_printf(VNETS "/%s", uuid_text(id, text));
}

int rest_vnet_delete(struct rest *api, const struct uuid *id, bool force, struct err *err)
{
	char *path = vnet_path(id);
	json_t *envelope = NULL;
	int r = ask(api, "delete virtual network", "DELETE", path, force ? "force=true" : NULL,
		    NULL, &envelope, err);

	json_decref(envelope);
	mem_free(path);
	return r;
}

int rest_vnet_update(struct rest *api, const struct uuid *id, const struct rest_vnet_change *change,
		     struct err *err)
{
	json_t *envelope = NULL, *body = json_object();
	int r = 0;

	if (change->name)
		r |= json_object_set_new(body, "name", json_string(change->name));
	if (change->comment)
		r |= json_object_set_new(body, "comment", json_string(change->comment));
	if (change->is_default >= 0)
		json_object_set_new(body, "is_default_network", json_boolean(change->is_default));
	if (r < 0) {
		json_decref(body);
		return err_set(err, E_INVALID, "the name or the comment is not UTF-8 text");
	}
	char *path = vnet_path(id);
	r = ask(api, "update virtual network", "PATCH", path, NULL, body, &envelope, err);
	json_decref(envelope);
	mem_free(path);
	return r;
}

static char *vnets_query(const struct rest *api, const struct rest_vnet_filter *f)
{
	int64_t size = settings_int(&api->cli->settings, FLAG_MAX_FETCH_SIZE);
	const char *is_default = f->is_default < 0 ? NULL : f->is_default ? "true" : "false";
	char number[24] = "", id[UUID_TEXT_SIZE];
	struct buf query;

	if (size > 0)
		(void)snprintf(number, sizeof(number), "%lld", (long long)size);
	buf_init(&query, LIMIT_QUERY_BYTES);
	int r = rest_query_add(&query, "id", id_text(f->id, id));
	r = r < 0 ? r : rest_query_add(&query, "is_default", is_default);
	r = r < 0 ? r : rest_query_add(&query, "is_deleted", f->is_deleted ? "true" : "false");
	r = r < 0 ? r : rest_query_add(&query, "name", f->name);
	r = r < 0 ? r : rest_query_add(&query, "per_page", number);
	char *text = r < 0 ? NULL : buf_take_str(&query);
	buf_done(&query);
	return text;
}

int rest_vnet_list(struct rest *api, struct arena *arena, const struct rest_vnet_filter *filter,
		   struct rest_vnet **ret, size_t *ret_count, struct err *err)
{
	char *query = vnets_query(api, filter);
	json_t *envelope = NULL;
	int r = query ? ask(api, "list virtual networks", "GET", VNETS, query, NULL, &envelope, err)
		      : err_set(err, E_LIMIT, "the filter is too long");
	const json_t *list = json_object_get(envelope, "result");
	size_t count = json_array_size(list);
	struct rest_vnet *all = arena_alloc(arena, count * sizeof(*all) + 1);

	for (size_t i = 0; r == 0 && i < count; i++)
		r = vnet_read(arena, json_array_get(list, i), &all[i], err);
	json_decref(envelope);
	mem_free(query);
	*ret = all;
	*ret_count = r == 0 ? count : 0;
	return r;
}

int rest_vnet_find(struct rest *api, const char *reference, struct uuid *ret, struct err *err)
{
	const struct rest_vnet_filter filter = { .name = reference, .is_default = -1 };
	struct rest_vnet *vnets;
	struct arena arena;
	size_t count;

	if (uuid_parse(bytes_str(reference), ret))
		return 0;
	arena_init(&arena);
	int r = rest_vnet_list(api, &arena, &filter, &vnets, &count, err);
	if (r == 0 && count != 1)
		r = err_set(err, E_NOT_FOUND,
			    "there should only be 1 non-deleted virtual network named %.200s",
			    reference);
	if (r == 0)
		*ret = vnets[0].id;
	arena_done(&arena);
	return r;
}
