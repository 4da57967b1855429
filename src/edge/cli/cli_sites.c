/* How visitors of a zone or a hostname are served. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "edge/cli/command.h"

/* A hundred authorities or so. */
#define CA_MAX_BYTES (128 * 1024)

/* The file as text; NULL after having complained. */
static json_t *read_ca(const char *path)
{
	char *text = mem_alloc(CA_MAX_BYTES + 1);
	struct err err = { 0 };
	json_t *value = NULL;
	FILE *file = fopen(path, "re");

	if (!file) {
		err_set_errno(&err, E_IO, errno, "%s", path);
	} else {
		size_t len = fread(text, 1, CA_MAX_BYTES + 1, file);
		if (ferror(file))
			err_set_errno(&err, E_IO, errno, "%s", path);
		else if (len > CA_MAX_BYTES)
			err_set(&err, E_LIMIT, "%s has more than %d bytes", path, CA_MAX_BYTES);
		else
			value = json_stringn(text, len);
		if (!value && !err.code)
			err_set(&err, E_INVALID, "%s is no text", path);
		fclose(file);
	}
	mem_free(text);
	if (!value)
		cli_fail(&err);
	return value;
}

/* "client-ca=FILE" into its member. An exit code. */
static int read_word(struct cli *c, const char *word, json_t *body)
{
	static const struct {
		const char *key, *member;
	} keys[] = {
		{ "hsts", "hsts" },
		{ "min-tls", "min_tls" },
		{ "client-cert", "client_cert" },
		{ "client-ca", "client_ca" },
		{ "passthrough", "passthrough" },
	};
	size_t len = strcspn(word, "="), i = 0;
	const char *text = word[len] ? word + len + 1 : "";
	json_t *value;

	while (i < ARRAY_LEN(keys) &&
	       (strlen(keys[i].key) != len || strncmp(keys[i].key, word, len) != 0))
		i++;
	if (i == ARRAY_LEN(keys) || !text[0])
		return cli_usage_error(
			c,
			"'%.80s' is none of hsts=, min-tls=, client-cert=, client-ca=, passthrough=",
			word);
	if (strcmp(text, "inherit") == 0)
		value = json_null();
	else
		value = strcmp(keys[i].key, "client-ca") ? json_string(text) : read_ca(text);
	if (!value)
		return EXIT_FAILED;
	(void)json_object_set_new(body, keys[i].member, value);
	return EXIT_DONE;
}

static void print_setting(const char *label, const json_t *own, const char *effective)
{
	printf("  %-24s %s%s\n", label, effective, json_is_null(own) ? " (inherited)" : "");
}

static size_t count_certificates(const char *pem)
{
	size_t count = 0;

	for (; (pem = strstr(pem, "BEGIN CERTIFICATE-")); pem++)
		count++;
	return count;
}

static const char *member_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static void print_site(const json_t *site, bool is_zone)
{
	const json_t *effective = json_object_get(site, "effective");
	const json_t *ca = json_object_get(site, "client_ca");

	printf("Visitors of %s are served with:\n",
	       member_text(site, is_zone ? "zone" : "hostname"));
	print_setting("hsts", is_zone ? effective : json_object_get(site, "hsts"),
		      member_text(effective, "hsts"));
	print_setting("min-tls", is_zone ? effective : json_object_get(site, "min_tls"),
		      member_text(effective, "min_tls"));
	print_setting("client-cert", is_zone ? effective : json_object_get(site, "client_cert"),
		      member_text(effective, "client_cert"));
	if (json_is_string(json_object_get(site, "passthrough")))
		printf("  %-24s %s\n", "passthrough", member_text(site, "passthrough"));
	if (json_is_string(ca))
		printf("  %-24s %zu\n", "client-ca, certificates",
		       count_certificates(json_string_value(ca)));
}

static int ask(struct cli *c, bool is_zone, json_t *body)
{
	struct err err = { 0 };
	json_t *site;
	char *path =
		cli_path(is_zone ? "/admin/v1/zones/" : "/admin/v1/hosts/", c->words[0], "/site");
	int rc = path ? cli_ask(c, body ? "PATCH" : "GET", path, body, &site, &err)
		      : err_set(&err, E_INVALID, "this is no name");

	if (!path)
		json_decref(body);
	mem_free(path);
	if (rc < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(site);
	else
		print_site(site, is_zone);
	json_decref(site);
	return EXIT_DONE;
}

static int set(struct cli *c, bool is_zone)
{
	json_t *body = json_object();

	for (size_t i = 1; i < c->word_count; i++) {
		int code = read_word(c, c->words[i], body);
		if (code != EXIT_DONE) {
			json_decref(body);
			return code;
		}
	}
	return ask(c, is_zone, body);
}

int cli_zone_set(struct cli *c)
{
	return set(c, true);
}

int cli_zone_show(struct cli *c)
{
	return ask(c, true, NULL);
}

int cli_route_set(struct cli *c)
{
	return set(c, false);
}

int cli_route_show(struct cli *c)
{
	return ask(c, false, NULL);
}
