/* The command line: words choose the command, the rest are flags and arguments. */
#include "connector/cli/command.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/nearest.h"

enum flag_id command_flag(const struct command_line *line, struct bytes name)
{
	for (size_t d = line->depth; d-- > 0;) {
		const struct command *c = line->path[d];
		for (size_t i = 0; i < c->flag_count; i++)
			if (flag_is(c->flags[i], name))
				return c->flags[i];
	}
	return FLAG_COUNT;
}

static bool is_called(const struct command *c, struct bytes name)
{
	struct bytes aliases = bytes_str(c->aliases), alias;

	if (bytes_eq(bytes_str(c->name), name))
		return true;
	while (bytes_split(&aliases, ' ', &alias))
		if (bytes_eq(alias, name))
			return true;
	return false;
}

const struct command *command_child(const struct command *group, const char *name)
{
	for (size_t i = 0; group->children && group->children[i]; i++)
		if (is_called(group->children[i], bytes_str(name)))
			return group->children[i];
	return NULL;
}

const char *command_nearest(const struct command *group, const char *word)
{
	const char *names[COMMAND_CHILDREN_MAX];
	size_t count = 0;

	for (size_t i = 0; group->children && group->children[i]; i++)
		if (!group->children[i]->is_hidden && count < ARRAY_LEN(names))
			names[count++] = group->children[i]->name;
	return nearest_name(word, names, count);
}

static const char *nearest_flag(const struct command_line *line, struct bytes name)
{
	const char *names[FLAG_COUNT];
	size_t count = 0;

	for (size_t d = 0; d < line->depth; d++) {
		const struct command *c = line->path[d];
		for (size_t i = 0; i < c->flag_count && count < ARRAY_LEN(names); i++)
			if (!flag_get(c->flags[i])->is_hidden)
				names[count++] = flag_get(c->flags[i])->name;
	}
	char *word = mem_strndup(name);
	const char *near = nearest_name(word, names, count);
	mem_free(word);
	return near;
}

static int unknown_flag(const struct command_line *line, struct bytes name, struct err *err)
{
	const char *near = nearest_flag(line, name);

	return err_set(err, E_INVALID, "flag provided but not defined: -%.*s%s%s%s", (int)name.len,
		       (const char *)name.ptr, near ? "; did you mean --" : "", near ? near : "",
		       near ? "?" : "");
}

/* The stock client takes every option of `tunnel` in front of it, too; its SysV script does that. */
static enum flag_id early_flag(struct bytes name)
{
	const struct command *tunnel = command_child(&command_root, "tunnel");

	for (size_t i = 0; i < tunnel->flag_count; i++)
		if (flag_is(tunnel->flags[i], name))
			return tunnel->flags[i];
	return FLAG_COUNT;
}

/* `word` without its dashes; *next is the word behind it. Returns how many words were used. */
static int flag_take(struct command_line *line, struct settings *settings, struct bytes word,
		     const char *next, struct err *err)
{
	size_t equals = bytes_index(word, '=');
	struct bytes name = bytes_first(word, equals);
	enum flag_id id = command_flag(line, name);
	struct err why = { 0 };
	char *text;
	int used = 1;

	if (id == FLAG_COUNT && line->depth == 1)
		id = early_flag(name);
	if (bytes_eq(name, BYTES_LIT("help")) || bytes_eq(name, BYTES_LIT("h"))) {
		line->is_help = true;
		return 1;
	}
	if (id == FLAG_COUNT)
		return unknown_flag(line, name, err);
	if (equals < word.len) {
		text = mem_strndup(bytes_from(word, equals + 1));
	} else if (flag_get(id)->type == FLAG_BOOL) {
		text = mem_strdup("true");
	} else if (next) {
		text = mem_strdup(next);
		used = 2;
	} else {
		return err_set(err, E_INVALID, "flag needs an argument: -%.*s", (int)name.len,
			       (const char *)name.ptr);
	}
	int r = settings_add(settings, id, text, &why);
	if (r < 0)
		err_set(err, r, "invalid value \"%.100s\" for flag -%.*s: %s",
			flag_get(id)->is_secret ? "*****" : text, (int)name.len,
			(const char *)name.ptr, why.text);
	mem_free(text);
	return r < 0 ? r : used;
}

/* A word that is no flag. */
static void word_take(struct command_line *line, const char *word, bool *is_helping)
{
	const struct command *here = line->path[line->depth - 1];
	const struct command *child = line->arg_count == 0 ? command_child(here, word) : NULL;

	if (child && line->depth < COMMAND_DEPTH) {
		line->path[line->depth++] = child;
	} else if (here->children && strcmp(word, "help") == 0 && !*is_helping) {
		*is_helping = line->is_help = true;
	} else if (here->children && !here->run) {
		if (!line->unknown)
			line->unknown = word;
	} else {
		line->args[line->arg_count++] = word;
	}
}

int command_parse(int argc, char *const *argv, struct command_line *ret, struct settings *settings,
		  struct err *err)
{
	bool is_over = false, is_helping = false;

	*ret = (struct command_line){ .depth = 1 };
	ret->path[0] = &command_root;
	ret->args = mem_alloc_array((size_t)argc + 1, sizeof(*ret->args));
	for (int i = 1; i < argc;) {
		const char *word = argv[i];

		if (!is_over && strcmp(word, "--") == 0) {
			is_over = true;
			i++;
		} else if (!is_over && word[0] == '-' && word[1]) {
			const char *name = word + (word[1] == '-' ? 2 : 1);
			const char *next = i + 1 < argc ? argv[i + 1] : NULL;
			int used = flag_take(ret, settings, bytes_str(name), next, err);
			if (used < 0)
				return used;
			i += used;
		} else {
			word_take(ret, word, &is_helping);
			is_over |= ret->path[ret->depth - 1]->takes_all;
			i++;
		}
	}
	return 0;
}

void command_line_done(struct command_line *line)
{
	mem_free(line->args);
	*line = (struct command_line){ 0 };
}

char *command_name(const struct command_line *line, char *text, size_t size)
{
	size_t used = 0;

	text[0] = 0;
	for (size_t i = 1; i < line->depth && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i > 1 ? " " : "",
					 line->path[i]->name);
	return text;
}
