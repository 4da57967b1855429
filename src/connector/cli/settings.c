#include "connector/cli/settings.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

static void setting_clear(struct setting *v)
{
	for (size_t i = 0; i < v->count; i++) {
		/* A token may be among them. */
		explicit_bzero(v->texts[i], strlen(v->texts[i]));
		mem_free(v->texts[i]);
	}
	mem_free(v->texts);
	*v = (struct setting){ 0 };
}

void settings_done(struct settings *s)
{
	for (size_t i = 0; i < FLAG_COUNT; i++)
		setting_clear(&s->values[i]);
}

static void setting_append(struct setting *v, struct bytes text)
{
	v->texts = mem_resize(v->texts, (v->count + 1) * sizeof(*v->texts));
	v->texts[v->count++] = mem_strndup(text);
}

static int setting_add(struct settings *s, enum flag_id id, const char *text,
		       enum setting_source source, struct err *err)
{
	struct setting *v = &s->values[id];
	int r = flag_check(id, text, err);

	if (r < 0)
		return r;
	if (flag_get(id)->type == FLAG_LIST) {
		struct bytes rest = bytes_str(text), part;
		while (bytes_split(&rest, ',', &part))
			setting_append(v, bytes_trim(part));
	} else if (flag_get(id)->type == FLAG_TEXTS) {
		setting_append(v, bytes_str(text));
	} else {
		setting_clear(v);
		setting_append(v, bytes_str(text));
	}
	v->source = source;
	return 0;
}

int settings_add(struct settings *s, enum flag_id id, const char *text, struct err *err)
{
	return setting_add(s, id, text, SETTING_COMMAND, err);
}

int settings_add_env(struct settings *s, enum flag_id id, struct err *err)
{
	struct bytes names = bytes_str(flag_get(id)->env), name;

	if (s->values[id].source != SETTING_PRESET)
		return 0;
	while (bytes_split(&names, ' ', &name)) {
		char *key = mem_strndup(name);
		const char *text = getenv(key);
		int r = 0;

		if (text && *text) {
			r = setting_add(s, id, text, SETTING_ENV, err);
			if (r < 0 && !flag_get(id)->is_secret)
				err_set(err, r,
					"could not parse \"%.100s\" as the value of flag %s from "
					"environment variable \"%s\"",
					text, flag_get(id)->name, key);
		}
		mem_free(key);
		if (r < 0 || s->values[id].source == SETTING_ENV)
			return r;
	}
	return 0;
}

/* The value as a flag's text in `text` (40 bytes) or borrowed from the tree; *ret NULL: a zero value. */
static int key_read(enum flag_id id, const struct yaml_node *n, char *text, const char **ret,
		    struct err *err)
{
	int64_t number = 0;
	usec duration = 0;
	bool flag = false;
	int r = 0;

	*ret = NULL;
	switch (flag_get(id)->type) {
	case FLAG_TEXT:
	case FLAG_LIST:
	case FLAG_TEXTS:
		r = yaml_as_string(n, ret, err);
		if (r == 0 && !**ret)
			*ret = NULL;
		break;
	case FLAG_BOOL:
		r = yaml_as_bool(n, &flag, err);
		*ret = flag ? "true" : NULL;
		break;
	case FLAG_INT:
		r = yaml_as_int(n, 0, INT32_MAX, &number, err);
		(void)snprintf(text, 40, "%d", (int)number);
		*ret = number ? text : NULL;
		break;
	case FLAG_DURATION:
		r = yaml_as_duration(n, false, &duration, err);
		*ret = duration ? duration_text(duration, text) : NULL;
		break;
	}
	return r;
}

int settings_add_key(struct settings *s, enum flag_id id, const struct yaml_node *root,
		     struct err *err)
{
	const char *name = flag_get(id)->name, *text;
	const struct yaml_node *n = yaml_get(root, name);
	char scratch[40];
	enum flag_type type = flag_get(id)->type;
	bool is_list = (type == FLAG_LIST || type == FLAG_TEXTS) && yaml_kind(n) == YAML_SEQUENCE;
	size_t count = is_list ? yaml_count(n) : 1;

	if (s->values[id].source != SETTING_PRESET || yaml_kind(n) == YAML_NULL ||
	    !flag_get(id)->is_key)
		return 0;
	for (size_t i = 0; i < count; i++) {
		int r = key_read(id, is_list ? yaml_item(n, i) : n, scratch, &text, err);
		if (r == 0 && text)
			r = setting_add(s, id, text, SETTING_FILE, err);
		if (r < 0) {
			size_t used = err ? strlen(err->text) : 0;
			if (err)
				(void)snprintf(err->text + used, sizeof(err->text) - used,
					       " for %s", name);
			return r;
		}
	}
	return 0;
}

bool settings_is_set(const struct settings *s, enum flag_id id)
{
	return s->values[id].source != SETTING_PRESET;
}

bool settings_is_in_vain(const struct settings *s, enum flag_id id)
{
	return flag_get(id)->effect == FLAG_NOT_YET && settings_is_set(s, id);
}

const char *settings_text(const struct settings *s, enum flag_id id)
{
	const char *preset = flag_get(id)->preset;

	if (s->values[id].count)
		return s->values[id].texts[0];
	return preset ? preset : "";
}

bool settings_bool(const struct settings *s, enum flag_id id)
{
	bool value = false;

	(void)flag_parse_bool(settings_text(s, id), &value);
	return value;
}

int64_t settings_int(const struct settings *s, enum flag_id id)
{
	uint64_t value = 0;

	(void)bytes_to_u64(bytes_str(settings_text(s, id)), &value);
	return (int64_t)value;
}

usec settings_duration(const struct settings *s, enum flag_id id)
{
	usec value = 0;

	(void)duration_parse(bytes_str(settings_text(s, id)), &value);
	return value;
}

size_t settings_list(const struct settings *s, enum flag_id id, char *const **ret)
{
	*ret = s->values[id].texts;
	return s->values[id].count;
}
