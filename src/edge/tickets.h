/* The keys of session tickets: made on a schedule, kept in the store (sealed), and given to the TLS of this process.
 *
 * A key seals tickets until the next one is made, and opens them for as long as a session may be resumed after that
 * (TLS_TICKET_LIFETIME_SECONDS): so a change of keys, a restart and a takeover cost nobody a full handshake, and
 * what is stolen opens no older tickets than that. Control thread.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"

struct loop;
struct store;
struct tickets;

/* Takes the keys that the store has, makes one if it is time to, every `every` from then on. 0: no tickets at all.
 * Both are borrowed. An error means the store; then there are keys, but no one else will ever know them. */
struct tickets *tickets_new(struct loop *loop, struct store *store, usec every);
struct tickets *tickets_free(struct tickets *t);
/* Another process writes the store from now on: no key is made here any more, and what it made is taken over each
 * time this is called. */
void tickets_follow(struct tickets *t);
