/* Whether parent zones have the new DS record: asked of a resolver from time to time while a key's roll waits for it
 * (edge/dns/roll.h). Control thread.
 */
#pragma once

#include <ldns/ldns.h>

#include "edge/dns/publish.h"
#include "io/loop.h"

struct dns_parents;

/* `told`: the resolver says whether the DS record of a zone that waits is there. May call dns_parents_set(). */
struct dns_parents *dns_parents_new(struct loop *l, const struct address *resolver,
				    int64_t interval_ms,
				    void (*told)(void *ctx, const char *zone, bool has_ds),
				    void *ctx);
struct dns_parents *dns_parents_free(struct dns_parents *p);
/* Those that wait, in place of those before; copied. What an operator vouches for is not asked. */
void dns_parents_set(struct dns_parents *p, const struct dns_roll_wait *list, size_t count);

/* Is that record in the answer? Any packet; `ds` in presentation form. */
bool dns_parent_answer_has(const ldns_pkt *answer, const char *ds);
