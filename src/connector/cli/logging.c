#include "connector/cli/logging.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/redact.h"
#include "connector/cli/files.h"

#define COMPONENT "connector/cli"

/* A line of the log has no room for more. */
#define MAP_BYTES 4000

static enum log_level level_of(const struct cli *cli, enum flag_id id)
{
	enum log_level level = LOG_INFO;

	(void)log_level_parse(settings_text(&cli->settings, id), &level);
	return level;
}

static void check_level(const struct cli *cli, enum flag_id id)
{
	const char *word = settings_text(&cli->settings, id);
	enum log_level ignored;

	if (!log_level_parse(word, &ignored))
		log_error(COMPONENT, "Failed to parse log level, using info instead",
			  LOG_STR("given", word));
}

static enum log_format format_of(const struct cli *cli)
{
	bool is_json = strcmp(settings_text(&cli->settings, FLAG_LOG_OUTPUT), "json") == 0;

	return is_json ? LOG_JSON : LOG_CONSOLE;
}

static void check_file(int ret, const char *path)
{
	if (ret < 0)
		log_error(COMPONENT, "Unable to write to the log file", LOG_STR("file", path),
			  LOG_STR("error", strerror(-ret)));
}

void logging_setup(const struct cli *cli)
{
	const char *file = settings_text(&cli->settings, FLAG_LOGFILE);
	const char *directory = settings_text(&cli->settings, FLAG_LOG_DIRECTORY);

	log_setup(level_of(cli, FLAG_LOGLEVEL), format_of(cli));
	log_setup_component("transport", level_of(cli, FLAG_TRANSPORT_LOGLEVEL));
	if (*file || *directory) {
		char *path = file_expand(*file ? file : directory);
		check_file(*file ? log_to_file(path) : log_to_directory(path, cli->program), path);
		mem_free(path);
	}
	check_level(cli, FLAG_LOGLEVEL);
	check_level(cli, FLAG_TRANSPORT_LOGLEVEL);
	if (*file && *directory)
		log_error(COMPONENT,
			  "Your config includes values for both logfile and log-directory, but they are "
			  "incompatible. logfile takes precedence.",
			  LOG_STR("logfile", file), LOG_STR("logDirectory", directory));
}

void logging_start_run(const struct cli *cli)
{
	const char *where = settings_text(&cli->settings, FLAG_ACCESS_LOG);
	bool is_stdio = strcmp(where, "stderr") == 0 || strcmp(where, "stdout") == 0;
	char *path = strchr(where, '/') ? file_expand(where) : mem_strdup(where);

	check_file(log_access_to(path, is_stdio ? format_of(cli) : LOG_JSON), path);
	mem_free(path);
	log_start();
}

void logging_stop_run(void)
{
	log_stop();
}

/* --- How it was started ---------------------------------------------------------------------- */

/* As Go prints a map: "map[a:1 b:2]", sorted. What does not fit is left out: it is for people. */
struct pair {
	char *key, *value; /* owned */
};

struct pairs {
	struct pair *list;
	size_t count;
};

static void pairs_add(struct pairs *p, char *key, char *value)
{
	p->list = mem_resize(p->list, (p->count + 1) * sizeof(*p->list));
	p->list[p->count++] = (struct pair){ key, value };
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static void pairs_log(struct pairs *p, const char *what)
{
	struct buf text;
	int ret;

	if (!p->count)
		return;
	qsort(p->list, p->count, sizeof(*p->list), by_key);
	buf_init(&text, MAP_BYTES);
	ret = buf_printf(&text, "%s map[", what);
	for (size_t i = 0; i < p->count; i++) {
		ret |= buf_printf(&text, "%s%s:%s", i ? " " : "", p->list[i].key, p->list[i].value);
		mem_free(p->list[i].key);
		mem_free(p->list[i].value);
	}
	if (ret < 0 || buf_append_str(&text, "]") < 0)
		log_debug(COMPONENT, "more settings than a line has room for");
	mem_free(p->list);
	char *message = buf_take_str(&text);
	log_info(COMPONENT, message);
	mem_free(message);
}

static char *flag_value(const struct settings *s, enum flag_id id)
{
	char *const *texts;
	size_t count = settings_list(s, id, &texts);
	char *all = mem_strdup("");

	if (flag_get(id)->is_secret) {
		mem_free(all);
		return mem_strdup(REDACTED);
	}
	if (flag_get(id)->type != FLAG_LIST) {
		mem_free(all);
		return mem_strdup(settings_text(s, id));
	}
	for (size_t i = 0; i < count; i++) {
		char *longer = mem_printf("%s%s%s", all, i ? " " : "", texts[i]);
		mem_free(all);
		all = longer;
	}
	char *list = mem_printf("[%s]", all);
	mem_free(all);
	return list;
}

static bool is_secret_variable(struct bytes name)
{
	for (int i = 0; i < FLAG_COUNT; i++) {
		const struct flag *flag = flag_get((enum flag_id)i);
		struct bytes names = bytes_str(flag->env), one;
		while (flag->is_secret && bytes_split(&names, ' ', &one))
			if (bytes_eq(one, name))
				return true;
	}
	return redact_is_secret_name(name);
}

void logging_show_settings(const struct settings *s)
{
	struct pairs settings = { 0 }, variables = { 0 };

	for (int i = 0; i < FLAG_COUNT; i++) {
		enum flag_id id = (enum flag_id)i;
		if (settings_is_set(s, id))
			pairs_add(&settings, mem_strdup(flag_get(id)->name), flag_value(s, id));
	}
	pairs_log(&settings, "Settings:");
	for (char **at = environ; *at; at++) {
		struct bytes all = bytes_str(*at);
		struct bytes name = bytes_first(all, bytes_index(all, '='));
		struct bytes value = bytes_from(all, name.len + 1);
		if (bytes_starts_with(name, BYTES_LIT("TUNNEL_")))
			pairs_add(&variables, mem_strndup(name),
				  is_secret_variable(name) ? mem_strdup(REDACTED)
							   : mem_strndup(value));
	}
	pairs_log(&variables, "Environmental variables");
}
