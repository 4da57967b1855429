/* Access: who may reach what. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/secret.h"
#include "config/yaml.h"
#include "config/yaml_write.h"
#include "edge/access/document_yaml.h"
#include "edge/cli/command.h"

#define PATH_DOCUMENT "/admin/v1/access/document"
#define EXPORT_BYTES (16 * 1024 * 1024)
#define SECRET_BYTES 4096

static const char *member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* --- Documents -------------------------------------------------------------------------------- */

static int read_env(const char *name, char *text, size_t size)
{
	const char *value = getenv(name);

	if (value)
		snprintf(text, size, "%s", value);
	return value ? 0 : E_NOT_FOUND;
}

static int read_secret_file(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");

	if (!file)
		return E_NOT_FOUND;
	bool is_read = fgets(text, (int)size, file) != NULL;
	(void)fclose(file);
	text[strcspn(text, "\r\n")] = 0;
	return is_read && *text ? 0 : E_NOT_FOUND;
}

/* client_secret: "file:PATH" or "env:NAME", so that the document itself need not be secret. */
static int take_secrets(json_t *document, struct err *err)
{
	json_t *provider;
	size_t i;

	json_array_foreach(json_object_get(document, "identity_providers"), i, provider)
	{
		json_t *config = json_object_get(provider, "config");
		const char *given = member(config, "client_secret");
		char text[SECRET_BYTES] = "";
		bool is_file = !strncmp(given, "file:", 5);
		if (!is_file && strncmp(given, "env:", 4) != 0)
			continue;
		const char *where = strchr(given, ':') + 1;
		int r = is_file ? read_secret_file(where, text, sizeof(text))
				: read_env(where, text, sizeof(text));
		if (r < 0)
			return err_set(err, r,
				       "identity_providers[%zu]: the client secret is not %s %.200s",
				       i, is_file ? "in the file" : "in the variable", where);
		json_object_set_new(config, "client_secret", json_string(text));
		secret_wipe(text, sizeof(text));
	}
	return 0;
}

static int ask_apply(struct cli *c, json_t *document, bool is_dry, bool prunes, json_t **ret,
		     struct err *err)
{
	return cli_ask(c, "POST", PATH_DOCUMENT,
		       json_pack("{s:o, s:b, s:b}", "document", document, "dry_run", (int)is_dry,
				 "prune", (int)prunes),
		       ret, err);
}

static int print_changes(struct cli *c, json_t *result, bool is_dry)
{
	const json_t *changes = json_object_get(result, "changes"),
		     *secrets = json_object_get(result, "secrets");
	json_t *one;
	size_t i;

	if (c->is_json) {
		cli_print_json(result);
		json_decref(result);
		return EXIT_DONE;
	}
	json_array_foreach((json_t *)(uintptr_t)changes, i, one)
	{
		const char *action = member(one, "action");
		printf("%c %s%s%s: %s%s\n",
		       *action == 'c' && action[1] == 'r' ? '+'
		       : *action == 'r'                   ? '-'
							  : '~',
		       member(one, "kind"), *member(one, "name") ? " " : "", member(one, "name"),
		       is_dry ? "would be " : "", action);
	}
	if (i == 0)
		printf("Everything is as it should be.\n");
	json_array_foreach((json_t *)(uintptr_t)secrets, i, one)
		printf("\nService token %s. The secret is shown this once:\n"
		       "CF-Access-Client-Id: %s\nCF-Access-Client-Secret: %s\n",
		       member(one, "name"), member(one, "client_id"), member(one, "client_secret"));
	json_decref(result);
	return EXIT_DONE;
}

int cli_access_apply(struct cli *c)
{
	bool is_dry = cli_flag(c, "dry-run"), prunes = cli_flag(c, "prune");
	struct err err = { 0 }, said = { 0 };
	json_t *document, *result;
	struct yaml_doc *doc = strcmp(c->words[0], "-") == 0 ? yaml_load("/dev/stdin", &err)
							     : yaml_load(c->words[0], &err);

	if (!doc)
		return cli_fail(&err);
	document = access_document_read(doc, &err);
	int r = document ? take_secrets(document, &said) : err.code;
	if (r == 0)
		r = ask_apply(c, document, is_dry, prunes, &result, &said);
	else
		json_decref(document);
	if (r < 0 && said.code)
		access_document_locate(doc, said.text, &err);
	yaml_free(doc);
	return r < 0 ? cli_fail(&err) : print_changes(c, result, is_dry);
}

