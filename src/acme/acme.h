/* A client of a certificate authority that speaks ACME: accounts with external binding, orders, challenges,
 * certificates (RFC 8555), TLS-ALPN-01 (RFC 8737), renewal information (RFC 9773).
 *
 * Every call blocks, on the network and while the authority takes its time: for threads of the loop's pool
 * (loop_work), one at a time per object. acme_cancel() alone may come from any thread: calls under way end within
 * a second with E_CANCELLED. Errors carry the authority's own words.
 */
#pragma once

#include <stddef.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"

struct acme;
struct signer;

struct acme_options {
	const char *directory; /* URL */
	const char *ca_file; /* PEM; trusted for the directory in addition to the system's roots; NULL */
	const char *contact;                  /* e-mail; NULL: none is given */
	const char *binding_id, *binding_key; /* EAB: the key as base64url; NULL: none */
	const char *account_key;              /* of acme_account_key(); NULL: a new one is made */
	struct signer *account; /* the account's key in place of that: taken over, whatever comes; NULL */
};

/* Options are copied. E_INVALID says which of them cannot be. */
struct acme *acme_new(const struct acme_options *options, struct err *err);
struct acme *acme_free(struct acme *a);
void acme_cancel(struct acme *a);
/* The private key of the account, to be kept sealed; owned by the caller. */
char *acme_account_key(const struct acme *a);

/* When (wall time) the authority asked us to come back: after a call that failed, and after acme_renewal_time(); 0: it
 * did not say. */
usec acme_retry_at(const struct acme *a);
/* Whether it knows us: what fails before concerns every order alike. */
bool acme_has_account(const struct acme *a);

/* --- Orders ---------------------------------------------------------------------------------- */

enum acme_method { ACME_DNS_01, ACME_HTTP_01, ACME_TLS_ALPN_01, ACME_METHODS };
const char *acme_method_name(enum acme_method m); /* "dns-01" */

/* What has to be shown, for one name. */
struct acme_challenge {
	char *name; /* without "*." */
	enum acme_method method;
	char *token;             /* http-01: the path below /.well-known/acme-challenge/ */
	char *key_authorization; /* http-01: the page */
	uint8_t hash[32];        /* tls-alpn-01: see tls/request.h */
	char *text;              /* dns-01: the TXT record at _acme-challenge.NAME */
	char *url, *authorization;
};

struct acme_order {
	char *url, *finalize;
	struct acme_challenge *challenges; /* those that are not valid already */
	size_t challenge_count;
};
/* NULL is fine; returns NULL. */
struct acme_order *acme_order_free(struct acme_order *o);

/* Registers the account if need be, then orders a certificate for `names`. For each name the first of `methods`
 * that the authority offers (a wildcard: dns-01 only). `replaces`: tls_renewal_id() of the certificate that this
 * one follows; NULL. */
struct acme_order *acme_order(struct acme *a, const char *const *names, size_t name_count,
			      const enum acme_method *methods, size_t method_count,
			      const char *replaces, struct err *err);
/* Once everything is shown: tells the authority, and waits for its verdict on all names. */
int acme_prove(struct acme *a, const struct acme_order *o, struct err *err);
/* Hands in the request (DER) and waits for the certificate; PEM, owned by the caller. */
char *acme_finish(struct acme *a, const struct acme_order *o, struct bytes csr, struct err *err);

/* When the authority would like a certificate to be renewed: a time within its window. E_UNSUPPORTED: it does not
 * say. */
int acme_renewal_time(struct acme *a, const char *renewal_id, usec *ret, struct err *err);
