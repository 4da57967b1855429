#include "tls/authority.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "io/address.h"
#include "tls/private_key_internal.h"
#include "tls/tls_internal.h"

#define DAY_SECONDS ((time_t)24 * 3600)
#define CA_DAYS 3650
/* ub-common-name of RFC 5280; a longer DNS name stands in the SANs only. */
#define COMMON_NAME_MAX_BYTES 64

/* One certificate being made: what must be freed at the end, whatever happens. */
struct draft {
	gnutls_x509_crt_t cert;
	struct private_key *key;
};

static void draft_done(struct draft *d)
{
	if (d->cert)
		gnutls_x509_crt_deinit(d->cert);
	private_key_free(d->key);
}

void authority_pair_done(struct authority_pair *p)
{
	if (p->key_pem)
		secret_wipe(p->key_pem, strlen(p->key_pem));
	p->key_pem = mem_free(p->key_pem);
	p->cert_pem = mem_free(p->cert_pem);
}

/* --- What every certificate has -------------------------------------------------------------- */

static int draft_start(struct draft *d, const char *place, struct err *err)
{
	int ret = gnutls_x509_crt_init(&d->cert);

	if (ret < 0)
		return tls_error(err, NULL, ret);
	d->key = private_key_make(PRIVATE_KEY_P256, place, err);
	return d->key ? 0 : E_TLS;
}

static int sign(struct draft *d, const struct draft *by)
{
	gnutls_privkey_t key = private_key_signer(by->key);

	/* Of the key process, and there is none. */
	if (!key)
		return GNUTLS_E_PK_SIGN_FAILED;
	return gnutls_x509_crt_privkey_sign(d->cert, by->cert, key, GNUTLS_DIG_SHA256, 0);
}

/* Key, version, serial number, validity and subject key identifier. */
static int fill_common(struct draft *d, time_t from, time_t until)
{
	uint8_t serial[16], key_id[64];
	size_t key_id_size = sizeof(key_id);
	int ret = gnutls_x509_crt_set_pubkey(d->cert, private_key_public(d->key));

	if (ret == 0)
		ret = gnutls_x509_crt_set_version(d->cert, 3);
	random_bytes(serial, sizeof(serial));
	/* Positive, and with 16 bytes in its shortest form (RFC 5280 §4.1.2.2). */
	serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40);
	if (ret == 0)
		ret = gnutls_x509_crt_set_serial(d->cert, serial, sizeof(serial));
	if (ret == 0)
		ret = gnutls_x509_crt_set_activation_time(d->cert, from);
	if (ret == 0)
		ret = gnutls_x509_crt_set_expiration_time(d->cert, until);
	if (ret == 0)
		ret = gnutls_x509_crt_get_key_id(d->cert, GNUTLS_KEYID_USE_SHA1, key_id,
						 &key_id_size);
	if (ret == 0)
		ret = gnutls_x509_crt_set_subject_key_id(d->cert, key_id, key_id_size);
	return ret;
}

static int set_common_name(struct draft *d, const char *name)
{
	return gnutls_x509_crt_set_dn_by_oid(d->cert, GNUTLS_OID_X520_COMMON_NAME, 0, name,
					     (unsigned)strlen(name));
}

static int export_pair(const struct draft *d, struct authority_pair *ret_pair)
{
	gnutls_datum_t cert = { NULL, 0 };
	int ret = gnutls_x509_crt_export2(d->cert, GNUTLS_X509_FMT_PEM, &cert);

	if (ret == 0) {
		ret_pair->cert_pem = mem_strndup(bytes_of(cert.data, cert.size));
		ret_pair->key_pem = private_key_text(d->key);
	}
	gnutls_free(cert.data);
	return ret;
}

static time_t wall_seconds(void)
{
	return (time_t)(clock_wall_now() / USEC_PER_SEC);
}

/* --- The CA ---------------------------------------------------------------------------------- */

