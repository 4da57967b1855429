/* The connector's log, from wherever it writes it. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/redact.h"
#include "host/child.h"
#include "connector/cli/diag.h"

#define TASK "log information"
/* The end of a log is what tells; this is some hundred thousand lines. */
#define TAIL_BYTES (16 * 1024 * 1024)
#define LINE_BYTES 8192
/* As the stock client: two weeks, ten thousand lines of a container. */
#define DAYS 14
#define TAIL_LINES "10000"
#define PROGRAM_TIMEOUT (10 * USEC_PER_SEC)

/* The file's last part, if all is too much. */
static int read_tail(const char *path, struct buf *out, struct err *err)
{
	FILE *file = fopen(path, "re");
	struct stat status;
	int r = 0;

	if (!file || fstat(fileno(file), &status) < 0) {
		r = err_set_errno(err, E_IO, errno, "%s", path);
	} else {
		off_t room = (off_t)(out->max - out->len);
		if (status.st_size > room)
			(void)fseeko(file, status.st_size - room, SEEK_SET);
		while (r == 0 && buf_reserve(out, 1) == 0) {
			size_t space = out->cap - out->len;
			size_t n = fread(out->ptr + out->len, 1, space, file);
			buf_added(out, n);
			if (n < space)
				break;
		}
	}
	if (file)
		(void)fclose(file);
	return r;
}

static int is_log(const struct dirent *entry)
{
	return bytes_ends_with(bytes_str(entry->d_name), BYTES_LIT(".log"));
}

/* "adit-2026-01-02T03-04-05.678.log" are the older ones; "adit.log", where it is written now, sorts behind
 * them. */
static int read_directory(const char *path, struct buf *out, struct err *err)
{
	struct dirent **entries;
	int count = scandir(path, &entries, is_log, alphasort), r = 0;

	if (count < 0)
		return err_set_errno(err, E_IO, errno, "%s", path);
	if (count == 0)
		r = err_set(err, E_NOT_FOUND, "there is no log in %s", path);
	for (int i = 0; i < count; i++) {
		char *file = mem_printf("%s/%s", path, entries[i]->d_name);
		if (r == 0)
			r = read_tail(file, out, err);
		mem_free(file);
		free(entries[i]); /* allowed: scandir()'s own allocation */
	}
	free(entries); /* allowed: scandir()'s own allocation */
	return r;
}

static int run(struct diag *d, const char *const *argv, struct buf *out, struct err *err)
{
	usec timeout = diag_time(d, PROGRAM_TIMEOUT);
	int code = child_run(argv, timeout, out, err);

	if (code == E_LIMIT)
		return 0; /* enough */
	if (code > 0)
		return err_set(err, E_IO, "%s ended with %d", argv[0], code);
	return code;
}

static char *two_weeks_ago(char text[32])
{
	return clock_rfc3339(clock_wall_now() - DAYS * 24 * 3600 * USEC_PER_SEC, text, 32);
}

static int ask_docker(struct diag *d, const char *container, struct buf *out, struct err *err)
{
	char since[32];
	const char *const argv[] = { "docker",   "logs",    "--tail",
				     TAIL_LINES, "--since", two_weeks_ago(since),
				     container,  NULL };

	return run(d, argv, out, err);
}

static int ask_kubectl(struct diag *d, const char *pod, const char *container, struct buf *out,
		       struct err *err)
{
	char since[32];
	const char *argv[] = { "kubectl", "logs",     pod,  "--since-time", two_weeks_ago(since),
			       "--tail",  TAIL_LINES, NULL, NULL,           NULL };

	if (*container) {
		argv[7] = "-c";
		argv[8] = container;
	}
	return run(d, argv, out, err);
}

/* The systemd unit of a process, from its control group: "…/system.slice/adit.service". "" when there is none,
 * or the process is no connector of this machine. */
static char *unit_of(long pid, const char *program)
{
	char path[64], line[1024], name[64] = "";
	char *unit = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	FILE *file = fopen(path, "re");
	if (!file || !fgets(name, sizeof(name), file))
		name[0] = 0;
	if (file)
		(void)fclose(file);
	name[strcspn(name, "\n")] = 0;
	if (strcmp(name, program) != 0)
		return mem_strdup("");
	(void)snprintf(path, sizeof(path), "/proc/%ld/cgroup", pid);
	file = fopen(path, "re");
	while (file && !unit && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		const char *last = strrchr(line, '/');
		if (last && bytes_ends_with(bytes_str(last), BYTES_LIT(".service")))
			unit = mem_strdup(last + 1);
	}
	if (file)
		(void)fclose(file);
	return unit ? unit : mem_strdup("");
}

static int ask_journal(struct diag *d, struct buf *out, struct err *err)
{
	const json_t *ours = json_object_get(d->state, "adit");
	long pid = (long)json_integer_value(json_object_get(ours, "pid"));
	char *unit = unit_of(pid, "adit");
	const char *const argv[] = { "journalctl", "--no-pager", "--since", "2 weeks ago",
				     "-u",         unit,         NULL };
	int r;

	if (*unit)
		r = run(d, argv, out, err);
	else
		r = err_set(err, E_NOT_FOUND,
			    "the connector writes to stderr only, and is no service of systemd: "
			    "give it --logfile, or collect its output, or use "
			    "--diag-container-id or --diag-pod-id");
	mem_free(unit);
	return r;
}

static int collect(struct diag *d, struct buf *out, struct err *err)
{
	const struct settings *s = &d->cli->settings;
	const char *container = settings_text(s, FLAG_DIAG_CONTAINER_ID);
	const char *pod = settings_text(s, FLAG_DIAG_POD_ID);
	const char *file = json_text_at(d->configuration, "logfile");
	const char *directory = json_text_at(d->configuration, "log-directory");

	if (*pod)
		return ask_kubectl(d, pod, container, out, err);
	if (*container)
		return ask_docker(d, container, out, err);
	if (*file)
		return read_tail(file, out, err);
	if (*directory)
		return read_directory(directory, out, err);
	return ask_journal(d, out, err);
}

/* What the connector logs is clean; what else lies in its journal or file may not be. */
static int copy_redacted(struct bytes text, struct buf *out)
{
	struct bytes line;
	char scratch[LINE_BYTES];
	int ret = 0;

	while (ret == 0 && bytes_split(&text, '\n', &line)) {
		ret = buf_append(out, redact_text(line, scratch, sizeof(scratch)));
		if (ret == 0)
			ret = buf_append(out, BYTES_LIT("\n"));
	}
	return ret;
}

void diag_collect_logs(struct diag *d)
{
	struct buf raw;
	struct err err = { 0 };

	buf_init(&raw, TAIL_BYTES);
	int r = collect(d, &raw, &err);
	/* Masks may be longer than what they hide. */
	if (raw.len &&
	    copy_redacted(buf_bytes(&raw), diag_file(d, "adit_logs.txt", 2 * TAIL_BYTES)) < 0 &&
	    r == 0)
		r = err_set(&err, E_LIMIT, "the log is too large");
	diag_task(d, TASK, r < 0 ? &err : NULL);
	buf_done(&raw);
}
