/* `tunnel route ip`: which private networks are reached through which tunnel. */
#include "base/mem.h"
#include "connector/cli/rest.h"
#include "connector/cli/render.h"
#include "io/network.h"

/* What the four commands share. */
struct work {
	struct rest api;
	struct arena arena;
	struct err err;
	struct uuid vnet;
	bool has_vnet;
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

/* As text in the one form that networks have. */
static int parse_network(const char *given, char text[NETWORK_TEXT_SIZE], struct err *err)
{
	struct network network;

	if (!network_parse(bytes_str(given), &network))
		return err_set(err, E_INVALID, "invalid CIDR address: %.100s", given);
	network_text(&network, text);
	return 0;
}

/* The API, and the virtual network of --vnet. */
static int open_api(struct cli *cli, struct work *w)
{
	const char *name = settings_text(&cli->settings, FLAG_VNET);
	int r = w->api.cli ? 0 : rest_open(cli, &w->api, &w->err);

	w->has_vnet = *name;
	return r == 0 && w->has_vnet ? rest_vnet_find(&w->api, name, &w->vnet, &w->err) : r;
}

static const struct uuid *vnet_of(const struct work *w)
{
	return w->has_vnet ? &w->vnet : NULL;
}

/* --- Showing ----------------------------------------------------------------------------------- */

static void print_table(struct arena *arena, const struct rest_network_route *routes, size_t count)
{
	struct table table = { 0 };

	table_row(&table, 8,
		  (const char *[]){ "ID", "NETWORK", "VIRTUAL NET ID", "COMMENT", "TUNNEL ID",
				    "TUNNEL NAME", "CREATED", "DELETED" });
	for (size_t i = 0; i < count; i++) {
		const struct rest_network_route *n = &routes[i];
		char id[UUID_TEXT_SIZE], vnet[UUID_TEXT_SIZE], tunnel[UUID_TEXT_SIZE];
		const char *row[] = {
			uuid_text(&n->id, id),
			n->network,
			n->has_vnet ? uuid_text(&n->vnet, vnet) : "default",
			n->comment,
			uuid_text(&n->tunnel, tunnel),
			n->tunnel_name,
			rest_time_seconds(arena, &n->created_at),
			n->deleted_at.wall ? rest_time_seconds(arena, &n->deleted_at) : "-",
		};
		table_row(&table, 8, row);
	}
	table_print(&table, stdout);
	table_done(&table);
}

static json_t *route_json(const void *item)
{
	const struct rest_network_route *n = item;
	char id[UUID_TEXT_SIZE], vnet[UUID_TEXT_SIZE], tunnel[UUID_TEXT_SIZE];
	json_t *o = json_pack("{s:s, s:s, s:s}", "id", uuid_text(&n->id, id), "network", n->network,
			      "tunnel_id", uuid_text(&n->tunnel, tunnel));

	if (n->has_vnet)
		json_object_set_new(o, "virtual_network_id", json_string(uuid_text(&n->vnet, vnet)));
	json_object_set_new(o, "comment", json_string(n->comment));
	json_object_set_new(o, "created_at", json_string(n->created_at.text));
	json_object_set_new(o, "deleted_at", json_string(n->deleted_at.text));
	json_object_set_new(o, "tunnel_name", json_string(n->tunnel_name));
	return o;
}

static int print(struct cli *cli, struct work *w, const struct rest_network_route *routes,
		 size_t count)
{
	const char *format = settings_text(&cli->settings, FLAG_RENDER);

	if (*format)
		return render_list(stdout, format, routes, count, sizeof(*routes), route_json,
				   &w->err);
	if (count)
		print_table(&w->arena, routes, count);
	else
		cli_print(cli, stdout,
			  "No routes were found for the given filter flags. You can use '@ tunnel "
			  "route ip add' to add a route.\n");
	return 0;
}

struct filter_texts {
	struct rest_network_filter filter;
	char within[NETWORK_TEXT_SIZE], over[NETWORK_TEXT_SIZE];
	struct uuid tunnel, vnet;
};

static int read_id(const struct cli *cli, enum flag_id flag, struct uuid *id,
		   const struct uuid **ret, struct err *err)
{
	const char *text = settings_text(&cli->settings, flag);

	if (!*text)
		return 0;
	if (!uuid_parse(bytes_str(text), id))
		return err_set(err, E_INVALID, "Couldn't parse UUID from %s: %.100s is none",
			       flag_get(flag)->name, text);
	*ret = id;
	return 0;
}

static int read_network(const struct cli *cli, enum flag_id flag, char text[NETWORK_TEXT_SIZE],
			const char **ret, struct err *err)
{
	if (!settings_is_set(&cli->settings, flag))
		return 0;
	*ret = text;
	return parse_network(settings_text(&cli->settings, flag), text, err);
}

static int filter_read(const struct cli *cli, struct filter_texts *t, struct err *err)
{
	const struct settings *s = &cli->settings;
	const char *comment = settings_text(s, FLAG_FILTER_COMMENT);
	struct rest_network_filter *f = &t->filter;

	*f = (struct rest_network_filter){
		.is_deleted = settings_bool(s, FLAG_FILTER_DELETED),
		.comment = *comment ? comment : NULL,
	};
	int r = read_network(cli, FLAG_FILTER_SUBSET, t->within, &f->within, err);
	if (r == 0)
		r = read_network(cli, FLAG_FILTER_SUPERSET, t->over, &f->over, err);
	if (r == 0)
		r = read_id(cli, FLAG_FILTER_TUNNEL, &t->tunnel, &f->tunnel, err);
	if (r == 0)
		r = read_id(cli, FLAG_FILTER_VNET, &t->vnet, &f->vnet, err);
	return r < 0 ? err_wrap(err, "invalid config for routing filters") : 0;
}

int cmd_route_ip_show(struct cli *cli)
{
	struct rest_network_route *routes;
	struct filter_texts texts;
	struct work w = { 0 };
	size_t count;

	arena_init(&w.arena);
	if (filter_read(cli, &texts, &w.err) < 0 || rest_open(cli, &w.api, &w.err) < 0 ||
	    rest_network_list(&w.api, &w.arena, &texts.filter, &routes, &count, &w.err) < 0 ||
	    print(cli, &w, routes, count) < 0)
		return fail(cli, &w);
	work_done(&w);
	return 0;
}

int cmd_route_ip_get(struct cli *cli)
{
	const char *ip = cli_arg(cli, 0);
	struct rest_network_route route;
	struct address address;
	char text[ADDRESS_TEXT_SIZE];
	struct work w = { 0 };
	bool is_found;

	arena_init(&w.arena);
	if (cli->line.arg_count != 1)
		err_set(&w.err, E_INVALID,
			"You must supply exactly one argument, an IP whose route will be queried (e.g. "
			"1.2.3.4 or 2001:0db8:::7334)");
	else if (!address_from_ip(bytes_str(ip), 0, &address))
		err_set(&w.err, E_INVALID, "Invalid IP %.100s", ip);
	if (w.err.code || open_api(cli, &w) < 0)
		return fail(cli, &w);
	address_ip_text(&address, text);
	if (rest_network_by_ip(&w.api, &w.arena, text, vnet_of(&w), &route, &is_found, &w.err) < 0) {
		err_wrap(&w.err, "API error");
		return fail(cli, &w);
	}
	if (is_found)
		print_table(&w.arena, &route, 1);
	else
		(void)printf("No route matches the IP %s\n", text);
	work_done(&w);
	return 0;
}

/* --- Changing ---------------------------------------------------------------------------------- */

int cmd_route_ip_add(struct cli *cli)
{
	const char *comment = cli_arg(cli, 2);
	char network[NETWORK_TEXT_SIZE], id[UUID_TEXT_SIZE];
	struct work w = { 0 };
	struct uuid tunnel;

	arena_init(&w.arena);
	if (cli->line.arg_count < 2)
		err_set(&w.err, E_INVALID,
			"You must supply at least 2 arguments, first the network you wish to route (in "
			"CIDR form e.g. 1.2.3.4/32) and then the tunnel ID to proxy with");
	else if (parse_network(cli_arg(cli, 0), network, &w.err) < 0)
		err_wrap(&w.err, "Invalid network CIDR");
	else if (rest_tunnel_find(cli, &w.api, cli_arg(cli, 1), &tunnel, &w.err) < 0)
		err_wrap(&w.err, "Invalid tunnel");
	if (w.err.code || open_api(cli, &w) < 0)
		return fail(cli, &w);
	if (rest_network_add(&w.api, network, &tunnel, vnet_of(&w), comment ? comment : "",
			     &w.err) < 0) {
		err_wrap(&w.err, "API error");
		return fail(cli, &w);
	}
	(void)printf("Successfully added route for %s over tunnel %s\n", network,
		     uuid_text(&tunnel, id));
	work_done(&w);
	return 0;
}

/* The living route of exactly this network. */
static int find_route(struct work *w, const char *network, struct uuid *ret)
{
	const struct rest_network_filter filter = {
		.within = network,
		.over = network,
		.vnet = vnet_of(w),
	};
	struct rest_network_route *routes;
	size_t count;
	int r = rest_network_list(&w->api, &w->arena, &filter, &routes, &count, &w->err);

	if (r < 0)
		return r;
	if (count != 1)
		return err_set(&w->err, E_NOT_FOUND,
			       "unable to find route for provided network and vnet");
	*ret = routes[0].id;
	return 0;
}

int cmd_route_ip_delete(struct cli *cli)
{
	const char *arg = cli_arg(cli, 0);
	char network[NETWORK_TEXT_SIZE], text[UUID_TEXT_SIZE];
	struct work w = { 0 };
	struct uuid id;
	bool is_id = arg && uuid_parse(bytes_str(arg), &id);

	arena_init(&w.arena);
	if (cli->line.arg_count != 1 || (!is_id && parse_network(arg, network, NULL) < 0))
		err_set(&w.err, E_INVALID,
			"You must supply exactly one argument, the ID or CIDR of the route you want to "
			"delete");
	if (w.err.code || open_api(cli, &w) < 0 || (!is_id && find_route(&w, network, &id) < 0))
		return fail(cli, &w);
	if (rest_network_delete(&w.api, &id, &w.err) < 0) {
		err_wrap(&w.err, "API error");
		return fail(cli, &w);
	}
	(void)printf("Successfully deleted route with ID %s\n", uuid_text(&id, text));
	work_done(&w);
	return 0;
}
