/* How requests are shared among a tunnel's replicas, and how its services are: the member "adit" of tunnels and
 * routes, which clients of the stock API do not look at. */
#include <string.h>

#include "base/mem.h"
#include "edge/control/control_parts.h"
#include "edge/tunnels/balance.h"

/* --- JSON ----------------------------------------------------------------------------------- */

static json_t *policy_json(const struct store_balance *b)
{
	return b->policy[0] ? json_string(b->policy) : json_null();
}

static json_t *choice_json(enum store_choice choice)
{
	return choice == STORE_UNSET ? json_null() : json_boolean(choice == STORE_YES);
}

/* What is set; null is inherited. */
static json_t *balance_json(const struct store_balance *b)
{
	return json_pack("{s:o, s:o}", "balance", policy_json(b), "eject_on_5xx",
			 choice_json(b->eject_on_5xx));
}

/* Of all checked services of all connectors together. */
static const char *services_status(size_t healthy, size_t unhealthy, size_t unknown)
{
	if (healthy && unhealthy)
		return "degraded";
	if (unhealthy)
		return "down";
	if (healthy)
		return "healthy";
	return unknown ? "unknown" : "unchecked";
}

json_t *api_tunnel_ours_json(const struct store_tunnel *t, const json_t *connectors)
{
	size_t i, k, healthy = 0, unhealthy = 0, unknown = 0;
	json_t *ours = balance_json(&t->balance), *connector, *service;

	json_array_foreach(connectors, i, connector)
	{
		const json_t *services =
			json_object_get(json_object_get(connector, "adit"), "services");
		json_array_foreach(services, k, service)
		{
			const char *state = json_string_value(json_object_get(service, "state"));
			bool is_healthy = state && strcmp(state, "healthy") == 0;
			bool is_unhealthy = state && strcmp(state, "unhealthy") == 0;
			healthy += is_healthy;
			unhealthy += is_unhealthy;
			unknown += !is_healthy && !is_unhealthy;
		}
	}
	/* The tunnel's own health is its "status". */
	(void)json_object_set_new(ours, "replicas",
				  json_integer((json_int_t)json_array_size(connectors)));
	(void)json_object_set_new(ours, "services",
				  json_pack("{s:s, s:I, s:I, s:I}", "status",
					    services_status(healthy, unhealthy, unknown), "healthy",
					    (json_int_t)healthy, "unhealthy", (json_int_t)unhealthy,
					    "unknown", (json_int_t)unknown));
	return ours;
}

static json_t *route_json(const struct store_route *r, const struct store_site *sites, size_t count)
{
	char tunnel[UUID_TEXT_SIZE], zone[33];

	zone_id_text(&r->zone, zone);
	return json_pack("{s:s, s:s, s:s, s:o, s:b, s:o}", "hostname", r->hostname, "tunnel_id",
			 uuid_text(&r->tunnel, tunnel), "zone_id", zone, "created_at",
			 api_time_json(r->created_at), "passthrough",
			 (int)store_site_passes(sites, count, r->hostname), "adit",
			 balance_json(&r->balance));
}

static void sites_done(struct store_site *sites, size_t count)
{
	for (size_t i = 0; i < count; i++)
		store_site_done(&sites[i]);
	mem_free(sites);
}

static enum ask_result answer_route(struct ask *a, const struct store_route *r)
{
	struct store_site *sites;
	struct err err = { 0 };
	size_t count;

	if (store_site_list(a->control->store, &sites, &count, &err) < 0)
		return answer_store_error(a, &err);
	json_t *json = route_json(r, sites, count);
	sites_done(sites, count);
	return answer_result(a, json);
}

/* --- Reading --------------------------------------------------------------------------------- */

/* Lays what the body says over `b`: a member that is missing stays, null unsets. False after having
 * answered. */
static bool read_member(struct ask *a, const char *name, const json_t *value,
			struct store_balance *b)
{
	enum balance_policy policy;

	if (strcmp(name, "balance") == 0) {
		const char *text = json_string_value(value);
		if (json_is_null(value)) {
			b->policy[0] = 0;
			return true;
		}
		if (text && balance_policy_parse(bytes_str(text), &policy)) {
			memcpy(b->policy, text, strlen(text) + 1);
			return true;
		}
		answer_error(a, 400, API_INVALID,
			     "balance is least, round-robin, client-hash, cookie or null");
		return false;
	}
	if (strcmp(name, "eject_on_5xx") == 0) {
		if (json_is_null(value) || json_is_boolean(value)) {
			b->eject_on_5xx = json_is_null(value)   ? STORE_UNSET
					  : json_is_true(value) ? STORE_YES
								: STORE_NO;
			return true;
		}
		answer_error(a, 400, API_INVALID, "eject_on_5xx is true, false or null");
		return false;
	}
	answer_error(a, 400, API_INVALID, "adit has no member %.60s that can be changed", name);
	return false;
}

static bool read_balance(struct ask *a, struct store_balance *b)
{
	json_t *body = ask_body(a), *ours = json_object_get(body, "adit"), *value;
	const char *name;
	bool is_good = true;

	if (!body)
		return false;
	if (!json_is_object(ours) || json_object_size(body) != 1) {
		answer_error(a, 400, API_UNSUPPORTED,
			     "the body is {\"adit\": {\"balance\": …, \"eject_on_5xx\": …}}: nothing "
			     "else can be changed");
		is_good = false;
	}
	if (is_good)
		json_object_foreach(ours, name, value) is_good =
			is_good && read_member(a, name, value, b);
	json_decref(body);
	return is_good;
}

