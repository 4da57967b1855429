/* Changing what Access is configured to be: JSON objects as the API has them. Every change is tried first: what
 * would make a configuration that cannot be used is refused, and nothing has changed. Control thread.
 */
#pragma once

#include "edge/access/set.h"

struct store;

/* Texts that are shown once and never again. */
struct access_secret {
	char client_id[40];     /* of a new service token */
	char client_secret[65]; /* owned by whoever shows it: wipe it */
};

/* What would be stored, without storing or trying it. New references. */
json_t *access_object_make(enum access_kind kind, const json_t *sent, struct access_secret *secret,
			   struct err *err);
json_t *access_object_change(enum access_kind kind, const json_t *before, const json_t *sent,
			     struct err *err);

/* Can this edge answer what the object asks? E_UNSUPPORTED with what to do: `geo` without a database of countries, for a
 * rule that never holds would shut people out; E_INVALID: a file that it names is none that the edge can use
 * (edge/access/authority_file.h). What is stored stays and is judged as an unknown country is. */
int access_object_check_served(const json_t *sent, bool has_countries, struct err *err);

/* The object with this id; a new reference, NULL with E_NOT_FOUND. */
json_t *access_object_get(struct store *store, enum access_kind kind, const char *id,
			  struct err *err);
/* All of a kind, in the order they were made; a new reference. */
json_t *access_object_list(struct store *store, enum access_kind kind, struct err *err);
/* Makes one of what a client sent; its "id" and other fixed members are ours. A new reference to what is stored.
 * `secret` is filled in for service tokens. */
json_t *access_object_create(struct store *store, enum access_kind kind, const json_t *sent,
			     struct access_secret *secret, struct err *err);
/* Puts what a client sent in place of it; fixed members and secrets that are left out stay as they were. */
json_t *access_object_update(struct store *store, enum access_kind kind, const char *id,
			     const json_t *sent, struct err *err);
int access_object_delete(struct store *store, enum access_kind kind, const char *id,
			 struct err *err);
/* A new secret for a service token; the old one is good until `previous_until` (wall time). */
json_t *access_token_rotate(struct store *store, const char *id, usec previous_until,
			    struct access_secret *secret, struct err *err);

/* Without what must not be shown: hashes, secrets of identity providers. Takes the reference over, returns one. */
json_t *access_object_public(enum access_kind kind, json_t *object);
