/* How identity providers have answered, for `adit-edge status`: since the edge started, in memory only. Counts them in
 * /metrics as well. Control thread. Counted, for a letter on its way may outlive whoever asked for it.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"

/* More providers than anybody has; what comes later is not noted. */
#define PROVIDER_NOTES_MAX 256

struct provider_note {
	int64_t answered, failed; /* steps */
	usec answered_at;         /* wall time; 0: never */
	usec failed_at;           /* the same */
	char error[200];          /* of the last that failed, in printable ASCII */
};

struct provider_notes;

struct provider_notes *provider_notes_new(void);
struct provider_notes *provider_notes_ref(struct provider_notes *n);
struct provider_notes *provider_notes_unref(struct provider_notes *n); /* NULL is fine */
/* A step is over; err->code 0: it worked. E_DENIED: the provider works, but signs nobody in: no failure of it. */
void provider_notes_add(struct provider_notes *n, const char *id, const char *name, usec took,
			const struct err *err);
/* NULL: it was not asked yet. */
const struct provider_note *provider_notes_find(const struct provider_notes *n, const char *id);