int cli_access_export(struct cli *c)
{
	struct err err = { 0 };
	struct buf text;
	json_t *document;

	if (cli_ask(c, "GET", PATH_DOCUMENT, NULL, &document, &err) < 0)
		return cli_fail(&err);
	if (c->is_json || json_object_size(document) == 0) {
		if (c->is_json)
			cli_print_json(document);
		else
			printf("# Nothing is guarded yet: `adit-edge help access`\n");
		json_decref(document);
		return EXIT_DONE;
	}
	buf_init(&text, EXPORT_BYTES);
	char *json = json_dumps(document, JSON_COMPACT);
	int r = yaml_of_json(json, &text);
	free(json); /* allowed: jansson took it from malloc */
	json_decref(document);
	if (r == 0)
		printf("# What Access is configured to be. `adit-edge access apply FILE` puts it in place; secrets\n"
		       "# are not in here and stay as they are.\n%.*s",
		       (int)text.len, (const char *)text.ptr);
	else
		err_set(&err, r, "it is too large");
	buf_done(&text);
	return r < 0 ? cli_fail(&err) : EXIT_DONE;
}

/* "me@example.com", "@example.com", "192.0.2.0/24", "everyone", or a rule in JSON. NULL: none of these. */
static json_t *rule_of(const char *who)
{
	const char *at = strchr(who, '@');

	if (who[0] == '{')
		return json_loads(who, 0, NULL);
	if (strcmp(who, "everyone") == 0)
		return json_string(who);
	if (at == who)
		return json_pack("{s:s}", "email_domain", who + 1);
	if (at)
		return json_pack("{s:s}", "email", who);
	if (strspn(who, "0123456789abcdefABCDEF.:/") == strlen(who))
		return json_pack("{s:s}", "ip", who);
	return NULL;
}

int cli_access_protect(struct cli *c)
{
	json_t *include = json_array(), *document, *result, *there;
	const char *session = cli_flag(c, "session");
	struct err err = { 0 };

	for (size_t i = 0; i < c->flag_count; i++) {
		if (strcmp(c->flags[i].name, "allow") != 0)
			continue;
		json_t *rule = rule_of(c->flags[i].value);
		if (!rule) {
			json_decref(include);
			return cli_usage_error(
				c,
				"--allow %.100s: that is no e-mail address, @domain, network or "
				"\"everyone\"",
				c->flags[i].value);
		}
		json_array_append_new(include, rule);
	}
	if (json_array_size(include) == 0) {
		json_decref(include);
		return cli_usage_error(c, "--allow is missing: who may reach it?");
	}
	char *policy = mem_printf("%s: who may", c->words[0]);
	bool asks = cli_flag(c, "ask-reason") != NULL;
	document = json_pack("{s:[{s:s, s:s, s:o, s:b}], s:[{s:s, s:s, s:s, s:[s], s:s?}]}",
			     "policies", "name", policy, "decision", "allow", "include", include,
			     "purpose_justification_required", (int)asks, "applications", "name",
			     c->words[0], "type", "self_hosted", "domain", c->words[0], "policies",
			     policy, "session_duration", session);
	if (document && !asks)
		json_object_del(json_array_get(json_object_get(document, "policies"), 0),
				"purpose_justification_required");
	if (document && !session)
		json_object_del(json_array_get(json_object_get(document, "applications"), 0),
				"session_duration");
	mem_free(policy);
	if (!document) {
		err_set(&err, E_INVALID, "this is no text in UTF-8");
		return cli_fail(&err);
	}
	if (ask_apply(c, document, false, false, &result, &err) < 0)
		return cli_fail(&err);
	int code = print_changes(c, result, false);
	if (cli_ask(c, "GET", PATH_DOCUMENT, NULL, &there, &err) == 0) {
		if (!json_object_get(there, "identity_providers"))
			fprintf(stderr,
				"adit-edge: note: nobody can sign in yet, for there is no way to; "
				"docs/sign-in.md shows which there are\n");
		json_decref(there);
	}
	return code;
}

/* --- Objects ---------------------------------------------------------------------------------- */

static const struct kind {
	const char *word, *path, *section;
} kinds[] = {
	{ "app", "apps", "applications" },
	{ "policy", "policies", "policies" },
	{ "group", "groups", "groups" },
	{ "idp", "identity_providers", "identity_providers" },
	{ "token", "service_tokens", "service_tokens" },
};

