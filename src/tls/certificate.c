/* Certificate chains with their keys: parsed once, lent to every handshake as ready credentials. */
#include "base/mem.h"
#include "tls/tls_internal.h"

struct tls_certificate *tls_certificate_load(struct bytes chain_pem, struct bytes key_pem,
					     struct err *err)
{
	tls_global_init();
	if (chain_pem.len > UINT32_MAX || key_pem.len > UINT32_MAX) {
		err_set(err, E_LIMIT, "certificate or key too large");
		return NULL;
	}

	struct tls_certificate *c = mem_alloc(sizeof(*c));
	atomic_init(&c->refs, 1);
	int ret = gnutls_certificate_allocate_credentials(&c->credentials);
	if (ret < 0) {
		tls_error(err, NULL, ret);
		return mem_free(c);
	}
	/* GnuTLS copies; the datum type only lacks the const. */
	gnutls_datum_t chain = { (void *)(uintptr_t)chain_pem.ptr, (unsigned)chain_pem.len };
	gnutls_datum_t key = { (void *)(uintptr_t)key_pem.ptr, (unsigned)key_pem.len };
	/* Also checks that the two belong together. */
	ret = gnutls_certificate_set_x509_key_mem2(c->credentials, &chain, &key,
						   GNUTLS_X509_FMT_PEM, NULL, 0);
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

struct tls_certificate *tls_certificate_ref(struct tls_certificate *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

struct tls_certificate *tls_certificate_unref(struct tls_certificate *c)
{
	if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
		gnutls_certificate_free_credentials(c->credentials); /* wipes the key */
		mem_free(c);
	}
	return NULL;
}
