/* The calls about public ports, an API that only our edge has. */
#include "connector/cli/rest.h"

#include "base/mem.h"

#define PORTS "/ports"

static int port_read(struct arena *arena, const json_t *o, struct rest_port *ret, struct err *err)
{
	const json_t *state = json_object_get(o, "state");
	json_int_t port = json_integer_value(json_object_get(o, "port"));

	*ret = (struct rest_port){ 0 };
	if (!json_is_object(o) || port < 1 || port > UINT16_MAX)
		return rest_unexpected(err, "a port is not one");
	int r = rest_uuid_of(o, "id", &ret->id, err);
	if (r == 0)
		r = rest_uuid_of(o, "tunnel_id", &ret->tunnel, err);
	if (r == 0)
		r = rest_time_of(arena, o, "created_at", &ret->created_at, err);
	ret->port = (uint16_t)port;
	ret->protocol = rest_text_of(arena, o, "protocol");
	ret->tunnel_name = rest_text_of(arena, o, "tunnel_name");
	ret->service = rest_text_of(arena, o, "service");
	ret->proxy_protocol = rest_text_of(arena, o, "proxy_protocol");
	ret->comment = rest_text_of(arena, o, "comment");
	ret->status = rest_text_of(arena, state, "status");
	ret->error = rest_text_of(arena, state, "error");
	return r;
}

int rest_port_add(struct rest *api, struct arena *arena, const struct rest_port *port,
		  struct rest_port *ret, struct err *err)
{
	char tunnel[UUID_TEXT_SIZE];
	json_t *envelope = NULL;
	json_t *body = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s}", "protocol", port->protocol,
				 "port", (int)port->port, "tunnel_id",
				 uuid_text(&port->tunnel, tunnel), "service", port->service,
				 "proxy_protocol", port->proxy_protocol, "comment", port->comment);

	if (!body)
		return err_set(err, E_INVALID, "the service or the comment is not UTF-8 text");
	const struct rest_call call = {
		.operation = "add port",
		.method = "POST",
		.path = PORTS,
		.body = body,
	};
	int r = rest_call(api, &call, &envelope, err);
	if (r == 0)
		r = port_read(arena, json_object_get(envelope, "result"), ret, err);
	json_decref(body);
	json_decref(envelope);
	return r;
}

int rest_port_list(struct rest *api, struct arena *arena, struct rest_port **ret, size_t *ret_count,
		   struct err *err)
{
	const struct rest_call call = { .operation = "list ports", .method = "GET", .path = PORTS };
	json_t *envelope = NULL;
	int r = rest_call(api, &call, &envelope, err);
	const json_t *list = json_object_get(envelope, "result");
	size_t count = json_array_size(list);

	*ret = arena_alloc(arena, count * sizeof(**ret) + 1);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = port_read(arena, json_array_get(list, i), &(*ret)[i], err);
	*ret_count = r == 0 ? count : 0;
	json_decref(envelope);
	return r;
}

int rest_port_delete(struct rest *api, const struct uuid *id, struct err *err)
{
	char text[UUID_TEXT_SIZE];
	char *path = mem_printf(PORTS "/%s", uuid_text(id, text));
	const struct rest_call call = {
		.operation = "delete port",
		.method = "DELETE",
		.path = path,
	};
	json_t *envelope = NULL;
	int r = rest_call(api, &call, &envelope, err);

	json_decref(envelope);
	mem_free(path);
	return r;
}
