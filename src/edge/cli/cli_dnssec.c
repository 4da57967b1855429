/* DNSSEC keys of zones, and how they are rolled. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "edge/cli/command.h"

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static long long number_of(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static void print_wait(const json_t *o)
{
	if (*text_of(o, "until"))
		printf("  Until %s at least; then it goes on by itself.\n", text_of(o, "until"));
}

static void print_step(const json_t *o)
{
	const char *zone = text_of(o, "zone"), *step = text_of(o, "step");
	long long tag = number_of(o, "key_tag"), new_tag = number_of(o, "new_key_tag");

	if (strcmp(step, "published") == 0) {
		printf("%s: key %lld signs. The new key %lld is made known to resolvers.\n", zone,
		       tag, new_tag);
		print_wait(o);
		printf("  Leave the DS record at the parent as it is:\n    %s\n", text_of(o, "ds"));
	} else if (strcmp(step, "ds") == 0) {
		printf("%s: the new key %lld signs; the old one, %lld, is there still.\n", zone,
		       new_tag, tag);
		printf("  The parent zone needs this DS record:\n    %s\n  in place of\n    %s\n",
		       text_of(o, "new_ds"), text_of(o, "ds"));
		printf("  This edge asks its resolver whether it is there. To say so yourself:\n"
		       "    adit-edge dns dnssec ds-seen %s\n",
		       zone);
	} else if (strcmp(step, "retiring") == 0) {
		printf("%s: the new key %lld signs, and the parent has its DS record (says: %s). The old "
		       "key, %lld, stays while resolvers may have the old DS record.\n",
		       zone, new_tag, text_of(o, "ds_seen_by"), tag);
		print_wait(o);
	} else {
		printf("%s: key %lld signs; no roll is under way.\n    %s\n", zone, tag,
		       text_of(o, "ds"));
	}
}

static bool is_signed(struct cli *c)
{
	struct err err = { 0 };

	if (cli_load_config(c, &err) < 0) {
		cli_fail(&err);
		return false;
	}
	if (c->config.dns_sign)
		return true;
	err_set(&err, E_INVALID, "zones are not signed (dns-sign: off)");
	cli_fail(&err);
	return false;
}

static void warn_when_off(const struct cli *c)
{
	if (c->config.dns.count == 0)
		fprintf(stderr,
			"adit-edge: note: this edge does not answer for its zones (dns: off), and rolls no "
			"keys\n");
}

int cli_dnssec_status(struct cli *c)
{
	char *path = c->word_count ? cli_path("/admin/v1/dnssec?zone=", c->words[0], "")
				   : mem_strdup("/admin/v1/dnssec");
	struct err err = { 0 };
	json_t *list = NULL, *item;
	size_t i;

	if (!is_signed(c)) {
		mem_free(path);
		return EXIT_FAILED;
	}
	int r = path ? cli_ask(c, "GET", path, NULL, &list, &err)
		     : err_set(&err, E_INVALID, "this is no zone");
	mem_free(path);
	if (r < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(list);
	else if (json_array_size(list) == 0)
		printf("There is no zone yet.\n");
	else
		json_array_foreach(list, i, item) print_step(item);
	json_decref(list);
	warn_when_off(c);
	return EXIT_DONE;
}

static int change(struct cli *c, const char *method, const char *suffix)
{
	char *path = cli_path("/admin/v1/dnssec/", c->words[0], suffix);
	struct err err = { 0 };
	json_t *result = NULL;

	if (!is_signed(c)) {
		mem_free(path);
		return EXIT_FAILED;
	}
	int r = path ? cli_ask(c, method, path, NULL, &result, &err)
		     : err_set(&err, E_INVALID, "this is no zone");
	mem_free(path);
	if (r < 0)
		return cli_fail(&err);
	if (c->is_json)
		cli_print_json(result);
	else
		print_step(result);
	json_decref(result);
	warn_when_off(c);
	return EXIT_DONE;
}

int cli_dnssec_roll(struct cli *c)
{
	return change(c, "POST", "/roll");
}

int cli_dnssec_seen(struct cli *c)
{
	return change(c, "POST", "/ds_seen");
}

int cli_dnssec_cancel(struct cli *c)
{
	return change(c, "DELETE", "/roll");
}
