/* REST API: public ports, docs/operations.md "Public ports". Ours: the stock API has nothing like it. */
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "edge/control/control_parts.h"
#include "edge/ports/port_target.h"
#include "edge/ports/ports.h"

/* What the allowed ports are called in a message. */
#define MAX_ALLOWED_TEXT 200

static const char *protocol_of(const struct store_port *p)
{
	return port_protocol_name(p->is_udp ? PORT_UDP : PORT_TCP);
}

/* --- JSON --------------------------------------------------------------------------------------- */

/* Without a running edge nothing is known. */
static json_t *state_json(const struct control *c, const struct store_port *p)
{
	struct ports_state state;

	if (!c->hooks.port_state)
		return json_pack("{s:s}", "status", "unknown");
	c->hooks.port_state(c->hooks.ctx, p->is_udp ? PORT_UDP : PORT_TCP, p->port, &state);
	return json_pack("{s:s, s:s, s:I, s:I, s:I}", "status", state.is_open ? "open" : "failed",
			 "error", state.error, p->is_udp ? "flows" : "connections",
			 (json_int_t)state.in_use, "total", (json_int_t)state.total, "refused",
			 (json_int_t)state.refused);
}

static json_t *port_json(const struct control *c, const struct store_port *p)
{
	char id[UUID_TEXT_SIZE], tunnel[UUID_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "id",
			 uuid_text(&p->id, id), "protocol", protocol_of(p), "port", (int)p->port,
			 "tunnel_id", uuid_text(&p->tunnel, tunnel), "tunnel_name", p->tunnel_name,
			 "service", p->service, "proxy_protocol", p->has_proxy_header ? "v2" : "",
			 "comment", p->comment, "created_at", api_time_json(p->created_at), "state",
			 state_json(c, p));
}

static enum ask_result answer_ports(struct ask *a, const char *account)
{
	struct store_port *ports;
	struct err err = { 0 };
	size_t count;
	json_t *list;

	if (store_port_list(a->control->store, account, &ports, &count, &err) < 0)
		return answer_store_error(a, &err);
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(list, port_json(a->control, &ports[i]));
		store_port_done(&ports[i]);
	}
	mem_free(ports);
	return account ? answer_list(a, list, 1, count ? count : 1, count) : answer_result(a, list);
}

/* --- Adding ------------------------------------------------------------------------------------- */

/* "2222, 20000-20100/udp". */
static struct bytes allowed_text(struct ask *a)
{
	const struct port_allow *allow = &a->control->ports;
	struct bytes text = BYTES_NONE;

	for (size_t i = 0; i < allow->count && text.len < MAX_ALLOWED_TEXT; i++)
		text = arena_printf(&a->request->arena, BYTES_FMT "%s%s", BYTES_ARG(text),
				    i ? ", " : "", allow->list[i]);
	return text;
}

static enum ask_result refuse_port(struct ask *a, const struct store_port *p)
{
	struct bytes allowed = allowed_text(a);

	if (allowed.len == 0)
		return answer_error(
			a, 403, API_PORT_REFUSED,
			"this edge has no public ports for tunnels; its operator allows some with "
			"\"ports-allow: ['%u/%s']\" in edge.yml",
			p->port, protocol_of(p));
	return answer_error(a, 403, API_PORT_REFUSED,
			    "the port %u/%s is not among those that this edge's operator allows "
			    "(ports-allow in edge.yml): " BYTES_FMT,
			    p->port, protocol_of(p), BYTES_ARG(allowed));
}

/* Nobody may take them all. False after having answered. */
static bool has_room(struct ask *a)
{
	struct store_port *ports;
	struct err err = { 0 };
	size_t count;

	if (store_port_list(a->control->store, NULL, &ports, &count, &err) < 0) {
		answer_store_error(a, &err);
		return false;
	}
	for (size_t i = 0; i < count; i++)
		store_port_done(&ports[i]);
	mem_free(ports);
	if (count < LIMIT_PORTS)
		return true;
	answer_error(a, 400, API_INVALID, "this edge has %d public ports already", LIMIT_PORTS);
	return false;
}

static enum ask_result add(struct ask *a, const struct store_port *port)
{
	struct store_port added;
	struct err err = { 0 };
	json_t *result;

