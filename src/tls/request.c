#include "tls/request.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "tls/private_key_internal.h"
#include "tls/tls_internal.h"

#define ACME_IDENTIFIER_OID "1.3.6.1.5.5.7.1.31"
#define CHALLENGE_SECONDS (7 * 86400)
#define KEY_ID_BYTES 64

static int make_key(gnutls_x509_privkey_t *key)
{
	int ret = gnutls_x509_privkey_init(key);

	return ret < 0 ? ret
		       : gnutls_x509_privkey_generate(
				 *key, GNUTLS_PK_ECDSA,
				 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
}

static char *take_text(gnutls_datum_t *d)
{
	char *text = mem_strndup(bytes_of(d->data, d->size));

	secret_wipe(d->data, d->size);
	gnutls_free(d->data);
	return text;
}

/* --- Requests -------------------------------------------------------------------------------- */

static int fill_request(gnutls_x509_crq_t request, const struct private_key *key,
			const char *const *names, size_t count)
{
	int ret = gnutls_x509_crq_set_pubkey(request, private_key_public(key));

	if (ret == 0)
		ret = gnutls_x509_crq_set_version(request, 1);
	for (size_t i = 0; ret == 0 && i < count; i++)
		ret = gnutls_x509_crq_set_subject_alt_name(request, GNUTLS_SAN_DNSNAME, names[i],
							   (unsigned)strlen(names[i]),
							   i ? GNUTLS_FSAN_APPEND : GNUTLS_FSAN_SET);
	return ret < 0 ? ret
		       : gnutls_x509_crq_privkey_sign(request, private_key_signer(key),
						      GNUTLS_DIG_SHA256, 0);
}

int tls_request_make(const char *const *names, size_t name_count, const char *place,
		     struct buf *csr, char **ret_key, struct err *err)
{
	struct private_key *key = private_key_make(PRIVATE_KEY_P256, place, err);
	gnutls_x509_crq_t request = NULL;
	gnutls_datum_t der = { NULL, 0 };

	BUG_IF(name_count == 0);
	if (!key)
		return E_TLS;
	int ret = gnutls_x509_crq_init(&request);
	if (ret == 0)
		ret = fill_request(request, key, names, name_count);
	if (ret == 0)
		ret = gnutls_x509_crq_export2(request, GNUTLS_X509_FMT_DER, &der);
	if (ret == 0 && buf_append(csr, bytes_of(der.data, der.size)) == 0)
		*ret_key = private_key_text(key);
	else if (ret == 0)
		ret = GNUTLS_E_SHORT_MEMORY_BUFFER;
	gnutls_free(der.data);
	if (request)
		gnutls_x509_crq_deinit(request);
	private_key_free(key);
	return ret < 0 ? tls_error(err, NULL, ret) : 0;
}

/* --- TLS-ALPN-01 ----------------------------------------------------------------------------- */

static int fill_challenge(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, const char *name,
			  const uint8_t hash[TLS_CHALLENGE_HASH_BYTES])
{
	uint8_t serial[16],
		extension[2 + TLS_CHALLENGE_HASH_BYTES] = { 4, TLS_CHALLENGE_HASH_BYTES };
	time_t now = (time_t)(clock_wall_now() / USEC_PER_SEC);
	int ret = gnutls_x509_crt_set_key(cert, key);

	memcpy(extension + 2, hash, TLS_CHALLENGE_HASH_BYTES); /* an OCTET STRING */
	random_bytes(serial, sizeof(serial));
	serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40);
	if (ret == 0)
		ret = gnutls_x509_crt_set_version(cert, 3);
	if (ret == 0)
		ret = gnutls_x509_crt_set_serial(cert, serial, sizeof(serial));
	if (ret == 0)
		ret = gnutls_x509_crt_set_activation_time(cert, now - 86400);
	if (ret == 0)
		ret = gnutls_x509_crt_set_expiration_time(cert, now + CHALLENGE_SECONDS);
	if (ret == 0)
		ret = gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, name,
							   (unsigned)strlen(name), GNUTLS_FSAN_SET);
	if (ret == 0)
		ret = gnutls_x509_crt_set_extension_by_oid(cert, ACME_IDENTIFIER_OID, extension,
							   sizeof(extension), 1);
	return ret < 0 ? ret : gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0);
}

int tls_challenge_certificate(const char *name, const uint8_t hash[TLS_CHALLENGE_HASH_BYTES],
			      struct authority_pair *ret_pair, struct err *err)
{
	gnutls_x509_privkey_t key = NULL;
	gnutls_x509_crt_t cert = NULL;
	gnutls_datum_t pem = { NULL, 0 }, key_pem = { NULL, 0 };

