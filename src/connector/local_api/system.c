#include "connector/local_api/system.h"

#include <errno.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/check.h"
#include "base/process.h"
#include "tls/tls.h"

/* Enough for every machine; a host of containers has a mount for each. */
#define MAX_DISKS 64

static void set_text(json_t *o, const char *key, const char *value)
{
	json_t *text = json_string(value);

	json_object_set_new(o, key, text ? text : json_string("(not UTF-8)"));
}

static void set_int(json_t *o, const char *key, int64_t value)
{
	json_object_set_new(o, key, json_integer(value));
}

static void note_error(json_t *errors, const char *what, const char *file)
{
	char text[200];

	(void)snprintf(text, sizeof(text), "%s: %s", file, strerror(errno));
	set_text(errors, what, text);
}

static void add_memory(json_t *info, json_t *errors)
{
	FILE *file = fopen("/proc/meminfo", "re");
	char line[200];
	long long total = 0, available = 0, n;

	if (!file) {
		note_error(errors, "memoryInformationError", "/proc/meminfo");
		return;
	}
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemTotal: %lld", &n) == 1)
			total = n;
		else if (sscanf(line, "MemAvailable: %lld", &n) == 1)
			available = n;
	}
	(void)fclose(file);
	set_int(info, "memoryMaximum", total);
	set_int(info, "memoryCurrent", total - available);
}

static void add_descriptors(json_t *info, json_t *errors)
{
	FILE *file = fopen("/proc/sys/fs/file-nr", "re");
	long long used, unused, max;

	if (!file || fscanf(file, "%lld %lld %lld", &used, &unused, &max) != 3) {
		note_error(errors, "fileDescriptorsInformationError", "/proc/sys/fs/file-nr");
	} else {
		set_int(info, "fileDescriptorMaximum", max);
		set_int(info, "fileDescriptorCurrent", used);
	}
	if (file)
		(void)fclose(file);
}

static void add_os(json_t *info, json_t *errors)
{
	struct utsname name;

	if (uname(&name) < 0) {
		note_error(errors, "operatingSystemInformationError", "uname");
		return;
	}
	set_text(info, "osSystem", name.sysname);
	set_text(info, "hostName", name.nodename);
	set_text(info, "osVersion", name.release);
	set_text(info, "osRelease", name.version);
	set_text(info, "architecture", name.machine);
}

static bool is_listed(const json_t *disks, const char *name)
{
	size_t i;
	json_t *disk;

	json_array_foreach(disks, i,
			   disk) if (strcmp(json_string_value(json_object_get(disk, "name")),
					    name) == 0) return true;
	return false;
}

static void add_disk(json_t *disks, const char *name, const struct statvfs *fs)
{
	json_t *disk = json_object();

	set_text(disk, "name", name);
	set_int(disk, "sizeMaximum", (int64_t)(fs->f_blocks * fs->f_frsize / 1024));
	set_int(disk, "sizeCurrent", (int64_t)((fs->f_blocks - fs->f_bfree) * fs->f_frsize / 1024));
	json_array_append_new(disks, disk);
}

/* Only what lies on a device of this machine, and the root: a network file system may never answer. */
static json_t *list_disks(json_t *errors)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	json_t *disks = json_array();
	struct mntent entry;
	char text[4096];
	struct statvfs fs;

	if (!mounts) {
		note_error(errors, "diskVolumeInformationError", "/proc/self/mounts");
		return disks;
	}
	while (getmntent_r(mounts, &entry, text, sizeof(text)) &&
	       json_array_size(disks) < MAX_DISKS) {
		bool is_local = strncmp(entry.mnt_fsname, "/dev/", 5) == 0 ||
				strcmp(entry.mnt_dir, "/") == 0;
		if (!is_local || strncmp(entry.mnt_type, "fuse", 4) == 0 ||
		    is_listed(disks, entry.mnt_fsname) || statvfs(entry.mnt_dir, &fs) < 0)
			continue;
		add_disk(disks, entry.mnt_fsname, &fs);
	}
	endmntent(mounts);
	/* In a changed root the table may not tell what the root lies on. */
	if (json_array_size(disks) == 0 && statvfs("/", &fs) == 0)
		add_disk(disks, "/", &fs);
	return disks;
}

static json_t *describe_process(void)
{
	json_t *o = json_object();
	struct process_facts facts;
	char text[32];

	process_read(&facts);
	set_int(o, "pid", getpid());
	set_int(o, "uid", getuid());
	set_text(o, "startedAt", clock_rfc3339(facts.started_wall, text, sizeof(text)));
	set_int(o, "cpuMilliseconds", facts.cpu / USEC_PER_MSEC);
	set_int(o, "residentBytes", facts.resident_bytes);
	set_int(o, "openDescriptors", facts.open_descriptors);
	set_int(o, "maxDescriptors", facts.max_descriptors);
	return o;
}

json_t *system_describe(void)
{
	json_t *root = json_object(), *info = json_object(), *errors = json_object();

	add_memory(info, errors);
	add_descriptors(info, errors);
	add_os(info, errors);
	set_text(info, "cloudflaredVersion", ADIT_VERSION); /* where readers look for the version */
	set_text(info, "aditVersion", ADIT_VERSION);
	set_text(info, "tlsLibrary", tls_library_version());
	json_object_set_new(info, "disk", list_disks(errors));
	json_object_set_new(root, "info", info);
	json_object_set_new(root, "process", describe_process());
	json_object_set_new(root, "errors", errors);
	return root;
}
