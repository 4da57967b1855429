#include "edge/control/login_store.h"

#include "base/check.h"
#include "base/encode.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/control/control_parts.h"
#include "io/loop.h"

#define MAGIC_LOGIN_STORE 0x4c4f4753

struct waiter {
	struct list node;
	struct login_store *store;
	struct control_request *request; /* the asker's; ours to answer */
	char key[LOGIN_KEY_BYTES];
	struct timer timer;
};

struct pending {
	struct list node; /* oldest first */
	char key[LOGIN_KEY_BYTES];
	struct secret cert_pem;
	char *sender; /* owned: of a sealed text; NULL: it is a certificate */
	usec expires;
};

struct login_store {
	uint32_t magic;
	struct loop *loop; /* borrowed */
	struct list waiters, pending;
	size_t waiter_count, pending_count;
	bool is_draining;
	struct timer expiry; /* of the oldest pending one; set when there is a loop */
};

bool login_key_is_valid(struct bytes key)
{
	uint8_t raw[LOGIN_KEY_BYTES / 4 * 3 + 3];
	size_t len;

	return key.len == LOGIN_KEY_BYTES && base64_decode(BASE64_URL, key, raw, &len) && len == 32;
}

/* --- Certificates that wait ------------------------------------------------------------------ */

static void pending_drop(struct login_store *s, struct pending *p)
{
	list_remove(&p->node);
	s->pending_count--;
	secret_done(&p->cert_pem);
	mem_free(p->sender);
	mem_free(p);
}

static void expire(struct login_store *s, usec now)
{
	LIST_FOR_EACH(it, &s->pending) {
		struct pending *p = LIST_ENTRY(it, struct pending, node);

		if (p->expires > now) {
			if (s->loop)
				timer_set(&s->expiry, (p->expires - now) / USEC_PER_MSEC + 1);
			return;
		}
		pending_drop(s, p);
	}
}

static void on_expiry(struct timer *t)
{
	expire(CONTAINER_OF(t, struct login_store, expiry), clock_now());
}

static struct pending *pending_find(struct login_store *s, struct bytes key)
{
	LIST_FOR_EACH(it, &s->pending) {
		struct pending *p = LIST_ENTRY(it, struct pending, node);

		if (secret_bytes_eq(bytes_of(p->key, sizeof(p->key)), key))
			return p;
	}
	return NULL;
}

static void answer_found(struct control_request *r, struct bytes text, const char *sender)
{
	if (sender)
		answer_field(r, "service-public-key", arena_copy(&r->arena, bytes_str(sender)));
	(void)answer(r, 200, sender ? "text/plain" : "application/x-pem-file",
		     arena_copy(&r->arena, text));
}

/* --- Polls that wait -------------------------------------------------------------------------- */

/* The request, out of the store; the caller answers it. */
static struct control_request *waiter_take(struct waiter *w)
{
	struct control_request *r = w->request;

	timer_stop(&w->timer);
	list_remove(&w->node);
	w->store->waiter_count--;
	mem_free(w);
	return r;
}

static void answer_later(struct control_request *r, int status, const char *text)
{
	(void)answer_text(r, status, text);
	r->answered(r);
}

static void on_held_long_enough(struct timer *t)
{
	answer_later(waiter_take(CONTAINER_OF(t, struct waiter, timer)), 404,
		     "Waiting for approval\n");
}

static size_t waiters_of(struct login_store *s, struct bytes ip)
{
	size_t count = 0;

	LIST_FOR_EACH(it, &s->waiters)
		count += bytes_eq(LIST_ENTRY(it, struct waiter, node)->request->client_ip, ip);
	return count;
}

static struct waiter *waiter_find(struct login_store *s, struct bytes key)
{
	LIST_FOR_EACH(it, &s->waiters) {
		struct waiter *w = LIST_ENTRY(it, struct waiter, node);

		if (secret_bytes_eq(bytes_of(w->key, sizeof(w->key)), key))
			return w;
	}
	return NULL;
}

bool login_store_poll(struct login_store *s, struct control_request *r, struct bytes key, usec now)
{
	struct pending *p;
	struct waiter *w;

	CHECK(s, MAGIC_LOGIN_STORE);
	expire(s, now);
	p = pending_find(s, key);
	if (p) {
		answer_found(r, bytes_of(p->cert_pem.ptr, p->cert_pem.len), p->sender);
		pending_drop(s, p);
		return true;
	}
	/* A client that polls anew has given the old poll up. */
	w = waiter_find(s, key);
	if (w)
		answer_later(waiter_take(w), 404, "Another poll took over\n");
	if (!s->loop || s->is_draining) {
		(void)answer_text(r, 404, "Waiting for approval\n");
		return true;
	}
	if (s->waiter_count >= LIMIT_LOGIN_WAITERS ||
	    waiters_of(s, r->client_ip) >= LIMIT_LOGIN_WAITERS_PER_ADDRESS) {
		answer_field(r, "Retry-After", BYTES_LIT("60"));
		(void)answer_text(r, 429, "Too many logins are waiting\n");
		return true;
	}
	w = mem_alloc(sizeof(*w));
	w->store = s;
	w->request = r;
	memcpy(w->key, key.ptr, sizeof(w->key));
	timer_init(&w->timer, s->loop, on_held_long_enough);
	timer_set(&w->timer, LOGIN_HOLD_MSEC);
	list_append(&s->waiters, &w->node);
	s->waiter_count++;
	return false;
}

