#include "edge/control/signin.h"

#include "base/check.h"
#include "base/encode.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "io/address.h"

#define MAGIC_SIGNIN 0x5349474e

struct session {
	struct list node; /* oldest first */
	struct signin_session view;
	char *email; /* owned */
};

struct address_tries {
	struct list node; /* seen longest ago first */
	struct bytes key; /* owned */
	int count;
	usec window_ends;
};

struct signin {
	uint32_t magic;
	struct map *by_token; /* -> struct session */
	struct list sessions;
	struct map *by_address; /* -> struct address_tries */
	struct list addresses;
	usec bucket_at; /* when bucket_tries was right */
	int64_t bucket_tries;
};

void signin_random_token(char token[SIGNIN_TOKEN_SIZE])
{
	uint8_t raw[32];
	size_t len;

	random_bytes(raw, sizeof(raw));
	len = base64_encode(BASE64_URL_RAW, bytes_of(raw, sizeof(raw)), token);
	token[len] = 0;
	secret_wipe(raw, sizeof(raw));
}

struct signin *signin_new(void)
{
	struct signin *s = mem_alloc(sizeof(*s));

	s->magic = MAGIC_SIGNIN;
	s->by_token = map_new();
	s->by_address = map_new();
	list_init(&s->sessions);
	list_init(&s->addresses);
	s->bucket_tries = LIMIT_SIGNIN_BURST;
	return s;
}

/* --- Sessions ------------------------------------------------------------------------------- */

static void session_end(struct signin *s, struct session *session)
{
	(void)map_take(s->by_token, bytes_str(session->view.token));
	list_remove(&session->node);
	mem_free(session->email);
	secret_wipe(session, sizeof(*session));
	mem_free(session);
}

const struct signin_session *signin_open(struct signin *s, const char *email, usec now)
{
	struct session *session;

	CHECK(s, MAGIC_SIGNIN);
	if (map_count(s->by_token) >= LIMIT_SIGNIN_SESSIONS)
		session_end(s, LIST_ENTRY(s->sessions.next, struct session, node));
	session = mem_alloc(sizeof(*session));
	session->email = mem_strdup(email);
	session->view.email = session->email;
	session->view.expires = now + SIGNIN_SECONDS * USEC_PER_SEC;
	signin_random_token(session->view.token);
	signin_random_token(session->view.csrf);
	list_append(&s->sessions, &session->node);
	(void)map_put(s->by_token, bytes_str(session->view.token), session);
	return &session->view;
}

const struct signin_session *signin_find(struct signin *s, struct bytes token, usec now)
{
	struct session *session;

	CHECK(s, MAGIC_SIGNIN);
	/* The map hashes with a random key: what a lookup's time tells is about the hash. */
	session = token.len == SIGNIN_TOKEN_SIZE - 1 ? map_find(s->by_token, token) : NULL;
	if (!session)
		return NULL;
	if (session->view.expires <= now) {
		session_end(s, session);
		return NULL;
	}
	return &session->view;
}

void signin_close(struct signin *s, struct bytes token)
{
	struct session *session;

	CHECK(s, MAGIC_SIGNIN);
	session = map_find(s->by_token, token);
	if (session)
		session_end(s, session);
}

json_t *signin_save(const struct signin *s)
{
	json_t *list = json_array();

	CHECK(s, MAGIC_SIGNIN);
	for (const struct list *it = s->sessions.next; it != &s->sessions; it = it->next) {
		const struct session *session = LIST_ENTRY(it, const struct session, node);
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I}", "email",
						      session->email, "token", session->view.token,
						      "csrf", session->view.csrf, "expires",
						      (json_int_t)session->view.expires));
	}
	return list;
}

static bool token_load(const json_t *item, const char *key, char ret[SIGNIN_TOKEN_SIZE])
{
	const json_t *text = json_object_get(item, key);

	if (!json_is_string(text) || json_string_length(text) != SIGNIN_TOKEN_SIZE - 1)
		return false;
	memcpy(ret, json_string_value(text), SIGNIN_TOKEN_SIZE);
	return true;
}

