/* TLS over a byte stream; hides that it is GnuTLS.
 *
 * A `tls_context` is immutable once built and counted: workers share it, a new one replaces it when
 * certificates change. A session is a byte stream on top of another one. TLS 1.2 and 1.3
 * (RFC 5246, RFC 8446); groups X25519, P-256, P-384, and X25519MLKEM768 where the library has it.
 */
#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "io/byte_stream.h"

struct loop;
struct tls_context;
struct tls_certificate;
struct tls_policy;

void tls_global_init(void);
/* "GnuTLS 3.7.9"; whether X25519MLKEM768 is available. */
const char *tls_library_version(void);
bool tls_has_post_quantum(void);

/* --- Certificates with their keys ----------------------------------------------------------- */

/* From PEM; counted, starts at one. Any thread. */
struct tls_certificate *tls_certificate_load(struct bytes chain_pem, struct bytes key_pem,
					     struct err *err);
struct tls_certificate *tls_certificate_ref(struct tls_certificate *c);
struct tls_certificate *tls_certificate_unref(struct tls_certificate *c);

/* The same one, with the answer of its authority that it is not revoked (RFC 6960, DER, copied), which is shown to
 * who asks until `fresh_until` (wall). */
struct tls_certificate *tls_certificate_with_staple(const struct tls_certificate *c,
						    struct bytes response, usec fresh_until);

/* --- What clients of one name have to bring --------------------------------------------------- */

enum tls_client_auth {
	TLS_CLIENT_NOT_ASKED,
	TLS_CLIENT_OPTIONAL, /* what it brings is verified; that fails: it may pass, tls_peer says why */
	TLS_CLIENT_REQUIRED, /* without a good certificate there is no handshake */
};

struct tls_policy_options {
	bool needs_tls13;
	enum tls_client_auth client_auth;
	struct bytes client_ca_pem; /* with client_auth: who may have issued it; empty: nobody */
};
/* Counted, starts at one; immutable. E_INVALID. Any thread. */
struct tls_policy *tls_policy_new(const struct tls_policy_options *options, struct err *err);
struct tls_policy *tls_policy_ref(struct tls_policy *p);
struct tls_policy *tls_policy_unref(struct tls_policy *p); /* NULL is fine */
/* Differs when what is asked differs; equal otherwise, whoever made it. Borrowed. */
struct bytes tls_policy_digest(const struct tls_policy *p);

/* A client's certificate. Texts are owned, without control characters; "" where it has none. */
struct tls_peer {
	const char *refused;    /* NULL: it is good; otherwise why it is not, a literal */
	char *subject, *issuer; /* RFC 4514 */
	char *common_name;
	char *serial, *sha256; /* lower-case hex; the latter of the DER */
	usec starts_at, ends_at;
	uint8_t *der;
	size_t der_len;
};

/* --- Contexts ------------------------------------------------------------------------------- */

/* Chooses the certificate of a handshake on the loop's thread. `server_name` is the SNI in lower
 * case, empty when there was none. Returns a borrowed certificate, which must live as long as `ctx`
 * does, or NULL to refuse the handshake (unrecognized_name). */
typedef struct tls_certificate *tls_choose(void *ctx, struct bytes server_name);

/* Server side. `alpn` is a NULL-terminated list by preference; a peer without ALPN is accepted, one
 * whose list has no match is refused. NULL: ALPN is ignored. `drop_ctx` frees ctx with the context; on
 * error ctx stays the caller's. */
struct tls_context *tls_context_server(tls_choose *choose, void *ctx, void (*drop_ctx)(void *ctx),
				       const char *const *alpn, struct err *err);

/* Who offers "acme-tls/1" (RFC 8737, a certificate authority that looks for its challenge) gets what `choose` has
 * for the name, with the context's own ctx; NULL refuses the handshake. Before the context is shared. */
void tls_context_set_challenges(struct tls_context *c, tls_choose *choose);
#define TLS_CHALLENGE_ALPN "acme-tls/1"

/* What is asked of who goes to this name, as tls_choose does it; NULL: nothing special. Who answers a challenge is
 * not asked. Before the context is shared. */
typedef struct tls_policy *tls_choose_policy(void *ctx, struct bytes server_name);
void tls_context_set_policies(struct tls_context *c, tls_choose_policy *choose);
/* Its handshakes are those of visitors, and counted as such. Before the first session. */
void tls_context_count(struct tls_context *c);

struct tls_client_options {
	const char *ca_file; /* PEM file trusted instead of (or beside) the system's; NULL: system only */
	struct bytes ca_pem;     /* the same, in memory */
	bool keep_system_roots;  /* with ca_file or ca_pem: trust the system's roots too */
	bool no_verify;          /* accept any certificate */
	const char *const *alpn; /* NULL: none is offered */
};
struct tls_context *tls_context_client(const struct tls_client_options *options, struct err *err);

struct tls_context *tls_context_ref(struct tls_context *c);
struct tls_context *tls_context_unref(struct tls_context *c); /* NULL is fine */

/* --- Sessions ------------------------------------------------------------------------------- */

/* done() comes exactly once, never inside the starting call, at the latest after `timeout_ms`: with
 * the TLS stream (owned by the callee) or NULL and E_TLS, E_TIMEOUT, E_CLOSED. Both calls take `lower`
 * over, also on failure. */
typedef void tls_done(void *ctx, struct byte_stream *stream, const struct err *err);
struct tls_handshake;
struct tls_handshake *tls_accept(struct tls_context *c, struct byte_stream *lower,
				 int64_t timeout_ms, tls_done *done, void *ctx);
/* `server_name` is sent as SNI (unless it is an IP literal) and verified against the certificate. */
struct tls_handshake *tls_connect(struct tls_context *c, struct byte_stream *lower,
				  struct bytes server_name, int64_t timeout_ms, tls_done *done,
				  void *ctx);
/* No done() after this; frees the streams. */
struct tls_handshake *tls_handshake_cancel(struct tls_handshake *h);

/* Of an established TLS stream. */
struct bytes tls_alpn(struct byte_stream *s);        /* empty: none was agreed; borrowed from s */
struct bytes tls_server_name(struct byte_stream *s); /* lower case; borrowed from s */
const char *tls_version_text(struct byte_stream *s); /* "TLS1.3" */
/* Of a server's stream. The policy its handshake was under, and the client's certificate; NULL: none. Borrowed
 * from s. */
const struct tls_policy *tls_policy(struct byte_stream *s);
const struct tls_peer *tls_peer(struct byte_stream *s);

/* --- Session tickets (RFC 5077, RFC 8446 §4.6.1) --------------------------------------------- */

/* How long a session may be resumed, counted from its full handshake. */
#define TLS_TICKET_LIFETIME_SECONDS (6 * 3600)
#define TLS_TICKET_KEY_BYTES 64
#define TLS_TICKET_KEYS_MAX 8
/* Keys for every server's session of this process, copied: the first seals tickets, all of them open some. None:
 * no tickets. Whoever never calls this gets random keys that change twice a day. Any thread. */
void tls_tickets_set_keys(const uint8_t (*keys)[TLS_TICKET_KEY_BYTES], size_t count);

/* --- Counting -------------------------------------------------------------------------------- */

/* Once, before threads start. */
void tls_register_metrics(void);
/* Of visitors' handshakes, since the start. Any thread. */
struct tls_totals {
	int64_t full, resumed, failed;
};
void tls_totals(struct tls_totals *ret);
