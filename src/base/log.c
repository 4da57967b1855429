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

/* Length of the UTF-8 character at the front (RFC 3629: shortest form, no surrogates), or 0. */
static size_t utf8_length(struct bytes b)
{
	uint8_t first = b.ptr[0];
	size_t len = first < 0x80   ? 1
		     : first < 0xc2 ? 0
		     : first < 0xe0 ? 2
		     : first < 0xf0 ? 3
		     : first < 0xf5 ? 4
				    : 0;

	if (len > b.len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((b.ptr[i] & 0xc0) != 0x80)
			return 0;
	if (len > 2) {
		uint8_t second = b.ptr[1];
		if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
		    (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
			return 0;
	}
	return len;
}

/* JSON string escapes; valid in console output too. Whole UTF-8 characters pass, but for the control
 * characters of either range: terminals obey the C1 ones (U+0080 to U+009F) as well. */
static void put_escaped(struct line *l, struct bytes b)
{
	struct bytes rest = bytes_first(b, VALUE_BYTES);

	while (rest.len) {
		char escape[8];
		size_t len = utf8_length(rest);
		uint8_t c = rest.ptr[0];
		if (len == 0) {
			put_str(l, "\\ufffd");
			len = 1;
		} else if (c == '"' || c == '\\') {
			escape[0] = '\\';
			escape[1] = (char)c;
			put(l, escape, 2);
		} else if (c < 0x20 || c == 0x7f || (c == 0xc2 && rest.ptr[1] < 0xa0)) {
			snprintf(escape, sizeof(escape), "\\u%04x", len == 1 ? c : rest.ptr[1]);
			put(l, escape, 6);
		} else {
			put(l, (const char *)rest.ptr, len);
		}
		rest = bytes_from(rest, len);
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
