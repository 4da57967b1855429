/* Zones that another name server keeps. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "edge/cli/command.h"

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static int list(struct cli *c)
{
	struct err err = { 0 };
	json_t *all, *item;
	size_t i;

	if (cli_ask(c, "GET", "/admin/v1/dns/updates", NULL, &all, &err) < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(all);
	else if (json_array_size(all) == 0)
		printf("No other name server is told of hostnames.\n");
	else
		json_array_foreach(all, i, item) printf(
			"%s: %s is told of its hostnames%s%s%s%s; see `adit-edge status`\n",
			text_of(item, "zone"), text_of(item, "server"),
			*text_of(item, "target") ? ", as aliases of " : "", text_of(item, "target"),
			*text_of(item, "key") ? ", with key " : "", text_of(item, "key"));
	json_decref(all);
	return EXIT_DONE;
}

static int change(struct cli *c, const char *method, json_t *body)
{
	char *path = cli_path("/admin/v1/zones/", c->words[0], "/dns-update");
	struct err err = { 0 };
	json_t *result = NULL;
	bool is_set = body != NULL;
	int r;

	if (path) {
		r = cli_ask(c, method, path, body, &result, &err);
	} else {
		json_decref(body);
		r = err_set(&err, E_INVALID, "this is no name of a zone");
	}
	mem_free(path);
	if (r < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(result);
	else if (is_set)
		printf("%s is told of hostnames in %s from now on.\n", text_of(result, "server"),
		       text_of(result, "zone"));
	else
		printf("Nobody is told of hostnames in %s any more. Records that are there stay.\n",
		       c->words[0]);
	json_decref(result);
	return EXIT_DONE;
}

int cli_dns_update_to(struct cli *c)
{
	const char *key = cli_flag(c, "key"), *target = cli_flag(c, "target");
	const char *ttl = cli_flag(c, "ttl");
	uint64_t seconds;

	if (c->word_count == 0)
		return list(c);
	if (c->word_count == 1)
		return cli_usage_error(c, "which server keeps %s? An address, or off", c->words[0]);
	if (strcmp(c->words[1], "off") == 0)
		return change(c, "DELETE", NULL);
	json_t *body = json_pack("{s:s}", "server", c->words[1]);
	if (!body)
		return cli_usage_error(c, "this is no address");
	if (key)
		(void)json_object_set_new(body, "key", json_string(key));
	if (target)
		(void)json_object_set_new(body, "target", json_string(target));
	if (ttl && (!bytes_to_u64(bytes_str(ttl), &seconds) || seconds > INT32_MAX)) {
		json_decref(body);
		return cli_usage_error(c, "--ttl is a number of seconds");
	}
	if (ttl)
		(void)json_object_set_new(body, "ttl", json_integer((json_int_t)seconds));
	return change(c, "PUT", body);
}
