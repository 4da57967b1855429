/* Client side: is this the server we asked for, and if not, why not in one line. */
#include <gnutls/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "io/address.h"
#include "tls/tls_internal.h"

/* The reasons that need no detail of the certificate. */
static const struct {
	unsigned status;
	const char *text;
} reasons[] = {
	{ GNUTLS_CERT_REVOKED, "it was revoked" },
	{ GNUTLS_CERT_SIGNER_NOT_CA, "its issuer is not a certificate authority" },
	{ GNUTLS_CERT_INSECURE_ALGORITHM, "it is signed with an insecure algorithm" },
	{ GNUTLS_CERT_SIGNATURE_FAILURE, "its signature is wrong" },
	{ GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, "its issuer may not issue for this name" },
	{ GNUTLS_CERT_PURPOSE_MISMATCH, "it is not meant for servers" },
	{ GNUTLS_CERT_MISSING_OCSP_STATUS, "the server did not prove that it is not revoked" },
	{ GNUTLS_CERT_INVALID_OCSP_STATUS, "the server's revocation status is invalid" },
	{ GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS, "it has an unknown critical extension" },
};

/* Appends, clipped; what a peer wrote into its certificate cannot break the line. */
static PRINTF_LIKE(3, 4) void append(char *text, size_t size, const char *format, ...)
{
	size_t used = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + used, size - used, format, args);
	va_end(args);
	for (char *p = text + used; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
}

static void append_date(char *text, size_t size, const char *words, time_t when)
{
	struct tm tm;
	char date[32] = "?";

	if (when != (time_t)-1 && gmtime_r(&when, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &tm);
	append(text, size, "; it %s %s", words, date);
}

static bool has_name_of(gnutls_x509_crt_t leaf, gnutls_x509_subject_alt_name_t wanted)
{
	for (unsigned i = 0;; i++) {
		char first[1];
		size_t size = sizeof(first);
		unsigned type;
		int ret = gnutls_x509_crt_get_subject_alt_name2(leaf, i, first, &size, &type, NULL);
		if (ret < 0 && ret != GNUTLS_E_SHORT_MEMORY_BUFFER)
			return false; /* no further one, or not readable */
		if (type == wanted)
			return true;
	}
}

static void append_names(char *text, size_t size, gnutls_x509_crt_t leaf)
{
	int listed = 0;

	if (!has_name_of(leaf, GNUTLS_SAN_DNSNAME) && !has_name_of(leaf, GNUTLS_SAN_IPADDRESS)) {
		append(text, size, "; it names no host (a common name does not count)");
		return;
	}
	append(text, size, "; it is for another name");
	for (unsigned i = 0; listed < 3; i++) {
		char name[SERVER_NAME_MAX_BYTES + 1] = "";
		size_t name_size = sizeof(name);
		int type = gnutls_x509_crt_get_subject_alt_name(leaf, i, name, &name_size, NULL);
		if (type < 0 && type != GNUTLS_E_SHORT_MEMORY_BUFFER)
			break;
		if (type != GNUTLS_SAN_DNSNAME)
			continue;
		append(text, size, "%s%.*s", listed++ ? ", " : " (", (int)name_size, name);
	}
	if (listed)
		append(text, size, ")");
}

static void append_issuer(char *text, size_t size, gnutls_x509_crt_t leaf)
{
	gnutls_datum_t issuer = { NULL, 0 };

	if (gnutls_x509_crt_check_issuer(leaf, leaf)) {
		append(text, size, "; it is self-signed");
	} else if (gnutls_x509_crt_get_issuer_dn3(leaf, &issuer, 0) == 0) {
		append(text, size, "; its issuer is unknown (%.*s)", (int)issuer.size,
		       (const char *)issuer.data);
		gnutls_free(issuer.data);
	} else {
		append(text, size, "; its issuer is unknown");
	}
}

static gnutls_alert_description_t alert_for(unsigned status)
{
	if (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA))
		return GNUTLS_A_UNKNOWN_CA;
	if (status & GNUTLS_CERT_REVOKED)
		return GNUTLS_A_CERTIFICATE_REVOKED;
	if (status & (GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED))
		return GNUTLS_A_CERTIFICATE_EXPIRED;
	return GNUTLS_A_BAD_CERTIFICATE;
}