static const struct kind *kind_of(struct cli *c, const char *word)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i].word, word) == 0)
			return &kinds[i];
	(void)cli_usage_error(c, "'%.40s' is none of app, policy, group, idp, token", word);
	return NULL;
}

static int ask_list(struct cli *c, const char *path, json_t **ret, struct err *err)
{
	char *full = mem_printf("/admin/v1/access/%s", path);
	int r = cli_ask(c, "GET", full, NULL, ret, err);

	mem_free(full);
	return r;
}

/* By name or id; a new reference. */
static json_t *find(struct cli *c, const struct kind *kind, const char *word, struct err *err)
{
	json_t *list, *one, *found = NULL;
	size_t i, count = 0;

	if (ask_list(c, kind->path, &list, err) < 0)
		return NULL;
	json_array_foreach(list, i, one)
	{
		if (strcmp(member(one, "id"), word) != 0 && strcmp(member(one, "name"), word) != 0)
			continue;
		found = one;
		count++;
	}
	json_incref(found);
	json_decref(list);
	if (count == 1)
		return found;
	json_decref(found);
	err_set(err, count ? E_INVALID : E_NOT_FOUND,
		count ? "there are several with the name %.100s: say the id (`adit-edge access list "
			"%s --json`)"
		      : "there is no %.100s (`adit-edge access list %s` shows them)",
		word, kind->word);
	return NULL;
}

/* "a, b" of a list of texts, or of objects with names; owned. */
static char *joined(const json_t *list)
{
	char *all = mem_strdup("");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		char *more = mem_printf("%s%s%s", all, i ? ", " : "",
					json_is_string(one) ? json_string_value(one)
							    : member(one, "name"));
		mem_free(all);
		all = more;
	}
	return all;
}

/* Two columns beside the name: what tells the most of each kind. */
static void print_section(const json_t *list, const struct kind *kind)
{
	static const char *const titles[][3] = {
		{ "NAME", "PLACE", "POLICIES" }, { "NAME", "DECISION", "ASKS FOR" },
		{ "NAME", "RULES", "" },         { "NAME", "TYPE", "" },
		{ "NAME", "GOOD FOR", "" },
	};
	size_t which = (size_t)(kind - kinds), count = json_array_size(list);
	const char **cells = mem_alloc_array((count + 1) * 3, sizeof(*cells));
	char **owned = mem_alloc_array(count + 1, sizeof(*owned));

	memcpy(cells, titles[which], sizeof(titles[which]));
	for (size_t i = 0; i < count; i++) {
		const json_t *one = json_array_get(list, i);
		const char **row = &cells[(i + 1) * 3];
		row[0] = member(one, "name");
		row[1] = member(one, which == 0   ? "domain"
				     : which == 1 ? "decision"
				     : which == 3 ? "type"
						  : "duration");
		row[2] = "";
		if (which == 0)
			row[2] = owned[i] = joined(json_object_get(one, "policies"));
		if (which == 1 &&
		    json_is_true(json_object_get(one, "purpose_justification_required")))
			row[2] = "the reason";
		if (which == 2)
			row[1] = owned[i] =
				mem_printf("%zu", json_array_size(json_object_get(one, "include")));
	}
	cli_print_table(cells, count + 1, 3);
	for (size_t i = 0; i < count; i++)
		mem_free(owned[i]);
	mem_free(owned);
	mem_free((void *)cells);
}

int cli_access_list(struct cli *c)
{
	const struct kind *kind = c->word_count ? kind_of(c, c->words[0]) : &kinds[0];
	struct err err = { 0 };
	json_t *list;

	if (!kind)
		return EXIT_USAGE;
	if (c->is_json) {
		if (ask_list(c, kind->path, &list, &err) < 0)
			return cli_fail(&err);
		cli_print_json(list);
		json_decref(list);
		return EXIT_DONE;
	}
	if (cli_ask(c, "GET", PATH_DOCUMENT, NULL, &list, &err) < 0)
		return cli_fail(&err);
	if (json_array_size(json_object_get(list, kind->section)))
		print_section(json_object_get(list, kind->section), kind);
	else if (kind == &kinds[0])
		printf("Nothing is guarded. `adit-edge access protect HOSTNAME --allow WHO` changes that.\n");
	else
		printf("There is none yet.\n");
	json_decref(list);
	return EXIT_DONE;
}

