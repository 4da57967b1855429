/* REST API: `route dns`. CONTROL.md §3.2, the table of CNAME semantics. */
#include <string.h>

#include "base/mem.h"
#include "edge/access/desk.h"
#include "edge/control/control_parts.h"
#include "store/names.h"

/* Hosts that mean something to connectors and to our own listeners. Whoever could route them would
 * read connectors' logs and metrics (CONTROL §11, 24) or take the tunnel listener's names. */
static const char *const reserved_zones[] = { "argotunnel.com", "cftunnel.com" };

static bool is_within(struct bytes name, struct bytes zone)
{
	if (!bytes_ends_with(name, zone))
		return false;
	return name.len == zone.len || name.ptr[name.len - zone.len - 1] == '.';
}

bool api_host_is_reserved(struct ask *a, const char *hostname)
{
	char *control_host;
	bool is_ours;

	for (size_t i = 0; i < ARRAY_LEN(reserved_zones); i++)
		if (is_within(bytes_str(hostname), bytes_str(reserved_zones[i])))
			return true;
	control_host = store_setting_get(a->control->store, "control.host", NULL);
	is_ours = control_host && bytes_eq_nocase(bytes_str(hostname), bytes_str(control_host));
	mem_free(control_host);
	return is_ours;
}

/* The zone of the account that holds the hostname, the deepest when zones nest; the asker's own zone
 * comes first only by being that one. False after having answered. */
bool api_find_zone(struct ask *a, const char *hostname, struct uuid *ret)
{
	struct store_zone *zones;
	struct err err = { 0 };
	size_t count, best_len = 0;
	struct bytes names = BYTES_NONE;

	if (store_zone_list(a->control->store, &zones, &count, &err) < 0) {
		answer_store_error(a, &err);
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		struct bytes zone = bytes_str(zones[i].name);

		if (!strcmp(zones[i].account, a->account)) {
			if (is_within(bytes_str(hostname), zone) && zone.len > best_len) {
				*ret = zones[i].id;
				best_len = zone.len;
			}
			if (names.len < 200)
				names = arena_printf(&a->request->arena, BYTES_FMT "%s%s",
						     BYTES_ARG(names), names.len ? ", " : "",
						     zones[i].name);
		}
		store_zone_done(&zones[i]);
	}
	mem_free(zones);
	if (best_len == 0)
		answer_error(a, 400, API_HOSTNAME,
			     "%.253s is in no zone of this account (" BYTES_FMT
			     "); `adit-edge zone add` makes another",
			     hostname, BYTES_ARG(names));
	return best_len > 0;
}

/* A single label means a name in the asker's zone, as in a zone file. False after having answered. */
static bool full_hostname(struct ask *a, const char *given, char ret[NAME_DNS_BYTES + 1])
{
	struct store_zone zone;
	struct err err = { 0 };
	int rc;

	if (given[0] && !strchr(given, '.') && strlen(given) <= NAME_LABEL_BYTES) {
		if (store_zone_get(a->control->store, &a->zone, &zone, &err) < 0) {
			answer_store_error(a, &err);
			return false;
		}
		struct bytes full = arena_printf(&a->request->arena, "%s.%s", given, zone.name);
		store_zone_done(&zone);
		given = arena_strdup(&a->request->arena, full);
	}
	rc = name_hostname(given, ret, &err);
	if (rc < 0)
		answer_error(a, 400, API_HOSTNAME, "%s", err.text);
	return rc == 0;
}

/* 1: changed, 0: it was so, negative: an error. */
static int set_passthrough(struct ask *a, const struct uuid *zone, char *hostname, bool is_on,
			   struct err *err)
{
	const struct access_view *view = is_on ? desk_view(a->control->desk, NULL) : NULL;
	struct store_site site = { 0 };

	if (view && access_set_has_host(access_view_set(view), bytes_str(hostname)))
		return err_set(
			err, E_INVALID,
			"Access guards %.253s, and cannot ask anybody in TLS that ends elsewhere",
			hostname);
	int rc = store_site_get(a->control->store, zone, hostname, &site, err);

