/* The flags that are set, as /diag/configuration shows them. */
#include <unistd.h>

#include "base/mem.h"
#include "connector/cli/files.h"
#include "connector/cli/run_config.h"

/* Whoever reads it may stand in another directory. Owned by the caller. */
static char *absolute_path(const char *path)
{
	char *expanded = file_expand(path);
	char directory[4096];

	if (*expanded == '/' || !getcwd(directory, sizeof(directory)))
		return expanded;
	char *whole = mem_printf("%s/%s", directory, expanded);
	mem_free(expanded);
	return whole;
}

/* A URL may carry a password, which becomes five asterisks. Owned by the caller. */
static char *without_userinfo(const char *text)
{
	const char *scheme_end = strstr(text, "://");

	if (!scheme_end)
		return mem_strdup(text);
	const char *authority = scheme_end + 3;
	const char *at = memrchr(authority, '@', strcspn(authority, "/?#"));
	if (!at)
		return mem_strdup(text);
	return mem_printf("%.*s*****%s", (int)(authority - text), text, at);
}

/* Lists as Go prints them: "[a b]". Owned by the caller. */
static char *list_text(const struct settings *s, enum flag_id id)
{
	char *const *texts;
	size_t count = settings_list(s, id, &texts);
	char *all = mem_strdup("[");

	for (size_t i = 0; i < count; i++) {
		char *one = without_userinfo(texts[i]);
		char *longer = mem_printf("%s%s%s", all, i ? " " : "", one);
		mem_free(one);
		mem_free(all);
		all = longer;
	}
	char *whole = mem_printf("%s]", all);
	mem_free(all);
	return whole;
}

static char *flag_text(const struct settings *s, enum flag_id id)
{
	if (flag_get(id)->type == FLAG_LIST)
		return list_text(s, id);
	if (id == FLAG_LOGFILE || id == FLAG_LOG_DIRECTORY)
		return absolute_path(settings_text(s, id));
	if (id == FLAG_EDGE_PROXY && !strstr(settings_text(s, id), "://")) {
		/* USER:PASSWORD@HOST:PORT will do there. */
		const char *at = strrchr(settings_text(s, id), '@');
		return mem_printf("%s%s", at ? "*****" : "", at ? at : settings_text(s, id));
	}
	return without_userinfo(settings_text(s, id));
}

void run_flags(const struct settings *s, struct connector_config *cfg)
{
	cfg->flags = mem_alloc_array(FLAG_COUNT, sizeof(*cfg->flags));
	for (int i = 0; i < FLAG_COUNT; i++) {
		enum flag_id id = (enum flag_id)i;
		if (!settings_is_set(s, id) || flag_get(id)->is_secret)
			continue;
		struct connector_flag *flag = &cfg->flags[cfg->flag_count++];
		flag->name = flag_get(id)->name;
		flag->value = flag_text(s, id);
	}
}
