/* REST API: `route ip`, the routes of private networks. CONTROL.md §3.2. */
#include <string.h>

#include "base/mem.h"
#include "edge/control/control_parts.h"

static json_t *route_json(const struct store_network_route *r)
{
	char id[UUID_TEXT_SIZE], tunnel[UUID_TEXT_SIZE], vnet[UUID_TEXT_SIZE];
	char network[NETWORK_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "id",
			 uuid_text(&r->id, id), "network", network_text(&r->network, network),
			 "tunnel_id", uuid_text(&r->tunnel, tunnel), "tunnel_name", r->tunnel_name,
			 "tun_type", "cfd_tunnel", "virtual_network_id", uuid_text(&r->vnet, vnet),
			 "comment", r->comment, "created_at", api_time_json(r->created_at),
			 "deleted_at", api_time_json(r->deleted_at));
}

/* --- One --------------------------------------------------------------------------------------- */

/* The virtual network that is meant: the one named, else the account's default one. False after having
 * answered. */
static bool choose_vnet(struct ask *a, bool is_named, struct uuid *vnet)
{
	struct store_vnet preset;
	struct err err = { 0 };

	if (is_named)
		return true;
	if (store_vnet_default(a->control->store, a->account, &preset, &err) < 0) {
		answer_store_error(a, &err);
		return false;
	}
	*vnet = preset.id;
	store_vnet_done(&preset);
	return true;
}

static enum ask_result add(struct ask *a, const struct network *network, const struct uuid *tunnel,
			   const struct uuid *vnet, const char *comment)
{
	struct store_network_route route;
	char text[NETWORK_TEXT_SIZE];
	struct err err = { 0 };
	json_t *result;
	int rc = store_network_route_add(a->control->store, a->account, network, tunnel, vnet,
					 comment, &route, &err);

	if (rc == E_EXISTS)
		return answer_error(a, 409, API_NETWORK_EXISTS,
				    "You already have a route defined for this exact IP subnet (%s)",
				    network_text(network, text));
	if (rc < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	result = route_json(&route);
	store_network_route_done(&route);
	return answer_result(a, result);
}

static enum ask_result add_body(struct ask *a, const json_t *body)
{
	const char *text, *comment;
	struct uuid tunnel, vnet;
	struct network network;
	bool has_tunnel, has_vnet;

	if (!ask_string(a, body, "network", &text) || !ask_string(a, body, "comment", &comment) ||
	    !ask_id(a, body, "tunnel_id", &tunnel, &has_tunnel) ||
	    !ask_id(a, body, "virtual_network_id", &vnet, &has_vnet))
		return ASK_ANSWERED;
	if (!text || !network_parse(bytes_str(text), &network))
		return answer_error(a, 400, API_INVALID,
				    "network must be an IP network like 10.0.0.0/8 or fd00::/8");
	if (!has_tunnel)
		return answer_error(a, 400, API_INVALID, "tunnel_id is missing");
	if (!choose_vnet(a, has_vnet, &vnet))
		return ASK_ANSWERED;
	return add(a, &network, &tunnel, &vnet, comment ? comment : "");
}

enum ask_result api_network_add(struct ask *a)
{
	json_t *body = ask_body(a);

	if (!body)
		return ASK_ANSWERED;
	add_body(a, body);
	json_decref(body);
	return ASK_ANSWERED;
}

enum ask_result api_network_delete(struct ask *a)
{
	struct store *store = a->control->store;
	struct store_network_route route;
	struct err err = { 0 };
	struct uuid id;
	json_t *result;

	if (!uuid_parse(a->args[1], &id))
		return answer_error(a, 400, API_INVALID, "the id of a route is a UUID");
	if (store_network_route_delete(store, a->account, &id, &err) < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	if (store_network_route_get(store, a->account, &id, &route, &err) < 0)
		return answer_store_error(a, &err);
	result = route_json(&route);
	store_network_route_done(&route);
	return answer_result(a, result);
}

enum ask_result api_network_by_ip(struct ask *a)
{
	bool is_named = ask_text(a, "virtual_network_id") != NULL;
	struct store_network_route route;
	struct network network;
	struct address address;
	struct err err = { 0 };
	struct uuid vnet;
	json_t *result;

	if (!address_from_ip(a->args[1], 0, &address) || !network_of_address(&address, &network))
		return answer_error(a, 400, API_INVALID, "that is not an IP address");
	if (is_named && !ask_uuid(a, "virtual_network_id", &vnet))
		return ASK_ANSWERED;
	if (!choose_vnet(a, is_named, &vnet))
		return ASK_ANSWERED;
	int rc = store_network_route_find(a->control->store, a->account, &vnet, &network, &route,
					  &err);
	/* To clients a route without a tunnel is none. */
	if (rc == E_NOT_FOUND)
		return answer_result(a, json_object());
	if (rc < 0)
		return answer_store_error(a, &err);
	result = route_json(&route);
	store_network_route_done(&route);
	return answer_result(a, result);
}

/* --- Many -------------------------------------------------------------------------------------- */

/* A network in the query; false after having answered. */
static bool read_network(struct ask *a, const char *name, struct network *network,
			 const struct network **ret)
{
	const char *text = ask_text(a, name);

	if (text && !network_parse(bytes_str(text), network)) {
		answer_error(a, 400, API_INVALID, "%s must be an IP network like 10.0.0.0/8", name);
		return false;
	}
	*ret = text ? network : NULL;
	return true;
}

static bool read_id(struct ask *a, const char *name, struct uuid *id, const struct uuid **ret)
{
	*ret = NULL;
	if (!ask_text(a, name))
		return true;
	*ret = id;
	return ask_uuid(a, name, id);
}

struct reading {
	struct store_network_filter filter;
	struct network within, over;
	struct uuid tunnel, vnet;
	struct ask_page page;
};

static bool read_filter(struct ask *a, struct reading *r)
{
	struct store_network_filter *f = &r->filter;

	*f = (struct store_network_filter){
		.account = a->account,
		.comment = ask_text(a, "comment"),
		.is_deleted = -1,
	};
	if (!ask_bool(a, "is_deleted", &f->is_deleted) ||
	    !ask_time(a, "existed_at", &f->existed_at) ||
	    !read_network(a, "network_subset", &r->within, &f->within) ||
	    !read_network(a, "network_superset", &r->over, &f->over) ||
	    !read_id(a, "tunnel_id", &r->tunnel, &f->tunnel) ||
	    !read_id(a, "virtual_network_id", &r->vnet, &f->vnet) || !ask_page(a, &r->page))
		return false;
	f->offset = r->page.offset;
	f->limit = r->page.size;
	return true;
}

enum ask_result api_network_list(struct ask *a)
{
	struct store_network_route *routes;
	struct err err = { 0 };
	struct reading reading;
	size_t count, total;
	json_t *list;

	if (!read_filter(a, &reading))
		return ASK_ANSWERED;
	if (store_network_route_list(a->control->store, &reading.filter, &routes, &count, &total,
				     &err) < 0)
		return answer_store_error(a, &err);
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(list, route_json(&routes[i]));
		store_network_route_done(&routes[i]);
	}
	mem_free(routes);
	return answer_list(a, list, reading.page.number, reading.page.size, total);
}
