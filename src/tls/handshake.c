/* From a lower stream to an established session: certificates, names, the deadline. */
#include <inttypes.h>

#include "base/mem.h"
#include "tls/tls_internal.h"

/* The largest handshake message taken from a client. A ClientHello with a post-quantum key share has
 * 1.5 KB; GnuTLS would buffer 128 KiB for anybody who connects. */
#define CLIENT_MESSAGE_MAX_BYTES (16 * 1024)
/* Times GnuTLS may ask to be called again without having waited (warnings, empty records). */
#define STEPS_PER_TURN 64
/* A browser opens several connections when it comes back to a site of HTTP/1.1, and uses a ticket once. Who
 * resumed has others. */
#define FULL_TICKETS 2
#define RESUMED_TICKETS 1

/* Ends it and tells; the session is gone when done() runs. */
void tls_handshake_fail(struct tls_session *s, enum tls_failure reason, const struct err *err)
{
	tls_count_failure(s->context, reason);

	struct err copy = *err; /* it may live in what is freed now */
	tls_done *done = s->handshake->done;
	void *ctx = s->handshake->ctx;

	tls_session_destroy(s);
	done(ctx, NULL, &copy);
}

static void on_timeout(struct timer *t)
{
	struct tls_handshake *h = CONTAINER_OF(t, struct tls_handshake, timeout);
	struct err err;

	err_set(&err, E_TIMEOUT, "TLS handshake not finished within %" PRId64 " ms", h->timeout_ms);
	tls_handshake_fail(h->session, TLS_FAILURE_TIMEOUT, &err);
}

/* GnuTLS would send two each time. */
static void send_tickets(struct tls_session *s)
{
	bool is_resumed = gnutls_session_is_resumed(s->gnutls);

	/* What cannot be sent will be found out by whatever is written next. */
	if (gnutls_protocol_get_version(s->gnutls) == GNUTLS_TLS1_3)
		(void)gnutls_session_ticket_send(s->gnutls,
						 is_resumed ? RESUMED_TICKETS : FULL_TICKETS, 0);
}

static void fail_with(struct tls_session *s, int gnutls_code);

static void finish(struct tls_session *s)
{
	tls_done *done = s->handshake->done;
	void *ctx = s->handshake->ctx;

	if (s->context->is_server) {
		int ret = tls_policy_recheck(s->gnutls);
		if (ret < 0) {
			fail_with(s, ret);
			return;
		}
		s->policy = s->handshake->hello.policy;
		s->peer = tls_peer_make(s->gnutls);
		send_tickets(s);
		tls_count_done(s->context, s->gnutls);
	}
	timer_stop(&s->handshake->timeout);
	s->handshake = mem_free(s->handshake);
	gnutls_db_set_ptr(s->gnutls, NULL);
	/* The first request often came with the end of the handshake. */
	if (s->in || gnutls_record_check_pending(s->gnutls) > 0)
		tls_session_wake(s);
	done(ctx, &s->base, NULL);
}

static void fail_with(struct tls_session *s, int gnutls_code)
{
	struct tls_handshake *h = s->handshake;
	enum tls_failure reason = tls_failure_of(gnutls_code);
	struct err err = { 0 };

	if (h->refusal.code) {
		err = h->refusal;
		reason = tls_failure_of_alert(h->refusal_alert);
		if (s->gnutls)
			gnutls_alert_send(s->gnutls, GNUTLS_AL_FATAL, h->refusal_alert);
	} else if (s->failure) {
		err = *s->failure;
		err_wrap(&err, "TLS handshake");
		reason = TLS_FAILURE_CLOSED;
	} else if (s->has_lower_end) {
		reason = TLS_FAILURE_CLOSED;
		err_set(&err, E_CLOSED, "the peer closed the connection during the TLS handshake");
	} else {
		tls_error(&err, s->gnutls, gnutls_code);
		err_wrap(&err, "TLS handshake");
		if (gnutls_code != GNUTLS_E_FATAL_ALERT_RECEIVED)
			gnutls_alert_send_appropriate(s->gnutls, gnutls_code);
	}
	tls_handshake_fail(s, reason, &err);
}

void tls_handshake_step(struct tls_session *s)
{
	if (s->handshake->refusal.code) {
		fail_with(s, 0);
		return;
	}
	for (int i = 0; i < STEPS_PER_TURN; i++) {
		s->is_blocked = false;
		int ret = gnutls_handshake(s->gnutls);
		if (ret == 0) {
			finish(s);
			return;
		}
		if (gnutls_error_is_fatal(ret)) {
			fail_with(s, ret);
			return;
		}
		if (s->is_blocked)
			return;
	}
	fail_with(s, GNUTLS_E_TOO_MANY_HANDSHAKE_PACKETS);
}

