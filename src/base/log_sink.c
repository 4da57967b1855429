/* Places that lines go to: stderr, stdout, files, files that roll. Only one thread at a time is here.
 *
 * A place that takes nothing keeps up to LIMIT_LOG_PENDING_BYTES of lines, whole ones; further ones are
 * lost and counted. When a write got only through a part of a line, the rest is kept and leaves first, so
 * that no line is ever torn.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log_internal.h"
#include "base/mem.h"
#include "base/metrics.h"

/* What a pipe takes without blocking once it says that it is writable. */
#define PIECE_BYTES LOG_LINE_BYTES
/* Of LIMIT_LOG_PENDING_BYTES: for warnings and worse. */
#define WARN_BYTES (2 * LOG_LINE_BYTES)
/* -2026-01-02T03-04-05.678.log */
#define OLD_SUFFIX_BYTES 28

/* --- Opening --------------------------------------------------------------------------------- */

static bool is_stdio(const struct log_sink *s)
{
	return s->fd == STDERR_FILENO || s->fd == STDOUT_FILENO;
}

static void look_at(struct log_sink *s)
{
	struct stat st;

	s->size = 0;
	s->is_slow = false;
	if (fstat(s->fd, &st) < 0)
		return;
	s->is_slow = S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(s->fd);
	if (S_ISREG(st.st_mode))
		s->size = (uint64_t)st.st_size;
	s->roll_at = LIMIT_LOG_FILE_BYTES;
}

void log_sink_open_fd(struct log_sink *s, int fd)
{
	s->fd = fd;
	look_at(s);
}

static int open_file(struct log_sink *s)
{
	/* Not to hang on a named pipe without a reader. */
	int fd = open(s->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		      0640);

	if (fd < 0)
		return -errno;
	if (s->fd >= 0)
		close(s->fd); /* allowed: a plain file */
	s->fd = fd;
	look_at(s);
	return 0;
}

/* --- Rolling --------------------------------------------------------------------------------- */

/* The path without ".log", of which every name begins. */
static struct bytes stem(const struct log_sink *s)
{
	struct bytes path = bytes_str(s->path);

	return bytes_first(path, path.len - 4);
}

/* "-2026-01-02T03-04-05.678.log", the stock connector's form, so that tools find them. */
static bool is_old_suffix(struct bytes text)
{
	static const char form[] = "-dddd-dd-ddTdd-dd-dd.ddd.log";

	if (text.len != OLD_SUFFIX_BYTES)
		return false;
	for (size_t i = 0; i < OLD_SUFFIX_BYTES; i++) {
		uint8_t c = text.ptr[i];
		if (form[i] == 'd' ? c < '0' || c > '9' : c != (uint8_t)form[i])
			return false;
	}
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void remove_oldest(const struct log_sink *s)
{
	struct bytes begin = stem(s);
	size_t slash = begin.len;
	char **names = NULL;
	size_t count = 0;

	while (slash && begin.ptr[slash - 1] != '/')
		slash--;
	char *folder = slash ? mem_strndup(bytes_first(begin, slash)) : mem_strdup("./");
	struct bytes name = bytes_from(begin, slash);
	DIR *dir = opendir(folder);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		struct bytes entry = bytes_str(e->d_name);
		if (!bytes_starts_with(entry, name) || !is_old_suffix(bytes_from(entry, name.len)))
			continue;
		names = mem_resize(names, (count + 1) * sizeof(*names));
		names[count++] = mem_printf("%s%s", folder, e->d_name);
	}
	if (dir)
		closedir(dir);
	/* Times as they are written sort as they are. */
	if (count)
		qsort(names, count, sizeof(*names), by_name);
	for (size_t i = 0; i < count; i++) {
		if (i + LIMIT_LOG_OLD_FILES < count)
			(void)unlink(names[i]);
		mem_free(names[i]);
	}
	mem_free(names);
	mem_free(folder);
}

/* Renames the file to a name that nobody has. */
static int rename_old(const struct log_sink *s)
{
	usec wall = clock_wall_now();
	struct bytes begin = stem(s);
	int ret = -EEXIST;

	/* Of two rollings in a millisecond the later one waits in name only. */
	for (int i = 0; i < 1000 && ret == -EEXIST; i++, wall += USEC_PER_MSEC) {
		char time[32];
		clock_rfc3339(wall, time, sizeof(time));
		time[13] = time[16] = '-';
		char *old = mem_printf(BYTES_FMT "-%.23s.log", BYTES_ARG(begin), time);
		/* Not to take the place of one that is there. musl has no name for this call. */
		ret = syscall(SYS_renameat2, AT_FDCWD, s->path, AT_FDCWD, old, RENAME_NOREPLACE) < 0
			      ? -errno
			      : 0;
		if (ret == -EINVAL || ret == -ENOSYS) { /* a file system that cannot */
			ret = -EEXIST;
			if (access(old, F_OK) < 0)
				ret = rename(s->path, old) < 0 ? -errno : 0;
		}
		mem_free(old);
	}
	return ret;
}

static void fail(struct log_sink *s, int number)
{
	if (s->failed_errno == 0)
		s->tells_failure = true;
	s->failed_errno = number;
}

static void roll(struct log_sink *s)
{
	int ret = rename_old(s);

	/* Somebody else may have moved it. */
	if (ret == 0 || ret == -ENOENT) {
		ret = open_file(s);
		remove_oldest(s);
	}
	if (ret == 0)
		return;
	/* It goes on as it is, and another try is made when it has grown as much again. */
	s->roll_at = s->size + LIMIT_LOG_FILE_BYTES;
	fail(s, -ret);
}

