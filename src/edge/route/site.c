#include "edge/route/site.h"

#include <time.h>

#include "base/encode.h"
#include "edge/snapshot.h"
#include "tls/tls.h"

/* --- The connection --------------------------------------------------------------------------- */

static const char *keep_text(struct exchange *x, const char *text)
{
	return arena_strdup(&x->arena, bytes_str(text));
}

/* The connection may end before the exchange does. */
static const struct tls_peer *keep_peer(struct exchange *x, const struct tls_peer *peer)
{
	struct tls_peer *copy = arena_alloc(&x->arena, sizeof(*copy));

	*copy = *peer;
	copy->subject = (char *)(uintptr_t)keep_text(x, peer->subject);
	copy->issuer = (char *)(uintptr_t)keep_text(x, peer->issuer);
	copy->common_name = (char *)(uintptr_t)keep_text(x, peer->common_name);
	copy->serial = (char *)(uintptr_t)keep_text(x, peer->serial);
	copy->sha256 = (char *)(uintptr_t)keep_text(x, peer->sha256);
	copy->der =
		(uint8_t *)(uintptr_t)arena_copy(&x->arena, bytes_of(peer->der, peer->der_len)).ptr;
	return copy;
}

static bool is_under(const struct tls_policy *connection, const struct tls_policy *wanted)
{
	return connection && bytes_eq(tls_policy_digest(connection), tls_policy_digest(wanted));
}

enum handled site_check(struct exchange *x, const struct snapshot_site *site)
{
	const struct tls_policy *connection = x->tls_policy;
	const struct tls_peer *peer = x->tls_peer;

	/* Nobody looks at what is the connection's after this. */
	x->tls_policy = NULL;
	x->tls_peer = NULL;
	if (!site)
		return HANDLED_NEXT;
	x->hsts = site->hsts;
	if (site->policy && !is_under(connection, site->policy))
		return exchange_failed(
			x, FAILURE_VISITOR, 421, 0, "Misdirected request",
			"This connection was not made for %.*s, which asks for %s. A new one will do.",
			BYTES_ARG(x->host), site->asks_certificate ? "a certificate" : "TLS 1.3");
	x->asks_certificate = site->asks_certificate;
	if (x->asks_certificate && peer)
		x->certificate = keep_peer(x, peer);
	return HANDLED_NEXT;
}

/* --- What the service is told ----------------------------------------------------------------- */

bool site_is_certificate_field(struct bytes name)
{
	static const struct bytes prefixes[] = {
		BYTES_LIT("cf-client-cert-"),
		BYTES_LIT("cf-cert-"),
	};

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (bytes_eq_nocase(bytes_first(name, prefixes[i].len), prefixes[i]))
			return true;
	return false;
}

static int add(struct exchange *x, const char *name, struct bytes value)
{
	return fields_add(&x->request.fields, &x->arena, bytes_str(name), value);
}

/* "Dec 31 23:59:59 2026 GMT", as OpenSSL prints it. */
static struct bytes date_text(struct exchange *x, usec wall)
{
	time_t seconds = (time_t)(wall / USEC_PER_SEC);
	char text[64] = "";
	struct tm tm;

	if (gmtime_r(&seconds, &tm))
		strftime(text, sizeof(text), "%b %e %H:%M:%S %Y GMT", &tm);
	return arena_copy(&x->arena, bytes_str(text));
}

static struct bytes der_text(struct exchange *x, const struct tls_peer *peer)
{
	struct bytes der = bytes_of(peer->der, peer->der_len);
	char *text = (char *)arena_alloc_bytes(&x->arena, base64_size(der.len));

	return bytes_of(text, base64_encode(BASE64_STD, der, text));
}

int site_add_certificate(struct exchange *x)
{
	const struct tls_peer *peer = x->certificate;
	int ret = 0;

	if (!x->asks_certificate)
		return 0;
	ret |= add(x, "Cf-Cert-Presented", peer ? BYTES_LIT("true") : BYTES_LIT("false"));
	ret |= add(x, "Cf-Cert-Verified",
		   peer && !peer->refused ? BYTES_LIT("true") : BYTES_LIT("false"));
	if (!peer || peer->refused)
		return ret;
	ret |= add(x, "Cf-Cert-Subject-Dn", bytes_str(peer->subject));
	ret |= add(x, "Cf-Cert-Issuer-Dn", bytes_str(peer->issuer));
	ret |= add(x, "Cf-Cert-Serial", bytes_str(peer->serial));
	ret |= add(x, "Cf-Cert-Fingerprint-Sha256", bytes_str(peer->sha256));
	ret |= add(x, "Cf-Cert-Not-Before", date_text(x, peer->starts_at));
	ret |= add(x, "Cf-Cert-Not-After", date_text(x, peer->ends_at));
	ret |= add(x, "Cf-Client-Cert-Sha256", bytes_str(peer->sha256));
	ret |= add(x, "Cf-Client-Cert-Der-Base64", der_text(x, peer));
	return ret;
}
