/* `service install` and `service uninstall`: the edge as a service of this machine. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "edge/cli/command.h"
#include "host/plain_file.h"
#include "host/service.h"
#include "store/store.h"

#define NAME "adit-edge"
#define ARGS_BYTES 8192

/* --- What it is told --------------------------------------------------------------------------- */

/* A file that the service reads from wherever it stands. Owned; NULL with a reason. */
static char *absolute(const char *path, struct err *err)
{
	char found[PATH_MAX];

	if (realpath(path, found))
		return mem_strdup(found);
	err_set_errno(err, errno == ENOENT ? E_NOT_FOUND : E_IO, errno, "%s", path);
	return NULL;
}

static int put_arg(struct buf *args, const char *name, const char *value, struct err *err)
{
	if (!service_is_plain(value))
		return err_set(err, E_INVALID,
			       "--%s: init systems do not take '%.200s' as it is: put it into "
			       "edge.yml",
			       name, value);
	return buf_printf(args, " --%s=%s", name, value) < 0
		       ? err_set(err, E_LIMIT, "too many settings: put them into edge.yml")
		       : 0;
}

/* The settings that were given here stay those of the service. */
static int put_args(struct cli *c, enum service_init init, struct buf *args, struct err *err)
{
	int r = buf_printf(args, "run --data %s", c->data_dir);

	if (r == 0 && !service_is_plain(c->data_dir))
		r = err_set(err, E_INVALID, "%s is no path that init systems take", c->data_dir);
	/* Where nothing starts the successor its main process must stay. */
	if (r == 0 && init == SERVICE_SYSTEMD)
		r = buf_append_str(args, " --takeover");
	for (size_t i = 0; i < c->flag_count && r == 0; i++) {
		const char *name = c->flags[i].name;
		if (!strcmp(name, "data") || !strcmp(name, "credential"))
			continue;
		char *file = !strcmp(name, "config") ? absolute(c->flags[i].value, err) : NULL;
		r = !strcmp(name, "config") && !file
			    ? err->code
			    : put_arg(args, name, file ? file : c->flags[i].value, err);
		mem_free(file);
	}
	return r;
}

/* --- Secrets that are handed over ----------------------------------------------------------------- */

/* "eab=/etc/adit-edge/eab". */
static int take_credential(const char *text, struct service_credential *ret, struct err *err)
{
	size_t len = strcspn(text, "=");

	if (!text[len] || !len || memchr(text, '/', len) || !service_is_plain(text) ||
	    strchr(text, ':'))
		return err_set(err, E_INVALID, "--credential takes NAME=FILE, not '%.200s'", text);
	char *path = absolute(text + len + 1, err);
	if (!path)
		return err->code;
	ret->name = mem_strndup((struct bytes){ (const uint8_t *)text, len });
	ret->path = path;
	return 0;
}

static int take_credentials(struct cli *c, enum service_init init,
			    struct service_credential list[CLI_FLAGS_MAX], size_t *count,
			    struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < c->flag_count && r == 0; i++) {
		if (strcmp(c->flags[i].name, "credential") != 0)
			continue;
		if (init != SERVICE_SYSTEMD)
			return err_set(err, E_INVALID,
				       "--credential: %s hands over no secrets; name the file itself "
				       "in edge.yml",
				       service_init_name(init));
		r = take_credential(c->flags[i].value, &list[*count], err);
		*count += r == 0;
	}
	return r;
}

static void forget_credentials(struct service_credential *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		mem_free((char *)(uintptr_t)list[i].name);
		mem_free((char *)(uintptr_t)list[i].path);
	}
}

/* --- Before anything is written ------------------------------------------------------------------- */

static int check_state(struct cli *c, enum service_init init, struct err *err)
{
	const char *below = "/var/lib/";
	int r = cli_load_config(c, err);
	struct store *store = r == 0 ? cli_open_store(c, err) : NULL;

	if (r == 0)
		r = store ? cli_complete_config(c, store, err) : err->code;
	store_close(store);
	if (r < 0)
		return r;
	if (c->data_dir[0] != '/')
		return err_set(err, E_INVALID, "--data %s: a service needs the whole path",
			       c->data_dir);
	/* systemd gives the folder to the service's user, and has them there only. */
	if (init == SERVICE_SYSTEMD &&
	    (strncmp(c->data_dir, below, strlen(below)) != 0 || !c->data_dir[strlen(below)] ||
	     strchr(c->data_dir + strlen(below), '/')))
		return err_set(
			err, E_INVALID,
			"%s: systemd keeps the state of a service in a folder of /var/lib; move "
			"it there, as /var/lib/" NAME,
			c->data_dir);
	return 0;
}

