/* One thing that is asked of an authority, on a thread of the pool. The calls of the three phases block and touch
 * nothing but the job; everything else is the control thread's, between them.
 */
#pragma once

#include "acme/acme.h"
#include "edge/edge_config.h"

/* What the account's key is for, to the key process. */
#define ACME_ACCOUNT_PLACE "account of ACME"

enum acme_job_kind {
	ACME_JOB_ACCOUNT, /* account_key in (NULL: a new one), `acme` out */
	ACME_JOB_ORDER,   /* a certificate */
	ACME_JOB_TIME,    /* when to renew one */
};

struct acme_job {
	enum acme_job_kind kind;
	void *owner;       /* borrowed */
	struct acme *acme; /* borrowed, but owned as the result of ACME_JOB_ACCOUNT */
	char *name;        /* "domain example.com"; owned, as everything below */
	struct err err;    /* of the phase that was last */

	const struct edge_config *config; /* borrowed */
	char *account_key;                /* wiped */

	char **hostnames;
	size_t hostname_count;
	enum acme_method methods[2];
	size_t method_count;
	char *renewal_id; /* in: of the certificate before, or NULL; out: of the new one */
	struct acme_order *order;

	char *chain_pem, *key_pem; /* the key is wiped */
	char *issuer;
	usec starts_at, ends_at;

	usec renew_at, retry_at; /* of ACME_JOB_TIME; retry_at: what the authority asked for, or 0 */
	bool is_of_authority;    /* it failed in a way that concerns every name alike */
	bool was_cancelled;
};

/* For loop_work(). */
void acme_job_account(void *job);
void acme_job_time(void *job);
void acme_job_order(void *job); /* up to the challenges */
void acme_job_prove(void *job); /* and the certificate */

/* `hostnames` has one a line. */
void acme_job_set_names(struct acme_job *j, const char *name, const char *hostnames);
struct acme_job *acme_job_free(struct acme_job *j);
