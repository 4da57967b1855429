#include "base/log.h"
#include "base/mem.h"
#include "connector/cli/rest.h"

/* Letters, digits, '-', '_' and '.', a '*' in front; labels and name as long as DNS allows. Bytes beyond
 * ASCII are the API's to judge, as in the stock client. */
static bool is_hostname(const char *text)
{
	struct bytes rest = bytes_str(text), label;
	bool is_first = true;

	if (rest.len == 0 || rest.len > 253 || rest.ptr[rest.len - 1] == '.')
		return false;
	while (bytes_split(&rest, '.', &label)) {
		if (label.len == 0 || label.len > 63 || label.ptr[0] == '-' ||
		    label.ptr[label.len - 1] == '-')
			return false;
		for (size_t i = 0; i < label.len; i++) {
			uint8_t c = bytes_lower(label.ptr[i]);
			bool is_star = c == '*' && is_first && i == 0;
			if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' &&
			    c != '_' && c < 0x80 && !is_star)
				return false;
		}
		is_first = false;
	}
	return true;
}

static const char *summary_format(const char *change)
{
	if (strcmp(change, "new") == 0)
		return "Added CNAME %s which will route to this tunnel";
	if (strcmp(change, "updated") == 0)
		return "%s updated to route to your tunnel";
	return "%s is already configured to route to your tunnel";
}

static void report(const struct uuid *tunnel, const char *change, const char *name)
{
	const char *format = summary_format(change), *at = strstr(format, "%s");
	char id[UUID_TEXT_SIZE];
	char *message = mem_printf("%.*s%s%s", (int)(at - format), format, name, at + 2);

	log_info("connector/cli", message, LOG_STR("tunnelID", uuid_text(tunnel, id)));
	mem_free(message);
}

int cmd_route_dns(struct cli *cli)
{
	const char *hostname = cli_arg(cli, 1), *change, *name;
	struct rest api = { 0 };
	struct arena arena;
	struct err err = { 0 };
	struct uuid id;
	bool wants_passthrough = settings_bool(&cli->settings, FLAG_PASSTHROUGH);
	const bool *passthrough =
		settings_is_set(&cli->settings, FLAG_PASSTHROUGH) ? &wants_passthrough : NULL;

	if (cli->line.arg_count != 2)
		return cli_usage(
			cli, "This command expects the format \"@ tunnel route dns <tunnel name/id> "
			     "<hostname>\"");
	if (!is_hostname(hostname)) {
		err_set(&err, E_INVALID, "%.300s is not a valid hostname", hostname);
		return cli_failed(cli, &err);
	}
	arena_init(&arena);
	int r = rest_tunnel_find(cli, &api, cli_arg(cli, 0), &id, &err);
	if (r == 0 && !api.cli)
		r = rest_open(cli, &api, &err);
	if (r == 0)
		r = rest_route_dns(&api, &arena, &id, hostname,
				   settings_bool(&cli->settings, FLAG_OVERWRITE_DNS), passthrough,
				   &change, &name, &err);
	if (r == 0)
		report(&id, change, name);
	arena_done(&arena);
	rest_done(&api);
	return r < 0 ? cli_failed(cli, &err) : 0;
}