int cli_access_show(struct cli *c)
{
	const struct kind *kind = kind_of(c, c->words[0]);
	struct err err = { 0 };

	if (!kind)
		return EXIT_USAGE;
	json_t *object = find(c, kind, c->words[1], &err);
	if (!object)
		return cli_fail(&err);
	cli_print_json(object);
	json_decref(object);
	return EXIT_DONE;
}

/* A request about one object: access/KIND/ID + suffix. The body's reference is taken. */
static int ask_about(struct cli *c, const char *method, const struct kind *kind, const char *word,
		     const char *suffix, json_t *body, json_t **ret, struct err *err)
{
	json_t *object = find(c, kind, word, err);

	if (!object) {
		json_decref(body);
		return err->code;
	}
	char *path =
		mem_printf("/admin/v1/access/%s/%s%s", kind->path, member(object, "id"), suffix);
	int r = cli_ask(c, method, path, body, ret, err);
	mem_free(path);
	json_decref(object);
	return r;
}

int cli_access_remove(struct cli *c)
{
	const struct kind *kind = kind_of(c, c->words[0]);
	struct err err = { 0 };

	if (!kind)
		return EXIT_USAGE;
	if (ask_about(c, "DELETE", kind, c->words[1], "", NULL, NULL, &err) < 0)
		return cli_fail(&err);
	if (kind == &kinds[0])
		printf("%s is guarded no more: whatever is routed there is open to everybody.\n",
		       c->words[1]);
	else
		printf("%s is gone.\n", c->words[1]);
	return EXIT_DONE;
}

int cli_access_revoke(struct cli *c)
{
	struct err err = { 0 };

	if (ask_about(c, "POST", &kinds[0], c->words[0], "/revoke", NULL, NULL, &err) < 0)
		return cli_fail(&err);
	printf("Who was let into %s is asked again.\n", c->words[0]);
	return EXIT_DONE;
}

