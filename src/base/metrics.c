#include "base/metrics.h"

#include <string.h>

static struct metric *first, **last = &first;

void metric_register(struct metric *m)
{
	*last = m;
	last = &m->next;
}

int metrics_print(struct buf *out)
{
	const char *previous = "";
	int ret;

	for (struct metric *m = first; m; m = m->next) {
		if (strcmp(previous, m->name) != 0) {
			ret = buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help,
					 m->name, m->type == METRIC_COUNTER ? "counter" : "gauge");
			if (ret < 0)
				return ret;
			previous = m->name;
		}
		ret = buf_printf(out, "%s%s%s%s %lld\n", m->name, m->labels ? "{" : "",
				 m->labels ? m->labels : "", m->labels ? "}" : "",
				 (long long)metric_get(m));
		if (ret < 0)
			return ret;
	}
	return 0;
}
