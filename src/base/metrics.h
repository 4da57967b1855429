/* Counters and gauges in Prometheus' text form.
 *
 * A metric is a static struct, registered once before threads start, and changed with relaxed atomics
 * from any thread. Distinct cache lines per metric keep workers from fighting over the hot ones.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
	_Alignas(64) _Atomic int64_t value;
	const char *name;   /* "adit_edge_requests_total" */
	const char *labels; /* "code=\"502\"" or NULL */
	const char *help;
	enum metric_type type;
	struct metric *next;
};

/* `m` is static; call once each. Metrics of one name must be registered one after the other. */
void metric_register(struct metric *m);
/* Appends the exposition of all metrics; 0 or E_LIMIT. */
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
