/* Shared by log.c (the queue and its thread), log_format.c (a record as text) and log_sink.c (the places
 * lines go to). Nobody else includes it. */
#pragma once

#include "base/log.h"

/* With the newline. A pipe takes as much in one piece (PIPE_BUF), so that lines of several processes
 * do not mix. */
#define LOG_LINE_BYTES 4096
/* Longer values are cut: a peer's header must not flood the log. */
#define LOG_VALUE_BYTES 1024
#define LOG_RECORD_BYTES 8192

/* --- Records: a line as it waits, before it is text ------------------------------------------- */

enum log_kind { LOG_EVENT, LOG_ACCESS, LOG_TEXT };

/* Sinks, as bits of a route. */
enum log_place { LOG_AT_STDERR = 1, LOG_AT_FILE = 2, LOG_AT_ACCESS = 4 };

#define LOG_FORMAT_OF_SINK 0xff

/* Followed by the message and the fields, each padded to 8 bytes. */
struct log_record {
	uint32_t size; /* of all of it */
	uint8_t level, kind, route, format;
	usec wall;
	const char *component;
	uint16_t message_len, field_count;
	bool is_cut;
};

/* Followed by its bytes. */
struct log_packed {
	const char *key;
	int64_t number;
	uint32_t len;
	uint8_t type;
	bool is_cut;
};

/* Into LOG_RECORD_BYTES at `dst`, aligned to 8. Returns the size. */
size_t log_record_pack(void *dst, const struct log_record *head, struct bytes message,
		       const struct log_field *fields);

/* --- Text (log_format.c); one thread at a time ------------------------------------------------ */

struct log_line {
	size_t len; /* with the newline */
	char text[LOG_LINE_BYTES];
};

void log_format_record(struct log_line *line, const struct log_record *r, enum log_format format,
		       bool use_colour);

/* --- Sinks (log_sink.c); one thread at a time ------------------------------------------------- */

struct log_sink {
	int fd; /* -1: closed */
	enum log_format format;
	bool use_colour;
	bool is_slow;    /* a pipe, terminal or socket: asked before each write */
	bool has_path;   /* a file, to be opened again */
	bool is_rolling; /* and cut into pieces of LIMIT_LOG_FILE_BYTES */
	char *path;      /* owned */
	uint64_t size;   /* of the file */
	uint64_t roll_at;

	char *out;        /* owned; formatted, not written */
	size_t len, from; /* from: within a flush, what has left already */
	bool is_torn;     /* `out` begins within a line */

	/* Said once each time it begins and ends. */
	int failed_errno; /* now; 0: none. ETIMEDOUT: it takes nothing */
	bool tells_failure, tells_recovery;
	uint64_t lost; /* lines, since it failed */
};

void log_sink_open_fd(struct log_sink *s, int fd);
int log_sink_open_path(struct log_sink *s, const char *path, bool is_rolling);
void log_sink_reopen(struct log_sink *s);
void log_sink_close(struct log_sink *s); /* frees; stdio stays open */
/* Queues a line; writes when there are many. `level` decides what is dropped when it is stuck. */
void log_sink_add(struct log_sink *s, const struct log_line *line, enum log_level level);
/* Writes what is queued. `patient`: waits as long as it takes. */
void log_sink_flush(struct log_sink *s, bool patient);
