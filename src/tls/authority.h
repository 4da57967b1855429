/* The built-in certificate authority: ECDSA P-256, for development and bare LANs. Any thread. */
#pragma once

#include <stddef.h>

#include "base/clock.h"
#include "base/err.h"

/* Texts, the certificate in PEM, the key of tls/private_key.h; NUL-terminated, owned by the caller. Wipe and free the key with secret_wipe, mem_free. */
struct authority_pair {
	char *cert_pem; /* the leaf (then its chain is the CA itself, which is not included) or the CA */
	char *key_pem;
};

void authority_pair_done(struct authority_pair *p);

/* What a CA's key is for, to the key process. */
#define AUTHORITY_PLACE "authority"
/* A new CA, valid for ten years from a day before now. */
int authority_create(const char *common_name, struct authority_pair *ret, struct err *err);
/* A server certificate with the DNS names and IP literals given as SANs (wildcards allowed, at least
 * one), valid for `days` from a day before now. */
int authority_issue(const struct authority_pair *ca, const char *const *names, size_t name_count,
		    int days, struct authority_pair *ret, struct err *err);
/* The same, and what its key is for (tls/private_key.h). */
int authority_issue_for(const struct authority_pair *ca, const char *const *names, size_t name_count,
			int days, const char *place, struct authority_pair *ret, struct err *err);
/* Wall time at which a PEM certificate ends; -1 when it cannot be read. */
usec authority_expiry(const char *cert_pem);
/* SHA-256 of the certificate as colon-separated hex, for people to compare; "" on error. */
void authority_fingerprint(const char *cert_pem, char text[96]);