int cli_access_ssh_ca(struct cli *c)
{
	struct err err = { 0 };
	json_t *ca;

	if (ask_about(c, "POST", &kinds[0], c->words[0], "/ca", NULL, &ca, &err) < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(ca);
	else
		printf("%s\n", member(ca, "public_key"));
	json_decref(ca);
	return EXIT_DONE;
}

int cli_access_rotate(struct cli *c)
{
	bool withdraws = cli_flag(c, "withdraw"), is_now = withdraws || cli_flag(c, "now");
	json_t *result;
	struct err err = { 0 };

	if (cli_ask(c, "POST", "/admin/v1/access/keys/rotate",
		    json_pack("{s:b, s:b}", "now", (int)is_now, "withdraw", (int)withdraws),
		    &result, &err) < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(result);
	else if (withdraws)
		printf("Tokens are signed with a new key; all that was signed before is void.\n");
	else if (*member(result, "signs_at"))
		printf("The next key is published. It signs from %s on; tokens of the old one stay good "
		       "until they end.\n",
		       member(result, "signs_at"));
	else
		printf("Tokens are signed with %s key; those of the old one stay good until they end.\n",
		       is_now ? "a new" : "the next");
	json_decref(result);
	return EXIT_DONE;
}

/* --- Service tokens ---------------------------------------------------------------------------- */

static int print_token(struct cli *c, json_t *token)
{
	if (c->is_json)
		cli_print_json(token);
	else
		printf("Service token %s, good until %s. The secret is shown this once:\n"
		       "CF-Access-Client-Id: %s\nCF-Access-Client-Secret: %s\n",
		       member(token, "name"),
		       *member(token, "expires_at") ? member(token, "expires_at") : "it is removed",
		       member(token, "client_id"), member(token, "client_secret"));
	json_decref(token);
	return EXIT_DONE;
}

int cli_access_token_add(struct cli *c)
{
	const char *duration = cli_flag(c, "duration");
	json_t *body = json_pack("{s:s, s:s}", "name", c->words[0], "duration",
				 duration ? duration : "8760h"),
	       *token;
	struct err err = { 0 };

	if (!body)
		err_set(&err, E_INVALID, "the name is no text in UTF-8");
	if (!body || cli_ask(c, "POST", "/admin/v1/access/service_tokens", body, &token, &err) < 0)
		return cli_fail(&err);
	return print_token(c, token);
}

int cli_access_token_rotate(struct cli *c)
{
	const char *grace = cli_flag(c, "grace");
	struct err err = { 0 };
	json_t *token;

	if (ask_about(c, "POST", &kinds[4], c->words[0], "/rotate",
		      json_pack("{s:s}", "grace", grace ? grace : "24h"), &token, &err) < 0)
		return cli_fail(&err);
	return print_token(c, token);
}

/* --- API tokens --------------------------------------------------------------------------------- */

int cli_access_api_add(struct cli *c)
{
	json_t *body = json_pack("{s:s}", "name", c->words[0]), *made;
	struct err err = { 0 };

	if (!body)
		err_set(&err, E_INVALID, "the name is no text in UTF-8");
	if (!body || cli_ask(c, "POST", "/admin/v1/access/api_tokens", body, &made, &err) < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(made);
	else
		printf("%s\n", member(made, "token"));
	json_decref(made);
	return EXIT_DONE;
}

int cli_access_api_list(struct cli *c)
{
	struct err err = { 0 };
	json_t *list, *one;
	size_t i;

	if (ask_list(c, "api_tokens", &list, &err) < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(list);
	else if (json_array_size(list) == 0)
		printf("There is none.\n");
	else
		json_array_foreach(list, i, one)
			printf("%s, made %s\n", member(one, "name"), member(one, "created_at"));
	json_decref(list);
	return EXIT_DONE;
}

int cli_access_api_remove(struct cli *c)
{
	char *path = cli_path("/admin/v1/access/api_tokens/", c->words[0], "");
	struct err err = { 0 };
	int r = path ? cli_ask(c, "DELETE", path, NULL, NULL, &err)
		     : err_set(&err, E_INVALID, "this is no name");

	mem_free(path);
	if (r < 0)
		return cli_fail(&err);
	printf("The token %s is good for nothing any more.\n", c->words[0]);
	return EXIT_DONE;
}

/* --- Who would be let in ------------------------------------------------------------------------ */

int cli_access_test(struct cli *c)
{
	const char *email = cli_flag(c, "email"), *app = cli_flag(c, "app");
	json_t *body, *identity = NULL, *groups = json_array(), *result, *policy;
	struct err err = { 0 };
	size_t i;

	for (i = 0; i < c->flag_count; i++)
		if (strcmp(c->flags[i].name, "group") == 0)
			json_array_append_new(groups, json_string(c->flags[i].value));
	if (!app) {
		json_decref(groups);
		return cli_usage_error(
			c, "--app is missing: its name, or where it is (app.example.com/admin)");
	}
	if (email)
		identity = json_pack("{s:s, s:s*, s:O}", "email", email, "idp", cli_flag(c, "idp"),
				     "groups", groups);
	json_decref(groups);
	body = json_pack("{s:s, s:o*, s:s*, s:s*, s:s*}", "app", app, "identity", identity, "ip",
			 cli_flag(c, "ip"), "service_token", cli_flag(c, "token"), "common_name",
			 cli_flag(c, "common-name"));
	if (cli_ask(c, "POST", "/admin/v1/access/test", body, &result, &err) < 0)
		return cli_fail(&err);
	bool passes = json_is_true(json_object_get(result, "passes"));
	if (c->is_json) {
		cli_print_json(result);
	} else {
		printf("%s: %s\n  %s\n", member(json_object_get(result, "application"), "name"),
		       member(result, "outcome"), member(result, "why"));
		if (json_is_string(json_object_get(result, "country")))
			printf("  country: %s\n", member(result, "country"));
		if (json_is_true(json_object_get(result, "purpose_justification_required")))
			printf("  once they have said why, which is kept in the audit log\n");
		json_array_foreach(json_object_get(result, "policies"), i, policy)
			printf("  %zu. %s (%s): %s\n", i + 1, member(policy, "name"),
			       member(policy, "decision"), member(policy, "holds"));
	}
	json_decref(result);
	return passes ? EXIT_DONE : EXIT_FAILED;
}

/* --- People ------------------------------------------------------------------------------------- */

int cli_access_user_list(struct cli *c)
{
	struct err err = { 0 };
	json_t *list;
	size_t i;

	if (ask_list(c, "people", &list, &err) < 0)
		return cli_fail(&err);
	size_t count = json_array_size(list);
	if (c->is_json) {
		cli_print_json(list);
	} else if (count == 0) {
		printf("Nobody has signed in yet, and nobody was added.\n");
	} else {
		const char **cells = mem_alloc_array((count + 1) * 4, sizeof(*cells));
		memcpy(cells, (const char *const[]){ "E-MAIL", "NAME", "PASSWORD", "LAST SEEN" },
		       4 * sizeof(*cells));
		for (i = 0; i < count; i++) {
			const json_t *one = json_array_get(list, i);
			const char **row = &cells[(i + 1) * 4];
			row[0] = member(one, "email");
			row[1] = member(one, "name");
			row[2] = json_is_true(json_object_get(one, "has_password")) ? "yes" : "no";
			row[3] = *member(one, "last_seen") ? member(one, "last_seen") : "never";
		}
		cli_print_table(cells, count + 1, 4);
		mem_free((void *)cells);
	}
	json_decref(list);
	return EXIT_DONE;
}

int cli_access_user_add(struct cli *c)
{
	const char *name = cli_flag(c, "name");
	json_t *body = json_pack("{s:s, s:s*}", "email", c->words[0], "name", name), *person;
	struct err err = { 0 };

	if (!body)
		err_set(&err, E_INVALID, "this is no text in UTF-8");
	if (!body || cli_ask(c, "POST", "/admin/v1/access/people", body, &person, &err) < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(person);
	else
		printf("%s is known. `adit-edge access user password %s` sets a password.\n",
		       c->words[0], c->words[0]);
	json_decref(person);
	return EXIT_DONE;
}

static int ask_person(struct cli *c, const char *method, const char *suffix, json_t *body,
		      const char *done)
{
	char *path = cli_path("/admin/v1/people/", c->words[0], suffix);
	struct err err = { 0 };
	int r = path ? cli_ask(c, method, path, body, NULL, &err)
		     : err_set(&err, E_INVALID, "this is no e-mail address");

	mem_free(path);
	if (r < 0)
		return cli_fail(&err);
	printf("%s %s\n", c->words[0], done);
	return EXIT_DONE;
}

int cli_access_user_revoke(struct cli *c)
{
	return ask_person(c, "POST", "/revoke", NULL, "is signed out everywhere.");
}

int cli_access_user_remove(struct cli *c)
{
	return ask_person(c, "DELETE", "", NULL, "is forgotten, and signed out everywhere.");
}

int cli_access_user_password(struct cli *c)
{
	char password[CLI_PASSWORD_BYTES] = "";
	struct err err = { 0 };

	if (!cli_read_password(password, &err)) {
		secret_wipe(password, sizeof(password));
		return cli_fail(&err);
	}
	json_t *body = json_pack("{s:s}", "password", password);
	secret_wipe(password, sizeof(password));
	if (!body) {
		err_set(&err, E_INVALID, "the password is not UTF-8");
		return cli_fail(&err);
	}
	return ask_person(c, "POST", "/password", body,
			  "has a new password, and is signed out everywhere.");
}

/* --- The audit log ------------------------------------------------------------------------------- */

/* What people typed and services sent is without control characters (edge/access/purpose.h, oauth.c). */
static void print_audit(const json_t *one)
{
	static const char *const told[] = { "purpose", "why", "url", "error" };
	const json_t *detail = json_object_get(one, "detail");

	printf("%s %s %s by %s%s%s: %s", member(one, "at"), member(one, "action"),
	       member(one, "subject"), member(one, "actor"), *member(one, "address") ? " from " : "",
	       member(one, "address"), member(one, "outcome"));
	for (size_t i = 0; i < ARRAY_LEN(told); i++)
		if (*member(detail, told[i]))
			printf(" (%s: %s)", told[i], member(detail, told[i]));
	printf("\n");
}

int cli_access_audit(struct cli *c)
{
	const char *limit = cli_flag(c, "limit"), *since = cli_flag(c, "since");
	char *path = mem_printf("access/audit?limit=%s%s%s", limit ? limit : "50",
				since ? "&since=" : "", since ? since : "");
	char *full = mem_printf("/admin/v1/%s", path);
	struct err err = { 0 };
	json_t *list, *one;
	size_t i;
	int r = cli_ask(c, "GET", full, NULL, &list, &err);

	mem_free(full);
	mem_free(path);
	if (r < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(list);
	else
		json_array_foreach(list, i, one) print_audit(one);
	json_decref(list);
	return EXIT_DONE;
}
