#include "connector/cli/render.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"

/* ------------------------------------------------------------------------------------------
 * Tables. */

/* Characters, not bytes, of UTF-8. */
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

void table_row(struct table *t, size_t columns, const char *const *texts)
{
	t->columns = columns;
	t->cells = mem_resize(t->cells, (t->count + columns) * sizeof(*t->cells));
	for (size_t i = 0; i < columns; i++)
		t->cells[t->count++] = mem_strdup(texts[i]);
}

static size_t column_width(const struct table *t, size_t column)
{
	size_t widest = 0;

	for (size_t i = column; i < t->count; i += t->columns) {
		size_t width = text_width(t->cells[i]);
		widest = width > widest ? width : widest;
	}
	return widest;
}

void table_print(const struct table *t, FILE *out)
{
	for (size_t row = 0; row < t->count; row += t->columns) {
		for (size_t i = 0; i < t->columns; i++) {
			const char *text = t->cells[row + i];
			size_t pad = column_width(t, i) - text_width(text) + 1;
			(void)fprintf(out, "%s%*s", text, (int)pad, "");
		}
		(void)fputc('\n', out);
	}
}

void table_done(struct table *t)
{
	for (size_t i = 0; i < t->count; i++)
		mem_free(t->cells[i]);
	mem_free(t->cells);
	*t = (struct table){ 0 };
}

/* ------------------------------------------------------------------------------------------
 * YAML, as much as these results need. */

/* Would a reader take the word for something else than a string? */
static bool is_ambiguous(const char *text)
{
	static const char *const words[] = { "~",   "null", "true", "false", "yes",  "no", "on",
					     "off", "y",    "n",    ".nan",  ".inf", "<<", "=" };
	size_t len = strlen(text);

	if (len == 0)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (bytes_eq_nocase(bytes_str(text), bytes_str(words[i])))
			return true;
	/* Numbers, dates, sexagesimals: whatever is made of their characters and has a digit. */
	bool has_digit = strpbrk(text, "0123456789") != NULL;
	const char *dot = strchr(text, '.');
	bool is_hex = text[0] == '0' && strchr("xXoObB", text[1]) &&
		      strspn(text + 2, "0123456789abcdefABCDEF_") == len - 2;
	/* Two dots: a version or an address. */
	if (dot && strchr(dot + 1, '.') && !strpbrk(text, "-:"))
		return false;
	return has_digit && (is_hex || strspn(text, "0123456789+-._:eETZ ") == len);
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

static bool has_indicator(const char *text)
{
	size_t len = strlen(text);

	if (strchr("-?:", text[0]) && (len == 1 || text[1] == ' '))
		return true;
	return strchr(",[]{}#&*!|>'\"%@` ", text[0]) || text[len - 1] == ' ' ||
	       text[len - 1] == ':' || strstr(text, ": ") || strstr(text, " #");
}

static void yaml_text_print(FILE *out, const char *text)
{
	/* Times are plain, as the stock client's. UUIDs and addresses are strings to every reader. */
	bool is_plain = clock_parse_rfc3339(text) != -1 ||
			strcmp(text, "0001-01-01T00:00:00Z") == 0 ||
			(strchr(text, ':') && strspn(text, "0123456789abcdef:.") == strlen(text) &&
			 strstr(text, "::"));

	if (is_plain || (!is_ambiguous(text) && !has_control(text) && !has_indicator(text))) {
		(void)fputs(text, out);
	} else if (is_ambiguous(text) || has_control(text)) {
		json_t *value = json_string(text);
		(void)json_dumpf(value, out, JSON_ENCODE_ANY);
		json_decref(value);
	} else {
		(void)fputc('\'', out);
		for (; *text; text++) {
			if (*text == '\'')
				(void)fputc('\'', out);
			(void)fputc(*text, out);
		}
		(void)fputc('\'', out);
	}
}

/* The stock client prints its Go field names, lower case. */
static void yaml_key_print(FILE *out, const char *key, unsigned depth)
{
	if (strcmp(key, "conns") == 0)
		key = depth == 0 ? "connectors" : "connections";
	else if (strcmp(key, "virtual_network_id") == 0)
		key = "vnetid";
	else if (strcmp(key, "is_default_network") == 0)
		key = "isdefault";
	for (; *key; key++)
		if (*key != '_')
			(void)fputc(bytes_lower((uint8_t)*key), out);
}

static void yaml_value_print(FILE *out, const json_t *value, unsigned column, unsigned depth,
			     bool is_item);

static void yaml_map_print(FILE *out, const json_t *map, unsigned column, unsigned depth)
{
	const char *key;
	json_t *value;
	bool is_first = true;

	/* The first key stands where the caller left off. */
	json_object_foreach((json_t *)(uintptr_t)map, key, value)
	{
		(void)fprintf(out, "%*s", is_first ? 0 : (int)column, "");
		is_first = false;
		yaml_key_print(out, key, depth);
		(void)fputc(':', out);
		yaml_value_print(out, value, column, depth + 1, false);
	}
}

static void yaml_list_print(FILE *out, const json_t *list, unsigned column, unsigned depth)
{
	size_t i;
	json_t *value;

	json_array_foreach(list, i, value)
	{
		(void)fprintf(out, "%*s-", (int)column, "");
		yaml_value_print(out, value, column, depth, true);
	}
}

static void yaml_value_print(FILE *out, const json_t *value, unsigned column, unsigned depth,
			     bool is_item)
{
	/* Inside a map what nests begins at the next multiple of four; inside a list behind "- ". */
	unsigned inner = is_item ? column + 2 : (column / 4 + 1) * 4;

	if (json_is_object(value) && json_object_size(value)) {
		if (is_item)
			(void)fputc(' ', out);
		else
			(void)fprintf(out, "\n%*s", (int)inner, "");
		yaml_map_print(out, value, inner, depth);
	} else if (json_is_array(value) && json_array_size(value)) {
		(void)fputc('\n', out);
		yaml_list_print(out, value, inner, depth);
	} else {
		(void)fputc(' ', out);
		if (json_is_string(value))
			yaml_text_print(out, json_string_value(value));
		else
			(void)json_dumpf(value, out, JSON_ENCODE_ANY);
		(void)fputc('\n', out);
	}
}

static void yaml_print(FILE *out, const json_t *value)
{
	if (json_is_object(value) && json_object_size(value))
		yaml_map_print(out, value, 0, 0);
	else if (json_is_array(value) && json_array_size(value))
		yaml_list_print(out, value, 0, 0);
	else
		(void)fprintf(out, json_is_array(value) ? "[]\n" : "{}\n");
}

int render(FILE *out, const char *format, const json_t *value, struct err *err)
{
	if (strcmp(format, "json") == 0) {
		(void)json_dumpf(value, out, JSON_INDENT(2));
		(void)fputc('\n', out);
	} else if (strcmp(format, "yaml") == 0) {
		yaml_print(out, value);
	} else {
		return err_set(err, E_INVALID, "Unknown output format '%.100s'", format);
	}
	return 0;
}

int render_list(FILE *out, const char *format, const void *items, size_t count, size_t size,
		json_t *(*json)(const void *item), struct err *err)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json((const char *)items + i * size));
	int r = render(out, format, list, err);
	json_decref(list);
	return r;
}
