/* What is sent to, and shown to, an authority of others (RFC 2986, RFC 8737). ECDSA P-256. Any thread. */
#pragma once

#include "base/buf.h"
#include "tls/authority.h"

/* A new key for that place (tls/private_key.h), and a certificate request for the DNS names (at least one): DER in `csr`,
 * the key as a text, owned by the caller, who wipes it. */
int tls_request_make(const char *const *names, size_t name_count, const char *place,
		     struct buf *csr, char **ret_key, struct err *err);

#define TLS_CHALLENGE_HASH_BYTES 32
/* The self-signed certificate that answers a TLS-ALPN-01 challenge (RFC 8737 §3). */
int tls_challenge_certificate(const char *name, const uint8_t hash[TLS_CHALLENGE_HASH_BYTES],
			      struct authority_pair *ret, struct err *err);

/* Does the key (PEM, or a text of tls/private_key.h) belong to the first certificate of the chain, and is that good for all the names? E_INVALID says
 * what is not so. */
int tls_chain_check(const char *chain_pem, const char *key, const char *const *names,
		    size_t name_count, struct err *err);
/* For ARI (RFC 9773 §4.1): base64url of the authority key identifier, ".", and of the serial number; owned by the
 * caller. NULL: the certificate does not have both. */
char *tls_renewal_id(const char *chain_pem);
/* The first wall time at which the certificate is good; -1 when it cannot be read. */
usec tls_certificate_start(const char *chain_pem);

/* What a chain's first certificate says of itself. */
struct tls_chain_info {
	char *names;      /* DNS names in lower case, one a line; owned */
	char issuer[128]; /* the common name, or organization, of who signed; printable */
	usec starts_at, ends_at;
};
/* E_INVALID: it is no certificate, or has no DNS name. mem_free(ret->names). */
int tls_chain_info(const char *chain_pem, struct tls_chain_info *ret, struct err *err);
