#include "host/udp_buffers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "host/plain_file.h"
#include "host/service_files.h"

#define COMPONENT "service"

static const char *text_of(void)
{
	for (size_t i = 0; i < service_file_count; i++) {
		if (!strcmp(service_files[i].name, "udp-buffers.conf"))
			return service_files[i].text;
	}
	BUG_IF(true);
	return NULL;
}

/* "net.core.rmem_max" to what the kernel has under that name, unless that is more. A file of the kernel's. */
static void raise_now(const char *key, long value)
{
	char *path = mem_printf("/proc/sys/%s", key);
	long now = 0;

	for (char *c = path; *c; c++)
		*c = *c == '.' ? '/' : *c;
	FILE *file = fopen(path, "r+e");
	bool is_known = file && fscanf(file, "%ld", &now) == 1;
	if (is_known && now < value) {
		rewind(file);
		is_known = fprintf(file, "%ld\n", value) > 0 && fflush(file) == 0;
	}
	if (file)
		(void)fclose(file);
	if (!is_known)
		log_info(COMPONENT, "UDP buffers stay as small as they are: the kernel does not say",
			 LOG_STR("setting", key));
	mem_free(path);
}

static void raise_all(const char *text)
{
	struct bytes rest = bytes_str(text), line;

	while (bytes_split(&rest, '\n', &line)) {
		char *copy = mem_strndup(line), key[64];
		long value;
		if (sscanf(copy, "%63[a-z._] = %ld", key, &value) == 2)
			raise_now(key, value);
		mem_free(copy);
	}
}

int udp_buffers_raise(const char *name, struct err *err)
{
	char *packaged = mem_printf("/usr/lib/sysctl.d/50-%s.conf", name);
	char *path = mem_printf("/etc/sysctl.d/50-%s.conf", name);
	int r = 0;

	if (!file_exists(packaged) && !file_exists(path)) {
		if (mkdir("/etc/sysctl.d", 0755) < 0 && errno != EEXIST)
			r = err_set_errno(err, E_IO, errno, "create /etc/sysctl.d");
		if (r == 0)
			r = file_write_new(path, 0644, bytes_str(text_of()), err);
		if (r == 0)
			(void)chmod(path, 0644);
	}
	if (r == 0)
		raise_all(text_of());
	mem_free(packaged);
	mem_free(path);
	return r;
}

void udp_buffers_forget(const char *name)
{
	char *path = mem_printf("/etc/sysctl.d/50-%s.conf", name);

	(void)unlink(path);
	mem_free(path);
}
