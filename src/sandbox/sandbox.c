#include "sandbox/sandbox.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
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
	return mem_free(p);
}

static void add(struct sandbox_paths *p, const char *path, bool writable)
{
	if (!path || !*path)
		return;
	if (p->count == p->room) {
		p->room = p->room ? 2 * p->room : 32;
		p->list = mem_resize(p->list, p->room * sizeof(p->list[0]));
	}
	p->list[p->count++] =
		(struct sandbox_path){ .path = mem_strdup(path), .writable = writable };
}

static void add_beside(struct sandbox_paths *p, const char *file, bool writable)
{
	if (!file || !*file)
		return;
	const char *slash = strrchr(file, '/');
	if (!slash) {
		add(p, ".", writable);
	} else if (slash == file) {
		add(p, file, writable);
	} else {
		char *folder = mem_strndup(bytes_of(file, (size_t)(slash - file)));
		add(p, folder, writable);
		mem_free(folder);
	}
}

void sandbox_paths_read(struct sandbox_paths *p, const char *path)
{
	add(p, path, false);
}

void sandbox_paths_write(struct sandbox_paths *p, const char *path)
{
	add(p, path, true);
}

void sandbox_paths_read_beside(struct sandbox_paths *p, const char *file)
{
	add_beside(p, file, false);
}

void sandbox_paths_write_beside(struct sandbox_paths *p, const char *file)
{
	add_beside(p, file, true);
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
		add(p, read[i], false);
	/* resolv.conf and hosts are replaced when networks change, and their names are all that landlock could go by. Root
	 * could read secrets there. */
	if (geteuid() != 0)
		add(p, "/etc", false);
	add(p, "/dev/null", true);
	add(p, "/dev/tty", true);
	add(p, "/run/systemd/notify", true);
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
	code = sandbox_shut_calls(what, err);
	return said("system calls", mode, what, code, err);
}
