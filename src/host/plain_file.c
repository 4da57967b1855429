#include "host/plain_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"

bool file_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

/* The file of that name in the absolute folders of PATH: owned, NULL: there is none. */
static char *find_in_path(const char *name)
{
	struct bytes rest = bytes_str(getenv("PATH")), folder;

	while (bytes_split(&rest, ':', &folder)) {
		char *path = mem_printf("%.*s/%s", (int)folder.len, (const char *)folder.ptr, name);
		if (path[0] == '/' && file_exists(path))
			return path;
		mem_free(path);
	}
	return NULL;
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat one, other;

	return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
	       one.st_ino == other.st_ino;
}

char *file_own_program(const char *name)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *found = find_in_path(name);

	exe[n > 0 ? n : 0] = 0;
	/* An update may have replaced the file that the kernel knows; a link may have given it another name. */
	if (!file_exists(exe))
		return found ? found : mem_strdup(name);
	if (found && is_same_file(found, exe))
		return found;
	mem_free(found);
	return mem_strdup(exe);
}

/* ------------------------------------------------------------------------------------------
 * By stdio: no loop waits for them. */

int file_read(const char *path, size_t max, struct buf *ret, struct err *err)
{
	FILE *file = fopen(path, "rbe");
	int r = 0;

	if (!file)
		return err_set_errno(err, errno == ENOENT || errno == ENOTDIR ? E_NOT_FOUND : E_IO,
				     errno, "open %s", path);
	buf_init(ret, max + 1);
	while (r == 0 && !feof(file)) {
		size_t room = max + 1 - ret->len < 4096 ? max + 1 - ret->len : 4096;
		r = room ? buf_reserve(ret, room) : E_LIMIT;
		if (r == 0)
			buf_added(ret, fread(ret->ptr + ret->len, 1, room, file));
		if (r == 0 && ferror(file))
			r = err_set_errno(err, E_IO, errno, "read %s", path);
	}
	(void)fclose(file);
	if (r == 0 && ret->len > max)
		r = E_LIMIT;
	if (r == E_LIMIT)
		err_set(err, E_LIMIT, "%s is larger than %zu bytes", path, max);
	if (r < 0) {
		secret_wipe(ret->ptr, ret->len);
		buf_done(ret);
	}
	return r;
}

static int write_out(int fd, const char *path, struct bytes text, struct err *err)
{
	FILE *file = fdopen(fd, "wb");

	if (!file)
		return err_set_errno(err, E_IO, errno, "%s", path);
	bool ok = fwrite(text.ptr, 1, text.len, file) == text.len && fflush(file) == 0 &&
		  fsync(fileno(file)) == 0;
	int reason = errno;
	ok = fclose(file) == 0 && ok;
	return ok ? 0 : err_set_errno(err, E_IO, reason, "write %s", path);
}

int file_write_new(const char *path, unsigned mode, struct bytes text, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);

	if (fd < 0 && errno == EEXIST)
		return err_set(err, E_EXISTS, "%s already exists", path);
	if (fd < 0)
		return err_set_errno(err, E_IO, errno, "open %s", path);
	int r = write_out(fd, path, text, err);
	if (r < 0)
		(void)unlink(path);
	return r;
}

int file_overwrite(const char *path, unsigned mode, struct bytes text, struct err *err)
{
	char *temporary = mem_printf("%s.XXXXXX", path);
	int fd = mkostemp(temporary, O_CLOEXEC);
	int r = 0;

	if (fd < 0) {
		r = err_set_errno(err, E_IO, errno, "open %s", path);
	} else {
		if (fchmod(fd, (mode_t)mode) != 0)
			log_debug("host", "mode not set", LOG_STR("file", temporary));
		r = write_out(fd, temporary, text, err);
		if (r == 0 && rename(temporary, path) != 0)
			r = err_set_errno(err, E_IO, errno, "rename %s", path);
		if (r < 0)
			(void)unlink(temporary);
	}
	mem_free(temporary);
	return r;
}
