/* Names in a handshake: the server chooses its certificate by them, the client asks for one. */
#include <string.h>

#include "base/mem.h"
#include "io/address.h"
#include "tls/tls_internal.h"

static char *lower_case_name(struct bytes name)
{
	if (name.len && name.ptr[name.len - 1] == '.')
		name.len--; /* a root dot is the same name */

	char *text = mem_strndup(name);
	for (char *p = text; *p; p++)
		*p = (char)bytes_lower((uint8_t)*p);
	return text;
}

static bool looks_for_challenge(const struct tls_context *c, gnutls_session_t gnutls)
{
	gnutls_datum_t alpn = { NULL, 0 };

	return c->challenge && gnutls_alpn_get_selected_protocol(gnutls, &alpn) == 0 &&
	       bytes_eq(bytes_of(alpn.data, alpn.size), BYTES_LIT(TLS_CHALLENGE_ALPN));
}

static int on_hello_comes(gnutls_session_t gnutls, unsigned type, unsigned when, unsigned incoming,
			  const gnutls_datum_t *message)
{
	struct tls_hello *hello = gnutls_db_get_ptr(gnutls);

	(void)type;
	(void)when;
	/* After the handshake there is none: a hello then asks for renegotiation, which is refused. */
	if (incoming && hello)
		tls_ticket_name_read(&hello->ticket, message);
	return 0;
}

void tls_await_hello(gnutls_session_t gnutls, struct tls_hello *hello, struct err *refusal,
		     gnutls_alert_description_t *alert)
{
	hello->refusal = refusal;
	hello->refusal_alert = alert;
	gnutls_db_set_ptr(gnutls, hello);
	if (hello->has_tickets)
		gnutls_handshake_set_hook_function(gnutls, GNUTLS_HANDSHAKE_CLIENT_HELLO,
						   GNUTLS_HOOK_PRE, on_hello_comes);
}

int tls_choose_certificate(struct tls_context *c, gnutls_session_t gnutls, char **server_name,
			   struct err *refusal, gnutls_alert_description_t *alert)
{
	char name[SERVER_NAME_MAX_BYTES + 2] = ""; /* a root dot, the NUL */
	size_t size = sizeof(name);
	unsigned type;
	int ret = gnutls_server_name_get(gnutls, name, &size, &type, 0);

	if (ret == 0)
		*server_name = lower_case_name(bytes_of(name, size));
	else if (ret != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return GNUTLS_E_RECEIVED_DISALLOWED_NAME;

	struct tls_hello *hello = gnutls_db_get_ptr(gnutls);
	struct bytes wanted = bytes_str(*server_name);
	bool is_challenge = looks_for_challenge(c, gnutls);
	hello->certificate = (is_challenge ? c->challenge : c->choose)(c->choose_ctx, wanted);
	if (!hello->certificate) {
		if (*server_name)
			err_set(refusal, E_TLS, "no certificate for \"%s\"", *server_name);
		else
			err_set(refusal, E_TLS, "no certificate for a peer without a server name");
		*alert = GNUTLS_A_UNRECOGNIZED_NAME;
		return GNUTLS_E_UNRECOGNIZED_NAME;
	}
	struct tls_policy *policy =
		c->choose_policy && !is_challenge ? c->choose_policy(c->choose_ctx, wanted) : NULL;
	ret = gnutls_credentials_set(gnutls, GNUTLS_CRD_CERTIFICATE, c->lender);
	if (ret == 0 && policy)
		ret = tls_policy_apply(policy, gnutls);
	/* Tickets are looked at after this. */
	if (ret == 0 && hello->has_tickets && !is_challenge)
		ret = tls_tickets_enable(gnutls, &hello->ticket, wanted,
					 policy ? tls_policy_digest(policy) : BYTES_NONE);
	return ret;
}

int tls_ask_for_name(gnutls_session_t gnutls, struct bytes name, char **server_name,
		     struct err *refusal)
{
	struct address address;

	if (name.len > SERVER_NAME_MAX_BYTES || bytes_index(name, 0) < name.len)
		return err_set(refusal, E_INVALID,
			       "the server's name has more than %d characters, or a NUL",
			       SERVER_NAME_MAX_BYTES);
	if (!name.len)
		return 0;
	*server_name = lower_case_name(name);
	if (address_from_ip(name, 0, &address))
		return 0;
	if (gnutls_server_name_set(gnutls, GNUTLS_NAME_DNS, *server_name, strlen(*server_name)) < 0)
		return err_set(refusal, E_INVALID, "\"%s\" is not a host name", *server_name);
	return 0;
}
