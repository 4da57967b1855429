/* What the edge remembers of Access: its configuration, people and their sessions. As store.h: control thread
 * only, each write is one transaction, texts in results are owned by the result.
 */
#pragma once

#include "store/store.h"

/* --- Configuration: JSON objects by kind and id ----------------------------------------------- */

struct store_access_object {
	char *kind, *id;
	struct secret body; /* JSON, with a NUL behind it */
};
void store_access_object_done(struct store_access_object *o);
/* By kind, in the order they were made. */
int store_access_object_list(struct store *s, struct store_access_object **ret, size_t *ret_count,
			     struct err *err);
/* Makes it, or puts another body in its place. */
int store_access_object_put(struct store *s, const char *kind, const char *id, struct bytes body,
			    struct err *err);
int store_access_object_remove(struct store *s, const char *kind, const char *id,
			       struct err *err); /* E_NOT_FOUND */
/* All of them at once, in this order: what is not listed goes. */
int store_access_object_replace(struct store *s, const struct store_access_object *objects,
				size_t count, struct err *err);

/* --- API tokens that administer all of it (those of tunnels do not) ------------------------------- */

struct store_access_token {
	char *name;
	usec created_at;
};
void store_access_token_done(struct store_access_token *t);
/* Only a hash is kept. Text is owned by the caller: wipe it. E_EXISTS. */
char *store_access_token_create(struct store *s, const char *name, struct err *err);
int store_access_token_find(struct store *s, const char *token, struct store_access_token *ret,
			    struct err *err); /* E_DENIED */
int store_access_token_list(struct store *s, struct store_access_token **ret, size_t *ret_count,
			    struct err *err);
int store_access_token_remove(struct store *s, const char *name, struct err *err); /* E_NOT_FOUND */

/* --- People ------------------------------------------------------------------------------------ */

struct store_person {
	struct uuid id;
	char *email, *name;
	bool has_password;
	usec created_at, seen_at, revoked_at; /* wall time; 0: never */
};
void store_person_done(struct store_person *p);
/* Finds or makes the person with this address (in lower case), and notes that they were here. */
int store_person_seen(struct store *s, const char *email, const char *name,
		      struct store_person *ret, struct err *err);
int store_person_add(struct store *s, const char *email, const char *name, struct store_person *ret,
		     struct err *err);                                        /* E_EXISTS */
int store_person_remove(struct store *s, const char *email, struct err *err); /* E_NOT_FOUND */
int store_person_find(struct store *s, const char *email, struct store_person *ret,
		      struct err *err); /* E_NOT_FOUND */
int store_person_list(struct store *s, struct store_person **ret, size_t *ret_count,
		      struct err *err);
/* argon2id; E_NOT_FOUND. NULL: none any more. */
int store_person_set_password(struct store *s, const char *email, const char *password,
			      struct err *err);
/* 0, or E_DENIED for a wrong password, nobody or one without password: all take the same time. */
int store_person_check(struct store *s, const char *email, const char *password, struct err *err);
/* All their sessions end now. E_NOT_FOUND. */
int store_person_revoke(struct store *s, const char *email, struct err *err);

/* --- Sessions ---------------------------------------------------------------------------------- */

struct store_session {
	char *id; /* 64 hex digits, random */
	struct uuid person;
	char *email;            /* of the person */
	char *provider;         /* the identity provider's id */
	struct secret identity; /* JSON object, with a NUL behind it */
	char *address, *agent;  /* where from, with which browser */
	usec created_at, expires_at;
};
void store_session_done(struct store_session *x);
/* It begins a little later than x->created_at if that is when all of the person's sessions were ended. E_NOT_FOUND:
 * there is no such person. */
int store_session_add(struct store *s, const struct store_session *x, struct err *err);
/* E_NOT_FOUND: unknown, over at `now`, or revoked. */
int store_session_get(struct store *s, const char *id, usec now, struct store_session *ret,
		      struct err *err);
/* Of one person, or of all (NULL), those that are good at `now`; the newest first, `limit` at most. */
int store_session_list(struct store *s, const char *email, usec now, size_t limit,
		       struct store_session **ret, size_t *ret_count, struct err *err);
/* How many are good at `now`. */
int store_session_count(struct store *s, usec now, int64_t *ret, struct err *err);
int store_session_end(struct store *s, const char *id, struct err *err); /* E_NOT_FOUND */
/* Those that ended before `now`. Returns how many. */
int store_session_sweep(struct store *s, usec now, struct err *err);

/* --- Reasons: that somebody said why they open an application ------------------------------------ */

struct store_purpose {
	usec given_at, expires_at; /* wall time */
};
/* In place of one of before. It goes with the session. `err` is needed. */
int store_purpose_put(struct store *s, const char *session, const char *app,
		      const struct store_purpose *p, struct err *err);
int store_purpose_get(struct store *s, const char *session, const char *app,
		      struct store_purpose *ret, struct err *err); /* E_NOT_FOUND */

/* --- Passkeys: of people who have a password, too ------------------------------------------------ */

struct store_passkey {
	char *id; /* base64url of the credential's id */
	struct uuid person;
	char *email;              /* of the person */
	char *name;               /* as they call it */
	struct secret public_key; /* as edge/access/webauthn.h has it */
	int algorithm;            /* COSE */
	uint32_t counter;
	usec created_at;
};
void store_passkey_done(struct store_passkey *k);
int store_passkey_add(struct store *s, const struct store_passkey *k,
		      struct err *err); /* E_EXISTS */
int store_passkey_find(struct store *s, const char *id, struct store_passkey *ret,
		       struct err *err); /* E_NOT_FOUND */
/* Of one person, the oldest first. */
int store_passkey_list(struct store *s, const struct uuid *person, struct store_passkey **ret,
		       size_t *ret_count, struct err *err);
/* Once it has been used. */
int store_passkey_count(struct store *s, const char *id, uint32_t counter, struct err *err);
/* E_NOT_FOUND: there is none of this person. */
int store_passkey_remove(struct store *s, const struct uuid *person, const char *id,
			 struct err *err);

/* --- Uses of service tokens --------------------------------------------------------------------- */

/* Now. `err` is needed. */
int store_token_used(struct store *s, const char *token, struct err *err);
/* Wall time; 0: never, or that is not known. */
usec store_token_seen(struct store *s, const char *token);

/* --- Revoked applications ---------------------------------------------------------------------- */

struct store_revocation {
	char *app; /* its id */
	usec before;
};
void store_revocation_done(struct store_revocation *r);
/* `before` is a little later if there was one as late. */
int store_revocation_put(struct store *s, const char *app, usec before, struct err *err);
int store_revocation_list(struct store *s, struct store_revocation **ret, size_t *ret_count,
			  struct err *err);

/* --- Audit ------------------------------------------------------------------------------------- */

struct store_audit {
	int64_t id;
	usec at;
	char *action, *actor, *address, *subject, *outcome;
	char *detail; /* JSON object */
};
void store_audit_done(struct store_audit *a);
/* `id` and `at` are filled in. Of no revision: nobody's configuration changes by it. */
int store_audit_add(struct store *s, struct store_audit *a, struct err *err);
/* Since `since` (wall time), the oldest first; the last `limit` of them. */
int store_audit_list(struct store *s, usec since, size_t limit, struct store_audit **ret,
		     size_t *ret_count, struct err *err);
/* Drops what is older than `before`, and all but the newest `keep`. */
int store_audit_sweep(struct store *s, usec before, int64_t keep, struct err *err);
