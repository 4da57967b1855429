/* Keys of session tickets (RFC 5077, RFC 8446 §4.6.1).
 *
 * GnuTLS takes one key per session and derives from it, period by period, what it seals tickets with; it opens
 * those of this period and of the one before. A key that never changed would open every ticket there ever was, so
 * ours do change, and a session gets the key that its client's ticket was made with: the ticket begins with a name
 * that is worked out as GnuTLS does it. A library that did it otherwise would cost resumption for a while after a
 * change of keys, no more.
 */
#include <gnutls/crypto.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/secret.h"
#include "tls/tls_internal.h"

/* What GnuTLS's name of a key has, and how long it uses one before it derives the next. */
#define PERIOD_SECONDS (3 * TLS_TICKET_LIFETIME_SECONDS)
/* Who does not give us keys gets new ones this often. */
#define OWN_KEY_MAX_AGE (12 * 3600 * USEC_PER_SEC)

#define NAME_MAX_BYTES (SERVER_NAME_MAX_BYTES + 2)
#define POLICY_MAX_BYTES 64

#define EXTENSION_SESSION_TICKET 35
#define EXTENSION_PRE_SHARED_KEY 41

/* One lock, held for a copy of a key per handshake: a ticket resumes on any worker. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t keys[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_BYTES]; /* guarded, as the next; newest first */
static size_t key_count;
static bool is_managed;
static usec made_at;

void tls_tickets_set_keys(const uint8_t (*list)[TLS_TICKET_KEY_BYTES], size_t count)
{
	BUG_IF(count > TLS_TICKET_KEYS_MAX);
	pthread_mutex_lock(&lock);
	secret_wipe(keys, sizeof(keys));
	if (count)
		memcpy(keys, list, count * sizeof(keys[0]));
	key_count = count;
	is_managed = true;
	pthread_mutex_unlock(&lock);
}

/* Under the lock: whoever was given no keys makes them. */
static void renew_own(void)
{
	usec now = clock_now();

	if (is_managed || (key_count && now - made_at < OWN_KEY_MAX_AGE))
		return;
	/* The one before opens what it sealed. */
	memcpy(keys[1], keys[0], sizeof(keys[0]));
	random_bytes(keys[0], sizeof(keys[0]));
	key_count = key_count ? 2 : 1;
	made_at = now;
}

/* --- The name a ticket begins with ------------------------------------------------------------ */

static int on_extension(void *ctx, unsigned id, const unsigned char *data, unsigned size)
{
	struct tls_ticket_name *name = ctx;
	size_t at = 0;

	/* Of a list of identities the first: nobody offers several. */
	if (id == EXTENSION_PRE_SHARED_KEY)
		at = 4;
	else if (id != EXTENSION_SESSION_TICKET)
		return 0;
	if (size < at + sizeof(name->bytes))
		return 0;
	memcpy(name->bytes, data + at, sizeof(name->bytes));
	name->is_set = true;
	return 0;
}

void tls_ticket_name_read(struct tls_ticket_name *name, const gnutls_datum_t *client_hello)
{
	/* What is malformed GnuTLS is about to refuse. */
	(void)gnutls_ext_raw_parse(name, on_extension, client_hello,
				   GNUTLS_EXT_RAW_FLAG_TLS_CLIENT_HELLO);
}

static bool has_name(const uint8_t key[TLS_TICKET_KEY_BYTES], uint64_t period,
		     const struct tls_ticket_name *name)
{
	uint8_t text[8 + TLS_TICKET_KEY_BYTES], derived[TLS_TICKET_KEY_BYTES];

	for (int i = 0; i < 8; i++)
		text[i] = (uint8_t)(period >> (56 - 8 * i));
	memcpy(text + 8, key, TLS_TICKET_KEY_BYTES);
	bool is_it = gnutls_hash_fast(GNUTLS_DIG_SHA3_512, text, sizeof(text), derived) == 0 &&
		     memcmp(derived, name->bytes, sizeof(name->bytes)) == 0;
	secret_wipe(text, sizeof(text));
	secret_wipe(derived, sizeof(derived));
	return is_it;
}

/* --- For one session -------------------------------------------------------------------------- */

/* The key as it is for this name and policy: a session is resumed for the name it was made for (RFC 6066 §3), and
 * what was proven under another policy counts for nothing. */
static void bind_to(uint8_t key[TLS_TICKET_KEY_BYTES], struct bytes server_name, struct bytes policy)
{
	uint8_t bound[TLS_TICKET_KEY_BYTES], text[1 + POLICY_MAX_BYTES + NAME_MAX_BYTES];
	size_t len = 1;

	BUG_IF(policy.len > POLICY_MAX_BYTES || server_name.len > NAME_MAX_BYTES);
	text[0] = (uint8_t)policy.len;
	if (policy.len)
		memcpy(text + len, policy.ptr, policy.len);
	len += policy.len;
	if (server_name.len)
		memcpy(text + len, server_name.ptr, server_name.len);
	len += server_name.len;
	BUG_IF(gnutls_hmac_fast(GNUTLS_MAC_SHA512, key, TLS_TICKET_KEY_BYTES, text, len, bound) !=
	       0);
	memcpy(key, bound, sizeof(bound));
	secret_wipe(bound, sizeof(bound));
}

int tls_tickets_enable(gnutls_session_t session, const struct tls_ticket_name *name,
		       struct bytes server_name, struct bytes policy)
{
	uint8_t copy[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_BYTES];
	size_t count, chosen = 0;
	int ret = 0;

	pthread_mutex_lock(&lock);
	renew_own();
	/* Without a ticket only the newest matters. */
	count = name->is_set ? key_count : key_count > 0;
	memcpy(copy, keys, count * sizeof(copy[0]));
	pthread_mutex_unlock(&lock);
	if (!count)
		return 0;
	for (size_t i = 0; i < count; i++)
		bind_to(copy[i], server_name, policy);
	uint64_t period = (uint64_t)time(NULL) / PERIOD_SECONDS;
	for (size_t i = 1; i < count && chosen == 0; i++)
		if (has_name(copy[i], period, name) || has_name(copy[i], period - 1, name))
			chosen = i;
	gnutls_datum_t key = { copy[chosen], TLS_TICKET_KEY_BYTES };
	gnutls_db_set_cache_expiration(session, TLS_TICKET_LIFETIME_SECONDS);
	ret = gnutls_session_ticket_enable_server(session, &key);
	secret_wipe(copy, sizeof(copy));
	return ret;
}
