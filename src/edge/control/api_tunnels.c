/* REST API: tunnels and their connections. CONTROL.md §3.2. */
#include <string.h>

#include "base/encode.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/random.h"
#include "edge/control/control_parts.h"
#include "wire/token.h"

#define SECRET_BYTES_MIN TOKEN_SECRET_MIN_BYTES
#define SECRET_BYTES_MAX TOKEN_SECRET_BYTES

/* --- JSON ----------------------------------------------------------------------------------- */

/* The connectors of a tunnel: an array, empty when there is none or no edge runs. Owned. */
static json_t *connectors_json(struct control *c, const struct uuid *tunnel)
{
	json_t *list = NULL;
	char *text;

	if (c->hooks.connections) {
		text = c->hooks.connections(c->hooks.ctx, tunnel);
		if (text)
			list = json_loads(text, 0, NULL);
		mem_free(text);
	}
	if (!json_is_array(list)) {
		json_decref(list);
		return json_array();
	}
	return list;
}

/* The same connections in one flat list, as a tunnel shows them. Owned. */
static json_t *flat_connections(const json_t *connectors)
{
	json_t *flat = json_array(), *connector, *conn;
	size_t i, j;

	json_array_foreach(connectors, i, connector)
	{
		json_array_foreach(json_object_get(connector, "conns"), j, conn)
		{
			json_t *copy = json_copy(conn);

			(void)json_object_set(copy, "client_id", json_object_get(connector, "id"));
			(void)json_object_set(copy, "client_version",
					      json_object_get(connector, "version"));
			(void)json_array_append_new(flat, copy);
		}
	}
	return flat;
}

/* The oldest living connection says since when; RFC 3339 in UTC sorts as text. */
static json_t *active_since(const json_t *connections)
{
	const char *oldest = NULL;
	json_t *conn;
	size_t i;

	json_array_foreach(connections, i, conn)
	{
		const char *opened = json_string_value(json_object_get(conn, "opened_at"));

		if (opened && (!oldest || strcmp(opened, oldest) < 0))
			oldest = opened;
	}
	return oldest ? json_string(oldest) : json_null();
}

json_t *api_tunnel_json(struct control *c, const struct store_tunnel *t)
{
	json_t *connectors = connectors_json(c, &t->id);
	json_t *connections = flat_connections(connectors);
	size_t count = json_array_size(connections);
	/* A connector keeps four; with one, the next hiccup of the network is an outage. */
	const char *status = count == 0 ? "inactive" : count == 1 ? "degraded" : "healthy";
	char id[UUID_TEXT_SIZE];
	json_t *since = active_since(connections), *ours = api_tunnel_ours_json(t, connectors);

	json_decref(connectors);
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:n, s:s, s:b, s:s, s:{}, s:o}", "id",
			 uuid_text(&t->id, id), "account_tag", t->account, "name", t->name,
			 "created_at", api_time_json(t->created_at), "deleted_at",
			 api_time_json(t->deleted_at), "connections", connections,
			 "conns_active_at", since, "conns_inactive_at", "status", status,
			 "remote_config", 0, "tun_type", "cfd_tunnel", "metadata", "adit", ours);
}

/* --- One tunnel ----------------------------------------------------------------------------- */

/* The tunnel the path names; false after having answered. */
static bool find_tunnel(struct ask *a, struct store_tunnel *ret, bool is_alive_wanted)
{
	struct err err = { 0 };
	struct uuid id;

	if (!uuid_parse(a->args[1], &id)) {
		answer_error(a, 400, API_INVALID, "a tunnel id is a UUID");
		return false;
	}
	if (store_tunnel_get(a->control->store, a->account, &id, ret, &err) < 0) {
		answer_store_error(a, &err);
		return false;
	}
	if (is_alive_wanted && ret->deleted_at) {
		store_tunnel_done(ret);
		answer_error(a, 404, API_NOT_FOUND, "the tunnel has been deleted");
		return false;
	}
	return true;
}

