/* Tunnels and routes: what there is, and how requests are shared among replicas. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "edge/cli/command.h"

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static const json_t *ours_of(const json_t *object)
{
	return json_object_get(object, "adit");
}

/* The policy; `inherited` when none is set. */
static const char *policy_of(const json_t *object, const char *inherited)
{
	const char *text = text_of(ours_of(object), "balance");

	return text[0] ? text : inherited;
}

static const char *choice_of(const json_t *object, const char *inherited)
{
	const json_t *value = json_object_get(ours_of(object), "eject_on_5xx");

	if (!json_is_boolean(value))
		return inherited;
	return json_is_true(value) ? "yes" : "no";
}

/* --- Lists ------------------------------------------------------------------------------------ */

static void print_tunnels(const json_t *list)
{
	static const char *const titles[] = { "NAME",     "ID",       "TUNNEL",
					      "REPLICAS", "SERVICES", "BALANCE" };
	size_t columns = ARRAY_LEN(titles), count = json_array_size(list), i;
	const char **cells = mem_alloc_array((count + 1) * columns, sizeof(*cells));
	char(*numbers)[24] = mem_alloc_array(count + 1, sizeof(*numbers));
	json_t *item;

	memcpy(cells, titles, sizeof(titles));
	json_array_foreach(list, i, item)
	{
		const json_t *ours = ours_of(item);
		const char **row = cells + (i + 1) * columns;
		(void)snprintf(numbers[i], sizeof(numbers[i]), "%lld",
			       (long long)json_integer_value(json_object_get(ours, "replicas")));
		row[0] = text_of(item, "name");
		row[1] = text_of(item, "id");
		row[2] = text_of(item, "status");
		row[3] = numbers[i];
		row[4] = text_of(json_object_get(ours, "services"), "status");
		row[5] = policy_of(item, "least");
	}
	cli_print_table(cells, count + 1, columns);
	mem_free(numbers);
	mem_free((void *)cells);
}

int cli_tunnel_list(struct cli *c)
{
	struct err err = { 0 };
	json_t *list;

	if (cli_ask(c, "GET", "/admin/v1/tunnels", NULL, &list, &err) < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(list);
	else if (json_array_size(list) == 0)
		printf("There is no tunnel yet. `adit tunnel create NAME` makes one.\n");
	else
		print_tunnels(list);
	json_decref(list);
	return EXIT_DONE;
}

static void print_routes(const json_t *list)
{
	static const char *const titles[] = { "HOSTNAME", "TUNNEL", "BALANCE", "EJECT ON 5XX",
					      "TLS ENDS AT" };
	size_t columns = ARRAY_LEN(titles), count = json_array_size(list), i;
	const char **cells = mem_alloc_array((count + 1) * columns, sizeof(*cells));
	json_t *item;

	memcpy(cells, titles, sizeof(titles));
	json_array_foreach(list, i, item)
	{
		const char **row = cells + (i + 1) * columns;
		row[0] = text_of(item, "hostname");
		row[1] = text_of(item, "tunnel_id");
		row[2] = policy_of(item, "as the tunnel");
		row[3] = choice_of(item, "as the tunnel");
		row[4] = json_is_true(json_object_get(item, "passthrough")) ? "the service"
									    : "the edge";
	}
	cli_print_table(cells, count + 1, columns);
	mem_free((void *)cells);
}

int cli_tunnel_routes(struct cli *c)
{
	struct err err = { 0 };
	json_t *list;

	if (cli_ask(c, "GET", "/admin/v1/routes", NULL, &list, &err) < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(list);
	else if (json_array_size(list) == 0)
		printf("There is no route yet. `adit tunnel route dns TUNNEL HOSTNAME` makes one.\n");
	else
		print_routes(list);
	json_decref(list);
	return EXIT_DONE;
}

/* --- Balance ---------------------------------------------------------------------------------- */

/* What the flags ask for; NULL: nothing. False after having complained. */
static bool read_flags(struct cli *c, json_t **ret)
{
	const char *policy = cli_flag(c, "policy"), *eject = cli_flag(c, "eject-on-5xx");
	json_t *ours = json_object();

	*ret = NULL;
	if (policy)
		json_object_set_new(ours, "balance",
				    strcmp(policy, "inherit") ? json_string(policy) : json_null());
	if (eject && strcmp(eject, "yes") && strcmp(eject, "no") && strcmp(eject, "inherit")) {
		json_decref(ours);
		cli_usage_error(c, "--eject-on-5xx is yes, no or inherit");
		return false;
	}
	if (eject)
		json_object_set_new(ours, "eject_on_5xx",
				    strcmp(eject, "inherit") ? json_boolean(!strcmp(eject, "yes"))
							     : json_null());
	if (policy || eject)
		*ret = json_pack("{s:o}", "adit", ours);
	else
		json_decref(ours);
	return true;
}

/* Asks about a route or a tunnel of that name. */
static int ask(struct cli *c, const char *prefix, json_t *body, json_t **ret, struct err *err)
{
	char *path = cli_path(prefix, c->words[0], "");
	int rc = path ? cli_ask(c, body ? "PATCH" : "GET", path, json_incref(body), ret, err)
		      : err_set(err, E_INVALID, "this is no tunnel or hostname");

	mem_free(path);
	return rc;
}

int cli_tunnel_balance(struct cli *c)
{
	struct err err = { 0 };
	json_t *body, *result = NULL;
	bool is_route = true;

	if (!read_flags(c, &body))
		return EXIT_USAGE;
	int rc = ask(c, "/admin/v1/routes/", body, &result, &err);
	if (rc == E_NOT_FOUND) {
		is_route = false;
		rc = ask(c, "/admin/v1/tunnels/", body, &result, &err);
		if (rc == E_NOT_FOUND)
			err_set(&err, rc, "there is no tunnel and no route %.200s", c->words[0]);
	}
	json_decref(body);
	if (rc < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(result);
	else if (is_route)
		printf("Requests for %s are shared by %s; eject on 5xx: %s.\n",
		       text_of(result, "hostname"), policy_of(result, "the tunnel's policy"),
		       choice_of(result, "as the tunnel"));
	else
		printf("Requests of tunnel %s are shared by %s; eject on 5xx: %s.\n",
		       text_of(result, "name"), policy_of(result, "least"), choice_of(result, "no"));
	json_decref(result);
	return EXIT_DONE;
}