/* --- Paths ----------------------------------------------------------------------------------- */

static void make_folders(const char *path)
{
	char *copy = mem_strdup(path);

	for (char *at = copy + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = 0;
		(void)mkdir(copy, 0750); /* what is wrong with it, opening the file will say */
		*at = '/';
	}
	mem_free(copy);
}

int log_sink_open_path(struct log_sink *s, const char *path, bool is_rolling)
{
	s->has_path = true;
	s->is_rolling = is_rolling;
	s->path = mem_strdup(path);
	make_folders(path);
	int ret = open_file(s);
	if (ret == 0 && is_rolling)
		remove_oldest(s);
	return ret;
}

static void lose(struct log_sink *s, uint64_t lines)
{
	s->lost += lines;
	metric_add(&metric_log_dropped, (int64_t)lines);
}

/* The rest of a line whose beginning went elsewhere is nobody's. */
static void drop_torn(struct log_sink *s)
{
	if (!s->is_torn || !s->len)
		return;
	const char *newline = memchr(s->out, '\n', s->len);
	size_t rest = newline ? (size_t)(newline + 1 - s->out) : s->len;
	memmove(s->out, s->out + rest, s->len - rest);
	s->len -= rest;
	s->is_torn = false;
	lose(s, 1);
}

void log_sink_reopen(struct log_sink *s)
{
	if (!s->has_path)
		return;
	log_sink_flush(s, false);
	int ret = open_file(s);
	if (ret < 0)
		fail(s, -ret); /* what is open stays so */
	else
		drop_torn(s);
}

void log_sink_close(struct log_sink *s)
{
	if (s->fd >= 0 && !is_stdio(s))
		close(s->fd); /* allowed: a plain file */
	mem_free(s->path);
	mem_free(s->out);
	*s = (struct log_sink){ .fd = -1 };
}

/* --- Writing --------------------------------------------------------------------------------- */

static uint64_t count_lines(const char *text, size_t len)
{
	uint64_t count = 0;

	for (size_t i = 0; i < len; i++)
		count += text[i] == '\n';
	return count;
}

/* Forgets what has been written, or will never be. */
static void settle(struct log_sink *s)
{
	s->len -= s->from;
	memmove(s->out, s->out + s->from, s->len);
	s->from = 0;
}

static void consume(struct log_sink *s, size_t n)
{
	if (n == 0)
		return;
	s->is_torn = s->out[s->from + n - 1] != '\n';
	s->from += n;
	s->size += n;
}

/* As many whole lines as a pipe surely takes. */
static size_t piece(const struct log_sink *s)
{
	size_t all = s->len - s->from, len = all < PIECE_BYTES ? all : PIECE_BYTES;

	while (len && s->out[s->from + len - 1] != '\n')
		len--;
	return len ? len : all;
}

/* 0, or what is wrong with it. */
static int write_some(struct log_sink *s, int wait_ms)
{
	size_t len = s->len - s->from;

	if (s->is_slow) {
		struct pollfd p = { .fd = s->fd, .events = POLLOUT };
		int ready = poll(&p, 1, wait_ms);
		if (ready == 0)
			return ETIMEDOUT;
		if (ready < 0)
			return errno == EINTR ? 0 : errno;
		len = piece(s);
	}
	/* allowed: stdio or a plain file, and no loop here */
	ssize_t n = write(s->fd, s->out + s->from, len);
	if (n >= 0) {
		consume(s, (size_t)n);
		return 0;
	}
	return errno == EINTR ? 0 : errno;
}

/* Somebody else has made a pipe of ours non-blocking, and it had less room than pipes have. */
static void wait_a_moment(const struct log_sink *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLOUT };

	(void)poll(&p, 1, 1);
}

void log_sink_flush(struct log_sink *s, bool patient)
{
	int wait_ms = patient ? -1 : s->failed_errno ? 0 : LIMIT_LOG_STALL_MS;
	int number = 0;

	if (!s->len)
		return;
	while (s->from < s->len && number == 0) {
		number = s->fd < 0 ? EBADF : write_some(s, wait_ms);
		if (number == EAGAIN && patient) {
			wait_a_moment(s);
			number = 0;
		}
	}
	if (number == EAGAIN)
		number = ETIMEDOUT;
	if (number) {
		fail(s, number);
		/* Whoever has closed its end does not come back. */
		if (number == EPIPE || number == EBADF) {
			lose(s, count_lines(s->out + s->from, s->len - s->from));
			s->from = s->len;
			s->is_torn = false;
		}
	} else if (s->failed_errno) {
		s->failed_errno = 0;
		s->tells_recovery = s->lost > 0;
	}
	settle(s);
}

void log_sink_add(struct log_sink *s, const struct log_line *line, enum log_level level)
{
	size_t most = LIMIT_LOG_PENDING_BYTES - (level >= LOG_WARN ? 0 : WARN_BYTES);

	if (!s->out)
		s->out = mem_alloc(LIMIT_LOG_PENDING_BYTES);
	if (s->is_rolling && s->size + s->len && s->size + s->len + line->len > s->roll_at) {
		log_sink_flush(s, false);
		if (s->len == 0)
			roll(s);
	}
	if (s->len + line->len > most)
		log_sink_flush(s, false);
	if (s->len + line->len > most) {
		lose(s, 1);
		return;
	}
	memcpy(s->out + s->len, line->text, line->len);
	s->len += line->len;
}