	if (rc == E_NOT_FOUND) {
		site.zone = *zone;
		site.hostname = mem_strdup(hostname);
		rc = 0;
	}
	const char *value = is_on ? "on" : "off";
	bool is_change = rc == 0 && (!site.passthrough || strcmp(site.passthrough, value) != 0);
	if (is_change) {
		mem_free(site.passthrough);
		site.passthrough = mem_strdup(value);
		rc = store_site_put(a->control->store, &site, err);
	}
	store_site_done(&site);
	return rc < 0 ? rc : is_change;
}

/* `passthrough`: true, false, or absent: as it is. */
static enum ask_result put(struct ask *a, const struct uuid *tunnel, const char *given,
			   bool overwrite, const json_t *passthrough)
{
	static const char *const words[] = {
		[ROUTE_NEW] = "new",
		[ROUTE_UPDATED] = "updated",
		[ROUTE_UNCHANGED] = "unchanged",
	};
	char hostname[NAME_DNS_BYTES + 1];
	enum store_route_change change;
	struct err err = { 0 };
	struct uuid zone;
	int rc;

	if (!full_hostname(a, given, hostname))
		return ASK_ANSWERED;
	if (api_host_is_reserved(a, hostname))
		return answer_error(
			a, 400, API_ROUTE_EXISTS,
			"%.253s belongs to the edge itself and cannot be routed to a tunnel",
			hostname);
	if (!api_find_zone(a, hostname, &zone))
		return ASK_ANSWERED;
	rc = store_route_put(a->control->store, &zone, hostname, tunnel, overwrite, &change, &err);
	if (rc == E_EXISTS)
		return answer_error(a, 400, API_ROUTE_EXISTS,
				    "An A, AAAA, or CNAME record with that host already exists. "
				    "%s; --overwrite-dns takes it over",
				    err.text);
	if (rc == 0 && overwrite)
		rc = store_dns_updated_allow(a->control->store, &zone, hostname, &err);
	bool is_changed = change != ROUTE_UNCHANGED || rc > 0;
	if (rc >= 0 && json_is_boolean(passthrough))
		rc = set_passthrough(a, &zone, hostname, json_is_true(passthrough), &err);
	if (rc < 0)
		return answer_store_error(a, &err);
	if (is_changed || rc > 0)
		control_changed(a->control);
	return answer_result(a, json_pack("{s:s, s:s}", "cname", words[change], "name", hostname));
}

static enum ask_result route_body(struct ask *a, const json_t *body, const struct uuid *tunnel)
{
	const json_t *overwrite = json_object_get(body, "overwrite_existing");
	const json_t *passthrough = json_object_get(body, "adit_passthrough"); /* ours alone */
	const char *type, *hostname;

	if (!ask_string(a, body, "type", &type) || !ask_string(a, body, "user_hostname", &hostname))
		return ASK_ANSWERED;
	if (type && !strcmp(type, "lb"))
		return answer_error(
			a, 400, API_UNSUPPORTED,
			"load balancers are not supported: every connector of a tunnel already "
			"shares its requests; use `route dns`");
	if (!type || strcmp(type, "dns") != 0)
		return answer_error(a, 400, API_INVALID, "type must be \"dns\"");
	if (!hostname)
		return answer_error(a, 400, API_INVALID, "user_hostname is missing");
	if (overwrite && !json_is_boolean(overwrite) && !json_is_null(overwrite))
		return answer_error(a, 400, API_INVALID, "overwrite_existing is not a boolean");
	if (passthrough && !json_is_boolean(passthrough) && !json_is_null(passthrough))
		return answer_error(a, 400, API_INVALID, "adit_passthrough is not a boolean");
	return put(a, tunnel, hostname, json_is_true(overwrite), passthrough);
}

enum ask_result api_route_put(struct ask *a)
{
	struct store_tunnel tunnel;
	struct err err = { 0 };
	struct uuid id;
	json_t *body;
	bool is_deleted;

	if (!uuid_parse(a->args[1], &id))
		return answer_error(a, 400, API_INVALID, "a tunnel id is a UUID");
	if (store_tunnel_get(a->control->store, a->account, &id, &tunnel, &err) < 0)
		return answer_store_error(a, &err);
	is_deleted = tunnel.deleted_at != 0;
	store_tunnel_done(&tunnel);
	if (is_deleted)
		return answer_error(a, 404, API_NOT_FOUND, "the tunnel has been deleted");
	body = ask_body(a);
	if (!body)
		return ASK_ANSWERED;
	route_body(a, body, &id);
	json_decref(body);
	return ASK_ANSWERED;
}
