/* Records of zones, DNSSEC, and other name servers. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/secret.h"
#include "edge/cli/command.h"

/* Of a line of standard input; base64 of what any of the algorithms makes use of. */
#define SECRET_BYTES_MAX 512

static const char *member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* Takes the list. */
static int print_list(struct cli *c, json_t *list, const char *const *names,
		      const char *const *titles, size_t columns, const char *empty)
{
	size_t count = json_array_size(list);

	if (c->is_json) {
		cli_print_json(list);
	} else if (count == 0) {
		printf("%s\n", empty);
	} else {
		const char **cells = mem_alloc_array((count + 1) * columns, sizeof(*cells));
		char **numbers = mem_alloc_array((count + 1) * columns, sizeof(*numbers));
		memcpy(cells, titles, columns * sizeof(*cells));
		for (size_t i = 0; i < count; i++) {
			for (size_t k = 0; k < columns; k++) {
				const json_t *value =
					json_object_get(json_array_get(list, i), names[k]);
				size_t at = (i + 1) * columns + k;
				if (json_is_integer(value))
					numbers[at] = mem_printf(
						"%lld", (long long)json_integer_value(value));
				cells[at] = numbers[at]             ? numbers[at]
					    : json_is_string(value) ? json_string_value(value)
								    : "-";
			}
		}
		cli_print_table(cells, count + 1, columns);
		for (size_t i = 0; i < (count + 1) * columns; i++)
			mem_free(numbers[i]);
		mem_free(numbers);
		mem_free((void *)cells);
	}
	json_decref(list);
	return EXIT_DONE;
}

/* --- Records ---------------------------------------------------------------------------------- */

/* The words from the i-th on, as one text. Owned. */
static char *rest_of(const struct cli *c, size_t i)
{
	char *all = mem_strdup(c->words[i]);

	for (i++; i < c->word_count; i++) {
		char *more = mem_printf("%s %s", all, c->words[i]);
		mem_free(all);
		all = more;
	}
	return all;
}

/* Records count nowhere else; who adds one should know. */
static void warn_when_off(struct cli *c)
{
	if (c->has_config && c->config.dns.count == 0)
		fprintf(stderr,
			"adit-edge: note: this edge does not answer for its zones (dns: off); see "
			"docs/dns.md\n");
}

