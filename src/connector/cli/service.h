/* `adit` as a service of this machine: systemd, OpenRC or SysV. Blocks; for commands, as root.
 *
 * Everything is named after the program, so that one started as `cloudflared` has the stock one's files
 * (CONTROL §8.1): /etc/NAME, /etc/systemd/system/NAME.service, /etc/init.d/NAME, /etc/conf.d/NAME.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct service {
	const char *name;    /* of the program and of everything */
	const char *program; /* absolute path */
	const char *secret;  /* absolute path of the token or the credentials */
	const char *args; /* what the program is told, with '@' where the path of the secret goes */
};

enum service_init { SERVICE_SYSTEMD, SERVICE_OPENRC, SERVICE_SYSV };

enum service_init service_init_detect(void);
const char *service_init_name(enum service_init init);

/* The file that says that the service is installed. Owned by the caller. */
char *service_path(enum service_init init, const char *name);

/* Writes the files, has the service start with the machine, and starts it now. What was written is removed when
 * that fails. E_EXISTS: it is installed. *ret_is_up: it has a connection to the edge; false: it is trying, which is no
 * error. */
int service_install(enum service_init init, const struct service *s, bool *ret_is_up,
		    struct err *err);
/* Stops it and removes its files. E_NOT_FOUND: it is not installed. */
int service_uninstall(enum service_init init, const char *name, struct err *err);