	if (!port_allow_has(&a->control->ports, port->is_udp ? PORT_UDP : PORT_TCP, port->port))
		return refuse_port(a, port);
	if (!has_room(a))
		return ASK_ANSWERED;
	int rc = store_port_add(a->control->store, port, &added, &err);
	if (rc == E_EXISTS)
		return answer_error(a, 409, API_PORT_EXISTS,
				    "the port %u/%s of this edge is taken; another route has it",
				    port->port, protocol_of(port));
	if (rc < 0)
		return answer_store_error(a, &err);
	control_changed(a->control);
	result = port_json(a->control, &added);
	store_port_done(&added);
	return answer_result(a, result);
}

/* False after having answered. */
static bool read_port(struct ask *a, const json_t *body, const char *protocol,
		      const char *proxy_protocol, struct store_port *p)
{
	const json_t *number = json_object_get(body, "port");
	json_int_t port = json_integer_value(number);

	if (!protocol || (strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0)) {
		answer_error(a, 400, API_INVALID, "protocol must be \"tcp\" or \"udp\"");
		return false;
	}
	if (!json_is_integer(number) || port < 1 || port > UINT16_MAX) {
		answer_error(a, 400, API_INVALID, "port must be a number from 1 to 65535");
		return false;
	}
	if (proxy_protocol && proxy_protocol[0] && strcmp(proxy_protocol, "v2") != 0) {
		answer_error(a, 400, API_INVALID,
			     "proxy_protocol must be \"v2\", or empty for none");
		return false;
	}
	p->is_udp = !strcmp(protocol, "udp");
	p->port = (uint16_t)port;
	p->has_proxy_header = proxy_protocol && proxy_protocol[0];
	return true;
}

static enum ask_result add_body(struct ask *a, const json_t *body)
{
	const char *protocol, *service, *proxy_protocol, *comment;
	struct store_port port = { 0 };
	struct port_target target;
	struct err err = { 0 };
	bool has_tunnel;

	if (!ask_string(a, body, "protocol", &protocol) ||
	    !ask_string(a, body, "service", &service) ||
	    !ask_string(a, body, "proxy_protocol", &proxy_protocol) ||
	    !ask_string(a, body, "comment", &comment) ||
	    !ask_id(a, body, "tunnel_id", &port.tunnel, &has_tunnel) ||
	    !read_port(a, body, protocol, proxy_protocol, &port))
		return ASK_ANSWERED;
	if (!has_tunnel)
		return answer_error(a, 400, API_INVALID, "tunnel_id is missing");
	if (!service)
		return answer_error(a, 400, API_INVALID, "service is missing");
	if (port_target_parse(bytes_str(service), &target, &err) < 0)
		return answer_error(a, 400, API_INVALID, "%s", err.text);
	if (!target.is_address && api_host_is_reserved(a, target.text))
		return answer_error(a, 400, API_INVALID,
				    "%s belongs to the edge itself and cannot be a service",
				    target.text);
	memcpy(port.account, a->account, sizeof(port.account));
	port.service = target.text;
	port.comment = (char *)(uintptr_t)(comment ? comment : "");
	return add(a, &port);
}

enum ask_result api_port_add(struct ask *a)
{
	json_t *body = ask_body(a);

	if (!body)
		return ASK_ANSWERED;
	add_body(a, body);
	json_decref(body);
	return ASK_ANSWERED;
}

/* --- One and many ------------------------------------------------------------------------------- */

/* The port that the path names; false after having answered. */
static bool find(struct ask *a, struct store_port *ret)
{
	struct err err = { 0 };
	struct uuid id;

	if (!uuid_parse(a->args[1], &id)) {
		answer_error(a, 400, API_INVALID, "the id of a port is a UUID");
		return false;
	}
	if (store_port_get(a->control->store, a->account, &id, ret, &err) == 0)
		return true;
	answer_store_error(a, &err);
	return false;
}

enum ask_result api_port_get(struct ask *a)
{
	struct store_port port;

	if (!find(a, &port))
		return ASK_ANSWERED;
	json_t *result = port_json(a->control, &port);
	store_port_done(&port);
	return answer_result(a, result);
}

enum ask_result api_port_delete(struct ask *a)
{
	struct store_port port;
	struct err err = { 0 };

	if (!find(a, &port))
		return ASK_ANSWERED;
	json_t *result = port_json(a->control, &port);
	int rc = store_port_delete(a->control->store, a->account, &port.id, &err);
	store_port_done(&port);
	if (rc < 0) {
		json_decref(result);
		return answer_store_error(a, &err);
	}
	control_changed(a->control);
	return answer_result(a, result);
}

enum ask_result api_port_list(struct ask *a)
{
	return answer_ports(a, a->account);
}

enum ask_result admin_port_list(struct ask *a)
{
	return answer_ports(a, NULL);
}
