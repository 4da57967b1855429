#include "sandbox/sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "sandbox/internal.h"

#define COMPONENT "sandbox"

int sandbox_mode_parse(const char *text, enum sandbox_mode *ret)
{
	static const char *const names[] = { "off", "on", "required" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum sandbox_mode)i;
			return 0;
		}
	}
	return E_INVALID;
}

/* --- Paths ------------------------------------------------------------------------------------- */

struct sandbox_paths *sandbox_paths_new(void)
{
	return mem_alloc(sizeof(struct sandbox_paths));
}

struct sandbox_paths *sandbox_paths_free(struct sandbox_paths *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < p->count; i++)
		mem_free(p->list[i].path);
	mem_free(p->list);
	mem_free(p->kept_out);
	return mem_free(p);
}

static bool is_same(const struct sandbox_folder *a, const struct sandbox_folder *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

/* Is the file that is kept out in this folder, or below it? */
static bool has_kept_out(const struct sandbox_paths *p, const char *folder)
{
	struct stat st;

	if (p->above_count == 0 || stat(folder, &st) < 0)
		return false;
	const struct sandbox_folder it = { st.st_dev, st.st_ino };
	for (size_t i = 0; i < p->above_count; i++)
		if (is_same(&p->above[i], &it))
			return true;
	return false;
}

static char *folder_of(const char *file)
{
	const char *slash = strrchr(file, '/');

	if (!slash)
		return mem_strdup(".");
	return slash == file ? mem_strdup("/") : mem_strndup(bytes_of(file, (size_t)(slash - file)));
}

void sandbox_paths_keep_out(struct sandbox_paths *p, const char *file)
{
	char *folder = folder_of(file), *at = mem_printf("%s/.", folder);
	struct stat st;

	p->kept_out = mem_strdup(file);
	while (p->above_count < SANDBOX_DEPTH && stat(at, &st) == 0) {
		struct sandbox_folder here = { st.st_dev, st.st_ino };
		if (p->above_count && is_same(&p->above[p->above_count - 1], &here))
			break; /* the root is above itself */
		p->above[p->above_count++] = here;
		char *up = mem_printf("%s/..", at);
		mem_free(at);
		at = up;
	}
	mem_free(at);
	mem_free(folder);
}

static void add(struct sandbox_paths *p, const char *path, enum sandbox_right right)
{
	if (!path || !*path)
		return;
	if (p->count == p->room) {
		p->room = p->room ? 2 * p->room : 32;
		p->list = mem_resize(p->list, p->room * sizeof(p->list[0]));
	}
	p->list[p->count++] = (struct sandbox_path){ .path = mem_strdup(path), .right = right };
}

static void add_beside(struct sandbox_paths *p, const char *file, enum sandbox_right right)
{
	if (!file || !*file)
		return;
	char *folder = folder_of(file);
	bool is_root = strcmp(folder, "/") == 0;
	add(p, is_root || has_kept_out(p, folder) ? file : folder, right);
	mem_free(folder);
}

void sandbox_paths_read(struct sandbox_paths *p, const char *path)
{
	add(p, path, SANDBOX_READ);
}

void sandbox_paths_write(struct sandbox_paths *p, const char *path)
{
	add(p, path, SANDBOX_WRITE);
}

void sandbox_paths_sockets(struct sandbox_paths *p, const char *folder)
{
	add(p, folder, SANDBOX_SOCKETS);
}

void sandbox_paths_sockets_beside(struct sandbox_paths *p, const char *socket)
{
	if (!socket || !*socket)
		return;
	char *folder = folder_of(socket);
	add(p, folder, SANDBOX_SOCKETS);
	mem_free(folder);
}

void sandbox_paths_read_beside(struct sandbox_paths *p, const char *file)
{
	add_beside(p, file, SANDBOX_READ);
}

void sandbox_paths_write_beside(struct sandbox_paths *p, const char *file)
{
	add_beside(p, file, SANDBOX_WRITE);
}

/* Libraries, also those loaded later (libcurl, libcjose, name services); what the resolver and TLS read; time zones; what
 * the kernel says about this process and the machine. On NixOS libraries and most of /etc are in the store. */
static void add_system(struct sandbox_paths *p)
{
	static const char *const read[] = {
		"/usr",
		"/lib",
		"/lib64",
		"/nix/store",
		"/run/current-system/sw",
		"/proc",
		"/sys/devices/system/cpu",
		"/sys/fs/cgroup",
		"/dev/urandom",
		"/dev/random",
		"/etc/ssl",
		"/etc/pki",
		"/etc/ca-certificates",
		"/etc/gnutls",
		"/etc/crypto-policies",
		"/etc/pkcs11",
		"/etc/ld.so.cache",
		"/etc/ld.so.preload",
		"/etc/host.conf",
		"/etc/hosts",
		"/etc/gai.conf",
		"/etc/nsswitch.conf",
		"/etc/resolv.conf",
		"/etc/services",
		"/etc/protocols",
		"/etc/networks",
		"/etc/localtime",
		"/etc/timezone",
		"/etc/static",
		"/run/systemd/resolve",
		"/run/resolvconf",
		"/run/NetworkManager",
		"/run/nscd",
	};

	for (size_t i = 0; i < ARRAY_LEN(read); i++)
		add(p, read[i], SANDBOX_READ);
	/* resolv.conf and hosts are replaced when networks change, and their names are all that landlock could go by. Root
	 * could read secrets there. */
	if (geteuid() != 0)
		add(p, "/etc", SANDBOX_READ);
	/* Trusted roots of somebody's choice: TLS reads them for as long as the program runs. */
	add_beside(p, getenv("SSL_CERT_FILE"), SANDBOX_READ);
	add(p, getenv("SSL_CERT_DIR"), SANDBOX_READ);
	add(p, "/dev/null", SANDBOX_WRITE);
	add(p, "/dev/tty", SANDBOX_WRITE);
	add(p, "/run/systemd/notify", SANDBOX_WRITE);
}

/* --- Entering ---------------------------------------------------------------------------------- */

static int shut_privileges(char *ret_what, struct err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(err, E_UNSUPPORTED, "this kernel has no PR_SET_NO_NEW_PRIVS");
	(void)snprintf(ret_what, SANDBOX_WORDS, "programs cannot gain any");
	return 0;
}

/* `code` and `err` are what a step ended with. */
static int said(const char *step, enum sandbox_mode mode, const char *what, int code,
		struct err *err)
{
	if (code == 0) {
		log_info(COMPONENT, step, LOG_STR("is", "on"), LOG_STR("what", what));
		return 0;
	}
	if (mode == SANDBOX_REQUIRED)
		return err_wrap(err, "the sandbox is required: %s", step);
	log_warn(COMPONENT, step, LOG_STR("is", "off"), LOG_STR("error", err->text));
	return 0;
}

/* Rules that somebody has made by name stay; they are told what that costs. */
static int check_kept_out(const struct sandbox_paths *p, char *ret_what, struct err *err)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->list[i].right != SANDBOX_SOCKETS && has_kept_out(p, p->list[i].path))
			return err_set(err, E_INVALID,
				       "%s was named as a folder in reach, and has %s below it",
				       p->list[i].path, p->kept_out);
	(void)snprintf(ret_what, SANDBOX_WORDS, "%s is out of reach", p->kept_out);
	return 0;
}

int sandbox_enter(enum sandbox_mode mode, unsigned long long capabilities,
		  struct sandbox_paths *paths, struct err *err)
{
	char what[SANDBOX_WORDS] = "";
	struct err why = { 0 };
	int code = 0;

	if (!err)
		err = &why;
	if (mode == SANDBOX_OFF) {
		log_info(COMPONENT, "sandbox", LOG_STR("is", "off"));
		return 0;
	}
	if (said("privileges", mode, what, shut_privileges(what, err), err) < 0)
		return err->code;
	code = sandbox_drop_capabilities(capabilities, what, err);
	if (said("capabilities", mode, what, code, err) < 0)
		return err->code;
	add_system(paths);
	code = sandbox_shut_files(paths, what, err);
	if (code == 0)
		err_explain_denied("; files that were not named at the start are out of reach: "
				   "start it anew, or see sandbox-read");
	if (said("files", mode, what, code, err) < 0)
		return err->code;
	if (code == 0 && paths->kept_out) {
		code = check_kept_out(paths, what, err);
		if (said("secret", mode, what, code, err) < 0)
			return err->code;
	}
	code = sandbox_shut_calls(what, err);
	return said("system calls", mode, what, code, err);
}
