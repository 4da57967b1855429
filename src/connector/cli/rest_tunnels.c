/* The calls about tunnels, and what they return. */
#include "connector/cli/rest.h"

#include <stdlib.h>

#include "base/encode.h"
#include "base/mem.h"
#include "connector/cli/files.h"
#include "http/fetch.h"

/* ------------------------------------------------------------------------------------------
 * Values. */

static int connections_read(struct arena *arena, const json_t *list, struct rest_connection **ret,
			    size_t *ret_count, struct err *err)
{
	size_t count = json_array_size(list);
	struct rest_connection *all = arena_alloc(arena, count * sizeof(*all) + 1);

	for (size_t i = 0; i < count; i++) {
		const json_t *o = json_array_get(list, i);
		all[i].location = rest_text_of(arena, o, "colo_name");
		all[i].id = rest_text_of(arena, o, "id");
		all[i].is_pending_reconnect =
			json_is_true(json_object_get(o, "is_pending_reconnect"));
		all[i].origin_ip = rest_text_of(arena, o, "origin_ip");
		int r = rest_time_of(arena, o, "opened_at", &all[i].opened_at, err);
		if (r < 0)
			return r;
	}
	*ret = all;
	*ret_count = count;
	return 0;
}

static int tunnel_read(struct arena *arena, const json_t *o, struct rest_tunnel *ret,
		       struct err *err)
{
	*ret = (struct rest_tunnel){ 0 };
	if (!json_is_object(o))
		return rest_unexpected(err, "a tunnel is not an object");
	int r = rest_uuid_of(o, "id", &ret->id, err);
	if (r == 0)
		r = rest_time_of(arena, o, "created_at", &ret->created_at, err);
	if (r == 0)
		r = rest_time_of(arena, o, "deleted_at", &ret->deleted_at, err);
	if (r == 0)
		r = connections_read(arena, json_object_get(o, "connections"), &ret->connections,
				     &ret->connection_count, err);
	ret->name = rest_text_of(arena, o, "name");
	if (json_is_string(json_object_get(o, "token")))
		ret->token = rest_text_of(arena, o, "token");
	return r;
}

static void replica_read(struct arena *arena, const json_t *o, struct rest_replica *ret)
{
	const json_t *services = json_object_get(o, "services");
	json_t *item;
	size_t i;

	*ret = (struct rest_replica){ .is_told = json_is_object(o) };
	ret->label = rest_text_of(arena, o, "label");
	ret->weight = json_integer_value(json_object_get(o, "weight"));
	ret->is_backup = json_is_true(json_object_get(o, "backup"));
	ret->services = arena_alloc(arena, json_array_size(services) * sizeof(*ret->services) + 1);
	json_array_foreach(services, i, item)
	{
		ret->services[ret->service_count++] = (struct rest_service){
			.hostname = rest_text_of(arena, item, "hostname"),
			.path = rest_text_of(arena, item, "path"),
			.service = rest_text_of(arena, item, "service"),
			.state = rest_text_of(arena, item, "state"),
			.error = rest_text_of(arena, item, "error"),
			.since = rest_text_of(arena, item, "since"),
		};
	}
}

static int connector_read(struct arena *arena, const json_t *o, struct rest_connector *ret,
			  struct err *err)
{
	const json_t *features = json_object_get(o, "features");

	ret->id = rest_text_of(arena, o, "id");
	ret->version = rest_text_of(arena, o, "version");
	ret->arch = rest_text_of(arena, o, "arch");
	ret->feature_count = json_array_size(features);
	ret->features = arena_alloc(arena, ret->feature_count * sizeof(*ret->features) + 1);
	for (size_t i = 0; i < ret->feature_count; i++) {
		const char *text = json_string_value(json_array_get(features, i));
		ret->features[i] = arena_strdup(arena, bytes_str(text ? text : ""));
	}
	replica_read(arena, json_object_get(o, "adit"), &ret->replica);
	int r = rest_time_of(arena, o, "run_at", &ret->run_at, err);
	if (r < 0)
		return r;
	return connections_read(arena, json_object_get(o, "conns"), &ret->connections,
				&ret->connection_count, err);
}

/* ------------------------------------------------------------------------------------------
 * Calls. */

static char *tunnel_path(const struct uuid *id, const char *tail)
{
	char text[UUID_TEXT_SIZE];

	return mem_printf("/cfd_tunnel/%s%s", uuid_text(id, text), tail);
}

int rest_tunnel_create(struct rest *api, struct arena *arena, const char *name, struct bytes secret,
		       struct rest_tunnel *ret, struct err *err)
{
	struct uuid ignored;
	json_t *envelope = NULL;

