/* TLS 1.3 as QUIC uses it (RFC 9001): a handshake without a byte stream, whose messages and secrets go through
 * the QUIC library. Hides that it is GnuTLS, but for the one handle that ngtcp2 asks for.
 *
 * Of a context (tls.h) it takes the same things as a TLS stream: the choice of the certificate, whom to trust,
 * ALPN, which QUIC cannot do without. Owned by the connection, on its loop; may be freed once the handshake is
 * done.
 */
#pragma once

#include "tls/tls.h"

struct tls_quic;

/* `server_name`: client; sent as SNI (unless it is an IP literal) and verified. `library_ref` (borrowed) is what
 * the QUIC library looks for behind the native handle. NULL and an error when it cannot even start. */
struct tls_quic *tls_quic_new(struct tls_context *c, struct bytes server_name, void *library_ref,
			      struct err *err);
struct tls_quic *tls_quic_free(struct tls_quic *q);
/* After the handshake: what only that needed is given back. NULL when nothing is left that one could ask for; otherwise
 * tls_quic_policy() and tls_quic_peer() go on answering, and nothing else does. */
struct tls_quic *tls_quic_shrink(struct tls_quic *q);
void *tls_quic_native(struct tls_quic *q); /* gnutls_session_t */

/* Why we refuse the peer, known once the handshake has failed; NULL: not by our decision. *ret_alert is the TLS
 * alert to tell it. */
const struct err *tls_quic_refusal(const struct tls_quic *q, uint8_t *ret_alert);
/* After the handshake: an application protocol was agreed on, or E_TLS (RFC 9001 §8.1). */
int tls_quic_finish(struct tls_quic *q, struct err *err);
/* After the handshake; borrowed. */
struct bytes tls_quic_alpn(const struct tls_quic *q);
struct bytes tls_quic_server_name(const struct tls_quic *q); /* lower case; empty: none */
/* Of a server's: as tls_policy() and tls_peer(); borrowed. */
const struct tls_policy *tls_quic_policy(const struct tls_quic *q);
const struct tls_peer *tls_quic_peer(const struct tls_quic *q);

/* "CA is unknown" and the like. */
const char *tls_alert_words(uint8_t alert);
#define TLS_ALERT_NO_APPLICATION_PROTOCOL 120
