#include "store/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/secret.h"

static int failed(const char *path, struct err *err)
{
	int code = errno == EEXIST ? E_EXISTS : errno == ENOENT ? E_NOT_FOUND : E_IO;

	return err_set_errno(err, code, errno, "%s", path);
}

static int sync_path(const char *path, int flags, struct err *err)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return failed(path, err);
	int r = fsync(fd) < 0 ? failed(path, err) : 0;
	close(fd); /* allowed: a plain file, not a socket of io/ */
	return r;
}

int file_sync(const char *path, struct err *err)
{
	return sync_path(path, O_RDONLY, err);
}

int file_sync_directory_of(const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	char *dir =
		slash ? mem_strndup(bytes_of(path, (size_t)(slash - path) + 1)) : mem_strdup(".");
	int r = sync_path(dir, O_RDONLY | O_DIRECTORY, err);

	mem_free(dir);
	return r;
}

char *file_aside(const char *path, mode_t mode, struct err *err)
{
	char *aside = mem_printf("%s.tmp-XXXXXX", path);
	int fd = mkostemp(aside, O_CLOEXEC); /* 0600 */

	if (fd < 0) {
		failed(path, err);
		return mem_free(aside);
	}
	int r = fchmod(fd, mode) < 0 ? failed(aside, err) : 0;
	close(fd); /* allowed: a plain file, not a socket of io/ */
	if (r < 0) {
		unlink(aside);
		return mem_free(aside);
	}
	return aside;
}

int file_put_new(const char *aside, const char *path, struct err *err)
{
	/* link(), unlike rename(), does not replace. */
	int r = link(aside, path) < 0 ? failed(path, err) : 0;

	unlink(aside);
	return r < 0 ? r : file_sync_directory_of(path, err);
}

static int fill(const char *path, struct bytes content, struct err *err)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return failed(path, err);
	/* Unbuffered: no copy of a key stays behind in freed memory. */
	setvbuf(f, NULL, _IONBF, 0);
	size_t done = content.len ? fwrite(content.ptr, 1, content.len, f) : 0;
	bool ok = done == content.len && fsync(fileno(f)) == 0;
	int r = ok ? 0 : failed(path, err);
	if (fclose(f) != 0 && r == 0)
		r = failed(path, err);
	return r;
}

/* Fills a file aside; owned name, NULL on failure. */
static char *write_aside(const char *path, struct bytes content, mode_t mode, struct err *err)
{
	char *aside = file_aside(path, mode | S_IWUSR, err);

	if (!aside)
		return NULL;
	int r = fill(aside, content, err);
	if (r == 0 && !(mode & S_IWUSR) && chmod(aside, mode) < 0)
		r = failed(aside, err);
	if (r < 0) {
		unlink(aside);
		return mem_free(aside);
	}
	return aside;
}

int file_create(const char *path, struct bytes content, mode_t mode, struct err *err)
{
	struct err why = { 0 };
	char *aside = write_aside(path, content, mode, &why);
	int r = aside ? file_put_new(aside, path, &why) : why.code;

	mem_free(aside);
	if (r < 0 && err)
		*err = why;
	return r;
}

int file_replace(const char *path, struct bytes content, mode_t mode, struct err *err)
{
	struct err why = { 0 };
	char *aside = write_aside(path, content, mode, &why);
	int r = why.code;

	if (aside) {
		r = rename(aside, path) < 0 ? failed(path, &why) : 0;
		if (r < 0)
			unlink(aside);
		else
			r = file_sync_directory_of(path, &why);
	}
	mem_free(aside);
	if (r < 0 && err)
		*err = why;
	return r;
}

int file_load(const char *path, void *ptr, size_t size, size_t *ret_len, struct err *err)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return failed(path, err);
	setvbuf(f, NULL, _IONBF, 0);
	size_t len = fread(ptr, 1, size, f);
	int r = ferror(f) ? failed(path, err) : 0;
	if (r == 0 && len == size && fgetc(f) != EOF)
		r = err_set(err, E_LIMIT, "%s: larger than %zu bytes", path, size);
	fclose(f);
	if (r == 0)
		*ret_len = len;
	return r;
}
