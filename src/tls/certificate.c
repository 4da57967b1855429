/* Certificate chains with their keys: parsed once, lent to every handshake.
 *
 * GnuTLS would keep them in credentials, one for each, with tables for verification that a server seldom needs: some
 * 20 KiB. So the contexts have credentials that ask us, and a chain costs what it is made of.
 */
#include <gnutls/abstract.h>
#include <string.h>

#include "base/mem.h"
#include "tls/key_box_internal.h"
#include "tls/tls_internal.h"

/* GnuTLS verifies no longer ones either. */
#define CHAIN_MAX 16

struct chain {
	atomic_uint refs;
	gnutls_pcert_st *list; /* owned, as the next */
	unsigned count;
	gnutls_privkey_t key;
};

struct tls_certificate {
	atomic_uint refs;
	struct chain *chain;        /* counted */
	gnutls_ocsp_data_st staple; /* its response is owned */
};

static struct chain *chain_unref(struct chain *c)
{
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	for (unsigned i = 0; i < c->count; i++)
		gnutls_pcert_deinit(&c->list[i]);
	mem_free(c->list);
	if (c->key)
		gnutls_privkey_deinit(c->key); /* wipes it */
	return mem_free(c);
}

/* GnuTLS copies what it reads; the datum type only lacks the const. */
static gnutls_datum_t datum_of(struct bytes b)
{
	return (gnutls_datum_t){ (void *)(uintptr_t)b.ptr, (unsigned)b.len };
}

static int load_list(struct chain *c, struct bytes pem)
{
	gnutls_pcert_st list[CHAIN_MAX];
	gnutls_datum_t data = datum_of(pem);
	unsigned count = CHAIN_MAX;
	int ret = gnutls_pcert_list_import_x509_raw(
		list, &count, &data, GNUTLS_X509_FMT_PEM,
		GNUTLS_X509_CRT_LIST_SORT | GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);

	if (ret < 0)
		return ret;
	if (count == 0)
		return GNUTLS_E_NO_CERTIFICATE_FOUND;
	c->list = mem_alloc_array(count, sizeof(list[0]));
	memcpy(c->list, list, count * sizeof(list[0]));
	c->count = count;
	return 0;
}

/* Do the two belong together? */
static int check_public(const struct chain *c, gnutls_pubkey_t public)
{
	unsigned char of_cert[64], of_key[64];
	size_t cert_size = sizeof(of_cert), key_size = sizeof(of_key);
	int ret = gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, of_key, &key_size);

	if (ret == 0)
		ret = gnutls_pubkey_get_key_id(c->list[0].pubkey, GNUTLS_KEYID_USE_SHA256, of_cert,
					       &cert_size);
	if (ret == 0 && (cert_size != key_size || memcmp(of_cert, of_key, key_size) != 0))
		ret = GNUTLS_E_CERTIFICATE_KEY_MISMATCH;
	return ret;
}

static int check_key(const struct chain *c)
{
	gnutls_pubkey_t public;
	int ret = gnutls_pubkey_init(&public);

	if (ret < 0)
		return ret;
	ret = gnutls_pubkey_import_privkey(public, c->key, 0, 0);
	if (ret == 0)
		ret = check_public(c, public);
	gnutls_pubkey_deinit(public);
	return ret;
}

