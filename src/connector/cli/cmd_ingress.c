/* `tunnel ingress validate` and `tunnel ingress rule`. */
#include <stdlib.h>

#include "base/mem.h"
#include "connector/cli/config_file.h"

#define NO_CONFIG                                                                                      \
	"No configuration file was found. Please create one, or use the --config flag to specify its " \
	"filepath. You can use the help command to learn more about configuration files"

struct unknown_list {
	char *text; /* owned; lines */
	size_t count;
};

static void on_unknown(void *user, const char *text)
{
	struct unknown_list *list = user;
	char *longer = mem_printf("%s  %s\n", list->text ? list->text : "", text);

	mem_free(list->text);
	list->text = longer;
	list->count++;
}

static int validate(struct cli *cli, const struct yaml_node *root, enum ingress_form form,
		    const char *file)
{
	struct unknown_list unknown = { 0 };
	struct err err = { 0 };
	struct ingress *in = config_file_ingress(root, form, file, &err);

	if (in && settings_is_set(&cli->settings, FLAG_URL)) {
		in = ingress_unref(in);
		err_set(&err, E_INVALID,
			"You can't set the --url flag (or $TUNNEL_URL) when using multiple-origin ingress "
			"rules");
	}
	if (!in)
		return cli_failed(cli, &err);
	for (size_t i = 0; i < ingress_warning_count(in); i++)
		(void)printf("Warning: %s\n", ingress_warning(in, i));
	for (size_t i = 0; i < FLAG_COUNT; i++)
		if (settings_is_in_vain(&cli->settings, (enum flag_id)i))
			(void)printf("Warning: %s is not supported yet and has no effect\n",
				     flag_get((enum flag_id)i)->name);
	config_file_unknown(root, in, on_unknown, &unknown);
	ingress_unref(in);
	if (!unknown.count) {
		(void)puts("OK");
		return 0;
	}
	/* The stock client warns and says that all is well. A misspelt key is a setting that is not in force. */
	(void)fflush(stdout);
	(void)fprintf(stderr, "Validation failed: unknown keys in the configuration:\n%s",
		      unknown.text);
	mem_free(unknown.text);
	return EXIT_FAILURE;
}

int cmd_ingress_validate(struct cli *cli)
{
	const char *json = settings_text(&cli->settings, FLAG_INGRESS_JSON);
	struct err err = { 0 };

	if (cli->line.arg_count)
		return cli_usage(
			cli, "\"@ tunnel ingress validate\" takes no argument; give the file with "
			     "--config.");
	if (settings_is_set(&cli->settings, FLAG_INGRESS_JSON)) {
		(void)puts("Validating rules from cmdline flag --json");
		struct yaml_doc *doc = yaml_parse(bytes_str(json), "--json", &err);
		if (!doc)
			return cli_failed(cli, &err);
		int code = validate(cli, yaml_root(doc), INGRESS_JSON, "--json");
		yaml_free(doc);
		return code;
	}
	if (!cli->config) {
		err_set(&err, E_NOT_FOUND, NO_CONFIG);
		return cli_failed(cli, &err);
	}
	(void)printf("Validating rules from %s\n", cli->config_path);
	return validate(cli, yaml_root(cli->config), INGRESS_YAML, cli->config_path);
}

/* ------------------------------------------------------------------------------------------ */

static int hex_digit(uint8_t c)
{
	c = bytes_lower(c);
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "https://host:port/path?query" as host and decoded path; "host/path" has a host too, as people type it,
 * but the stock client refuses it, for it takes the whole as a path. False: neither scheme nor host. */
static bool url_split(const char *url, struct bytes *ret_host, struct buf *path)
{
	struct bytes rest = bytes_str(url);
	const char *separator = strstr(url, "//");
	size_t scheme = bytes_index(rest, ':');
	size_t end = 0;

	if (!separator || (separator != url && (size_t)(separator - url) != scheme + 1))
		return false;
	rest = bytes_from(rest, (size_t)(separator - url) + 2);
	while (end < rest.len && !strchr("/?#", rest.ptr[end]))
		end++;
	struct bytes host = bytes_first(rest, end);
	size_t at = bytes_index(host, '@');
	*ret_host = at < host.len ? bytes_from(host, at + 1) : host;
	rest = bytes_from(rest, end);
	for (size_t i = 0; i < rest.len && rest.ptr[i] != '?' && rest.ptr[i] != '#'; i++) {
		uint8_t c = rest.ptr[i];
		if (c == '%' && i + 2 < rest.len && hex_digit(rest.ptr[i + 1]) >= 0 &&
		    hex_digit(rest.ptr[i + 2]) >= 0) {
			c = (uint8_t)(hex_digit(rest.ptr[i + 1]) * 16 + hex_digit(rest.ptr[i + 2]));
			i += 2;
		}
		if (buf_append(path, bytes_of(&c, 1)) < 0)
			return false;
	}
	return true;
}

static int rule_print(const struct ingress *in, const char *url, struct err *err)
{
	struct bytes host;
	struct buf path;
	size_t index;
	int r = 0;

	buf_init(&path, 16 * 1024);
	if (!url_split(url, &host, &path)) {
		r = err_set(err, E_INVALID,
			    "%.300s doesn't have a hostname, consider adding a scheme", url);
	} else {
		const struct ingress_rule *rule = ingress_match(in, host, buf_bytes(&path), &index);
		if (!rule) {
			r = err_set(err, E_LIMIT,
				    "Rule #%zu: its path expression takes too long on this URL",
				    index + 1);
		} else {
			(void)printf("Matched rule #%zu\n", index);
			if (*rule->hostname)
				(void)printf("\thostname: %s\n", rule->hostname);
			if (*rule->path)
				(void)printf("\tpath: %s\n", rule->path);
			(void)printf("\tservice: %s\n", rule->service);
		}
	}
	buf_done(&path);
	return r;
}

int cmd_ingress_rule(struct cli *cli)
{
	struct err err = { 0 };

	if (cli->line.arg_count != 1) {
		err_set(&err, E_INVALID,
			"%s tunnel rule expects a single argument, the URL to test", cli->program);
		return cli_failed(cli, &err);
	}
	if (!cli->config) {
		err_set(&err, E_NOT_FOUND, NO_CONFIG);
		return cli_failed(cli, &err);
	}
	(void)printf("Using rules from %s\n", cli->config_path);
	struct ingress *in =
		config_file_ingress(yaml_root(cli->config), INGRESS_YAML, cli->config_path, &err);
	int r = in ? rule_print(in, cli_arg(cli, 0), &err) : E_INVALID;
	ingress_unref(in);
	return r < 0 ? cli_failed(cli, &err) : 0;
}
