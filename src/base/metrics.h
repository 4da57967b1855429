/* Counters, gauges and histograms in Prometheus' text form (exposition format 0.0.4).
 *
 * A metric is a static struct, registered once before threads start, and changed with relaxed atomics
 * from any thread: one addition on the hot path. Distinct cache lines per metric keep workers from
 * fighting over the hot ones. A set is one name whose series differ in their labels; they are made when
 * they are first asked for, a bounded number of them. Whoever changes one often asks once and keeps it.
 * Metrics live as long as the process.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
	_Alignas(64) _Atomic int64_t value;
	const char *name;   /* "adit_edge_requests_total" */
	const char *labels; /* "code=\"502\"" or NULL */
	const char *help;
	enum metric_type type;
	int64_t per_unit; /* what is printed is value / per_unit: 1000000 for microseconds as seconds; 0: 1 */
	struct metric *next;
};

/* `m` is static; call once each. Metrics of one name must be registered one after the other. */
void metric_register(struct metric *m);
/* Appends the exposition of all metrics; 0 or E_LIMIT. Any thread. */
int metrics_print(struct buf *out) MUST_USE;

static inline void metric_add(struct metric *m, int64_t n)
{
	atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

static inline int64_t metric_get(struct metric *m)
{
	return atomic_load_explicit(&m->value, memory_order_relaxed);
}

static inline void metric_set(struct metric *m, int64_t n)
{
	atomic_store_explicit(&m->value, n, memory_order_relaxed);
}

/* --- Series by label ------------------------------------------------------------------------- */

#define METRIC_LABELS 2
/* Bytes of one label value: what is longer is cut. A name in DNS has 253. */
#define METRIC_LABEL_BYTES 256

struct metric_set {
	const char *name, *help;
	enum metric_type type;                  /* counter or gauge */
	const char *label_names[METRIC_LABELS]; /* the second may be NULL */
	size_t max; /* series; values that come later are counted together as "other" */
	/* Its own. */
	struct metric *first, *last;
	size_t count;
};

/* The series with these values (`b` is ignored when there is one label), made if need be; never NULL.
 * Bytes that are not printable ASCII become '_'. A walk over the set under a lock. Any thread. */
struct metric *metric_of(struct metric_set *set, struct bytes a, struct bytes b);

/* --- Histograms ------------------------------------------------------------------------------ */

#define HISTOGRAM_BOUNDS 16

struct histogram {
	struct metric sum;     /* type METRIC_HISTOGRAM; the sum of all observations */
	const int64_t *bounds; /* upper, inclusive, rising; in the unit of observations */
	size_t bound_count;    /* at most HISTOGRAM_BOUNDS */
	_Atomic int64_t counts[HISTOGRAM_BOUNDS + 1]; /* of each bucket alone */
};

/* As metric_register(). */
void histogram_register(struct histogram *h);
void histogram_observe(struct histogram *h, int64_t value);
