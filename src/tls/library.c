/* What is parsed or made once for the whole process: priorities and the key of session tickets. */
#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tls/tls_internal.h"

/* P-256 is what stock connectors fall back to (a second
 * round trip: they send a key share for X25519MLKEM768 only). */
#define GROUPS "-GROUP-ALL:%s+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1"
#define POST_QUANTUM_GROUP "X25519-MLKEM768"
#define VERSIONS "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:"
/* Whoever comes to our server speaks AEAD; an old origin may still need CBC. Our order counts: most clients
 * put AES-256 first, which costs a third more and makes nobody safer here. */
#define SERVER_PRIORITY                                                                            \
	VERSIONS "-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-GCM:-MAC-ALL:+AEAD:" GROUPS \
		 ":%%SERVER_PRECEDENCE"
#define CLIENT_PRIORITY VERSIONS GROUPS
/* RFC 9001 §4.2 wants 1.3 alone, and §8.4 none of the messages that only old middleboxes need. No CCM: nobody
 * but GnuTLS offers it. */
#define QUIC_PRIORITY                                                                                    \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-GCM:" GROUPS \
	":%%SERVER_PRECEDENCE:%%DISABLE_TLS13_COMPAT_MODE"

/* A stolen ticket key opens the TLS 1.2 sessions that were resumed with it, so it does not outlive a
 * day. In between GnuTLS derives a new one from it every three hours and accepts the one before. */
#define TICKET_KEY_MAX_AGE (24 * 3600 * USEC_PER_SEC)

static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static gnutls_priority_t server_priority, client_priority, quic_priority;
static bool has_post_quantum;
static char version_text[32];

/* One lock, held for a copy of 64 bytes per handshake: tickets must resume on any worker. */
static pthread_mutex_t ticket_lock = PTHREAD_MUTEX_INITIALIZER;
static gnutls_datum_t ticket_key; /* guarded by ticket_lock */
static usec ticket_key_made_at;   /* guarded by ticket_lock */

static int make_priority(gnutls_priority_t *ret, const char *format, bool with_post_quantum)
{
	char text[512];

	/* The format is one of the two constants above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), format,
		 with_post_quantum ? "+GROUP-" POST_QUANTUM_GROUP ":" : "");
#pragma GCC diagnostic pop
	return gnutls_priority_init(ret, text, NULL);
}

static void init(void)
{
	BUG_IF(gnutls_global_init() != 0);
	snprintf(version_text, sizeof(version_text), "GnuTLS %s", gnutls_check_version(NULL));
	/* A library may know the name of the group and still be built without it. */
	if (gnutls_group_get_id(POST_QUANTUM_GROUP) != GNUTLS_GROUP_INVALID &&
	    make_priority(&server_priority, SERVER_PRIORITY, true) == 0)
		has_post_quantum = true;
	else
		BUG_IF(make_priority(&server_priority, SERVER_PRIORITY, false) != 0);
	BUG_IF(make_priority(&client_priority, CLIENT_PRIORITY, has_post_quantum) != 0);
	BUG_IF(make_priority(&quic_priority, QUIC_PRIORITY, has_post_quantum) != 0);
}

void tls_global_init(void)
{
	BUG_IF(pthread_once(&init_once, init) != 0);
}

const char *tls_library_version(void)
{
	tls_global_init();
	return version_text;
}

bool tls_has_post_quantum(void)
{
	tls_global_init();
	return has_post_quantum;
}

gnutls_priority_t tls_priority(bool is_server)
{
	return is_server ? server_priority : client_priority;
}

gnutls_priority_t tls_quic_priority(void)
{
	return quic_priority;
}

int tls_enable_tickets(gnutls_session_t session)
{
	usec now = clock_now();
	int ret = 0;

	pthread_mutex_lock(&ticket_lock);
	if (!ticket_key.data || now - ticket_key_made_at > TICKET_KEY_MAX_AGE) {
		if (ticket_key.data) {
			gnutls_memset(ticket_key.data, 0, ticket_key.size);
			gnutls_free(ticket_key.data);
			ticket_key = (gnutls_datum_t){ NULL, 0 };
		}
		ret = gnutls_session_ticket_key_generate(&ticket_key);
		ticket_key_made_at = now;
	}
	if (ret == 0)
		ret = gnutls_session_ticket_enable_server(session, &ticket_key);
	pthread_mutex_unlock(&ticket_lock);
	return ret;
}
