/* Certificates: which there are, ordering them, bringing one's own. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/cli/command.h"
#include "store/files.h"

/* A chain and its key. */
#define FILE_BYTES (96 * 1024)
/* An order takes seconds; an authority that makes people wait takes minutes. */
#define RENEW_SECONDS 240
#define LOOK_MS 500

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* --- list ------------------------------------------------------------------------------------- */

/* "a.example.com, b.example.com and 3 more"; owned. */
static char *names_text(const json_t *names)
{
	size_t count = json_array_size(names);
	const char *first = count ? json_string_value(json_array_get(names, 0)) : "";

	if (count < 2)
		return mem_strdup(first);
	if (count == 2)
		return mem_printf("%s, %s", first, json_string_value(json_array_get(names, 1)));
	return mem_printf("%s and %zu more", first, count - 1);
}

static void print_list(const json_t *list)
{
	static const char *const titles[] = { "NAMES", "SOURCE", "ISSUER", "EXPIRES", "STATE" };
	size_t columns = ARRAY_LEN(titles), count = json_array_size(list), i;
	const char **cells = mem_alloc_array((count + 1) * columns, sizeof(*cells));
	char **owned = mem_alloc_array(2 * count + 1, sizeof(*owned));
	json_t *item;

	memcpy(cells, titles, sizeof(titles));
	json_array_foreach(list, i, item)
	{
		const char **row = cells + (i + 1) * columns;
		const char *expires = text_of(item, "expires_at");
		row[0] = owned[2 * i] = names_text(json_object_get(item, "names"));
		row[1] = text_of(item, "source");
		row[2] = text_of(item, "issuer")[0] ? text_of(item, "issuer") : "-";
		row[3] = owned[2 * i + 1] = mem_printf("%.10s", expires[0] ? expires : "-");
		row[4] = text_of(item, "state");
	}
	cli_print_table(cells, count + 1, columns);
	json_array_foreach(list, i, item)
	{
		if (text_of(item, "error")[0])
			printf("\n%s: %s\n", owned[2 * i], text_of(item, "error"));
		if (text_of(item, "again_at")[0])
			printf("  tried again at %.19sZ\n", text_of(item, "again_at"));
	}
	for (i = 0; i < 2 * count; i++)
		mem_free(owned[i]);
	mem_free(owned);
	mem_free((void *)cells);
}

