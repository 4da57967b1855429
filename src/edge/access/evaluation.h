/* External evaluation: a service of somebody else says whether this person may come in (CONTROL §5.10).
 *
 * The edge POSTs {"token": …} to the rule's evaluate_url, signed with the keys of Access (RS256) and with a nonce of
 * its own, and the service answers {"token": …}, signed with a key of keys_url, that repeats the nonce and says
 * "success". One question is one object: made on the control thread, asked on a thread that may block. What is no good
 * answer is none: ACCESS_UNKNOWN with a reason, never a yes or a no.
 */
#pragma once

#include "edge/access/identity.h"
#include "edge/access/oauth.h"

/* All of one request: a person waits for it, and threads that ask are few. */
#define EVALUATION_TIMEOUT (5 * USEC_PER_SEC)
/* A signed answer has some hundred bytes, keys some thousand. */
#define EVALUATION_ANSWER_BYTES (64 * 1024)
/* The service has so long to read the question. */
#define EVALUATION_LIFE (60 * USEC_PER_SEC)

struct access_keys;
struct key_set;

struct evaluation {
	struct oauth *service; /* owned: its URLs, the nonce, its keys as far as they are known */
	char *question;        /* owned: signed; set by evaluation_sign() */
	enum access_answer answer; /* evaluation_ask() */
	struct err err;            /* why it is ACCESS_UNKNOWN */
};

/* Who asks for whom. Borrowed. */
struct evaluation_about {
	const char *issuer; /* URL of the control host */
	const struct access_identity *identity;
	const struct access_facts *facts; /* of the person and the connection */
	const char *provider_type;        /* "oidc", "onetimepin" …; "" when that is not known */
	struct bytes client_ip;
	usec now; /* wall time */
};

/* `rule` is copied as far as it is needed. */
struct evaluation *evaluation_new(const struct access_rule *rule);
struct evaluation *evaluation_free(struct evaluation *e); /* NULL is fine */
/* What the question says; a new reference. */
json_t *evaluation_claims(const struct evaluation *e, const struct evaluation_about *about);
void evaluation_sign(struct evaluation *e, const struct access_keys *keys,
		     const struct evaluation_about *about);
/* Blocks. */
void evaluation_ask(struct evaluation *e);
/* What a signed answer says to the question with this nonce. E_NOT_FOUND: newer keys might know its signature; the
 * other errors are those of jwt_verify_answer(), and E_DENIED for an answer to another question. */
int evaluation_read(const struct key_set *keys, const char *token, const char *nonce, usec now,
		    enum access_answer *ret, struct err *err);
