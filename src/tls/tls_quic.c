#include "tls/tls_quic.h"

#include "base/mem.h"
#include "tls/tls_internal.h"

struct tls_quic {
	gnutls_session_t gnutls;     /* owned */
	struct tls_context *context; /* counted */
	char *server_name;           /* owned, lower case; NULL: none */
	bool has_chosen;             /* server: a second ClientHello asks no second time */
	struct tls_hello hello;
	struct err refusal;
	gnutls_alert_description_t refusal_alert;
	struct tls_peer *peer; /* server; owned; NULL: no certificate */
	bool is_done;
};

/* The session's own pointer is the QUIC library's; the transport's is free, there is no transport. */
static struct tls_quic *owner_of(gnutls_session_t gnutls)
{
	return gnutls_transport_get_ptr(gnutls);
}

static int on_client_hello(gnutls_session_t gnutls)
{
	struct tls_quic *q = owner_of(gnutls);

	if (q->has_chosen)
		return 0;
	q->has_chosen = true;
	return tls_choose_certificate(q->context, gnutls, &q->server_name, &q->refusal,
				      &q->refusal_alert);
}

static int on_certificate(gnutls_session_t gnutls)
{
	struct tls_quic *q = owner_of(gnutls);

	return tls_verify_name(gnutls, q->server_name, &q->refusal, &q->refusal_alert);
}

static int set_up(struct tls_quic *q, struct bytes server_name, struct err *err)
{
	struct tls_context *c = q->context;
	/* No tickets: a connection lives for days, and without early data they would save nothing. */
	int ret = gnutls_init(&q->gnutls, (c->is_server ? GNUTLS_SERVER : GNUTLS_CLIENT) |
						  GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
						  GNUTLS_NO_TICKETS);

	if (ret < 0)
		return ret;
	gnutls_transport_set_ptr(q->gnutls, q);
	ret = gnutls_priority_set(q->gnutls, tls_quic_priority());
	if (ret < 0)
		return ret;
	if (c->is_server) {
		gnutls_handshake_set_post_client_hello_function(q->gnutls, on_client_hello);
		tls_await_hello(q->gnutls, &q->hello, &q->refusal, &q->refusal_alert);
	} else {
		ret = tls_ask_for_name(q->gnutls, server_name, &q->server_name, err);
		if (ret < 0)
			return ret;
		if (c->verifies)
			gnutls_session_set_verify_function(q->gnutls, on_certificate);
		ret = gnutls_credentials_set(q->gnutls, GNUTLS_CRD_CERTIFICATE, c->trust);
		if (ret < 0)
			return ret;
	}
	return gnutls_alpn_set_protocols(
		q->gnutls, c->alpn, c->alpn_count,
		GNUTLS_ALPN_MANDATORY | (c->is_server ? GNUTLS_ALPN_SERVER_PRECEDENCE : 0));
}

struct tls_quic *tls_quic_new(struct tls_context *c, struct bytes server_name, void *library_ref,
			      struct err *err)
{
	struct err failure = { 0 };

	if (c->alpn_count == 0) {
		err_set(err, E_INVALID, "QUIC needs an application protocol (ALPN)");
		return NULL;
	}
	struct tls_quic *q = mem_alloc(sizeof(*q));
	q->context = tls_context_ref(c);
	int ret = set_up(q, server_name, &failure);
	if (ret < 0) {
		if (!failure.code)
			tls_error(&failure, NULL, ret);
		err_wrap(&failure, "cannot start a TLS session");
		if (err)
			*err = failure;
		return tls_quic_free(q);
	}
	gnutls_session_set_ptr(q->gnutls, library_ref);
	return q;
}

struct tls_quic *tls_quic_free(struct tls_quic *q)
{
	if (!q)
		return NULL;
	if (q->context->is_server && !q->is_done)
		tls_count_failure(q->context, q->refusal.code
						      ? tls_failure_of_alert(q->refusal_alert)
						      : TLS_FAILURE_CLOSED);
	if (q->gnutls)
		gnutls_deinit(q->gnutls);
	tls_peer_free(q->peer);
	tls_context_unref(q->context);
	mem_free(q->server_name);
	return mem_free(q);
}

struct tls_quic *tls_quic_shrink(struct tls_quic *q)
{
	if (!q->hello.policy)
		return tls_quic_free(q);
	gnutls_deinit(q->gnutls);
	q->gnutls = NULL;
	return q;
}

void *tls_quic_native(struct tls_quic *q)
{
	return q->gnutls;
}

const struct err *tls_quic_refusal(const struct tls_quic *q, uint8_t *ret_alert)
{
	if (!q->refusal.code)
		return NULL;
	*ret_alert = (uint8_t)q->refusal_alert;
	return &q->refusal;
}

int tls_quic_finish(struct tls_quic *q, struct err *err)
{
	if (!tls_quic_alpn(q).len)
		return err_set(err, E_TLS, "no application protocol (ALPN) in common");
	if (!q->context->is_server)
		return 0;
	if (tls_policy_recheck(q->gnutls) < 0) {
		if (err)
			*err = q->refusal;
		return E_TLS;
	}
	q->peer = tls_peer_make(q->gnutls);
	q->is_done = true;
	tls_count_done(q->context, q->gnutls);
	return 0;
}

const struct tls_policy *tls_quic_policy(const struct tls_quic *q)
{
	return q->hello.policy;
}

const struct tls_peer *tls_quic_peer(const struct tls_quic *q)
{
	return q->peer;
}

struct bytes tls_quic_alpn(const struct tls_quic *q)
{
	gnutls_datum_t name;

	if (gnutls_alpn_get_selected_protocol(q->gnutls, &name) < 0)
		return BYTES_NONE;
	return bytes_of(name.data, name.size);
}

struct bytes tls_quic_server_name(const struct tls_quic *q)
{
	return bytes_str(q->server_name);
}

const char *tls_alert_words(uint8_t alert)
{
	const char *words = gnutls_alert_get_name((gnutls_alert_description_t)alert);

	return words ? words : "unknown reason";
}