/* The raw secret into `secret`; false after having answered. A fresh one when none was sent. */
static bool read_secret(struct ask *a, const char *text, uint8_t secret[SECRET_BYTES_MAX],
			size_t *ret_len)
{
	size_t text_len = text ? strlen(text) : 0;
	uint8_t *decoded;

	if (!text) {
		random_bytes(secret, SECRET_BYTES_MIN);
		*ret_len = SECRET_BYTES_MIN;
		return true;
	}
	if (text_len > base64_size(SECRET_BYTES_MAX)) {
		answer_error(a, 400, API_INVALID, "tunnel_secret is longer than %d bytes",
			     SECRET_BYTES_MAX);
		return false;
	}
	decoded = mem_alloc(text_len / 4 * 3 + 3);
	bool ok = base64_decode(BASE64_STD, bytes_of(text, text_len), decoded, ret_len);
	if (ok && *ret_len >= SECRET_BYTES_MIN && *ret_len <= SECRET_BYTES_MAX)
		memcpy(secret, decoded, *ret_len);
	else
		ok = false;
	secret_wipe(decoded, text_len / 4 * 3 + 3);
	mem_free(decoded);
	if (!ok)
		answer_error(a, 400, API_INVALID,
			     "tunnel_secret must be base64 of at least %d bytes", SECRET_BYTES_MIN);
	return ok;
}

/* The new tunnel with its token. */
static enum ask_result answer_created(struct ask *a, const struct store_tunnel *t)
{
	struct err err = { 0 };
	char *token = credentials_tunnel_token(a->control, t, &err);
	json_t *result;

	if (!token)
		return answer_store_error(a, &err);
	result = api_tunnel_json(a->control, t);
	(void)json_object_set_new(result, "token", json_string(token));
	credentials_text_free(token);
	return answer_result(a, result);
}

static enum ask_result create(struct ask *a, const char *name, const char *secret_text)
{
	uint8_t secret[SECRET_BYTES_MAX];
	struct store_tunnel tunnel;
	struct err err = { 0 };
	size_t secret_len;
	enum ask_result result;
	int rc;

	if (!read_secret(a, secret_text, secret, &secret_len))
		return ASK_ANSWERED;
	rc = store_tunnel_create(a->control->store, a->account, name, bytes_of(secret, secret_len),
				 &tunnel, &err);
	secret_wipe(secret, sizeof(secret));
	if (rc == E_EXISTS)
		return answer_error(a, 409, API_TUNNEL_EXISTS,
				    "You already have a tunnel with this name");
	if (rc < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	result = answer_created(a, &tunnel);
	store_tunnel_done(&tunnel);
	return result;
}

enum ask_result api_tunnel_create(struct ask *a)
{
	json_t *body = ask_body(a);
	const char *name, *secret;

	if (!body)
		return ASK_ANSWERED;
	if (ask_string(a, body, "name", &name) && ask_string(a, body, "tunnel_secret", &secret)) {
		if (name)
			create(a, name, secret);
		else
			answer_error(a, 400, API_INVALID, "a tunnel needs a name");
	}
	json_decref(body);
	return ASK_ANSWERED;
}

enum ask_result api_tunnel_get(struct ask *a)
{
	struct store_tunnel tunnel;
	json_t *result;

	if (!find_tunnel(a, &tunnel, false))
		return ASK_ANSWERED;
	result = api_tunnel_json(a->control, &tunnel);
	store_tunnel_done(&tunnel);
	return answer_result(a, result);
}

static size_t live_connections(struct control *c, const struct uuid *tunnel)
{
	return c->hooks.connection_count ? c->hooks.connection_count(c->hooks.ctx, tunnel) : 0;
}

/* True when private networks are routed to it, with which a deletion has to be meant: after having answered. */
static bool has_networks(struct ask *a, const struct store_tunnel *tunnel)
{
	const struct store_network_filter filter = {
		.account = a->account,
		.tunnel = &tunnel->id,
		.limit = 3,
	};
	struct store_network_route *routes;
	char text[NETWORK_TEXT_SIZE];
	struct bytes names = BYTES_NONE;
	struct err err = { 0 };
	size_t count, total;

	if (store_network_route_list(a->control->store, &filter, &routes, &count, &total, &err) < 0) {
		answer_store_error(a, &err);
		return true;
	}
	for (size_t i = 0; i < count; i++) {
		names = arena_printf(&a->request->arena, BYTES_FMT "%s%s", BYTES_ARG(names),
				     i ? ", " : "", network_text(&routes[i].network, text));
		store_network_route_done(&routes[i]);
	}
	mem_free(routes);
	if (total)
		answer_error(a, 400, API_TUNNEL_ROUTES,
			     "Cannot delete tunnel because it has %zu private network route%s "
			     "(" BYTES_FMT "%s); delete %s first, or with the tunnel by --force",
			     total, total == 1 ? "" : "s", BYTES_ARG(names),
			     total > count ? ", ..." : "", total == 1 ? "it" : "them");
	return total > 0;
}

static enum ask_result delete_tunnel(struct ask *a, const struct store_tunnel *tunnel)
{
	struct control *c = a->control;
	const char *cascade = ask_param(a, "cascade");
	bool is_forced = cascade && (!strcmp(cascade, "true") || !strcmp(cascade, "1"));
	struct store_tunnel after;
	struct err err = { 0 };
	json_t *result;

