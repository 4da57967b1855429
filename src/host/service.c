#include "host/service.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "host/child.h"
#include "host/plain_file.h"
#include "host/udp_buffers.h"

#define FILE_BYTES (64 * 1024)
#define OUTPUT_BYTES (64 * 1024)
#define CHILD_TIMEOUT (30 * USEC_PER_SEC)
/* An edge lets requests finish for ten minutes at most, and its unit and its script wait for eleven. */
#define STOP_TIMEOUT (700 * USEC_PER_SEC)
/* How long an installation waits until the service says that it is ready. */
#define UP_TIMEOUT (15 * USEC_PER_SEC)

static const char *const sysv_links[] = {
	"/etc/rc2.d/S50", "/etc/rc3.d/S50", "/etc/rc4.d/S50", "/etc/rc5.d/S50",
	"/etc/rc0.d/K02", "/etc/rc1.d/K02", "/etc/rc6.d/K02",
};

enum service_init service_init_detect(void)
{
	if (access("/run/systemd/system", F_OK) == 0)
		return SERVICE_SYSTEMD;
	if (access("/sbin/openrc-run", X_OK) == 0 || access("/usr/sbin/openrc-run", X_OK) == 0)
		return SERVICE_OPENRC;
	return SERVICE_SYSV;
}

const char *service_init_name(enum service_init init)
{
	static const char *const names[] = {
		[SERVICE_SYSTEMD] = "Systemd",
		[SERVICE_OPENRC] = "OpenRC",
		[SERVICE_SYSV] = "SysV",
	};

	return names[init];
}

char *service_path(enum service_init init, const char *name)
{
	return init == SERVICE_SYSTEMD ? mem_printf("/etc/systemd/system/%s.service", name)
				       : mem_printf("/etc/init.d/%s", name);
}

int service_need_root(struct err *err)
{
	return geteuid() == 0
		       ? 0
		       : err_set(err, E_DENIED,
				 "services of the machine are installed and removed by root: try it "
				 "with sudo");
}

int service_may_install(const char *name, struct err *err)
{
	char *path = service_path(service_init_detect(), name);
	int r = service_need_root(err);

	if (r == 0 && access(path, F_OK) == 0)
		r = err_set(err, E_EXISTS,
			    "%s service is already installed at %s; to replace it, run `%s service "
			    "uninstall` first",
			    name, path, name);
	mem_free(path);
	return r;
}

bool service_is_plain(const char *text)
{
	return !strpbrk(text, " \t\r\n\"'\\$%;&|<>()*?`#");
}

/* ------------------------------------------------------------------------------------------
 * Programs of the system. */

/* E_IO with what the program printed when it fails. */
static int command(const char *const *argv, usec timeout, struct err *err)
{
	struct buf out;

	buf_init(&out, OUTPUT_BYTES);
	int r = child_run(argv, timeout, &out, err);
	if (r > 0) {
		while (out.len && strchr(" \r\n", out.ptr[out.len - 1]))
			out.len--;
		r = err_set(err, E_IO, "%s %s ended with %d: %.*s", argv[0], argv[1], r,
			    (int)out.len, (const char *)out.ptr);
	}
	buf_done(&out);
	return r;
}

#define COMMAND(err, timeout, ...) command((const char *const[]){ __VA_ARGS__, NULL }, timeout, err)

/* ------------------------------------------------------------------------------------------
 * Files. */

static int write_file(const char *file, unsigned mode, const char *path, const struct service *s,
		      enum service_init init, struct err *err)
{
	struct buf text;

	buf_init(&text, FILE_BYTES);
	int r = service_fill(file, s, init, &text);
	r = r < 0 ? err_set(err, r, "%s is too large", path)
		  : file_write_new(path, mode, buf_bytes(&text), err);
	buf_done(&text);
	/* The umask of whoever installs is not the service's. */
	if (r == 0 && chmod(path, (mode_t)mode) < 0)
		r = err_set_errno(err, E_IO, errno, "%s", path);
	return r;
}

