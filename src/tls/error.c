/* GnuTLS's error codes in words for a person. */
#include "tls/tls_internal.h"

static const struct {
	int gnutls_code;
	int code;
	const char *text;
} errors[] = {
	{ GNUTLS_E_PREMATURE_TERMINATION, E_CLOSED, "connection ended without close_notify" },
	{ GNUTLS_E_UNEXPECTED_PACKET_LENGTH, E_TLS, "the peer does not speak TLS" },
	{ GNUTLS_E_RECORD_OVERFLOW, E_TLS, "the peer does not speak TLS" },
	{ GNUTLS_E_UNSUPPORTED_VERSION_PACKET, E_TLS,
	  "no TLS version in common (1.2 or 1.3 is needed)" },
	{ GNUTLS_E_NO_CIPHER_SUITES, E_TLS, "no cipher suite in common" },
	{ GNUTLS_E_INSUFFICIENT_CREDENTIALS, E_TLS, "no certificate fits what the peer supports" },
	{ GNUTLS_E_NO_COMMON_KEY_SHARE, E_TLS, "no key exchange group in common" },
	{ GNUTLS_E_ECC_NO_SUPPORTED_CURVES, E_TLS, "no key exchange group in common" },
	{ GNUTLS_E_NO_APPLICATION_PROTOCOL, E_TLS, "no application protocol (ALPN) in common" },
	{ GNUTLS_E_RECEIVED_DISALLOWED_NAME, E_TLS, "the peer asked for a malformed server name" },
	{ GNUTLS_E_PUSH_ERROR, E_TLS, "the peer makes us answer and does not read the answers" },
	{ GNUTLS_E_DECRYPTION_FAILED, E_TLS, "a record was damaged on the way" },
	{ GNUTLS_E_REHANDSHAKE, E_TLS, "the peer asked for renegotiation, which is refused" },
	{ GNUTLS_E_CERTIFICATE_KEY_MISMATCH, E_TLS,
	  "the private key does not belong to the certificate" },
	{ GNUTLS_E_BASE64_DECODING_ERROR, E_TLS, "not a PEM text" },
	{ GNUTLS_E_BASE64_UNEXPECTED_HEADER_ERROR, E_TLS, "not the expected kind of PEM text" },
};

int tls_error(struct err *err, gnutls_session_t session, int gnutls_code)
{
	if (session && (gnutls_code == GNUTLS_E_FATAL_ALERT_RECEIVED ||
			gnutls_code == GNUTLS_E_WARNING_ALERT_RECEIVED)) {
		gnutls_alert_description_t alert = gnutls_alert_get(session);
		const char *words = gnutls_alert_get_name(alert);
		const char *name = gnutls_alert_get_strname(alert);
		return err_set(err, E_TLS, "the peer refused: %s (%s, alert %d)",
			       words ? words : "unknown reason", name ? name : "unknown",
			       (int)alert);
	}
	for (size_t i = 0; i < ARRAY_LEN(errors); i++)
		if (errors[i].gnutls_code == gnutls_code)
			return err_set(err, errors[i].code, "%s", errors[i].text);
	return err_set(err, E_TLS, "%s", gnutls_strerror(gnutls_code));
}