static void pending_add(struct login_store *s, struct bytes key, const char *cert_pem,
			const char *sender, usec expires)
{
	struct pending *p = pending_find(s, key);

	if (p)
		pending_drop(s, p);
	if (s->pending_count >= LIMIT_LOGIN_PENDING)
		pending_drop(s, LIST_ENTRY(s->pending.next, struct pending, node));
	p = mem_alloc(sizeof(*p));
	memcpy(p->key, key.ptr, sizeof(p->key));
	secret_set(&p->cert_pem, bytes_str(cert_pem));
	p->sender = sender ? mem_strdup(sender) : NULL;
	p->expires = expires;
	list_append(&s->pending, &p->node);
	s->pending_count++;
}

static void put(struct login_store *s, struct bytes key, const char *text, const char *sender,
		usec now)
{
	struct waiter *w;

	CHECK(s, MAGIC_LOGIN_STORE);
	BUG_IF(key.len != LOGIN_KEY_BYTES);
	expire(s, now);
	w = waiter_find(s, key);
	if (w) {
		struct control_request *r = waiter_take(w);

		answer_found(r, bytes_str(text), sender);
		r->answered(r);
		return;
	}
	pending_add(s, key, text, sender, now + LOGIN_PENDING_SECONDS * USEC_PER_SEC);
	expire(s, now);
}

void login_store_put(struct login_store *s, struct bytes key, const char *cert_pem, usec now)
{
	put(s, key, cert_pem, NULL, now);
}

void login_store_put_sealed(struct login_store *s, struct bytes key, const char *sealed,
			    const char *sender, usec now)
{
	put(s, key, sealed, sender, now);
}

json_t *login_store_save(const struct login_store *s)
{
	json_t *list = json_array();

	CHECK(s, MAGIC_LOGIN_STORE);
	for (const struct list *it = s->pending.next; it != &s->pending; it = it->next) {
		const struct pending *p = LIST_ENTRY(it, const struct pending, node);
		json_array_append_new(list, json_pack("{s:s%, s:s%, s:s*, s:I}", "key", p->key,
						      (size_t)LOGIN_KEY_BYTES, "certificate",
						      (const char *)p->cert_pem.ptr,
						      p->cert_pem.len, "sender", p->sender,
						      "expires", (json_int_t)p->expires));
	}
	return list;
}

void login_store_load(struct login_store *s, const json_t *list, usec now)
{
	size_t i;
	json_t *item;

	CHECK(s, MAGIC_LOGIN_STORE);
	json_array_foreach(list, i, item)
	{
		const char *key = json_string_value(json_object_get(item, "key"));
		const char *cert_pem = json_string_value(json_object_get(item, "certificate"));
		usec expires = json_integer_value(json_object_get(item, "expires"));

		if (key && cert_pem && login_key_is_valid(bytes_str(key)) && expires > now &&
		    expires <= now + LOGIN_PENDING_SECONDS * USEC_PER_SEC)
			pending_add(s, bytes_str(key), cert_pem,
				    json_string_value(json_object_get(item, "sender")), expires);
	}
	expire(s, now);
}

/* --- Life ------------------------------------------------------------------------------------- */

struct login_store *login_store_new(struct loop *loop)
{
	struct login_store *s = mem_alloc(sizeof(*s));

	s->magic = MAGIC_LOGIN_STORE;
	s->loop = loop;
	list_init(&s->waiters);
	list_init(&s->pending);
	if (loop)
		timer_init(&s->expiry, loop, on_expiry);
	return s;
}

void login_store_drain(struct login_store *s)
{
	CHECK(s, MAGIC_LOGIN_STORE);
	s->is_draining = true;
	while (!list_is_empty(&s->waiters))
		answer_later(waiter_take(LIST_ENTRY(s->waiters.next, struct waiter, node)), 404,
			     "Waiting for approval\n");
}

struct login_store *login_store_free(struct login_store *s)
{
	if (!s)
		return NULL;
	CHECK(s, MAGIC_LOGIN_STORE);
	while (!list_is_empty(&s->waiters))
		answer_later(waiter_take(LIST_ENTRY(s->waiters.next, struct waiter, node)), 503,
			     "The edge is stopping\n");
	while (!list_is_empty(&s->pending))
		pending_drop(s, LIST_ENTRY(s->pending.next, struct pending, node));
	if (s->loop)
		timer_stop(&s->expiry);
	s->magic = 0;
	return mem_free(s);
}
