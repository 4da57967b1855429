#include "connector/cli/config_file.h"

int config_file_tunnel(const struct cli *cli, const char **ret, struct err *err)
{
	const struct yaml_node *n = yaml_get(cli->config ? yaml_root(cli->config) : NULL, "tunnel");

	*ret = "";
	return yaml_kind(n) == YAML_NULL ? 0 : yaml_as_string(n, ret, err);
}

static void check_keys(const struct yaml_node *map, const char *where, const char *const *known,
		       size_t known_count, void (*each)(void *user, const char *text), void *user)
{
	const struct yaml_node *key, *value;
	struct err what;

	if (yaml_kind(map) != YAML_MAPPING)
		return;
	for (size_t i = 0; i < yaml_count(map); i++) {
		yaml_pair(map, i, &key, &value);
		if (ingress_key_is_unknown(key, where, known, known_count, &what))
			each(user, what.text);
	}
}

void config_file_unknown(const struct yaml_node *root, const struct ingress *in,
			 void (*each)(void *user, const char *text), void *user)
{
	static const char *const warp_keys[] = { "connectTimeout", "maxActiveFlows", "tcpKeepAlive",
						 "enabled", "allow" };
	const char *known[FLAG_COUNT + 4] = { "tunnel", "ingress", "originRequest", "warp-routing" };
	size_t count = 4;

	for (size_t i = 0; i < FLAG_COUNT; i++)
		if (flag_get((enum flag_id)i)->is_key)
			known[count++] = flag_get((enum flag_id)i)->name;
	check_keys(root, "the configuration", known, count, each, user);
	check_keys(yaml_get(root, "warp-routing"), "warp-routing", warp_keys, ARRAY_LEN(warp_keys),
		   each, user);
	for (size_t i = 0; in && i < ingress_unknown_count(in); i++)
		each(user, ingress_unknown(in, i));
}

static void add_place(const struct yaml_node *place, const char *file, struct err *err)
{
	if (!err)
		return;
	err_wrap(err, "Validation failed");
	if (place && !strstr(err->text, file)) {
		size_t used = strlen(err->text);
		(void)snprintf(err->text + used, sizeof(err->text) - used, "\n  at %s:%d:%d", file,
			       yaml_line(place), yaml_column(place));
	}
}

struct ingress *config_file_ingress(const struct yaml_node *root, enum ingress_form form,
				    const char *file, struct err *err)
{
	const struct yaml_node *place = NULL;
	struct ingress *in = ingress_parse(root, form, &place, err);

	if (!in)
		add_place(place, file, err);
	return in;
}

int config_file_private(const struct yaml_node *root, struct ingress *in, const char *file,
			struct err *err)
{
	const struct yaml_node *place = NULL;
	int r = ingress_read_private(in, root, INGRESS_YAML, &place, err);

	if (r < 0)
		add_place(place, file, err);
	return r;
}
