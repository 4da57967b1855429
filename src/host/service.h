/* A program of ours as a service of this machine: systemd, OpenRC or SysV. Blocks; for commands, as root.
 *
 * Everything is named after the program, so that one started as `cloudflared` has the stock one's files
 * (CONTROL §8.1): /etc/NAME, /etc/systemd/system/NAME.service, /etc/init.d/NAME, /etc/conf.d/NAME, and
 * /etc/sysctl.d/50-NAME.conf with the size of UDP buffers (host/udp_buffers.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum service_role { SERVICE_CONNECTOR, SERVICE_EDGE };

/* A file of root's that the service may read, where systemd hands over such (LoadCredential=). */
struct service_credential {
	const char *name, *path; /* path: absolute */
};

struct service {
	enum service_role role;
	const char *name;        /* of the program and of everything */
	const char *program;     /* absolute path */
	const char *args;        /* what the program is told; service_args_check() */
	const char *state;       /* of an edge: the absolute path of its state, else NULL */
	const char *description; /* a few words */
	/* Where the first one is, "@SECRET@" in `args` says. */
	const struct service_credential *credentials;
	size_t credential_count;
};

enum service_init { SERVICE_SYSTEMD, SERVICE_OPENRC, SERVICE_SYSV };

enum service_init service_init_detect(void);
const char *service_init_name(enum service_init init);

/* The file that says that the service is installed. Owned by the caller. */
char *service_path(enum service_init init, const char *name);
/* E_DENIED: not root. E_EXISTS: the service is installed already. */
int service_may_install(const char *name, struct err *err);
int service_need_root(struct err *err);
/* Does every init system take this text within a command as it is? */
bool service_is_plain(const char *text);
/* One of the files of src/host/service with this service's words in it (service_text.c). */
int service_fill(const char *file, const struct service *s, enum service_init init, struct buf *out);

/* Writes the files, has the service start with the machine, and starts it now. What was written is removed when
 * that fails. E_EXISTS: it is installed. *ret_is_up: it has said that it is ready (a connector: that it has a connection to
 * the edge); false: it is trying, which is no error. */
int service_install(enum service_init init, const struct service *s, bool *ret_is_up,
		    struct err *err);
/* Stops it and removes its files. E_NOT_FOUND: it is not installed. */
int service_uninstall(enum service_init init, const char *name, struct err *err);
