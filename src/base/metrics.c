#include "base/metrics.h"

#include <pthread.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

/* Guards the list and the sets; nobody takes it to count. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *first, **last = &first;

static void append(struct metric *m)
{
	*last = m;
	last = &m->next;
}

void metric_register(struct metric *m)
{
	pthread_mutex_lock(&lock);
	append(m);
	pthread_mutex_unlock(&lock);
}

void histogram_register(struct histogram *h)
{
	BUG_IF(h->bound_count > HISTOGRAM_BOUNDS || h->sum.type != METRIC_HISTOGRAM);
	metric_register(&h->sum);
}

void histogram_observe(struct histogram *h, int64_t value)
{
	size_t i = 0;

	while (i < h->bound_count && value > h->bounds[i])
		i++;
	atomic_fetch_add_explicit(&h->counts[i], 1, memory_order_relaxed);
	metric_add(&h->sum, value);
}

/* --- Sets ------------------------------------------------------------------------------------ */

static int add_value(struct buf *out, const char *name, struct bytes value)
{
	int ret = buf_printf(out, "%s%s=\"", out->len ? "," : "", name);

	for (size_t i = 0; i < value.len && i < METRIC_LABEL_BYTES; i++) {
		uint8_t c = value.ptr[i];
		if (c == '"' || c == '\\')
			ret |= buf_append(out, BYTES_LIT("\\"));
		if (c < ' ' || c > '~')
			c = '_';
		ret |= buf_append(out, bytes_of(&c, 1));
	}
	return ret | buf_append(out, BYTES_LIT("\""));
}

/* name="value",name="value"; owned by the caller. */
static char *labels_of(const struct metric_set *set, const struct bytes values[METRIC_LABELS])
{
	struct buf out;
	int ret = 0;

	buf_init(&out, METRIC_LABELS * (2 * METRIC_LABEL_BYTES + 100));
	for (size_t i = 0; i < METRIC_LABELS && set->label_names[i]; i++)
		ret |= add_value(&out, set->label_names[i], values[i]);
	BUG_IF(ret < 0); /* names are our own and short */
	char *text = buf_take_str(&out);
	buf_done(&out);
	return text;
}

/* Aligned as its type asks; never freed. */
static struct metric *new_metric(void)
{
	uintptr_t at = (uintptr_t)mem_alloc(sizeof(struct metric) + _Alignof(struct metric) - 1);

	return (struct metric *)((at + _Alignof(struct metric) - 1) & -_Alignof(struct metric));
}

/* Behind the set's other series, so that all of a name stand together. */
static struct metric *add_series(struct metric_set *set, char *labels)
{
	struct metric *m = new_metric();

	m->name = set->name;
	m->help = set->help;
	m->type = set->type;
	m->labels = labels;
	if (set->last) {
		m->next = set->last->next;
		set->last->next = m;
		if (last == &set->last->next)
			last = &m->next;
	} else {
		append(m);
		set->first = m;
	}
	set->last = m;
	set->count++;
	return m;
}

static struct metric *find_series(const struct metric_set *set, const char *labels)
{
	struct metric *m = set->first;

	for (size_t i = 0; i < set->count; i++, m = m->next)
		if (strcmp(m->labels, labels) == 0)
			return m;
	return NULL;
}

struct metric *metric_of(struct metric_set *set, struct bytes a, struct bytes b)
{
	const struct bytes values[METRIC_LABELS] = { a, b };
	const struct bytes others[METRIC_LABELS] = { BYTES_LIT("other"), BYTES_LIT("other") };
	char *labels = labels_of(set, values);

	pthread_mutex_lock(&lock);
	struct metric *m = find_series(set, labels);
	if (!m && set->count >= set->max) {
		mem_free(labels);
		labels = labels_of(set, others);
		m = find_series(set, labels);
	}
	if (!m)
		m = add_series(set, TAKE(labels));
	pthread_mutex_unlock(&lock);
	mem_free(labels);
	return m;
}

/* --- Exposition ------------------------------------------------------------------------------ */

static int print_number(struct buf *out, int64_t value, int64_t per_unit)
{
	if (per_unit <= 1)
		return buf_printf(out, "%lld", (long long)value);
	return buf_printf(out, "%.15g", (double)value / (double)per_unit);
}

/* name_suffix{labels,le="…"} */
static int print_name(struct buf *out, const struct metric *m, const char *suffix)
{
	return buf_printf(out, "%s%s%s%s%s", m->name, suffix, m->labels ? "{" : "",
			  m->labels ? m->labels : "", m->labels ? "} " : " ");
}

static int print_histogram(struct buf *out, struct histogram *h)
{
	const struct metric *m = &h->sum;
	const char *labels = m->labels ? m->labels : "", *comma = m->labels ? "," : "";
	int64_t sum = metric_get(&h->sum), total = 0;
	int ret = 0;

	for (size_t i = 0; i <= h->bound_count; i++) {
		total += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
		ret |= buf_printf(out, "%s_bucket{%s%sle=\"", m->name, labels, comma);
		if (i < h->bound_count)
			ret |= print_number(out, h->bounds[i], m->per_unit);
		else
			ret |= buf_append(out, BYTES_LIT("+Inf"));
		ret |= buf_printf(out, "\"} %lld\n", (long long)total);
	}
	ret |= print_name(out, m, "_sum");
	ret |= print_number(out, sum, m->per_unit);
	ret |= buf_append(out, BYTES_LIT("\n"));
	ret |= print_name(out, m, "_count");
	ret |= buf_printf(out, "%lld\n", (long long)total);
	return ret;
}

static int print_metric(struct buf *out, struct metric *m)
{
	if (m->type == METRIC_HISTOGRAM)
		return print_histogram(out, CONTAINER_OF(m, struct histogram, sum));
	int ret = print_name(out, m, "");
	ret |= print_number(out, metric_get(m), m->per_unit);
	return ret | buf_append(out, BYTES_LIT("\n"));
}

int metrics_print(struct buf *out)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };
	const char *previous = "";
	int ret = 0;

	pthread_mutex_lock(&lock);
	for (struct metric *m = first; m && ret == 0; m = m->next) {
		if (strcmp(previous, m->name) != 0)
			ret = buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help,
					 m->name, types[m->type]);
		previous = m->name;
		ret |= print_metric(out, m);
	}
	pthread_mutex_unlock(&lock);
	return ret < 0 ? E_LIMIT : 0;
}
