/* What is parsed once for the whole process: priorities. */
#include <pthread.h>
#include <stdio.h>

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

static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static gnutls_priority_t server_priority, client_priority, quic_priority;
static bool has_post_quantum;
static char version_text[32];

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
