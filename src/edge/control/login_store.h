/* Where `adit tunnel login` and the browser meet: certificates under a key only the two know. `adit access login` meets
 * its browser here too: its key is public, and what waits is sealed for whoever has the private half.
 *
 * The command line polls GET /login/KEY while a person approves in a browser. A poll is held until the
 * certificate comes or 50 seconds passed (stock clients give up after 60, and poll ten times without a
 * pause, so an answer at once would end their wait in milliseconds). A certificate is handed out once and
 * waits ten minutes at most. Control thread.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/bytes.h"
#include "base/clock.h"

struct control_request;
struct loop;
struct login_store;

/* KEY is url-safe base64 of 32 bytes with its padding. */
#define LOGIN_KEY_BYTES 44
#define LOGIN_PENDING_SECONDS 600
#define LOGIN_HOLD_MSEC 50000

/* `loop` NULL: nothing can be held, polls are answered at once. */
struct login_store *login_store_new(struct loop *loop);
/* Answers what is held as if its time were over, and holds nothing from now on: an edge that stops does
 * not wait for people to approve. */
void login_store_drain(struct login_store *s);
/* Polls that are still held get 503. */
struct login_store *login_store_free(struct login_store *s);

bool login_key_is_valid(struct bytes key);
/* True: the answer is filled in. False: the request is kept and answered() later. */
bool login_store_poll(struct login_store *s, struct control_request *r, struct bytes key, usec now);
/* Hands the certificate to who waits for it, or keeps it. */
void login_store_put(struct login_store *s, struct bytes key, const char *cert_pem, usec now);
/* The same with a sealed text (CONTROL §5.4) and the public key of whoever sealed it, which goes along as a field. */
void login_store_put_sealed(struct login_store *s, struct bytes key, const char *sealed,
			    const char *sender, usec now);
/* The certificates that wait, for the process that takes over on this host; an array, owned by the caller, of
 * secrets. What login_store_load() does not understand it leaves out. */
json_t *login_store_save(const struct login_store *s);
void login_store_load(struct login_store *s, const json_t *list, usec now);
