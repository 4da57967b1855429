/* When certificates end, for whoever watches. */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "edge/certificates.h"

/* A page of metrics is read every few seconds; those of larger edges watch "other". */
#define SERIES_MAX 200

static struct metric_set ends = {
	.name = "adit_edge_certificate_end_timestamp_seconds",
	.help = "When certificates end, in seconds since 1970; 0: it is gone; other: the first of the rest",
	.type = METRIC_GAUGE,
	.label_names = { "name", "source" },
	.max = SERIES_MAX,
};

/* What has a series, so that it can be taken back. Control thread. */
static struct map *reported;

static void set(const char *name, int64_t seconds)
{
	const char *source = certificate_source_text(certificate_source_of(name));

	metric_set(metric_of(&ends, bytes_str(name), bytes_str(source)), seconds);
}

/* The first to end comes last, and is what "other" says then. */
static int by_end(const void *a, const void *b)
{
	const struct store_certificate *left = *(const struct store_certificate *const *)a;
	const struct store_certificate *right = *(const struct store_certificate *const *)b;

	return left->expires_at > right->expires_at ? -1 : left->expires_at < right->expires_at;
}

void certificates_report(const struct store_certificate *list, size_t count)
{
	const struct store_certificate **sorted = mem_alloc_array(count + 1, sizeof(*sorted));
	struct map *before = reported;
	struct bytes name = BYTES_NONE;
	size_t cursor = 0;
	void *text = NULL;

	reported = map_new();
	for (size_t i = 0; i < count; i++) {
		sorted[i] = &list[i];
		map_put(reported, bytes_str(list[i].name), mem_strdup(list[i].name));
	}
	while (before && map_next(before, &cursor, &name, &text)) {
		if (!map_find(reported, name))
			set(text, 0);
		mem_free(text);
	}
	map_free(before);
	if (count)
		qsort(sorted, count, sizeof(struct store_certificate *), by_end);
	for (size_t i = 0; i < count; i++)
		set(sorted[i]->name, sorted[i]->expires_at / USEC_PER_SEC);
	mem_free(sorted);
}
