/* What a certificate's authority says of it (RFC 6960), for stapling (RFC 6066 §8, RFC 8446 §4.4.2.1). Any thread. */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "tls/tls.h"

#define TLS_OCSP_ID_SIZE 65

/* SHA-256 of the certificate as hex, with a NUL. */
void tls_ocsp_id(const struct tls_certificate *c, char ret[TLS_OCSP_ID_SIZE]);
/* Where to ask, http or https: owned by the caller. NULL: its authority offers nothing, or the chain lacks the
 * certificate of who issued it, without which there is no asking. */
char *tls_ocsp_url(const struct tls_certificate *c);
/* Clients are told to want the answer (RFC 7633, "must-staple"). */
bool tls_ocsp_is_must(const struct tls_certificate *c);
/* The question in DER. E_TLS. */
int tls_ocsp_question(const struct tls_certificate *c, struct buf *ret, struct err *err);

struct tls_ocsp_answer {
	usec since, until; /* wall; without an end a day is meant */
};
/* Is it good at `now` (wall)? E_TLS with the reason: not signed by whom it has to be, about another certificate, too
 * old, from the future; E_DENIED: the certificate was revoked, or is not known. */
int tls_ocsp_check(const struct tls_certificate *c, struct bytes response, usec now,
		   struct tls_ocsp_answer *ret, struct err *err);