	tls_global_init();
	int ret = make_key(&key);
	if (ret == 0)
		ret = gnutls_x509_crt_init(&cert);
	if (ret == 0)
		ret = fill_challenge(cert, key, name, hash);
	if (ret == 0)
		ret = gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem);
	if (ret == 0)
		ret = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
							GNUTLS_PKCS_PLAIN, &key_pem);
	if (ret == 0) {
		ret_pair->cert_pem = take_text(&pem);
		ret_pair->key_pem = take_text(&key_pem);
	}
	if (cert)
		gnutls_x509_crt_deinit(cert);
	if (key)
		gnutls_x509_privkey_deinit(key);
	return ret < 0 ? tls_error(err, NULL, ret) : 0;
}

/* --- Looking at what came back --------------------------------------------------------------- */

static gnutls_x509_crt_t first_of(const char *chain_pem)
{
	gnutls_datum_t pem = { (void *)(uintptr_t)chain_pem, (unsigned)strlen(chain_pem) };
	gnutls_x509_crt_t cert;

	tls_global_init();
	if (gnutls_x509_crt_init(&cert) < 0)
		return NULL;
	if (gnutls_x509_crt_import(cert, &pem, GNUTLS_X509_FMT_PEM) == 0)
		return cert;
	gnutls_x509_crt_deinit(cert);
	return NULL;
}

/* Its id as certificates have them, of a key in PEM (of any kind), or one of the key process. */
static bool id_of(const char *text, uint8_t id[KEY_ID_BYTES], size_t *size)
{
	gnutls_datum_t pem = { (void *)(uintptr_t)text, (unsigned)strlen(text) };
	gnutls_x509_privkey_t plain = NULL;
	struct private_key *boxed =
		private_key_is_boxed(text) ? private_key_parse(text, NULL) : NULL;
	int ret = GNUTLS_E_PARSING_ERROR;

	if (boxed)
		ret = gnutls_pubkey_get_key_id(private_key_public(boxed), GNUTLS_KEYID_USE_SHA256,
					       id, size);
	else if (gnutls_x509_privkey_init(&plain) == 0 &&
		 gnutls_x509_privkey_import2(plain, &pem, GNUTLS_X509_FMT_PEM, NULL, 0) == 0)
		ret = gnutls_x509_privkey_get_key_id(plain, GNUTLS_KEYID_USE_SHA256, id, size);
	if (plain)
		gnutls_x509_privkey_deinit(plain);
	private_key_free(boxed);
	return ret == 0;
}

static bool is_key_of(gnutls_x509_crt_t cert, const uint8_t *id, size_t id_size)
{
	uint8_t own[KEY_ID_BYTES];
	size_t size = sizeof(own);

	return gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, own, &size) == 0 &&
	       size == id_size && memcmp(own, id, size) == 0;
}

/* A name of ours is a wildcard, too: it must be there letter for letter. */
static bool has_name(gnutls_x509_crt_t cert, const char *name)
{
	char san[SERVER_NAME_MAX_BYTES + 1];

	for (unsigned i = 0;; i++) {
		size_t size = sizeof(san);
		int ret = gnutls_x509_crt_get_subject_alt_name(cert, i, san, &size, NULL);
		if (ret == GNUTLS_E_SHORT_MEMORY_BUFFER)
			continue;
		if (ret < 0)
			return false;
		if (ret == GNUTLS_SAN_DNSNAME &&
		    bytes_eq_nocase(bytes_of(san, strnlen(san, size)), bytes_str(name)))
			return true;
	}
}

static int check_pair(gnutls_x509_crt_t cert, const uint8_t *id, size_t id_size,
		      const char *const *names, size_t count, struct err *err)
{
	if (!is_key_of(cert, id, id_size))
		return err_set(err, E_INVALID, "the certificate is not for the key");
	for (size_t i = 0; i < count; i++)
		if (!has_name(cert, names[i]))
			return err_set(err, E_INVALID, "the certificate is not for %s", names[i]);
	return 0;
}

int tls_chain_check(const char *chain_pem, const char *key, const char *const *names,
		    size_t name_count, struct err *err)
{
	gnutls_x509_crt_t cert = first_of(chain_pem);
	uint8_t id[KEY_ID_BYTES];
	size_t id_size = sizeof(id);
	int r;

	if (!cert)
		r = err_set(err, E_INVALID, "there is no certificate in the PEM text");
	else if (!id_of(key, id, &id_size))
		r = err_set(err, E_INVALID, "there is no private key in the PEM text");
	else
		r = check_pair(cert, id, id_size, names, name_count, err);
	if (cert)
		gnutls_x509_crt_deinit(cert);
	return r;
}