	if (!*name)
		return err_set(err, E_INVALID, "tunnel name required");
	if (uuid_parse(bytes_str(name), &ignored))
		return err_set(err, E_INVALID, "you cannot use UUIDs as tunnel names");
	char *encoded = base64_text(BASE64_STD, secret);
	json_t *body = json_pack("{s:s, s:s}", "name", name, "tunnel_secret", encoded);
	secret_wipe(encoded, strlen(encoded));
	mem_free(encoded);
	if (!body)
		return err_set(err, E_INVALID, "the tunnel's name is not UTF-8 text");
	const struct rest_call call = {
		.operation = "create tunnel",
		.method = "POST",
		.path = "/cfd_tunnel",
		.body = body,
		.conflict = "tunnel with name already exists",
	};
	int r = rest_call(api, &call, &envelope, err);
	json_decref(body);
	if (r == 0)
		r = tunnel_read(arena, json_object_get(envelope, "result"), ret, err);
	json_decref(envelope);
	return r;
}

int rest_tunnel_get(struct rest *api, struct arena *arena, const struct uuid *id,
		    struct rest_tunnel *ret, struct err *err)
{
	json_t *envelope = NULL;
	char *path = tunnel_path(id, "");
	const struct rest_call call = { .operation = "get tunnel", .method = "GET", .path = path };
	int r = rest_call(api, &call, &envelope, err);

	if (r == 0)
		r = tunnel_read(arena, json_object_get(envelope, "result"), ret, err);
	json_decref(envelope);
	mem_free(path);
	return r;
}

int rest_tunnel_delete(struct rest *api, const struct uuid *id, bool cascade, struct err *err)
{
	char *path = tunnel_path(id, "");
	const struct rest_call call = {
		.operation = "delete tunnel",
		.method = "DELETE",
		.path = path,
		.query = cascade ? "cascade=true" : NULL,
		.is_status_enough = true,
	};
	int r = rest_call(api, &call, NULL, err);

	mem_free(path);
	return r;
}

int rest_tunnel_cleanup(struct rest *api, const struct uuid *id, const struct uuid *connector,
			struct err *err)
{
	char text[UUID_TEXT_SIZE], *path = tunnel_path(id, "/connections");
	char *query = connector ? mem_printf("client_id=%s", uuid_text(connector, text)) : NULL;
	const struct rest_call call = {
		.operation = "cleanup connections",
		.method = "DELETE",
		.path = path,
		.query = query,
		.is_status_enough = true,
	};
	int r = rest_call(api, &call, NULL, err);

	mem_free(path);
	mem_free(query);
	return r;
}

int rest_tunnel_connectors(struct rest *api, struct arena *arena, const struct uuid *id,
			   struct rest_connector **ret, size_t *ret_count, struct err *err)
{
	char *path = tunnel_path(id, "/connections");
	const struct rest_call call = { .operation = "list connection details",
					.method = "GET",
					.path = path };
	json_t *envelope = NULL;
	int r = rest_call(api, &call, &envelope, err);
	const json_t *list = json_object_get(envelope, "result");
	size_t count = json_array_size(list);
	struct rest_connector *all = arena_alloc(arena, count * sizeof(*all) + 1);

	for (size_t i = 0; r == 0 && i < count; i++)
		r = connector_read(arena, json_array_get(list, i), &all[i], err);
	json_decref(envelope);
	mem_free(path);
	*ret = all;
	*ret_count = r == 0 ? count : 0;
	return r;
}

int rest_tunnel_token(struct rest *api, const struct uuid *id, char **ret, struct err *err)
{
	char *path = tunnel_path(id, "/token");
	const struct rest_call call = { .operation = "get tunnel token",
					.method = "GET",
					.path = path };
	json_t *envelope = NULL;
	int r = rest_call(api, &call, &envelope, err);
	const char *text = json_string_value(json_object_get(envelope, "result"));

	if (r == 0 && !text)
		r = rest_unexpected(err, "the token is not a string");
	if (r == 0)
		*ret = mem_strdup(text);
	json_decref(envelope);
	mem_free(path);
	return r;
}

int rest_route_dns(struct rest *api, struct arena *arena, const struct uuid *id,
		   const char *hostname, bool overwrite, const bool *passthrough,
		   const char **ret_change, const char **ret_name, struct err *err)
{
	char text[UUID_TEXT_SIZE];
	char *path = mem_printf("/tunnels/%s/routes", uuid_text(id, text));
	json_t *envelope = NULL;
	json_t *body = json_pack("{s:s, s:s, s:b}", "type", "dns", "user_hostname", hostname,
				 "overwrite_existing", (int)overwrite);
	if (body && passthrough)
		(void)json_object_set_new(body, "adit_passthrough", json_boolean(*passthrough));
	const struct rest_call call = { .operation = "add route",
					.method = "PUT",
					.is_zone = true,
					.path = path,
					.body = body };
	int r = body ? rest_call(api, &call, &envelope, err)
		     : err_set(err, E_INVALID, "%.100s is not a valid hostname", hostname);

	if (r == 0) {
		const json_t *result = json_object_get(envelope, "result");
		*ret_change = rest_text_of(arena, result, "cname");
		*ret_name = rest_text_of(arena, result, "name");
		if (!**ret_name)
			*ret_name = arena_strdup(arena, bytes_str(hostname));
	}
	json_decref(body);
	json_decref(envelope);
	mem_free(path);
	return r;
}

/* ------------------------------------------------------------------------------------------
 * Lists. */

