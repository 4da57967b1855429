/* Public ports: what there is, and whether it is open. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "edge/cli/command.h"

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static void print_ports(const json_t *list)
{
	static const char *const titles[] = { "PORT",  "SERVICE", "TUNNEL",
					      "PROXY", "IN USE",  "STATUS" };
	size_t columns = ARRAY_LEN(titles), count = json_array_size(list), i;
	const char **cells = mem_alloc_array((count + 1) * columns, sizeof(*cells));
	struct {
		char port[16], in_use[24];
	} *numbers = mem_alloc_array(count + 1, sizeof(*numbers));
	json_t *item;

	memcpy(cells, titles, sizeof(titles));
	json_array_foreach(list, i, item)
	{
		const json_t *state = json_object_get(item, "state");
		const json_t *in_use = json_object_get(state, "connections");
		const char **row = cells + (i + 1) * columns;
		if (!in_use)
			in_use = json_object_get(state, "flows");
		(void)snprintf(numbers[i].port, sizeof(numbers[i].port), "%d/%.3s",
			       (int)json_integer_value(json_object_get(item, "port")),
			       text_of(item, "protocol"));
		(void)snprintf(numbers[i].in_use, sizeof(numbers[i].in_use), "%lld",
			       (long long)json_integer_value(in_use));
		row[0] = numbers[i].port;
		row[1] = text_of(item, "service");
		row[2] = text_of(item, "tunnel_name");
		row[3] = text_of(item, "proxy_protocol");
		row[4] = in_use ? numbers[i].in_use : "-";
		row[5] = text_of(state, "error")[0] ? text_of(state, "error")
						    : text_of(state, "status");
	}
	cli_print_table(cells, count + 1, columns);
	mem_free(numbers);
	mem_free((void *)cells);
}

int cli_port_list(struct cli *c)
{
	struct err err = { 0 };
	json_t *list;

	if (cli_ask(c, "GET", "/admin/v1/ports", NULL, &list, &err) < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(list);
	else if (json_array_size(list) == 0)
		printf("There is no public port. `adit tunnel route port` makes one, among those that "
		       "ports-allow allows.\n");
	else
		print_ports(list);
	json_decref(list);
	return EXIT_DONE;
}