static int load_chain(struct chain *c, struct bytes chain_pem, struct bytes key_pem)
{
	gnutls_datum_t key = datum_of(key_pem);
	int ret = load_list(c, chain_pem);

	if (ret == 0)
		ret = gnutls_privkey_init(&c->key);
	if (ret == 0)
		ret = gnutls_privkey_import_x509_raw(c->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
	return ret < 0 ? ret : check_key(c);
}

static struct tls_certificate *certificate_new(void)
{
	struct tls_certificate *c = mem_alloc(sizeof(*c));

	atomic_init(&c->refs, 1);
	c->chain = mem_alloc(sizeof(*c->chain));
	atomic_init(&c->chain->refs, 1);
	return c;
}

struct tls_certificate *tls_certificate_load(struct bytes chain_pem, struct bytes key_pem,
					     struct err *err)
{
	tls_global_init();
	if (chain_pem.len > UINT32_MAX || key_pem.len > UINT32_MAX) {
		err_set(err, E_LIMIT, "certificate or key too large");
		return NULL;
	}
	struct tls_certificate *c = certificate_new();
	int ret = load_chain(c->chain, chain_pem, key_pem);
	if (ret < 0) {
		if (ret == GNUTLS_E_DECRYPTION_FAILED)
			err_set(err, E_TLS, "the private key is encrypted");
		else
			tls_error(err, NULL, ret);
		err_wrap(err, "cannot use the certificate");
		return tls_certificate_unref(c);
	}
	return c;
}

struct tls_certificate *tls_certificate_load_boxed(struct bytes chain_pem, struct bytes sealed,
						   const char *place, struct err *err)
{
	gnutls_pubkey_t public = NULL;

	tls_global_init();
	if (chain_pem.len > UINT32_MAX) {
		err_set(err, E_LIMIT, "certificate too large");
		return NULL;
	}
	struct tls_certificate *c = certificate_new();
	int ret = load_list(c->chain, chain_pem);
	int r = ret < 0 ? tls_error(err, NULL, ret)
			: key_box_open(sealed, place, &public, &c->chain->key, err);
	if (r == 0) {
		ret = check_public(c->chain, public);
		gnutls_pubkey_deinit(public);
		r = ret < 0 ? tls_error(err, NULL, ret) : 0;
	} else {
		c->chain->key = NULL;
	}
	if (r < 0) {
		err_wrap(err, "cannot use the certificate");
		return tls_certificate_unref(c);
	}
	return c;
}

struct tls_certificate *tls_certificate_ref(struct tls_certificate *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

struct tls_certificate *tls_certificate_unref(struct tls_certificate *c)
{
	if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
		chain_unref(c->chain);
		mem_free(c->staple.response.data);
		mem_free(c);
	}
	return NULL;
}

struct tls_certificate *tls_certificate_with_staple(const struct tls_certificate *c,
						    struct bytes response, usec fresh_until)
{
	struct tls_certificate *copy = mem_alloc(sizeof(*copy));

	BUG_IF(response.len == 0 || response.len > UINT32_MAX);
	atomic_init(&copy->refs, 1);
	atomic_fetch_add_explicit(&c->chain->refs, 1, memory_order_relaxed);
	copy->chain = c->chain;
	copy->staple = (gnutls_ocsp_data_st){
		.response = { mem_alloc(response.len), (unsigned)response.len },
		.exptime = (time_t)(fresh_until / USEC_PER_SEC),
	};
	memcpy(copy->staple.response.data, response.ptr, response.len);
	return copy;
}

struct bytes tls_certificate_der(const struct tls_certificate *c, unsigned i)
{
	const gnutls_datum_t *der = i < c->chain->count ? &c->chain->list[i].cert : NULL;

	return der ? bytes_of(der->data, der->size) : BYTES_NONE;
}

/* --- Lending ---------------------------------------------------------------------------------- */

/* Nothing is for GnuTLS to free: the context, which the session holds, keeps the certificate. */
static int on_wanted(gnutls_session_t gnutls, const struct gnutls_cert_retr_st *info,
		     gnutls_pcert_st **certs, unsigned *certs_length, gnutls_ocsp_data_st **ocsp,
		     unsigned *ocsp_length, gnutls_privkey_t *key, unsigned *flags)
{
	const struct tls_hello *hello = gnutls_db_get_ptr(gnutls);
	struct tls_certificate *c = hello ? hello->certificate : NULL;

	(void)info;
	*flags = 0;
	*ocsp = NULL;
	*ocsp_length = 0;
	if (!c)
		return -1;
	*certs = c->chain->list;
	*certs_length = c->chain->count;
	*key = c->chain->key;
	if (c->staple.response.size) {
		*ocsp = &c->staple;
		*ocsp_length = 1;
	}
	return 0;
}

void tls_lend_certificates(gnutls_certificate_credentials_t credentials)
{
	gnutls_certificate_set_retrieve_function3(credentials, on_wanted);
}