void signin_load(struct signin *s, const json_t *list, usec now)
{
	size_t i;
	json_t *item;

	CHECK(s, MAGIC_SIGNIN);
	json_array_foreach(list, i, item)
	{
		const char *email = json_string_value(json_object_get(item, "email"));
		usec expires = json_integer_value(json_object_get(item, "expires"));
		struct signin_session view = { .expires = expires };

		if (!email || expires <= now || expires > now + SIGNIN_SECONDS * USEC_PER_SEC ||
		    !token_load(item, "token", view.token) || !token_load(item, "csrf", view.csrf) ||
		    map_find(s->by_token, bytes_str(view.token)) ||
		    map_count(s->by_token) >= LIMIT_SIGNIN_SESSIONS)
			continue;
		struct session *session = mem_alloc(sizeof(*session));
		session->view = view;
		session->view.email = session->email = mem_strdup(email);
		list_append(&s->sessions, &session->node);
		(void)map_put(s->by_token, bytes_str(view.token), session);
	}
}

/* --- Tries ---------------------------------------------------------------------------------- */

static void address_forget(struct signin *s, struct address_tries *t)
{
	(void)map_take(s->by_address, t->key);
	list_remove(&t->node);
	mem_free((void *)(uintptr_t)t->key.ptr);
	mem_free(t);
}

/* An IPv6 customer has a /64 at least: the network counts, not the address. */
struct bytes signin_network(struct bytes ip, uint8_t room[16])
{
	struct address a;

	if (address_from_ip(ip, 0, &a) && a.any.sa_family == AF_INET6 &&
	    !IN6_IS_ADDR_V4MAPPED(&a.v6.sin6_addr)) {
		memcpy(room, &a.v6.sin6_addr, 8);
		return bytes_of(room, 8);
	}
	return bytes_first(ip, 64);
}

static struct address_tries *address_tries(struct signin *s, struct bytes ip, usec now)
{
	uint8_t room[16];
	struct bytes key = signin_network(ip, room);
	struct address_tries *t = map_find(s->by_address, key);

	if (!t) {
		if (map_count(s->by_address) >= LIMIT_SIGNIN_ADDRESSES)
			address_forget(s, LIST_ENTRY(s->addresses.next, struct address_tries, node));
		t = mem_alloc(sizeof(*t));
		t->key = bytes_of(mem_strndup(key), key.len);
		list_init(&t->node);
		(void)map_put(s->by_address, key, t);
	}
	if (t->window_ends <= now) {
		t->count = 0;
		t->window_ends = now + (LIMIT_SIGNIN_WINDOW_SEC * USEC_PER_SEC);
	}
	list_remove(&t->node);
	list_append(&s->addresses, &t->node);
	return t;
}

static bool bucket_take(struct signin *s, usec now)
{
	int64_t refill = (now - s->bucket_at) / (USEC_PER_SEC / LIMIT_SIGNIN_PER_SEC);

	if (refill > 0) {
		s->bucket_tries += refill;
		s->bucket_at = now;
		if (s->bucket_tries > LIMIT_SIGNIN_BURST)
			s->bucket_tries = LIMIT_SIGNIN_BURST;
	}
	if (s->bucket_tries == 0)
		return false;
	s->bucket_tries--;
	return true;
}

bool signin_try_network(struct signin *s, struct bytes ip, usec now, int *ret_wait_seconds)
{
	struct address_tries *t;

	CHECK(s, MAGIC_SIGNIN);
	t = address_tries(s, ip, now);
	if (t->count >= LIMIT_SIGNIN_TRIES) {
		*ret_wait_seconds = (int)((t->window_ends - now + USEC_PER_SEC - 1) / USEC_PER_SEC);
		return false;
	}
	t->count++;
	return true;
}

bool signin_try(struct signin *s, struct bytes ip, usec now, int *ret_wait_seconds)
{
	if (!signin_try_network(s, ip, now, ret_wait_seconds))
		return false;
	if (bucket_take(s, now))
		return true;
	address_tries(s, ip, now)->count--;
	*ret_wait_seconds = 1;
	return false;
}

void signin_try_worked(struct signin *s, struct bytes ip)
{
	uint8_t room[16];
	struct address_tries *t;

	CHECK(s, MAGIC_SIGNIN);
	t = map_find(s->by_address, signin_network(ip, room));
	if (t)
		address_forget(s, t);
}

struct signin *signin_free(struct signin *s)
{
	if (!s)
		return NULL;
	CHECK(s, MAGIC_SIGNIN);
	while (!list_is_empty(&s->sessions))
		session_end(s, LIST_ENTRY(s->sessions.next, struct session, node));
	while (!list_is_empty(&s->addresses))
		address_forget(s, LIST_ENTRY(s->addresses.next, struct address_tries, node));
	map_free(s->by_token);
	map_free(s->by_address);
	s->magic = 0;
	return mem_free(s);
}
