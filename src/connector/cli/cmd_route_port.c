/* `tunnel route port`: public TCP and UDP ports of the edge. */
#include "base/mem.h"
#include "connector/cli/render.h"
#include "connector/cli/rest.h"

/* What the commands share. */
struct work {
	struct rest api;
	struct arena arena;
	struct err err;
};

static void work_done(struct work *w)
{
	arena_done(&w->arena);
	rest_done(&w->api);
}

static int fail(struct cli *cli, struct work *w)
{
	int code = cli_failed(cli, &w->err);

	work_done(w);
	return code;
}

/* "tcp://:2222". A host in front of the port would mean one address of the edge, which its operator chooses. */
static int read_port(const char *given, const char **ret_protocol, uint16_t *ret_port,
		     struct err *err)
{
	struct bytes text = bytes_str(given);
	const char *protocol = bytes_starts_with(text, BYTES_LIT("tcp://"))   ? "tcp"
			       : bytes_starts_with(text, BYTES_LIT("udp://")) ? "udp"
									      : NULL;
	struct bytes rest = protocol ? bytes_from(text, 6) : BYTES_NONE;
	uint64_t port;

	if (bytes_ends_with(rest, BYTES_LIT("/")))
		rest.len--;
	if (!protocol || rest.len == 0 || rest.ptr[0] != ':' ||
	    !bytes_to_u64(bytes_from(rest, 1), &port) || port < 1 || port > UINT16_MAX)
		return err_set(err, E_INVALID,
			       "%.100s is no public port: write tcp://:2222 or udp://:53. On which "
			       "addresses of the edge it listens, its operator says",
			       given);
	*ret_protocol = protocol;
	*ret_port = (uint16_t)port;
	return 0;
}

/* --- Adding ------------------------------------------------------------------------------------- */

static void report(const struct rest_port *p)
{
	char id[UUID_TEXT_SIZE];

	(void)printf("Successfully routed %s port %u of the edge to %s over tunnel %s\n",
		     strcmp(p->protocol, "udp") == 0 ? "UDP" : "TCP", p->port, p->service,
		     uuid_text(&p->tunnel, id));
	if (strcmp(p->status, "failed") == 0)
		(void)fprintf(stderr, "The edge could not open it yet, and goes on trying: %s\n",
			      p->error);
}

int cmd_route_port(struct cli *cli)
{
	const struct settings *s = &cli->settings;
	struct rest_port port = {
		.service = cli_arg(cli, 2),
		.proxy_protocol = settings_text(s, FLAG_PROXY_PROTOCOL),
		.comment = settings_text(s, FLAG_PORT_COMMENT),
	};
	struct work w = { 0 };
	struct rest_port added;

	if (cli->line.arg_count != 3)
		return cli_usage(cli,
				 "This command expects the format \"@ tunnel route port <tunnel "
				 "name/id> tcp://:<port> <hostname or IP:port>\"");
	arena_init(&w.arena);
	if (read_port(cli_arg(cli, 1), &port.protocol, &port.port, &w.err) < 0)
		return fail(cli, &w);
	if (rest_tunnel_find(cli, &w.api, cli_arg(cli, 0), &port.tunnel, &w.err) < 0) {
		err_wrap(&w.err, "Invalid tunnel");
		return fail(cli, &w);
	}
	if (!w.api.cli && rest_open(cli, &w.api, &w.err) < 0)
		return fail(cli, &w);
	if (rest_port_add(&w.api, &w.arena, &port, &added, &w.err) < 0) {
		err_wrap(&w.err, "API error");
		return fail(cli, &w);
	}
	report(&added);
	work_done(&w);
	return 0;
}

/* --- Listing ------------------------------------------------------------------------------------ */

static const char *port_text(struct arena *arena, const struct rest_port *p)
{
	struct bytes text = arena_printf(arena, "%s://:%u", p->protocol, p->port);

	return arena_strdup(arena, text);
}

