/* One line per event, for a person (console) or a program (JSON).
 *
 *   log_info("edge/tunnels", "connector registered", LOG_STR("tunnel", name), LOG_INT("index", 0));
 *
 * console: 2026-01-02T03:04:05Z INF connector registered tunnel=home index=0
 * json:    {"level":"info","time":"…","component":"edge/tunnels","message":"…","tunnel":"home","index":0}
 *
 * Lines go to stderr, and to a file when one is set. Values are escaped: no control byte of a peer
 * reaches a terminal, and what looks like a password or token in an event is masked (base/redact.h).
 * Still: never pass a secret, token, cookie or full query string. A line has at most 4096 bytes, with
 * the newline; what does not fit is cut and the line says so (cut=true).
 *
 * Any thread. Until log_start() a line is written before the call returns. After it the call leaves a
 * copy in a queue and never waits: one thread formats and writes, many lines with one system call. When
 * a disk or terminal cannot follow, lines are dropped and counted, those of the access log first,
 * warnings last, and a later line says how many. The lines of one thread stay in order.
 *
 * Layers below transport do not log above debug.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/uuid.h"

struct metric;

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_FATAL };
enum log_format { LOG_CONSOLE, LOG_JSON };

struct log_field {
	const char *key; /* NULL ends the list; static, lives as long as the program */
	enum {
		LOG_FIELD_BYTES,
		LOG_FIELD_INT,
		LOG_FIELD_BOOL,
		LOG_FIELD_MSEC, /* `number` microseconds, written as milliseconds: 1.234 */
		LOG_FIELD_UUID, /* `text` are its 16 bytes */
	} type;
	struct bytes text;
	int64_t number;
};

#define LOG_STR(k, v) \
	((struct log_field){ .key = (k), .type = LOG_FIELD_BYTES, .text = bytes_str(v) })
#define LOG_BYTES(k, v) ((struct log_field){ .key = (k), .type = LOG_FIELD_BYTES, .text = (v) })
#define LOG_INT(k, v) \
	((struct log_field){ .key = (k), .type = LOG_FIELD_INT, .number = (int64_t)(v) })
#define LOG_BOOL(k, v) ((struct log_field){ .key = (k), .type = LOG_FIELD_BOOL, .number = (v) })
#define LOG_MSEC(k, v) ((struct log_field){ .key = (k), .type = LOG_FIELD_MSEC, .number = (v) })
#define LOG_UUID(k, v) \
	((struct log_field){ .key = (k), .type = LOG_FIELD_UUID, .text = uuid_bytes(v) })

/* --- Settings: once at start, before other threads exist ------------------------------------- */

/* What goes to stderr, and how. Default: info, console. */
void log_setup(enum log_level level, enum log_format format);
/* A level of its own for one component and those below it: "transport" and "transport/h2". `component`
 * is static. */
void log_setup_component(const char *component, enum log_level level);
/* From now on events go to the file only: stderr belongs to another program's user. */
void log_leave_stderr(void);
/* Appends to the file as JSON lines, in addition to stderr; makes it, mode 0640, and its folders. A second
 * call replaces the first. 0 or negative errno; log_reopen() tries a file again that could not be opened. */
int log_to_file(const char *path);
/* The same in a directory: NAME.log, and when that has LIMIT_LOG_FILE_BYTES it
 * becomes NAME-2026-01-02T03-04-05.678.log; LIMIT_LOG_OLD_FILES of those are kept. */
int log_to_directory(const char *directory, const char *name);
/* "debug", "info", "warn", "error", "fatal". False for any other word. */
bool log_level_parse(const char *word, enum log_level *ret);

/* --- The access log ---------------------------------------------------------------------------- */

/* Where its lines go: "off" (the default), "log" (with the events, as lines of level info), "stderr",
 * "stdout", or the path of a file of its own. `format` is for all but "log". 0 or negative errno. */
int log_access_to(const char *where, enum log_format format);
bool log_access_enabled(void);
void log_access(const char *component, const char *message, const struct log_field *fields);
/* A line that is formatted already, without its newline; no control bytes. */
void log_access_text(struct bytes line);

/* --- Life -------------------------------------------------------------------------------------- */

/* From now on a thread writes. Once there is one, the process may fork: the child writes its own. */
void log_start(void);
/* Writes what is queued, ends the thread. Lines after it are written at once again. */
void log_stop(void);
/* Opens the files by their names again, after whoever rotates them has renamed them. Returns at once. */
void log_reopen(void);
/* Waits until what this thread has logged is written, or was dropped. */
void log_flush(void);
/* The same for a process that is about to abort(): waits a moment at most, takes no lock for granted. */
void log_flush_dying(void);

/* adit_log_lines_dropped_total: not registered by itself. */
extern struct metric metric_log_dropped;

/* --- Lines ------------------------------------------------------------------------------------- */

/* Would a line of that level be written by some component? */
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
