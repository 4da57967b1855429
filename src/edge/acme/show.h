/* Showing challenges wherever they are looked for: pages and handshakes on all workers, records in our DNS or, by
 * updates, in that of the server that keeps the zone. Once all of them have it the authority may be told. Control
 * thread.
 */
#pragma once

#include "acme/acme.h"

struct acme_show;
struct challenges;
struct dns_control;
struct dns_tell;
struct loop;
struct worker;

/* All borrowed for life. */
struct acme_show_options {
	struct loop *loop;
	struct worker *const *workers;
	size_t count;
	struct dns_control *const *dns; /* where it will be; NULL there: DNS is off */
	struct dns_tell *const *tell; /* where it will be; NULL there: no other server is updated */
	/* Gives a set (NULL: none; the reference is the callee's) to every worker. */
	int (*spread)(void *ctx, struct challenges *set, struct err *err);
	void *ctx;
};
struct acme_show *acme_show_new(const struct acme_show_options *options);
/* Before the control loop is freed. */
struct acme_show *acme_show_free(struct acme_show *s);

/* Those of the list (at least one), and nothing else that is of an earlier call. All are proven by DNS-01, or none is.
 * `shown` comes once, not inside the call, when every worker has them, or with why not. */
void acme_show_start(struct acme_show *s, const struct acme_challenge *list, size_t count,
		     void (*shown)(void *arg, const struct err *err), void *arg);
/* Takes them back; `shown` does not come any more. */
void acme_show_stop(struct acme_show *s);