/* Keys in alphabetical order, as the stock client sends them. */
static char *tunnels_query(const struct rest *api, const void *filter, unsigned page)
{
	const struct rest_filter *f = filter;
	char id[UUID_TEXT_SIZE] = "";
	struct buf query;

	if (f->id)
		uuid_text(f->id, id);
	buf_init(&query, 16 * 1024);
	int r = rest_query_add(&query, "exclude_prefix", f->exclude_prefix);
	r = r < 0 ? r : rest_query_add(&query, "existed_at", f->existed_at);
	r = r < 0 ? r : rest_query_add(&query, "is_deleted", f->with_deleted ? "" : "false");
	r = r < 0 ? r : rest_query_add(&query, "name", f->name);
	r = r < 0 ? r : rest_query_add(&query, "name_prefix", f->name_prefix);
	r = r < 0 ? r : rest_query_add_page(&query, api, page);
	r = r < 0 ? r : rest_query_add(&query, "uuid", id);
	char *text = r < 0 ? NULL : buf_take_str(&query);
	buf_done(&query);
	return text;
}

static int tunnels_read(struct arena *arena, const json_t *item, void *ret, struct err *err)
{
	return tunnel_read(arena, item, ret, err);
}

int rest_tunnel_list(struct rest *api, struct arena *arena, const struct rest_filter *filter,
		     struct rest_tunnel **ret, size_t *ret_count, struct err *err)
{
	const struct rest_pages pages = { .operation = "list tunnels",
					  .path = "/cfd_tunnel",
					  .filter = filter,
					  .query = tunnels_query,
					  .item_size = sizeof(**ret),
					  .read = tunnels_read };
	void *tunnels;
	int r = rest_list(api, arena, &pages, &tunnels, ret_count, err);

	*ret = tunnels;
	return r;
}

/* ------------------------------------------------------------------------------------------ */

int rest_tunnel_find(const struct cli *cli, struct rest *api, const char *reference,
		     struct uuid *ret, struct err *err)
{
	const char *file = settings_text(&cli->settings, FLAG_CREDENTIALS_FILE);
	struct rest_tunnel *tunnels;
	struct arena arena;
	size_t count;

	if (uuid_parse(bytes_str(reference), ret))
		return 0;
	if (*file) {
		char *path = file_expand(file);
		struct token token;
		bool is_found = file_exists(path) &&
				file_read_credentials(cli->program, path, &token, NULL) == 0;
		mem_free(path);
		bool has_id = is_found && token.has_tunnel;
		if (has_id)
			*ret = token.tunnel;
		if (is_found)
			token_done(&token);
		if (has_id)
			return 0;
	}
	int r = api->cli ? 0 : rest_open(cli, api, err);
	if (r < 0)
		return r;
	arena_init(&arena);
	const struct rest_filter filter = { .name = reference };
	r = rest_tunnel_list(api, &arena, &filter, &tunnels, &count, err);
	if (r == 0 && count == 0)
		r = err_set(err, E_NOT_FOUND,
			    "%.200s is neither the ID nor the name of any of your tunnels",
			    reference);
	if (r == 0)
		*ret = tunnels[0].id;
	arena_done(&arena);
	return r;
}

json_t *rest_connections_json(const struct rest_connection *connections, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		const struct rest_connection *c = &connections[i];
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:b, s:s, s:s}", "colo_name", c->location, "id",
					c->id, "is_pending_reconnect", (int)c->is_pending_reconnect,
					"origin_ip", c->origin_ip, "opened_at", c->opened_at.text));
	}
	return list;
}

json_t *rest_tunnel_json(const struct rest_tunnel *t)
{
	char id[UUID_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", uuid_text(&t->id, id), "name", t->name,
			 "created_at", t->created_at.text, "deleted_at", t->deleted_at.text,
			 "connections", rest_connections_json(t->connections, t->connection_count));
}

const char *rest_time_seconds(struct arena *arena, const struct rest_time *t)
{
	const char *dot = strchr(t->text, '.');
	size_t digits = dot ? strspn(dot + 1, "0123456789") : 0;

	if (!dot)
		return t->text;
	struct bytes text =
		arena_printf(arena, "%.*s%s", (int)(dot - t->text), t->text, dot + 1 + digits);
	return arena_strdup(arena, text);
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *rest_connections_text(struct arena *arena, const struct rest_connection *connections,
				  size_t count, bool with_pending)
{
	const char **names = arena_alloc(arena, count * sizeof(*names) + 1);
	const char *text = "";
	size_t used = 0;

	for (size_t i = 0; i < count; i++)
		if (!connections[i].is_pending_reconnect || with_pending)
			names[used++] = connections[i].location;
	if (used)
		qsort(names, used, sizeof(*names), compare_texts);
	for (size_t i = 0, next; i < used; i = next) {
		for (next = i; next < used && strcmp(names[i], names[next]) == 0;)
			next++;
		struct bytes longer = arena_printf(arena, "%s%s%zux%s", text, *text ? ", " : "",
						   next - i, names[i]);
		text = arena_strdup(arena, longer);
	}
	return text;
}
