/* DNS of the edge, seen from the control thread: which zones there are, and that every worker serves the newest.
 *
 * After each change of the store the zones are built anew (edge/dns/publish.h) and posted to the workers, as are the
 * keys of other name servers; and again before signatures expire. Control thread.
 */
#pragma once

#include <jansson.h>

#include "edge/dns/answer.h"
#include "edge/dns/peers.h"

struct dns_control;
struct edge_config;
struct loop;
struct sockets;
struct store;
struct worker;

struct dns_control_options {
	/* All borrowed for life. */
	const struct edge_config *config;
	struct store *store;
	struct loop *loop;
	struct sockets *sockets;
	struct worker *const *workers;
	size_t worker_count;
	/* Called when zones have a new serial or secondaries have changed; NULL: nobody wants to know. `zones` and
	 * `peers` are borrowed until the return. Zones that did not change are the same objects as the time before. */
	void (*published)(void *ctx, struct dns_zones *zones, struct dns_peers *peers);
	void *ctx;
};

/* Opens the sockets and gives the workers their servers and zones: before their threads start. *ret is NULL with 0 when
 * names are resolved elsewhere. All calls below take NULL for that. */
int dns_control_new(const struct dns_control_options *options, struct dns_control **ret,
		    struct err *err);
/* After the workers' threads have ended, before their loops and ours are freed. */
struct dns_control *dns_control_free(struct dns_control *c);

/* The store has changed. What cannot be read is tried again, and logged. */
void dns_control_update(struct dns_control *c);
/* Nothing is written or published any more (a successor does that); and back. */
void dns_control_pause(struct dns_control *c, bool is_paused);

/* Do we answer for the name's zone? `name` is a zone or anything below one. */
bool dns_control_serves(const struct dns_control *c, const char *name);
/* Borrowed until the next update. NULL when DNS is off. */
struct dns_zones *dns_control_zones(const struct dns_control *c);
struct dns_peers *dns_control_peers(const struct dns_control *c);

/* --- Challenges of certificate authorities (dns-01) -------------------------------------------- */

struct dns_challenge {
	const char *name; /* "example.com": the record is at _acme-challenge.example.com */
	const char *text; /* base64url, as RFC 8555 §8.4 has it */
};

/* TXT records that are not stored; the list (copied) takes the place of the one before, of none when it is empty. With
 * 0 it is posted to every worker: whatever is posted to a worker from now on runs when that one serves them, and
 * `shown` (NULL: nobody waits) comes in a later turn once all of them do. E_UNSUPPORTED: DNS is off; E_NOT_FOUND: a
 * name is in no zone of ours; others: a zone could not be built, with the names of before. Not called back then. */
int dns_control_show(struct dns_control *c, const struct dns_challenge *list, size_t count,
		     void (*shown)(void *arg), void *arg, struct err *err);

/* For `adit-edge status`: an object. `c` is the struct dns_control. */
json_t *dns_control_status(void *c);
/* Once, before threads start. */
void dns_control_register_metrics(void);