/* ------------------------------------------------------------------------------------------
 * systemd. */

static bool is_active(const char *unit)
{
	struct err ignored;

	return COMMAND(&ignored, CHILD_TIMEOUT, "systemctl", "is-active", "--quiet", unit) == 0;
}

static bool has_failed(const char *unit)
{
	struct err ignored;

	return COMMAND(&ignored, CHILD_TIMEOUT, "systemctl", "is-failed", "--quiet", unit) == 0;
}

static int systemd_install(const struct service *s, const char *path, bool *ret_is_up,
			   struct err *err)
{
	char *unit = mem_printf("%s.service", s->name);
	int r = write_file(s->role == SERVICE_EDGE ? "edge.service" : "connector.service", 0644,
			   path, s, SERVICE_SYSTEMD, err);

	if (r == 0)
		r = COMMAND(err, CHILD_TIMEOUT, "systemctl", "daemon-reload");
	if (r == 0)
		r = COMMAND(err, CHILD_TIMEOUT, "systemctl", "enable", unit);
	/* It counts as started with its first connection, which a machine without network has later. */
	if (r == 0)
		r = COMMAND(err, CHILD_TIMEOUT, "systemctl", "start", "--no-block", unit);
	if (r == 0) {
		usec deadline = clock_now() + UP_TIMEOUT;
		while (!(*ret_is_up = is_active(unit)) && !has_failed(unit) &&
		       clock_now() < deadline)
			(void)poll(NULL, 0, 200); /* ms */
		if (!*ret_is_up && has_failed(unit))
			r = err_set(err, E_IO,
				    "the service ended at once; journalctl -u %s says why", s->name);
	}
	mem_free(unit);
	return r;
}

static int systemd_remove(const char *name, const char *path, struct err *err)
{
	char *unit = mem_printf("%s.service", name);
	int r = COMMAND(err, STOP_TIMEOUT, "systemctl", "stop", unit);

	if (r == 0)
		r = COMMAND(err, CHILD_TIMEOUT, "systemctl", "disable", unit);
	if (r == 0 && unlink(path) < 0)
		r = err_set_errno(err, E_IO, errno, "remove %s", path);
	if (r == 0)
		r = COMMAND(err, CHILD_TIMEOUT, "systemctl", "daemon-reload");
	mem_free(unit);
	return r;
}

/* ------------------------------------------------------------------------------------------
 * OpenRC. */

#define CONF_FOLDER "/etc/conf.d"

static int openrc_install(const struct service *s, const char *path, struct err *err)
{
	char *conf = mem_printf(CONF_FOLDER "/%s", s->name);
	int r = write_file("openrc.init", 0755, path, s, SERVICE_OPENRC, err);

	/* Debian's OpenRC comes without it. */
	if (r == 0 && mkdir(CONF_FOLDER, 0755) < 0 && errno != EEXIST)
		r = err_set_errno(err, E_IO, errno, CONF_FOLDER);
	/* Settings of an earlier installation are kept. */
	if (r == 0 && access(conf, F_OK) < 0)
		r = write_file("openrc.conf", 0644, conf, s, SERVICE_OPENRC, err);
	if (r == 0)
		r = COMMAND(err, CHILD_TIMEOUT, "rc-update", "add", s->name, "default");
	if (r == 0)
		r = COMMAND(err, CHILD_TIMEOUT, "rc-service", s->name, "start");
	mem_free(conf);
	return r;
}

/* A file in which somebody has set something stays. */
static void openrc_forget_settings(const char *name)
{
	const struct service s = { .name = name };
	char *conf = mem_printf(CONF_FOLDER "/%s", name);
	struct buf ours, there;

	buf_init(&ours, FILE_BYTES);
	if (service_fill("openrc.conf", &s, SERVICE_OPENRC, &ours) == 0 &&
	    file_read(conf, FILE_BYTES, &there, NULL) == 0) {
		if (bytes_eq(buf_bytes(&ours), buf_bytes(&there)) && unlink(conf) == 0)
			(void)rmdir(CONF_FOLDER); /* if it is empty, it was made for us */
		buf_done(&there);
	}
	buf_done(&ours);
	mem_free(conf);
}

