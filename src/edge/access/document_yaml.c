#include "edge/access/document_yaml.h"

#include <stdio.h>
#include <string.h>

/* Aliases make a small file a large document. */
#define NODES_MAX 100000

static json_t *json_of(const struct yaml_node *n, size_t *left)
{
	const struct yaml_node *key, *value;
	struct err ignored;
	int64_t number;
	json_t *made;
	bool flag;

	if (*left == 0)
		return NULL;
	(*left)--;
	switch (yaml_kind(n)) {
	case YAML_NULL:
		return json_null();
	case YAML_SEQUENCE:
		made = json_array();
		for (size_t i = 0; i < yaml_count(n); i++)
			json_array_append_new(made, json_of(yaml_item(n, i), left));
		return made;
	case YAML_MAPPING:
		made = json_object();
		for (size_t i = 0; i < yaml_count(n); i++) {
			yaml_pair(n, i, &key, &value);
			json_object_set_new(made, yaml_text(key), json_of(value, left));
		}
		return made;
	case YAML_SCALAR:
		break;
	}
	if (!yaml_is_quoted(n) && yaml_as_bool(n, &flag, &ignored) == 0)
		return json_boolean(flag);
	if (!yaml_is_quoted(n) && yaml_as_int(n, INT64_MIN, INT64_MAX, &number, &ignored) == 0)
		return json_integer(number);
	return json_string(yaml_text(n));
}

json_t *access_document_read(const struct yaml_doc *doc, struct err *err)
{
	size_t left = NODES_MAX;
	json_t *document = yaml_root(doc) ? json_of(yaml_root(doc), &left) : json_object();

	if (left > 0 && json_is_object(document))
		return document;
	err_set(err, E_INVALID,
		left ? "%s: this is no mapping of sections" : "%s: this is too large",
		yaml_file_name(doc));
	json_decref(document);
	return NULL;
}

void access_document_locate(const struct yaml_doc *doc, const char *text, struct err *ret)
{
	const struct yaml_node *node = yaml_root(doc);
	size_t name_len = strspn(text, "abcdefghijklmnopqrstuvwxyz_");
	char name[40];
	unsigned index = 0;
	struct err placed;

	snprintf(name, sizeof(name), "%.*s", (int)name_len, text);
	const struct yaml_node *section = yaml_get(node, name);
	if (!section) {
		err_set(ret, E_INVALID, "%s: %s", yaml_file_name(doc), text);
		return;
	}
	node = section;
	if (sscanf(text + name_len, "[%u]", &index) == 1 && yaml_item(section, index))
		node = yaml_item(section, index);
	(void)yaml_error(node, &placed, "%s", text);
	*ret = placed;
}
