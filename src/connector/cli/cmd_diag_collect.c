#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "connector/cli/diag.h"
#include "connector/cli/instances.h"

#define COMPONENT "connector/cli"

#define FILE_BYTES (32 * 1024 * 1024)
/* One question; what takes longer is broken itself. */
#define ASK_TIMEOUT (10 * USEC_PER_SEC)
/* The connector gives its probes twelve seconds (PROBE_MS). */
#define PROBE_TIMEOUT (16 * USEC_PER_SEC)

usec diag_time(const struct diag *d, usec most)
{
	usec left = d->deadline - clock_now();

	return left < 0 ? 0 : left < most ? left : most;
}

struct buf *diag_file(struct diag *d, const char *name, size_t max)
{
	BUG_IF(d->file_count == DIAG_FILES);
	struct diag_file *file = &d->files[d->file_count++];

	file->name = name;
	buf_init(&file->data, max);
	return &file->data;
}

void diag_task(struct diag *d, const char *name, const struct err *err)
{
	json_t *o = json_object(), *text = err ? json_string(err->text) : NULL;

	json_object_set_new(o, "result", json_string(err ? "failure" : "success"));
	if (err)
		json_object_set_new(o, "error", text ? text : json_string("(not UTF-8)"));
	json_object_set_new(d->tasks, name, o);
}

void diag_task_skipped(struct diag *d, const char *name, const char *why)
{
	json_t *o = json_object();

	json_object_set_new(o, "result", json_string("skipped"));
	json_object_set_new(o, "error", json_string(why));
	json_object_set_new(d->tasks, name, o);
}

bool diag_flag(const struct diag *d, enum flag_id id)
{
	return settings_bool(&d->cli->settings, id);
}

const char *json_text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* ------------------------------------------------------------------------------------------ */

static int ask(struct diag *d, const char *path, usec most, struct fetch_response *ret,
	       struct err *err)
{
	usec timeout = diag_time(d, most);

	if (timeout == 0)
		return err_set(err, E_TIMEOUT, "no time was left");
	int r = instance_get(d->address, path, timeout, ret, err);
	if (r == 0 && ret->status != 200) {
		r = err_set(err, E_NOT_FOUND, "http://%s%s answers with status %d", d->address,
			    path, ret->status);
		fetch_response_done(ret);
	}
	return r;
}

/* Text as it is; JSON for people, and *ret_json (may be NULL), owned by the caller, for us. */
static int collect_page(struct diag *d, const char *path, const char *file, usec most,
			json_t **ret_json, struct err *err)
{
	struct fetch_response response;
	json_error_t error;
	int r = ask(d, path, most, &response, err);

	if (r < 0)
		return r;
	struct bytes body = buf_bytes(&response.body);
	json_t *value = ret_json ? json_loadb((const char *)body.ptr, body.len, 0, &error) : NULL;
	if (ret_json && !value)
		r = err_set(err, E_PARSE, "http://%s%s: %s", d->address, path, error.text);
	char *pretty = value ? json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY) : NULL;
	if (r == 0)
		r = buf_append(diag_file(d, file, FILE_BYTES), pretty ? bytes_str(pretty) : body);
	free(pretty); /* allowed: jansson's own allocation */
	if (ret_json)
		*ret_json = value;
	fetch_response_done(&response);
	return r;
}

static const struct page {
	const char *task, *path, *file;
	enum flag_id unless; /* FLAG_COUNT: always */
	usec most;
	int slot; /* offset of the json_t in struct diag; -1: text, -2: JSON that nobody reads */
} pages[] = {
	{ "tunnel state", "/diag/tunnel", "tunnelstate.json", FLAG_COUNT, ASK_TIMEOUT,
	  offsetof(struct diag, state) },
	{ "system information", "/diag/system", "systeminformation.json", FLAG_NO_DIAG_SYSTEM,
	  ASK_TIMEOUT, offsetof(struct diag, system) },
	{ "metrics", "/metrics", "metrics.txt", FLAG_NO_DIAG_METRICS, ASK_TIMEOUT, -1 },
	{ "cli configuration", "/diag/configuration", "cli-configuration.json", FLAG_COUNT,
	  ASK_TIMEOUT, offsetof(struct diag, configuration) },
	{ "configuration", "/config", "configuration.json", FLAG_COUNT, ASK_TIMEOUT, -2 },
	{ "probes", "/diag/probe", "probes.json", FLAG_NO_DIAG_NETWORK, PROBE_TIMEOUT,
	  offsetof(struct diag, probe) },
};

void diag_collect(struct diag *d)
{
	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		const struct page *p = &pages[i];
		json_t *value = NULL, **slot;
		struct err err = { 0 };

		if (p->unless != FLAG_COUNT && diag_flag(d, p->unless))
			continue;
		int r = collect_page(d, p->path, p->file, p->most, p->slot == -1 ? NULL : &value,
				     &err);
		diag_task(d, p->task, r < 0 ? &err : NULL);
		if (p->slot < 0) {
			json_decref(value);
			continue;
		}
		slot = (json_t **)(void *)((char *)d + p->slot);
		json_decref(*slot);
		*slot = value;
		if (!d->state)
			return;
	}
	if (!diag_flag(d, FLAG_NO_DIAG_LOGS))
		diag_collect_logs(d);
	if (!diag_flag(d, FLAG_NO_DIAG_NETWORK))
		diag_collect_network(d);
}
