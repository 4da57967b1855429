/* The tree behind config/yaml.h, shared by its two files only. */
#pragma once

#include "base/arena.h"
#include "config/yaml.h"

struct yaml_node {
	const struct yaml_doc *doc; /* borrowed: the owner */
	enum yaml_kind kind;
	bool is_quoted;
	int line, column; /* 1-based */
	const char *text; /* YAML_SCALAR, and "~" or "" of a null as written; else NULL */
	size_t count;     /* items, or pairs */
	const struct yaml_node *const *items; /* sequence: count of them; mapping: key, value, … */
};

struct yaml_doc {
	struct arena arena; /* holds all nodes and texts */
	const char *file_name;
	const struct yaml_node *root;
};
