#include "tls/ocsp.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/ocsp.h>
#include <gnutls/x509-ext.h>
#include <gnutls/x509.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "tls/tls_internal.h"

/* Of a responder's clock against ours. */
#define CLOCK_SKEW (300 * USEC_PER_SEC)
/* "Newer information is available all the time" (RFC 6960 §4.2.2.1): ask again tomorrow. */
#define WITHOUT_END (24 * 3600 * USEC_PER_SEC)
#define URL_MAX_BYTES 1024
/* RFC 7633: status_request, in the DER of a TLS feature extension. */
#define FEATURE_STATUS_REQUEST 5

void tls_ocsp_id(const struct tls_certificate *c, char ret[TLS_OCSP_ID_SIZE])
{
	struct bytes der = tls_certificate_der(c, 0);
	uint8_t digest[32];

	BUG_IF(gnutls_hash_fast(GNUTLS_DIG_SHA256, der.ptr, der.len, digest) < 0);
	hex_encode(bytes_of(digest, sizeof(digest)), ret);
	ret[TLS_OCSP_ID_SIZE - 1] = 0;
}

/* The i-th of the chain; NULL when there is none. */
static gnutls_x509_crt_t import(const struct tls_certificate *c, unsigned i)
{
	struct bytes der = tls_certificate_der(c, i);
	gnutls_datum_t data = { (void *)(uintptr_t)der.ptr, (unsigned)der.len };
	gnutls_x509_crt_t crt;

	if (!der.len || gnutls_x509_crt_init(&crt) < 0)
		return NULL;
	if (gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_DER) == 0)
		return crt;
	gnutls_x509_crt_deinit(crt);
	return NULL;
}

static void drop(gnutls_x509_crt_t crt)
{
	if (crt)
		gnutls_x509_crt_deinit(crt);
}

static char *find_url(gnutls_x509_crt_t leaf)
{
	gnutls_datum_t data = { NULL, 0 };
	char *url = NULL;

	for (unsigned seq = 0; !url; seq++) {
		int ret = gnutls_x509_crt_get_authority_info_access(leaf, seq, GNUTLS_IA_OCSP_URI,
								    &data, NULL);
		if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return NULL;
		if (ret == GNUTLS_E_UNKNOWN_ALGORITHM)
			continue; /* this one is something else */
		if (ret < 0)
			return NULL;
		struct bytes text = bytes_of(data.data, data.size);
		if (text.len <= URL_MAX_BYTES && bytes_index(text, 0) == text.len &&
		    (bytes_starts_with(text, BYTES_LIT("http://")) ||
		     bytes_starts_with(text, BYTES_LIT("https://"))))
			url = mem_strndup(text);
		gnutls_free(data.data);
		data.data = NULL;
	}
	return url;
}

char *tls_ocsp_url(const struct tls_certificate *c)
{
	gnutls_x509_crt_t leaf = import(c, 0);
	char *url = leaf && tls_certificate_der(c, 1).len ? find_url(leaf) : NULL;

	drop(leaf);
	return url;
}

bool tls_ocsp_is_must(const struct tls_certificate *c)
{
	gnutls_x509_crt_t leaf = import(c, 0);
	gnutls_x509_tlsfeatures_t features;
	bool is_must = false;

	if (leaf && gnutls_x509_tlsfeatures_init(&features) == 0) {
		unsigned feature;
		if (gnutls_x509_crt_get_tlsfeatures(leaf, features, 0, NULL) == 0)
			for (unsigned i = 0;
			     gnutls_x509_tlsfeatures_get(features, i, &feature) == 0; i++)
				is_must |= feature == FEATURE_STATUS_REQUEST;
		gnutls_x509_tlsfeatures_deinit(features);
	}
	drop(leaf);
	return is_must;
}