/* --- The server's choice --------------------------------------------------------------------- */

/* Called by GnuTLS once it has read a ClientHello. */
static int on_client_hello(gnutls_session_t gnutls)
{
	struct tls_session *s = gnutls_session_get_ptr(gnutls);
	struct tls_handshake *h = s->handshake;

	if (h->has_chosen)
		return 0;
	h->has_chosen = true;
	return tls_choose_certificate(s->context, gnutls, &s->server_name, &h->refusal,
				      &h->refusal_alert);
}

/* GnuTLS calls this when the server's certificate is there; nonzero ends the handshake. */
static int on_certificate(gnutls_session_t gnutls)
{
	struct tls_session *s = gnutls_session_get_ptr(gnutls);

	return tls_verify_name(gnutls, s->server_name, &s->handshake->refusal,
			       &s->handshake->refusal_alert);
}

/* --- Starting -------------------------------------------------------------------------------- */

static int set_up_server(struct tls_session *s)
{
	int ret = gnutls_init(&s->gnutls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
						  GNUTLS_NO_AUTO_SEND_TICKET);

	if (ret < 0)
		return ret;
	s->handshake->hello.has_tickets = true;
	tls_await_hello(s->gnutls, &s->handshake->hello, &s->handshake->refusal,
			&s->handshake->refusal_alert);
	gnutls_handshake_set_post_client_hello_function(s->gnutls, on_client_hello);
	gnutls_handshake_set_max_packet_length(s->gnutls, CLIENT_MESSAGE_MAX_BYTES);
	if (s->context->alpn_count)
		ret = gnutls_alpn_set_protocols(s->gnutls, s->context->alpn, s->context->alpn_count,
						GNUTLS_ALPN_MANDATORY |
							GNUTLS_ALPN_SERVER_PRECEDENCE);
	return ret;
}

static int set_up_client(struct tls_session *s, struct bytes name)
{
	int ret = gnutls_init(&s->gnutls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
						  GNUTLS_NO_TICKETS);

	if (ret < 0)
		return ret;
	ret = tls_ask_for_name(s->gnutls, name, &s->server_name, &s->handshake->refusal);
	if (ret < 0)
		return ret;
	if (s->context->verifies)
		gnutls_session_set_verify_function(s->gnutls, on_certificate);
	ret = gnutls_credentials_set(s->gnutls, GNUTLS_CRD_CERTIFICATE, s->context->trust);
	if (ret == 0 && s->context->alpn_count)
		ret = gnutls_alpn_set_protocols(s->gnutls, s->context->alpn, s->context->alpn_count,
						0);
	return ret;
}

static struct tls_handshake *start(struct tls_context *c, struct byte_stream *lower,
				   struct bytes server_name, int64_t timeout_ms, tls_done *done,
				   void *ctx)
{
	struct tls_session *s = tls_session_new(c, lower);
	struct tls_handshake *h = mem_alloc(sizeof(*h));

	s->handshake = h;
	h->session = s;
	h->done = done;
	h->ctx = ctx;
	h->timeout_ms = timeout_ms;
	timer_init(&h->timeout, lower->loop, on_timeout);
	timer_set(&h->timeout, timeout_ms);

	int ret = c->is_server ? set_up_server(s) : set_up_client(s, server_name);
	if (ret == 0)
		ret = gnutls_priority_set(s->gnutls, tls_priority(c->is_server));
	if (ret < 0 && !h->refusal.code) {
		tls_error(&h->refusal, NULL, ret);
		err_wrap(&h->refusal, "cannot start a TLS session");
	}
	if (h->refusal.code) {
		/* Nothing was said yet, so there is nothing to take back. */
		if (s->gnutls)
			gnutls_deinit(TAKE(s->gnutls));
	} else {
		tls_session_attach(s);
	}
	loop_defer(lower->loop, &s->event);
	return h;
}

struct tls_handshake *tls_accept(struct tls_context *c, struct byte_stream *lower,
				 int64_t timeout_ms, tls_done *done, void *ctx)
{
	BUG_IF(!c->is_server);
	return start(c, lower, BYTES_NONE, timeout_ms, done, ctx);
}

struct tls_handshake *tls_connect(struct tls_context *c, struct byte_stream *lower,
				  struct bytes server_name, int64_t timeout_ms, tls_done *done,
				  void *ctx)
{
	BUG_IF(c->is_server);
	return start(c, lower, server_name, timeout_ms, done, ctx);
}

struct tls_handshake *tls_handshake_cancel(struct tls_handshake *h)
{
	if (h)
		tls_session_destroy(h->session);
	return NULL;
}