/* --- Tunnels --------------------------------------------------------------------------------- */

static enum ask_result update_tunnel(struct ask *a, struct store_tunnel *t)
{
	struct err err = { 0 };

	if (!read_balance(a, &t->balance))
		return ASK_ANSWERED;
	if (store_tunnel_set_balance(a->control->store, t->account, &t->id, &t->balance, &err) < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	return answer_result(a, api_tunnel_json(a->control, t));
}

enum ask_result api_tunnel_update(struct ask *a)
{
	struct store_tunnel tunnel;
	struct err err = { 0 };
	struct uuid id;

	if (!uuid_parse(a->args[1], &id))
		return answer_error(a, 400, API_INVALID, "a tunnel id is a UUID");
	if (store_tunnel_get(a->control->store, a->account, &id, &tunnel, &err) < 0)
		return answer_store_error(a, &err);
	enum ask_result result = update_tunnel(a, &tunnel);
	store_tunnel_done(&tunnel);
	return result;
}

/* By name or id, of a living one; false after having answered. */
static bool find_by_name(struct ask *a, struct bytes name, struct store_tunnel *ret)
{
	const char *text = arena_strdup(&a->request->arena, name);
	struct store_tunnel_filter filter = { .is_deleted = 0, .name = text };
	struct store_tunnel *list;
	struct err err = { 0 };
	struct uuid id;
	size_t count;

	if (uuid_parse(name, &id)) {
		filter.name = NULL;
		filter.id = &id;
	}
	if (store_tunnel_list(a->control->store, &filter, &list, &count, NULL, &err) < 0) {
		answer_store_error(a, &err);
		return false;
	}
	if (count == 0) {
		mem_free(list);
		answer_error(a, 404, API_NOT_FOUND, "there is no tunnel %.200s", text);
		return false;
	}
	*ret = list[0];
	for (size_t i = 1; i < count; i++)
		store_tunnel_done(&list[i]);
	mem_free(list);
	return true;
}

enum ask_result admin_tunnel_get(struct ask *a)
{
	struct store_tunnel tunnel;

	if (!find_by_name(a, a->args[0], &tunnel))
		return ASK_ANSWERED;
	json_t *json = api_tunnel_json(a->control, &tunnel);
	store_tunnel_done(&tunnel);
	return answer_result(a, json);
}

enum ask_result admin_tunnel_update(struct ask *a)
{
	struct store_tunnel tunnel;

	if (!find_by_name(a, a->args[0], &tunnel))
		return ASK_ANSWERED;
	enum ask_result result = update_tunnel(a, &tunnel);
	store_tunnel_done(&tunnel);
	return result;
}

/* --- Routes ---------------------------------------------------------------------------------- */

/* Of one zone, or of all (NULL). */
static enum ask_result list_routes(struct ask *a, const struct uuid *zone)
{
	struct store_route *routes;
	struct err err = { 0 };
	size_t count, site_count;
	struct store_site *sites;

	if (store_site_list(a->control->store, &sites, &site_count, &err) < 0)
		return answer_store_error(a, &err);
	if (store_route_list(a->control->store, &routes, &count, &err) < 0) {
		sites_done(sites, site_count);
		return answer_store_error(a, &err);
	}
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		if (!zone || uuid_eq(zone, &routes[i].zone))
			(void)json_array_append_new(list, route_json(&routes[i], sites, site_count));
		store_route_done(&routes[i]);
	}
	sites_done(sites, site_count);
	mem_free(routes);
	return answer_result(a, list);
}

/* `zone` is the asker's, NULL for any. */
static enum ask_result ask_route(struct ask *a, struct bytes hostname, const struct uuid *zone,
				 bool is_update)
{
	struct store_route route;
	struct err err = { 0 };
	const char *name = arena_strdup(&a->request->arena, hostname);
	enum ask_result result = ASK_ANSWERED;

	if (store_route_get(a->control->store, name, &route, &err) < 0)
		return answer_store_error(a, &err);
	if (zone && !uuid_eq(zone, &route.zone)) {
		result = answer_error(a, 404, API_NOT_FOUND, "there is no route for %.253s", name);
	} else if (!is_update) {
		result = answer_route(a, &route);
	} else if (read_balance(a, &route.balance)) {
		if (store_route_set_balance(a->control->store, name, &route.balance, &err) < 0) {
			result = answer_store_error(a, &err);
		} else {
			control_changed(a->control);
			result = answer_route(a, &route);
		}
	}
	store_route_done(&route);
	return result;
}

enum ask_result api_route_list(struct ask *a)
{
	return list_routes(a, &a->zone);
}

enum ask_result api_route_get(struct ask *a)
{
	return ask_route(a, a->args[1], &a->zone, false);
}

enum ask_result api_route_update(struct ask *a)
{
	return ask_route(a, a->args[1], &a->zone, true);
}

enum ask_result admin_route_list(struct ask *a)
{
	return list_routes(a, NULL);
}

enum ask_result admin_route_get(struct ask *a)
{
	return ask_route(a, a->args[0], NULL, false);
}

enum ask_result admin_route_update(struct ask *a)
{
	return ask_route(a, a->args[0], NULL, true);
}
