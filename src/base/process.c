#include "base/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/metrics.h"

static int64_t usec_of(const struct timespec *t)
{
	return (int64_t)t->tv_sec * USEC_PER_SEC + t->tv_nsec / 1000;
}

static void read_memory(struct process_facts *ret)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long size, resident, page = sysconf(_SC_PAGESIZE);

	if (!file)
		return;
	if (fscanf(file, "%ld %ld", &size, &resident) == 2) {
		ret->virtual_bytes = (int64_t)size * page;
		ret->resident_bytes = (int64_t)resident * page;
	}
	(void)fclose(file);
}

static int64_t count_descriptors(void)
{
	struct stat status;
	int64_t count = 0;

	/* Since Linux 6.2 the size of the directory is the answer. */
	if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
		return status.st_size;
	DIR *dir = opendir("/proc/self/fd");
	if (!dir)
		return 0;
	for (const struct dirent *entry; (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count - 1; /* but for the one of this look */
}

/* proc(5): the 22nd word of stat, in ticks since boot; the second may hold blanks and brackets. */
static usec started_after_boot(void)
{
	FILE *file = fopen("/proc/self/stat", "re");
	char text[1024];

	if (!file)
		return -1;
	size_t len = fread(text, 1, sizeof(text) - 1, file);
	(void)fclose(file);
	text[len] = 0;
	const char *at = strrchr(text, ')');
	for (int word = 2; at && word < 22; word++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -1;
	return (usec)strtoll(at + 1, NULL, 10) * (USEC_PER_SEC / sysconf(_SC_CLK_TCK));
}

static usec started_wall(void)
{
	struct timespec now;
	usec started = started_after_boot();

	if (started < 0 || clock_gettime(CLOCK_BOOTTIME, &now) < 0)
		return 0;
	return clock_wall_now() - usec_of(&now) + started;
}

/* "max" or a number; INT64_MAX: no limit. */
static int64_t cgroup_limit(const char *path)
{
	char text[32] = "";
	FILE *file = fopen(path, "re");
	uint64_t limit;

	if (!file)
		return INT64_MAX;
	if (!fgets(text, sizeof(text), file))
		text[0] = 0;
	(void)fclose(file);
	text[strcspn(text, "\n")] = 0;
	return bytes_to_u64(bytes_str(text), &limit) && limit < INT64_MAX ? (int64_t)limit
									  : INT64_MAX;
}

int64_t process_memory_limit(void)
{
	int64_t least = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE), limit;
	char line[512] = "", path[640];
	FILE *file = fopen("/proc/self/cgroup", "re");

	if (least <= 0)
		least = INT64_MAX;
	/* Of version 2 there is one line, "0::/path"; in a container the path is that of the root. */
	while (file && fgets(line, sizeof(line), file) && strncmp(line, "0::", 3) != 0)
		line[0] = 0;
	if (file)
		(void)fclose(file);
	line[strcspn(line, "\n")] = 0;
	if (strncmp(line, "0::", 3) == 0) {
		(void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", line + 3);
		limit = cgroup_limit(path);
		least = limit < least ? limit : least;
	}
	limit = cgroup_limit("/sys/fs/cgroup/memory.max");
	return limit < least ? limit : least;
}

int64_t process_raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1024; /* what POSIX systems begin with */
	if (limit.rlim_cur < limit.rlim_max) {
		struct rlimit more = { limit.rlim_max, limit.rlim_max };
		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			limit = more;
	}
	return limit.rlim_cur == RLIM_INFINITY ? -1 : (int64_t)limit.rlim_cur;
}

void process_read(struct process_facts *ret)
{
	struct timespec cpu = { 0 };
	struct rlimit limit;

	*ret = (struct process_facts){ 0 };
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	ret->cpu = usec_of(&cpu);
	read_memory(ret);
	ret->open_descriptors = count_descriptors();
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		ret->max_descriptors =
			limit.rlim_cur == RLIM_INFINITY ? -1 : (int64_t)limit.rlim_cur;
	ret->started_wall = started_wall();
}

/* ------------------------------------------------------------------------------------------ */

#define GAUGE(symbol, its_name, its_help) \
	static struct metric symbol = { .name = its_name, .help = its_help, .type = METRIC_GAUGE }

static struct metric cpu_seconds = { .name = "process_cpu_seconds_total",
				     .help = "Total user and system CPU time spent in seconds.",
				     .type = METRIC_COUNTER,
				     .per_unit = USEC_PER_SEC };
GAUGE(max_fds, "process_max_fds", "Maximum number of open file descriptors.");
GAUGE(open_fds, "process_open_fds", "Number of open file descriptors.");
GAUGE(resident_memory, "process_resident_memory_bytes", "Resident memory size in bytes.");
static struct metric start_time = {
	.name = "process_start_time_seconds",
	.help = "Start time of the process since unix epoch in seconds.",
	.type = METRIC_GAUGE,
	.per_unit = 100, /* steadier than the clocks it is computed from */
};
GAUGE(virtual_memory, "process_virtual_memory_bytes", "Virtual memory size in bytes.");

void process_metrics_update(void)
{
	static struct metric *const all[] = { &cpu_seconds,     &max_fds,    &open_fds,
					      &resident_memory, &start_time, &virtual_memory };
	static bool is_registered;
	struct process_facts now;

	process_read(&now);
	if (!is_registered) {
		metric_set(&start_time, now.started_wall / (USEC_PER_SEC / 100));
		for (size_t i = 0; i < ARRAY_LEN(all); i++)
			metric_register(all[i]);
	}
	is_registered = true;
	metric_set(&cpu_seconds, now.cpu);
	metric_set(&max_fds, now.max_descriptors);
	metric_set(&open_fds, now.open_descriptors);
	metric_set(&resident_memory, now.resident_bytes);
	metric_set(&virtual_memory, now.virtual_bytes);
}