int tls_ocsp_question(const struct tls_certificate *c, struct buf *ret, struct err *err)
{
	gnutls_x509_crt_t leaf = import(c, 0), issuer = import(c, 1);
	gnutls_ocsp_req_t question = NULL;
	gnutls_datum_t der = { NULL, 0 };
	int code = leaf && issuer ? gnutls_ocsp_req_init(&question) : GNUTLS_E_NO_CERTIFICATE_FOUND;

	/* What responders know certificates by is SHA-1 (RFC 5019 §2.1.1); it protects nothing. */
	if (code == 0)
		code = gnutls_ocsp_req_add_cert(question, GNUTLS_DIG_SHA1, issuer, leaf);
	if (code == 0)
		code = gnutls_ocsp_req_export(question, &der);
	if (question)
		gnutls_ocsp_req_deinit(question);
	drop(leaf);
	drop(issuer);
	if (code < 0) {
		tls_error(err, NULL, code);
		return err_wrap(err, "asking for the status of a certificate");
	}
	code = buf_append(ret, bytes_of(der.data, der.size));
	gnutls_free(der.data);
	return code;
}

/* --- Answers ---------------------------------------------------------------------------------- */

static int check_status(gnutls_ocsp_resp_t answer, usec now, struct tls_ocsp_answer *ret,
			struct err *err)
{
	unsigned status = GNUTLS_OCSP_CERT_UNKNOWN;
	time_t since, until, revoked;
	int code = gnutls_ocsp_resp_get_single(answer, 0, NULL, NULL, NULL, NULL, &status, &since,
					       &until, &revoked, NULL);

	if (code < 0) {
		tls_error(err, NULL, code);
		return err_wrap(err, "OCSP answer");
	}
	if (status != GNUTLS_OCSP_CERT_GOOD)
		return err_set(err, E_DENIED,
			       status == GNUTLS_OCSP_CERT_REVOKED
				       ? "the certificate was revoked"
				       : "its authority does not know the certificate");
	if (since == (time_t)-1)
		return err_set(err, E_TLS, "OCSP answer: it does not say of when it is");
	ret->since = (usec)since * USEC_PER_SEC;
	ret->until = until == (time_t)-1 ? ret->since + WITHOUT_END : (usec)until * USEC_PER_SEC;
	if (ret->since > now + CLOCK_SKEW)
		return err_set(err, E_TLS, "OCSP answer: it is from the future");
	if (ret->until <= now)
		return err_set(err, E_TLS, "OCSP answer: it is too old");
	return 0;
}

static int check_answer(gnutls_ocsp_resp_t answer, gnutls_x509_crt_t leaf, gnutls_x509_crt_t issuer,
			usec now, struct tls_ocsp_answer *ret, struct err *err)
{
	unsigned wrong = 0;
	int code = gnutls_ocsp_resp_get_status(answer);

	if (code != GNUTLS_OCSP_RESP_SUCCESSFUL)
		return err_set(err, E_TLS, "OCSP answer: the responder refused (status %d)", code);
	/* By the authority itself, or by whom it lets sign OCSP. */
	code = gnutls_ocsp_resp_verify_direct(answer, issuer, &wrong, 0);
	if (code < 0 || wrong)
		return err_set(err, E_TLS, "OCSP answer: it is not signed by the authority");
	if (gnutls_ocsp_resp_check_crt(answer, 0, leaf) < 0)
		return err_set(err, E_TLS, "OCSP answer: it is about another certificate");
	return check_status(answer, now, ret, err);
}

int tls_ocsp_check(const struct tls_certificate *c, struct bytes response, usec now,
		   struct tls_ocsp_answer *ret, struct err *err)
{
	gnutls_x509_crt_t leaf = import(c, 0), issuer = import(c, 1);
	gnutls_datum_t data = { (void *)(uintptr_t)response.ptr, (unsigned)response.len };
	struct tls_ocsp_answer found = { 0 };
	gnutls_ocsp_resp_t answer;
	int r;

	if (!leaf || !issuer || response.len > UINT32_MAX || gnutls_ocsp_resp_init(&answer) < 0) {
		r = err_set(err, E_TLS, "the chain lacks who issued the certificate");
	} else {
		if (gnutls_ocsp_resp_import(answer, &data) < 0)
			r = err_set(err, E_TLS, "OCSP answer: it is malformed");
		else
			r = check_answer(answer, leaf, issuer, now, &found, err);
		gnutls_ocsp_resp_deinit(answer);
	}
	drop(leaf);
	drop(issuer);
	if (r == 0)
		*ret = found;
	return r;
}
