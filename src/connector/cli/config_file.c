#include "connector/cli/config_file.h"

#include "base/mem.h"

int config_file_tunnel(const struct cli *cli, const char **ret, struct err *err)
{
	const struct yaml_node *n = yaml_get(cli->config ? yaml_root(cli->config) : NULL, "tunnel");

	*ret = "";
	return yaml_kind(n) == YAML_NULL ? 0 : yaml_as_string(n, ret, err);
}

static bool is_known_key(const char *key)
{
	static const char *const others[] = { "tunnel", "ingress", "originRequest", "warp-routing" };

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (strcmp(key, others[i]) == 0)
			return true;
	for (size_t i = 0; i < FLAG_COUNT; i++)
		if (flag_get((enum flag_id)i)->is_key &&
		    strcmp(flag_get((enum flag_id)i)->name, key) == 0)
			return true;
	return false;
}

void config_file_unknown(const struct yaml_node *root, const struct ingress *in,
			 void (*each)(void *user, const char *text), void *user)
{
	const struct yaml_node *key, *value;

	for (size_t i = 0; i < yaml_count(root); i++) {
		yaml_pair(root, i, &key, &value);
		const char *name = yaml_text(key);
		if (!key || (name && is_known_key(name)))
			continue;
		char *text = mem_printf("line %d: field %.100s not found in type configuration",
					yaml_line(key), name ? name : "null");
		each(user, text);
		mem_free(text);
	}
	for (size_t i = 0; in && i < ingress_unknown_count(in); i++)
		each(user, ingress_unknown(in, i));
}

struct ingress *config_file_ingress(const struct yaml_node *root, enum ingress_form form,
				    const char *file, struct err *err)
{
	const struct yaml_node *place = NULL;
	struct ingress *in = ingress_parse(root, form, &place, err);

	if (in || !err)
		return in;
	err_wrap(err, "Validation failed");
	if (place && !strstr(err->text, file)) {
		size_t used = strlen(err->text);
		(void)snprintf(err->text + used, sizeof(err->text) - used, "\n  at %s:%d:%d", file,
			       yaml_line(place), yaml_column(place));
	}
	return NULL;
}