static int openrc_remove(const char *name, const char *path, struct err *err)
{
	int r = COMMAND(err, STOP_TIMEOUT, "rc-service", "--ifstarted", name, "stop");

	if (r == 0)
		r = COMMAND(err, CHILD_TIMEOUT, "rc-update", "del", name, "default");
	if (r == 0 && unlink(path) < 0)
		r = err_set_errno(err, E_IO, errno, "remove %s", path);
	if (r == 0)
		openrc_forget_settings(name);
	return r;
}

/* ------------------------------------------------------------------------------------------
 * SysV. */

static void sysv_unlink(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(sysv_links); i++) {
		char *link = mem_printf("%s%s", sysv_links[i], name);
		(void)unlink(link);
		mem_free(link);
	}
}

static int sysv_install(const struct service *s, const char *path, struct err *err)
{
	int r = write_file("sysv.init", 0755, path, s, SERVICE_SYSV, err);

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(sysv_links); i++) {
		char *link = mem_printf("%s%s", sysv_links[i], s->name);
		/* A system need not have every runlevel. */
		if (symlink(path, link) < 0 && errno != ENOENT && errno != EEXIST)
			r = err_set_errno(err, E_IO, errno, "%s", link);
		mem_free(link);
	}
	if (r == 0)
		r = COMMAND(err, CHILD_TIMEOUT, path, "start");
	return r;
}

static int sysv_remove(const char *name, const char *path, struct err *err)
{
	int r = COMMAND(err, STOP_TIMEOUT, path, "stop");

	if (r < 0)
		return r;
	sysv_unlink(name);
	return unlink(path) < 0 ? err_set_errno(err, E_IO, errno, "remove %s", path) : 0;
}

/* ------------------------------------------------------------------------------------------ */

static int remove_service(enum service_init init, const char *name, const char *path,
			  struct err *err)
{
	switch (init) {
	case SERVICE_SYSTEMD:
		return systemd_remove(name, path, err);
	case SERVICE_OPENRC:
		return openrc_remove(name, path, err);
	case SERVICE_SYSV:
		return sysv_remove(name, path, err);
	}
	return 0;
}

int service_install(enum service_init init, const struct service *s, bool *ret_is_up,
		    struct err *err)
{
	char *path = service_path(init, s->name);
	struct err ignored = { 0 };
	int r = 0;

	*ret_is_up = true;
	if (access(path, F_OK) == 0) {
		r = err_set(err, E_EXISTS, "the service is already installed at %s", path);
		mem_free(path);
		return r;
	}
	r = udp_buffers_raise(s->name, err);
	if (r < 0) {
		mem_free(path);
		return r;
	}
	switch (init) {
	case SERVICE_SYSTEMD:
		r = systemd_install(s, path, ret_is_up, err);
		break;
	case SERVICE_OPENRC:
		r = openrc_install(s, path, err);
		break;
	case SERVICE_SYSV:
		r = sysv_install(s, path, err);
		break;
	}
	if (r < 0 && access(path, F_OK) == 0 && remove_service(init, s->name, path, &ignored) < 0)
		(void)unlink(path);
	if (r < 0)
		udp_buffers_forget(s->name);
	mem_free(path);
	return r;
}

int service_uninstall(enum service_init init, const char *name, struct err *err)
{
	char *path = service_path(init, name);
	int r = access(path, F_OK) < 0
			? err_set(err, E_NOT_FOUND, "the service is not installed: there is no %s",
				  path)
			: remove_service(init, name, path, err);

	if (r == 0)
		udp_buffers_forget(name);
	mem_free(path);
	return r;
}
