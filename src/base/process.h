/* What this process uses of its machine, as Prometheus' clients name it (process_*). */
#pragma once

#include <stdint.h>

#include "base/clock.h"

struct process_facts {
	usec cpu;                                  /* user and system time of all threads */
	int64_t resident_bytes, virtual_bytes;     /* 0 where /proc does not say */
	int64_t open_descriptors, max_descriptors; /* the same; max: the soft limit, -1: none */
	usec started_wall;                         /* to within the 10 ms of a kernel tick */
};

/* Reads /proc, which is memory: well below a millisecond, but for a process with very many descriptors on
 * a kernel before 6.2 (about one per 10 000). Any thread. */
void process_read(struct process_facts *ret);
/* What this process may have of memory: of its cgroup (version 2) or of the machine, whichever is less. At the start. */
int64_t process_memory_limit(void);
/* Raises the soft limit of file descriptors to the hard one, for a program that opens one per connection; returns what it
 * is then, -1: there is none. At the start. */
int64_t process_raise_descriptors(void);
/* Sets the metrics process_cpu_seconds_total, process_resident_memory_bytes and so on to what is the case
 * now, for a metrics_print() that follows. The first call registers them. One thread at a time. */
void process_metrics_update(void);
