/* A YAML (or JSON) document as a tree in which every node knows its line and column.
 *
 * Errors read "FILE:LINE:COLUMN: what is wrong". Only UTF-8 text with one document is read; duplicate
 * keys, keys that are no scalars, control bytes, and files over LIMIT_CONFIG_BYTES or LIMIT_CONFIG_DEPTH
 * are refused. An alias is the node it names, not a copy, so aliases cannot expand without end; merge
 * keys (<<) are resolved. The tree is immutable; nodes are borrowed from the document. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"

struct yaml_doc;
struct yaml_node;

enum yaml_kind { YAML_NULL, YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

/* `file_name` is for error texts only; it is copied. */
struct yaml_doc *yaml_parse(struct bytes text, const char *file_name, struct err *err);
struct yaml_doc *yaml_load(const char *path,
			   struct err *err); /* E_NOT_FOUND, E_IO, E_PARSE, E_LIMIT */
struct yaml_doc *yaml_free(struct yaml_doc *doc);
/* NULL for an empty document. */
const struct yaml_node *yaml_root(const struct yaml_doc *doc);
const char *yaml_file_name(const struct yaml_doc *doc);

enum yaml_kind yaml_kind(const struct yaml_node *n); /* NULL gives YAML_NULL */
int yaml_line(const struct yaml_node *n);            /* 1-based */
int yaml_column(const struct yaml_node *n);          /* 1-based */
/* E_INVALID with "FILE:LINE:COLUMN: " in front. */
int yaml_error(const struct yaml_node *n, struct err *err, const char *fmt, ...) PRINTF_LIKE(3, 4);

const char *yaml_text(const struct yaml_node *n); /* scalar as written, NUL-terminated; NULL otherwise */
bool yaml_is_quoted(const struct yaml_node *n); /* a quoted scalar is always a string */
size_t yaml_count(const struct yaml_node *n);   /* of a sequence or mapping; else 0 */
const struct yaml_node *yaml_item(const struct yaml_node *sequence, size_t index);
const struct yaml_node *yaml_get(const struct yaml_node *mapping,
				 const char *key); /* NULL: absent */
/* The index-th pair in file order. */
void yaml_pair(const struct yaml_node *mapping, size_t index, const struct yaml_node **ret_key,
	       const struct yaml_node **ret_value);

/* Typed reads: E_INVALID names the place and the type that was expected ("expected string found int"). */
int yaml_as_string(const struct yaml_node *n, const char **ret, struct err *err);
int yaml_as_bool(const struct yaml_node *n, bool *ret, struct err *err);
int yaml_as_int(const struct yaml_node *n, int64_t min, int64_t max, int64_t *ret, struct err *err);
/* A Go duration as a string: "30s", "1m30s", "1h", "250ms". With `bare_seconds` (JSON forms) a bare
 * integer counts seconds instead. */
int yaml_as_duration(const struct yaml_node *n, bool bare_seconds, usec *ret, struct err *err);
/* The same syntax from anywhere; false when it is none. */
bool duration_parse(struct bytes text, usec *ret);
char *duration_text(usec d, char text[40]); /* "1m30s", as Go prints it */
