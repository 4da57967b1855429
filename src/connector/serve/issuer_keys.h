/* The keys of Access teams, fetched when they are first needed and kept.
 *
 * ISSUER/cdn-cgi/access/certs is asked on a thread of the loop's pool, verified against the system's roots
 * (or SSL_CERT_FILE) and through the proxy of the environment. Keys are good for an hour; after that the next
 * request has them fetched anew and the old ones serve meanwhile, up to a day when the issuer cannot be
 * reached. A token that names a key which is not among them has them fetched sooner: once in five seconds at most,
 * and it waits for that. Teams are few and named by the rules: they stay until the end. One loop.
 */
#pragma once

#include "connector/ingress/ingress.h"
#include "io/loop.h"
#include "jose/key_set.h"

struct issuer_keys;
struct access_team;

struct issuer_keys *issuer_keys_new(struct loop *loop);
/* Nobody who waits is told. A fetch that runs ends on its own, within LIMIT_ACCESS_WAIT_MS, before
 * loop_free() returns. NULL is fine; returns NULL. */
struct issuer_keys *issuer_keys_free(struct issuer_keys *k);

/* Found or made; lives as long as `k`. */
struct access_team *access_team_get(struct issuer_keys *k, const char *issuer);
/* NULL when none were fetched. Borrowed for this turn. */
const struct key_set *access_team_keys(struct access_team *team);
/* How the last fetch ended; text "" when well, or when there was none. */
const struct err *access_team_error(const struct access_team *team);

/* Somebody who waits for the end of a fetch; in the waiter's memory. */
struct access_wait {
	struct list node;
	struct access_team *team; /* borrowed; NULL when not waiting */
	bool is_late;             /* what came was asked for before this began to wait */
	void (*done)(struct access_wait *w);
};

/* Has newer keys fetched, because there are none or a token names one that is not among them. done() comes
 * once, when the fetch has ended, however it did; never inside this call. The fetch begins when the last one is five
 * seconds old. False when that cannot be: the last one failed a moment ago, or too many others wait
 * (LIMIT_ACCESS_WAITING; half of that while no fetch runs). */
bool access_team_wait(struct access_team *team, struct access_wait *w);
/* No done() after this; may be called at any time after access_team_wait(). */
void access_wait_cancel(struct access_wait *w);
