/* Who somebody is, as the identity provider said when they signed in: immutable and counted, kept by the workers
 * that have seen one of their requests. Any thread.
 */
#pragma once

#include "base/clock.h"
#include "edge/access/rule.h"

/* An identity as JSON: of a person with all their groups. */
#define ACCESS_IDENTITY_BYTES (64 * 1024)

struct access_identity {
	const char *session;         /* the session's id */
	const char *person, *name;   /* id, and as it is shown */
	usec created_at, expires_at; /* of the session; wall time */
	struct access_facts facts;   /* of the person; those of the connection are empty */
};

/* `json` is {email, name, idp, amr[], groups[], organizations[{name, teams[]}], claims{}}. E_PARSE, E_LIMIT. */
struct access_identity *access_identity_new(const char *session, const char *person,
					    struct bytes json, usec created_at, usec expires_at,
					    struct err *err);
struct access_identity *access_identity_ref(struct access_identity *i);
struct access_identity *access_identity_unref(struct access_identity *i); /* NULL is fine */
