/* Reading the tree: observers and typed values. */
#include "config/yaml_tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum yaml_kind yaml_kind(const struct yaml_node *n)
{
	return n ? n->kind : YAML_NULL;
}

int yaml_line(const struct yaml_node *n)
{
	return n->line;
}

int yaml_column(const struct yaml_node *n)
{
	return n->column;
}

int yaml_error(const struct yaml_node *n, struct err *err, const char *fmt, ...)
{
	char what[sizeof(((struct err *)NULL)->text)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (!n)
		return err_set(err, E_INVALID, "%s", what);
	return err_set(err, E_INVALID, "%s:%d:%d: %s", n->doc->file_name, n->line, n->column, what);
}

const char *yaml_text(const struct yaml_node *n)
{
	return n && n->kind == YAML_SCALAR ? n->text : NULL;
}

bool yaml_is_quoted(const struct yaml_node *n)
{
	return n && n->is_quoted;
}

size_t yaml_count(const struct yaml_node *n)
{
	return n ? n->count : 0;
}

const struct yaml_node *yaml_item(const struct yaml_node *sequence, size_t index)
{
	if (!sequence || sequence->kind != YAML_SEQUENCE || index >= sequence->count)
		return NULL;
	return sequence->items[index];
}

const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key)
{
	if (!mapping || mapping->kind != YAML_MAPPING)
		return NULL;
	for (size_t i = 0; i < mapping->count; i++)
		if (strcmp(mapping->items[2 * i]->text, key) == 0)
			return mapping->items[2 * i + 1];
	return NULL;
}

void yaml_pair(const struct yaml_node *mapping, size_t index, const struct yaml_node **ret_key,
	       const struct yaml_node **ret_value)
{
	if (!mapping || mapping->kind != YAML_MAPPING || index >= mapping->count) {
		*ret_key = *ret_value = NULL;
		return;
	}
	*ret_key = mapping->items[2 * index];
	*ret_value = mapping->items[2 * index + 1];
}

/* ------------------------------------------------------------------------------------------ */

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

static const char *const core_bools[] = { "true", "True", "TRUE", "false", "False", "FALSE" };
static const char *const true_words[] = { "true", "True", "TRUE", "yes", "Yes", "YES",
					  "on",   "On",   "ON",   "y",   "Y" };
static const char *const false_words[] = { "false", "False", "FALSE", "no", "No", "NO",
					   "off",   "Off",   "OFF",   "n",  "N" };

/* Decimal, 0x and 0o integers of YAML 1.2's core schema. */
static bool int_parse(const char *text, int64_t *ret)
{
	const char *digits = text + (*text == '-' || *text == '+');
	bool is_negative = *text == '-';
	unsigned base = 10;
	uint64_t value = 0;

	if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'o')) {
		base = digits[1] == 'x' ? 16 : 8;
		digits += 2;
	}
	if (!*digits)
		return false;
	for (; *digits; digits++) {
		uint8_t c = bytes_lower((uint8_t)*digits);
		unsigned digit = 16;
		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'f')
			digit = (unsigned)(c - 'a') + 10;
		if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return false;
	}
	if (value > (uint64_t)INT64_MAX)
		return false;
	*ret = is_negative ? -(int64_t)value : (int64_t)value;
	return true;
}

static bool is_float(const char *text)
{
	const char *p = text + (*text == '-' || *text == '+');

	if (strcmp(text, ".nan") == 0 || strcmp(p, ".inf") == 0)
		return true;
	if (strspn(p, "0123456789.eE+-") != strlen(p) || !strpbrk(p, "0123456789"))
		return false;
	char *end;
	errno = 0;
	(void)strtod(text, &end);
	return *end == 0;
}

static const char *type_name(const struct yaml_node *n)
{
	int64_t number;

	switch (yaml_kind(n)) {
	case YAML_NULL:
		return "nothing";
	case YAML_SEQUENCE:
		return "list";
	case YAML_MAPPING:
		return "map";
	case YAML_SCALAR:
		break;
	}
	if (n->is_quoted)
		return "string";
	if (is_one_of(n->text, core_bools, ARRAY_LEN(core_bools)))
		return "bool";
	if (int_parse(n->text, &number))
		return "int";
	return is_float(n->text) ? "float" : "string";
}

int yaml_as_string(const struct yaml_node *n, const char **ret, struct err *err)
{
	const char *type = type_name(n);

	if (strcmp(type, "string") != 0)
		return yaml_error(n, err, "expected string found %s", type);
	*ret = n->text;
	return 0;
}

int yaml_as_bool(const struct yaml_node *n, bool *ret, struct err *err)
{
	const char *text = yaml_text(n);

	if (text && !n->is_quoted && is_one_of(text, true_words, ARRAY_LEN(true_words)))
		*ret = true;
	else if (text && !n->is_quoted && is_one_of(text, false_words, ARRAY_LEN(false_words)))
		*ret = false;
	else
		return yaml_error(n, err, "expected boolean found %s", type_name(n));
	return 0;
}

int yaml_as_int(const struct yaml_node *n, int64_t min, int64_t max, int64_t *ret, struct err *err)
{
	const char *text = yaml_text(n);
	int64_t value;

	if (!text || n->is_quoted || !int_parse(text, &value))
		return yaml_error(n, err, "expected int found %s", type_name(n));
	if (value < min || value > max)
		return yaml_error(n, err, "%s is out of range, %lld to %lld are allowed", text,
				  (long long)min, (long long)max);
	*ret = value;
	return 0;
}

int yaml_as_duration(const struct yaml_node *n, bool bare_seconds, usec *ret, struct err *err)
{
	const char *type = type_name(n);
	int64_t seconds;
	usec value;

	if (bare_seconds) {
		if (strcmp(type, "int") != 0 || !int_parse(n->text, &seconds))
			return yaml_error(n, err, "expected seconds as an int found %s%s%s", type,
					  yaml_text(n) ? " " : "", yaml_text(n) ? n->text : "");
		if (__builtin_mul_overflow(seconds, USEC_PER_SEC, &value) || value < 0)
			return yaml_error(n, err, "%s seconds are out of range", n->text);
	} else {
		if (strcmp(type, "int") == 0)
			return yaml_error(n, err, "cannot unmarshal !!int `%s` into time.Duration",
					  n->text);
		if (strcmp(type, "string") != 0)
			return yaml_error(n, err, "expected duration found %s", type);
		if (!duration_parse(bytes_str(n->text), &value))
			return yaml_error(n, err, "\"%.100s\" is not a duration like 30s or 1m30s",
					  n->text);
		if (value < 0)
			return yaml_error(n, err, "the duration %.100s is negative", n->text);
	}
	*ret = value;
	return 0;
}
