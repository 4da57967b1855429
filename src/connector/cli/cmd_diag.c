#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "connector/cli/diag.h"
#include "connector/cli/instances.h"
#include "connector/cli/render.h"
#include "connector/cli/zip.h"

#define COMPONENT "connector/cli"

/* The stock client's; half of it is left for an edge and services that do not answer. */
#define DIAG_TIME (45 * USEC_PER_SEC)
#define MAX_PER_SECOND 20
#define SMALL_BYTES (1024 * 1024)

/* "adit-diag-2026-01-02T03-04-05Z.zip", where that is taken with "-2" and so on. Owned by the caller. */
static char *archive_name(int attempt)
{
	char text[32];

	clock_rfc3339(clock_wall_now(), text, sizeof(text));
	text[19] = 0; /* no fraction */
	for (char *at = text; *at; at++)
		if (*at == ':')
			*at = '-';
	if (attempt > 1)
		return mem_printf("adit-diag-%sZ-%d.zip", text, attempt);
	return mem_printf("adit-diag-%sZ.zip", text);
}

static void add_text(struct diag *d, const char *name, const char *text)
{
	struct err err;

	if (buf_append(diag_file(d, name, SMALL_BYTES), bytes_str(text)) < 0) {
		err_set(&err, E_LIMIT, "%s is too large", name);
		diag_task(d, name, &err);
	}
}

/* The summary as text, "" when there is no memory for it; libc's allocation. */
static char *summary_text(const struct diag *d)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	diag_print(d, out, false);
	return fclose(out) == 0 ? text : NULL;
}

/* Returns the name, owned by the caller, or NULL. */
static char *write_archive(struct diag *d, struct err *err)
{
	struct zip_entry entries[DIAG_FILES];
	char *summary = summary_text(d), *path = NULL;
	int r = E_EXISTS;

	add_text(d, "summary.txt", summary ? summary : "");
	free(summary); /* allowed: open_memstream()'s own allocation */
	diag_task(d, "job report", NULL);
	char *tasks = json_dumps(d->tasks, JSON_INDENT(2));
	add_text(d, "task-result.json", tasks);
	free(tasks); /* allowed: jansson's own allocation */
	for (size_t i = 0; i < d->file_count; i++)
		entries[i] = (struct zip_entry){ d->files[i].name, buf_bytes(&d->files[i].data) };
	for (int attempt = 1; r == E_EXISTS && attempt <= MAX_PER_SECOND; attempt++) {
		mem_free(path);
		path = archive_name(attempt);
		r = zip_write(path, entries, d->file_count, err);
	}
	if (r == 0)
		return path;
	err_wrap(err, "writing the diagnostic file");
	return mem_free(path);
}

/* ------------------------------------------------------------------------------------------ */

static int print_json(const struct diag *d, const char *format, const char *archive)
{
	const json_t *broken = diag_first_broken(d);
	json_t *root = json_object();
	struct err err = { 0 };

	json_object_set_new(root, "ok", json_boolean(!broken));
	json_object_set(root, "checks", d->checks);
	if (broken)
		json_object_set_new(root, "first_broken", json_deep_copy(broken));
	if (archive)
		json_object_set_new(root, "file", json_string(archive));
	int r = render(stdout, format, root, &err);
	json_decref(root);
	return r < 0 ? cli_failed(d->cli, &err) : 0;
}

static int print_result(const struct diag *d, const char *archive)
{
	const char *format = settings_text(&d->cli->settings, FLAG_RENDER);
	const char *no_colour = getenv("NO_COLOR");
	int code = 0;

	if (*format)
		code = print_json(d, format, archive);
	else
		diag_print(d, stdout, isatty(STDOUT_FILENO) && !(no_colour && *no_colour));
	return diag_first_broken(d) ? 1 : code;
}

/* What is not in the archive, and why: the checks may all be well nevertheless. */
static void tell_failures(const struct diag *d)
{
	const char *name;
	json_t *task;

	json_object_foreach(d->tasks, name, task)
	{
		if (strcmp(json_text_at(task, "result"), "failure") == 0)
			log_warn(COMPONENT,
				 "The diagnostic goes without a part that could not be had",
				 LOG_STR("part", name),
				 LOG_STR("error", json_text_at(task, "error")));
	}
}

static int diagnose(struct diag *d)
{
	struct err err = { 0 };

	char *message = mem_printf("Selected server http://%s starting diagnostic...", d->address);

	log_info(COMPONENT, message);
	mem_free(message);
	diag_collect(d);
	diag_check(d);
	char *archive = d->state ? write_archive(d, &err) : NULL;
	int code = print_result(d, archive);
	/* Before the log lines, as they come on a terminal. */
	(void)fflush(stdout);
	if (archive) {
		message = mem_printf("Diagnostic file written: %s", archive);
		log_info(COMPONENT, message);
		mem_free(message);
	} else if (d->state) {
		code = cli_failed(d->cli, &err);
	}
	tell_failures(d);
	log_info(COMPONENT, "Diagnostic completed");
	mem_free(archive);
	return code;
}

static void check_nobody(struct diag *d, const char *silent)
{
	if (silent)
		diag_check_absent(d, silent,
				  "it accepts connections and does not answer: it hangs, "
				  "or is no connector");
	else
		diag_check_absent(d, "localhost",
				  "nothing answers on the usual ports, 20241 to 20245");
}

/* Exactly one instance in d->address; else an exit code. */
static int choose_instance(struct diag *d)
{
	struct instance found[INSTANCE_PORTS];
	char *silent;
	int code = 0;

	d->address = instance_given(&d->cli->settings);
	if (d->address)
		return 0;
	log_info(COMPONENT,
		 "If your instance is running in a Docker/Kubernetes environment you need to setup port "
		 "forwarding for your application.");
	size_t count = instances_find(found, &silent);
	if (count == 1) {
		d->address = TAKE(found[0].address);
	} else if (count > 1) {
		instances_print(found, count);
		code = 1;
	} else {
		log_warn(COMPONENT, "No instances found");
		check_nobody(d, silent);
		code = print_result(d, NULL);
	}
	mem_free(silent);
	for (size_t i = 0; i < count; i++)
		instance_done(&found[i]);
	return code;
}

int cmd_diag(struct cli *cli)
{
	struct diag d = {
		.cli = cli,
		.deadline = clock_now() + DIAG_TIME,
		.tasks = json_object(),
		.checks = json_array(),
	};
	const char *format = settings_text(&cli->settings, FLAG_RENDER);
	int code;

	if (cli_arg(cli, 0))
		code = cli_usage(cli, "\"@ tunnel diag\" takes no argument.");
	else if (*format && strcmp(format, "json") != 0 && strcmp(format, "yaml") != 0)
		code = cli_usage(cli, "Unknown output format '%s'", format);
	else
		code = choose_instance(&d);
	if (d.address)
		code = diagnose(&d);
	for (size_t i = 0; i < d.file_count; i++)
		buf_done(&d.files[i].data);
	mem_free(d.address);
	json_decref(d.state);
	json_decref(d.system);
	json_decref(d.configuration);
	json_decref(d.probe);
	json_decref(d.tasks);
	json_decref(d.checks);
	return code;
}
