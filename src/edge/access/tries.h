/* How often somebody may try to sign in as one person, or have codes sent to them.
 *
 * What strangers do must not keep anybody out, so a browser in which a person has signed in before has a budget of its
 * own, which nobody else can use up. All others share one for each person: who guesses from many networks gets no further
 * than that. (Tries of one network are counted by edge/control/signin.h.) In memory only, bounded. Control thread; `now`
 * is clock_now().
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/clock.h"

/* Wrong passwords for one person in an hour: of their own browser, and of all others together. 50 an hour are 438,000 a
 * year: a password that is not among the first half million guesses is safe. */
#define TRIES_OWN 20
#define TRIES_STRANGERS 50
/* Codes to one address in an hour, for their own browser; for others of one network. More of them come after a pause
 * each, so that whoever shares a network with somebody who means ill waits, but not for long. */
#define CODES_OWN 10
#define CODES_NETWORK 5
#define CODES_PAUSE (240 * USEC_PER_SEC)

struct tries;

struct tries *tries_new(void);
struct tries *tries_free(struct tries *t); /* NULL is fine */

/* This person has signed in with this browser (the value of its device cookie). */
void tries_worked(struct tries *t, struct bytes device, struct bytes email);
bool tries_is_own(struct tries *t, struct bytes device, struct bytes email);

/* Counts one; false: it was one too many. */
bool tries_password(struct tries *t, struct bytes device, struct bytes email, usec now);
bool tries_code(struct tries *t, struct bytes device, struct bytes email, struct bytes network,
		usec now);
