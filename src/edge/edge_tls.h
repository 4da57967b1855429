/* The TLS contexts of all workers: which certificate a handshake gets, from a snapshot and from what certificate
 * authorities may be shown at the moment. Control thread; the choices are made on workers.
 */
#pragma once

#include "edge/worker.h"

struct challenges;
struct edge;

/* References of its own; `challenges` may be NULL. *ret is untouched on failure. */
int edge_tls_make(struct edge *e, struct snapshot *s, struct challenges *challenges,
		  struct worker_tls *ret, struct err *err);
/* Another reference to each. */
struct worker_tls edge_tls_ref(const struct worker_tls *tls);
void edge_tls_done(struct worker_tls *tls);