/* The server's own certificate; NULL when it cannot be read. */
static gnutls_x509_crt_t import_leaf(gnutls_session_t gnutls)
{
	unsigned count = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(gnutls, &count);
	gnutls_x509_crt_t leaf;

	if (count == 0 || gnutls_x509_crt_init(&leaf) < 0)
		return NULL;
	if (gnutls_x509_crt_import(leaf, &chain[0], GNUTLS_X509_FMT_DER) < 0) {
		gnutls_x509_crt_deinit(leaf);
		return NULL;
	}
	return leaf;
}

static void explain(gnutls_session_t gnutls, const char *server_name, unsigned status,
		    struct err *refusal)
{
	char text[300] = "";
	gnutls_x509_crt_t leaf = import_leaf(gnutls);

	if (leaf) {
		if (status & GNUTLS_CERT_UNEXPECTED_OWNER)
			append_names(text, sizeof(text), leaf);
		if (status & GNUTLS_CERT_EXPIRED) {
			time_t end = gnutls_x509_crt_get_expiration_time(leaf);
			if (end < time(NULL))
				append_date(text, sizeof(text), "expired on", end);
			else
				append(text, sizeof(text), "; its issuer's certificate has expired");
		}
		if (status & GNUTLS_CERT_NOT_ACTIVATED)
			append_date(text, sizeof(text), "is not valid before",
				    gnutls_x509_crt_get_activation_time(leaf));
		if (status & GNUTLS_CERT_SIGNER_NOT_FOUND)
			append_issuer(text, sizeof(text), leaf);
		gnutls_x509_crt_deinit(leaf);
	}
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (status & reasons[i].status)
			append(text, sizeof(text), "; %s", reasons[i].text);
	err_set(refusal, E_TLS, "certificate of \"%s\" refused: %s", server_name,
		*text ? text + 2 : "it is not acceptable");
}

int tls_verify_name(gnutls_session_t gnutls, const char *server_name, struct err *refusal,
		    gnutls_alert_description_t *alert)
{
	struct address address;
	unsigned status = 0;
	gnutls_typed_vdata_st wanted[] = {
		{ .type = GNUTLS_DT_DNS_HOSTNAME, .data = (void *)(uintptr_t)server_name },
		{ .type = GNUTLS_DT_KEY_PURPOSE_OID,
		  .data = (void *)(uintptr_t)GNUTLS_KP_TLS_WWW_SERVER },
	};

	if (!server_name) {
		err_set(refusal, E_TLS, "no server name to verify against");
		*alert = GNUTLS_A_BAD_CERTIFICATE;
		return GNUTLS_E_CERTIFICATE_ERROR;
	}
	if (address_from_ip(bytes_str(server_name), 0, &address)) {
		wanted[0].type = GNUTLS_DT_IP_ADDRESS;
		if (address.any.sa_family == AF_INET) {
			wanted[0].data = (void *)&address.v4.sin_addr;
			wanted[0].size = sizeof(address.v4.sin_addr);
		} else {
			wanted[0].data = (void *)&address.v6.sin6_addr;
			wanted[0].size = sizeof(address.v6.sin6_addr);
		}
	}
	int ret = gnutls_certificate_verify_peers(gnutls, wanted, ARRAY_LEN(wanted), &status);
	if (ret < 0) {
		tls_error(refusal, NULL, ret);
		err_wrap(refusal, "certificate of \"%s\"", server_name);
		*alert = GNUTLS_A_BAD_CERTIFICATE;
		return GNUTLS_E_CERTIFICATE_ERROR;
	}
	if (status == 0 && wanted[0].type == GNUTLS_DT_DNS_HOSTNAME) {
		/* GnuTLS falls back to the common name where there are no SANs; RFC 9525 §6.3 forbids it. */
		gnutls_x509_crt_t leaf = import_leaf(gnutls);
		if (!leaf || !has_name_of(leaf, GNUTLS_SAN_DNSNAME))
			status = GNUTLS_CERT_UNEXPECTED_OWNER;
		if (leaf)
			gnutls_x509_crt_deinit(leaf);
	}
	if (status != 0) {
		explain(gnutls, server_name, status, refusal);
		*alert = alert_for(status);
		return GNUTLS_E_CERTIFICATE_ERROR;
	}
	return 0;
}
