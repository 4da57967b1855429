#include "connector/cli/unit_file.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

/* A word of a command line; paths and tokens are shorter. */
#define WORD_BYTES (16 * 1024)

bool unit_file_is_program(const char *path, const char *program)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t len = strlen(program);

	return strncmp(name, program, len) == 0 && (!name[len] || strchr("-.", name[len]));
}

/* ------------------------------------------------------------------------------------------
 * Words, quoted as systemd and shells do (systemd.syntax(7)). */

/* The next word of *rest; NULL: there is none, or it is too long. Owned by the caller. */
static char *word_take(struct bytes *rest)
{
	struct buf word;
	uint8_t quote = 0;
	int r = 0;

	while (rest->len && (rest->ptr[0] == ' ' || rest->ptr[0] == '\t'))
		*rest = bytes_from(*rest, 1);
	if (rest->len == 0)
		return NULL;
	buf_init(&word, WORD_BYTES);
	while (rest->len && r == 0) {
		uint8_t c = rest->ptr[0];

		*rest = bytes_from(*rest, 1);
		if (quote && c == quote) {
			quote = 0;
			continue;
		}
		if (!quote && (c == '"' || c == '\'')) {
			quote = c;
			continue;
		}
		if (!quote && (c == ' ' || c == '\t'))
			break;
		if (c == '\\' && quote != '\'' && rest->len) {
			c = rest->ptr[0];
			*rest = bytes_from(*rest, 1);
		}
		if (c)
			r = buf_append(&word, bytes_of(&c, 1));
	}
	char *text = r == 0 ? buf_take_str(&word) : NULL;
	buf_done(&word);
	return text;
}

static void words_done(struct unit_file *u)
{
	for (size_t i = 0; i < u->word_count; i++)
		mem_free(u->words[i]);
	memset(u->words, 0, sizeof(u->words));
	u->word_count = 0;
}

/* From the word that names the program on; what is in front of it (bash, env, exec) does not count. */
static bool command_take(struct unit_file *u, struct bytes line, const char *program)
{
	char *word;

	/* systemd's prefixes: ignore failure, other argv[0], no variables, privileges. */
	while (line.len && strchr("-@:+!", line.ptr[0]))
		line = bytes_from(line, 1);
	words_done(u);
	while ((word = word_take(&line))) {
		if ((u->word_count == 0 && !unit_file_is_program(word, program)) ||
		    u->word_count == UNIT_WORDS_MAX)
			mem_free(word);
		else
			u->words[u->word_count++] = word;
	}
	return u->word_count > 0;
}

static void variable_add(struct unit_file *u, char *word)
{
	if (u->variable_count < UNIT_VARIABLES_MAX && strchr(word, '='))
		u->variables[u->variable_count++] = word;
	else
		mem_free(word);
}

/* ------------------------------------------------------------------------------------------
 * Lines. */

/* A line of *rest with those that it goes on in, joined: owned by the caller; NULL: no more. */
static char *line_take(struct bytes *rest)
{
	char *whole = NULL;
	struct bytes line;

	while (bytes_split(rest, '\n', &line)) {
		bool goes_on = bytes_ends_with(line, BYTES_LIT("\\"));
		if (goes_on)
			line.len--;
		char *longer = mem_printf("%s%.*s%s", whole ? whole : "", (int)line.len,
					  (const char *)line.ptr, goes_on ? " " : "");
		mem_free(whole);
		whole = longer;
		if (!goes_on || strlen(whole) > WORD_BYTES)
			break;
	}
	return whole;
}

static void set_path(char **at, struct bytes value)
{
	struct bytes trimmed = bytes_trim(value);

	/* "-": it need not exist. */
	if (bytes_starts_with(trimmed, BYTES_LIT("-")))
		trimmed = bytes_from(trimmed, 1);
	mem_free(*at);
	*at = mem_strndup(trimmed);
}

static void credential_set(struct unit_file *u, struct bytes value)
{
	size_t colon = bytes_index(value, ':');

	if (colon == value.len || u->credential_path)
		return;
	u->credential_name = mem_strndup(bytes_trim(bytes_first(value, colon)));
	u->credential_path = mem_strndup(bytes_trim(bytes_from(value, colon + 1)));
}

bool unit_file_parse(struct bytes text, const char *program, struct unit_file *ret)
{
	bool has_command = false;
	char *whole;

	*ret = (struct unit_file){ 0 };
	while ((whole = line_take(&text))) {
		struct bytes line = bytes_trim(bytes_str(whole));
		struct bytes key = bytes_first(line, bytes_index(line, '='));
		struct bytes value = bytes_from(line, key.len + 1);
		char *word;

		key = bytes_trim(key);
		if (key.len == line.len || bytes_starts_with(line, BYTES_LIT("#"))) {
			/* neither a setting nor an assignment */
		} else if (bytes_eq(key, BYTES_LIT("ExecStart")) && !has_command) {
			has_command = command_take(ret, bytes_trim(value), program);
		} else if (bytes_eq(key, BYTES_LIT("cmd")) && !has_command) {
			/* SysV, as the stock connector writes it: cmd="/usr/bin/cloudflared …" */
			char *command = word_take(&value);
			if (command)
				has_command = command_take(ret, bytes_str(command), program);
			mem_free(command);
		} else if (bytes_eq(key, BYTES_LIT("Environment"))) {
			while ((word = word_take(&value)))
				variable_add(ret, word);
		} else if (bytes_eq(key, BYTES_LIT("EnvironmentFile"))) {
			set_path(&ret->variable_file, value);
		} else if (bytes_eq(key, BYTES_LIT("LoadCredential"))) {
			credential_set(ret, value);
		}
		mem_free(whole);
	}
	return has_command;
}

void unit_file_variables(struct unit_file *u, struct bytes text)
{
	char *whole;

	while ((whole = line_take(&text))) {
		struct bytes line = bytes_trim(bytes_str(whole));
		char *word = bytes_starts_with(line, BYTES_LIT("#")) ? NULL : word_take(&line);

		if (word)
			variable_add(u, word);
		mem_free(whole);
	}
}

void unit_file_done(struct unit_file *u)
{
	words_done(u);
	for (size_t i = 0; i < u->variable_count; i++)
		mem_free(u->variables[i]);
	mem_free(u->variable_file);
	mem_free(u->credential_name);
	mem_free(u->credential_path);
	*u = (struct unit_file){ 0 };
}
