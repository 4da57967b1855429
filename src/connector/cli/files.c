#include "connector/cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

/* Ours, then theirs. */
static const char *const directories[] = {
	"~/.adit",
	"/etc/adit",
	"~/.cloudflared",
	"~/.cloudflare-warp",
	"~/cloudflare-warp",
	"/etc/cloudflared",
	"/usr/local/etc/cloudflared",
};

char *file_expand(const char *path)
{
	const char *home = getenv("HOME");

	if (path[0] != '~' || (path[1] && path[1] != '/'))
		return mem_strdup(path);
	if (!home || !*home) {
		const struct passwd *user = getpwuid(getuid());
		home = user && user->pw_dir ? user->pw_dir : "/";
	}
	return mem_printf("%s%s", home, path + 1);
}

char *file_own_directory(void)
{
	return file_expand(directories[0]);
}

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

static char *find_in(const char *directory, const char *name)
{
	char *expanded = file_expand(directory);
	char *path = mem_printf("%s/%s", expanded, name);

	mem_free(expanded);
	return file_exists(path) ? path : mem_free(path);
}

char *file_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
		char *path = find_in(directories[i], name);
		if (path)
			return path;
	}
	return NULL;
}

char *file_find_config(void)
{
	for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
		char *path = find_in(directories[i], "config.yml");
		if (!path)
			path = find_in(directories[i], "config.yaml");
		if (path)
			return path;
	}
	return NULL;
}

/* ------------------------------------------------------------------------------------------
 * Plain files, by stdio: no loop waits for them. */

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
			log_debug("connector/cli", "mode not set", LOG_STR("file", temporary));
		r = write_out(fd, temporary, text, err);
		if (r == 0 && rename(temporary, path) != 0)
			r = err_set_errno(err, E_IO, errno, "rename %s", path);
		if (r < 0)
			(void)unlink(temporary);
	}
	mem_free(temporary);
	return r;
}

/* ------------------------------------------------------------------------------------------ */

static char *login_path(const char *origincert, struct err *err)
{
	char *path = *origincert ? file_expand(origincert) : file_find("cert.pem");

	if (path && file_exists(path))
		return path;
	if (path) {
		err_set(err, E_NOT_FOUND,
			"Error locating origin cert: cannot find a valid certificate at the path %s",
			path);
	} else if (err) {
		log_error(
			"connector/cli",
			"There is no cert.pem in ~/.adit, nor in the other directories that are searched. "
			"Log in to get one, or say where it is with --origincert, origincert: in the "
			"configuration file, or TUNNEL_ORIGIN_CERT.");
		err_set(err, E_NOT_FOUND,
			"Error locating origin cert: client didn't specify origincert path");
	}
	return mem_free(path);
}

int file_read_login(const char *program, const char *origincert, struct login *ret, char **ret_path,
		    struct err *err)
{
	char *path = login_path(origincert, err);
	struct buf text;

	if (!path)
		return E_NOT_FOUND;
	int r = file_read(path, TOKEN_TEXT_BYTES, &text, err);
	if (r < 0) {
		err_wrap(err, "Can't read origin cert from %s", path);
	} else {
		r = login_decode(buf_bytes(&text), ret, err);
		if (r < 0)
			err_wrap(err, "Error decoding origin cert");
		secret_wipe(text.ptr, text.len);
		buf_done(&text);
	}
	if (r == 0 && !*ret->account) {
		login_done(ret);
		r = err_set(
			err, E_INVALID,
			"Origin certificate needs to be refreshed before creating new tunnels. Delete "
			"%s and run \"%s tunnel login\" to obtain a new cert.",
			path, program);
	}
	if (r == 0)
		*ret_path = path;
	else
		mem_free(path);
	return r;
}

char *file_credentials_path(const struct uuid *tunnel, const char *beside)
{
	const char *slash = strrchr(beside, '/');
	char id[UUID_TEXT_SIZE];

	uuid_text(tunnel, id);
	return slash ? mem_printf("%.*s%s.json", (int)(slash - beside + 1), beside, id)
		     : mem_printf("%s.json", id);
}

char *file_find_credentials(const struct uuid *tunnel, const char *given, const char *origincert,
			    struct err *err)
{
	char id[UUID_TEXT_SIZE], *path = NULL;

	if (*given) {
		path = file_expand(given);
		if (file_exists(path))
			return path;
		err_set(err, E_NOT_FOUND,
			"Tunnel credentials file '%s' doesn't exist or is not a file", path);
		return mem_free(path);
	}
	if (*origincert) {
		char *expanded = file_expand(origincert);
		path = file_credentials_path(tunnel, expanded);
		mem_free(expanded);
		if (file_exists(path))
			return path;
		path = mem_free(path);
	}
	char *name = mem_printf("%s.json", uuid_text(tunnel, id));
	path = file_find(name);
	mem_free(name);
	if (!path)
		err_set(err, E_NOT_FOUND, "tunnel credentials file not found");
	return path;
}

int file_read_credentials(const char *program, const char *path, struct token *ret, struct err *err)
{
	struct buf text;
	int r = file_read(path, TOKEN_TEXT_BYTES, &text, err);

	if (r < 0) {
		err_wrap(err, "couldn't read tunnel credentials from %s", path);
		return r;
	}
	r = token_decode_credentials(buf_bytes(&text), ret, err);
	secret_wipe(text.ptr, text.len);
	buf_done(&text);
	if (r == 0)
		return 0;
	if (bytes_ends_with(bytes_str(path), BYTES_LIT(".pem")))
		return err_set(
			err, r,
			"The tunnel credentials file should be .json but you gave a .pem. The tunnel "
			"credentials file was originally created by `%s tunnel create`. You may have "
			"accidentally used the filepath to cert.pem, which is generated by `%s tunnel "
			"login`.",
			program, program);
	log_error(
		"connector/cli",
		"The credentials file contained invalid JSON. This is probably caused by passing the wrong "
		"filepath. Reminder: the credentials file is a .json file created via tunnel create.",
		LOG_STR("file", path));
	log_error("connector/cli", "Invalid JSON when parsing credentials file",
		  LOG_STR("error", err->text));
	return err_set(err, r, "Invalid JSON when parsing tunnel credentials file");
}
