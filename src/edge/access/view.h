/* What workers know of Access: the configuration, the public keys, and what has been revoked. Part of the snapshot:
 * immutable and counted. Built on the control thread, read on any.
 */
#pragma once

#include "edge/access/keys.h"
#include "edge/access/set.h"

struct access_view;
struct countries;
struct store;

/* Reads it all from the store; makes the first signing key when there is an application and no key yet (takes a
 * tenth of a second then). `issuer` is the URL of the control host, without a slash at the end. A configuration that
 * cannot be used is an error: nothing it guards may be open. `countries` (NULL: none) is where addresses are looked up;
 * the view takes a reference of its own. */
struct access_view *access_view_build(struct store *store, const char *issuer,
				      struct countries *countries, struct err *err);
struct access_view *access_view_ref(struct access_view *v);
struct access_view *access_view_unref(struct access_view *v); /* NULL is fine */

const struct access_set *access_view_set(const struct access_view *v);
/* A JSON Web Key Set; "" when there are no keys. */
const char *access_view_keys(const struct access_view *v);
const char *access_view_issuer(const struct access_view *v);
/* NULL: there is no database. */
const struct countries *access_view_countries(const struct access_view *v);
/* When there will be a new key, or an old one goes; INT64_MAX without keys. Wall time. */
usec access_view_keys_due(const struct access_view *v);
/* Changes the keys in the store; *ret (may be NULL): the keys that hold, owned by the caller. E_NOT_FOUND: there are
 * none yet. Control thread; takes a tenth of a second when there is a new one. */
int access_view_rotate(struct store *store, enum access_rotation how, struct access_keys **ret,
		       struct err *err);
/* The era of this application: it grows when all its tokens are revoked (it is about when that was, but a clock that was
 * set back makes no difference); 0: that never happened. Tokens and reasons of an earlier one are over. */
usec access_view_era(const struct access_view *v, const char *app_id);

/* The objects of the store, parsed; bodies are owned by the caller. access_objects_done() frees them. E_PARSE: one
 * is damaged. */
int access_objects_load(struct store *store, struct access_object **ret, size_t *ret_count,
			struct err *err);
void access_objects_done(struct access_object *objects, size_t count);
/* As the store calls a kind: "application", "policy" … */
const char *access_kind_name(enum access_kind kind);
bool access_kind_parse(const char *name, enum access_kind *ret);