	if (!is_forced && live_connections(c, &tunnel->id) > 0)
		return answer_error(a, 400, API_TUNNEL_ACTIVE,
				    "Cannot delete tunnel because it has active connections");
	if (!is_forced && has_networks(a, tunnel))
		return ASK_ANSWERED;
	if (store_tunnel_delete(c->store, a->account, &tunnel->id, &err) < 0)
		return answer_store_error(a, &err);
	/* First nobody can come back, then those who are there are shown out. */
	control_changed(c);
	if (c->hooks.disconnect)
		c->hooks.disconnect(c->hooks.ctx, &tunnel->id, NULL);
	if (store_tunnel_get(c->store, a->account, &tunnel->id, &after, &err) < 0)
		return answer_store_error(a, &err);
	result = api_tunnel_json(c, &after);
	store_tunnel_done(&after);
	return answer_result(a, result);
}

enum ask_result api_tunnel_delete(struct ask *a)
{
	struct store_tunnel tunnel;

	if (!find_tunnel(a, &tunnel, true))
		return ASK_ANSWERED;
	delete_tunnel(a, &tunnel);
	store_tunnel_done(&tunnel);
	return ASK_ANSWERED;
}

enum ask_result api_tunnel_token(struct ask *a)
{
	struct store_tunnel tunnel;
	struct err err = { 0 };
	enum ask_result result;
	char *token;

	if (!find_tunnel(a, &tunnel, true))
		return ASK_ANSWERED;
	token = credentials_tunnel_token(a->control, &tunnel, &err);
	store_tunnel_done(&tunnel);
	if (!token)
		return answer_store_error(a, &err);
	result = answer_result(a, json_string(token));
	credentials_text_free(token);
	return result;
}

/* --- Many tunnels --------------------------------------------------------------------------- */

static bool read_filter(struct ask *a, struct store_tunnel_filter *f, struct uuid *id)
{
	const char *uuid = ask_text(a, "uuid");

	f->account = a->account;
	f->name = ask_text(a, "name");
	f->name_prefix = ask_text(a, "name_prefix");
	f->exclude_prefix = ask_text(a, "exclude_prefix");
	f->is_deleted = -1;
	if (!ask_bool(a, "is_deleted", &f->is_deleted) || !ask_time(a, "existed_at", &f->existed_at))
		return false;
	if (uuid && !ask_uuid(a, "uuid", id))
		return false;
	if (uuid)
		f->id = id;
	return true;
}

enum ask_result api_tunnel_list(struct ask *a)
{
	struct store_tunnel_filter filter = { 0 };
	struct store_tunnel *tunnels;
	struct err err = { 0 };
	struct ask_page page;
	size_t count, total;
	struct uuid id;
	json_t *list;

	if (!read_filter(a, &filter, &id) || !ask_page(a, &page))
		return ASK_ANSWERED;
	filter.offset = page.offset;
	filter.limit = page.size;
	if (store_tunnel_list(a->control->store, &filter, &tunnels, &count, &total, &err) < 0)
		return answer_store_error(a, &err);
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(list, api_tunnel_json(a->control, &tunnels[i]));
		store_tunnel_done(&tunnels[i]);
	}
	mem_free(tunnels);
	return answer_list(a, list, page.number, page.size, total);
}

/* --- Connections ---------------------------------------------------------------------------- */

enum ask_result api_connections_get(struct ask *a)
{
	struct store_tunnel tunnel;
	json_t *list;

	if (!find_tunnel(a, &tunnel, false))
		return ASK_ANSWERED;
	list = connectors_json(a->control, &tunnel.id);
	store_tunnel_done(&tunnel);
	return answer_result(a, list);
}

enum ask_result api_connections_delete(struct ask *a)
{
	struct control *c = a->control;
	const char *client = ask_text(a, "client_id");
	struct store_tunnel tunnel;
	struct uuid connector;

	if (client && !uuid_parse(bytes_str(client), &connector))
		return answer_error(a, 400, API_INVALID, "client_id must be a UUID");
	if (!find_tunnel(a, &tunnel, false))
		return ASK_ANSWERED;
	if (c->hooks.disconnect)
		c->hooks.disconnect(c->hooks.ctx, &tunnel.id, client ? &connector : NULL);
	store_tunnel_done(&tunnel);
	return answer_result(a, NULL);
}
