#include "connector/cli/files.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

/* Ours, then theirs, then ours again: where one begins depends on the program's name. */
static const char *const all_directories[] = {
	"~/.adit",
	"/etc/adit",
	"~/.cloudflared",
	"~/.cloudflare-warp",
	"~/cloudflare-warp",
	"/etc/cloudflared",
	"/usr/local/etc/cloudflared",
	"~/.adit",
	"/etc/adit",
};
#define DIRECTORY_COUNT (ARRAY_LEN(all_directories) - 2)
static const char *const *directories = all_directories;

void file_use_stock_directories(void)
{
	directories = all_directories + 2;
}

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

static char *find_in(const char *directory, const char *name)
{
	char *expanded = file_expand(directory);
	char *path = mem_printf("%s/%s", expanded, name);

	mem_free(expanded);
	return file_exists(path) ? path : mem_free(path);
}

char *file_find(const char *name)
{
	for (size_t i = 0; i < DIRECTORY_COUNT; i++) {
		char *path = find_in(directories[i], name);
		if (path)
			return path;
	}
	return NULL;
}

char *file_find_config(void)
{
	for (size_t i = 0; i < DIRECTORY_COUNT; i++) {
		char *path = find_in(directories[i], "config.yml");
		if (!path)
			path = find_in(directories[i], "config.yaml");
		if (path)
			return path;
	}
	return NULL;
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
			"There is no cert.pem in ~/.adit, nor in ~/.cloudflared, nor in the other directories that "
			"are searched. Log in to get one, or say where it is with --origincert, origincert: in the "
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
