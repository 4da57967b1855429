/* What is asked of the clients of one name, and what their certificates say. */
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <string.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/mem.h"
#include "tls/tls_internal.h"

/* Of a name inside a certificate, as text. */
#define NAME_MAX_BYTES 2048

/* --- Policies --------------------------------------------------------------------------------- */

struct tls_policy {
	atomic_uint refs;
	bool needs_tls13;
	enum tls_client_auth client_auth;
	gnutls_certificate_credentials_t credentials; /* owned; NULL without client certificates */
	uint8_t digest[32];                           /* of all of the above */
};

static int load_authorities(struct tls_policy *p, struct bytes pem, struct err *err)
{
	gnutls_datum_t data = { (void *)(uintptr_t)pem.ptr, (unsigned)pem.len };
	int ret = pem.len > UINT32_MAX ? GNUTLS_E_INVALID_REQUEST
				       : gnutls_certificate_allocate_credentials(&p->credentials);

	if (ret < 0) {
		p->credentials = NULL;
	} else {
		tls_lend_certificates(p->credentials);
		if (pem.len == 0)
			return 0; /* nobody is trusted */
		ret = gnutls_certificate_set_x509_trust_mem(p->credentials, &data,
							    GNUTLS_X509_FMT_PEM);
	}
	if (ret == 0)
		return err_set(err, E_INVALID, "there is no certificate among the client CAs");
	if (ret < 0) {
		err_set(err, E_INVALID, "client CAs: %s",
			ret == GNUTLS_E_BASE64_DECODING_ERROR ||
					ret == GNUTLS_E_BASE64_UNEXPECTED_HEADER_ERROR
				? "not a PEM text"
				: gnutls_strerror(ret));
		return E_INVALID;
	}
	return 0;
}

static void digest_policy(struct tls_policy *p, struct bytes pem)
{
	const uint8_t head[2] = { p->needs_tls13, (uint8_t)p->client_auth };
	gnutls_hash_hd_t hash;

	BUG_IF(gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0);
	BUG_IF(gnutls_hash(hash, head, sizeof(head)) < 0);
	BUG_IF(pem.len && gnutls_hash(hash, pem.ptr, pem.len) < 0);
	gnutls_hash_deinit(hash, p->digest);
}

struct tls_policy *tls_policy_new(const struct tls_policy_options *options, struct err *err)
{
	tls_global_init();

	struct tls_policy *p = mem_alloc(sizeof(*p));
	atomic_init(&p->refs, 1);
	p->needs_tls13 = options->needs_tls13;
	p->client_auth = options->client_auth;
	if (p->client_auth != TLS_CLIENT_NOT_ASKED &&
	    load_authorities(p, options->client_ca_pem, err) < 0)
		return tls_policy_unref(p);
	digest_policy(p, options->client_ca_pem);
	return p;
}

struct tls_policy *tls_policy_ref(struct tls_policy *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

struct tls_policy *tls_policy_unref(struct tls_policy *p)
{
	if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1) {
		if (p->credentials)
			gnutls_certificate_free_credentials(p->credentials);
		mem_free(p);
	}
	return NULL;
}

struct bytes tls_policy_digest(const struct tls_policy *p)
{
	return bytes_of(p->digest, sizeof(p->digest));
}

/* --- In a handshake --------------------------------------------------------------------------- */

static gnutls_alert_description_t alert_for(unsigned status)
{
	if (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA))
		return GNUTLS_A_UNKNOWN_CA;
	if (status & (GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED))
		return GNUTLS_A_CERTIFICATE_EXPIRED;
	return GNUTLS_A_BAD_CERTIFICATE;
}

static const char *words_for(unsigned status)
{
	if (status & GNUTLS_CERT_SIGNER_NOT_FOUND)
		return "unknown issuer";
	if (status & GNUTLS_CERT_EXPIRED)
		return "expired";
	if (status & GNUTLS_CERT_NOT_ACTIVATED)
		return "not valid yet";
	if (status & GNUTLS_CERT_PURPOSE_MISMATCH)
		return "not meant for clients";
	if (status & GNUTLS_CERT_REVOKED)
		return "revoked";
	return "not acceptable";
}

