#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

/* Longer lines are cut: a peer's header must not flood the log. */
#define LINE_BYTES 4096
#define VALUE_BYTES 1024

static enum log_level min_level = LOG_INFO;
static enum log_format stderr_format = LOG_CONSOLE;
static bool use_colour;
static int file_fd = -1;

static const char *const level_names[] = { "debug", "info", "warn", "error", "fatal" };
static const char *const level_short[] = { "DBG", "INF", "WRN", "ERR", "FTL" };
static const char *const level_colour[] = { "\033[2m", "\033[32m", "\033[33m", "\033[31m",
					    "\033[31m" };

struct line {
	char text[LINE_BYTES];
	size_t len;
};

void log_setup(enum log_level level, enum log_format format)
{
	min_level = level;
	stderr_format = format;
	use_colour = format == LOG_CONSOLE && isatty(STDERR_FILENO);
}

int log_to_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

	if (fd < 0)
		return -errno;
	if (file_fd >= 0)
		close(file_fd);
	file_fd = fd;
	return 0;
}

bool log_level_parse(const char *word, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
		if (strcmp(word, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	return false;
}

bool log_enabled(enum log_level level)
{
	return level >= min_level;
}

static void put(struct line *l, const char *text, size_t len)
{
	if (len > sizeof(l->text) - 2 - l->len)
		len = sizeof(l->text) - 2 - l->len;
	memcpy(l->text + l->len, text, len);
	l->len += len;
}

static void put_str(struct line *l, const char *text)
{
	put(l, text, strlen(text));
}

/* JSON string escapes; valid in console output too. Bytes above 0x7f pass (UTF-8). */
static void put_escaped(struct line *l, struct bytes b)
{
	for (size_t i = 0; i < b.len && i < VALUE_BYTES; i++) {
		char escape[8];
		uint8_t c = b.ptr[i];
		if (c == '"' || c == '\\') {
			escape[0] = '\\';
			escape[1] = (char)c;
			put(l, escape, 2);
		} else if (c < 0x20 || c == 0x7f) {
			snprintf(escape, sizeof(escape), "\\u%04x", c);
			put(l, escape, 6);
		} else {
			put(l, (const char *)&b.ptr[i], 1);
		}
	}
	if (b.len > VALUE_BYTES)
		put_str(l, "...");
}

static bool needs_quotes(struct bytes b)
{
	for (size_t i = 0; i < b.len; i++)
		if (b.ptr[i] <= ' ' || b.ptr[i] == '"' || b.ptr[i] == '\\' || b.ptr[i] == '=' ||
		    b.ptr[i] == 0x7f)
			return true;
	return b.len == 0;
}

static void put_value(struct line *l, const struct log_field *f, enum log_format format)
{
	char number[24];

	if (f->type == LOG_FIELD_BYTES) {
		bool quoted = format == LOG_JSON || needs_quotes(f->text);
		if (quoted)
			put_str(l, "\"");
		put_escaped(l, f->text);
		if (quoted)
			put_str(l, "\"");
	} else if (f->type == LOG_FIELD_BOOL) {
		put_str(l, f->number ? "true" : "false");
	} else {
		snprintf(number, sizeof(number), "%lld", (long long)f->number);
		put_str(l, number);
	}
}

static void write_line(int fd, enum log_format format, enum log_level level, const char *time,
		       const char *component, const char *message, const struct log_field *fields)
{
	struct line l;

	l.len = 0;
	if (format == LOG_JSON) {
		put_str(&l, "{\"level\":\"");
		put_str(&l, level_names[level]);
		put_str(&l, "\",\"time\":\"");
		put_str(&l, time);
		put_str(&l, "\",\"component\":\"");
		put_str(&l, component);
		put_str(&l, "\",\"message\":\"");
		put_escaped(&l, bytes_str(message));
		put_str(&l, "\"");
		for (; fields->key; fields++) {
			put_str(&l, ",\"");
			put_str(&l, fields->key);
			put_str(&l, "\":");
			put_value(&l, fields, format);
		}
		/* A cut line must still be JSON as far as it goes; readers skip the rare broken one. */
		put_str(&l, "}");
	} else {
		bool colour = use_colour && fd == STDERR_FILENO;
		put_str(&l, time);
		put_str(&l, " ");
		put_str(&l, colour ? level_colour[level] : "");
		put_str(&l, level_short[level]);
		put_str(&l, colour ? "\033[0m " : " ");
		put_escaped(&l, bytes_str(message));
		for (; fields->key; fields++) {
			put_str(&l, " ");
			put_str(&l, fields->key);
			put_str(&l, "=");
			put_value(&l, fields, format);
		}
	}
	l.text[l.len++] = '\n';
	/* A log that cannot be written has nowhere to complain. */
	ssize_t n = write(fd, l.text, l.len);
	(void)n;
}

void log_write(enum log_level level, const char *component, const char *message,
	       const struct log_field *fields)
{
	char time[32];

	clock_rfc3339(clock_wall_now(), time, sizeof(time));
	time[19] = 'Z'; /* whole seconds, as users of the log expect */
	time[20] = 0;
	write_line(STDERR_FILENO, stderr_format, level, time, component, message, fields);
	if (file_fd >= 0)
		write_line(file_fd, LOG_JSON, level, time, component, message, fields);
}