static void print_table(struct arena *arena, const struct rest_port *ports, size_t count)
{
	struct table table = { 0 };

	table_row(&table, 8,
		  (const char *[]){ "ID", "PORT", "SERVICE", "TUNNEL", "PROXY", "STATUS", "COMMENT",
				    "CREATED" });
	for (size_t i = 0; i < count; i++) {
		const struct rest_port *p = &ports[i];
		char id[UUID_TEXT_SIZE];
		const char *row[] = {
			uuid_text(&p->id, id),
			port_text(arena, p),
			p->service,
			p->tunnel_name,
			*p->proxy_protocol ? p->proxy_protocol : "-",
			*p->error ? p->error : p->status,
			p->comment,
			rest_time_seconds(arena, &p->created_at),
		};
		table_row(&table, 8, row);
	}
	table_print(&table, stdout);
	table_done(&table);
}

static json_t *port_json(const void *item)
{
	const struct rest_port *p = item;
	char id[UUID_TEXT_SIZE], tunnel[UUID_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "id",
			 uuid_text(&p->id, id), "protocol", p->protocol, "port", (int)p->port,
			 "service", p->service, "tunnel_id", uuid_text(&p->tunnel, tunnel),
			 "tunnel_name", p->tunnel_name, "proxy_protocol", p->proxy_protocol,
			 "comment", p->comment, "created_at", p->created_at.text, "status",
			 p->status, "error", p->error);
}

static int print(struct cli *cli, struct work *w, const struct rest_port *ports, size_t count)
{
	const char *format = settings_text(&cli->settings, FLAG_RENDER);

	if (*format)
		return render_list(stdout, format, ports, count, sizeof(*ports), port_json, &w->err);
	if (count)
		print_table(&w->arena, ports, count);
	else
		cli_print(cli, stdout,
			  "There is no public port yet. You can use '@ tunnel route port' to add "
			  "one.\n");
	return 0;
}

int cmd_route_port_list(struct cli *cli)
{
	struct rest_port *ports;
	struct work w = { 0 };
	size_t count;

	if (cli->line.arg_count != 0)
		return cli_usage(cli, "This command expects no argument");
	arena_init(&w.arena);
	if (rest_open(cli, &w.api, &w.err) < 0 ||
	    rest_port_list(&w.api, &w.arena, &ports, &count, &w.err) < 0 ||
	    print(cli, &w, ports, count) < 0)
		return fail(cli, &w);
	work_done(&w);
	return 0;
}

/* --- Deleting ----------------------------------------------------------------------------------- */

static int find_port(struct work *w, const char *protocol, uint16_t port, struct uuid *ret)
{
	struct rest_port *ports;
	size_t count;
	int r = rest_port_list(&w->api, &w->arena, &ports, &count, &w->err);

	for (size_t i = 0; r == 0 && i < count; i++) {
		if (ports[i].port == port && strcmp(ports[i].protocol, protocol) == 0) {
			*ret = ports[i].id;
			return 0;
		}
	}
	return r < 0 ? r
		     : err_set(&w->err, E_NOT_FOUND,
			       "no tunnel of this account has the port %s://:%u", protocol, port);
}

int cmd_route_port_delete(struct cli *cli)
{
	const char *arg = cli_arg(cli, 0), *protocol = NULL;
	char text[UUID_TEXT_SIZE];
	struct work w = { 0 };
	struct uuid id;
	uint16_t port = 0;

	if (cli->line.arg_count != 1)
		return cli_usage(cli, "This command expects the ID of a public port, or the port as "
				      "in tcp://:2222");
	bool is_id = uuid_parse(bytes_str(arg), &id);
	arena_init(&w.arena);
	if ((!is_id && read_port(arg, &protocol, &port, &w.err) < 0) ||
	    rest_open(cli, &w.api, &w.err) < 0 || (!is_id && find_port(&w, protocol, port, &id) < 0))
		return fail(cli, &w);
	if (rest_port_delete(&w.api, &id, &w.err) < 0) {
		err_wrap(&w.err, "API error");
		return fail(cli, &w);
	}
	(void)printf("Successfully deleted the port with ID %s\n", uuid_text(&id, text));
	work_done(&w);
	return 0;
}
