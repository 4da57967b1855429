/* `tunnel vnet`: virtual networks, which keep overlapping private networks apart. */
#include "base/mem.h"
#include "connector/cli/rest.h"
#include "connector/cli/render.h"

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

int cmd_vnet_add(struct cli *cli)
{
	const char *name = cli_arg(cli, 0), *comment = cli_arg(cli, 1);
	struct work w = { 0 };
	struct rest_vnet vnet;
	char id[UUID_TEXT_SIZE];

	arena_init(&w.arena);
	if (cli->line.arg_count < 1)
		err_set(&w.err, E_INVALID,
			"You must supply at least 1 argument, the name of the virtual network you wish "
			"to add.");
	if (w.err.code || rest_open(cli, &w.api, &w.err) < 0)
		return fail(cli, &w);
	if (rest_vnet_add(&w.api, &w.arena, name, comment ? comment : "",
			  settings_bool(&cli->settings, FLAG_VNET_DEFAULT), &vnet, &w.err) < 0) {
		err_wrap(&w.err, "Could not add virtual network");
		return fail(cli, &w);
	}
	(void)printf("Successfully added virtual 'network' %s with ID: %s%s\n", name,
		     uuid_text(&vnet.id, id),
		     vnet.is_default ? " (as the new default for this account) " : "");
	cli_print(cli, stdout,
		  "You can now add IP routes attached to this virtual network. See `@ tunnel route ip "
		  "add -help`\n");
	work_done(&w);
	return 0;
}

/* --- Listing ----------------------------------------------------------------------------------- */

static void print_table(struct arena *arena, const struct rest_vnet *vnets, size_t count)
{
	struct table table = { 0 };

	table_row(&table, 6,
		  (const char *[]){ "ID", "NAME", "IS DEFAULT", "COMMENT", "CREATED", "DELETED" });
	for (size_t i = 0; i < count; i++) {
		const struct rest_vnet *v = &vnets[i];
		char id[UUID_TEXT_SIZE];
		const char *row[] = {
			uuid_text(&v->id, id),
			v->name,
			v->is_default ? "true" : "false",
			v->comment,
			rest_time_seconds(arena, &v->created_at),
			v->deleted_at.wall ? rest_time_seconds(arena, &v->deleted_at) : "-",
		};
		table_row(&table, 6, row);
	}
	table_print(&table, stdout);
	table_done(&table);
}

static json_t *vnet_json(const void *item)
{
	const struct rest_vnet *v = item;
	char id[UUID_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:s, s:b, s:s, s:s}", "id", uuid_text(&v->id, id), "comment",
			 v->comment, "name", v->name, "is_default_network", (int)v->is_default,
			 "created_at", v->created_at.text, "deleted_at", v->deleted_at.text);
}

static int print(struct cli *cli, struct work *w, const struct rest_vnet *vnets, size_t count)
{
	const char *format = settings_text(&cli->settings, FLAG_RENDER);

	if (*format)
		return render_list(stdout, format, vnets, count, sizeof(*vnets), vnet_json, &w->err);
	if (count)
		print_table(&w->arena, vnets, count);
	else
		cli_print(cli, stdout,
			  "No virtual networks were found for the given filter flags. You can use "
			  "'@ tunnel vnet add' to add a virtual network.\n");
	return 0;
}

static int filter_read(const struct cli *cli, struct rest_vnet_filter *ret, struct uuid *id,
		       struct err *err)
{
	const struct settings *s = &cli->settings;
	const char *id_text = settings_text(s, FLAG_VNET_LIST_ID);
	const char *name = settings_text(s, FLAG_VNET_LIST_NAME);

	*ret = (struct rest_vnet_filter){
		.name = *name ? name : NULL,
		.is_default = settings_is_set(s, FLAG_VNET_IS_DEFAULT)
				      ? settings_bool(s, FLAG_VNET_IS_DEFAULT)
				      : -1,
		.is_deleted = settings_bool(s, FLAG_VNET_SHOW_DELETED),
	};
	if (!*id_text)
		return 0;
	if (!uuid_parse(bytes_str(id_text), id))
		return err_set(err, E_INVALID,
			       "invalid flags for filtering virtual networks: %.100s is not a valid "
			       "virtual network ID",
			       id_text);
	ret->id = id;
	return 0;
}

int cmd_vnet_list(struct cli *cli)
{
	struct rest_vnet_filter filter;
	struct rest_vnet *vnets;
	struct work w = { 0 };
	struct uuid id;
	size_t count;

	arena_init(&w.arena);
	if (filter_read(cli, &filter, &id, &w.err) < 0 || rest_open(cli, &w.api, &w.err) < 0 ||
	    rest_vnet_list(&w.api, &w.arena, &filter, &vnets, &count, &w.err) < 0 ||
	    print(cli, &w, vnets, count) < 0)
		return fail(cli, &w);
	work_done(&w);
	return 0;
}

/* --- Changing ---------------------------------------------------------------------------------- */

int cmd_vnet_delete(struct cli *cli)
{
	const char *name = cli_arg(cli, 0);
	struct work w = { 0 };
	struct uuid id;

	arena_init(&w.arena);
	if (cli->line.arg_count < 1)
		err_set(&w.err, E_INVALID,
			"You must supply exactly one argument, either the ID or name of the virtual "
			"network to delete");
	if (w.err.code || rest_open(cli, &w.api, &w.err) < 0 ||
	    rest_vnet_find(&w.api, name, &id, &w.err) < 0)
		return fail(cli, &w);
	if (rest_vnet_delete(&w.api, &id, settings_bool(&cli->settings, FLAG_VNET_FORCE), &w.err) <
	    0) {
		err_wrap(&w.err, "API error");
		return fail(cli, &w);
	}
	(void)printf("Successfully deleted virtual network '%s'\n", name);
	work_done(&w);
	return 0;
}

int cmd_vnet_update(struct cli *cli)
{
	const struct settings *s = &cli->settings;
	const struct rest_vnet_change change = {
		.name = settings_is_set(s, FLAG_VNET_NAME) ? settings_text(s, FLAG_VNET_NAME) : NULL,
		.comment = settings_is_set(s, FLAG_VNET_COMMENT)
				   ? settings_text(s, FLAG_VNET_COMMENT)
				   : NULL,
		.is_default = settings_is_set(s, FLAG_VNET_DEFAULT)
				      ? settings_bool(s, FLAG_VNET_DEFAULT)
				      : -1,
	};
	const char *name = cli_arg(cli, 0);
	struct work w = { 0 };
	struct uuid id;

	arena_init(&w.arena);
	if (cli->line.arg_count != 1)
		err_set(&w.err, E_INVALID,
			"You must supply exactly one argument, either the ID or (current) name of the "
			"virtual network to update");
	if (w.err.code || rest_open(cli, &w.api, &w.err) < 0 ||
	    rest_vnet_find(&w.api, name, &id, &w.err) < 0)
		return fail(cli, &w);
	if (rest_vnet_update(&w.api, &id, &change, &w.err) < 0) {
		err_wrap(&w.err, "API error");
		return fail(cli, &w);
	}
	(void)printf("Successfully updated virtual network '%s'\n", name);
	work_done(&w);
	return 0;
}
