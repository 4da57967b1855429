/* What the access logs of both programs say of an exchange that has ended, and heads for debugging.
 *
 * No query, no fragment and no header value that may be secret is ever part of it: see base/redact.h.
 */
#pragma once

#include "base/log.h"
#include "http/exchange.h"

/* --- A line under construction --------------------------------------------------------------- */

#define EXCHANGE_LOG_FIELDS 24

struct exchange_line {
	struct log_field fields[EXCHANGE_LOG_FIELDS + 1];
	size_t count;
};

static inline void exchange_line_add(struct exchange_line *l, struct log_field field)
{
	if (l->count < EXCHANGE_LOG_FIELDS)
		l->fields[l->count++] = field;
}

/* Only when there is something to say. */
static inline void exchange_line_text(struct exchange_line *l, const char *key, struct bytes text)
{
	if (text.len)
		exchange_line_add(l, LOG_BYTES(key, text));
}

/* --- Facts ----------------------------------------------------------------------------------- */

struct exchange_outcome {
	/* What the visitor got. 499: left before there was anything to get; as nginx has it. */
	int status;
	bool is_aborted; /* left before the answer was complete; an upgraded connection may end anyhow */
	uint64_t sent, received; /* bytes of the bodies, without heads and framing */
	usec first_byte;         /* after the start; -1: never */
	usec total;
};

/* For on_end(). */
struct exchange_outcome exchange_outcome_of(const struct exchange *x);
/* As it was asked for, without the query. */
struct bytes exchange_path(const struct exchange *x);
/* "edge", "tunnel", "connector", "origin", "visitor". */
const char *exchange_hop_name(enum failure_hop hop);

/* method host path; status bytesOut bytesIn ttfbMs totalMs; hop errno error aborted. */
void exchange_line_request(struct exchange_line *l, const struct exchange *x);
void exchange_line_outcome(struct exchange_line *l, const struct exchange_outcome *o);
void exchange_line_failure(struct exchange_line *l, const struct exchange *x,
			   const struct exchange_outcome *o);

/* At level debug: the fields of a head, secrets masked. `what` is "request head" or "response head". */
void exchange_log_head(const char *component, const char *what, const struct exchange *x,
		       const struct head *head);
