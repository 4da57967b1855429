/* What the files of tls/ share. Never included from outside the folder.
 *
 * library.c      priorities                   certificate.c  chains with their keys
 * context.c      what sessions share          verify.c       is this the server we asked for?
 * handshake.c    until the session is up      session.c      the byte stream afterwards
 * names.c        whom we are, whom we want    tls_quic.c     sessions without a byte stream
 * error.c        GnuTLS codes in words        tickets.c      keys of session tickets
 * counts.c       how handshakes ended         policy.c       certificates of clients
 * ocsp.c         what an authority says
 */
#pragma once

#include <gnutls/gnutls.h>
#include <stdatomic.h>

#include "base/bufq.h"
#include "base/check.h"
#include "io/byte_stream.h"
#include "io/loop.h"
#include "tls/tls.h"

/* GnuTLS keeps ALPN names in a table of 8 x 32 bytes per session. */
#define ALPN_MAX_NAMES 8
#define ALPN_MAX_NAME_BYTES 31
/* RFC 1035: 253 characters in text form. */
#define SERVER_NAME_MAX_BYTES 253

struct tls_context {
	atomic_uint refs;
	bool is_server;
	tls_choose *choose;    /* server */
	tls_choose *challenge; /* server; NULL: TLS-ALPN-01 is not answered */
	void *choose_ctx;      /* owned when drop_choose_ctx is set */
	bool is_counted;       /* server: its handshakes are those of visitors */
	void (*drop_choose_ctx)(void *ctx);
	tls_choose_policy *choose_policy;        /* server; NULL: nobody has one */
	gnutls_certificate_credentials_t lender; /* server; owned: asks for what was chosen */
	gnutls_datum_t alpn[ALPN_MAX_NAMES];     /* owned */
	unsigned alpn_count;
	gnutls_certificate_credentials_t trust; /* client; owned */
	bool verifies;                          /* client */
};

/* What the ticket that a client offers begins with. */
struct tls_ticket_name {
	uint8_t bytes[16];
	bool is_set;
};

/* A server's session, over a stream or QUIC, up to its choice; GnuTLS's "db" pointer leads here. */
struct tls_hello {
	struct tls_ticket_name ticket;
	bool has_tickets;                    /* they are of use here */
	struct tls_certificate *certificate; /* chosen; borrowed, as the next */
	struct tls_policy *policy;           /* NULL: none */
	struct err *refusal;                 /* borrowed: where to say that it was our decision */
	gnutls_alert_description_t *refusal_alert;
};

enum tls_failure {
	TLS_FAILURE_TIMEOUT,
	TLS_FAILURE_CLOSED, /* the peer, in the middle of it */
	TLS_FAILURE_NO_TLS,
	TLS_FAILURE_NAME,
	TLS_FAILURE_VERSION,
	TLS_FAILURE_NOTHING_IN_COMMON, /* ciphers, groups, signatures */
	TLS_FAILURE_ALPN,
	TLS_FAILURE_CLIENT_CERTIFICATE,
	TLS_FAILURE_ALERT, /* the peer said no */
	TLS_FAILURE_OTHER,
	TLS_FAILURES,
};

/* Exists until done() was called, so that an established session does not carry it. */
struct tls_handshake {
	struct tls_session *session; /* borrowed: the session owns this */
	tls_done *done;
	void *ctx; /* borrowed, the user's */
	struct timer timeout;
	int64_t timeout_ms;
	bool has_chosen; /* server: a second ClientHello asks no second time */
	struct tls_hello hello;
	struct err refusal; /* set when we refused the peer, or could not even start */
	gnutls_alert_description_t refusal_alert;
};

struct tls_session {
	struct byte_stream base;
	uint32_t magic;
	bool is_blocked;     /* the last pull found nothing */
	bool is_drained;     /* the lower stream gave less than was asked for: nothing more there */
	bool has_lower_end;  /* the lower stream ended */
	bool has_peer_end;   /* close_notify came */
	bool is_write_short; /* a write was cut: on_writable() is owed */
	bool wants_shutdown, has_said_goodbye, is_closing;
	bool owes_readable, owes_error;
	gnutls_session_t gnutls;         /* owned */
	struct byte_stream *lower;       /* owned */
	struct tls_context *context;     /* counted */
	struct tls_handshake *handshake; /* owned; NULL once established */
	char *server_name;               /* owned, lower case; NULL: none */
	struct tls_policy *policy;       /* server; borrowed from the context; NULL: none */
	struct tls_peer *peer;           /* server; owned; NULL: no certificate */
	uint8_t *in;                     /* owned chunk of ciphertext; NULL while there is none */
	uint32_t in_start, in_end;
	uint32_t staged_len;
	uint8_t *staged; /* owned chunk of plaintext for the next record; NULL while there is none */
	struct bufq overflow;  /* ciphertext for which the lower stream had no room */
	struct deferred flush; /* end of turn: encrypt what is staged */
	struct deferred event; /* what could not be told inside a call */
	struct timer linger;   /* after close(), while there is overflow */
	uint64_t delivered;    /* at the last look meanwhile */
	struct err *failure;   /* owned; NULL while the session works */
};

