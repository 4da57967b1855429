#include "config/yaml_write.h"

#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"

#define KEY_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-0123456789"

/* Words that YAML 1.1 takes for something else. */
static bool is_plain_key(const char *key, size_t len)
{
	static const char *const others[] = { "y",   "n",    "yes",   "no",  "on",
					      "off", "true", "false", "null" };

	if (len == 0 || strchr("-0123456789", key[0]))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (strlen(others[i]) == len && strncasecmp(others[i], key, len) == 0)
			return false;
	return true;
}

/* A line of the emitter: strings have no line ends in them, so its key is where it looks to be. */
static int add_line(const char *line, size_t len, struct buf *ret)
{
	size_t at = strspn(line, " -");
	size_t key = at < len && line[at] == '"' ? strspn(line + at + 1, KEY_LETTERS) : 0;
	const char *end = line + at + 1 + key;

	if (!is_plain_key(line + at + 1, key) || strncmp(end, "\":", 2) != 0)
		return buf_append(ret, bytes_of(line, len));
	int r = buf_append(ret, bytes_of(line, at));
	if (r == 0)
		r = buf_append(ret, bytes_of(line + at + 1, key));
	return r == 0 ? buf_append(ret, bytes_of(end + 1, len - (size_t)(end + 1 - line))) : r;
}

int yaml_of_json(const char *json, struct buf *ret)
{
	struct fy_document *doc = fy_document_build_from_string(NULL, json, FY_NT);
	char *text = doc ? fy_emit_document_to_string(doc, FYECF_MODE_DEJSON | FYECF_WIDTH_INF |
								   FYECF_INDENT_2)
			 : NULL;
	int r = text ? 0 : E_LIMIT;

	for (const char *line = text; r == 0 && *line;) {
		size_t len = strcspn(line, "\n");
		len += line[len] == '\n';
		r = add_line(line, len, ret);
		line += len;
	}
	free(text); /* allowed: libfyaml took it from malloc */
	fy_document_destroy(doc);
	return r;
}
