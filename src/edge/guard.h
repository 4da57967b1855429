/* What the public listeners are held to, made of the settings at the start: file descriptors, what each visitor may
 * do, how long it may take. Control thread; workers read what guard_limits() gives them.
 */
#pragma once

#include "edge/edge_config.h"
#include "edge/worker.h"

struct guard;
struct json_t;

/* Takes as many file descriptors as the system allows. */
struct guard *guard_new(const struct edge_config *cfg);
/* After the workers are gone. NULL is fine; returns NULL. */
struct guard *guard_free(struct guard *g);
struct worker_limits guard_limits(const struct guard *g);
/* For control_status_add(): the limits, and how often each was hit. */
struct json_t *guard_json(void *guard);
void guard_register_metrics(void);
/* A listener has no descriptor for a connection, and pauses: says so in the log, now and then. Any thread. */
void guard_exhausted(void *worker, int sys_errno);