#define SESSION_MAGIC 0x746c7373

/* --- library.c ------------------------------------------------------------------------------ */

gnutls_priority_t tls_priority(bool is_server);
gnutls_priority_t tls_quic_priority(void);

/* --- certificate.c -------------------------------------------------------------------------- */

/* Makes them lend what was chosen in the tls_hello of each session. */
void tls_lend_certificates(gnutls_certificate_credentials_t credentials);
/* The i-th of the chain, 0 is its own; empty: there is none. Borrowed. */
struct bytes tls_certificate_der(const struct tls_certificate *c, unsigned i);

/* --- policy.c ------------------------------------------------------------------------------- */

/* When the ClientHello is there: 0 or a GnuTLS code, with a refusal. */
int tls_policy_apply(struct tls_policy *p, gnutls_session_t gnutls);
/* When the handshake is done: a resumed session brings the certificate of the first one, which may have ended
 * since. */
int tls_policy_recheck(gnutls_session_t gnutls);
/* The client's certificate; NULL: it has none, or nobody asked. */
struct tls_peer *tls_peer_make(gnutls_session_t gnutls);
struct tls_peer *tls_peer_free(struct tls_peer *p);

/* --- tickets.c ------------------------------------------------------------------------------ */

/* From a ClientHello; nothing when it has no ticket. */
void tls_ticket_name_read(struct tls_ticket_name *name, const gnutls_datum_t *client_hello);
/* Gives a server's session, once, the key that its client's ticket was made with, else the newest one. Tickets
 * made for one name and policy (its digest; empty: none) are of no use with another. */
int tls_tickets_enable(gnutls_session_t session, const struct tls_ticket_name *name,
		       struct bytes server_name, struct bytes policy);

/* --- counts.c ------------------------------------------------------------------------------- */

void tls_count_done(const struct tls_context *c, gnutls_session_t gnutls);
void tls_count_failure(const struct tls_context *c, enum tls_failure reason);
enum tls_failure tls_failure_of(int gnutls_code);
/* Of one with which we refused the peer. */
enum tls_failure tls_failure_of_alert(gnutls_alert_description_t alert);

/* --- error.c -------------------------------------------------------------------------------- */

/* Fills *err from a GnuTLS error code; `session` may be NULL, it names the alert. */
int tls_error(struct err *err, gnutls_session_t session, int gnutls_code);

/* --- verify.c ------------------------------------------------------------------------------- */

/* The server's certificate is there: is it one of `server_name` (NULL: none was asked for)? 0, or a GnuTLS code
 * with the reason in *refusal. */
int tls_verify_name(gnutls_session_t gnutls, const char *server_name, struct err *refusal,
		    gnutls_alert_description_t *alert);

/* --- names.c -------------------------------------------------------------------------------- */

/* Server, before the handshake: `hello` is borrowed until the handshake has ended. */
void tls_await_hello(gnutls_session_t gnutls, struct tls_hello *hello, struct err *refusal,
		     gnutls_alert_description_t *alert);
/* Server, when a ClientHello was read: *server_name (owned by the caller) becomes what it asked for, and the
 * certificate for that is set. 0 or a GnuTLS code, with *refusal and *alert when it was our decision. */
int tls_choose_certificate(struct tls_context *c, gnutls_session_t gnutls, char **server_name,
			   struct err *refusal, gnutls_alert_description_t *alert);
/* Client: asks for `name` unless it is an IP literal; *server_name as above. */
int tls_ask_for_name(gnutls_session_t gnutls, struct bytes name, char **server_name,
		     struct err *refusal);

/* --- session.c ------------------------------------------------------------------------------ */

/* Takes `lower` over. The session's GnuTLS side is made by handshake.c. */
struct tls_session *tls_session_new(struct tls_context *c, struct byte_stream *lower);
/* Connects GnuTLS's input and output to the lower stream. */
void tls_session_attach(struct tls_session *s);
/* Closes the lower stream and frees all. */
void tls_session_destroy(struct tls_session *s);
/* on_readable() on this turn, after the callbacks. */
void tls_session_wake(struct tls_session *s);

/* --- handshake.c ---------------------------------------------------------------------------- */

/* Goes on with what the lower stream has; may free the session. */
void tls_handshake_step(struct tls_session *s);
/* Ends with an error: frees the session, then done(). */
void tls_handshake_fail(struct tls_session *s, enum tls_failure reason, const struct err *err);
