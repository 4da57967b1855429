/* People's passkeys: who has lost a device, or left it somewhere. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "edge/cli/command.h"

static const char *member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static int ask_list(struct cli *c, json_t **ret, struct err *err)
{
	char *path = cli_path("/admin/v1/people/", c->words[0], "/passkeys");
	int r = path ? cli_ask(c, "GET", path, NULL, ret, err)
		     : err_set(err, E_INVALID, "this is no e-mail address");

	mem_free(path);
	return r;
}

int cli_access_passkey_list(struct cli *c)
{
	struct err err = { 0 };
	json_t *list;

	if (ask_list(c, &list, &err) < 0)
		return cli_fail(&err);
	size_t count = json_array_size(list);
	if (c->is_json) {
		cli_print_json(list);
	} else if (count == 0) {
		printf("%s has none.\n", c->words[0]);
	} else {
		const char **cells = mem_alloc_array((count + 1) * 3, sizeof(*cells));

		memcpy(cells, (const char *const[]){ "NAME", "CREATED", "ID" }, 3 * sizeof(*cells));
		for (size_t i = 0; i < count; i++) {
			const json_t *one = json_array_get(list, i);
			const char **row = &cells[(i + 1) * 3];
			row[0] = member(one, "name");
			row[1] = member(one, "created_at");
			row[2] = member(one, "id");
		}
		cli_print_table(cells, count + 1, 3);
		mem_free((void *)cells);
	}
	json_decref(list);
	return EXIT_DONE;
}

/* By its id, or by a name that only one has. */
static int find_passkey(struct cli *c, const json_t *list, const char **ret, struct err *err)
{
	const char *word = c->words[1];
	size_t named = 0, i;
	json_t *one;

	json_array_foreach(list, i, one)
	{
		if (strcmp(member(one, "id"), word) == 0) {
			*ret = member(one, "id");
			return 0;
		}
		if (strcmp(member(one, "name"), word) == 0) {
			*ret = member(one, "id");
			named++;
		}
	}
	if (named == 1)
		return 0;
	if (named > 1)
		return err_set(err, E_INVALID,
			       "%zu passkeys are called \"%.100s\": say the id of one", named, word);
	return err_set(err, E_NOT_FOUND, "%.200s has no passkey \"%.100s\"", c->words[0], word);
}

int cli_access_passkey_remove(struct cli *c)
{
	char *prefix = NULL, *path = NULL;
	struct err err = { 0 };
	const char *id = NULL;
	json_t *list;
	int r = ask_list(c, &list, &err);

	if (r < 0)
		return cli_fail(&err);
	r = find_passkey(c, list, &id, &err);
	if (r == 0) {
		prefix = cli_path("/admin/v1/people/", c->words[0], "/passkeys/");
		path = prefix ? cli_path(prefix, id, "") : NULL;
		r = path ? cli_ask(c, "DELETE", path, NULL, NULL, &err)
			 : err_set(&err, E_INVALID, "this is no passkey");
	}
	mem_free(path);
	mem_free(prefix);
	json_decref(list);
	if (r < 0)
		return cli_fail(&err);
	printf("Nobody signs in with it any more. Who is signed in stays so: `adit-edge access user revoke %s`\n"
	       "ends that.\n",
	       c->words[0]);
	return EXIT_DONE;
}
