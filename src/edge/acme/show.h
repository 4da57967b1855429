/* Showing challenges on all workers: the set goes to each, and once each has it the authority may be told. Control
 * thread.
 */
#pragma once

#include "acme/acme.h"

struct acme_show;
struct challenges;
struct loop;
struct worker;

/* `spread` gives a set (NULL: none; the reference is the callee's) to every worker. */
struct acme_show *acme_show_new(struct loop *loop, struct worker *const *workers, size_t count,
				int (*spread)(void *ctx, struct challenges *set, struct err *err),
				void *ctx);
/* Before the control loop is freed. */
struct acme_show *acme_show_free(struct acme_show *s);

/* As struct acme_manager_hooks has them, for HTTP-01 and TLS-ALPN-01. */
void acme_show_start(struct acme_show *s, const struct acme_challenge *list, size_t count,
		     void (*shown)(void *arg, const struct err *err), void *arg);
void acme_show_stop(struct acme_show *s);