/* 0: it is good; NULL in *ret_why then. */
static unsigned verify(gnutls_session_t gnutls, const char **ret_why)
{
	gnutls_typed_vdata_st wanted = {
		.type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (void *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT,
	};
	unsigned status = 0;

	if (gnutls_certificate_verify_peers(gnutls, &wanted, 1, &status) < 0)
		status = GNUTLS_CERT_INVALID;
	*ret_why = status ? words_for(status) : NULL;
	return status;
}

/* Called by GnuTLS when a client's certificate is there, or it sent none; and for a resumed session. */
static int check_client(gnutls_session_t gnutls)
{
	struct tls_hello *hello = gnutls_db_get_ptr(gnutls);
	const char *why = NULL;
	unsigned count = 0;

	if (hello->policy->client_auth != TLS_CLIENT_REQUIRED)
		return 0;
	if (!gnutls_certificate_get_peers(gnutls, &count) || count == 0) {
		err_set(hello->refusal, E_TLS, "the client has no certificate");
		*hello->refusal_alert = gnutls_protocol_get_version(gnutls) == GNUTLS_TLS1_3
						? GNUTLS_A_CERTIFICATE_REQUIRED
						: GNUTLS_A_HANDSHAKE_FAILURE;
		return GNUTLS_E_CERTIFICATE_ERROR;
	}
	unsigned status = verify(gnutls, &why);
	if (status == 0)
		return 0;
	err_set(hello->refusal, E_TLS, "the client's certificate is refused: %s", why);
	*hello->refusal_alert = alert_for(status);
	return GNUTLS_E_CERTIFICATE_ERROR;
}

int tls_policy_apply(struct tls_policy *p, gnutls_session_t gnutls)
{
	struct tls_hello *hello = gnutls_db_get_ptr(gnutls);

	hello->policy = p;
	if (p->needs_tls13 && gnutls_protocol_get_version(gnutls) != GNUTLS_TLS1_3) {
		err_set(hello->refusal, E_TLS, "TLS 1.3 is needed for this name");
		*hello->refusal_alert = GNUTLS_A_PROTOCOL_VERSION;
		return GNUTLS_E_UNSUPPORTED_VERSION_PACKET;
	}
	if (p->client_auth == TLS_CLIENT_NOT_ASKED)
		return 0;
	/* Whoever has none, or a wrong one, is refused by check_client(), or may pass. */
	gnutls_certificate_server_set_request(gnutls, GNUTLS_CERT_REQUEST);
	gnutls_session_set_verify_function(gnutls, check_client);
	return gnutls_credentials_set(gnutls, GNUTLS_CRD_CERTIFICATE, p->credentials);
}

/* --- What the certificate says ---------------------------------------------------------------- */

static char *take_text(gnutls_datum_t *text)
{
	struct bytes bytes = bytes_first(bytes_of(text->data, text->size), NAME_MAX_BYTES);
	char *copy = mem_strndup(bytes);

	/* It goes into lines of logs and heads. */
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	gnutls_free(text->data);
	return copy;
}

static char *common_name(gnutls_x509_crt_t leaf)
{
	char name[NAME_MAX_BYTES];
	size_t size = sizeof(name);

	if (gnutls_x509_crt_get_dn_by_oid(leaf, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size) < 0)
		return mem_strdup("");
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			name[i] = '?';
	return mem_strndup(bytes_of(name, size));
}

static void read_leaf(struct tls_peer *peer, gnutls_x509_crt_t leaf)
{
	gnutls_datum_t text = { NULL, 0 };
	uint8_t serial[64];
	size_t size = sizeof(serial);

	peer->subject =
		gnutls_x509_crt_get_dn3(leaf, &text, 0) == 0 ? take_text(&text) : mem_strdup("");
	text = (gnutls_datum_t){ NULL, 0 };
	peer->issuer = gnutls_x509_crt_get_issuer_dn3(leaf, &text, 0) == 0 ? take_text(&text)
									   : mem_strdup("");
	peer->common_name = common_name(leaf);
	if (gnutls_x509_crt_get_serial(leaf, serial, &size) < 0)
		size = 0;
	peer->serial = hex_text(bytes_of(serial, size));
	peer->starts_at = (usec)gnutls_x509_crt_get_activation_time(leaf) * USEC_PER_SEC;
	peer->ends_at = (usec)gnutls_x509_crt_get_expiration_time(leaf) * USEC_PER_SEC;
}

struct tls_peer *tls_peer_make(gnutls_session_t gnutls)
{
	const struct tls_hello *hello = gnutls_db_get_ptr(gnutls);
	unsigned count = 0;
	const gnutls_datum_t *chain;
	uint8_t digest[32];
	gnutls_x509_crt_t leaf;

	if (!hello->policy || hello->policy->client_auth == TLS_CLIENT_NOT_ASKED)
		return NULL;
	chain = gnutls_certificate_get_peers(gnutls, &count);
	if (!chain || count == 0 || gnutls_x509_crt_init(&leaf) < 0)
		return NULL;
	if (gnutls_x509_crt_import(leaf, &chain[0], GNUTLS_X509_FMT_DER) < 0) {
		gnutls_x509_crt_deinit(leaf);
		return NULL;
	}
	struct tls_peer *peer = mem_alloc(sizeof(*peer));
	verify(gnutls, &peer->refused);
	read_leaf(peer, leaf);
	gnutls_x509_crt_deinit(leaf);
	BUG_IF(gnutls_hash_fast(GNUTLS_DIG_SHA256, chain[0].data, chain[0].size, digest) < 0);
	peer->sha256 = hex_text(bytes_of(digest, sizeof(digest)));
	peer->der = mem_alloc(chain[0].size);
	memcpy(peer->der, chain[0].data, chain[0].size);
	peer->der_len = chain[0].size;
	return peer;
}

struct tls_peer *tls_peer_free(struct tls_peer *p)
{
	if (!p)
		return NULL;
	mem_free(p->subject);
	mem_free(p->issuer);
	mem_free(p->common_name);
	mem_free(p->serial);
	mem_free(p->sha256);
	mem_free(p->der);
	return mem_free(p);
}

int tls_policy_recheck(gnutls_session_t gnutls)
{
	const struct tls_hello *hello = gnutls_db_get_ptr(gnutls);

	return hello->policy && gnutls_session_is_resumed(gnutls) ? check_client(gnutls) : 0;
}
