/* The values of the flags: command line over environment over config file over default.
 *
 * Filled in that order, so that whoever comes first wins. One thread.
 */
#pragma once

#include <stdint.h>

#include "base/clock.h"
#include "config/yaml.h"
#include "connector/cli/flags.h"

enum setting_source { SETTING_PRESET, SETTING_FILE, SETTING_ENV, SETTING_COMMAND };

struct setting {
	enum setting_source source;
	char **texts; /* owned; one, or several of a list */
	size_t count;
};

struct settings {
	struct setting values[FLAG_COUNT];
};

void settings_done(struct settings *s);
/* A value of the command line: the last one wins, a list grows and is split at commas. E_INVALID. */
int settings_add(struct settings *s, enum flag_id id, const char *text, struct err *err);
/* From the environment, unless the command line said something. */
int settings_add_env(struct settings *s, enum flag_id id, struct err *err);
/* From the config file's key, unless command line or environment said something. What is false, 0 or
 * empty is as if it were not there. */
int settings_add_key(struct settings *s, enum flag_id id, const struct yaml_node *root,
		     struct err *err);

/* Set by anybody, not by default? */
bool settings_is_set(const struct settings *s, enum flag_id id);
/* Set, and one of those that have no effect in this version? */
bool settings_is_in_vain(const struct settings *s, enum flag_id id);
const char *settings_text(const struct settings *s, enum flag_id id); /* "" when there is none */
bool settings_bool(const struct settings *s, enum flag_id id);
int64_t settings_int(const struct settings *s, enum flag_id id);
usec settings_duration(const struct settings *s, enum flag_id id);
size_t settings_list(const struct settings *s, enum flag_id id, char *const **ret);
