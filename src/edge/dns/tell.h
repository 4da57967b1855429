/* What other name servers are told: secondaries of new serials (edge/dns/notify.h), and those who keep a zone
 * themselves of our hostnames (edge/dns/update.h). Control thread.
 */
#pragma once

#include <jansson.h>

#include "edge/dns/control.h"

struct dns_tell;

/* All borrowed for life. */
struct dns_tell *dns_tell_new(const struct edge_config *config, struct store *store, struct loop *l);
struct dns_tell *dns_tell_free(struct dns_tell *t);

/* For struct dns_control_options: `ctx` is the struct dns_tell. */
void dns_tell_published(void *ctx, struct dns_zones *zones, struct dns_peers *peers);
/* The store has changed. What cannot be read is tried again, and logged. */
void dns_tell_update(struct dns_tell *t);
/* A successor writes from now on, or does not after all: as dns_control_pause(). */
void dns_tell_pause(struct dns_tell *t, bool is_paused);

/* Do we update another server's zone that the name is in? NULL: no. */
bool dns_tell_serves(const struct dns_tell *t, const char *name);
/* As dns_control_show(), but servers of others are asked, and may fail: `shown` says so, and comes always where there
 * was one. Of the names those count that dns_tell_serves() knows. */
void dns_tell_show(struct dns_tell *t, const struct dns_challenge *list, size_t count,
		   void (*shown)(void *arg, const struct err *err), void *arg);

/* Parts of `adit-edge status`. */
json_t *dns_tell_secondaries(void *t);
json_t *dns_tell_updates(void *t);
/* Once, before threads start. */
void dns_tell_register_metrics(void);