char *tls_renewal_id(const char *chain_pem)
{
	gnutls_x509_crt_t cert = first_of(chain_pem);
	uint8_t key_id[64], serial[64];
	size_t key_size = sizeof(key_id), serial_size = sizeof(serial);
	char *id = NULL;

	if (!cert)
		return NULL;
	if (gnutls_x509_crt_get_authority_key_id(cert, key_id, &key_size, NULL) == 0 &&
	    gnutls_x509_crt_get_serial(cert, serial, &serial_size) == 0) {
		char *a = base64_text(BASE64_URL_RAW, bytes_of(key_id, key_size));
		char *b = base64_text(BASE64_URL_RAW, bytes_of(serial, serial_size));
		id = mem_printf("%s.%s", a, b);
		mem_free(a);
		mem_free(b);
	}
	gnutls_x509_crt_deinit(cert);
	return id;
}

usec tls_certificate_start(const char *chain_pem)
{
	gnutls_x509_crt_t cert = first_of(chain_pem);

	if (!cert)
		return -1;
	time_t start = gnutls_x509_crt_get_activation_time(cert);
	gnutls_x509_crt_deinit(cert);
	return start == (time_t)-1 ? -1 : (usec)start * USEC_PER_SEC;
}

/* --- Telling about it ------------------------------------------------------------------------ */

/* More names than any authority puts into one; they go into one text. */
#define NAMES_MAX 1000
#define NAMES_BYTES (NAMES_MAX * (SERVER_NAME_MAX_BYTES + 1))

/* A name that is none (spaces, NUL, control bytes) is left out. */
static bool is_dns_name(struct bytes name)
{
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = bytes_lower(name.ptr[i]);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.' &&
		    c != '_' && !(c == '*' && i == 0))
			return false;
	}
	return name.len > 0;
}

static char *names_of(gnutls_x509_crt_t cert)
{
	char san[SERVER_NAME_MAX_BYTES + 1];
	struct buf out;
	int r = 0;

	buf_init(&out, NAMES_BYTES);
	for (unsigned i = 0; r == 0 && i < NAMES_MAX; i++) {
		size_t size = sizeof(san);
		int type = gnutls_x509_crt_get_subject_alt_name(cert, i, san, &size, NULL);
		if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		struct bytes name = bytes_of(san, type < 0 ? 0 : strnlen(san, size));
		if (type != GNUTLS_SAN_DNSNAME || !is_dns_name(name))
			continue;
		for (size_t k = 0; k < name.len; k++)
			san[k] = (char)bytes_lower((uint8_t)san[k]);
		r = buf_append(&out, bytes_str(out.len ? "\n" : ""));
		r |= buf_append(&out, name);
	}
	char *text = r == 0 && out.len ? buf_take_str(&out) : NULL;
	buf_done(&out);
	return text;
}

static void issuer_of(gnutls_x509_crt_t cert, char ret[128])
{
	size_t size = 128;

	ret[0] = 0;
	if (gnutls_x509_crt_get_issuer_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, ret,
						 &size) < 0) {
		size = 128;
		if (gnutls_x509_crt_get_issuer_dn_by_oid(cert, GNUTLS_OID_X520_ORGANIZATION_NAME, 0,
							 0, ret, &size) < 0)
			size = 0;
	}
	ret[size < 127 ? size : 127] = 0;
	for (char *p = ret; *p; p++)
		*p = (unsigned char)*p < ' ' || *p == 127 ? ' ' : *p;
}

int tls_chain_info(const char *chain_pem, struct tls_chain_info *ret, struct err *err)
{
	gnutls_x509_crt_t cert = first_of(chain_pem);
	struct tls_chain_info info = { 0 };

	if (!cert)
		return err_set(err, E_INVALID, "there is no certificate in the PEM text");
	info.names = names_of(cert);
	issuer_of(cert, info.issuer);
	info.starts_at = (usec)gnutls_x509_crt_get_activation_time(cert) * USEC_PER_SEC;
	info.ends_at = (usec)gnutls_x509_crt_get_expiration_time(cert) * USEC_PER_SEC;
	gnutls_x509_crt_deinit(cert);
	if (!info.names)
		return err_set(err, E_INVALID, "the certificate is for no DNS name");
	*ret = info;
	return 0;
}