static int build_ca(struct draft *d, const char *common_name)
{
	time_t from = wall_seconds() - DAY_SECONDS;
	int ret = fill_common(d, from, from + CA_DAYS * DAY_SECONDS);
	if (ret == 0)
		ret = set_common_name(d, common_name);
	/* It issues leaves only, never another CA. */
	if (ret == 0)
		ret = gnutls_x509_crt_set_basic_constraints(d->cert, 1, 0);
	if (ret == 0)
		ret = gnutls_x509_crt_set_key_usage(d->cert,
						    GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
	if (ret == 0)
		ret = sign(d, d);
	return ret;
}

int authority_create(const char *common_name, struct authority_pair *ret_pair, struct err *err)
{
	struct draft d = { 0 };

	tls_global_init();
	if (!common_name || !*common_name || strlen(common_name) > COMMON_NAME_MAX_BYTES)
		return err_set(err, E_INVALID, "the name of a CA has 1 to %d bytes",
			       COMMON_NAME_MAX_BYTES);

	int code = draft_start(&d, AUTHORITY_PLACE, err);
	int ret = code == 0 ? build_ca(&d, common_name) : 0;
	if (code == 0 && ret == 0)
		ret = export_pair(&d, ret_pair);
	draft_done(&d);
	if (ret < 0)
		code = tls_error(err, NULL, ret);
	return code < 0 ? err_wrap(err, "making the CA") : 0;
}

/* --- Leaves ---------------------------------------------------------------------------------- */

static bool is_label(struct bytes label)
{
	if (label.len == 0 || label.len > 63)
		return false;
	for (size_t i = 0; i < label.len; i++) {
		uint8_t c = label.ptr[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return false;
	}
	return true;
}

/* A DNS name in lower case, with "*" as its first label at most. */
static bool is_dns_name(struct bytes name)
{
	struct bytes rest = name, label;

	if (name.len > SERVER_NAME_MAX_BYTES || bytes_ends_with(name, BYTES_LIT(".")))
		return false;
	if (bytes_starts_with(rest, BYTES_LIT("*.")))
		rest = bytes_from(rest, 2);
	if (rest.len == 0)
		return false;
	while (bytes_split(&rest, '.', &label))
		if (!is_label(label))
			return false;
	return true;
}

static int add_name(struct draft *d, const char *name, struct err *err)
{
	struct address address;
	char lower[SERVER_NAME_MAX_BYTES + 1] = "";
	int ret;

	if (address_from_ip(bytes_str(name), 0, &address)) {
		bool is_v4 = address.any.sa_family == AF_INET;
		ret = gnutls_x509_crt_set_subject_alt_name(
			d->cert, GNUTLS_SAN_IPADDRESS,
			is_v4 ? (const void *)&address.v4.sin_addr : &address.v6.sin6_addr,
			is_v4 ? sizeof(address.v4.sin_addr) : sizeof(address.v6.sin6_addr),
			GNUTLS_FSAN_APPEND);
	} else {
		for (size_t i = 0; i < sizeof(lower) - 1 && name[i]; i++)
			lower[i] = (char)bytes_lower((uint8_t)name[i]);
		if (strlen(name) > SERVER_NAME_MAX_BYTES || !is_dns_name(bytes_str(lower)))
			return err_set(err, E_INVALID,
				       "\"%.100s\" is neither a DNS name nor an IP address", name);
		ret = gnutls_x509_crt_set_subject_alt_name(d->cert, GNUTLS_SAN_DNSNAME, lower,
							   (unsigned)strlen(lower),
							   GNUTLS_FSAN_APPEND);
	}
	return ret < 0 ? tls_error(err, NULL, ret) : 0;
}

static int build_leaf(struct draft *d, const struct draft *ca, int days, const char *first_name)
{
	uint8_t key_id[64];
	size_t key_id_size = sizeof(key_id);
	time_t from = wall_seconds() - DAY_SECONDS, until = from + days * DAY_SECONDS;
	time_t ca_end = gnutls_x509_crt_get_expiration_time(ca->cert);
	int ret = fill_common(d, from, until < ca_end ? until : ca_end);

	if (ret == 0 && strlen(first_name) <= COMMON_NAME_MAX_BYTES)
		ret = set_common_name(d, first_name);
	if (ret == 0)
		ret = gnutls_x509_crt_set_basic_constraints(d->cert, 0, -1);
	if (ret == 0)
		ret = gnutls_x509_crt_set_key_usage(d->cert, GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (ret == 0)
		ret = gnutls_x509_crt_set_key_purpose_oid(d->cert, GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (ret == 0)
		ret = gnutls_x509_crt_get_subject_key_id(ca->cert, key_id, &key_id_size, NULL);
	if (ret == 0)
		ret = gnutls_x509_crt_set_authority_key_id(d->cert, key_id, key_id_size);
	if (ret == 0)
		ret = sign(d, ca);
	return ret;
}

static int import_ca(struct draft *ca, const struct authority_pair *pair, struct err *err)
{
	gnutls_datum_t cert = { (void *)pair->cert_pem, (unsigned)strlen(pair->cert_pem) };
	int ret = gnutls_x509_crt_init(&ca->cert);

	if (ret == 0)
		ret = gnutls_x509_crt_import(ca->cert, &cert, GNUTLS_X509_FMT_PEM);
	if (ret < 0)
		return tls_error(err, NULL, ret);
	ca->key = private_key_parse(pair->key_pem, err);
	return ca->key ? 0 : E_TLS;
}

int authority_issue(const struct authority_pair *ca, const char *const *names, size_t name_count,
		    int days, struct authority_pair *ret_pair, struct err *err)
{
	return authority_issue_for(ca, names, name_count, days, "certificate", ret_pair, err);
}

int authority_issue_for(const struct authority_pair *ca_pair, const char *const *names,
			size_t name_count, int days, const char *place,
			struct authority_pair *ret_pair, struct err *err)
{
	struct draft ca = { 0 }, leaf = { 0 };
	int code = 0, ret = 0;

	tls_global_init();
	if (name_count == 0 || days < 1 || days > CA_DAYS)
		return err_set(err, E_INVALID, "a certificate needs a name and 1 to %d days",
			       CA_DAYS);

	code = import_ca(&ca, ca_pair, err);
	if (code < 0)
		err_wrap(err, "reading the CA");
	if (code == 0)
		code = draft_start(&leaf, place, err);
	for (size_t i = 0; code == 0 && i < name_count; i++)
		code = add_name(&leaf, names[i], err);
	if (code == 0) {
		ret = build_leaf(&leaf, &ca, days, names[0]);
		if (ret == 0)
			ret = export_pair(&leaf, ret_pair);
		if (ret < 0) {
			code = tls_error(err, NULL, ret);
			err_wrap(err, "making the certificate");
		}
	}
	draft_done(&leaf);
	draft_done(&ca);
	return code;
}

/* --- Looking at one -------------------------------------------------------------------------- */

static gnutls_x509_crt_t import_cert(const char *cert_pem)
{
	gnutls_x509_crt_t cert;

	tls_global_init();
	if (!cert_pem || gnutls_x509_crt_init(&cert) < 0)
		return NULL;
	gnutls_datum_t pem = { (void *)(uintptr_t)cert_pem, (unsigned)strlen(cert_pem) };
	if (gnutls_x509_crt_import(cert, &pem, GNUTLS_X509_FMT_PEM) < 0) {
		gnutls_x509_crt_deinit(cert);
		return NULL;
	}
	return cert;
}

usec authority_expiry(const char *cert_pem)
{
	gnutls_x509_crt_t cert = import_cert(cert_pem);

	if (!cert)
		return -1;
	time_t end = gnutls_x509_crt_get_expiration_time(cert);
	gnutls_x509_crt_deinit(cert);
	return end == (time_t)-1 ? -1 : (usec)end * USEC_PER_SEC;
}

void authority_fingerprint(const char *cert_pem, char text[96])
{
	uint8_t digest[32];
	size_t size = sizeof(digest);
	gnutls_x509_crt_t cert = import_cert(cert_pem);

	text[0] = '\0';
	if (!cert)
		return;
	if (gnutls_x509_crt_get_fingerprint(cert, GNUTLS_DIG_SHA256, digest, &size) == 0)
		for (size_t i = 0; i < size; i++)
			snprintf(text + 3 * i, 96 - 3 * i, "%02X%s", digest[i],
				 i + 1 < size ? ":" : "");
	gnutls_x509_crt_deinit(cert);
}