int cli_dns_add(struct cli *c)
{
	const char *ttl = cli_flag(c, "ttl");
	uint64_t seconds = 0;
	struct err err = { 0 };
	json_t *record;

	if (ttl && (!bytes_to_u64(bytes_str(ttl), &seconds) || seconds > INT32_MAX))
		return cli_usage_error(c, "--ttl is a number of seconds, not '%.40s'", ttl);
	char *data = rest_of(c, 2);
	json_t *body = json_pack("{s:s, s:s, s:s}", "name", c->words[0], "type", c->words[1],
				 "data", data);
	mem_free(data);
	if (body && ttl)
		(void)json_object_set_new(body, "ttl", json_integer((json_int_t)seconds));
	int rc = body ? cli_ask(c, "POST", "/admin/v1/dns", body, &record, &err)
		      : err_set(&err, E_INVALID, "the record is no text in UTF-8");
	if (rc < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(record);
	else
		printf("%s. %lld IN %s %s\n", member(record, "name"),
		       (long long)json_integer_value(json_object_get(record, "ttl")),
		       member(record, "type"), member(record, "data"));
	json_decref(record);
	warn_when_off(c);
	return EXIT_DONE;
}

/* A GET with the zone as a parameter if there is one. */
static int ask_of_zone(struct cli *c, const char *path, json_t **ret, struct err *err)
{
	char *prefix = mem_printf("%s?zone=", path);
	char *full = c->word_count ? cli_path(prefix, c->words[0], "") : mem_strdup(path);
	int rc = full ? cli_ask(c, "GET", full, NULL, ret, err)
		      : err_set(err, E_INVALID, "this is no zone");

	mem_free(prefix);
	mem_free(full);
	return rc;
}

int cli_dns_list(struct cli *c)
{
	static const char *const names[] = { "name", "ttl", "type", "from", "data" };
	static const char *const titles[] = { "NAME", "TTL", "TYPE", "FROM", "DATA" };
	struct err err = { 0 };
	json_t *list;

	if (ask_of_zone(c, "/admin/v1/dns", &list, &err) < 0)
		return cli_fail(&err);
	return print_list(c, list, names, titles, ARRAY_LEN(names),
			  "There are no records and no routes yet.");
}

int cli_dns_remove(struct cli *c)
{
	char *data = c->word_count > 2 ? rest_of(c, 2) : NULL;
	json_t *body = json_pack("{s:s, s:s?, s:s?}", "name", c->words[0], "type",
				 c->word_count > 1 ? c->words[1] : NULL, "data", data);
	struct err err = { 0 };
	json_t *result;

	mem_free(data);
	int rc = body ? cli_ask(c, "POST", "/admin/v1/dns_removal", body, &result, &err)
		      : err_set(&err, E_INVALID, "the record is no text in UTF-8");
	if (rc < 0)
		return cli_fail(&err);
	long long count = json_integer_value(json_object_get(result, "removed"));
	printf("%lld record%s of %s removed.\n", count, count == 1 ? "" : "s", c->words[0]);
	json_decref(result);
	return EXIT_DONE;
}

int cli_route_remove(struct cli *c)
{
	struct err err = { 0 };
	char *path = cli_path("/admin/v1/routes/", c->words[0], "");
	int rc = path ? cli_ask(c, "DELETE", path, NULL, NULL, &err)
		      : err_set(&err, E_INVALID, "this is no hostname");

	mem_free(path);
	if (rc < 0)
		return cli_fail(&err);
	printf("%s is routed no more.\n", c->words[0]);
	return EXIT_DONE;
}

/* --- DNSSEC ----------------------------------------------------------------------------------- */

/* "example.com. 3600 IN DS 48240 13 2 4F…": registrars ask for the parts. */
static void print_ds(const json_t *item)
{
	const char *ds = member(item, "ds"), *rest = strstr(ds, "DS");
	char digest[129] = "";
	unsigned tag = 0, algorithm = 0, type = 0;

	printf("%s\n", ds);
	if (rest && sscanf(rest, "DS %u %u %u %128s", &tag, &algorithm, &type, digest) == 4)
		printf("  key tag %u, algorithm %u, digest type %u\n  digest %s\n", tag, algorithm,
		       type, digest);
}

int cli_dns_ds(struct cli *c)
{
	struct err err = { 0 };
	json_t *list, *item;
	size_t i;

	if (cli_load_config(c, &err) < 0)
		return cli_fail(&err);
	if (!c->config.dns_sign) {
		err_set(&err, E_INVALID,
			"zones are not signed (dns-sign: off): with a DS record nobody would believe them");
		return cli_fail(&err);
	}
	if (ask_of_zone(c, "/admin/v1/dns_ds", &list, &err) < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(list);
	else
		json_array_foreach(list, i, item) print_ds(item);
	json_decref(list);
	warn_when_off(c);
	return EXIT_DONE;
}

/* --- Keys ------------------------------------------------------------------------------------- */

/* One line of standard input. False after having complained. */
static bool read_secret(char secret[SECRET_BYTES_MAX])
{
	struct err err = { 0 };

	if (!fgets(secret, SECRET_BYTES_MAX, stdin))
		secret[0] = 0;
	secret[strcspn(secret, "\r\n")] = 0;
	if (secret[0])
		return true;
	err_set(&err, E_INVALID, "standard input has no secret");
	cli_fail(&err);
	return false;
}

static int print_key(FILE *out, const json_t *key)
{
	fprintf(out, "key \"%s\" {\n\talgorithm %s;\n\tsecret \"%s\";\n};\n", member(key, "name"),
		member(key, "algorithm"), member(key, "secret"));
	return fflush(out);
}

/* A new file that nobody else can read. */
static FILE *open_output(const char *path, struct err *err)
{
	/* allowed: a plain file */
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (!file)
		err_set_errno(err, E_IO, errno, "%s", path);
	if (!file && fd >= 0)
		close(fd); /* allowed: a plain file */
	return file;
}

int cli_dns_key_add(struct cli *c)
{
	bool is_given = cli_flag(c, "stdin") != NULL;
	const char *output = cli_flag(c, "output");
	char secret[SECRET_BYTES_MAX] = "";
	struct err err = { 0 };
	FILE *file = NULL;
	json_t *key;

	if (is_given && !read_secret(secret))
		return EXIT_FAILED;
	if (output && !is_given && !(file = open_output(output, &err)))
		return cli_fail(&err);
	json_t *body = json_pack("{s:s, s:s?, s:s?}", "name", c->words[0], "algorithm",
				 cli_flag(c, "algorithm"), "secret", is_given ? secret : NULL);
	secret_wipe(secret, sizeof(secret));
	int rc = body ? cli_ask(c, "POST", "/admin/v1/dns_keys", body, &key, &err)
		      : err_set(&err, E_INVALID, "this is no text in UTF-8");
	if (rc < 0) {
		if (file) {
			fclose(file);
			unlink(output);
		}
		return cli_fail(&err);
	}
	int code = EXIT_DONE;
	bool is_written = file != NULL;
	if (is_written)
		code = print_key(file, key) | fclose(file) ? EXIT_FAILED : EXIT_DONE;
	if (is_given || is_written)
		(void)json_object_del(key, "secret");
	if (c->is_json)
		cli_print_json(key);
	else if (is_given || is_written)
		printf("Key %s is there%s%s.\n", member(key, "name"), is_written ? ", and in " : "",
		       is_written ? output : "");
	else
		print_key(stdout, key);
	json_decref(key);
	if (code != EXIT_DONE)
		fprintf(stderr,
			"adit-edge: %s could not be written: remove the key, and try again\n",
			output);
	return code;
}

int cli_dns_key_list(struct cli *c)
{
	static const char *const names[] = { "name", "algorithm", "created_at" };
	static const char *const titles[] = { "NAME", "ALGORITHM", "CREATED" };
	struct err err = { 0 };
	json_t *list;

	if (cli_ask(c, "GET", "/admin/v1/dns_keys", NULL, &list, &err) < 0)
		return cli_fail(&err);
	return print_list(c, list, names, titles, ARRAY_LEN(names),
			  "There is no key yet. `adit-edge dns key add NAME` makes one.");
}

static int remove_one(struct cli *c, const char *prefix, const char *what)
{
	struct err err = { 0 };
	char *path = cli_path(prefix, c->words[0], "");
	int rc = path ? cli_ask(c, "DELETE", path, NULL, NULL, &err)
		      : err_set(&err, E_INVALID, "this is no name");

	mem_free(path);
	if (rc < 0)
		return cli_fail(&err);
	printf("%s %s is gone.\n", what, c->words[0]);
	return EXIT_DONE;
}

int cli_dns_key_remove(struct cli *c)
{
	return remove_one(c, "/admin/v1/dns_keys/", "Key");
}

/* --- Secondaries ------------------------------------------------------------------------------ */

int cli_dns_secondary_add(struct cli *c)
{
	const char *key = cli_flag(c, "key");
	struct err err = { 0 };
	json_t *result;

	if (!key)
		return cli_usage_error(c,
				       "--key is missing; `adit-edge dns key add NAME` makes one");
	json_t *body = json_pack("{s:s, s:s}", "address", c->words[0], "key", key);
	int rc = body ? cli_ask(c, "POST", "/admin/v1/dns_secondaries", body, &result, &err)
		      : err_set(&err, E_INVALID, "this is no text in UTF-8");
	if (rc < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(result);
	else
		printf("%s may have the zones, signed with %s.\n", member(result, "address"),
		       member(result, "key"));
	json_decref(result);
	return EXIT_DONE;
}

int cli_dns_secondary_list(struct cli *c)
{
	static const char *const names[] = { "address", "key", "created_at" };
	static const char *const titles[] = { "ADDRESS", "KEY", "CREATED" };
	struct err err = { 0 };
	json_t *list;

	if (cli_ask(c, "GET", "/admin/v1/dns_secondaries", NULL, &list, &err) < 0)
		return cli_fail(&err);
	return print_list(c, list, names, titles, ARRAY_LEN(names), "There is no secondary.");
}

int cli_dns_secondary_remove(struct cli *c)
{
	return remove_one(c, "/admin/v1/dns_secondaries/", "Secondary");
}
