/* One line per event, for a person (console) or a program (JSON).
 *
 *   log_info("edge/tunnels", "connector registered", LOG_STR("tunnel", name), LOG_INT("index", 0));
 *
 * console: 2026-01-02T03:04:05Z INF connector registered tunnel=home index=0
 * json:    {"level":"info","time":"…","component":"edge/tunnels","message":"…","tunnel":"home","index":0}
 *
 * Lines go to stderr, and to a file when one is set. Values are escaped: no control byte of a peer
 * reaches a terminal. Never pass a secret, token, cookie or full query string. Any thread; one write
 * per line. Layers below transport do not log above debug.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_FATAL };
enum log_format { LOG_CONSOLE, LOG_JSON };

struct log_field {
	const char *key; /* NULL ends the list */
	enum { LOG_FIELD_BYTES, LOG_FIELD_INT, LOG_FIELD_BOOL } type;
	struct bytes text;
	int64_t number;
};

#define LOG_STR(k, v) \
	((struct log_field){ .key = (k), .type = LOG_FIELD_BYTES, .text = bytes_str(v) })
#define LOG_BYTES(k, v) ((struct log_field){ .key = (k), .type = LOG_FIELD_BYTES, .text = (v) })
#define LOG_INT(k, v) \
	((struct log_field){ .key = (k), .type = LOG_FIELD_INT, .number = (int64_t)(v) })
#define LOG_BOOL(k, v) ((struct log_field){ .key = (k), .type = LOG_FIELD_BOOL, .number = (v) })

/* Set once at start, before other threads exist. Default: info, console, stderr. */
void log_setup(enum log_level level, enum log_format format);
/* Appends to the file as JSON lines, in addition to stderr. 0 or negative errno. */
int log_to_file(const char *path);
/* "debug", "info", "warn", "error", "fatal". False for any other word. */
bool log_level_parse(const char *word, enum log_level *ret);
bool log_enabled(enum log_level level);

void log_write(enum log_level level, const char *component, const char *message,
	       const struct log_field *fields);

#define log_at_(level, component, message, ...)                                                   \
	do {                                                                                      \
		if (log_enabled(level))                                                           \
			log_write(level, component, message,                                      \
				  (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } }); \
	} while (0)

#define log_debug(component, message, ...) log_at_(LOG_DEBUG, component, message, __VA_ARGS__)
#define log_info(component, message, ...) log_at_(LOG_INFO, component, message, __VA_ARGS__)
#define log_warn(component, message, ...) log_at_(LOG_WARN, component, message, __VA_ARGS__)
#define log_error(component, message, ...) log_at_(LOG_ERROR, component, message, __VA_ARGS__)
