/* Results for people (tables) and programs (JSON, YAML). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

/* `format` is "json" (two blanks of indentation) or "yaml", whose keys are spelled as the stock client's:
 * lower case, no underscores. E_INVALID "Unknown output format 'X'". */
int render(FILE *out, const char *format, const json_t *value, struct err *err);

/* A list of `count` items of `size` bytes each, as `json` makes them. */
int render_list(FILE *out, const char *format, const void *items, size_t count, size_t size,
		json_t *(*json)(const void *item), struct err *err);

/* Cells padded to the widest of their column and a blank. */
struct table {
	size_t columns;
	char **cells; /* owned, and each of them */
	size_t count;
};

/* The texts of one row are copied. */
void table_row(struct table *t, size_t columns, const char *const *texts);
void table_print(const struct table *t, FILE *out);
void table_done(struct table *t);
