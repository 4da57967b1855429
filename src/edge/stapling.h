/* OCSP stapling: asks the authorities of the certificates that are served whether these are still good, and keeps the
 * answers in the store, from where snapshots take them (RFC 6960, RFC 6066 §8).
 *
 * One question at a time, off the loop. An answer is asked for anew when half of its time is over; a failure is
 * tried again after a minute, then less and less often; an answer that has ended is not shown any more (tls/tls.h). A
 * certificate that was revoked loses its staple at once, and the log says so. Control thread.
 */
#pragma once

#include "base/metrics.h"

struct json_t;
struct loop;
struct snapshot;
struct stapling;
struct store;

/* `changed` (never inside of a call here) says that the store has a new answer. All are borrowed. */
struct stapling *stapling_new(struct loop *loop, struct store *store, void (*changed)(void *ctx),
			      void *ctx);
/* A question under way ends by itself. */
struct stapling *stapling_free(struct stapling *s);
/* Which certificates there are now. */
void stapling_update(struct stapling *s, const struct snapshot *snapshot);
/* Another process asks; or, as the takeover failed, this one again. */
void stapling_pause(struct stapling *s, bool is_paused);
/* Of certificates whose authority offers OCSP: how it stands with each. Owned. */
struct json_t *stapling_status(void *s);

extern struct metric metric_ocsp_answers, metric_ocsp_failures;