/* --- Commands -------------------------------------------------------------------------------------- */

static int install(struct cli *c, enum service_init init, bool *ret_is_up, struct err *err)
{
	struct service_credential credentials[CLI_FLAGS_MAX];
	char *program = file_own_program(NAME);
	size_t count = 0;
	struct buf args;

	buf_init(&args, ARGS_BYTES);
	int r = check_state(c, init, err);
	if (r == 0)
		r = put_args(c, init, &args, err);
	if (r == 0)
		r = take_credentials(c, init, credentials, &count, err);
	if (r == 0 && (program[0] != '/' || !service_is_plain(program)))
		r = err_set(err, E_INVALID,
			    "%s is no path that init systems take: move the program to one without "
			    "blanks and special characters, as /usr/local/bin/" NAME,
			    program);
	if (r == 0)
		r = buf_append(&args, BYTES_LIT("\0"));
	if (r == 0) {
		const struct service service = {
			.role = SERVICE_EDGE,
			.name = NAME,
			.program = program,
			.args = (const char *)args.ptr,
			.state = c->data_dir,
			.description = "the public side of tunnels",
			.credentials = credentials,
			.credential_count = count,
		};
		r = service_install(init, &service, ret_is_up, err);
	}
	forget_credentials(credentials, count);
	buf_done(&args);
	mem_free(program);
	return r;
}

int cli_service_install(struct cli *c)
{
	enum service_init init = service_init_detect();
	struct err err = { 0 };
	bool is_up = false;

	if (service_may_install(NAME, &err) < 0 || install(c, init, &is_up, &err) < 0)
		return cli_fail(&err);
	printf("The edge in %s is a service of this machine now (%s).\n", c->data_dir,
	       service_init_name(init));
	if (!is_up)
		printf("It has not said that it is ready yet; its log says why.\n");
	return EXIT_DONE;
}

int cli_service_uninstall(struct cli *c)
{
	struct err err = { 0 };

	if (service_need_root(&err) < 0 || service_uninstall(service_init_detect(), NAME, &err) < 0)
		return cli_fail(&err);
	printf("The service is gone; the state in %s stays.\n", c->data_dir);
	return EXIT_DONE;
}

/* --- Whose the state is ------------------------------------------------------------------------------ */

/* Only what root has just made, which has one name: what somebody linked here is not touched. */
static void give_file(int folder, const char *name, const struct stat *owner)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 && st.st_nlink == 1 &&
	    fchown(fd, owner->st_uid, owner->st_gid) < 0)
		fprintf(stderr, NAME ": %s stays root's: %s\n", name, strerror(errno));
	close(fd); /* allowed: a plain file */
}

static void give_files(DIR *folder, const struct stat *owner)
{
	const struct dirent *entry;

	while ((entry = readdir(folder)))
		give_file(dirfd(folder), entry->d_name, owner);
}

/* The one folder in it. Nobody else can have put a folder of root's there. */
static void give_database(int parent, const struct stat *owner)
{
	int fd = openat(parent, STORE_FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	struct stat st;

	if (!folder) {
		if (fd >= 0)
			close(fd); /* allowed: a plain folder */
		return;
	}
	if (fstat(fd, &st) == 0 && st.st_uid == 0 && fchown(fd, owner->st_uid, owner->st_gid) < 0)
		fprintf(stderr, NAME ": " STORE_FOLDER " stays root's: %s\n", strerror(errno));
	give_files(folder, owner);
	closedir(folder);
}

void cli_give_state(const char *data_dir)
{
	DIR *folder = geteuid() == 0 ? opendir(data_dir) : NULL;
	struct stat owner;

	if (folder && fstat(dirfd(folder), &owner) == 0 && owner.st_uid != 0) {
		give_files(folder, &owner);
		give_database(dirfd(folder), &owner);
	}
	if (folder)
		closedir(folder);
}
