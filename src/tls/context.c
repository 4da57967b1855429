/* Contexts: what the sessions of one listener or of one kind of outgoing connection share. */
#include <errno.h>

#include "base/mem.h"
#include "tls/tls_internal.h"

static struct tls_context *context_new(bool is_server)
{
	tls_global_init();

	struct tls_context *c = mem_alloc(sizeof(*c));
	atomic_init(&c->refs, 1);
	c->is_server = is_server;
	return c;
}

static int set_alpn(struct tls_context *c, const char *const *names, struct err *err)
{
	for (; names && *names; names++) {
		struct bytes name = bytes_str(*names);
		if (c->alpn_count == ALPN_MAX_NAMES || !name.len || name.len > ALPN_MAX_NAME_BYTES)
			return err_set(err, E_INVALID, "at most %d ALPN names of 1 to %d bytes",
				       ALPN_MAX_NAMES, ALPN_MAX_NAME_BYTES);
		c->alpn[c->alpn_count++] =
			(gnutls_datum_t){ (void *)mem_strndup(name), (unsigned)name.len };
	}
	return 0;
}

struct tls_context *tls_context_server(tls_choose *choose, void *ctx, void (*drop_ctx)(void *ctx),
				       const char *const *alpn, struct err *err)
{
	struct tls_context *c = context_new(true);

	c->choose = choose;
	c->choose_ctx = ctx;
	int ret = gnutls_certificate_allocate_credentials(&c->lender);
	if (ret < 0) {
		c->lender = NULL;
		tls_error(err, NULL, ret);
		return tls_context_unref(c);
	}
	tls_lend_certificates(c->lender);
	if (set_alpn(c, alpn, err) < 0)
		return tls_context_unref(c); /* ctx stays the caller's: drop_ctx is not set yet */
	c->drop_choose_ctx = drop_ctx;
	return c;
}

void tls_context_set_challenges(struct tls_context *c, tls_choose *choose)
{
	static const char *const alpn[] = { TLS_CHALLENGE_ALPN, NULL };

	BUG_IF(!c->is_server || c->alpn_count == 0 || set_alpn(c, alpn, NULL) < 0);
	c->challenge = choose;
}

void tls_context_set_policies(struct tls_context *c, tls_choose_policy *choose)
{
	BUG_IF(!c->is_server);
	c->choose_policy = choose;
}

void tls_context_count(struct tls_context *c)
{
	BUG_IF(!c->is_server);
	c->is_counted = true;
}

static int load_trust(struct tls_context *c, const struct tls_client_options *options,
		      struct err *err)
{
	bool has_own = options->ca_file || options->ca_pem.len;
	int ret;

	if (options->ca_file) {
		errno = 0;
		ret = gnutls_certificate_set_x509_trust_file(c->trust, options->ca_file,
							     GNUTLS_X509_FMT_PEM);
		if (ret == GNUTLS_E_FILE_ERROR)
			return err_set_errno(err, errno == ENOENT ? E_NOT_FOUND : E_IO,
					     errno ? errno : EIO, "cannot read CA file %s",
					     options->ca_file);
		if (ret < 0) {
			tls_error(err, NULL, ret);
			return err_wrap(err, "CA file %s", options->ca_file);
		}
		if (ret == 0)
			return err_set(err, E_TLS, "CA file %s holds no certificate",
				       options->ca_file);
	}
	if (options->ca_pem.len) {
		if (options->ca_pem.len > UINT32_MAX)
			return err_set(err, E_LIMIT, "CA certificates too large");
		gnutls_datum_t pem = { (void *)(uintptr_t)options->ca_pem.ptr,
				       (unsigned)options->ca_pem.len };
		ret = gnutls_certificate_set_x509_trust_mem(c->trust, &pem, GNUTLS_X509_FMT_PEM);
		if (ret < 0) {
			tls_error(err, NULL, ret);
			return err_wrap(err, "CA certificate");
		}
		if (ret == 0)
			return err_set(err, E_TLS, "the CA text holds no certificate");
	}
	if (!has_own || options->keep_system_roots) {
		ret = gnutls_certificate_set_x509_system_trust(c->trust);
		/* No root at all is found out by the first handshake, which names its server. */
		if (ret < 0 && ret != GNUTLS_E_FILE_ERROR) {
			tls_error(err, NULL, ret);
			return err_wrap(err, "the system's root certificates");
		}
	}
	return 0;
}

struct tls_context *tls_context_client(const struct tls_client_options *options, struct err *err)
{
	struct tls_context *c = context_new(false);

	c->verifies = !options->no_verify;
	int ret = gnutls_certificate_allocate_credentials(&c->trust);
	if (ret < 0) {
		c->trust = NULL;
		tls_error(err, NULL, ret);
		return tls_context_unref(c);
	}
	if (set_alpn(c, options->alpn, err) < 0)
		return tls_context_unref(c);
	if (c->verifies && load_trust(c, options, err) < 0)
		return tls_context_unref(c);
	return c;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

struct tls_context *tls_context_unref(struct tls_context *c)
{
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	if (c->drop_choose_ctx)
		c->drop_choose_ctx(c->choose_ctx);
	if (c->trust)
		gnutls_certificate_free_credentials(c->trust);
	if (c->lender)
		gnutls_certificate_free_credentials(c->lender);
	for (unsigned i = 0; i < c->alpn_count; i++)
		mem_free(c->alpn[i].data);
	return mem_free(c);
}