int cli_tls_list(struct cli *c)
{
	struct err err = { 0 };
	json_t *list;

	if (cli_ask(c, "GET", "/admin/v1/tls", NULL, &list, &err) < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(list);
	else if (json_array_size(list) == 0)
		printf("There is no certificate yet. `adit-edge run` makes those that are needed.\n");
	else
		print_list(list);
	json_decref(list);
	return EXIT_DONE;
}

/* --- renew ------------------------------------------------------------------------------------ */

static bool is_meant(const json_t *item, const char *name)
{
	const json_t *names = json_object_get(item, "names");

	if (strcmp(text_of(item, "source"), "acme") != 0)
		return false;
	if (!name || strcmp(text_of(item, "name"), name) == 0)
		return true;
	for (size_t i = 0; i < json_array_size(names); i++)
		if (strcasecmp(json_string_value(json_array_get(names, i)), name) == 0)
			return true;
	return false;
}

/* Those that are meant and not under way any more. */
static json_t *ended(const json_t *list, const char *name, bool *ret_all)
{
	json_t *done = json_array();
	json_t *item;
	size_t i;

	*ret_all = true;
	json_array_foreach(list, i, item)
	{
		const char *state = text_of(item, "state");
		if (!is_meant(item, name) || strcmp(state, "not ordered") == 0)
			continue;
		if (strcmp(state, "queued") == 0 || strcmp(state, "ordering") == 0)
			*ret_all = false;
		else
			json_array_append(done, item);
	}
	return done;
}

static int print_renewed(const json_t *done, bool is_all)
{
	int status = is_all ? EXIT_DONE : EXIT_FAILED;
	json_t *item;
	size_t i;

	json_array_foreach(done, i, item)
	{
		char *names = names_text(json_object_get(item, "names"));
		if (strcmp(text_of(item, "state"), "failed") == 0) {
			(void)fprintf(stderr, "adit-edge: %s: %s\n", names, text_of(item, "error"));
			status = EXIT_FAILED;
		} else {
			printf("%s: issued by %s, good until %.10s\n", names,
			       text_of(item, "issuer"), text_of(item, "expires_at"));
		}
		mem_free(names);
	}
	if (!is_all)
		(void)fprintf(stderr, "adit-edge: others are under way still: adit-edge tls list\n");
	return status;
}

int cli_tls_renew(struct cli *c)
{
	const char *name = c->word_count ? c->words[0] : NULL;
	json_t *body = json_object(), *list, *done = NULL;
	struct err err = { 0 };
	bool is_all = false;

	if (name)
		json_object_set_new(body, "name", json_string(name));
	if (cli_ask(c, "POST", "/admin/v1/tls/renew", body, NULL, &err) < 0)
		return cli_fail(&err);
	for (usec end = clock_now() + RENEW_SECONDS * USEC_PER_SEC; !is_all && clock_now() < end;) {
		(void)poll(NULL, 0, LOOK_MS);
		json_decref(done);
		done = NULL;
		if (cli_ask(c, "GET", "/admin/v1/tls", NULL, &list, &err) < 0)
			return cli_fail(&err);
		done = ended(list, name, &is_all);
		json_decref(list);
	}
	int status = print_renewed(done, is_all);
	json_decref(done);
	return status;
}

/* --- import and remove ------------------------------------------------------------------------ */

static int add_file(struct buf *out, const char *path, struct err *err)
{
	char *text = mem_alloc(FILE_BYTES);
	size_t len = 0;
	int r = file_load(path, text, FILE_BYTES, &len, err);

	if (r == 0 && (buf_append(out, bytes_of(text, len)) < 0 || buf_append_str(out, "\n") < 0))
		r = err_set(err, E_LIMIT, "%s is too large", path);
	if (r == 0 && memchr(text, 0, len))
		r = err_set(
			err, E_INVALID,
			"%s is no PEM text; openssl turns other forms into it (openssl pkcs12 -in "
			"FILE -nodes -out NEW)",
			path);
	secret_wipe(text, FILE_BYTES);
	mem_free(text);
	return r;
}

static void print_imported(const json_t *result)
{
	char *names = names_text(json_object_get(result, "names"));

	printf("%s: imported, issued by %s, good until %.10s. It is served now.\n", names,
	       text_of(result, "issuer"), text_of(result, "expires_at"));
	if (json_integer_value(json_object_get(result, "certificates")) == 1)
		printf("The file has no certificate beside the server's own. If its issuer is no root, "
		       "add the\nissuer's certificate to the file and import it again: some clients "
		       "need it.\n");
	mem_free(names);
}

int cli_tls_import(struct cli *c)
{
	const char *key = cli_flag(c, "key");
	struct err err = { 0 };
	json_t *result = NULL;
	struct buf pem;
	int rc;

	/* At once, so that no copy of the key is left behind. */
	buf_init(&pem, 2 * FILE_BYTES + 8);
	BUG_IF(buf_reserve(&pem, 2 * FILE_BYTES + 8) < 0);
	rc = add_file(&pem, c->words[0], &err);
	if (rc == 0 && key)
		rc = add_file(&pem, key, &err);
	if (rc == 0) {
		json_t *body = json_pack("{s:s%}", "pem", (const char *)pem.ptr, pem.len);
		rc = body ? cli_ask(c, "POST", "/admin/v1/tls", body, &result, &err)
			  : err_set(&err, E_INVALID, "%s is no PEM text", c->words[0]);
	}
	secret_wipe(pem.ptr, pem.len);
	buf_done(&pem);
	if (rc < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(result);
	else
		print_imported(result);
	json_decref(result);
	return EXIT_DONE;
}

int cli_tls_remove(struct cli *c)
{
	char *path = cli_path("/admin/v1/tls/", c->words[0], "");
	struct err err = { 0 };
	json_t *result = NULL;
	int rc = path ? cli_ask(c, "DELETE", path, NULL, &result, &err)
		      : err_set(&err, E_INVALID, "this is no name");

	mem_free(path);
	if (rc < 0)
		return cli_fail(&err);
	printf("The %s certificate of %s is gone.%s\n", text_of(result, "source"), c->words[0],
	       strcmp(text_of(result, "source"), "acme") == 0
		       ? " It is ordered again as long as the name is routed."
		       : "");
	json_decref(result);
	return EXIT_DONE;
}
